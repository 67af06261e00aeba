//! `baseline`: a database that is adopted.

use serde_json::Value;

use crate::harness::{Database, Folder, Outcome, Schemagate, Server};

fn three() -> Folder {
    Folder::sql(&[
        ("0001_a.sql", "CREATE TABLE a (id int);"),
        ("0002_b.sql", "CREATE TABLE b (id int);"),
        ("0003_c.sql", "CREATE TABLE c (id int);"),
    ])
}

fn baseline(database: &Database<'_>, folder: &Folder, to: &str) -> Schemagate {
    Schemagate::new(&["baseline", "--to", to])
        .url(&database.url())
        .folder(folder)
        .env("HOSTNAME", "a-pod")
}

fn summary(outcome: &Outcome) -> Value {
    outcome.logs().pop().expect("a last line")
}

fn versions(database: &Database<'_>) -> String {
    database.value("SELECT string_agg(version, ',' ORDER BY serial) FROM schemagate.history")
}

#[test]
fn what_is_marked_is_told_and_what_comes_next() {
    let (database, folder) = (Server::debian().database(), three());
    database.query("CREATE TABLE a (id int)");
    baseline(&database, &folder, "2")
        .env("SCHEMAGATE_DRY_RUN", "true")
        .run()
        .assert_code(0)
        .assert_prints("would mark 0001 as applied\nwould mark 0002 as applied");
    assert!(!database.has_table("schemagate.history"));
    let outcome = baseline(&database, &folder, "1").run();
    outcome
        .assert_code(0)
        .assert_prints("marked 0001 as applied")
        .assert_prints("would run 0002, 0003")
        .assert_silent_about("has no table of anybody");
    let outcome = baseline(&database, &folder, "0002").run();
    outcome
        .assert_code(0)
        .assert_says("in the history already, left as they are")
        .assert_prints("would run 0003");
    let sum = summary(&outcome);
    assert_eq!(sum["baselined"], serde_json::json!(["0002"]));
    assert_eq!(sum["applied"], serde_json::json!([]));
    assert_eq!(sum["pending"], serde_json::json!(["0003"]));
    assert_eq!(
        database.query(
            "SELECT version, actor FROM schemagate.journal WHERE event = 'baselined' ORDER BY id"
        ),
        [["0001", "postgres@a-pod"], ["0002", "postgres@a-pod"]]
    );
    // A Job that is run again, also when the database has gone on.
    Schemagate::migrate(&database, &folder).run().assert_code(0);
    baseline(&database, &folder, "0002")
        .run()
        .assert_code(0)
        .assert_prints("nothing to mark")
        .assert_prints("has nothing to run");
    assert_eq!(versions(&database), "0001,0002,0003");
}

#[test]
fn going_back_is_refused_unless_it_is_asked_for() {
    let (database, folder) = (Server::debian().database(), three());
    folder.remove("0002_b.sql");
    Schemagate::migrate(&database, &folder).run().assert_code(0);
    folder.write("0002_b.sql", b"CREATE TABLE b (id int);");
    for policy in ["", "fail", "ignore"] {
        baseline(&database, &folder, "0002")
            .env("SCHEMAGATE_OUT_OF_ORDER", policy)
            .run()
            .assert_code(2)
            .assert_says("would go back")
            .assert_says("SCHEMAGATE_OUT_OF_ORDER=apply");
    }
    baseline(&database, &folder, "0002")
        .env("SCHEMAGATE_OUT_OF_ORDER", "apply")
        .run()
        .assert_code(0);
    assert_eq!(versions(&database), "0001,0003,0002");
}

#[test]
fn another_tools_history_is_adopted_and_told() {
    let (database, folder) = (Server::debian().database(), three());
    database.query(
        "CREATE TABLE a (id int); CREATE TABLE schema_migrations (version bigint, dirty boolean);
         INSERT INTO schema_migrations VALUES (2, false)",
    );
    Schemagate::migrate(&database, &folder).run().assert_code(6);
    for dry in ["true", "false"] {
        baseline(&database, &folder, "0002")
            .env("SCHEMAGATE_DRY_RUN", dry)
            .run()
            .assert_code(0)
            .assert_says("golang-migrate")
            .assert_says("adopting the database from it");
    }
    Schemagate::migrate(&database, &folder).run().assert_code(0);
    assert!(database.has_table("c") && !database.has_table("b"));
}

#[test]
fn an_empty_database_is_probably_a_mistake() {
    let (database, folder) = (Server::debian().database(), three());
    database.query("CREATE EXTENSION pg_stat_statements");
    for dry in ["true", "false"] {
        baseline(&database, &folder, "0003")
            .env("SCHEMAGATE_DRY_RUN", dry)
            .run()
            .assert_code(0)
            .assert_says("has no table of anybody")
            .assert_says("repair --forget");
    }
}

#[test]
fn a_dirty_migration_that_is_whole_is_marked() {
    let database = Server::debian().database();
    let folder = Folder::sql(&[(
        "0001_b.sql",
        "-- schemagate: transaction=off\nCREATE TABLE b (id int);\nCREATE INDEX CONCURRENTLY i ON b (idd);",
    )]);
    let migrate = Schemagate::migrate(&database, &folder);
    migrate.run().assert_code(5);
    folder.write("0001_b.sql", b"CREATE TABLE b (id int);\nVACUUM b;");
    migrate
        .run()
        .assert_code(6)
        .assert_says("baseline --to 0001");
    baseline(&database, &folder, "0001").run().assert_code(0);
    migrate.run().assert_code(0);
}

#[test]
fn drizzle_is_named_by_its_tag() {
    let database = Server::debian().database();
    database.query("CREATE TABLE a (id int)");
    let folder = Folder::classic(&[
        ("0000_a", 1_700_000_000_000, "CREATE TABLE a (id int);"),
        ("0001_b", 1_700_000_001_000, "CREATE TABLE b (id int);"),
    ]);
    baseline(&database, &folder, "0000")
        .run()
        .assert_code(0)
        .assert_prints("marked 0000_a as applied")
        .assert_prints("would run 0001_b");
}
