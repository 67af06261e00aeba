//! Backups that the journal must know of.

use super::{applied, approvals, current, dropping};
use crate::harness::{Folder, Outcome, Schemagate, Server};

/// The statement as it is printed.
pub(super) fn note(outcome: &Outcome) -> String {
    let from = outcome
        .stderr
        .find("INSERT INTO")
        .unwrap_or_else(|| panic!("{outcome}"));
    let rest = &outcome.stderr[from..];
    let to = rest
        .find(", or at the head of")
        .unwrap_or_else(|| panic!("{outcome}"));
    rest[..to].to_owned()
}

#[test]
fn a_destructive_step_needs_one_and_says_how_it_is_noted() {
    let (database, folder) = dropping();
    let migrate = Schemagate::migrate(&database, &folder)
        .env("SCHEMAGATE_ALLOW", "all")
        .env("SCHEMAGATE_REQUIRE_BACKUP", "24h");
    let outcome = migrate.run();
    outcome
        .assert_code(7)
        .assert_says("0003 (0003_drop.sql:2: ALTER TABLE users DROP COLUMN old) is held")
        .assert_says("needs a backup no older than 24h (SCHEMAGATE_REQUIRE_BACKUP), and the journal notes none")
        .assert_says("-- schemagate: waive=backup reason=");
    database.query(&note(&outcome));
    database
        .query("UPDATE schemagate.journal SET at = now() - interval '25h' WHERE event = 'backup'");
    migrate
        .run()
        .assert_code(7)
        .assert_says("the last one noted in the journal is of ");
    assert_eq!(applied(&database), ["0001", "0002"]);
    database.query(&note(&outcome));
    migrate.run().assert_code(0);
}

#[test]
fn it_is_waived_in_the_file() {
    let (database, folder) = current();
    folder.write(
        "0002_drop.sql",
        b"-- schemagate: waive=backup reason=\"a scratch table\"\nDROP TABLE users;\n",
    );
    Schemagate::migrate(&database, &folder)
        .env("SCHEMAGATE_ALLOW", "all")
        .env("SCHEMAGATE_REQUIRE_BACKUP", "24h")
        .run()
        .assert_code(0);
    let noted = &approvals(&database)[0];
    assert_eq!(
        noted[2..],
        ["backup", "waive in 0002_drop.sql", "a scratch table"]
    );
}

/// A database that another tool has migrated so far has no journal in which a backup could be noted.
#[test]
fn there_is_a_journal_to_note_it_in() {
    let database = Server::debian().database();
    let folder = Folder::sql(&[("0001_drop.sql", "DROP TABLE users;\n")]);
    database.query("CREATE TABLE users (id int)");
    let migrate = Schemagate::migrate(&database, &folder)
        .env("SCHEMAGATE_ALLOW", "all")
        .env("SCHEMAGATE_REQUIRE_BACKUP", "24h");
    let outcome = migrate.run();
    outcome.assert_code(7);
    database.query(&note(&outcome));
    migrate.run().assert_code(0);
    assert!(!database.has_table("users"));
}

#[test]
fn without_a_journal_the_grant_is_told() {
    let database = Server::debian().database();
    let app = database.role("app", "LOGIN");
    database.query(&format!(
        "CREATE SCHEMA s AUTHORIZATION \"{app}\"; CREATE TABLE s.history (version text PRIMARY KEY, name text NOT NULL,
           checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now(), duration_ms bigint NOT NULL,
           serial bigint GENERATED ALWAYS AS IDENTITY);
         CREATE TABLE s.users (id int);
         ALTER TABLE s.history OWNER TO \"{app}\"; ALTER TABLE s.users OWNER TO \"{app}\""
    ));
    let folder = Folder::sql(&[("0001_drop.sql", "DROP TABLE s.users;\n")]);
    let migrate = Schemagate::new(&["migrate"])
        .url(&database.url_as(&app))
        .folder(&folder)
        .env("SCHEMAGATE_HISTORY_TABLE", "s.history")
        .env("SCHEMAGATE_APPROVE", "0001");
    migrate
        .clone()
        .env("SCHEMAGATE_REQUIRE_BACKUP", "24h")
        .run()
        .assert_code(7)
        .assert_says("the journal that would note one cannot be used")
        .assert_says("GRANT CREATE ON DATABASE");
    // Without that demand it goes on, and only the log notes who approved.
    migrate
        .run()
        .assert_code(0)
        .assert_says("transactional migrations run without it")
        .assert_says("0001: destructive let through by SCHEMAGATE_APPROVE=0001");
}
