//! Another tool that blocks in `pg_advisory_lock` on our key while we build an index: its statement has a snapshot, and the
//! build waits for all older snapshots (postgres-notes: golang-migrate, sqlx and Prisma lock like that).
//!
//! On a direct line the server sees the circle and ends one of the two. Behind a pooler the lock is held by a second
//! connection, and the server sees none: without our help both would wait for ever.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::ghosts::slow_index;
use crate::harness::postgres::debian_bin;
use crate::harness::{Database, PgBouncer, Schemagate, Server, eventually};

const KEY: &str = "4711";

/// What such a tool does, in a `psql` of its own: lock, work, unlock.
fn another_tool(database: &Database<'_>) -> Child {
    let lock = format!("SELECT pg_advisory_lock({KEY})");
    let unlock = format!("SELECT pg_advisory_unlock({KEY})");
    Command::new(debian_bin().join("psql"))
        .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", &database.url()])
        .args(["-c", &lock, "-c", "CREATE TABLE theirs ()", "-c", &unlock])
        .env("PGAPPNAME", "the other tool")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("psql starts")
}

/// Both come to their end, whoever had to give way, and we say who it was.
fn beside_a_build(server: &Server, url: impl Fn(&Database<'_>) -> String) {
    let database = server.database();
    let folder = slow_index(4);
    let call = Schemagate::migrate(&database, &folder)
        .url(&url(&database))
        .env("SCHEMAGATE_LOCK_KEY", KEY);
    let worker = call.spawn();
    database.schemagate_runs("CREATE INDEX CONCURRENTLY");
    let other = another_tool(&database);
    let waits = "SELECT pid FROM pg_stat_activity WHERE application_name = 'the other tool' AND wait_event = 'advisory'";
    eventually!(!database.query(waits).is_empty(), "it waits for the lock");
    let pid = database.value(waits);

    let outcome = worker.wait();
    outcome
        .assert_code(0)
        .assert_within(Duration::from_secs(90));
    let other = other.wait_with_output().expect("psql ends");
    let complaint = String::from_utf8_lossy(&other.stderr);
    if other.status.success() {
        assert!(database.has_table("theirs"));
        outcome.assert_says(&format!("pid {pid} (the other tool)"));
        outcome.assert_says("pg_advisory_lock");
    } else {
        // The server chose it, not us.
        assert!(complaint.contains("deadlock"), "{complaint}\n{outcome}");
    }
    crate::ghosts::assert_each_once(&database, "beside another tool");
}

#[test]
fn a_foreign_tool_that_blocks_on_our_key() {
    let server = Server::own();
    beside_a_build(&server, |database| database.url_at(server.port()));
}

#[test]
fn a_foreign_tool_that_blocks_on_our_key_pooled() {
    let server = Server::own();
    let bouncer = PgBouncer::start(&server, "transaction", 5);
    beside_a_build(&server, |database| bouncer.url(database));
}
