//! A sidecar that only looks.

use std::fs;

use super::{migrated, two};
use crate::harness::{Folder, Proxy, Schemagate, Server, Sidecar, Stop, eventually, fixture};

#[test]
fn serves_before_the_database_is_there_and_follows_it() {
    let server = Server::own();
    let database = server.database();
    let folder = two();
    server.stop(Stop::Fast);
    let sidecar = Sidecar::start(&Schemagate::sidecar(&database, &folder));
    sidecar.becomes("connecting", false);
    eventually!(sidecar.reason().contains("refused"), "{}", sidecar.reason());
    assert_eq!(sidecar.get("/livez").status, 200);
    assert_eq!(sidecar.get("/startupz").status, 503);
    server.start();
    sidecar.becomes("pending", false);
    assert_eq!(sidecar.reason(), "2 pending: 0001, 0002");
    migrated(&database, &folder);
    sidecar.becomes("ready", true);
    assert_eq!(sidecar.get("/startupz").status, 200);
    assert_eq!(sidecar.status()["version"], "0002");
    // A blip makes no pod unready.
    server.stop(Stop::Fast);
    sidecar.sees_database(false);
    let status = sidecar.status();
    assert_eq!((&status["state"], sidecar.readyz()), (&"ready".into(), 200));
    assert!(status["stale_since"].is_string(), "{status:#}");
    server.start();
    sidecar.sees_database(true);
    assert!(sidecar.status()["stale_since"].is_null());
    sidecar.becomes("ready", true);
    let outcome = sidecar.stop();
    outcome.assert_code(0);
    let changes: Vec<_> = outcome
        .logs()
        .into_iter()
        .filter(|line| line["message"] == "schema")
        .collect();
    // The look may have met the lock of the migrating pod.
    assert!(
        (2..=3).contains(&changes.len()),
        "a line for each change\n{outcome}"
    );
}

#[test]
fn a_history_that_gets_worse_takes_readiness_away() {
    let server = Server::own();
    let database = server.database();
    let folder = two();
    migrated(&database, &folder);
    let sidecar = Sidecar::start(&Schemagate::sidecar(&database, &folder));
    sidecar.becomes("ready", true);
    // A database restored to an older state.
    database.query("DELETE FROM schemagate.history WHERE version = '0002'; DROP TABLE b");
    sidecar.becomes("pending", false);
    assert_eq!(
        sidecar.get("/startupz").status,
        200,
        "it has once been ready"
    );
    migrated(&database, &folder);
    sidecar.becomes("ready", true);
    // The whole table is gone.
    database.query("DROP TABLE a, b; DROP SCHEMA schemagate CASCADE");
    sidecar.becomes("pending", false);
    migrated(&database, &folder);
    sidecar.becomes("ready", true);
    // Something else stands in its place.
    database.query("DROP TABLE schemagate.history; CREATE TABLE schemagate.history (id int)");
    sidecar.becomes("mismatch", false);
    assert!(
        sidecar.reason().contains("is not a history table"),
        "{}",
        sidecar.reason()
    );
    sidecar.stop().assert_code(0);
}

#[test]
fn a_changed_checksum_takes_readiness_away_where_it_is_refused() {
    let server = Server::debian();
    for (policy, state, ready) in [("fail", "mismatch", false), ("warn", "ready", true)] {
        let database = server.database();
        let folder = two();
        migrated(&database, &folder);
        let call = Schemagate::sidecar(&database, &folder).env("SCHEMAGATE_CHECKSUM", policy);
        let sidecar = Sidecar::start(&call);
        sidecar.becomes("ready", true);
        database.query("UPDATE schemagate.history SET checksum = 'ff' WHERE version = '0001'");
        eventually!(
            sidecar.status()["migrations"][0]["state"] == "changed",
            "{:#}",
            sidecar.status()
        );
        sidecar.becomes(state, ready);
        sidecar.stop().assert_code(0);
    }
}

#[test]
fn rows_beyond_the_image() {
    let database = Server::debian().database();
    let folder = two();
    migrated(&database, &folder);
    let allowing = Sidecar::start(&Schemagate::sidecar(&database, &folder));
    let refusing = Schemagate::sidecar(&database, &folder).env("SCHEMAGATE_AHEAD", "fail");
    let refusing = Sidecar::start(&refusing);
    allowing.becomes("ready", true);
    refusing.becomes("ready", true);
    folder.write("0003_c.sql", b"CREATE TABLE c (id int);");
    migrated(&database, &folder);
    allowing.becomes("ahead", true);
    refusing.becomes("mismatch", false);
    assert!(refusing.reason().contains("0003"), "{}", refusing.reason());
    // Rolled back by hand.
    database.query("DELETE FROM schemagate.history WHERE version = '0003'");
    allowing.becomes("ready", true);
    refusing.becomes("ready", true);
}

#[test]
fn what_does_not_match_is_told() {
    let database = Server::debian().database();
    let folder = two();
    migrated(&database, &folder);
    folder.write("0001_a.sql", b"CREATE TABLE a (id bigint);");
    let sidecar = Sidecar::start(&Schemagate::sidecar(&database, &folder));
    sidecar.becomes("mismatch", false);
    let status = sidecar.status();
    assert!(
        sidecar.reason().contains("0001_a.sql has changed"),
        "{status:#}"
    );
    let next = status["next_step"].as_str().unwrap_or_default();
    assert!(next.contains("SCHEMAGATE_CHECKSUM"), "{status:#}");
}

#[test]
fn the_lock_of_another_is_told() {
    let database = Server::debian().database();
    let folder = Folder::sql(&[("0001_slow.sql", "SELECT pg_sleep(60);")]);
    let migrating = Schemagate::migrate(&database, &folder).spawn();
    database.schemagate_runs("pg_sleep");
    let sidecar = Sidecar::start(&Schemagate::sidecar(&database, &folder));
    sidecar.becomes("waiting_for_lock", false);
    let status = sidecar.status();
    assert!(
        status["holder"]
            .as_str()
            .unwrap_or_default()
            .contains("migration 0001"),
        "{status:#}"
    );
    migrating.signal("TERM");
    migrating.wait().assert_code(143);
    sidecar.becomes("pending", false);
    assert!(sidecar.status()["holder"].is_null());
}

#[test]
fn a_failure_in_the_journal_is_told_until_someone_succeeds() {
    let database = Server::debian().database();
    let folder = two();
    folder.write("0002_b.sql", b"CREATE TABLE b (id nonsense);");
    Schemagate::migrate(&database, &folder).run().assert_code(5);
    let sidecar = Sidecar::start(&Schemagate::sidecar(&database, &folder));
    sidecar.becomes("failed", false);
    assert!(
        sidecar.reason().contains("nonsense"),
        "{}",
        sidecar.reason()
    );
    // The corrected file of another image is another content.
    let corrected = two();
    let other = Sidecar::start(&Schemagate::sidecar(&database, &corrected));
    other.becomes("pending", false);
    database.query("CREATE TYPE nonsense AS (id int)");
    migrated(&database, &folder);
    sidecar.becomes("ready", true);
}

#[test]
fn a_password_that_is_rotated_in_its_file() {
    let database = Server::debian().database();
    let folder = two();
    migrated(&database, &folder);
    let role = database.role("app", "LOGIN PASSWORD 'old' IN ROLE needs_password");
    database.query(&format!(
        "GRANT USAGE ON SCHEMA schemagate TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA schemagate TO {role}"
    ));
    let secret = Folder::empty();
    let write = |password: &str| {
        let url = database.url_as(&format!("{role}:{password}"));
        fs::write(secret.path().join("url"), url).unwrap();
    };
    write("wrong");
    let call = Schemagate::new(&["sidecar"])
        .folder(&folder)
        .env("SCHEMAGATE_POLL_INTERVAL", "200ms")
        .env("SCHEMAGATE_DATABASE_URL_FILE", secret.path().join("url"));
    let sidecar = Sidecar::start(&call);
    eventually!(sidecar.reason().contains("28P01"), "{}", sidecar.reason());
    sidecar.becomes("connecting", false);
    write("old");
    sidecar.becomes("ready", true);
    database.query(&format!("ALTER ROLE {role} PASSWORD 'new'"));
    sidecar.sees_database(false);
    assert!(sidecar.is_ready());
    write("new");
    sidecar.sees_database(true);
    let outcome = sidecar.stop();
    outcome
        .assert_code(0)
        .assert_silent_about("wrong@")
        .assert_silent_about(":old");
}

#[test]
fn a_history_that_may_not_be_read_is_told() {
    let database = Server::debian().database();
    let folder = two();
    migrated(&database, &folder);
    let role = database.role("app", "LOGIN");
    let call = Schemagate::sidecar(&database, &folder).url(&database.url_as(&role));
    let sidecar = Sidecar::start(&call);
    eventually!(
        sidecar.reason().contains("permission denied"),
        "{}",
        sidecar.reason()
    );
    sidecar.becomes("connecting", false);
    assert_eq!(sidecar.status()["database_up"], true);
    database.query(&format!(
        "GRANT USAGE ON SCHEMA schemagate TO {role}; GRANT SELECT ON schemagate.history TO {role}"
    ));
    sidecar.becomes("ready", true);
    database.query(&format!("REVOKE SELECT ON schemagate.history FROM {role}"));
    eventually!(
        sidecar.status()["stale_since"].is_string(),
        "{:#}",
        sidecar.status()
    );
    sidecar.becomes("ready", true);
}

#[test]
fn an_error_of_the_disk_takes_nothing_away() {
    let database = Server::debian().database();
    let folder = two();
    migrated(&database, &folder);
    let sidecar = Sidecar::start(&Schemagate::sidecar(&database, &folder));
    sidecar.becomes("ready", true);
    database.query(
        "CREATE FUNCTION broken() RETURNS SETOF schemagate.history LANGUAGE plpgsql AS
           $$ BEGIN RAISE 'could not read block 0' USING ERRCODE = '58030'; END $$;
         BEGIN;
         ALTER TABLE schemagate.history RENAME TO kept;
         CREATE VIEW schemagate.history AS SELECT * FROM broken();
         COMMIT",
    );
    eventually!(
        sidecar.reason().contains("could not read block 0"),
        "{:#}",
        sidecar.status()
    );
    sidecar.becomes("ready", true);
    assert!(sidecar.status()["stale_since"].is_string());
}

#[test]
fn who_ends_while_it_asks_leaves_no_session_that_waits() {
    let database = Server::debian().database();
    let folder = two();
    migrated(&database, &folder);
    let locker = database.session();
    locker.query("BEGIN; LOCK TABLE schemagate.history");
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
        AND application_name LIKE 'schemagate/%' AND wait_event_type = 'Lock'";
    let sidecar = Sidecar::start(&Schemagate::sidecar(&database, &folder));
    eventually!(database.value(waiting) == "1", "it asks");
    sidecar.stop().assert_code(0);
    eventually!(database.value(waiting) == "0", "nobody waits");
    locker.query("ROLLBACK");
}

#[test]
fn a_stuck_database_delays_no_answer_and_takes_nothing_away() {
    let database = Server::debian().database();
    let folder = two();
    migrated(&database, &folder);
    let proxy = Proxy::to(Server::debian().port());
    let call = Schemagate::sidecar(&database, &folder).url(&database.url_at(proxy.port()));
    let sidecar = Sidecar::start(&call);
    sidecar.becomes("ready", true);
    proxy.hold();
    let slowest = std::cell::Cell::new(std::time::Duration::ZERO);
    eventually!(
        {
            let began = std::time::Instant::now();
            assert!(sidecar.is_ready());
            slowest.set(slowest.get().max(began.elapsed()));
            sidecar.status()["database_up"] == false
        },
        "the look is given up: {:#}",
        sidecar.status()
    );
    assert!(
        slowest.get() < std::time::Duration::from_secs(2),
        "{slowest:?}"
    );
    // What was held back is lost; new connections work.
    proxy.cut();
    sidecar.sees_database(true);
}

#[test]
fn a_locked_history_table_gathers_no_waiting_sessions() {
    let database = Server::debian().database();
    let folder = two();
    migrated(&database, &folder);
    let sidecar = Sidecar::start(&Schemagate::sidecar(&database, &folder));
    sidecar.becomes("ready", true);
    let locker = database.session();
    locker.query("BEGIN; LOCK schemagate.history");
    eventually!(
        sidecar.status()["database_up"] == false,
        "{:#}",
        sidecar.status()
    );
    assert!(sidecar.is_ready());
    let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted
        AND relation = 'schemagate.history'::regclass";
    assert!(
        ["0", "1"].contains(&locker.value(waiting).as_str()),
        "one look at a time"
    );
    locker.query("COMMIT");
    sidecar.sees_database(true);
}

#[test]
fn no_connection_is_held_between_looks() {
    let database = Server::debian().database();
    let folder = two();
    migrated(&database, &folder);
    let call = Schemagate::sidecar(&database, &folder).env("SCHEMAGATE_POLL_INTERVAL", "1h");
    let sidecar = Sidecar::start(&call);
    sidecar.becomes("ready", true);
    let sessions =
        "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'schemagate/%'
        AND datname = current_database()";
    eventually!(database.value(sessions) == "0", "it says good-bye");
}

#[test]
fn mistakes_end_with_2_before_anything_is_served() {
    let database = Server::debian().database();
    let folder = two();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap().to_string();
    let call = Schemagate::sidecar(&database, &folder);
    call.clone()
        .env("SCHEMAGATE_LISTEN", &taken)
        .run()
        .assert_code(2)
        .assert_says("is in use")
        .assert_says("SCHEMAGATE_LISTEN");
    let free = call.env("SCHEMAGATE_LISTEN", "127.0.0.1:0");
    free.clone()
        .env("SCHEMAGATE_TARGET", "0009")
        .run()
        .assert_code(2)
        .assert_says("0009")
        .assert_silent_about("endpoints are served");
    free.clone()
        .folder(Folder::empty())
        .run()
        .assert_code(2)
        .assert_silent_about("endpoints are served");
    free.env("SCHEMAGATE_AUTO_MIGRATE", "true")
        .env("SCHEMAGATE_EXEC_ONCE", "1.4.2")
        .run()
        .assert_code(2)
        .assert_says("SCHEMAGATE_EXEC_ONCE");
}

#[test]
fn a_marker_in_the_journal_is_the_schema() {
    let database = Server::debian().database();
    migrated(&database, &two());
    let call = Schemagate::new(&["sidecar"])
        .url(&database.url())
        .env("SCHEMAGATE_POLL_INTERVAL", "200ms")
        .env("SCHEMAGATE_EXEC_ONCE", "1.4.2");
    let sidecar = Sidecar::start(&call);
    sidecar.becomes("pending", false);
    let note = |event: &str| {
        database.query(&format!(
            "INSERT INTO schemagate.journal (run, history, event, version, detail)
             VALUES ('00000000-0000-0000-0000-000000000000', 'exec', '{event}', '1.4.2', '{{\"message\": \"exit 3\"}}')"
        ))
    };
    note("failed");
    sidecar.becomes("failed", false);
    assert!(sidecar.reason().contains("exit 3"), "{}", sidecar.reason());
    note("exec_done");
    sidecar.becomes("ready", true);
    assert_eq!(sidecar.status()["version"], "1.4.2");
    // The database of before.
    database.query("TRUNCATE schemagate.journal");
    sidecar.becomes("pending", false);
}

#[test]
fn what_is_known_stays_known_in_every_format() {
    let folders = [
        two().path().to_owned(),
        fixture("drizzle/classic/shop"),
        fixture("drizzle/v1/shop"),
    ];
    for folder in folders {
        let database = Server::debian().database();
        Schemagate::migrate(&database, &folder).run().assert_code(0);
        let call = Schemagate::sidecar(&database, &folder).env("SCHEMAGATE_POLL_INTERVAL", "20ms");
        let sidecar = Sidecar::start(&call);
        sidecar.becomes("ready", true);
        let mut looks = std::collections::BTreeSet::new();
        eventually!(
            {
                let status = sidecar.status();
                // From the journal, which a glance at the rows does not see.
                assert!(
                    status["migrations"][0]["duration_ms"].is_number(),
                    "{status:#}"
                );
                looks.insert(status["seen_at"].to_string());
                looks.len() > 50
            },
            "{} looks",
            looks.len()
        );
    }
}
