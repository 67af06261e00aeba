//! A sidecar that listens (`SCHEMAGATE_WATCH=listen`). Its interval is an hour: what it learns, it was told.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::{migrated, two};
use crate::harness::{
    Database, Folder, PgBouncer, Proxy, Schemagate, Server, Sidecar, Stop, eventually,
};

fn listening(database: &Database<'_>, folder: impl AsRef<Path>) -> Schemagate {
    Schemagate::sidecar(database, folder)
        .env("SCHEMAGATE_WATCH", "listen")
        .env("SCHEMAGATE_POLL_INTERVAL", "1h")
}

const SESSIONS: &str = "SELECT pid FROM pg_stat_activity WHERE datname = current_database()
    AND application_name LIKE 'schemagate/%' AND pid <> pg_backend_pid()";

/// Waits until so many sessions of sidecars are idle, which is when they listen; their pids.
fn sessions(database: &Database<'_>, count: usize) -> Vec<Vec<String>> {
    let session = database.session();
    let idle = format!("{SESSIONS} AND state = 'idle' ORDER BY pid");
    eventually!(
        session.query(&idle).len() == count,
        "{count} sessions listen"
    );
    session.query(&idle)
}

#[test]
fn it_is_told_of_what_others_do() {
    let database = Server::debian().database();
    let folder = two();
    let sidecar = Sidecar::start(&listening(&database, &folder));
    sidecar.becomes("pending", false);
    sessions(&database, 1);
    let idle = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
        AND application_name LIKE 'schemagate/%' AND xact_start IS NULL AND backend_xmin IS NULL";
    assert_eq!(database.value(idle), "1", "no transaction is held");
    migrated(&database, &folder);
    sidecar.becomes("ready", true);
    // The journal's details follow.
    eventually!(
        sidecar.status()["migrations"][1]["applied_at"].is_string(),
        "{:#}",
        sidecar.status()
    );
    // Also that one failed, which the rows do not show.
    let more = two();
    more.write("0003_c.sql", b"CREATE TABLE c (id nonsense);");
    let behind = Sidecar::start(&listening(&database, &more));
    behind.becomes("pending", false);
    sessions(&database, 2);
    Schemagate::migrate(&database, &more).run().assert_code(5);
    behind.becomes("failed", false);
    assert_eq!(sidecar.state(), "ready");
    // A word does no harm, and takes nothing away.
    database.query("DELETE FROM schemagate.history WHERE version = '0002'; NOTIFY schemagate");
    sidecar.becomes("pending", false);
    sidecar.stop().assert_code(0);
}

#[test]
fn a_burst_of_migrations_is_followed() {
    let database = Server::debian().database();
    let folder = Folder::empty();
    for number in 1..=200 {
        let name = format!("{number:04}_x.sql");
        folder.write(
            &name,
            format!("CREATE TABLE t{number} (id int);").as_bytes(),
        );
    }
    let sidecars: Vec<_> = (0..5)
        .map(|_| Sidecar::start(&listening(&database, &folder)))
        .collect();
    sessions(&database, 5);
    migrated(&database, &folder);
    for sidecar in &sidecars {
        sidecar.becomes("ready", true);
        assert_eq!(sidecar.status()["version"], "0200");
    }
}

#[test]
fn a_restarted_server_is_listened_to_again() {
    let server = Server::own();
    let database = server.database();
    let folder = two();
    let sidecar = Sidecar::start(&listening(&database, &folder));
    sidecar.becomes("pending", false);
    sessions(&database, 1);
    server.stop(Stop::Fast);
    sidecar.sees_database(false);
    server.start();
    sessions(&database, 1);
    migrated(&database, &folder);
    sidecar.becomes("ready", true);
    server.stop(Stop::Immediate);
    sidecar.sees_database(false);
    assert!(sidecar.is_ready());
    server.start();
    sidecar.sees_database(true);
    // Looked at once again: what happened in between was notified to nobody.
    server.stop(Stop::Fast);
    sidecar.sees_database(false);
    server.start();
    database.query("DELETE FROM schemagate.history WHERE version = '0002'");
    sidecar.becomes("pending", false);
}

#[test]
fn a_terminated_session_is_taken_up_again() {
    let database = Server::debian().database();
    let folder = two();
    let sidecar = Sidecar::start(&listening(&database, &folder));
    sidecar.becomes("pending", false);
    let before = sessions(&database, 1);
    database.query(&format!("SELECT pg_terminate_backend({})", before[0][0]));
    let session = database.session();
    eventually!(
        session.query(SESSIONS).iter().any(|pid| *pid != before[0]),
        "another session"
    );
    sessions(&database, 1);
    migrated(&database, &folder);
    sidecar.becomes("ready", true);
}

#[test]
fn a_time_limit_for_idle_sessions_does_not_end_it() {
    let database = Server::debian().database();
    database.query(&format!(
        "ALTER DATABASE {} SET idle_session_timeout = '300ms'",
        database.name
    ));
    let sidecar = Sidecar::start(&listening(&database, two()));
    sidecar.becomes("pending", false);
    let pid = sessions(&database, 1).remove(0).remove(0);
    let session = database.session();
    session.query("SET idle_session_timeout = 0");
    let idle = format!(
        "SELECT now() - state_change > interval '1.5 s' FROM pg_stat_activity WHERE pid = {pid}"
    );
    eventually!(session.value(&idle) == "t", "the session goes on");
}

#[test]
fn behind_a_pooler_it_polls_and_says_so_once() {
    let bouncer = PgBouncer::start(Server::debian(), "transaction", 5);
    let database = Server::debian().database();
    let folder = two();
    let call = listening(&database, &folder)
        .url(&bouncer.url(&database))
        .env("SCHEMAGATE_POLL_INTERVAL", "200ms");
    let sidecar = Sidecar::start(&call);
    sidecar.becomes("pending", false);
    migrated(&database, &folder);
    sidecar.becomes("ready", true);
    assert_eq!(
        database.value("SELECT count(*) FROM pg_listening_channels()"),
        "0"
    );
    let outcome = sidecar.stop();
    let said = outcome.logs().into_iter().filter(|line| {
        line["message"]
            .as_str()
            .unwrap_or_default()
            .contains("cannot listen")
    });
    assert_eq!(said.count(), 1, "{outcome}");
}

#[test]
fn a_link_that_falls_silent_is_given_up() {
    let database = Server::debian().database();
    let folder = two();
    migrated(&database, &folder);
    let proxy = Proxy::to(Server::debian().port());
    let call = listening(&database, &folder)
        .url(&database.url_at(proxy.port()))
        .env("SCHEMAGATE_POLL_INTERVAL", "500ms");
    let sidecar = Sidecar::start(&call);
    sidecar.becomes("ready", true);
    proxy.hold();
    sidecar.sees_database(false);
    assert!(sidecar.is_ready());
    proxy.cut();
    sidecar.sees_database(true);
}

#[test]
fn it_migrates_too() {
    // One connection at a time: a server may allow no more.
    let database = Server::debian().database();
    let role = database.role("app", "LOGIN CONNECTION LIMIT 1");
    database.query(&format!(
        "GRANT CREATE ON DATABASE {0} TO {role}; GRANT CREATE ON SCHEMA public TO {role}",
        database.name
    ));
    let call = listening(&database, two())
        .url(&database.url_as(&role))
        .env("SCHEMAGATE_AUTO_MIGRATE", "true");
    let sidecar = Sidecar::start(&call);
    sidecar.becomes("ready", true);
    sessions(&database, 1);
    database.query(
        "DROP TABLE b; DELETE FROM schemagate.history WHERE version = '0002'; NOTIFY schemagate",
    );
    eventually!(database.has_table("b"), "migrated again");
    sidecar.becomes("ready", true);
}

#[test]
fn fifty_are_ready_soon_after_the_commit() {
    let database = Server::debian().database();
    let folder = two();
    migrated(&database, &folder);
    database.query(
        "CREATE TABLE row AS SELECT version, name, checksum, duration_ms FROM schemagate.history WHERE version = '0002';
         DELETE FROM schemagate.history WHERE version = '0002'",
    );
    let call = listening(&database, &folder);
    let sidecars: Vec<_> = (0..50).map(|_| Sidecar::start(&call)).collect();
    for sidecar in &sidecars {
        sidecar.becomes("pending", false);
    }
    sessions(&database, 50);
    let session = database.session();
    // What an applier sends.
    session.query(
        "BEGIN; INSERT INTO schemagate.history (version, name, checksum, duration_ms) SELECT * FROM row;
         NOTIFY schemagate; COMMIT",
    );
    let committed = Instant::now();
    let latest = thread::scope(|scope| {
        let waits: Vec<_> = sidecars
            .iter()
            .map(|sidecar| {
                scope.spawn(move || {
                    eventually!(sidecar.is_ready(), "ready");
                    committed.elapsed()
                })
            })
            .collect();
        let waits = waits
            .into_iter()
            .map(|wait| wait.join().expect("an answer"));
        waits.max().expect("fifty")
    });
    println!("the last of 50 answered 200 within {latest:?} of the commit");
    assert!(latest < Duration::from_secs(5), "{latest:?}");
}
