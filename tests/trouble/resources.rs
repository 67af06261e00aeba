//! No disk, no memory, no time.

use std::{fs, time::Duration};

use crate::harness::{
    Database, Folder, Mount, Schemagate, Server, Session, Sidecar, Stop, eventually,
    process::give_to_server_user,
};

/// A database with a small table space, and a migration that needs more than there is.
fn small_space<'a>(server: &'a Server, mount: &Mount) -> (Database<'a>, Folder) {
    let space = mount.path().join("space");
    fs::create_dir(&space).expect("a folder");
    give_to_server_user(&space);
    let database = server.database();
    let space = space.display();
    database.query(&format!("CREATE TABLESPACE small LOCATION '{space}'"));
    let folder = Folder::sql(&[
        ("0001_first.sql", "CREATE TABLE first (id int);"),
        (
            "0002_fill.sql",
            "CREATE TABLE fill (filler text) TABLESPACE small;
             ALTER TABLE fill ALTER filler SET STORAGE EXTERNAL;
             INSERT INTO fill SELECT repeat('x', 8000) FROM generate_series(1, 1000);",
        ),
    ]);
    (database, folder)
}

/// Space that comes while it is tried again is used; what stands before the file is applied.
#[test]
fn a_full_disk() {
    let mount = Mount::tmpfs("size=4m,mode=0777");
    let server = Server::own();
    let (database, folder) = small_space(&server, &mount);
    let call = Schemagate::migrate(&database, &folder).timeout(Duration::from_mins(2));

    let outcome = call.run();
    outcome
        .assert_code(3)
        .assert_says("run out of disk space")
        .assert_says("SQLSTATE 53100")
        .assert_says("0002_fill.sql")
        .assert_says("free space");
    let tried = outcome.stderr.matches("trying again").count();
    assert_eq!(tried, 3, "{outcome}");
    assert!(database.has_table("first"));
    assert!(!database.has_table("fill"));

    let running = call.spawn();
    eventually!(
        running.stderr().contains("trying again"),
        "it waits for space"
    );
    mount.remount("size=64m");
    running.wait().assert_code(0);
    assert_eq!(database.value("SELECT count(*) FROM fill"), "1000");
}

/// A full disk stops no migrating sidecar for good.
#[test]
fn a_sidecar_beside_a_full_disk() {
    let mount = Mount::tmpfs("size=4m,mode=0777");
    let server = Server::own();
    let (database, folder) = small_space(&server, &mount);
    let sidecar = Sidecar::start(
        &Schemagate::sidecar(&database, &folder)
            .env("SCHEMAGATE_AUTO_MIGRATE", "true")
            .env("SCHEMAGATE_LOCK_RETRIES", "0")
            .env("SCHEMAGATE_POLL_INTERVAL", "500ms"),
    );
    let tries = "SELECT count(*) FROM schemagate.journal WHERE event = 'run_started'";
    eventually!(
        database.has_table("first") && database.value(tries).parse::<u32>().unwrap() >= 2,
        "it tries again, though the file is the same"
    );
    assert!(!sidecar.is_ready());
    mount.remount("size=64m");
    sidecar.becomes("ready", true);
    sidecar.stop().assert_code(0);
}

/// A server process that may not have more memory, as in a container with a limit of its own.
#[test]
fn no_memory() {
    let server = Server::own();
    let database = server.database();
    let folder = Folder::sql(&[(
        "0001_big.sql",
        "CREATE TABLE big AS SELECT length(repeat('x', 600000000)) AS length;",
    )]);
    let call = Schemagate::migrate(&database, &folder)
        .env("SCHEMAGATE_LOCK_RETRIES", "1")
        .timeout(Duration::from_mins(2));
    server.stop(Stop::Fast);
    server.start_under(&["prlimit", "--as=500000000"]);
    eventually!(
        Session::try_connect(&database.url()).is_ok(),
        "the server starts with little memory"
    );
    call.run()
        .assert_code(3)
        .assert_says("SQLSTATE 53200")
        .assert_says("free memory");
    assert!(!database.has_table("big"));
    server.stop(Stop::Fast);
    server.start();
    call.run().assert_code(0);
    assert_eq!(database.value("SELECT length FROM big"), "600000000");
}

/// Locks are a table of the server's own; the same SQLSTATE, and its hint is shown.
#[test]
fn no_room_for_locks() {
    let server = Server::own_with("max_locks_per_transaction = 10\nmax_connections = 10");
    let database = server.database();
    let tables: Vec<String> = (0..3000)
        .map(|number| format!("CREATE TABLE many_{number} (id int);"))
        .collect();
    let folder = Folder::sql(&[("0001_many.sql", &tables.join("\n"))]);
    Schemagate::migrate(&database, &folder)
        .env("SCHEMAGATE_LOCK_RETRIES", "0")
        .run()
        .assert_code(3)
        .assert_says("SQLSTATE 53200")
        .assert_says("max_locks_per_transaction");
    assert!(!database.has_table("many_0"));
}

/// A limit that the user has set: the next attempt would not be faster, so there is none.
#[test]
fn a_statement_timeout() {
    let database = Server::debian().database();
    let folder = Folder::sql(&[(
        "0001_slow.sql",
        "CREATE TABLE slow (id int); SELECT pg_sleep(60);",
    )]);
    let outcome = Schemagate::migrate(&database, &folder)
        .env("SCHEMAGATE_STATEMENT_TIMEOUT", "300ms")
        .run();
    outcome
        .assert_code(5)
        .assert_says("SQLSTATE 57014")
        .assert_says("SCHEMAGATE_STATEMENT_TIMEOUT")
        .assert_silent_about("trying again");
    assert!(!database.has_table("slow"));
}
