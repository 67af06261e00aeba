//! No gate holds on a database that is being built from nothing; on any other they do.

use super::applied;
use crate::harness::{Folder, Schemagate, Server};

/// Replayed from nothing, every migration meets the rows of the one before.
fn history() -> Folder {
    Folder::sql(&[
        ("0001_a.sql", "CREATE TABLE a (id int);\n"),
        ("0002_drop.sql", "DROP TABLE a;\n"),
        (
            "0003_needs.sql",
            "-- schemagate: requires-app=\">=1.4\" window=\"Mon 00:00-00:01 UTC\"\nCREATE TABLE b (id int);\n",
        ),
        ("0004_drop.sql", "DROP TABLE b;\nCREATE TABLE c (id int);\n"),
    ])
}

const BOOTSTRAPS: &str = "SELECT count(*) FROM schemagate.journal WHERE event = 'bootstrap'";

#[test]
fn the_gates_are_open_until_it_is_current() {
    let (database, folder) = (Server::debian().database(), history());
    // An extension's tables are nobody's data.
    database.query("CREATE EXTENSION pg_stat_statements");
    let migrate = Schemagate::migrate(&database, &folder);
    migrate.run().assert_code(0);
    assert_eq!(database.value(BOOTSTRAPS), "1");
    folder.write("0005_drop.sql", b"DROP TABLE c;\n");
    migrate.run().assert_code(7);
    assert_eq!(database.value(BOOTSTRAPS), "1");
}

#[test]
fn they_stay_open_when_it_is_half_built() {
    let (database, folder) = (Server::debian().database(), history());
    folder.write("0003_needs.sql", b"SELECT nonsense;\n");
    let migrate = Schemagate::migrate(&database, &folder);
    migrate.run().assert_code(5);
    assert_eq!(applied(&database), ["0001", "0002"]);
    folder.write("0003_needs.sql", b"CREATE TABLE b (id int);\n");
    folder.write(
        "0005_drop.sql",
        b"DROP TABLE c;\nCREATE TABLE d (id int);\n",
    );
    migrate.run().assert_code(0);
    folder.write("0006_drop.sql", b"DROP TABLE d;\n");
    migrate.run().assert_code(7);
}

/// Killed between its last commit and its end: nobody notes the end, for nothing is pending.
#[test]
fn they_close_though_the_end_was_not_noted() {
    let (database, folder) = (Server::debian().database(), history());
    let migrate = Schemagate::migrate(&database, &folder);
    migrate.run().assert_code(0);
    database.query("DELETE FROM schemagate.journal WHERE event = 'run_finished'");
    migrate.run().assert_code(0);
    folder.write("0005_drop.sql", b"DROP TABLE c;\n");
    migrate.run().assert_code(7);
}

/// An older image whose folder is applied as a whole looks current and writes nothing; its application writes.
#[test]
fn they_close_a_day_after_a_beginning_that_was_given_up() {
    let (database, folder) = (Server::debian().database(), history());
    folder.write("0003_needs.sql", b"SELECT nonsense;\n");
    let migrate = Schemagate::migrate(&database, &folder);
    migrate.run().assert_code(5);
    let old = Folder::sql(&[
        ("0001_a.sql", "CREATE TABLE a (id int);\n"),
        ("0002_drop.sql", "DROP TABLE a;\n"),
    ]);
    let before = Schemagate::migrate(&database, &old);
    before.run().assert_code(0);
    database.query("CREATE TABLE users (id int)");
    database.query("UPDATE schemagate.journal SET at = at - interval '25 hours'");
    old.write("0003_drop.sql", b"DROP TABLE users;\n");
    before
        .run()
        .assert_code(7)
        .assert_says("began to build the database from nothing is more than a day ago");
    assert!(database.has_table("users"));
}

#[test]
fn an_adopted_database_is_guarded_from_the_start() {
    let database = Server::debian().database();
    database.query("CREATE TABLE users (id int)");
    let folder = Folder::sql(&[("0001_drop.sql", "DROP TABLE users;\n")]);
    let migrate = Schemagate::migrate(&database, &folder);
    migrate.run().assert_code(7).assert_says(
        "the history is empty, but public.users is there already, so the database is not being built from nothing",
    );
    assert!(database.has_table("users"));
    migrate
        .env("SCHEMAGATE_APPROVE", "0001")
        .run()
        .assert_code(0);
    assert_eq!(database.value(BOOTSTRAPS), "0");
}

/// Where no gate asks, the journal is right all the same.
#[test]
fn an_adopted_database_is_not_noted_as_new() {
    let database = Server::debian().database();
    database.query("CREATE TABLE users (id int)");
    let folder = Folder::sql(&[
        ("0001_a.sql", "CREATE TABLE a (id int);\n"),
        ("0002_b.sql", "SELECT nonsense;\n"),
    ]);
    let migrate = Schemagate::migrate(&database, &folder);
    migrate.run().assert_code(5);
    folder.write("0002_b.sql", b"DROP TABLE users;\n");
    migrate.run().assert_code(7);
    assert_eq!(database.value(BOOTSTRAPS), "0");
}

#[test]
fn a_baseline_is_no_beginning() {
    let database = Server::debian().database();
    let folder = history();
    Schemagate::new(&["baseline", "--to", "0002"])
        .url(&database.url())
        .folder(&folder)
        .run()
        .assert_code(0);
    Schemagate::migrate(&database, &folder).run().assert_code(7);
}

/// A role that may not have a journal builds all the same, and in one go.
#[test]
fn without_a_journal_only_the_run_itself_knows() {
    let database = Server::debian().database();
    let app = database.role("app", "LOGIN");
    database.query(&format!("CREATE SCHEMA s AUTHORIZATION \"{app}\""));
    let folder = Folder::sql(&[
        ("0001_a.sql", "CREATE TABLE s.a (id int);\n"),
        (
            "0002_drop.sql",
            "DROP TABLE s.a;\nCREATE TABLE s.b (id int);\n",
        ),
        (
            "0003_w.sql",
            "-- schemagate: window=\"Mon 00:00-00:01 UTC\"\nDROP TABLE s.b;\nCREATE TABLE s.c (id int);\n",
        ),
    ]);
    let migrate = Schemagate::new(&["migrate"])
        .url(&database.url_as(&app))
        .folder(&folder)
        .env("SCHEMAGATE_HISTORY_TABLE", "s.history");
    migrate.run().assert_code(0);
    folder.write("0004_drop.sql", b"DROP TABLE s.c;\n");
    migrate
        .run()
        .assert_code(7)
        .assert_says("without the journal it cannot be known");
}
