//! The progress bar of a statement that takes long: the last line of a terminal, below the log.
//!
//! Whoever writes to the terminal meanwhile does it in [`aside`], which takes the bar away and draws it again below.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// The log is text on a terminal.
static ALLOWED: AtomicBool = AtomicBool::new(false);
/// The bar that is drawn.
static BAR: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// How much of what stands left of the bar is shown: it must fit into one line.
const LABEL_CHARS: usize = 40;

/// What is drawn.
#[derive(Debug, Clone, Copy)]
pub struct Picture<'a> {
    /// What runs, left of the bar.
    pub label: &'a str,
    /// How long already.
    pub elapsed: &'a str,
    /// How much is done, where that is known.
    pub percent: Option<u64>,
    /// What goes on, cut at the terminal's edge.
    pub text: &'a str,
}

pub(super) fn allow(yes: bool) {
    ALLOWED.store(yes, Ordering::Relaxed);
}

/// Draws the bar. False where there is no terminal that can show one: then a line of the log has to do.
pub fn draw(picture: &Picture<'_>) -> bool {
    if !ALLOWED.load(Ordering::Relaxed) {
        return false;
    }
    let mut slot = slot();
    let bar = slot.get_or_insert_with(|| {
        ProgressBar::with_draw_target(Some(100), ProgressDrawTarget::stderr())
    });
    // `TERM=dumb`, say.
    if bar.is_hidden() {
        return false;
    }
    let template = match picture.percent {
        Some(_) => "{prefix} [{bar:24}] {percent:>3}% {wide_msg}",
        None => "{prefix} {wide_msg}",
    };
    let Ok(style) = ProgressStyle::with_template(template) else {
        return false;
    };
    let label: String = one_line(picture.label).take(LABEL_CHARS).collect();
    // A handle of the same bar: to change it by its setters would draw each change.
    bar.clone()
        .with_style(style.progress_chars("=> "))
        .with_prefix(format!("{label} {}", picture.elapsed))
        .with_message(one_line(picture.text).collect::<String>())
        .with_position(picture.percent.unwrap_or_default())
        .force_draw();
    true
}

/// Takes the bar away: what it told of is over.
pub fn clear() {
    if let Some(bar) = slot().take() {
        bar.finish_and_clear();
    }
}

/// Writes to the terminal while a bar may be drawn there.
pub fn aside<T>(write: impl FnOnce() -> T) -> T {
    let slot = slot();
    match slot.as_ref() {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

/// A file or a table may be called anything.
fn one_line(text: &str) -> impl Iterator<Item = char> {
    text.chars().map(|c| if c.is_control() { ' ' } else { c })
}

fn slot() -> MutexGuard<'static, Option<ProgressBar>> {
    BAR.lock().unwrap_or_else(PoisonError::into_inner)
}
