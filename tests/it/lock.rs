//! One migrates, the rest skip.

use std::time::Duration;

use crate::harness::{Database, Folder, Outcome, Running, Schemagate, Server, Session, eventually};

const ROUNDS: usize = 50;
const PROCESSES: usize = 20;

/// Every statement leaves a trace, so that a second run of any of them shows.
const TRACED: &[(&str, i64, &str)] = &[
    (
        "0001_ran",
        1_700_000_000_000,
        "CREATE TABLE ran (what text); INSERT INTO ran VALUES ('0001');",
    ),
    (
        "0002_more",
        1_700_000_100_000,
        "INSERT INTO ran VALUES ('0002');",
    ),
    (
        "0003_last",
        1_700_000_200_000,
        "INSERT INTO ran VALUES ('0003'); CREATE INDEX ON ran (what);",
    ),
];

pub(crate) fn traced_sql() -> Folder {
    let folder = Folder::empty();
    for (tag, _, text) in TRACED {
        folder.write(&format!("{tag}.sql"), text.as_bytes());
    }
    folder
}

pub(crate) fn traced_classic() -> Folder {
    Folder::classic(TRACED)
}

pub(crate) fn wait_for_all(racers: Vec<Running>) -> Vec<Outcome> {
    racers.into_iter().map(Running::wait).collect()
}

/// Starts them at once; all must end with 0, and each migration must have run once.
#[track_caller]
pub(crate) fn race(count: usize, database: &Database<'_>, call: &Schemagate) -> Vec<Outcome> {
    let racers = (0..count).map(|_| call.spawn()).collect();
    let outcomes = wait_for_all(racers);
    for outcome in &outcomes {
        outcome.assert_code(0);
    }
    assert_eq!(
        database.query("SELECT what FROM ran ORDER BY what"),
        [["0001"], ["0002"], ["0003"]],
        "every migration once"
    );
    outcomes
}

/// How many runs have applied something.
pub(crate) fn appliers(database: &Database<'_>) -> String {
    database.value("SELECT count(DISTINCT run) FROM schemagate.journal WHERE event = 'applied'")
}

#[test]
fn twenty_at_once_on_an_empty_database() {
    for round in 0..ROUNDS {
        let database = Server::debian().database();
        let (folder, table) = if round % 2 == 0 {
            (traced_sql(), "schemagate.history")
        } else {
            (traced_classic(), "drizzle.__drizzle_migrations")
        };
        race(
            PROCESSES,
            &database,
            &Schemagate::migrate(&database, &folder),
        );
        assert_eq!(appliers(&database), "1", "one applies, the others skip");
        assert_eq!(
            database.value(&format!("SELECT count(*) FROM {table}")),
            "3"
        );
        assert!(database.has_no_advisory_lock());
    }
}

#[test]
fn more_pods_than_connections() {
    let server = Server::own_with("max_connections = 12");
    let database = server.database();
    let folder = traced_sql();
    let call = Schemagate::migrate(&database, &folder).env("SCHEMAGATE_WAIT_TIMEOUT", "90s");
    race(60, &database, &call);
}

/// A table whose index takes about two seconds to build: PostgreSQL calls the function for every row, twice.
const SLOW_TABLE: &str = "
CREATE TABLE slow (id int);
INSERT INTO slow SELECT generate_series(1, 100);
CREATE FUNCTION slowly(x int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.02); RETURN x; END $$;";
const SLOW_INDEX: &str = "CREATE INDEX CONCURRENTLY slow_idx ON slow (slowly(id));";

pub(crate) fn slow_index() -> Folder {
    Folder::sql(&[
        ("0001_slow.sql", SLOW_TABLE),
        ("0002_index.sql", SLOW_INDEX),
    ])
}

#[track_caller]
pub(crate) fn assert_index_is_valid(database: &Database<'_>) {
    assert_eq!(
        database.query(
            "SELECT c.relname, i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
             WHERE i.indrelid = 'slow'::regclass"
        ),
        [["slow_idx", "t"]]
    );
}

#[test]
fn a_concurrent_index_build_while_ten_others_wait() {
    let database = Server::debian().database();
    let folder = slow_index();
    let call = Schemagate::migrate(&database, &folder);
    let worker = call.spawn();
    database.schemagate_runs("CREATE INDEX CONCURRENTLY");
    let waiters: Vec<_> = (0..10).map(|_| call.spawn()).collect();
    worker.wait().assert_code(0).assert_silent_about("40P01");
    for outcome in wait_for_all(waiters) {
        outcome.assert_code(0).assert_silent_about("40P01");
    }
    assert_index_is_valid(&database);
    assert_eq!(appliers(&database), "1");
}

/// A tool that blocks in `pg_advisory_lock` has a snapshot, and a concurrent build waits for it (postgres-notes.md, 6).
#[test]
fn a_foreign_tool_that_blocks_beside_a_concurrent_build_does_not_hang_it() {
    let server = Server::own();
    let database = server.database();
    let folder = slow_index();
    let call = Schemagate::migrate(&database, &folder)
        .env("SCHEMAGATE_LOCK_KEY", "4711")
        .timeout(Duration::from_mins(1));
    let worker = call.spawn();
    database.schemagate_runs("CREATE INDEX CONCURRENTLY");
    let foreign = database.session();
    let pid = foreign.value("SELECT pg_backend_pid()");
    let blocked = foreign.query_in_background("SELECT pg_advisory_lock(4711)");

    let outcome = worker.wait();
    assert_ne!(outcome.code(), -1, "it hangs\n{outcome}");
    outcome.assert_says(&pid);
    drop(blocked);
    call.run().assert_code(0);
    assert_index_is_valid(&database);
}

fn hold_key(database: &Database<'_>) -> Session {
    let holder = database.session();
    holder.query("SET application_name = 'another tool'; SELECT pg_advisory_lock(123456789)");
    holder
}

#[test]
fn a_key_of_another_script_excludes_it() {
    let database = Server::debian().database();
    let folder = traced_sql();
    let holder = hold_key(&database);
    let pid = holder.value("SELECT pg_backend_pid()");
    let call = Schemagate::migrate(&database, &folder).env("SCHEMAGATE_LOCK_KEY", "123456789");
    call.clone()
        .env("SCHEMAGATE_LOCK_WAIT_TIMEOUT", "off")
        .run()
        .assert_code(4)
        .assert_says(&pid)
        .assert_says("another tool");
    call.clone()
        .env("SCHEMAGATE_LOCK_WAIT_TIMEOUT", "1s")
        .run()
        .assert_code(4)
        .assert_within(Duration::from_secs(10));
    assert!(!database.has_table("ran"));

    let waiter = call.spawn();
    eventually!(
        waiter.stderr().contains(&pid),
        "the waiter names the holder"
    );
    drop(holder);
    waiter.wait().assert_code(0);
}

#[test]
fn a_waiter_keeps_no_connection() {
    let database = Server::debian().database();
    let folder = traced_sql();
    let holder = hold_key(&database);
    let pid = holder.value("SELECT pg_backend_pid()");
    let waiter = Schemagate::migrate(&database, &folder)
        .env("SCHEMAGATE_LOCK_KEY", "123456789")
        .spawn();
    eventually!(
        waiter.stderr().contains(&pid),
        "the waiter names the holder"
    );
    let connections = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND application_name LIKE 'schemagate/%'",
        database.name
    );
    eventually!(
        holder.value(&connections) == "0",
        "it disconnects while it waits"
    );
    drop(holder);
    waiter.wait().assert_code(0);
}

/// Very many may wait, and each look is a new session of a server that has work to do.
#[test]
fn a_waiter_asks_for_the_rows_and_the_holder_only() {
    let server = Server::own_with("log_statement = all");
    let database = server.database();
    let folder = traced_sql();
    let call = Schemagate::migrate(&database, &folder);
    call.clone()
        .env("SCHEMAGATE_TARGET", "0001")
        .run()
        .assert_code(0);
    let _holder = hold_key(&database);
    let before = server.log().len();
    let looks = |waiter: &Running| waiter.stderr().matches("held elsewhere").count();
    let waiter = call
        .clone()
        .env("SCHEMAGATE_LOG", "debug")
        .env("SCHEMAGATE_LOCK_KEY", "123456789")
        .spawn();
    eventually!(looks(&waiter) >= 4, "it looks again and again");
    let log = server.log()[before..].to_owned();
    let tried = log.matches("pg_try_advisory_lock(").count();
    assert_eq!(tried, 1, "the lock is tried when nobody has it\n{log}");
    let whole = log.matches("pg_is_in_recovery()").count();
    assert_eq!(whole, 1, "one whole look before it waits\n{log}");

    // Under another key the work is done without it; the lock is still elsewhere then.
    call.run().assert_code(0);
    waiter.wait().assert_code(0);
    assert_eq!(appliers(&database), "2");
}

#[test]
fn nothing_pending_asks_for_no_lock() {
    let database = Server::debian().database();
    let folder = traced_sql();
    let call = Schemagate::migrate(&database, &folder).env("SCHEMAGATE_LOCK_KEY", "123456789");
    call.run().assert_code(0);
    assert!(database.has_table("ran"));
    let _holder = hold_key(&database);
    call.env("SCHEMAGATE_LOCK_WAIT_TIMEOUT", "off")
        .run()
        .assert_code(0)
        .assert_says("nothing to apply");
}

fn table_and_alter() -> Folder {
    Folder::sql(&[(
        "0001_alter.sql",
        "CREATE TABLE beside (id int);\nALTER TABLE busy ADD COLUMN more int;",
    )])
}

#[test]
fn a_table_lock_that_is_not_obtained_rolls_back() {
    let database = Server::debian().database();
    database.query("CREATE TABLE busy (id int)");
    let reader = database.session();
    reader.query("BEGIN; SELECT * FROM busy");
    Schemagate::migrate(&database, table_and_alter())
        .env("SCHEMAGATE_LOCK_TIMEOUT", "200ms")
        .env("SCHEMAGATE_LOCK_RETRIES", "1")
        .run()
        .assert_code(4)
        .assert_says("0001_alter.sql");
    assert!(!database.has_table("beside"));
}

#[test]
fn a_table_lock_is_tried_again() {
    let database = Server::debian().database();
    database.query("CREATE TABLE busy (id int)");
    let reader = database.session();
    reader.query("BEGIN; SELECT * FROM busy");
    let folder = table_and_alter();
    let running = Schemagate::migrate(&database, &folder)
        .env("SCHEMAGATE_LOCK_TIMEOUT", "200ms")
        .spawn();
    eventually!(
        running.stderr().contains("0001"),
        "the first attempt is reported"
    );
    reader.query("COMMIT");
    running.wait().assert_code(0);
    assert!(database.has_table("beside"));
}
