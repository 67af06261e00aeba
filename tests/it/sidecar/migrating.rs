//! A sidecar that migrates (`SCHEMAGATE_AUTO_MIGRATE=true`).

use std::path::Path;

use super::{migrated, two};
use crate::harness::{Database, Folder, Outcome, Schemagate, Server, Sidecar, Stop, eventually};

fn migrating(database: &Database<'_>, folder: impl AsRef<Path>) -> Schemagate {
    Schemagate::sidecar(database, folder).env("SCHEMAGATE_AUTO_MIGRATE", "true")
}

/// `0002` sleeps for as long as there is a table `slow`.
fn sleeping(database: &Database<'_>) -> Folder {
    database.query("CREATE TABLE slow (id int)");
    Folder::sql(&[
        ("0001_first.sql", "CREATE TABLE first (id int);"),
        (
            "0002_slow.sql",
            "CREATE TABLE half (id int);
             SELECT CASE WHEN to_regclass('slow') IS NULL THEN '' ELSE pg_sleep(120)::text END;",
        ),
    ])
}

/// How often its log says that a run failed.
fn failed_runs(outcome: &Outcome) -> usize {
    let logs = outcome.logs();
    let failed = logs.iter();
    failed
        .filter(|line| line["message"] == "the run failed")
        .count()
}

fn events(database: &Database<'_>, event: &str) -> String {
    database.value(&format!(
        "SELECT count(*) FROM schemagate.journal WHERE event = '{event}'"
    ))
}

/// Several looks have been made since.
fn looks_on(sidecar: &Sidecar) {
    for _ in 0..3 {
        let seen = || sidecar.status()["seen_at"].clone();
        let before = seen();
        eventually!(seen() != before, "no look after {before}");
    }
}

#[test]
fn serves_while_it_migrates() {
    let database = Server::debian().database();
    let folder = sleeping(&database);
    let sidecar = Sidecar::start(&migrating(&database, &folder));
    let backend = database.schemagate_runs("pg_sleep");
    sidecar.becomes("migrating", false);
    eventually!(
        sidecar.status()["running"]["version"] == "0002",
        "{:#}",
        sidecar.status()
    );
    let status = sidecar.status();
    assert_eq!(status["migrations"][0]["state"], "applied", "{status:#}");
    assert!(
        status["migrations"][0]["duration_ms"].is_number(),
        "{status:#}"
    );
    assert_eq!(status["version"], "0001");
    assert_eq!(sidecar.get("/livez").status, 200);
    database.query(&format!(
        "DROP TABLE slow; SELECT pg_terminate_backend({backend})"
    ));
    sidecar.becomes("ready", true);
    assert!(sidecar.status()["running"].is_null());
    let metrics = sidecar.get("/metrics").body;
    for line in [
        "schemagate_migrations_applied_total 2",
        "schemagate_ready 1",
        "schemagate_state{state=\"ready\"} 1",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{metrics}");
    }
    sidecar.stop().assert_code(0);
}

#[test]
fn many_at_once_apply_once() {
    let database = Server::debian().database();
    let folder = crate::lock::traced_sql();
    let call = migrating(&database, &folder);
    let sidecars: Vec<_> = (0..8).map(|_| Sidecar::start(&call)).collect();
    for sidecar in &sidecars {
        sidecar.becomes("ready", true);
    }
    assert_eq!(
        database.query("SELECT what FROM ran ORDER BY what"),
        [["0001"], ["0002"], ["0003"]]
    );
}

#[test]
fn a_failed_migration_is_told_everywhere_and_not_run_again() {
    let database = Server::debian().database();
    let folder = two();
    folder.write("0002_b.sql", b"CREATE TABLE b (id nonsense);");
    let sidecar = Sidecar::start(&migrating(&database, &folder));
    sidecar.becomes("failed", false);
    let said = "type \"nonsense\" does not exist";
    assert!(sidecar.reason().contains(said), "{}", sidecar.reason());
    assert!(
        sidecar.reason().contains("0002_b.sql:1:20"),
        "{}",
        sidecar.reason()
    );
    assert!(sidecar.get("/readyz?verbose").body.contains(said));
    assert!(sidecar.get("/").body.contains("nonsense"));
    let metrics = sidecar.get("/metrics").body;
    assert!(
        metrics.contains("schemagate_state{state=\"failed\"} 1"),
        "{metrics}"
    );
    assert!(
        metrics.contains("schemagate_migrations_failed_total 1"),
        "{metrics}"
    );
    // Another pod of the same image learns it from the journal.
    let other = Sidecar::start(&migrating(&database, &folder));
    other.becomes("failed", false);
    assert!(other.reason().contains(said), "{}", other.reason());
    looks_on(&sidecar);
    looks_on(&other);
    assert_eq!(events(&database, "failed"), "1", "nobody tries it again");
    // Somebody who knows better does.
    database.query("CREATE TYPE nonsense AS (id int)");
    migrated(&database, &folder);
    sidecar.becomes("ready", true);
    other.becomes("ready", true);
    sidecar.stop().assert_code(0).assert_says("the run failed");
}

#[test]
fn a_failure_that_nobody_could_note_is_remembered() {
    let database = Server::debian().database();
    let role = database.role("app", "LOGIN");
    database.query(&format!("GRANT CREATE ON SCHEMA public TO {role}"));
    let folder = two();
    folder.write("0002_b.sql", b"CREATE TABLE b (id nonsense);");
    let call = migrating(&database, &folder)
        .url(&database.url_as(&role))
        .env("SCHEMAGATE_HISTORY_TABLE", "public.migrations");
    let sidecar = Sidecar::start(&call);
    sidecar.becomes("failed", false);
    looks_on(&sidecar);
    assert_eq!(sidecar.state(), "failed");
    let outcome = sidecar.stop();
    assert_eq!(failed_runs(&outcome), 1, "{outcome}");
}

#[test]
fn a_failure_ends_the_process_where_that_is_asked() {
    let server = Server::debian();
    let exiting = |database: &Database<'_>, folder: &Folder| {
        migrating(database, folder)
            .env("SCHEMAGATE_LISTEN", "127.0.0.1:0")
            .env("SCHEMAGATE_ON_FAILURE", "exit")
    };
    let database = server.database();
    let folder = two();
    folder.write("0002_b.sql", b"CREATE TABLE b (id nonsense);");
    let outcome = exiting(&database, &folder).run();
    outcome.assert_code(5).assert_says("nonsense");
    // The next one finds it in the journal.
    let outcome = exiting(&database, &folder).run();
    outcome.assert_code(5).assert_says("nonsense");
    assert_eq!(events(&database, "failed"), "1");

    let database = server.database();
    let folder = two();
    migrated(&database, &folder);
    folder.write("0001_a.sql", b"CREATE TABLE a (id bigint);");
    let outcome = exiting(&database, &folder).run();
    outcome.assert_code(6).assert_says("has changed");

    let database = server.database();
    let folder = two();
    folder.write("0003_c.sql", b"CREATE INDEX CONCURRENTLY ON a (id);");
    let outcome = exiting(&database, &folder)
        .env("SCHEMAGATE_TRANSACTION", "all")
        .run();
    outcome.assert_code(2).assert_says("0003_c.sql");
}

#[test]
fn what_cannot_be_run_as_asked_is_told_once() {
    let database = Server::debian().database();
    let folder = two();
    folder.write("0003_c.sql", b"CREATE INDEX CONCURRENTLY ON a (id);");
    let call = migrating(&database, &folder).env("SCHEMAGATE_TRANSACTION", "all");
    let sidecar = Sidecar::start(&call);
    sidecar.becomes("failed", false);
    looks_on(&sidecar);
    assert!(
        sidecar.reason().contains("0003_c.sql"),
        "{}",
        sidecar.reason()
    );
    migrated(&database, &folder);
    sidecar.becomes("ready", true);
    let outcome = sidecar.stop();
    assert_eq!(failed_runs(&outcome), 1, "{outcome}");
}

#[test]
fn a_history_of_another_tool_that_goes_away() {
    let database = Server::debian().database();
    database.query("CREATE TABLE _prisma_migrations AS SELECT 1 AS id");
    let folder = two();
    let sidecar = Sidecar::start(&migrating(&database, &folder));
    sidecar.becomes("mismatch", false);
    looks_on(&sidecar);
    assert!(
        sidecar.reason().contains("Prisma Migrate"),
        "{}",
        sidecar.reason()
    );
    database.query("DROP TABLE _prisma_migrations");
    sidecar.becomes("ready", true);
}

#[test]
fn a_privilege_that_is_granted_later() {
    let database = Server::debian().database();
    let role = database.role("app", "LOGIN");
    database.query("CREATE TABLE theirs (id int)");
    let folder = Folder::sql(&[("0001_a.sql", "INSERT INTO theirs VALUES (1);")]);
    database.query(&format!(
        "GRANT CREATE ON DATABASE {} TO {role}",
        database.name
    ));
    let call = migrating(&database, &folder).url(&database.url_as(&role));
    let sidecar = Sidecar::start(&call);
    eventually!(
        sidecar
            .reason()
            .contains("permission denied for table theirs"),
        "{}",
        sidecar.reason()
    );
    assert!(!sidecar.is_ready());
    database.query(&format!("GRANT ALL ON theirs TO {role}"));
    sidecar.becomes("ready", true);
    // Also where another pod has noted it.
    assert_eq!(database.value("SELECT count(*) FROM theirs"), "1");
}

#[test]
fn a_restored_database_is_migrated_again() {
    let database = Server::debian().database();
    let sidecar = Sidecar::start(&migrating(&database, two()));
    sidecar.becomes("ready", true);
    database.query("DROP TABLE b; DELETE FROM schemagate.history WHERE version = '0002'");
    eventually!(database.has_table("b"), "migrated again");
    sidecar.becomes("ready", true);
}

#[test]
fn a_server_that_restarts_in_the_middle() {
    let server = Server::own();
    let database = server.database();
    let folder = sleeping(&database);
    let sidecar = Sidecar::start(&migrating(&database, &folder));
    database.schemagate_runs("pg_sleep");
    let dropper = database.session();
    dropper.query("DROP TABLE slow");
    server.stop(Stop::Immediate);
    server.start();
    sidecar.becomes("ready", true);
    assert_eq!(
        database.value("SELECT count(*) FROM schemagate.history"),
        "2"
    );
}

#[test]
fn without_permission_to_write_nothing_is_written() {
    let database = Server::debian().database();
    let call = migrating(&database, two()).env("SCHEMAGATE_DRY_RUN", "true");
    let sidecar = Sidecar::start(&call);
    sidecar.becomes("pending", false);
    looks_on(&sidecar);
    assert!(!database.has_table("a"));
    sidecar
        .stop()
        .assert_code(0)
        .assert_says("SCHEMAGATE_DRY_RUN");
}

#[test]
fn sigterm_while_migrating_cancels_and_rolls_back() {
    let database = Server::debian().database();
    let folder = sleeping(&database);
    let sidecar = Sidecar::start(&migrating(&database, &folder));
    database.schemagate_runs("pg_sleep");
    let outcome = sidecar.stop();
    outcome.assert_code(143).assert_says("was cancelled");
    assert!(database.has_table("first") && !database.has_table("half"));
    assert!(database.has_no_advisory_lock());
}

#[test]
fn sigterm_while_waiting_for_the_lock_is_0() {
    let database = Server::debian().database();
    let folder = sleeping(&database);
    let other = Schemagate::migrate(&database, &folder).spawn();
    database.schemagate_runs("pg_sleep");
    let sidecar = Sidecar::start(&migrating(&database, &folder));
    sidecar.becomes("waiting_for_lock", false);
    let holder = sidecar.status()["holder"].clone();
    assert!(
        holder.as_str().unwrap_or_default().contains("0002"),
        "{holder}"
    );
    sidecar.stop().assert_code(0);
    other.signal("TERM");
    other.wait().assert_code(143);
}

#[test]
fn not_ready_from_the_signal_on() {
    // The statement does not notice the cancel: the connection is held.
    let database = Server::debian().database();
    let folder = Folder::sql(&[("0001_slow.sql", "SELECT pg_sleep(120);")]);
    let proxy = crate::harness::Proxy::to(Server::debian().port());
    let call = migrating(&database, &folder).url(&database.url_at(proxy.port()));
    let sidecar = Sidecar::start(&call);
    let backend = database.schemagate_runs("pg_sleep");
    proxy.hold();
    sidecar.running.signal("TERM");
    eventually!(sidecar.status()["draining"] == true, "draining is told");
    assert_eq!(sidecar.readyz(), 503);
    sidecar.running.wait().assert_code(143);
    database.query(&format!("SELECT pg_terminate_backend({backend})"));
}

#[test]
fn the_deadline_is_for_each_run() {
    let database = Server::debian().database();
    let folder = sleeping(&database);
    let call = migrating(&database, &folder).env("SCHEMAGATE_DEADLINE", "1s");
    let sidecar = Sidecar::start(&call);
    eventually!(
        sidecar.reason().contains("SCHEMAGATE_DEADLINE"),
        "{}",
        sidecar.reason()
    );
    assert!(database.has_table("first") && !database.has_table("half"));
    database.query("DROP TABLE slow");
    sidecar.becomes("ready", true);
    looks_on(&sidecar);
    sidecar.stop().assert_code(0);
}

#[test]
fn a_lock_that_does_not_move_is_waited_for_again() {
    let database = Server::debian().database();
    let folder = two();
    let holder = database.session();
    holder.query("BEGIN; SELECT pg_advisory_xact_lock(123456789)");
    let call = migrating(&database, &folder)
        .env("SCHEMAGATE_LOCK_KEY", "123456789")
        .env("SCHEMAGATE_LOCK_WAIT_TIMEOUT", "1s");
    let sidecar = Sidecar::start(&call);
    eventually!(
        sidecar.reason().contains("nothing has moved for 1s"),
        "{}",
        sidecar.reason()
    );
    holder.query("COMMIT");
    sidecar.becomes("ready", true);
}
