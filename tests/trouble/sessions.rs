//! Other sessions in the way: deadlocks, serialization failures.

use crate::harness::{Folder, Schemagate, Server, Session, eventually};

/// The migration locks `a` and then wants `b`; the application has `b` and wants `a`. The server finds the circle after
/// `deadlock_timeout` and ends the migration, for the application's is longer; the application goes on, and so does the
/// next attempt.
#[test]
fn a_deadlock() {
    let server = Server::debian();
    let database = server.database();
    database.query("CREATE TABLE a (id int); CREATE TABLE b (id int)");
    let folder = Folder::sql(&[(
        "0001_both.sql",
        "ALTER TABLE a ADD COLUMN x int; SELECT pg_sleep(1); ALTER TABLE b ADD COLUMN x int;",
    )]);
    let application = Session::connect(&database.url());
    application.query("SET deadlock_timeout = '60s'; BEGIN; LOCK TABLE b");
    let running = Schemagate::migrate(&database, &folder)
        .env("SCHEMAGATE_LOCK_TIMEOUT", "20s")
        .spawn();
    eventually!(
        database.value(
            "SELECT count(*) FROM pg_locks WHERE relation = 'a'::regclass AND mode = 'AccessExclusiveLock' AND granted"
        ) == "1",
        "the migration holds the first table"
    );
    // Waits for the migration, which waits for us.
    application.query("LOCK TABLE a; COMMIT");
    let outcome = running.wait();
    outcome
        .assert_code(0)
        .assert_says("40P01")
        .assert_says("deadlock");
    assert_eq!(
        database.value("SELECT count(*) FROM schemagate.history"),
        "1"
    );
}

/// What fails once because of others passes the next time; what always fails ends with 4 when the retries are used up.
#[test]
fn a_serialization_failure() {
    let database = Server::debian().database();
    database.query("CREATE SEQUENCE attempts");
    let folder = Folder::sql(&[(
        "0001_once.sql",
        "CREATE TABLE once (id int);
         DO $$ BEGIN IF nextval('attempts') = 1 THEN
           RAISE EXCEPTION 'could not serialize access' USING ERRCODE = 'serialization_failure';
         END IF; END $$;",
    )]);
    Schemagate::migrate(&database, &folder)
        .run()
        .assert_code(0)
        .assert_says("40001")
        .assert_says("another transaction came in between");
    assert_eq!(database.value("SELECT last_value FROM attempts"), "2");

    folder.write(
        "0002_always.sql",
        b"DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = 'serialization_failure'; END $$;",
    );
    Schemagate::migrate(&database, &folder)
        .env("SCHEMAGATE_LOCK_RETRIES", "1")
        .run()
        .assert_code(4)
        .assert_says("came in between");
}
