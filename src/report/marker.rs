//! `status` of a marker (`SCHEMAGATE_EXEC_ONCE`), as a table and as JSON.

use serde::Serialize;

use super::status::{SCHEMA_VERSION, align};
use crate::history::marker::{Marker, MarkerState};

/// Everything that `status` shows where a marker stands for the schema.
#[derive(Debug, Clone, Serialize)]
pub struct MarkerStatus {
    /// The version of this form.
    pub schema_version: u32,
    /// `ready`, `pending` or `failed`.
    pub state: &'static str,
    /// The database.
    pub database: String,
    /// The marker.
    pub marker: MarkerLine,
}

/// What the journal knows of the marker.
#[derive(Debug, Clone, Serialize)]
pub struct MarkerLine {
    /// `SCHEMAGATE_EXEC_ONCE`.
    pub name: String,
    /// The journal's column `history`.
    pub history: String,
    /// `done`, `absent` or `failed`.
    pub state: &'static str,
    /// When it was done or failed, as PostgreSQL prints it.
    pub at: Option<String>,
    /// How it failed.
    pub note: Option<String>,
}

// === impl MarkerStatus ===

impl MarkerStatus {
    /// From the journal's word.
    pub fn new(marker: &Marker, found: MarkerState, database: String) -> Self {
        let (state, word, at, note) = match found {
            MarkerState::Done { at } => ("ready", "done", Some(at), None),
            MarkerState::Absent => ("pending", "absent", None, None),
            MarkerState::Failed { message, at } => ("failed", "failed", Some(at), Some(message)),
        };
        Self {
            schema_version: SCHEMA_VERSION,
            state,
            database,
            marker: MarkerLine {
                name: marker.name.clone(),
                history: marker.history.clone(),
                state: word,
                at,
                note,
            },
        }
    }

    /// The JSON form.
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// The table for people.
    pub fn table(&self) -> String {
        let line = &self.marker;
        let rows = [
            ["MARKER", "STATE", "AT", "NOTE"].map(str::to_owned),
            [
                line.name.clone(),
                line.state.to_owned(),
                line.at.clone().unwrap_or_default(),
                line.note.clone().unwrap_or_default(),
            ],
        ];
        format!(
            "{}{}: marker of history {} in the journal of database {}\n",
            align(&rows),
            self.state,
            line.history,
            self.database
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(found: MarkerState) -> MarkerStatus {
        MarkerStatus::new(&Marker::new("1.4.2", None), found, "app".to_owned())
    }

    #[test]
    fn tables() {
        let at = || "2026-01-01 00:00:00+00".to_owned();
        for (found, expected) in [
            (
                MarkerState::Absent,
                "MARKER  STATE   AT  NOTE\n1.4.2   absent\npending: ",
            ),
            (
                MarkerState::Done { at: at() },
                "MARKER  STATE  AT                      NOTE\n1.4.2   done   2026-01-01 00:00:00+00\nready: ",
            ),
            (
                MarkerState::Failed {
                    message: "exit 3".to_owned(),
                    at: at(),
                },
                "MARKER  STATE   AT                      NOTE\n1.4.2   failed  2026-01-01 00:00:00+00  exit 3\nfailed: ",
            ),
        ] {
            let table = status(found).table();
            let expected =
                format!("{expected}marker of history exec in the journal of database app\n");
            assert_eq!(table, expected);
        }
    }

    #[test]
    fn json_names_every_part() {
        let value: serde_json::Value =
            serde_json::from_str(&status(MarkerState::Absent).json()).unwrap();
        assert_eq!(
            value,
            serde_json::json!({"schema_version": 1, "state": "pending", "database": "app",
                "marker": {"name": "1.4.2", "history": "exec", "state": "absent", "at": null, "note": null}})
        );
    }
}
