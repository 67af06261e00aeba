//! The form for people.

use std::{borrow::Cow, fmt::Write as _};

use unicode_width::UnicodeWidthStr as _;

use super::{
    EffectLine, Line, Report, Step, TraceLine, TraceReport, how_large, plural, took, unlisted,
};
use crate::sql::risk::Risk;

/// SGR sequences: bold, and back to normal.
const BOLD: &str = "\u{1b}[1m";
const NORMAL: &str = "\u{1b}[0m";

/// The whole report; with colours where a terminal shows it.
pub fn text(report: &Report, colour: bool) -> String {
    let paint = Paint { colour };
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{}", paint.bold(&headline(report)));
    for step in &report.migrations {
        out.push('\n');
        migration(&mut out, step, paint);
    }
    if !report.deferred.is_empty() {
        let _ = writeln!(out, "\nnot for now:");
        for deferred in &report.deferred {
            let _ = writeln!(
                out,
                "  {} ({}): {}",
                clean(&deferred.version),
                clean(&deferred.path),
                clean(&deferred.why)
            );
        }
    }
    if !report.conflicts.is_empty() || !report.warnings.is_empty() {
        out.push('\n');
    }
    for conflict in &report.conflicts {
        let _ = writeln!(
            out,
            "{} {}",
            paint.risk(Risk::Destructive, "conflict:"),
            clean(conflict)
        );
    }
    for warning in &report.warnings {
        let _ = writeln!(
            out,
            "{} {}",
            paint.risk(Risk::Blocking, "warning:"),
            clean(warning)
        );
    }
    if let Some(trace) = &report.trace {
        out.push('\n');
        traced(&mut out, trace, paint);
    }
    out
}

/// What stands in the first line.
pub(super) fn headline(report: &Report) -> String {
    let place = format!(
        "database {}, history {}, format {}",
        clean(&report.database),
        clean(&report.history),
        report.format
    );
    if !report.conflicts.is_empty() {
        return format!(
            "{} pending, and {} in the way: {place}",
            plural(report.pending, "migration"),
            plural(report.conflicts.len(), "conflict"),
        );
    }
    if report.migrations.is_empty() {
        return format!("nothing to run: {place}");
    }
    format!(
        "{} to run, at worst {}: {place}",
        plural(report.migrations.len(), "migration"),
        report.risk
    )
}

/// How a migration runs, in words.
pub(super) fn mode(step: &Step) -> &'static str {
    if step.mode == "pieces" {
        "in pieces"
    } else {
        "in one transaction"
    }
}

fn migration(out: &mut String, step: &Step, paint: Paint) {
    let _ = writeln!(
        out,
        "{}  {}, {}, {} (SCHEMAGATE_APPROVE={})",
        paint.bold(&clean(&step.version)),
        clean(&step.path),
        mode(step),
        paint.risk(step.risk, step.risk.word()),
        clean(&step.approve),
    );
    if let Some(held) = &step.held {
        let line = held
            .line
            .map_or_else(String::new, |line| format!(" at line {line}"));
        let _ = writeln!(
            out,
            "  {} {}; to let it through: {}",
            paint.risk(Risk::Destructive, &format!("held{line}:")),
            clean(&held.reason),
            clean(&held.let_through)
        );
    }
    let in_pieces = step.mode == "pieces";
    let first = if in_pieces { "PIECE" } else { "" };
    let mut rows = vec![[first, "LINE", "RISK", "LOCK", "ON", "STATEMENT"].map(str::to_owned)];
    let mut risks = vec![Risk::Safe];
    for line in &step.statements {
        statement(line, &mut rows, &mut risks);
    }
    columns(out, &rows, &risks, paint);
    if let Some(unlisted) = unlisted(step) {
        let _ = writeln!(out, "  … {unlisted}");
    }
    for line in &step.statements {
        notes(out, line);
    }
    what_was_seen(out, step, paint);
}

/// A row for each lock; what belongs to the statement stands in the first.
fn statement(line: &Line, rows: &mut Vec<[String; 6]>, risks: &mut Vec<Risk>) {
    let piece = match (line.piece, line.bare) {
        (Some(piece), true) => format!("{piece} bare"),
        (Some(piece), false) => piece.to_string(),
        (None, _) => String::new(),
    };
    let risk = if line.opaque {
        format!("{}?", line.risk)
    } else {
        line.risk.word().to_owned()
    };
    let mut head = [piece, line.line.to_string(), risk, line.text.clone()];
    let mut locks = line
        .effects
        .iter()
        .filter(|effect| effect.relation.is_some());
    let mut next = locks.next();
    loop {
        let (lock, on) = next
            .map(|effect| (lock(effect), on(effect)))
            .unwrap_or_default();
        let [piece, number, risk, text] = std::mem::take(&mut head);
        risks.push(if risk.is_empty() {
            Risk::Safe
        } else {
            line.risk
        });
        rows.push([piece, number, risk, lock, on, text]);
        next = locks.next();
        if next.is_none() {
            break;
        }
    }
}

fn lock(effect: &EffectLine) -> String {
    let lock = effect
        .lock
        .map(|lock| lock.word().to_owned())
        .unwrap_or_default();
    if effect.rewrite {
        format!("{lock} + rewrite")
    } else {
        lock
    }
}

fn on(effect: &EffectLine) -> String {
    let relation = effect.relation.clone().unwrap_or_default();
    match how_large(effect) {
        Some(large) => format!("{relation} ({large})"),
        None => relation,
    }
}

fn notes(out: &mut String, line: &Line) {
    for effect in line.remarks() {
        let _ = write!(out, "  line {}: {}", line.line, clean(&effect.why));
        if let Some(safer) = &effect.safer {
            let _ = write!(out, "; safer: {}", clean(safer));
        }
        out.push('\n');
    }
}

/// The trace of a migration.
fn what_was_seen(out: &mut String, step: &Step, paint: Paint) {
    let listed = step.statements.iter();
    let listed = listed.filter_map(|line| Some((line.line.to_string(), line.trace.as_ref()?)));
    let rest = step.rest.as_ref().map(|rest| ("rest".to_owned(), rest));
    let seen: Vec<_> = listed.chain(rest).collect();
    if seen.is_empty() {
        return;
    }
    let mut rows = vec![["", "LINE", "TOOK", "ROWS", "", "TRACE"].map(str::to_owned)];
    for (line, trace) in seen {
        let took = if trace.skipped.is_some() {
            String::new()
        } else {
            took(trace.duration_ms)
        };
        let touched = trace.rows.map(|rows| rows.to_string()).unwrap_or_default();
        rows.push([
            String::new(),
            line,
            took,
            touched,
            String::new(),
            seen_of(trace),
        ]);
    }
    columns(out, &rows, &[], paint);
}

/// Locks, rewritten relations, errors, in words.
pub(super) fn seen_of(trace: &TraceLine) -> String {
    if let Some(why) = &trace.skipped {
        return format!("not run: {why}");
    }
    // They are in order: of several on a relation the last is the strongest, which says it all.
    let locks = trace
        .locks
        .chunk_by(|one, next| one.relation == next.relation);
    let mut parts: Vec<String> = locks
        .filter_map(<[_]>::last)
        .map(|taken| format!("{} on {}", taken.mode, taken.relation))
        .collect();
    let rewritten = trace.rewritten.iter();
    parts.extend(rewritten.map(|relation| format!("rewrote {relation}")));
    parts.extend(trace.error.iter().map(|error| format!("failed: {error}")));
    if parts.is_empty() {
        "no new lock".to_owned()
    } else {
        parts.join(", ")
    }
}

/// The trace in one sentence.
pub(super) fn trace_sentence(trace: &TraceReport) -> String {
    let end = match trace.end {
        "failed" => "; it ended at an error, and what follows was not run",
        "limit" => "; it ended at its time limit (--trace-limit), and what follows was not run",
        _ => "",
    };
    format!(
        "{} ran and were rolled back; locks, each told where it was taken first, were held for {}{end}",
        plural(trace.ran, "statement"),
        took_whole(trace.held_ms),
    )
}

fn took_whole(milliseconds: u64) -> String {
    super::super::log::short(i64::try_from(milliseconds).unwrap_or(i64::MAX))
}

fn traced(out: &mut String, trace: &TraceReport, paint: Paint) {
    let _ = writeln!(out, "{} {}", paint.bold("trace:"), trace_sentence(trace));
    if let Some(error) = &trace.error {
        let _ = writeln!(
            out,
            "  {} {}",
            paint.risk(Risk::Destructive, "failed:"),
            clean(error)
        );
    }
    for not_run in &trace.not_run {
        let _ = writeln!(out, "  not run: {}", clean(not_run));
    }
    let _ = writeln!(out, "  a rollback does not undo everything:");
    for what in &trace.not_undone {
        let _ = writeln!(out, "  - {what}");
    }
}

/// Columns as wide as their widest cell on a terminal, empty ones left out; the last one is as long as it is.
fn columns(out: &mut String, rows: &[[String; 6]], risks: &[Risk], paint: Paint) {
    let cleaned: Vec<[Cow<'_, str>; 6]> = rows
        .iter()
        .map(|row| std::array::from_fn(|column| clean(row.get(column).map_or("", String::as_str))))
        .collect();
    let mut widths = [0; 6];
    // A heading alone is no column.
    for row in cleaned.iter().skip(1) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.width());
        }
    }
    for (width, heading) in widths.iter_mut().zip(cleaned.iter().flatten()) {
        if *width > 0 {
            *width = (*width).max(heading.width());
        }
    }
    for (index, row) in cleaned.iter().enumerate() {
        let risk = risks.get(index).copied().unwrap_or_default();
        let mut line = String::from("  ");
        for (column, (width, cell)) in widths.iter().zip(row).enumerate() {
            if *width == 0 {
                continue;
            }
            let pad = " ".repeat(width.saturating_sub(cell.width()) + 2);
            if column == 2 {
                line.push_str(&paint.risk(risk, cell));
            } else {
                line.push_str(cell);
            }
            line.push_str(&pad);
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
}

/// Without what would move a terminal's cursor or change its colours.
pub(super) fn clean(text: &str) -> Cow<'_, str> {
    if text.chars().any(is_harmful) {
        let shown = text.chars();
        Cow::Owned(
            shown
                .map(|c| if is_harmful(c) { '\u{fffd}' } else { c })
                .collect(),
        )
    } else {
        Cow::Borrowed(text)
    }
}

/// Control characters, and those that turn the direction of text around.
fn is_harmful(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether to colour.
#[derive(Debug, Clone, Copy)]
struct Paint {
    colour: bool,
}

// === impl Paint ===

impl Paint {
    fn bold(self, text: &str) -> String {
        self.with(BOLD, text)
    }

    fn risk(self, risk: Risk, text: &str) -> String {
        match risk {
            Risk::Safe => text.to_owned(),
            Risk::Blocking => self.with("\u{1b}[33m", text),
            Risk::Rewrite => self.with("\u{1b}[35m", text),
            Risk::Destructive => self.with("\u{1b}[1;31m", text),
        }
    }

    fn with(self, sequence: &str, text: &str) -> String {
        if self.colour && !text.is_empty() {
            format!("{sequence}{text}{NORMAL}")
        } else {
            text.to_owned()
        }
    }
}
