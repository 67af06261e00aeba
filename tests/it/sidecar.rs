//! The sidecar from outside: its states end to end, what takes readiness away, and what does not.

mod watching;

use crate::harness::{Database, Folder, Schemagate};

/// Two migrations.
pub(crate) fn two() -> Folder {
    Folder::sql(&[
        ("0001_a.sql", "CREATE TABLE a (id int);"),
        ("0002_b.sql", "CREATE TABLE b (id int);"),
    ])
}

/// What another pod does.
#[track_caller]
pub(crate) fn migrated(database: &Database<'_>, folder: &Folder) {
    Schemagate::migrate(database, folder).run().assert_code(0);
}
