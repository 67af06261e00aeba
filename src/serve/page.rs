//! The page at `/`, for people at three in the morning: the state, why, what to do, and what has been applied.
//!
//! Pure, one response, no scripts. Nothing is loaded, not even from here, and the browser is told to hold us to that
//! ([`CONTENT_SECURITY_POLICY`]). Every value goes through `maud`, which escapes it, and through a bound: neither ten
//! thousand migrations nor a long name makes the page long. It asks again by itself, so nothing on it folds or
//! remembers.

mod rows;
mod states;
mod values;
mod words;

use jiff::Timestamp;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use self::{
    rows::{Row, Rows},
    states::{Look, look, sign, tone},
    values::{Column, Name, Note, Prose},
};
use crate::{
    progress::{Progress, State},
    report::status::Status,
};

/// Nothing may be loaded, framed, sent or run. The one style sheet is named by the hash of its bytes, so that no other
/// can be slipped in. <https://www.w3.org/TR/CSP3/>
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; \
     style-src 'sha256-g8SPsc1F3RMQF8pRMav2mjEiue5wvztwPH3wptJv4d4='; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const STYLE: &str = include_str!("page.css");

/// How many sentences of each kind are shown: conflicts, warnings, rows without a file.
const SENTENCES: usize = 20;
/// The page. Who may not see `detail` sees states and versions.
pub fn page(progress: &Progress, now: Timestamp, detail: bool) -> String {
    let look = look(progress.state);
    let schema = progress.schema.as_deref().filter(|_| detail);
    let document = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                title { (look.sign) " " (look.name) " · " (title(schema)) }
                meta name="viewport" content="width=device-width,initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="robots" content="noindex";
                meta http-equiv="refresh" content=(look.refresh);
                style { (PreEscaped(STYLE)) }
            }
            body class=(look.tone) {
                header {
                    span { "schemagate" }
                    @if let Some(schema) = schema {
                        span { "database " span.name { (Name(&schema.database)) } }
                    }
                }
                main {
                    h1 { span aria-hidden="true" { (look.sign) " " } data value=(progress.state.word()) { (look.name) } }
                    p.lede { (look.meaning) }
                    @if detail { (advice(progress, look)) }
                    (facts(progress, now, detail))
                    @if detail { (errors(progress, now)) } @else { (how_to_see_more()) }
                    @if let Some(schema) = schema {
                        (sentences("Conflicts", &schema.conflicts, progress))
                        (sentences("Warnings", &schema.warnings, progress))
                        (migrations(schema, progress, now))
                    }
                }
                (footer(schema, now, look))
            }
        }
    };
    document.into_string()
}

fn title(schema: Option<&Status>) -> Name<'_> {
    Name(schema.map_or("schemagate", |schema| &schema.database))
}

/// Why it is so and what to do.
fn advice(progress: &Progress, look: Look) -> Markup {
    let next = progress.next_step.as_deref().unwrap_or(look.next);
    html! {
        @if progress.reason.is_some() || !next.is_empty() {
            dl.why {
                @if let Some(reason) = &progress.reason {
                    dt { "Why" }
                    // Lines below each other point at something: a statement and its caret.
                    dd.said.error[reason.contains('\n')] { (Prose(reason)) }
                }
                @if !next.is_empty() {
                    dt { "What to do" }
                    dd.said { (Prose(next)) }
                }
            }
        }
    }
}

/// What is true now, a line each.
fn facts(progress: &Progress, now: Timestamp, detail: bool) -> Markup {
    html! {
        dl {
            @if detail {
                dt { "In this state" }
                dd { (lasting(progress.since, now)) }
            }
            dt { "Readiness" }
            dd { (readiness(progress)) }
            @if let Some(version) = &progress.version {
                dt { "Schema version" }
                dd.name { (Name(version)) }
            }
            @if detail {
                @if let Some(running) = &progress.running {
                    dt { "Running now" }
                    dd {
                        span.name { (Name(&running.path)) } " " (lasting(running.since, now))
                    }
                }
                @if let Some(holder) = holder(progress) {
                    dt { "Lock held by" }
                    dd { (Prose(holder)) }
                }
                dt { "Database" }
                dd { (database(progress, now)) }
            }
        }
    }
}

fn holder(progress: &Progress) -> Option<&str> {
    let own = (progress.state == State::Migrating).then_some("this process");
    progress.holder.as_deref().or(own)
}

const fn readiness(progress: &Progress) -> &'static str {
    match (progress.draining, progress.ready) {
        (true, _) => "no: this process was told to end",
        (false, true) => "yes, /readyz answers 200",
        (false, false) => "no, /readyz answers 503",
    }
}

fn database(progress: &Progress, now: Timestamp) -> Markup {
    html! {
        @match (progress.database_up, progress.stale_since) {
            (true, None) => "answers",
            (true, Some(since)) => {
                "answers, but the schema " b { "could not be looked at" } " " (lasting(since, now))
            }
            (false, Some(since)) => {
                b { "does not answer" } " " (lasting(since, now))
                @if progress.ready { "; readiness is kept" }
            }
            (false, None) => { b { "has not answered yet" } }
        }
        @if let Some(seen) = progress.seen_at {
            "; the schema was last seen " (words::ago(seen, now)) ", at " (moment(seen, now))
        }
    }
}

/// `for 3 minutes, since 03:07:00 UTC`.
fn lasting(since: Timestamp, now: Timestamp) -> Markup {
    html! { "for " (words::between(since, now)) ", since " (moment(since, now)) }
}

fn how_to_see_more() -> Markup {
    html! {
        p.more {
            "Details are shown over loopback only: " code { "kubectl port-forward POD 9911" }
            ", then open localhost:9911. Or set " code { "SCHEMAGATE_DETAIL=all" } "."
        }
    }
}

fn errors(progress: &Progress, now: Timestamp) -> Markup {
    html! {
        @if !progress.errors.is_empty() {
            section {
                h2 { "Last errors" }
                ul {
                    @for error in &progress.errors {
                        li {
                            div.soft {
                                (words::ago(error.at, now)) ", at " (moment(error.at, now))
                                @if error.times > 1 { ", " (error.times) " times in a row" }
                            }
                            div.error.said { (Prose(&error.text)) }
                        }
                    }
                }
            }
        }
    }
}

/// Sentences that the reason does not say already.
fn sentences(heading: &str, all: &[String], progress: &Progress) -> Markup {
    let reason = progress.reason.as_deref().unwrap_or_default();
    let news = |sentence: &&String| !reason.contains(sentence.as_str());
    let count = all.iter().filter(news).count();
    html! {
        @if count > 0 {
            section {
                h2 { (heading) }
                ul {
                    @for sentence in all.iter().filter(news).take(SENTENCES) { li.said { (Note(sentence)) } }
                    @if count > SENTENCES { li { (left_out(count - SENTENCES, "more")) } }
                }
            }
        }
    }
}

fn migrations(schema: &Status, progress: &Progress, now: Timestamp) -> Markup {
    let rows = Rows::new(schema, progress.running.as_ref(), now);
    // `SCHEMAGATE_EXEC_ONCE`: one line without a file stands for the whole schema.
    let is_marker = schema.format == "exec";
    html! {
        section {
            h2 { @if is_marker { "Marker" } @else { "Migrations" } }
            table {
                caption {
                    @if rows.counts.is_empty() { "None in this image" }
                    @for (index, (state, count)) in rows.counts.iter().enumerate() {
                        @if index > 0 { ", " }
                        (count) " " (state)
                    }
                    @if rows.counts.len() > 1 { ", of " (schema.migrations.len()) }
                    ". Times are UTC."
                }
                thead {
                    tr {
                        th scope="col" { "Migration" }
                        th.state scope="col" { "State" }
                        th.took scope="col" { "Took" }
                    }
                }
                (group("Not applied, in their order", &rows.open, rows.open_left_out, "more", &rows))
                (unknown("Newer than this image", "ahead", &schema.ahead))
                (group("Applied, newest first", &rows.applied, rows.applied_left_out, "older", &rows))
                (unknown("Applied, but this image has no file", "missing", &schema.missing))
            }
        }
    }
}

fn group(heading: &str, group: &[Row<'_>], beyond: usize, which: &str, rows: &Rows<'_>) -> Markup {
    html! {
        @if !group.is_empty() {
            tbody {
                tr { th colspan="3" scope="rowgroup" { (heading) } }
                @for row in group { (migration(row, rows)) }
                @if beyond > 0 { tr { td colspan="3" { (left_out(beyond, which)) } } }
            }
        }
    }
}

fn migration(row: &Row<'_>, rows: &Rows<'_>) -> Markup {
    html! {
        tr class=(tone(row.state)) {
            th.name scope="row" { b { (Column(row.version)) } (Column(row.rest)) }
            td { b { (sign(row.state)) " " (row.state) } @if let Some(at) = row.applied_at { (applied_at(at)) } }
            td {
                @if let Some(milliseconds) = row.milliseconds {
                    (words::took(milliseconds))
                    svg aria-hidden="true" { rect width={ (rows.percent(milliseconds)) "%" } height="100%" {} }
                }
            }
        }
        @if let Some(note) = row.note { tr.note { td.said colspan="3" { (Note(note)) } } }
    }
}

/// Rows of the history that no file of this image explains.
fn unknown(heading: &str, state: &str, names: &[String]) -> Markup {
    html! {
        @if !names.is_empty() {
            tbody {
                tr { th colspan="3" scope="rowgroup" { (heading) } }
                @for name in names.iter().take(SENTENCES) {
                    tr class=(tone(state)) {
                        th.name scope="row" { b { (Column(name)) } }
                        td { b { (sign(state)) " " (state) } }
                        td {}
                    }
                }
                @if names.len() > SENTENCES {
                    tr { td colspan="3" { (left_out(names.len() - SENTENCES, "more")) } }
                }
            }
        }
    }
}

fn left_out(count: usize, which: &str) -> Markup {
    html! { (count) " " (which) ": see " a href="status" { "/status" } }
}

/// As PostgreSQL prints it, in whatever zone the session has; in UTC where that can be read.
fn applied_at(text: &str) -> Markup {
    html! {
        @match text.parse::<Timestamp>() {
            Ok(at) => { " " time datetime=(words::exact(at)) { (words::minute(at)) } }
            Err(_) => { " " span.soft { (Name(text)) } }
        }
    }
}

fn moment(at: Timestamp, now: Timestamp) -> Markup {
    html! { time datetime=(words::exact(at)) { (words::clock(at, now)) } }
}

fn footer(schema: Option<&Status>, now: Timestamp, look: Look) -> Markup {
    html! {
        footer {
            p {
                "schemagate " (env!("CARGO_PKG_VERSION"))
                @if let Some(schema) = schema {
                    ", format " (schema.format) ", history in " span.name { (Name(&schema.history)) }
                }
            }
            p { "As of " (moment(now, now)) "; asks again every " (look.refresh) " seconds." }
        }
    }
}

#[cfg(test)]
mod tests;
