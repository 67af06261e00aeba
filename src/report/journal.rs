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

    /// The table for people.
    pub fn table(&self) -> String {
        if self.journal.is_empty() {
            return format!("the journal has nothing about {}", self.history);
        }
        let mut rows =
            vec![["AT", "EVENT", "VERSION", "TOOK", "ACTOR", "DETAIL"].map(str::to_owned)];
        rows.extend(self.journal.iter().map(|note| {
            [
                note.at.clone(),
                note.event.clone(),
                note.subject(),
                note.duration_ms.map(short).unwrap_or_default(),
                note.actor.clone().unwrap_or_default(),
                note.more(),
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
        let version = self.version.clone().unwrap_or_default();
        match self.statement {
            Some(statement) => format!("{version} piece {statement}"),
            None => version,
        }
    }

    /// What tells most in a few words: the end of a run, the message of a failure, the position to go back to.
    fn more(&self) -> String {
        let told = |key: &str| {
            let value = self.detail.as_ref()?.get(key)?.as_str()?;
            Some(value.split_whitespace().collect::<Vec<_>>().join(" "))
        };
        let words = [
            told("outcome"),
            told("message"),
            self.wal.as_ref().map(|wal| format!("wal {wal}")),
            self.app_version
                .as_ref()
                .map(|version| format!("application {version}")),
        ];
        words.into_iter().flatten().collect::<Vec<_>>().join(", ")
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

    #[test]
    fn notes_are_told_in_a_line_each() {
        let rows = [
            row([
                Some("2026-01-01 00:00:00+00"),
                Some("r"),
                Some("run_started"),
                None,
                None,
                None,
                Some("app@pod"),
                Some("1.2"),
                Some("0/1A"),
                None,
            ]),
            row([
                Some("2026-01-01 00:00:01+00"),
                Some("r"),
                Some("failed"),
                Some("0002"),
                Some("3"),
                Some("1500"),
                Some("app"),
                None,
                None,
                Some("{\"message\": \"no\\n such\"}"),
            ]),
        ];
        let notes = Notes::from_rows("schemagate.history", &rows);
        assert_eq!(
            notes.table(),
            "AT                      EVENT        VERSION       TOOK     ACTOR    DETAIL\n\
             2026-01-01 00:00:00+00  run_started                         app@pod  wal 0/1A, application 1.2\n\
             2026-01-01 00:00:01+00  failed       0002 piece 3  1s500ms  app      no such\n"
        );
        let json: Value = serde_json::from_str(&notes.json()).unwrap();
        assert_eq!(json["journal"][1]["detail"]["message"], "no\n such");
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
