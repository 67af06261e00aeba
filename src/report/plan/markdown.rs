//! The form for a comment on a pull request.
//!
//! Whatever comes from a file or the database stands in `<code>` with every character that Markdown or HTML could take
//! for markup as a character reference: it can neither leave its cell nor mention anybody.

mod checklist;

use std::fmt::Write as _;

use super::{EffectLine, Line, Report, Step, TraceReport, how_large, plural, text, took, unlisted};
use crate::sql::risk::Risk;

/// A comment holds 65536 characters; what is behind the last table needs room too.
const TABLES: usize = 34_000;
/// For each of the lists behind them.
const LIST: usize = 3_500;

/// The whole report, in less than 65536 characters.
pub fn markdown(report: &Report) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(out, "### Migration plan: {}\n", verdict(report));
    let _ = writeln!(
        out,
        "Database {}, history {}, format {}.",
        code(&report.database),
        code(&report.history),
        report.format
    );
    let mut left_out = 0;
    for step in &report.migrations {
        let table = migration(step);
        if left_out > 0 || out.len() + table.len() > TABLES {
            left_out += 1;
        } else {
            out.push_str(&table);
        }
    }
    if left_out > 0 {
        let _ = writeln!(
            out,
            "\n… and {} that do not fit into a comment; see `schemagate plan`.",
            plural(left_out, "migration")
        );
    }
    list(
        &mut out,
        "Conflicts",
        report.conflicts.iter().map(|it| prose(it)),
    );
    list(
        &mut out,
        "Warnings",
        report.warnings.iter().map(|it| prose(it)),
    );
    let deferred = report
        .deferred
        .iter()
        .map(|deferred| format!("{}: {}", code(&deferred.version), prose(&deferred.why)));
    list(&mut out, "Not for now", deferred);
    if let Some(trace) = &report.trace {
        traced(&mut out, trace);
    }
    checklist::write(&mut out, report);
    out
}

fn verdict(report: &Report) -> String {
    if !report.conflicts.is_empty() {
        return format!(
            "{}, nothing would run",
            plural(report.conflicts.len(), "conflict")
        );
    }
    if report.migrations.is_empty() {
        return "nothing to run".to_owned();
    }
    let held = if report.held().is_some() {
        ", held"
    } else {
        ""
    };
    format!(
        "{}, {} {}{held}",
        plural(report.migrations.len(), "migration"),
        sign(report.risk),
        report.risk
    )
}

/// Read at a glance, and by colour-blind people by its shape.
const fn sign(risk: Risk) -> &'static str {
    match risk {
        Risk::Safe => "🟢",
        Risk::Blocking => "🔶",
        Risk::Rewrite => "🟪",
        Risk::Destructive => "🔴",
    }
}

fn migration(step: &Step) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "\n#### {} {}: {}\n\n{}, {}.",
        sign(step.risk),
        code(&step.version),
        step.risk,
        code(&step.path),
        text::mode(step)
    );
    if let Some(held) = &step.held {
        let line = held
            .line
            .map_or_else(String::new, |line| format!(" (line {line})"));
        let _ = writeln!(
            out,
            "\n**Held**{line}: {}. To let it through: {}",
            prose(&held.reason),
            code(&held.let_through)
        );
    }
    let with_trace = step.rest.is_some() || step.statements.iter().any(|line| line.trace.is_some());
    let (heading, rule) = if with_trace {
        (" Traced |", " --- |")
    } else {
        ("", "")
    };
    let _ = writeln!(
        out,
        "\n| Line | Risk | Lock | Statement |{heading}\n| ---: | --- | --- | --- |{rule}"
    );
    let mut rows_left_out = 0;
    for line in &step.statements {
        let row = row(line, with_trace);
        if rows_left_out > 0 || out.len() + row.len() > TABLES / 2 {
            rows_left_out += 1;
        } else {
            out.push_str(&row);
        }
    }
    if rows_left_out > 0 {
        let _ = writeln!(
            out,
            "\n… and {} that do not fit into a comment.",
            plural(rows_left_out, "statement")
        );
    }
    if let Some(unlisted) = unlisted(step) {
        let _ = writeln!(out, "\n… {unlisted}.");
    }
    out
}

fn row(line: &Line, with_trace: bool) -> String {
    let mut out = format!("| {} | {} {}", line.line, sign(line.risk), line.risk);
    if line.opaque {
        out.push('?');
    }
    out.push_str(" | ");
    let locks: Vec<String> = line.effects.iter().filter_map(lock).collect();
    out.push_str(&locks.join("<br>"));
    if line.bare {
        out.push_str(if locks.is_empty() { "" } else { "<br>" });
        out.push_str("outside a transaction");
    }
    let _ = write!(out, " | {}", code(&line.text));
    for effect in line.remarks() {
        let _ = write!(out, "<br>{}", prose(&effect.why));
        if let Some(safer) = &effect.safer {
            let _ = write!(out, "; safer: {}", prose(safer));
        }
    }
    out.push_str(" |");
    if with_trace {
        let seen = line.trace.as_ref().map_or_else(String::new, |trace| {
            let took = if trace.skipped.is_some() {
                String::new()
            } else {
                format!("{}, ", took(trace.duration_ms))
            };
            let rows = trace
                .rows
                .map_or_else(String::new, |rows| format!("{rows} rows, "));
            format!("{took}{rows}{}", prose(&text::seen_of(trace)))
        });
        let _ = write!(out, " {seen} |");
    }
    out.push('\n');
    out
}

fn lock(effect: &EffectLine) -> Option<String> {
    let relation = effect.relation.as_ref()?;
    let mut out = effect
        .lock
        .map_or_else(String::new, |lock| format!("{lock} on "));
    out.push_str(&code(relation));
    if let Some(large) = how_large(effect) {
        let _ = write!(out, " ({large})");
    }
    if effect.rewrite {
        out.push_str(", rewritten");
    }
    Some(out)
}

fn traced(out: &mut String, trace: &TraceReport) {
    let _ = writeln!(out, "\n**Trace:** {}.", text::trace_sentence(trace));
    if let Some(error) = &trace.error {
        let shown: String = error.chars().take(LIST / 5).collect();
        let _ = writeln!(out, "\nFailed: {}", prose(&shown));
    }
    list(
        out,
        "Not run by the trace",
        trace.not_run.iter().map(|it| prose(it)),
    );
    list(
        out,
        "What the rollback left behind",
        trace.not_undone.iter().map(|it| prose(it)),
    );
}

fn list(out: &mut String, title: &str, items: impl Iterator<Item = String>) {
    let mut items = items.peekable();
    if items.peek().is_none() {
        return;
    }
    let _ = writeln!(out, "\n**{title}**\n");
    let mut used = 0;
    let mut more = 0;
    for item in items {
        used += item.len();
        if used > LIST {
            more += 1;
        } else {
            let _ = writeln!(out, "- {item}");
        }
    }
    if more > 0 {
        let _ = writeln!(out, "- … and {more} more");
    }
}

/// Text of others, as code.
fn code(text: &str) -> String {
    format!("<code>{}</code>", escaped(text, false))
}

/// A sentence of ours with text of others in it.
fn prose(text: &str) -> String {
    escaped(text, true)
}

/// Character references for everything that could be markup. A mention is looked for in the finished text, outside of
/// code: there the sign stands in code of its own.
fn escaped(text: &str, mentions: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text::clean(text).chars() {
        match c {
            '@' if mentions => out.push_str("<code>&#64;</code>"),
            '\u{fffd}' => out.push(' '),
            '&' | '<' | '>' | '|' | '`' | '*' | '_' | '~' | '[' | ']' | '\\' | '#' | '!' | '@'
            | '$' | '{' | '}' | ':' => {
                let _ = write!(out, "&#{};", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}
