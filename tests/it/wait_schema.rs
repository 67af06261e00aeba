//! `wait --for schema`.

use std::path::Path;
use std::time::Duration;

use crate::harness::{Database, Folder, PgBouncer, Running, Schemagate, Server, Stop, eventually};

/// Nothing listens on port 1.
const NOBODY: &str = "postgres://app:s3cret@127.0.0.1:1/app";

fn two() -> Folder {
    Folder::sql(&[
        ("0001_a.sql", "CREATE TABLE a (id int);\n"),
        ("0002_b.sql", "CREATE TABLE b (id int);\n"),
    ])
}

fn wait(url: &str, folder: impl AsRef<Path>) -> Schemagate {
    Schemagate::new(&["wait", "--for", "schema"])
        .url(url)
        .folder(folder)
        .env("SCHEMAGATE_POLL_INTERVAL", "100ms")
}

/// Starts it, and comes back when it has looked and found something pending.
#[track_caller]
fn waiting(call: &Schemagate) -> Running {
    let running = call.spawn();
    eventually!(
        running.stderr().contains("waiting for the schema"),
        "it does not say that it waits: {}",
        running.stderr()
    );
    running
}

/// How many sessions of schemagate this database has.
fn sessions(database: &Database<'_>) -> usize {
    let count = database.value(
        "SELECT count(*) FROM pg_stat_activity
         WHERE datname = current_database() AND application_name LIKE 'schemagate/%'",
    );
    count.parse().expect("a number")
}

#[test]
fn it_ends_when_another_has_migrated() {
    let (database, folder) = (Server::debian().database(), two());
    let waiting = waiting(&wait(&database.url(), &folder));
    let migrate = Schemagate::migrate(&database, &folder);
    migrate
        .clone()
        .env("SCHEMAGATE_TARGET", "0001")
        .run()
        .assert_code(0);
    eventually!(
        waiting.stderr().contains("1 pending: 0002"),
        "progress is not told: {}",
        waiting.stderr()
    );
    migrate.run().assert_code(0);
    let outcome = waiting.wait();
    outcome
        .assert_code(0)
        .assert_says("2 pending: 0001, 0002")
        .assert_says("the schema is what this image needs");
    let lines = outcome.stderr.matches("waiting for the schema").count();
    assert_eq!(
        lines, 2,
        "a line for each change, not for each look\n{outcome}"
    );
}

#[test]
fn what_is_there_already_is_not_waited_for() {
    let (database, folder) = (Server::debian().database(), two());
    Schemagate::migrate(&database, &folder).run().assert_code(0);
    let call = wait(&database.url(), &folder).env("SCHEMAGATE_WAIT", "false");
    call.run()
        .assert_code(0)
        .assert_silent_about("waiting for the schema");
    folder.remove("0002_b.sql");
    call.run().assert_code(0);
    call.env("SCHEMAGATE_AHEAD", "fail")
        .run()
        .assert_code(6)
        .assert_says("0002");
}

#[test]
fn it_ends_with_8_when_nobody_migrates() {
    let (database, folder) = (Server::debian().database(), two());
    let call = wait(&database.url(), &folder).env("SCHEMAGATE_WAIT_TIMEOUT", "1s");
    call.run()
        .assert_code(8)
        .assert_says("2 pending: 0001, 0002; not within 1s")
        .assert_says("schemagate migrate")
        .assert_within(Duration::from_mins(1));
    call.env("SCHEMAGATE_WAIT", "false")
        .env("SCHEMAGATE_WAIT_TIMEOUT", "10m")
        .run()
        .assert_code(8)
        .assert_says("2 pending: 0001, 0002")
        .assert_within(Duration::from_mins(1));
    let schemas = "SELECT count(*) FROM pg_namespace WHERE nspname = 'schemagate'";
    assert_eq!(database.value(schemas), "0", "it only looks");
}

#[test]
fn a_failure_in_the_journal_is_told_once_and_waited_through() {
    let (database, folder) = (Server::debian().database(), two());
    folder.write("0002_b.sql", b"CREATE TABLE b (id no_such_type);\n");
    let migrate = Schemagate::migrate(&database, &folder);
    migrate.run().assert_code(5);
    let told = "the last attempt at 0002 failed: 0002_b.sql:1:20: type \\\"no_such_type\\\" does not exist";
    let call = wait(&database.url(), &folder);
    let timed_out = call.clone().env("SCHEMAGATE_WAIT_TIMEOUT", "2s").run();
    timed_out.assert_code(8).assert_says("1 pending: 0002");
    let logged = timed_out.stderr.matches("still waiting").count();
    assert_eq!(logged, 1, "{timed_out}");
    let ends = timed_out.logs();
    let end = ends.last().expect("the sum of the run");
    let error = end["error"].as_str().expect("an error");
    assert!(error.contains(&told.replace('\\', "")), "{error}");

    let waiting = waiting(&call);
    eventually!(waiting.stderr().contains(told), "{}", waiting.stderr());
    database.query("CREATE DOMAIN no_such_type AS int");
    migrate.run().assert_code(0);
    waiting.wait().assert_code(0);
}

#[test]
fn a_conflict_ends_it_at_once() {
    let (database, folder) = (Server::debian().database(), two());
    Schemagate::migrate(&database, &folder).run().assert_code(0);
    folder.write("0001_a.sql", b"CREATE TABLE a (id bigint);\n");
    folder.write("0003_c.sql", b"CREATE TABLE c (id int);\n");
    wait(&database.url(), &folder)
        .env("SCHEMAGATE_WAIT_TIMEOUT", "10m")
        .run()
        .assert_code(6)
        .assert_says("0001_a.sql has changed");
}

#[test]
fn a_conflict_that_comes_later_ends_it_too() {
    let (database, folder) = (Server::debian().database(), two());
    let waiting = waiting(&wait(&database.url(), &folder));
    let other = Folder::sql(&[("0001_a.sql", "CREATE TABLE other (id int);\n")]);
    Schemagate::migrate(&database, &other).run().assert_code(0);
    waiting
        .wait()
        .assert_code(6)
        .assert_says("0001_a.sql has changed");
}

#[test]
fn the_wait_for_the_database_is_that_of_every_command() {
    wait(NOBODY, two())
        .env("SCHEMAGATE_WAIT_TIMEOUT", "1s")
        .run()
        .assert_code(3)
        .assert_silent_about("s3cret");
    let database = Server::debian().database();
    let role = database.role("app", "LOGIN PASSWORD 'right' IN ROLE needs_password");
    wait(&database.url_as(&format!("{role}:wrong")), two())
        .env("SCHEMAGATE_AUTH_GRACE", "100ms")
        .run()
        .assert_code(9)
        .assert_silent_about("wrong@");
    wait(NOBODY, Folder::empty()).run().assert_code(2);
}

#[test]
fn a_blip_of_the_server_is_waited_through() {
    let server = Server::own();
    let (database, folder) = (server.database(), two());
    let call = wait(&database.url(), &folder);
    let (patient, hasty) = (
        waiting(&call),
        waiting(&call.env("SCHEMAGATE_WAIT_TIMEOUT", "5s")),
    );
    server.stop(Stop::Immediate);
    for running in [&patient, &hasty] {
        eventually!(
            running.stderr().contains("waiting for the database"),
            "{}",
            running.stderr()
        );
    }
    hasty
        .wait()
        .assert_code(8)
        .assert_says("2 pending: 0001, 0002; ")
        .assert_says("SCHEMAGATE_WAIT_TIMEOUT");
    server.start();
    Schemagate::migrate(&database, &folder).run().assert_code(0);
    patient.wait().assert_code(0);
}

#[test]
fn signals_and_the_deadline_end_it() {
    let (database, folder) = (Server::debian().database(), two());
    let call = wait(&database.url(), &folder);
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let waiting = waiting(&call);
        waiting.signal(signal);
        waiting.wait().assert_code(code);
    }
    call.env("SCHEMAGATE_DEADLINE", "1s")
        .run()
        .assert_code(10)
        .assert_says("SCHEMAGATE_DEADLINE");
}

/// The pace of the contract: many samples find no session at all, though all of them look again and again.
#[test]
fn fifty_hold_no_connection_between_their_looks() {
    let (database, folder) = (Server::debian().database(), two());
    let call = wait(&database.url(), &folder).env("SCHEMAGATE_POLL_INTERVAL", "");
    let all: Vec<Running> = (0..50).map(|_| call.spawn()).collect();
    for running in &all {
        eventually!(
            running.stderr().contains("waiting for the schema"),
            "{}",
            running.stderr()
        );
    }
    let mut free = 0;
    eventually!(
        {
            free += usize::from(sessions(&database) == 0);
            free >= 20
        },
        "{free} samples found no session"
    );
    Schemagate::migrate(&database, &folder).run().assert_code(0);
    for running in all {
        running.wait().assert_code(0);
    }
}

#[test]
fn two_hundred_get_by_with_twenty_connections() {
    let server = Server::own_with("max_connections = 20");
    let (database, folder) = (server.database(), two());
    // A superuser would take the places that are kept for the tests themselves.
    let role = database.role("app", "LOGIN");
    database.query(&format!(
        "GRANT CREATE ON DATABASE {} TO {role}; GRANT CREATE ON SCHEMA public TO {role}",
        database.name
    ));
    let call = wait(&database.url_as(&role), &folder)
        .env("SCHEMAGATE_POLL_INTERVAL", "")
        .env("SCHEMAGATE_WAIT_TIMEOUT", "10m")
        .timeout(Duration::from_mins(5));
    let all: Vec<Running> = (0..200).map(|_| call.spawn()).collect();
    eventually!(
        all.iter()
            .filter(|running| running.stderr().contains("waiting for the schema"))
            .count()
            >= 50,
        "hardly any gets through"
    );
    Schemagate::migrate(&database, &folder)
        .url(&database.url_as(&role))
        .run()
        .assert_code(0);
    for running in all {
        running.wait().assert_code(0);
    }
}

#[test]
fn through_a_pooler_that_has_one_connection() {
    let bouncer = PgBouncer::start(Server::debian(), "transaction", 1);
    let (database, folder) = (Server::debian().database(), two());
    let as_owner = database.role("owner", "");
    database.query(&format!(
        "GRANT CREATE ON DATABASE {} TO {as_owner}; GRANT CREATE ON SCHEMA public TO {as_owner}",
        database.name
    ));
    let call = wait(&bouncer.url(&database), &folder).env("SCHEMAGATE_ROLE", &as_owner);
    let all: Vec<Running> = (0..10).map(|_| waiting(&call)).collect();
    Schemagate::migrate(&database, &folder)
        .url(&bouncer.url(&database))
        .env("SCHEMAGATE_ROLE", &as_owner)
        .run()
        .assert_code(0);
    for running in all {
        running.wait().assert_code(0);
    }
}
