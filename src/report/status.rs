//! `status`: every migration with its state, as a table and as JSON.

use std::{collections::HashMap, fmt::Write as _};

use serde::Serialize;
use unicode_width::UnicodeWidthStr;

use crate::{
    formats,
    history::Noted,
    migration::Migration,
    plan::{Deferral, Difference, Plan, State},
    report::log::short,
};

/// The version of the JSON form; additions do not change it.
pub const SCHEMA_VERSION: u32 = 1;

/// Everything that `status` shows.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// The version of this form.
    pub schema_version: u32,
    /// `ready`, `pending`, `ahead`, `mismatch` or `failed`.
    pub state: &'static str,
    /// The format of the folder.
    pub format: &'static str,
    /// The history table.
    pub history: String,
    /// The database.
    pub database: String,
    /// Every migration of the folder, in order.
    pub migrations: Vec<Line>,
    /// Rows that this image does not know and that are newer than it.
    pub ahead: Vec<String>,
    /// Rows whose file is gone.
    pub missing: Vec<String>,
    /// What forbids to run anything.
    pub conflicts: Vec<String>,
    /// What a person should know.
    pub warnings: Vec<String>,
}

/// One migration.
#[derive(Debug, Clone, Serialize)]
pub struct Line {
    /// What identifies it.
    pub version: String,
    /// Its file.
    pub path: String,
    /// `applied`, `changed`, `pending`, `deferred`, `out of order`, `ignored` or `failed`.
    pub state: &'static str,
    /// When it was applied, as PostgreSQL prints it; `null` where nobody noted it.
    pub applied_at: Option<String>,
    /// How long it took; `null` where nobody noted it.
    pub duration_ms: Option<i64>,
    /// The checksum of the file.
    pub checksum: String,
    /// Why it is in that state, where that is not evident.
    pub note: Option<String>,
}

// === impl Status ===

impl Status {
    /// From the plan and the journal.
    pub fn new(
        format: formats::Format,
        history: String,
        database: String,
        migrations: &[Migration],
        plan: &Plan,
        applied: &[crate::migration::Applied],
        noted: &HashMap<String, Noted>,
    ) -> Self {
        let lines: Vec<Line> = migrations
            .iter()
            .zip(&plan.states)
            .map(|(migration, state)| {
                line(
                    migration,
                    state,
                    migrations,
                    applied,
                    noted.get(&migration.version),
                )
            })
            .collect();
        let mut status = Self {
            schema_version: SCHEMA_VERSION,
            state: "",
            format: format.label(),
            history,
            database,
            migrations: lines,
            ahead: plan.ahead.iter().map(formats::label).collect(),
            missing: plan.missing.iter().map(formats::label).collect(),
            conflicts: plan.conflicts.iter().map(ToString::to_string).collect(),
            warnings: plan.warnings.clone(),
        };
        status.judge();
        status
    }

    /// Sets [`Status::state`] to what the rest amounts to, after a line has changed.
    pub fn judge(&mut self) {
        let has = |state: &str| self.count(state) > 0;
        self.state = if !self.conflicts.is_empty() {
            "mismatch"
        } else if has("failed") {
            "failed"
        } else if has("pending") {
            "pending"
        } else if self.ahead.is_empty() {
            "ready"
        } else {
            "ahead"
        };
    }

    /// The JSON form.
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// The table for people.
    pub fn table(&self) -> String {
        let mut rows = vec![["VERSION", "STATE", "APPLIED AT", "TOOK", "NOTE"].map(str::to_owned)];
        rows.extend(self.migrations.iter().map(|line| {
            [
                line.version.clone(),
                line.state.to_owned(),
                line.applied_at.clone().unwrap_or_default(),
                line.duration_ms.map(short).unwrap_or_default(),
                line.note.clone().unwrap_or_default(),
            ]
        }));
        let extra = [("ahead", &self.ahead), ("missing", &self.missing)];
        for (state, names) in extra {
            rows.extend(names.iter().map(|name| {
                [
                    name.clone(),
                    state.to_owned(),
                    String::new(),
                    String::new(),
                    String::new(),
                ]
            }));
        }
        let mut text = align(&rows);
        for sentence in self.conflicts.iter().chain(&self.warnings) {
            let _ = writeln!(text, "! {sentence}");
        }
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{}: {} of {} applied, format {}, history {} in database {}",
            self.state,
            self.count("applied") + self.count("changed"),
            self.migrations.len(),
            self.format,
            self.history,
            self.database
        );
        text
    }

    fn count(&self, state: &str) -> usize {
        self.migrations
            .iter()
            .filter(|line| line.state == state)
            .count()
    }
}

fn line(
    migration: &Migration,
    state: &State,
    migrations: &[Migration],
    applied: &[crate::migration::Applied],
    noted: Option<&Noted>,
) -> Line {
    let mut line = Line {
        version: migration.version.clone(),
        path: migration.path.clone(),
        state: "pending",
        applied_at: None,
        duration_ms: None,
        checksum: migration.checksum.clone(),
        note: None,
    };
    match state {
        State::Applied { row, difference } => {
            let row = applied.get(*row);
            let noted = noted.cloned().unwrap_or_default();
            line.state = if *difference == Difference::Content {
                "changed"
            } else {
                "applied"
            };
            line.note = match difference {
                Difference::None => None,
                Difference::LineEndings => Some("line endings differ from the applied file".into()),
                Difference::Content => Some("the file differs from the applied one".into()),
            };
            line.applied_at = row.and_then(|row| row.applied_at.clone()).or(noted.at);
            line.duration_ms = row.and_then(|row| row.duration_ms).or(noted.duration_ms);
        }
        State::Pending => {
            if let Some(failure) = noted.and_then(|noted| noted.failure.clone()) {
                line.state = "failed";
                line.note = Some(failure);
            }
        }
        State::Deferred(why) => {
            line.state = "deferred";
            line.note = Some(match why {
                Deferral::BehindTarget => "behind SCHEMAGATE_TARGET".to_owned(),
                Deferral::Contract => "contract phase".to_owned(),
                Deferral::BehindContract(index) => format!(
                    "behind {}, which waits for the contract phase",
                    migrations.get(*index).map_or("", |other| &other.version)
                ),
            });
        }
        State::OutOfOrder => line.state = "out of order",
        State::Ignored => {
            line.state = "ignored";
            line.note = Some("out of order, left out by SCHEMAGATE_OUT_OF_ORDER=ignore".into());
        }
    }
    line
}

/// Columns as wide as their widest cell on a terminal; the last one is as long as it is.
pub(super) fn align<const N: usize>(rows: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.width());
        }
    }
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            line.push_str(cell);
            line.push_str(&" ".repeat(width.saturating_sub(cell.width()) + 2));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_by_width_on_a_terminal() {
        let rows = [["a", "b"], ["日本", "c"], ["x🙂", "d"]].map(|row| row.map(str::to_owned));
        assert_eq!(align(&rows), "a     b\n日本  c\nx🙂   d\n");
    }
}
