//! Drift: each kind of object changed by hand is found and named, and nothing is told where nobody changed anything.

mod kinds;
mod restore;
mod surroundings;

use serde_json::Value;

use crate::harness::{Database, Folder, Outcome, Schemagate};

/// Everything that a schema may have, above all what PostgreSQL prints in another way after a restore.
pub(crate) const RICH: &str = include_str!("drift/rich.sql");

/// `verify --format json` of a folder on a database.
pub(crate) fn verify(database: &Database<'_>, folder: &Folder) -> Schemagate {
    Schemagate::new(&["verify", "--format", "json"])
        .url(&database.url())
        .folder(folder)
}

/// What it printed.
#[track_caller]
pub(crate) fn report(outcome: &Outcome) -> Value {
    serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{error}\n{outcome}"))
}

/// Each finding as `what kind name attribute`.
#[track_caller]
pub(crate) fn found(outcome: &Outcome) -> Vec<String> {
    let report = report(outcome);
    let findings = report["findings"].as_array().expect("findings");
    findings
        .iter()
        .map(|finding| {
            let text = |key: &str| finding[key].as_str().unwrap_or_default();
            let line = ["what", "kind", "name", "attribute"].map(text).join(" ");
            line.trim_end().to_owned()
        })
        .collect()
}

/// A folder of one migration.
pub(crate) fn folder_of(sql: &str) -> Folder {
    Folder::sql(&[("0001_all.sql", sql)])
}
