//! `status --history`: the journal, as a table and as JSON.

use serde::Serialize;
use serde_json::Value;

use super::{log::short, status::align};
use crate::wire::Row;

/// The version of the JSON form; additions do not change it.
const SCHEMA_VERSION: u32 = 1;

/// What the journal says of a history.
#[derive(Debug, Serialize)]
pub struct Notes {
    /// The version of this form.
    pub schema_version: u32,
    /// The history table.
    pub history: String,
    /// Oldest first.
    pub journal: Vec<Note>,
}

/// A row of the journal.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Note {
    /// When, as PostgreSQL prints it.
    pub at: String,
    /// The run.
    pub run: String,
    /// What happened.
    pub event: String,
    /// The migration, or the marker of `exec`.
    pub version: Option<String>,
    /// The piece of the migration, from 1.
    pub statement: Option<i64>,
    /// How long it took.
    pub duration_ms: Option<i64>,
    /// Role and pod.
    pub actor: Option<String>,
    /// `SCHEMAGATE_APP_VERSION` of that run.
    pub app_version: Option<String>,
    /// The position in the write-ahead log.
    pub wal: Option<String>,
    /// More.
    pub detail: Option<Value>,
}

// === impl Notes ===

impl Notes {
    /// From the rows of `history::journal::notes_sql`.
    pub fn from_rows(history: &str, rows: &[Row]) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            history: history.to_owned(),
            journal: rows.iter().map(Note::from_row).collect(),
        }
    }

    /// The JSON form.
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// The table for people: a line for each row, the newest last.
    pub fn table(&self) -> String {
        if self.journal.is_empty() {
            return format!("the journal has nothing about {}", self.history);
        }
        let head = [
            "AT", "RUN", "EVENT", "VERSION", "TOOK", "ACTOR", "APP", "WHAT",
        ];
        let mut rows = vec![head.map(str::to_owned)];
        rows.extend(self.journal.iter().map(|note| {
            let text = |text: &Option<String>| text.as_deref().map(plain).unwrap_or_default();
            [
                to_the_second(&note.at),
                note.run.chars().take(8).collect(),
                plain(&note.event),
                note.subject(),
                note.duration_ms.map(short).unwrap_or_default(),
                text(&note.actor),
                text(&note.app_version),
                note.what(),
            ]
        }));
        align(&rows)
    }
}

// === impl Note ===

impl Note {
    fn from_row(row: &Row) -> Self {
        let text = |column: usize| row.get(column).cloned().flatten();
        let number = |column: usize| text(column).and_then(|text| text.parse().ok());
        Self {
            at: text(0).unwrap_or_default(),
            run: text(1).unwrap_or_default(),
            event: text(2).unwrap_or_default(),
            version: text(3),
            statement: number(4),
            duration_ms: number(5),
            actor: text(6),
            app_version: text(7),
            wal: text(8),
            detail: text(9).and_then(|json| serde_json::from_str(&json).ok()),
        }
    }

    fn subject(&self) -> String {
        let version = self.version.as_deref().map(plain).unwrap_or_default();
        match self.statement {
            Some(statement) => format!("{version} piece {statement}"),
            None => version,
        }
    }

    /// What tells most in a few words: the end of a run, the message of a failure, who approved and why, the position
    /// to go back to. Of an event that a later release brings, what is plain in it.
    fn what(&self) -> String {
        let facts = self.detail.as_ref().and_then(Value::as_object);
        let told = |key: &str| facts?.get(key).and_then(scalar);
        let mut words: Vec<String> = ["outcome", "message", "what"]
            .into_iter()
            .filter_map(told)
            .collect();
        words.extend(told("by").map(|by| format!("by {by}")));
        words.extend(told("reason").map(|reason| format!("because: {reason}")));
        // What these have is for schemagate itself.
        let inward = |key: &str| match self.event.as_str() {
            "intent" => true,
            "fingerprint" => matches!(key, "format" | "server" | "xid"),
            _ => false,
        };
        let others = facts
            .into_iter()
            .flatten()
            .filter(|(key, _)| !TOLD.contains(&key.as_str()) && !inward(key));
        for (key, value) in others {
            let key = words_of(key);
            let inner = value.as_object().into_iter().flatten();
            let inner = inner.filter_map(|(name, value)| Some((name, scalar(value)?)));
            match scalar(value) {
                Some(value) => words.push(format!("{key} {value}")),
                None => words
                    .extend(inner.map(|(name, value)| format!("{key} {} {value}", words_of(name)))),
            }
        }
        words.extend(self.wal.as_ref().map(|wal| format!("wal {wal}")));
        words.join(", ")
    }
}

/// What has its own place among the words, or says to a person what another says already.
const TOLD: [&str; 7] = [
    "outcome", "message", "what", "by", "reason", "sqlstate", "place",
];

/// How long a value is shown.
const SHOWN_CHARS: usize = 200;

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(plain(text)),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A name in JSON as words; it may have been written by anybody, too.
fn words_of(name: &str) -> String {
    plain(name).replace('_', " ")
}

/// In one line, without what a terminal would obey: anybody who may write the journal may have written this.
fn plain(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words
        .join(" ")
        .chars()
        .filter(|c| !c.is_control() && !turns(*c))
        .take(SHOWN_CHARS)
        .collect()
}

/// Characters that show nothing and turn the order of those behind them (Unicode Standard Annex 9, section 2).
fn turns(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Without the fraction of a second.
fn to_the_second(at: &str) -> String {
    match at.split_once('.') {
        Some((second, rest)) => {
            let zone = rest.trim_start_matches(|c: char| c.is_ascii_digit());
            format!("{}{}", plain(second), plain(zone))
        }
        None => plain(at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: [Option<&str>; 10]) -> Row {
        cells
            .into_iter()
            .map(|cell| cell.map(str::to_owned))
            .collect()
    }

    /// Event, version, and detail.
    fn note(event: &str, version: Option<&str>, detail: Option<&str>) -> Row {
        row([
            Some("2026-01-01 00:00:01.123456+00"),
            Some("1a2b3c4d-0000-0000-0000-000000000000"),
            Some(event),
            version,
            None,
            None,
            Some("app@pod"),
            None,
            None,
            detail,
        ])
    }

    #[test]
    fn notes_are_told_in_a_line_each() {
        let mut started = note(
            "run_started",
            None,
            Some(r#"{"schemagate": "0.1.0", "restore_point": "sg_1"}"#),
        );
        started[7] = Some("1.2".to_owned());
        started[8] = Some("0/1A".to_owned());
        let mut failed = note(
            "failed",
            Some("0002"),
            Some(r#"{"message": "no\n such", "sqlstate": "42P01"}"#),
        );
        failed[4] = Some("3".to_owned());
        failed[5] = Some("1500".to_owned());
        let notes = Notes::from_rows("schemagate.history", &[started, failed]);
        let printed = notes.table();
        let lines: Vec<Vec<&str>> = printed
            .lines()
            .map(|line| {
                line.split("  ")
                    .map(str::trim)
                    .filter(|cell| !cell.is_empty())
                    .collect()
            })
            .collect();
        assert_eq!(
            lines,
            [
                vec![
                    "AT", "RUN", "EVENT", "VERSION", "TOOK", "ACTOR", "APP", "WHAT"
                ],
                vec![
                    "2026-01-01 00:00:01+00",
                    "1a2b3c4d",
                    "run_started",
                    "app@pod",
                    "1.2",
                    "restore point sg_1, schemagate 0.1.0, wal 0/1A"
                ],
                vec![
                    "2026-01-01 00:00:01+00",
                    "1a2b3c4d",
                    "failed",
                    "0002 piece 3",
                    "1s500ms",
                    "app@pod",
                    "no such"
                ],
            ]
        );
        let json: Value = serde_json::from_str(&notes.json()).unwrap();
        assert_eq!(json["journal"][1]["detail"]["message"], "no\n such");
    }

    #[test]
    fn every_event_says_what_matters_of_it() {
        for (event, detail, expected) in [
            ("run_finished", Some(r#"{"outcome": "held"}"#), "held"),
            (
                "approved",
                Some(
                    r#"{"what": "destructive", "by": "approve in 0004_x.sql", "reason": "unused since May"}"#,
                ),
                "destructive, by approve in 0004_x.sql, because: unused since May",
            ),
            (
                "repaired",
                Some(r#"{"what": "accept-checksum", "before": "aa", "after": "bb"}"#),
                "accept-checksum, after bb, before aa",
            ),
            (
                "repaired",
                Some(r#"{"what": "clear-dirty", "before": {"done": 2, "begun": 1}}"#),
                "clear-dirty, before begun 1, before done 2",
            ),
            (
                "backup",
                Some(r#"{"message": "pgBackRest 7", "size": 3}"#),
                "pgBackRest 7, size 3",
            ),
            ("intent", Some(r#"{"oid": 5}"#), ""),
            ("reverted", None, ""),
            (
                "fingerprint",
                Some(r#"{"format": 1, "server": 150018, "xid": "743", "objects": 12}"#),
                "objects 12",
            ),
            (
                "from the year 2030",
                Some(r#"{"new": true, "list": [1], "none": null}"#),
                "new true",
            ),
            ("strange", Some("[1, 2]"), ""),
            ("strange", Some("\"text\""), ""),
            (
                "strange",
                Some(r#"{"message": "\u001b[31mred\u0007"}"#),
                "[31mred",
            ),
            (
                "strange",
                Some(r#"{"\u001b[31m_key": 1, "o": {"\u0007in": "\u202eright\u2066"}}"#),
                "[31m key 1, o in right",
            ),
        ] {
            let note = Note::from_row(&note(event, None, detail));
            assert_eq!(note.what(), expected, "{event} {detail:?}");
        }
    }

    #[test]
    fn an_empty_journal_is_told() {
        assert!(
            Notes::from_rows("a.b", &[])
                .table()
                .contains("nothing about a.b")
        );
    }
}
