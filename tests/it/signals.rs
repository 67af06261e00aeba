//! Signals, killed processes, lost connections.

use std::time::Duration;

use crate::harness::process::is_alive;
use crate::harness::{
    Database, Folder, PgBouncer, Proxy, Running, Schemagate, Server, Stop, eventually,
};

fn sleeping() -> Folder {
    Folder::sql(&[
        ("0001_first.sql", "CREATE TABLE first (id int);"),
        (
            "0002_slow.sql",
            "CREATE TABLE half (id int); SELECT pg_sleep(60);",
        ),
    ])
}

/// Sleeps only while a table `slow` exists, so that a later run of the same file is quick.
fn sleeping_at_first(database: &Database<'_>) -> Folder {
    database.query("CREATE TABLE slow (id int)");
    Folder::sql(&[
        ("0001_first.sql", "CREATE TABLE first (id int);"),
        (
            "0002_slow.sql",
            "CREATE TABLE half (id int);
             DO $$ BEGIN IF to_regclass('public.slow') IS NOT NULL THEN PERFORM pg_sleep(60); END IF; END $$;
             CREATE TABLE whole (id int);",
        ),
    ])
}

/// The signal ends it with the code within two seconds, the statement is cancelled and the lock free.
#[track_caller]
fn assert_ends(running: Running, database: &Database<'_>, signal: &str, code: i32) {
    let backend = database.schemagate_runs("pg_sleep");
    let signalled = std::time::Instant::now();
    running.signal(signal);
    running.wait().assert_code(code);
    assert!(
        signalled.elapsed() < Duration::from_secs(2),
        "{:?}",
        signalled.elapsed()
    );
    eventually!(database.has_no_advisory_lock(), "the lock is free");
    let still =
        format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {backend} AND state = 'active'");
    assert_eq!(database.value(&still), "0", "cancelled on the server");
    assert!(database.has_table("first"));
    assert!(!database.has_table("half"));
}

#[test]
fn sigterm_cancels_the_statement() {
    let database = Server::debian().database();
    let running = Schemagate::migrate(&database, sleeping()).spawn();
    assert_ends(running, &database, "TERM", 143);
}

#[test]
fn sigint_cancels_the_statement() {
    let database = Server::debian().database();
    let running = Schemagate::migrate(&database, sleeping()).spawn();
    assert_ends(running, &database, "INT", 130);
}

// PgBouncer 1.18 drops a cancel request whose sender does not wait (postgres-notes.md, 39).
#[test]
fn sigterm_cancels_through_a_pooler() {
    let database = Server::debian().database();
    let bouncer = PgBouncer::start(Server::debian(), "transaction", 5);
    let running = Schemagate::migrate(&database, sleeping())
        .url(&bouncer.url(&database))
        .spawn();
    assert_ends(running, &database, "TERM", 143);
}

#[test]
fn sigterm_while_waiting_for_the_database() {
    let running = Schemagate::new(&["wait"])
        .url("postgres://app@127.0.0.1:1/app")
        .spawn();
    eventually!(!running.stderr().is_empty(), "it says that it waits");
    running.signal("TERM");
    running
        .wait()
        .assert_code(143)
        .assert_within(Duration::from_secs(20));
}

#[test]
fn sigterm_while_waiting_for_the_lock() {
    let database = Server::debian().database();
    let holder = database.session();
    holder.query("SELECT pg_advisory_lock(4712)");
    let pid = holder.value("SELECT pg_backend_pid()");
    let running = Schemagate::migrate(&database, sleeping())
        .env("SCHEMAGATE_LOCK_KEY", "4712")
        .spawn();
    eventually!(running.stderr().contains(&pid), "it names the holder");
    running.signal("TERM");
    running.wait().assert_code(143);
    assert!(!database.has_table("first"));
}

#[test]
fn a_second_signal_ends_at_once() {
    // A held link: the cancel cannot reach the server, so the first signal would take its five seconds.
    let database = Server::debian().database();
    let proxy = Proxy::to(Server::debian().port());
    let running = Schemagate::migrate(&database, sleeping())
        .url(&database.url_at(proxy.port()))
        .spawn();
    let backend = database.schemagate_runs("pg_sleep");
    proxy.hold();
    running.signal("TERM");
    running.signal("TERM");
    let outcome = running.wait();
    outcome
        .assert_code(143)
        .assert_within(Duration::from_secs(20));
    database.query(&format!("SELECT pg_terminate_backend({backend})"));
}

#[test]
fn sigterm_over_a_dead_link_ends_within_five_seconds() {
    let database = Server::debian().database();
    let proxy = Proxy::to(Server::debian().port());
    let running = Schemagate::migrate(&database, sleeping())
        .url(&database.url_at(proxy.port()))
        .spawn();
    let backend = database.schemagate_runs("pg_sleep");
    proxy.hold();
    let signalled = std::time::Instant::now();
    running.signal("TERM");
    running
        .wait()
        .assert_code(143)
        .assert_says("did not confirm in time")
        .assert_silent_about("was cancelled");
    assert!(
        signalled.elapsed() < Duration::from_secs(6),
        "{:?}",
        signalled.elapsed()
    );
    database.query(&format!("SELECT pg_terminate_backend({backend})"));
}

#[test]
fn after_sigkill_the_next_run_succeeds() {
    let database = Server::debian().database();
    let folder = sleeping_at_first(&database);
    let call = Schemagate::migrate(&database, &folder);
    let running = call.spawn();
    let backend = database.schemagate_runs("pg_sleep");
    running.signal("KILL");
    running.wait().assert_code(137);
    database.query("DROP TABLE slow");
    call.run()
        .assert_code(0)
        .assert_within(Duration::from_secs(40));
    assert!(!is_alive(backend), "the ghost is gone, not waited for");
    assert!(database.has_table("whole"));
    assert_eq!(
        database.value("SELECT count(*) FROM schemagate.history"),
        "2"
    );
}

#[test]
fn a_stopped_process_loses_the_lock() {
    // In a transaction's message nothing is held while the client works; its own session lock must end within 30 s.
    let database = Server::debian().database();
    let folder = Folder::sql(&[
        ("0001_wait.sql", "SELECT pg_sleep(1);"),
        ("0002_next.sql", "CREATE TABLE next (id int);"),
    ]);
    let call = Schemagate::migrate(&database, &folder).env("SCHEMAGATE_LOCK_WAIT_TIMEOUT", "2m");
    let stopped = call.spawn();
    database.schemagate_runs("pg_sleep");
    stopped.signal("STOP");
    call.run()
        .assert_code(0)
        .assert_within(Duration::from_secs(45));
    assert!(database.has_table("next"));
    stopped.signal("CONT");
    let late = stopped.wait();
    assert!([0, 10].contains(&late.code()), "{late}");
    assert_eq!(
        database.value("SELECT count(*) FROM schemagate.history"),
        "2"
    );
}

#[test]
fn a_terminated_backend_is_taken_up_again() {
    let database = Server::debian().database();
    let folder = sleeping_at_first(&database);
    let running = Schemagate::migrate(&database, &folder).spawn();
    let backend = database.schemagate_runs("pg_sleep");
    database.query(&format!(
        "DROP TABLE slow; SELECT pg_terminate_backend({backend})"
    ));
    running.wait().assert_code(0);
    assert_eq!(
        database.value("SELECT count(*) FROM schemagate.history"),
        "2"
    );
}

#[test]
fn a_cut_connection_is_taken_up_again() {
    let database = Server::debian().database();
    let folder = sleeping_at_first(&database);
    let proxy = Proxy::to(Server::debian().port());
    let running = Schemagate::migrate(&database, &folder)
        .url(&database.url_at(proxy.port()))
        .spawn();
    database.schemagate_runs("pg_sleep");
    database.query("DROP TABLE slow");
    proxy.cut();
    running.wait().assert_code(0);
    assert_eq!(
        database.value("SELECT count(*) FROM schemagate.history"),
        "2"
    );
}

/// The commit goes through on the server, and the answer never arrives.
#[test]
fn the_fate_of_a_commit_without_an_answer_is_learnt() {
    let database = Server::debian().database();
    let folder = Folder::sql(&[
        (
            "0001_once.sql",
            "CREATE TABLE once (id int); SELECT pg_sleep(1);",
        ),
        ("0002_next.sql", "CREATE TABLE next (id int);"),
    ]);
    let proxy = Proxy::to(Server::debian().port());
    let running = Schemagate::migrate(&database, &folder)
        .url(&database.url_at(proxy.port()))
        .spawn();
    database.schemagate_runs("pg_sleep");
    proxy.hold();
    eventually!(database.has_table("once"), "0001 is not committed");
    proxy.cut();
    running
        .wait()
        .assert_code(0)
        .assert_says("lost during 0001, which was committed");
    assert_eq!(
        database.value("SELECT string_agg(version, ',' ORDER BY serial) FROM schemagate.history"),
        "0001,0002"
    );
}

#[test]
fn a_server_that_vanishes_is_10_and_nothing_is_half_applied() {
    let server = Server::own();
    let database = server.database();
    let folder = sleeping_at_first(&database);
    let call = Schemagate::migrate(&database, &folder).env("SCHEMAGATE_WAIT_TIMEOUT", "2s");
    let running = call.spawn();
    database.schemagate_runs("pg_sleep");
    server.stop(Stop::Immediate);
    running.wait().assert_code(10).assert_says("0002_slow.sql");

    server.start();
    assert!(database.has_table("first") && !database.has_table("half"));
    database.query("DROP TABLE slow");
    call.run().assert_code(0);
    assert!(database.has_table("whole"));
}

#[test]
fn a_server_that_comes_back_in_time_is_0() {
    let server = Server::own();
    let database = server.database();
    let folder = sleeping_at_first(&database);
    let running = Schemagate::migrate(&database, &folder).spawn();
    database.schemagate_runs("pg_sleep");
    let dropper = database.session();
    dropper.query("DROP TABLE slow");
    server.stop(Stop::Immediate);
    server.start();
    running.wait().assert_code(0);
    assert!(database.has_table("whole"));
    assert_eq!(
        database.value("SELECT count(*) FROM schemagate.history"),
        "2"
    );
}

#[test]
fn a_killed_concurrent_build_is_taken_up_by_the_next_run() {
    let database = Server::debian().database();
    let folder = crate::lock::slow_index();
    let call = Schemagate::migrate(&database, &folder);
    let running = call.spawn();
    let backend = database.schemagate_runs("CREATE INDEX CONCURRENTLY");
    running.signal("KILL");
    running.wait().assert_code(137);
    database.query(&format!("SELECT pg_terminate_backend({backend})"));
    eventually!(!is_alive(backend), "the build ends");
    call.run().assert_code(0);
    crate::lock::assert_index_is_valid(&database);
}
