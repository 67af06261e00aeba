//! What is known to fail before anything is written.

mod extensions;
mod rights;
mod sure;

use std::path::Path;

use crate::harness::{Database, Folder, Outcome, Schemagate};

/// A folder with one file a text: `0001_x.sql`, `0002_x.sql`, ….
fn files(texts: &[&str]) -> Folder {
    let folder = Folder::empty();
    for (index, text) in texts.iter().enumerate() {
        folder.write(&format!("{:04}_x.sql", index + 1), text.as_bytes());
    }
    folder
}

/// No gate is in the way of what is looked at here.
fn migrate(database: &Database<'_>, folder: impl AsRef<Path>) -> Schemagate {
    Schemagate::migrate(database, folder).env("SCHEMAGATE_ALLOW", "all")
}

fn migrate_as(database: &Database<'_>, role: &str, folder: &Folder) -> Outcome {
    migrate(database, folder).url(&database.url_as(role)).run()
}

/// A role that may create schemas, so that history and journal are no matter.
fn maker(database: &Database<'_>) -> String {
    let role = database.role("app", "LOGIN");
    database.query(&format!(
        "GRANT CREATE ON DATABASE {} TO {role}",
        database.name
    ));
    role
}

/// Nothing was written, not even the journal.
#[track_caller]
fn assert_untouched(database: &Database<'_>) {
    assert_eq!(
        database
            .value("SELECT count(*) FROM pg_namespace WHERE nspname IN ('schemagate', 'drizzle')"),
        "0"
    );
}

fn drop_role(database: &Database<'_>, role: &str) {
    database.query(&format!("DROP OWNED BY {role} CASCADE; DROP ROLE {role}"));
}
