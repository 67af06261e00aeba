//! What stands on the page, what never does, and how long it may become.

use std::{collections::HashMap, sync::Arc};

use base64::Engine as _;
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

use super::{CONTENT_SECURITY_POLICY, STYLE, page};
use crate::{
    progress::{Noted, Progress, Running, State},
    report::status::{Line, Status},
};

fn now() -> Timestamp {
    "2026-03-04T03:10:00Z".parse().unwrap()
}

fn before(seconds: i64) -> Timestamp {
    now() - SignedDuration::from_secs(seconds)
}

fn line(version: &str, state: &'static str) -> Line {
    let is_applied = state == "applied" || state == "changed";
    Line {
        version: version.to_owned(),
        path: format!("{version}_path.sql"),
        state,
        applied_at: is_applied.then(|| "2026-03-01 04:05:06.789+02".to_owned()),
        duration_ms: is_applied.then_some(1_500),
        checksum: "feedfacefeedface".to_owned(),
        note: (state == "failed").then(|| format!("note of {version}")),
    }
}

fn status(migrations: Vec<Line>) -> Status {
    Status {
        schema_version: 1,
        state: "ready",
        format: "sql",
        history: "schemagate.history".to_owned(),
        database: "orders".to_owned(),
        migrations,
        ahead: vec!["ahead row".to_owned()],
        missing: vec!["missing row".to_owned()],
        conflicts: vec!["a conflict".to_owned()],
        warnings: vec!["a warning".to_owned()],
    }
}

/// Everything is known, and every value is `value` or holds it.
fn full(state: State, value: &str) -> Progress {
    let mut schema = status(vec![
        line("0001", "applied"),
        line("0002", "failed"),
        line(value, "pending"),
    ]);
    for text in [&mut schema.database, &mut schema.history] {
        *text = format!("{text} {value}");
    }
    for texts in [
        &mut schema.ahead,
        &mut schema.missing,
        &mut schema.conflicts,
        &mut schema.warnings,
    ] {
        texts.push(format!("texts {value}"));
    }
    schema.migrations[0].applied_at = Some(value.to_owned());
    schema.migrations[1].note = Some(value.to_owned());
    Progress {
        state,
        since: before(192),
        reason: Some(format!("reason {value}")),
        next_step: Some(format!("next {value}")),
        seen_at: Some(before(4)),
        stale_since: Some(before(3_600)),
        schema: Some(Arc::new(schema)),
        version: Some("0001".to_owned()),
        running: Some(Running {
            version: value.to_owned(),
            path: format!("path {value}"),
            since: before(7),
        }),
        holder: Some(format!("holder {value}")),
        errors: [Noted {
            at: before(61),
            times: 12,
            text: format!("error {value}"),
        }]
        .into(),
        ..Progress::new(now())
    }
}

/// The text of a document, roughly: no tags, no style, entities as characters.
fn text(document: &str) -> String {
    let (_, body) = document.split_once("</style>").unwrap();
    let mut text = String::new();
    for part in body.split('<').skip(1) {
        let (tag, rest) = part.split_once('>').unwrap();
        let name = tag.trim_start_matches('/').split(' ').next().unwrap();
        if !["b", "span", "code", "a", "wbr"].contains(&name) && tag != "/time" {
            text.push(' ');
        }
        text.push_str(rest);
    }
    for (entity, character) in [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&amp;", "&"),
    ] {
        text = text.replace(entity, character);
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn check(document: &str, words: &[&str]) {
    let text = text(document);
    for word in words {
        assert!(text.contains(word), "no {word:?} in: {text}");
    }
}

#[track_caller]
fn check_lacks(document: &str, words: &[&str]) {
    for word in words {
        assert!(!document.contains(word), "{word:?} in: {document}");
    }
}

#[test]
fn every_state_has_its_word_in_the_title_and_in_large_letters() {
    let mut looks = HashMap::new();
    for state in State::ALL {
        let word = state.word().replace('_', " ");
        for detail in [false, true] {
            let document = page(&full(state, "x"), now(), detail);
            let large = format!("<data value=\"{}\">{word}</data></h1>", state.word());
            assert!(document.contains(&large), "{large}");
            let (_, title) = document.split_once("<title>").unwrap();
            let (title, _) = title.split_once("</title>").unwrap();
            assert!(title.contains(&format!(" {word} · ")), "{title}");
        }
        // Nothing but itself looks like it: not by its sign, not by its sentence.
        let look = super::look(state);
        assert_eq!(looks.insert(look.sign, state), None, "{state:?}");
        assert_eq!(looks.insert(look.meaning, state), None, "{state:?}");
        let empty = page(
            &Progress {
                state,
                ..Progress::new(now())
            },
            now(),
            true,
        );
        check(&empty, &[&word, look.meaning, look.next]);
    }
}

#[test]
fn says_everything_that_is_known() {
    let document = page(&full(State::Failed, "v7"), now(), true);
    check(
        &document,
        &[
            "database orders v7",
            "✕ failed A migration that this image needs has failed.",
            "Why reason v7",
            "What to do next v7",
            "In this state for 3 minutes 12 seconds, since 03:06:48 UTC",
            "Readiness no, /readyz answers 503",
            "Schema version 0001",
            "Running now path v7 for 7 seconds, since 03:09:53 UTC",
            "Lock held by holder v7",
            "Database does not answer for 1 hour, since 02:10:00 UTC; the schema was last seen 4 seconds ago, at 03:09:56 UTC",
            "Last errors 1 minute ago, at 03:08:59 UTC, 12 times in a row error v7",
            "Conflicts a conflict texts v7",
            "Warnings a warning texts v7",
            "1 applied, 1 failed, 1 running, of 3. Times are UTC.",
            "Not applied, in their order 0002_path.sql ✕ failed v7 v7_path.sql ► running 7.0 s",
            "Newer than this image ahead row ↑ ahead",
            "Applied, newest first 0001_path.sql ✓ applied v7 1.5 s",
            "Applied, but this image has no file missing row ? missing",
            "format sql, history in schemagate.history v7",
            concat!("schemagate ", env!("CARGO_PKG_VERSION")),
            "As of 03:10:00 UTC; asks again every 10 seconds.",
        ],
    );
    assert!(document.contains("<html lang=\"en\">"));
    assert!(document.contains("<time datetime=\"2026-03-04T03:06:48Z\">"));
    check_lacks(&text(&document), &["SCHEMAGATE_DETAIL"]);
}

#[test]
fn says_what_is_unusual() {
    let known = |change: &dyn Fn(&mut Progress)| {
        let mut progress = full(State::Ready, "x");
        change(&mut progress);
        page(&progress, now(), true)
    };
    check(
        &known(&|p| p.ready = true),
        &["Readiness yes, /readyz answers 200", "; readiness is kept"],
    );
    check(
        &known(&|p| (p.ready, p.draining) = (true, true)),
        &["Readiness no: this process was told to end"],
    );
    let up = |stale_since| known(&|p| (p.database_up, p.stale_since) = (true, stale_since));
    check(&up(None), &["Database answers; the schema was last seen"]);
    check(
        &up(Some(before(60))),
        &["Database answers, but the schema could not be looked at for 1 minute, since 03:09:00"],
    );
    check(
        &known(&|p| p.stale_since = None),
        &["Database has not answered yet"],
    );
    check(
        &known(&|p| (p.state, p.holder) = (State::Migrating, None)),
        &["Lock held by this process"],
    );
    let of = |format, migrations| {
        let schema = Status {
            format,
            ..status(migrations)
        };
        known(&|p| p.schema = Some(Arc::new(schema.clone())))
    };
    check(
        &of("exec", vec![line("1.4.2", "applied")]),
        &["Marker 1 applied. Times are UTC."],
    );
    check(&of("sql", vec![]), &["Migrations None in this image."]);
    // A conflict that is the reason is not told twice.
    let reason = known(&|p| p.reason = Some("a conflict: see to it".to_owned()));
    assert_eq!(text(&reason).matches("a conflict").count(), 1);
}

#[test]
fn times_of_migrations_are_utc_where_they_can_be_read() {
    for (stored, shown) in [
        ("2026-03-01T04:05:06.789+00:00", "2026-03-01 04:05"),
        ("2026-03-01 04:05:06.789+00", "2026-03-01 04:05"),
        ("2026-03-01 04:05:06+05:30", "2026-02-28 22:35"),
        ("1.3.2026 04:05", "1.3.2026 04:05"),
    ] {
        let mut progress = full(State::Ready, "x");
        let mut schema = status(vec![line("0001", "applied")]);
        schema.migrations[0].applied_at = Some(stored.to_owned());
        progress.schema = Some(Arc::new(schema));
        check(
            &page(&progress, now(), true),
            &[&format!("✓ applied {shown} 1.5 s")],
        );
    }
}

#[test]
fn every_value_is_escaped() {
    for value in [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "</title></style><svg onload=alert(1)>",
        "&lt;b&gt;",
    ] {
        for state in State::ALL {
            let document = page(&full(state, value), now(), true);
            check_lacks(&document, &["<script", "<img", "<svg onload"]);
            assert_eq!(document.matches("</style>").count(), 1);
            assert_eq!(document.matches("</title>").count(), 1);
            // Title, database, history, reason, next step, what runs, holder, error, version, note, time and the four
            // lists: each of them is there, and as text.
            let escaped = value
                .replace('&', "&amp;")
                .replace('<', "&lt;")
                .replace('>', "&gt;")
                .replace('"', "&quot;");
            assert_eq!(document.matches(&escaped).count(), 15, "{state:?} {value}");
        }
    }
    // The schema's version is seen by everybody.
    let mut progress = full(State::Ready, "x");
    progress.version = Some("<script>alert(1)</script>".to_owned());
    let document = page(&progress, now(), false);
    check_lacks(&document, &["<script"]);
    check(&document, &["Schema version <script>alert(1)</script>"]);
}

#[test]
fn what_a_browser_would_hide_is_shown() {
    let document = page(&full(State::Failed, "a\u{202e}b\u{7}c\nd"), now(), true);
    check(
        &document,
        &[
            "Running now path a\u{fffd}b\u{fffd}c\u{fffd}d",
            "Why reason a\u{fffd}b\u{fffd}c d",
        ],
    );
}

#[test]
fn without_detail_there_are_states_and_versions_only() {
    let names = [
        "secret",
        "orders",
        "0002",
        "0001_path",
        "history in schema",
        "ahead row",
        "missing row",
        "conflict",
        "warning",
    ];
    for state in State::ALL {
        let progress = full(state, "secret");
        let document = page(&progress, now(), false);
        check_lacks(&text(&document), &names);
        check_lacks(
            &text(&document),
            &[
                "database orders",
                "does not answer",
                "In this state",
                "last seen",
                "error secret",
            ],
        );
        check(
            &document,
            &[
                &state.word().replace('_', " "),
                "Schema version 0001",
                "kubectl port-forward",
                "SCHEMAGATE_DETAIL=all",
                concat!("schemagate ", env!("CARGO_PKG_VERSION")),
            ],
        );
        let with = page(&progress, now(), true);
        check(&with, &["secret", "orders"]);
    }
}

#[test]
fn nothing_is_loaded_and_nothing_runs() {
    for state in State::ALL {
        for detail in [false, true] {
            let document = page(&full(state, "x"), now(), detail);
            check_lacks(
                &document,
                &[
                    "<script",
                    "http://",
                    "https://",
                    "src=",
                    "url(",
                    "@import",
                    "<link",
                    "style=\"",
                    "javascript:",
                ],
            );
        }
    }
}

#[test]
fn refreshes_itself_and_more_often_while_something_moves() {
    let seconds = |state| {
        let document = page(&full(state, "x"), now(), true);
        let (_, rest) = document
            .split_once("<meta http-equiv=\"refresh\" content=\"")
            .unwrap();
        rest.split_once('"').unwrap().0.parse::<u32>().unwrap()
    };
    assert_eq!(seconds(State::Migrating), 2);
    assert_eq!(seconds(State::WaitingForLock), 2);
    assert_eq!(seconds(State::Ready), 10);
    assert!(
        State::ALL
            .into_iter()
            .all(|state| (2..=10).contains(&seconds(state)))
    );
}

#[test]
fn is_small_with_ten_thousand_migrations() {
    let name = |number: usize| format!("{number:05}_a_name_of_usual_length_for_a_table 🚀");
    for (state, expected) in [
        ("applied", "9900 older: see /status"),
        ("pending", "9900 more: see /status"),
    ] {
        let lines = (0..10_000).map(|number| line(&name(number), state));
        let mut progress = full(State::Ready, "x");
        progress.schema = Some(Arc::new(status(lines.collect())));
        let document = page(&progress, now(), true);
        check(&document, &[&format!("10000 {state}. Times"), expected]);
        assert!(document.len() < 48 * 1024, "{} bytes", document.len());
    }
}

#[test]
fn is_bounded_whatever_the_values_are() {
    let long = "\"".repeat(4_000);
    let mut progress = full(State::Failed, &long);
    progress.version = Some(long.clone());
    let mut schema = status(vec![line(&long, "failed"); 10_000]);
    for texts in [
        &mut schema.ahead,
        &mut schema.missing,
        &mut schema.conflicts,
        &mut schema.warnings,
    ] {
        *texts = vec![long.clone(); 10_000];
    }
    for line in &mut schema.migrations {
        line.note = Some(long.clone());
        line.applied_at = Some(long.clone());
    }
    progress.schema = Some(Arc::new(schema));
    let document = page(&progress, now(), true);
    assert!(document.len() < 512 * 1024, "{} bytes", document.len());
    check(&document, &["9980 more: see /status"]);
}

#[test]
fn the_policy_names_this_style_sheet() {
    let hash = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(STYLE));
    let source = format!("style-src 'sha256-{hash}'");
    assert!(
        CONTENT_SECURITY_POLICY.contains(&source),
        "page.css has changed: {source}"
    );
    assert!(CONTENT_SECURITY_POLICY.starts_with("default-src 'none'; "));
    check_lacks(
        CONTENT_SECURITY_POLICY,
        &["unsafe", "http", "*", "data:", "script-src", "\n"],
    );
    let document = page(&full(State::Ready, "x"), now(), true);
    assert!(document.contains(&format!("<style>{STYLE}</style>")));
}

/// WCAG 2.2, success criterion 1.4.3: 4.5 to 1. <https://www.w3.org/TR/WCAG22/#contrast-minimum>
#[test]
fn colours_can_be_read_in_both_schemes() {
    let schemes: Vec<HashMap<&str, f64>> = STYLE
        .split("--paper:")
        .skip(1)
        .map(|rest| format!("--paper:{}", rest.split_once('}').unwrap().0).leak() as &str)
        .map(|block| {
            let values = block.split(';').filter_map(|value| value.split_once(":#"));
            values.map(|(name, hex)| (name, luminance(hex))).collect()
        })
        .collect();
    assert_eq!(schemes.len(), 2);
    for scheme in schemes {
        let paper = scheme["--paper"];
        for name in ["--ink", "--soft", "--good", "--busy", "--wait", "--bad"] {
            let other = scheme[name];
            let contrast = (paper.max(other) + 0.05) / (paper.min(other) + 0.05);
            assert!(contrast >= 4.5, "{name} {contrast:.2}");
        }
    }
}

fn luminance(hex: &str) -> f64 {
    let channel = |at: usize| {
        let value = f64::from(u8::from_str_radix(&hex[at..at + 2], 16).unwrap()) / 255.0;
        if value <= 0.04045 {
            value / 12.92
        } else {
            ((value + 0.055) / 1.055).powf(2.4)
        }
    };
    0.2126 * channel(0) + 0.7152 * channel(2) + 0.0722 * channel(4)
}
