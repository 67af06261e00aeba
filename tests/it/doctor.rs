//! `doctor` against real servers: what it says of the connection, and that it ends as `migrate` would.

use serde_json::Value;

use crate::harness::{Database, Folder, Outcome, PgBouncer, Schemagate, Server};

fn one() -> Folder {
    Folder::sql(&[("0001_a.sql", "CREATE TABLE a (id int);")])
}

fn doctor(url: &str, folder: impl AsRef<std::path::Path>) -> Schemagate {
    Schemagate::new(&["doctor", "--format", "json"])
        .url(url)
        .folder(folder)
        .env("SCHEMAGATE_WAIT", "false")
}

/// The report of a call, which ends with what it says of `migrate`.
#[track_caller]
fn report(outcome: &Outcome, code: i32) -> Value {
    outcome.assert_code(code);
    let report: Value = serde_json::from_str(&outcome.stdout).expect("a report in JSON");
    assert_eq!(report["schema_version"], 1, "{outcome}");
    assert_eq!(report["exit_code"], code, "{outcome}");
    report
}

/// The items with this name, as `level: value -> what to do`.
fn items(report: &Value, section: &str, name: &str) -> Vec<String> {
    let items = report["sections"][section].as_array();
    let items = items.map_or(&[][..], Vec::as_slice).iter();
    items
        .filter(|item| item["name"] == name)
        .map(|item| {
            format!(
                "{}: {} -> {}",
                item["level"].as_str().unwrap_or_default(),
                item["value"].as_str().unwrap_or_default(),
                item["what_to_do"].as_str().unwrap_or_default()
            )
        })
        .collect()
}

#[track_caller]
fn assert_item(report: &Value, section: &str, name: &str, expected: &str) {
    let found = items(report, section, name);
    assert!(
        found.iter().any(|item| item.contains(expected)),
        "{section}, {name}: {found:?} lacks {expected:?}\n{report:#}"
    );
}

/// It ends with the code that `migrate` ends with, and has changed nothing before.
#[track_caller]
fn as_migrate(call: &Schemagate, migrate: &Schemagate, code: i32) -> Value {
    let report = report(&call.run(), code);
    migrate.run().assert_code(code);
    report
}

#[test]
fn a_healthy_database_before_and_after() {
    for server in [
        Server::debian(),
        Server::embedded("14"),
        Server::embedded("18"),
    ] {
        let database = server.database();
        let call = doctor(&database.url(), one());
        let found = report(&call.run(), 0);
        assert_item(&found, "connection", "server", "ok: 127.0.0.1:");
        assert_item(&found, "connection", "path", "ok: direct, server process");
        assert_item(&found, "connection", "tls", "note: none");
        assert_item(&found, "server", "standing", "ok: a primary");
        assert_item(&found, "server", "version", "ok: PostgreSQL");
        assert_item(&found, "server", "connections", "of 200 in use");
        assert_item(&found, "server", "clock", "ok: ");
        assert_item(&found, "role", "works as", "ok: postgres");
        assert_item(&found, "role", "attributes", "note: superuser");
        assert_item(&found, "history", "schemagate.history", "not there yet");
        assert_item(&found, "lock", "holder", "ok: nobody");
        assert_item(&found, "pending", "migrations", "1 pending: 0001");
        assert_item(&found, "pending", "before the run", "nothing is known");
        let made = "SELECT count(*) FROM pg_namespace WHERE nspname = 'schemagate'";
        assert_eq!(database.value(made), "0", "it only reads");
        Schemagate::migrate(&database, one()).run().assert_code(0);
        let found = report(&call.run(), 0);
        assert_item(
            &found,
            "history",
            "schemagate.history",
            "ok: 1 rows, owner postgres",
        );
        assert_item(&found, "pending", "migrations", "ok: nothing is pending");
    }
}

#[test]
fn text_for_people() {
    let database = Server::debian().database();
    Schemagate::new(&["doctor"])
        .url(&database.url())
        .folder(one())
        .run()
        .assert_code(0)
        .assert_prints("connection\n  ok       settings")
        .assert_prints("`migrate` would end with 0: nothing stands in its way");
}

#[test]
fn through_a_pooler() {
    for mode in ["transaction", "session"] {
        let bouncer = PgBouncer::start(Server::debian(), mode, 2);
        let database = Server::debian().database();
        let found = report(&doctor(&bouncer.url(&database), one()).run(), 0);
        assert_item(&found, "connection", "path", "note: a pooler or proxy");
        assert_item(&found, "pending", "migrations", "1 pending");
        assert!(database.has_no_advisory_lock());
        let unknown = bouncer
            .url(&database)
            .replace(&database.name, "nowhere_at_all");
        let found = report(&doctor(&unknown, one()).run(), 9);
        assert_item(&found, "connection", "database", "nowhere_at_all");
    }
}

#[test]
fn a_standby() {
    let primary = Server::own();
    let standby = Server::standby_of(&primary);
    let url = standby.url("postgres");
    let migrate = Schemagate::new(&["migrate"])
        .url(&url)
        .folder(one())
        .env("SCHEMAGATE_WAIT", "false");
    let found = as_migrate(&doctor(&url, one()), &migrate, 3);
    assert_item(&found, "server", "standing", "note: a standby");
    assert_item(&found, "server", "standing", "target_session_attrs=primary");
    // Where nothing is pending it is good enough.
    let migrated = Schemagate::new(&["migrate"]).folder(one());
    migrated.url(&primary.url("postgres")).run().assert_code(0);
    let session = standby.session("postgres");
    crate::harness::eventually!(
        session.value("SELECT to_regclass('a') IS NOT NULL") == "t",
        "the standby is behind"
    );
    report(&doctor(&url, one()).run(), 0);
}

#[test]
fn where_the_connection_breaks() {
    let database = Server::debian().database();
    let role = database.role("app", "LOGIN PASSWORD 'right' IN ROLE needs_password");
    let check = |url: &str, code: i32, step: &str, says: &str| {
        let outcome = doctor(url, one()).run();
        let found = report(&outcome, code);
        assert_item(&found, "connection", step, "problem: ");
        assert_item(&found, "connection", step, says);
        for text in [&outcome.stdout, &outcome.stderr] {
            assert!(!text.contains("s3cret"), "{outcome}");
        }
    };
    let wrong = database.url_as(&format!("{role}:s3cret"));
    check(&wrong, 9, "login", "28P01");
    check(&database.url_as(&role), 9, "login", "PGPASSWORD");
    let nowhere = Server::debian().url("nowhere").replace('@', ":s3cret@");
    check(&nowhere, 9, "database", "3D000");
    let nobody = "postgres://app:s3cret@127.0.0.1:1/app";
    check(nobody, 3, "network", "nothing listens there");
    let no_name = "postgres://app:s3cret@nosuch.invalid/app";
    check(no_name, 3, "name", "nosuch.invalid");
    let no_tls = format!("{}?sslmode=require", database.url());
    check(&no_tls, 9, "TLS", "offers no TLS");
    let right = database.url_as(&format!("{role}:right"));
    let outcome = doctor(&right, Folder::sql(&[])).env("SCHEMAGATE_ALLOW_EMPTY", "true");
    let found = report(&outcome.run(), 0);
    assert_item(&found, "connection", "login", "SCRAM-SHA-256 without");
}

/// The connection is told also where the folder cannot be read; the code is that of the folder.
#[test]
fn without_a_folder() {
    let database = Server::debian().database();
    let found = report(&doctor(&database.url(), "/nowhere").run(), 2);
    assert_item(&found, "connection", "server", "ok: ");
    assert_item(&found, "role", "works as", "ok: postgres");
    assert_item(&found, "folder", "/nowhere", "problem: ");
    let nobody = "postgres://app@127.0.0.1:1/app";
    let found = report(&doctor(nobody, "/nowhere").run(), 2);
    assert_item(&found, "connection", "network", "problem: ");
}

#[test]
fn as_an_ordinary_role() {
    let database = Server::debian().database();
    let role = database.role("odd", "LOGIN");
    let url = database.url_as(&role);
    let migrate = Schemagate::new(&["migrate"]).url(&url).folder(one());
    let found = as_migrate(&doctor(&url, one()), &migrate, 9);
    let grant = format!(
        "GRANT CREATE ON DATABASE \"{}\" TO \"{role}\"",
        database.name
    );
    assert_item(&found, "role", "database", &grant);
    assert_item(&found, "role", "schema public", "not create in it");
    assert_item(&found, "activity", "transactions", "cannot be seen");
    assert_item(
        &found,
        "pending",
        "0001_a.sql:1",
        "problem: permission denied for schema public",
    );
    assert_item(
        &found,
        "pending",
        "the history table schemagate.history",
        &grant,
    );
}

#[test]
fn a_role_to_work_as() {
    let database = Server::debian().database();
    let (login, owner) = (
        database.role("login", "LOGIN"),
        database.role("owner", "CREATEROLE"),
    );
    let call = doctor(&database.url_as(&login), one()).env("SCHEMAGATE_ROLE", &owner);
    let found = report(&call.run(), 9);
    assert_item(
        &found,
        "history",
        "schemagate.history",
        "GRANT the role of SCHEMAGATE_ROLE",
    );
    assert_item(
        &found,
        "role",
        "works as",
        &format!("note: {login}, not {owner}"),
    );
    database.query(&format!(
        "GRANT {owner} TO {login}; GRANT CREATE ON DATABASE {} TO {owner}; GRANT CREATE ON SCHEMA public TO {owner}",
        database.name
    ));
    let found = report(&call.run(), 0);
    assert_item(
        &found,
        "role",
        "works as",
        &format!("ok: {owner} (SCHEMAGATE_ROLE)"),
    );
    assert_item(&found, "role", "logged in as", &login);
    assert_item(&found, "role", "attributes", "createrole");
    database.query(&format!("DROP OWNED BY {owner}"));
}

#[test]
fn the_lock_in_another_session() {
    let database = Server::debian().database();
    let holder = database.session();
    holder.query("SET application_name = 'older script'; SELECT pg_advisory_lock(4711)");
    let pid = holder.value("SELECT pg_backend_pid()");
    let call = doctor(&database.url(), one()).env("SCHEMAGATE_LOCK_KEY", "4711");
    let migrate = Schemagate::migrate(&database, one())
        .env("SCHEMAGATE_LOCK_KEY", "4711")
        .env("SCHEMAGATE_LOCK_WAIT_TIMEOUT", "1s");
    let found = as_migrate(&call, &migrate, 4);
    assert_item(&found, "lock", "holder", "problem: ");
    assert_item(
        &found,
        "lock",
        "holder",
        &format!("pid {pid} (older script)"),
    );
    assert_item(
        &found,
        "lock",
        "holder",
        &format!("pg_terminate_backend({pid})"),
    );
    drop(holder);
    crate::harness::eventually!(database.has_no_advisory_lock(), "the lock stays");
    report(&call.run(), 0);
}

/// Each ends as `migrate` does, for the same reason.
#[test]
fn what_stands_in_the_way_of_a_run() {
    let check = |database: &Database<'_>, folder: &Folder, code: i32, name: &str| {
        let migrate = Schemagate::migrate(database, folder);
        let found = as_migrate(&doctor(&database.url(), folder), &migrate, code);
        if !name.is_empty() {
            assert_item(&found, "pending", name, "problem: ");
        }
    };
    let fresh = || Server::debian().database();
    let database = fresh();
    let vector = Folder::sql(&[("0001_a.sql", "\nCREATE EXTENSION vector;")]);
    check(&database, &vector, 5, "0001_a.sql:2");
    let chained = Folder::sql(&[("0001_a.sql", "COMMIT AND CHAIN;")]);
    check(&database, &chained, 2, "");
    Schemagate::migrate(&database, one()).run().assert_code(0);
    let changed = Folder::sql(&[("0001_a.sql", "CREATE TABLE b (id int);")]);
    check(&database, &changed, 6, "conflict");
    let database = fresh();
    database.query("CREATE TABLE goose_db_version (id int, version_id int, is_applied bool); INSERT INTO goose_db_version VALUES (1, 1, true)");
    check(&database, &one(), 6, "");
    let found = report(&doctor(&database.url(), one()).run(), 6);
    assert_item(&found, "history", "another tool's history", "goose");
}

#[test]
fn what_holds_a_migration_up() {
    let server = Server::own_with("max_prepared_transactions = 2");
    let database = server.database();
    database.query("CREATE TABLE t (id int); INSERT INTO t VALUES (1), (1)");
    let builder = database.session();
    assert!(
        builder
            .try_query("CREATE UNIQUE INDEX CONCURRENTLY broken ON t (id)")
            .is_err()
    );
    let session = database.session();
    session.query("BEGIN");
    session.query("INSERT INTO t VALUES (2)");
    session.query("PREPARE TRANSACTION 'left\n\u{1b}behind'");
    database.query(&format!(
        "ALTER DATABASE {} SET statement_timeout = '5s'",
        database.name
    ));
    let found = report(&doctor(&database.url(), one()).run(), 0);
    assert_item(
        &found,
        "activity",
        "prepared transaction",
        "ROLLBACK PREPARED",
    );
    assert_item(&found, "activity", "invalid index", "note: public.broken");
    assert_item(
        &found,
        "server",
        "statement_timeout",
        "note: 5s (from: database)",
    );
}

#[test]
fn the_last_attempt_is_told() {
    let database = Server::debian().database();
    let folder = one();
    folder.write("0002_bad.sql", b"SELECT 1 / 0;");
    let migrate = Schemagate::new(&["migrate"])
        .url(&database.url())
        .folder(&folder);
    migrate.run().assert_code(5);
    let found = report(&doctor(&database.url(), &folder).run(), 0);
    let told = "note: 0002 failed: 0002_bad.sql:1:1: division by zero";
    assert_item(&found, "pending", "last attempt", told);
    folder.write("0002_bad.sql", b"SELECT 1;");
    let found = report(&doctor(&database.url(), &folder).run(), 0);
    assert!(items(&found, "pending", "last attempt").is_empty());
}
