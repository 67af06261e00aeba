//! How long a trace holds its locks: never beyond its limit, whoever stands still.

use std::time::{Duration, Instant};

use super::{leaves_nothing, seen, trace};
use crate::harness::{Database, Folder, Schemagate, Server, eventually};

/// Waits until somebody holds the table, then until it can be read again; how long that took.
fn blocked(database: &Database<'_>, table: &str) -> Duration {
    let watcher = database.session();
    eventually!(
        watcher.value(&format!(
            "SELECT count(*) FROM pg_locks WHERE relation = '{table}'::regclass AND mode = 'AccessExclusiveLock' AND granted"
        )) == "1",
        "nobody locks {table}"
    );
    // What is never given back fails the test before its statement is over.
    watcher.query("SET lock_timeout = '1min'");
    let since = Instant::now();
    watcher.query(&format!("SELECT FROM {table} LIMIT 1"));
    since.elapsed()
}

/// Ten million rows: the rewrite is really run and really undone, and where it takes too long it is cut off.
#[test]
fn a_large_table_is_as_it_was() {
    let server = Server::own_with("max_wal_size = 4GB\nautovacuum = off\n");
    let database = server.database();
    database.query(
        "CREATE UNLOGGED TABLE big AS SELECT generate_series(1, 10000000) AS a; ANALYZE big;
         CREATE SCHEMA schemagate",
    );
    let first = ("0001_a.sql", "SELECT 1;");
    Schemagate::migrate(&database, Folder::sql(&[first]))
        .run()
        .assert_code(0);
    let facts = "SELECT count(*), sum(a), sum(hashint4(a)::bigint), pg_relation_filenode('big'),
                 (SELECT string_agg(h::text, '') FROM schemagate.history h),
                 (SELECT string_agg(j::text, '') FROM schemagate.journal j) FROM big";
    let before = database.query(facts);
    let dump = database.schema_dump();
    let folder = Folder::sql(&[
        first,
        (
            "0002_b.sql",
            "ALTER TABLE big ADD b int; DELETE FROM big WHERE a <= 1000; ALTER TABLE big ALTER a TYPE bigint;",
        ),
    ]);
    let call = trace(&database, &folder).arg("--trace-limit").arg("100s");
    let (report, outcome) = leaves_nothing(&database, &call);
    outcome.assert_code(0);
    assert_eq!(seen(&report, 0, 1)["rows"], 1000);
    assert_eq!(seen(&report, 0, 2)["rewritten"][0], "public.big");
    assert_eq!(before, database.query(facts));
    assert_eq!(dump, database.schema_dump());

    let slow = Folder::sql(&[
        first,
        (
            "0002_b.sql",
            "SET statement_timeout = 0;\nALTER TABLE big ADD b int;\nALTER TABLE big ALTER a TYPE bigint;\nSELECT pg_sleep(3600);",
        ),
    ]);
    let limit = Duration::from_secs(5);
    let call = trace(&database, &slow).arg("--force");
    let running = call.arg("--trace-limit=5s").arg("--format=json").spawn();
    let waited = blocked(&database, "big");
    assert!(waited <= limit, "{waited:?}");
    let outcome = running.wait();
    outcome.assert_code(10).assert_says("--trace-limit");
    let report: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(report["trace"]["end"], "limit");
    assert!(
        report["trace"]["held_ms"].as_u64().unwrap() <= 5000,
        "{outcome}"
    );
    assert_eq!(before, database.query(facts));
}

const HOLDS: &str = "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0;
    SELECT set_config('idle_in_transaction_session_timeout', '0', false);
    ALTER TABLE t ADD b int; SELECT pg_sleep(3600);";

#[track_caller]
fn frozen(server: &Server, text: &str, runs: &str) {
    let database = server.database();
    database.query("CREATE TABLE t (a int)");
    let folder = Folder::sql(&[("0001_a.sql", text)]);
    let call = trace(&database, &folder).arg("--force");
    let running = call.arg("--trace-limit=6s").spawn();
    database.schemagate_runs(runs);
    running.signal("STOP");
    let waited = blocked(&database, "t");
    assert!(waited <= Duration::from_secs(6), "{waited:?}");
    running.signal("CONT");
    running.wait().assert_code(10);
    assert_eq!(
        database.value(
            "SELECT count(*) FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum > 0"
        ),
        "1"
    );
}

#[test]
fn a_client_that_stands_still_loses_its_locks() {
    frozen(Server::debian(), HOLDS, "pg_sleep");
    // Between two statements the server waits for it.
    let short = "ALTER TABLE t ADD b int; SELECT pg_sleep(2); SELECT 1;";
    frozen(Server::debian(), short, "pg_sleep(2)");
}

#[test]
fn also_on_a_newer_server() {
    frozen(Server::embedded("18"), HOLDS, "pg_sleep");
}

#[test]
fn a_client_that_is_killed_loses_its_locks() {
    let database = Server::debian().database();
    database.query("CREATE TABLE t (a int)");
    let folder = Folder::sql(&[("0001_a.sql", HOLDS)]);
    let running = trace(&database, &folder).arg("--force").spawn();
    let pid = database.schemagate_runs("pg_sleep");
    running.signal("KILL");
    running.wait().assert_code(137);
    eventually!(
        database.value(&format!(
            "SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}"
        )) == "0",
        "the server goes on"
    );
}

#[test]
fn a_signal_and_the_deadline_end_it() {
    let database = Server::debian().database();
    database.query("CREATE TABLE t (a int)");
    let folder = Folder::sql(&[("0001_a.sql", HOLDS)]);
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let running = trace(&database, &folder).arg("--force").spawn();
        database.schemagate_runs("pg_sleep");
        running.signal(signal);
        running
            .wait()
            .assert_code(code)
            .assert_says("the running statement was cancelled");
    }
    trace(&database, &folder)
        .arg("--force")
        .env("SCHEMAGATE_DEADLINE", "2s")
        .run()
        .assert_code(10)
        .assert_says("SCHEMAGATE_DEADLINE");
    database.query("BEGIN; LOCK TABLE t NOWAIT");
}

/// A lock that is not to be had soon is not waited for: whoever comes behind would wait too.
#[test]
fn a_busy_table_is_told_and_not_waited_for() {
    let database = Server::debian().database();
    database.query("CREATE TABLE t (a int)");
    let folder = Folder::sql(&[(
        "0001_a.sql",
        "SET lock_timeout = 0; ALTER TABLE t ADD b int;",
    )]);
    let reader = database.session();
    reader.query("BEGIN; SELECT FROM t");
    trace(&database, &folder)
        .arg("--force")
        .env("SCHEMAGATE_LOCK_TIMEOUT", "0")
        .run()
        .assert_code(4)
        .assert_says("55P03");
}
