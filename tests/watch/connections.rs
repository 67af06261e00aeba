//! The second connection: only when there is something to look at, only where it can be had, and never in the way.

use std::time::Duration;

use crate::harness::eventually::eventually;
use crate::harness::{Database, Folder, Outcome, PgBouncer, Server};
use crate::slow::{SECONDS, lines, migrate, one, table};

/// How many sessions of ours there are.
fn sessions(database: &Database<'_>) -> usize {
    let count = database.value(
        "SELECT count(*) FROM pg_stat_activity
         WHERE datname = current_database() AND application_name LIKE 'schemagate/%'",
    );
    count.parse().unwrap()
}

#[test]
fn it_comes_late_and_goes_early() {
    let server = Server::own_with("log_connections = on");
    let database = server.database();
    let quick = Folder::sql(&[("0001_a.sql", "SELECT 1;"), ("0002_b.sql", "SELECT 2;")]);
    let connections = || server.log().matches("application_name=schemagate/").count();
    let call = |folder: &Folder| {
        // Looked at after three seconds; with a lock timeout it would be half of that.
        migrate(&database.url(), folder).env("SCHEMAGATE_LOCK_TIMEOUT", "0")
    };
    call(&quick).run().assert_code(0);
    assert_eq!(connections(), 1, "nothing takes long");

    let folder = Folder::sql(&[
        ("0001_a.sql", "SELECT 1;"),
        ("0002_b.sql", "SELECT 2;"),
        ("0003_slow.sql", "SELECT pg_sleep(5);"),
        ("0004_slow.sql", "SELECT pg_sleep(5);"),
    ]);
    let running = call(&folder).spawn();
    eventually!(sessions(&database) == 2, "one works and one looks on");
    eventually!(sessions(&database) == 1, "the first of them has ended");
    running.wait().assert_code(0);
    assert_eq!(connections(), 4, "one that works and two that look on");
}

/// Between two looks there is no transaction, and therefore nothing that another session would have to wait for.
#[test]
fn it_holds_neither_snapshot_nor_lock() {
    let database = Server::debian().database();
    let running = migrate(&database.url(), &one("SELECT pg_sleep(8);")).spawn();
    eventually!(sessions(&database) == 2, "one works and one looks on");
    eventually!(
        database.query(
            "SELECT 1 FROM pg_stat_activity a WHERE datname = current_database() AND state = 'idle'
             AND application_name LIKE 'schemagate/%' AND query LIKE '%looks on%'
             AND backend_xmin IS NULL AND xact_start IS NULL
             AND NOT EXISTS (SELECT 1 FROM pg_locks l WHERE l.pid = a.pid)"
        ).len() == 1,
        "it is idle and holds nothing"
    );
    running.wait().assert_code(0);
}

/// Nothing but the migration: no line about it, no line about why there is none.
#[track_caller]
fn assert_nothing_else(outcome: &Outcome) {
    outcome.assert_code(0);
    assert!(lines(outcome).is_empty(), "nothing can be seen\n{outcome}");
    let levels: Vec<_> = outcome
        .logs()
        .iter()
        .map(|line| line["level"].clone())
        .collect();
    assert!(levels.iter().all(|level| level == "INFO"), "{outcome}");
    let limit = Duration::from_secs(u64::from(SECONDS) + 10);
    outcome.assert_within(limit);
}

#[test]
fn where_there_is_no_second_one_nothing_is_told() {
    let database = Server::debian().database();
    let role = database.role("only", "LOGIN CONNECTION LIMIT 1");
    database.query(&format!(
        "GRANT CREATE ON DATABASE {} TO {role}; GRANT CREATE ON SCHEMA public TO {role}",
        database.name
    ));
    let folder = one(&format!("SELECT pg_sleep({SECONDS});"));
    assert_nothing_else(&migrate(&database.url_as(&role), &folder).run());
}

/// A pooler takes the client and lets it wait. Outside a transaction two connections are needed, and a third one is not.
#[test]
fn a_pooler_without_a_free_connection_is_not_waited_for() {
    let pause = format!("SELECT pg_sleep({SECONDS});");
    let build = "CREATE INDEX CONCURRENTLY parcels_slowly ON parcels (slowly(id));";
    std::thread::scope(|scope| {
        for (size, sql) in [(1, pause.as_str()), (2, build)] {
            let database = Server::debian().database();
            table(&database);
            scope.spawn(move || {
                let pooler = PgBouncer::start(Server::debian(), "transaction", size);
                assert_nothing_else(&migrate(&pooler.url(&database), &one(sql)).run());
            });
        }
    });
}

#[test]
fn a_signal_is_not_delayed_by_it() {
    let database = Server::debian().database();
    let running = migrate(&database.url(), &one("SELECT pg_sleep(60);")).spawn();
    eventually!(sessions(&database) == 2, "one works and one looks on");
    running.signal("TERM");
    running
        .wait()
        .assert_code(143)
        .assert_within(Duration::from_secs(30));
    eventually!(sessions(&database) == 0, "both are gone");
}
