//! The log: one line an event on stderr, JSON for machines or text for people.
//!
//! `tokio-postgres` and `rustls` write to the `log` crate, `tokio-postgres` with the text of statements. Nothing here
//! connects `log` with `tracing`, so that no statement and no secret gets into the log by that way.

pub mod bar;

use std::fmt;
use std::io::{self, IsTerminal, Write};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// What the log looks like and what gets into it.
#[derive(Debug, Clone, Default)]
pub struct Params {
    /// JSON or text.
    pub format: Format,
    /// What gets in.
    pub filter: Filter,
    /// `NO_COLOR` is set (<https://no-color.org>).
    pub no_color: bool,
}

/// `SCHEMAGATE_LOG_FORMAT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// JSON where stderr is no terminal, else text.
    #[default]
    Auto,
    /// JSON.
    Json,
    /// Text, coloured on a terminal.
    Text,
}

/// `SCHEMAGATE_LOG`: levels by target.
#[derive(Debug, Clone)]
pub struct Filter(Targets);

/// The target of our own events, and of everything below it.
const OURS: &str = "schemagate";

// === impl Format ===

impl Format {
    /// Every word.
    pub const ALL: &'static [(&'static str, Self)] = &[
        ("auto", Self::Auto),
        ("json", Self::Json),
        ("text", Self::Text),
    ];

    fn is_json(self, terminal: bool) -> bool {
        match self {
            Self::Auto => !terminal,
            Self::Json => true,
            Self::Text => false,
        }
    }
}

// === impl Filter ===

impl Filter {
    /// Reads `info`, `debug`, or a list such as `schemagate=debug,tokio=warn`.
    ///
    /// A level alone is for our own events; dependencies never say more than warnings unless they are named. The error
    /// says what is accepted.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut level = LevelFilter::INFO;
        let mut named = Vec::new();
        for item in text.split(',').map(str::trim) {
            match item.split_once('=') {
                None => level = parse_level(item)?,
                Some((target, level)) if is_target(target) => {
                    named.push((target.to_owned(), parse_level(level)?));
                }
                Some(_) => return Err(expected()),
            }
        }
        let targets = Targets::new()
            .with_default(level.min(LevelFilter::WARN))
            .with_target(OURS, level)
            .with_targets(named);
        Ok(Self(targets))
    }

    /// Whether our own events at debug get in: then each line says where it comes from.
    fn is_debug(&self) -> bool {
        self.0.would_enable(OURS, &tracing::Level::DEBUG)
    }
}

impl Default for Filter {
    fn default() -> Self {
        let targets = Targets::new()
            .with_default(LevelFilter::WARN)
            .with_target(OURS, LevelFilter::INFO);
        Self(targets)
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// `Targets` would take a mistyped level for the name of a target, and silence everything else.
fn parse_level(text: &str) -> Result<LevelFilter, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "off" => Ok(LevelFilter::OFF),
        "error" => Ok(LevelFilter::ERROR),
        "warn" => Ok(LevelFilter::WARN),
        "info" => Ok(LevelFilter::INFO),
        "debug" => Ok(LevelFilter::DEBUG),
        "trace" => Ok(LevelFilter::TRACE),
        _ => Err(expected()),
    }
}

fn expected() -> String {
    "off, error, warn, info, debug or trace is accepted, or a list such as info,tokio=debug"
        .to_owned()
}

fn is_target(text: &str) -> bool {
    let text = text.trim();
    !text.is_empty()
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
}

impl Params {
    /// Whether lines are JSON, in this process.
    pub fn is_json(&self) -> bool {
        self.format.is_json(io::stderr().is_terminal())
    }
}

/// Starts the log. A second call changes nothing.
pub fn install(params: &Params) {
    let terminal = io::stderr().is_terminal();
    let json = params.format.is_json(terminal);
    let color = terminal && !params.no_color;
    let layer = layer(json, color, &params.filter, || Stderr);
    bar::allow(terminal && !json);
    // Fails only when there is one already.
    let _ = tracing_subscriber::registry().with(layer).try_init();
}

/// The layer that writes to `writer`.
fn layer<S, W>(
    json: bool,
    color: bool,
    filter: &Filter,
    writer: W,
) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        .with_target(filter.is_debug())
        // Its own report of a failed write goes to stderr with a macro that panics.
        .log_internal_errors(false);
    let filter = filter.0.clone();
    if json {
        let json = layer.json().flatten_event(true);
        let flat = json.with_current_span(false).with_span_list(false);
        flat.with_filter(filter).boxed()
    } else {
        layer.with_ansi(color).with_filter(filter).boxed()
    }
}

/// Standard error; what cannot be written is dropped. A closed pipe or a full disk under the log must not stop a
/// migration half way.
struct Stderr;

impl Write for Stderr {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        bar::aside(|| {
            let _ = io::stderr().write_all(buffer);
        });
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(buffer);
            Ok(buffer.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is written of the events that `emit` makes.
    fn logged(json: bool, filter: &str, emit: fn()) -> String {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let filter = Filter::parse(filter).unwrap();
        let layer = layer(json, false, &filter, move || writer.clone());
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, emit);
        let bytes = buffer.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    fn one_event() {
        tracing::info!(version = "0004", elapsed_ms = 12, "migration applied");
    }

    #[test]
    fn json_is_one_flat_line() {
        let line = logged(true, "info", one_event);
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["level"], "INFO");
        assert_eq!(value["message"], "migration applied");
        assert_eq!(value["version"], "0004");
        assert_eq!(value["elapsed_ms"], 12);
        assert_eq!(value.as_object().unwrap().len(), 5, "{line}");
        let stamp: jiff::Timestamp = value["timestamp"].as_str().unwrap().parse().unwrap();
        assert!(stamp > jiff::Timestamp::UNIX_EPOCH);
        assert!(value["timestamp"].as_str().unwrap().ends_with('Z'));
    }

    #[test]
    fn the_target_is_told_at_debug_only() {
        assert!(!logged(false, "info", one_event).contains("telemetry"));
        assert!(logged(false, "debug", one_event).contains("schemagate::telemetry"));
        assert!(logged(true, "debug", one_event).contains("\"target\":\"schemagate::telemetry"));
    }

    #[test]
    fn a_level_alone_does_not_wake_dependencies() {
        let emit = || {
            tracing::debug!("ours");
            tracing::debug!(target: "tokio::task", "theirs");
            tracing::warn!(target: "tokio::task", "their warning");
        };
        let text = logged(false, "debug", emit);
        assert!(
            text.contains("ours") && !text.contains("theirs") && text.contains("their warning")
        );
        assert!(logged(false, "info,tokio=debug", emit).contains("theirs"));
        assert!(!logged(false, "info,tokio=debug", emit).contains("ours"));
        assert_eq!(logged(false, "off", emit), "");
        assert!(logged(false, "warn,schemagate=debug", emit).contains("ours"));
    }

    #[test]
    fn a_mistyped_filter_is_refused() {
        for text in [
            "",
            "inof",
            "schemagate",
            "schemagate=loud",
            "=debug",
            "a b=info",
            "info,,warn",
            "[x]=info",
        ] {
            assert!(Filter::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn nothing_bridges_the_log_crate() {
        assert!(!include_str!("../Cargo.lock").contains("\"tracing-log\""));
    }
}
