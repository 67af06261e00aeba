//! Another tool that blocks in `pg_advisory_lock` on our key while we build an index: its statement has a snapshot, and the
//! build waits for all older snapshots (postgres-notes: golang-migrate, sqlx and Prisma lock like that).
//!
//! On a direct line the server sees the circle and ends one of the two. Behind a pooler the lock is held by a second
//! connection, and the server sees none: without our help both would wait for ever.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::ghosts::slow_index;
use crate::harness::postgres::debian_bin;
use crate::harness::{Database, Folder, PgBouncer, Schemagate, Server, eventually};

const KEY: &str = "4711";

/// Its sessions' `application_name`.
const NAME: &str = "the other tool";

/// What such a tool does, in a `psql` of its own, for whatever key: lock, work, unlock.
fn psql_with_the_lock(database: &Database<'_>) -> Child {
    let lock = format!("SELECT pg_advisory_lock({KEY})");
    let unlock = format!("SELECT pg_advisory_unlock({KEY})");
    Command::new(debian_bin().join("psql"))
        .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", &database.url()])
        .args(["-c", &lock, "-c", "CREATE TABLE theirs ()", "-c", &unlock])
        .env("PGAPPNAME", NAME)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("psql starts")
}

/// golang-migrate itself.
fn golang_migrate(database: &Database<'_>, folder: &Folder) -> Child {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers/migrate");
    assert!(
        program.exists(),
        "no golang-migrate in target/peers: run `make setup`"
    );
    folder.write("1_theirs.up.sql", b"CREATE TABLE theirs ();");
    let name = NAME.replace(' ', "%20");
    let url = format!("{}?sslmode=disable&application_name={name}", database.url());
    Command::new(program)
        .arg("-path")
        .arg::<&Path>(folder.as_ref())
        .args(["-database", &url, "up"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("golang-migrate starts")
}

/// The key that golang-migrate takes when it is called with a URL, whose path it takes for the name with its slash
/// (`database/util.go` and `database/postgres/postgres.go` of 4.20.1).
fn key_of_golang_migrate(database: &str) -> u32 {
    let name = format!("public\0schema_migrations\0/{database}");
    let crc = name.bytes().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0xEDB8_8320 * (crc & 1))
        })
    });
    (!crc).wrapping_mul(1_486_364_155)
}

/// Both come to their end, whoever had to give way, and we say who it was.
fn beside_a_build(
    database: &Database<'_>,
    url: &str,
    key: &str,
    other: impl FnOnce(&Database<'_>) -> Child,
) {
    let folder = slow_index(4);
    let call = Schemagate::migrate(database, &folder)
        .url(url)
        .env("SCHEMAGATE_LOCK_KEY", key);
    let worker = call.spawn();
    database.schemagate_runs("CREATE INDEX CONCURRENTLY");
    let other = other(database);
    let waits = format!(
        "SELECT pid FROM pg_stat_activity WHERE application_name = '{NAME}' AND wait_event = 'advisory'"
    );
    eventually!(!database.query(&waits).is_empty(), "it waits for the lock");
    let pid = database.value(&waits);

    let outcome = worker.wait();
    outcome
        .assert_code(0)
        .assert_within(Duration::from_secs(90));
    let other = other.wait_with_output().expect("it ends");
    let complaint = String::from_utf8_lossy(&other.stderr);
    if other.status.success() {
        assert!(database.has_table("theirs"));
        outcome.assert_says(&format!("pid {pid} ({NAME})"));
        outcome.assert_says("pg_advisory_lock");
    } else {
        // The server chose it, not us.
        assert!(complaint.contains("deadlock"), "{complaint}\n{outcome}");
    }
    crate::ghosts::assert_each_once(database, "beside another tool");
}

#[test]
fn a_foreign_tool_that_blocks_on_our_key() {
    let server = Server::own();
    let database = server.database();
    beside_a_build(&database, &database.url(), KEY, psql_with_the_lock);
}

#[test]
fn a_foreign_tool_that_blocks_on_our_key_pooled() {
    let server = Server::own();
    let database = server.database();
    let bouncer = PgBouncer::start(&server, "transaction", 5);
    beside_a_build(&database, &bouncer.url(&database), KEY, psql_with_the_lock);
}

#[test]
fn golang_migrate_beside_our_build() {
    let server = Server::own();
    let database = server.database();
    let key = key_of_golang_migrate(&database.name).to_string();
    let folder = Folder::empty();
    beside_a_build(&database, &database.url(), &key, |database| {
        golang_migrate(database, &folder)
    });
}

#[test]
fn golang_migrate_beside_our_build_pooled() {
    let server = Server::own();
    let database = server.database();
    let bouncer = PgBouncer::start(&server, "transaction", 5);
    let key = key_of_golang_migrate(&database.name).to_string();
    let folder = Folder::empty();
    beside_a_build(&database, &bouncer.url(&database), &key, |database| {
        golang_migrate(database, &folder)
    });
}

#[test]
fn the_key_of_golang_migrate() {
    assert_eq!(key_of_golang_migrate("app"), 1_726_534_663);
}
