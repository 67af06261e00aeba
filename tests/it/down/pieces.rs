//! Down files that cannot run in one transaction.

use super::{down, migrated, notes, versions};
use crate::harness::{Folder, PgBouncer, Schemagate, Server, eventually};

/// An index that is built and dropped concurrently, between two that need no such care.
fn indexes() -> Folder {
    Folder::sql(&[
        ("0001_t.up.sql", "CREATE TABLE t (id int);"),
        ("0001_t.down.sql", "DROP TABLE t;"),
        (
            "0002_i.up.sql",
            "CREATE INDEX CONCURRENTLY t_i ON t (id);\nCREATE TABLE u ();",
        ),
        (
            "0002_i.down.sql",
            "DROP TABLE u;\nDROP INDEX CONCURRENTLY t_i;",
        ),
    ])
}

const INDEX: &str = "SELECT count(*) FROM pg_class WHERE relname = 't_i'";

#[test]
fn they_run_piece_by_piece_and_again() {
    let folder = indexes();
    let database = migrated(&folder);
    let pooler = PgBouncer::start(Server::debian(), "transaction", 4);
    for url in [database.url(), pooler.url(&database)] {
        down(&database, &folder, "0001")
            .url(&url)
            .run()
            .assert_code(0);
        assert_eq!(versions(&database), "0001");
        assert_eq!(database.value(INDEX), "0");
        Schemagate::new(&["repair", "--clear-dirty", "0002"])
            .url(&database.url())
            .folder(&folder)
            .run()
            .assert_code(2)
            .assert_says("0002 is not dirty");
        // Its pieces have a new life.
        Schemagate::migrate(&database, &folder).run().assert_code(0);
        assert_eq!(versions(&database), "0001,0002");
        assert_eq!(database.value(INDEX), "1");
    }
    let all = notes(&database);
    assert!(
        all.contains("statement_done 0002, intent 0002, statement_done 0002, reverted 0002"),
        "{all}"
    );
}

#[test]
fn killed_between_two_pieces_the_next_run_goes_on() {
    let folder = indexes();
    let database = migrated(&folder);
    let holder = database.session();
    holder.query("BEGIN; SELECT * FROM t");
    let run = down(&database, &folder, "1").spawn();
    database.schemagate_runs("DROP INDEX CONCURRENTLY");
    run.signal("KILL");
    run.wait().assert_code(137);
    eventually!(database.has_no_advisory_lock(), "the lock is free");
    assert_eq!(versions(&database), "0001,0002");
    assert!(!database.has_table("u"));
    holder.query("COMMIT");
    // What is half undone is not built upon.
    folder.write("0003_v.up.sql", b"CREATE TABLE v ();");
    folder.write("0003_v.down.sql", b"DROP TABLE v;");
    Schemagate::migrate(&database, &folder)
        .run()
        .assert_code(6)
        .assert_says("0002 is dirty")
        .assert_says("half undone")
        .assert_says("or undo by hand what is left of it, and `schemagate repair --forget 0002`");
    assert!(!database.has_table("v"));
    down(&database, &folder, "1")
        .run()
        .assert_code(0)
        .assert_says("was interrupted before: 1 of its 2 pieces");
    assert_eq!(versions(&database), "0001");
    assert_eq!(database.value(INDEX), "0");
    Schemagate::migrate(&database, &folder).run().assert_code(0);
    assert_eq!(versions(&database), "0001,0002,0003");
}

#[test]
fn nothing_is_pulled_away_beneath_what_is_half_applied() {
    let folder = indexes();
    folder.write(
        "0003_half.up.sql",
        b"CREATE INDEX CONCURRENTLY t_2 ON t (id);\nCREATE INDEX CONCURRENTLY t_3 ON t (no_such_column);",
    );
    folder.write("0003_half.down.sql", b"DROP INDEX t_2;");
    let database = Server::debian().database();
    Schemagate::migrate(&database, &folder).run().assert_code(5);
    assert_eq!(versions(&database), "0001,0002");
    down(&database, &folder, "1")
        .run()
        .assert_code(6)
        .assert_says("0003 is dirty")
        .assert_says("half applied");
    assert_eq!(versions(&database), "0001,0002");
}

#[test]
fn not_in_one_transaction_with_others() {
    let folder = indexes();
    let database = migrated(&folder);
    down(&database, &folder, "0")
        .env("SCHEMAGATE_TRANSACTION", "all")
        .run()
        .assert_code(2)
        .assert_says("DROP INDEX CONCURRENTLY in line 2");
    assert_eq!(versions(&database), "0001,0002");
    assert!(database.has_table("u"));
}
