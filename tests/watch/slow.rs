//! Statements that take as long as a test wants.

use std::time::Duration;

use serde_json::Value;

use crate::harness::{Database, Folder, Outcome, Schemagate};

/// Long enough for one line of the log, which comes after ten seconds.
pub(crate) const SECONDS: u32 = 13;

/// A table with a row a block, and a function that takes a second for each.
pub(crate) fn table(database: &Database<'_>) {
    database.query(&format!(
        "CREATE TABLE parcels (id int, filler text);
         ALTER TABLE parcels ALTER filler SET STORAGE PLAIN;
         INSERT INTO parcels SELECT i, repeat('x', 5000) FROM generate_series(1, {SECONDS}) i;
         CREATE FUNCTION slowly(i int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS
         'BEGIN PERFORM pg_sleep(1); RETURN i; END'"
    ));
}

pub(crate) fn one(sql: &str) -> Folder {
    Folder::sql(&[("0001_slow.sql", sql)])
}

pub(crate) fn migrate(url: &str, folder: &Folder) -> Schemagate {
    Schemagate::new(&["migrate"])
        .url(url)
        .folder(folder)
        .timeout(Duration::from_mins(2))
}

/// The lines that tell how far a statement is.
pub(crate) fn lines(outcome: &Outcome) -> Vec<Value> {
    let mut logs = outcome.logs();
    logs.retain(|line| {
        line["message"] == "still running" || line["message"] == "waiting for a lock"
    });
    logs
}
