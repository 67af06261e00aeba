//! `plan --trace`: what is pending really runs, is reported, and leaves nothing behind.

mod hostile;
mod limits;

use serde_json::Value;

use crate::harness::{Database, Folder, Outcome, PgBouncer, Schemagate, Server, eventually};
use crate::plan::{json, plan};

fn trace(database: &Database<'_>, folder: &Folder) -> Schemagate {
    plan(database, folder).arg("--trace")
}

/// What a trace saw of a statement.
#[track_caller]
fn seen(report: &Value, migration: usize, statement: usize) -> &Value {
    let seen = &report["migrations"][migration]["statements"][statement]["trace"];
    assert!(seen.is_object(), "{report:#}");
    seen
}

fn locks(seen: &Value) -> Vec<String> {
    let locks = seen["locks"].as_array().unwrap().iter();
    locks
        .map(|lock| format!("{} {}", lock["relation"], lock["mode"]).replace('"', ""))
        .collect()
}

/// Runs it and sees to it that the database is as it was.
#[track_caller]
fn leaves_nothing(database: &Database<'_>, call: &Schemagate) -> (Value, Outcome) {
    let before = shape(database);
    let (report, outcome) = json(call);
    assert_eq!(before, shape(database), "{outcome}");
    assert!(database.has_no_advisory_lock());
    (report, outcome)
}

/// The catalog, down to the files: of the servers from npm there is no `pg_dump`.
fn shape(database: &Database<'_>) -> Vec<Vec<String>> {
    database.query(
        "SELECT oid, relname, relfilenode, relnamespace, relowner FROM pg_class WHERE relkind <> 'S' ORDER BY oid;
         SELECT attrelid, attname, atttypid FROM pg_attribute WHERE attrelid >= 16384 ORDER BY 1, attnum;
         SELECT oid, typname FROM pg_type ORDER BY oid;
         SELECT oid, enumlabel FROM pg_enum ORDER BY oid;
         SELECT oid, proname FROM pg_proc WHERE oid >= 16384 ORDER BY oid;
         SELECT oid, conname FROM pg_constraint ORDER BY oid;
         SELECT oid, nspname FROM pg_namespace WHERE nspname !~ '^pg_(toast_)?temp' ORDER BY oid;
         SELECT oid, rulename FROM pg_rewrite WHERE oid >= 16384 ORDER BY oid",
    )
}

fn what_really_happens(server: &Server) {
    let database = server.database();
    database.query(
        "CREATE SCHEMA \"ein Schema\";
         CREATE TABLE \"ein Schema\".t (id int PRIMARY KEY, a int);
         INSERT INTO \"ein Schema\".t SELECT i, i FROM generate_series(1, 1000) i;
         CREATE TABLE old (a int); CREATE TABLE child (id int);",
    );
    let folder = Folder::sql(&[
        (
            "0001_a.sql",
            "SET search_path = \"ein Schema\", public;
             SET statement_timeout = 0;
             UPDATE t SET a = a + 1 WHERE id <= 10;
             ALTER TABLE t ALTER a TYPE bigint;
             DROP TABLE old;
             CREATE TABLE made (a int);
             ALTER TABLE made ADD b int;",
        ),
        (
            "0002_b.sql",
            "CREATE INDEX CONCURRENTLY i ON child (id);
             COPY child FROM stdin;\n1\n2\n3\n\\.\n
             ALTER TABLE child ADD CONSTRAINT f FOREIGN KEY (id) REFERENCES \"ein Schema\".t NOT VALID;",
        ),
    ]);
    let (report, outcome) = leaves_nothing(&database, &trace(&database, &folder));
    outcome.assert_code(0);
    assert_eq!(report["trace"]["end"], "whole", "{outcome}");
    assert!(
        seen(&report, 0, 1)["skipped"]
            .as_str()
            .unwrap()
            .contains("limits")
    );
    let update = seen(&report, 0, 2);
    assert_eq!(update["rows"], 10);
    assert_eq!(locks(update), ["ein Schema.t ROW EXCLUSIVE"]);
    assert!(update["duration_ms"].as_f64().unwrap() > 0.0);
    let rewrite = seen(&report, 0, 3);
    assert!(
        locks(rewrite).contains(&"ein Schema.t ACCESS EXCLUSIVE".to_owned()),
        "{rewrite}"
    );
    assert_eq!(rewrite["rewritten"], serde_json::json!(["ein Schema.t"]));
    assert_eq!(locks(seen(&report, 0, 4)), ["public.old ACCESS EXCLUSIVE"]);
    // Nobody else can see what is being made.
    assert!(locks(seen(&report, 0, 5)).is_empty());
    assert!(locks(seen(&report, 0, 6)).is_empty());
    // The search_path of the first file is gone in the second.
    assert!(
        seen(&report, 1, 0)["skipped"]
            .as_str()
            .unwrap()
            .contains("CREATE INDEX CONCURRENTLY")
    );
    assert_eq!(seen(&report, 1, 1)["rows"], 3);
    let key = locks(seen(&report, 1, 2));
    assert!(
        key.contains(&"public.child SHARE ROW EXCLUSIVE".to_owned()),
        "{key:?}"
    );
    let not_run = report["trace"]["not_run"].to_string();
    assert!(
        not_run.contains("0002_b.sql:1: CREATE INDEX CONCURRENTLY"),
        "{not_run}"
    );
    assert_eq!(report["trace"]["ran"], 8);
    assert!(!database.has_table("schemagate.history"));
    assert_eq!(
        database.value("SELECT sum(a) FROM \"ein Schema\".t"),
        "500500"
    );
    trace(&database, &folder)
        .run()
        .assert_code(0)
        .assert_prints("rewrote ein Schema.t")
        .assert_prints("tables and indexes that grew stay as large until VACUUM");
}

#[test]
fn locks_rows_and_rewrites_are_told() {
    what_really_happens(Server::debian());
}

#[test]
fn also_of_an_older_server() {
    what_really_happens(Server::embedded("14"));
}

#[test]
fn also_of_a_newer_server() {
    what_really_happens(Server::embedded("18"));
}

#[test]
fn an_error_is_told_with_its_place_and_ends_it() {
    let database = Server::debian().database();
    let folder = Folder::sql(&[
        (
            "0001_a.sql",
            "CREATE TABLE t (a int);\nSELECT 1;\n  ALTER TABLE tt ADD b int;\nSELECT 2;",
        ),
        ("0002_b.sql", "SELECT 3;"),
    ]);
    let (report, outcome) = leaves_nothing(&database, &trace(&database, &folder));
    outcome
        .assert_code(5)
        .assert_says("0001_a.sql:3:3")
        .assert_says("everything was rolled back");
    let error = seen(&report, 0, 2)["error"].as_str().unwrap();
    assert!(
        error.contains("0001_a.sql:3:3") && error.contains("42P01"),
        "{error}"
    );
    assert!(report["migrations"][0]["statements"][3]["trace"].is_null());
    assert!(report["migrations"][1]["statements"][0]["trace"].is_null());
    assert_eq!(report["trace"]["end"], "failed");
    // By its position, in characters, where the server gives one.
    let folder = Folder::sql(&[("0001_a.sql", "SELECT 1;\nSELECT 'ü🙂',\n nope;")]);
    trace(&database, &folder)
        .run()
        .assert_code(5)
        .assert_says("0001_a.sql:3:2")
        .assert_prints("failed: 0001_a.sql:3:2");
}

#[test]
fn constraints_that_a_commit_would_check_are_checked() {
    let database = Server::debian().database();
    database.query(
        "CREATE TABLE a (id int PRIMARY KEY);
         CREATE TABLE b (a int REFERENCES a DEFERRABLE INITIALLY DEFERRED)",
    );
    let late = (
        "0001_a.sql",
        "INSERT INTO b VALUES (1); INSERT INTO a VALUES (1);",
    );
    let again = (
        "0002_b.sql",
        "INSERT INTO b VALUES (2); INSERT INTO a VALUES (2);",
    );
    let folder = Folder::sql(&[late, again]);
    trace(&database, &folder).run().assert_code(0);
    let folder = Folder::sql(&[
        late,
        ("0002_b.sql", "INSERT INTO b VALUES (2);"),
        ("0003_c.sql", "SELECT 1;"),
    ]);
    let (report, outcome) = leaves_nothing(&database, &trace(&database, &folder));
    outcome
        .assert_code(5)
        .assert_says("0002_b.sql: at its COMMIT");
    let rest = report["migrations"][1]["rest"]["error"].as_str().unwrap();
    assert!(rest.contains("23503"), "{rest}");
}

/// A run commits between two files; in a trace a new value of an enum is not safe to use yet.
#[test]
fn a_new_value_of_an_enum_is_left_to_the_run() {
    let database = Server::debian().database();
    database.query("CREATE TYPE mood AS ENUM ('a'); CREATE TABLE t (m mood)");
    let add = "ALTER TYPE mood ADD VALUE 'b';";
    let uses = "INSERT INTO t VALUES ('b');\nINSERT INTO t VALUES ('a');";
    let folder = Folder::sql(&[("0001_a.sql", add), ("0002_b.sql", uses)]);
    let (report, outcome) = leaves_nothing(&database, &trace(&database, &folder));
    outcome.assert_code(0);
    let skipped = seen(&report, 1, 0)["skipped"].as_str().unwrap();
    assert!(skipped.contains("enum"), "{skipped}");
    assert_eq!(seen(&report, 1, 1)["rows"], 1);
    // Where a run would meet it, it is an error.
    for call in [
        trace(&database, &folder).env("SCHEMAGATE_TRANSACTION", "all"),
        trace(
            &database,
            &Folder::sql(&[("0001_a.sql", &format!("{add}\n{uses}"))]),
        ),
    ] {
        call.run().assert_code(5).assert_says("55P04");
    }
}

/// What was left out is missed by what follows; that is no error of the file.
#[test]
fn what_needs_a_statement_that_was_left_out_is_left_out_too() {
    let database = Server::debian().database();
    database.query("CREATE TABLE t (a int NOT NULL)");
    let folder = Folder::sql(&[
        ("0001_a.sql", "CREATE UNIQUE INDEX CONCURRENTLY i ON t (a);"),
        (
            "0002_b.sql",
            "ALTER TABLE t ADD CONSTRAINT u UNIQUE USING INDEX i;\nALTER TABLE t ADD b int;",
        ),
    ]);
    let (report, outcome) = leaves_nothing(&database, &trace(&database, &folder));
    outcome.assert_code(0);
    let skipped = seen(&report, 1, 0)["skipped"].as_str().unwrap();
    assert!(skipped.contains("index \"i\" does not exist"), "{skipped}");
    assert_eq!(locks(seen(&report, 1, 1)), ["public.t ACCESS EXCLUSIVE"]);
}

#[test]
fn other_clients_are_left_in_peace() {
    let server = Server::debian();
    let database = server.database();
    let role = database.role("app", "LOGIN");
    database.query(&format!("GRANT ALL ON SCHEMA public TO {role}"));
    let folder = Folder::sql(&[("0001_a.sql", "CREATE TABLE t (a int);")]);
    let other = database.session();
    other.query("SET application_name = 'the shop'");
    for call in [
        trace(&database, &folder),
        trace(&database, &folder).url(&database.url_as(&role)),
    ] {
        call.run()
            .assert_code(2)
            .assert_says("the shop")
            .assert_says("--force");
        call.arg("--force").run().assert_code(0);
    }
    other.query("SET application_name = 'schemagate/1.0 pod'");
    trace(&database, &folder).run().assert_code(0);
    other.query("SET application_name = 'psql'");
    drop(other);
    // One that is going is waited for.
    trace(&database, &folder).run().assert_code(0);
}

#[test]
fn a_run_is_not_met() {
    let database = Server::debian().database();
    let folder = Folder::sql(&[("0001_a.sql", "CREATE TABLE t (a int);")]);
    let holder = database.session();
    holder.query("SELECT pg_advisory_lock(4711)");
    trace(&database, &folder)
        .arg("--force")
        .env("SCHEMAGATE_LOCK_KEY", "4711")
        .run()
        .assert_code(4)
        .assert_says("the lock is held by pid");
    holder.query("SELECT pg_advisory_unlock_all()");
    let slow = Folder::sql(&[(
        "0001_a.sql",
        "CREATE TABLE t (a int); SELECT pg_sleep(3600);",
    )]);
    let tracing = trace(&database, &slow).arg("--force").spawn();
    database.schemagate_runs("pg_sleep");
    Schemagate::migrate(&database, &folder)
        .env("SCHEMAGATE_LOCK_WAIT_TIMEOUT", "off")
        .run()
        .assert_code(4);
    tracing.signal("TERM");
    tracing.wait().assert_code(143);
    Schemagate::migrate(&database, &folder).run().assert_code(0);
}

#[test]
fn a_standby_cannot_be_traced() {
    let primary = Server::own();
    let database = primary.database();
    let standby = Server::standby_of(&primary);
    let url = standby.url(&database.name);
    eventually!(
        crate::harness::Session::try_connect(&url).is_ok(),
        "the standby has no database"
    );
    let folder = Folder::sql(&[("0001_a.sql", "CREATE TABLE t (a int);")]);
    plan(&database, &folder).url(&url).run().assert_code(0);
    trace(&database, &folder)
        .url(&url)
        .env("SCHEMAGATE_WAIT", "false")
        .run()
        .assert_code(3);
}

#[test]
fn a_pooled_connection_is_given_back_clean() {
    let server = Server::own();
    let database = server.database();
    database.query("CREATE TYPE mood AS ENUM ('a')");
    let bouncer = PgBouncer::start(&server, "transaction", 1);
    let folder = Folder::sql(&[(
        "0001_a.sql",
        "SET search_path = nowhere;
         SET ROLE pg_read_all_stats; RESET ROLE;
         PREPARE p AS SELECT 1; EXECUTE p;
         SELECT 'a'::public.mood;
         SELECT pg_advisory_lock(1);
         CREATE TEMP TABLE tt (a int);
         LISTEN x;",
    )]);
    let (report, outcome) = json(&trace(&database, &folder).url(&bouncer.url(&database)));
    outcome.assert_code(0);
    assert_eq!(report["trace"]["end"], "whole");
    let session = crate::harness::Session::connect(&bouncer.url(&database));
    assert_eq!(
        session.value("SELECT count(*) FROM pg_prepared_statements"),
        "0"
    );
    assert_eq!(
        session.value("SELECT current_setting('search_path')"),
        "\"$user\", public"
    );
    assert_eq!(
        session.value("SELECT count(*) FROM pg_listening_channels()"),
        "0"
    );
    assert_eq!(session.value("SELECT current_user"), "postgres");
    drop(session);
    assert!(database.has_no_advisory_lock());
}

#[test]
fn gates_do_not_hold_a_trace_and_a_dry_run_has_none() {
    let database = Server::debian().database();
    let first = ("0001_a.sql", "CREATE TABLE t (a int);");
    Schemagate::migrate(&database, Folder::sql(&[first]))
        .run()
        .assert_code(0);
    let folder = Folder::sql(&[first, ("0002_b.sql", "DROP TABLE t;")]);
    let call = trace(&database, &folder);
    let (report, outcome) = leaves_nothing(&database, &call);
    outcome.assert_code(0);
    assert!(report["migrations"][0]["held"].is_object(), "{outcome}");
    assert_eq!(locks(seen(&report, 0, 0)), ["public.t ACCESS EXCLUSIVE"]);
    let (report, outcome) = json(&call.env("SCHEMAGATE_DRY_RUN", "true"));
    outcome.assert_code(0);
    assert!(report["trace"].is_null());
    let warnings = report["warnings"].to_string();
    assert!(warnings.contains("the trace was not run"), "{warnings}");
}

/// Also behind a file that has set another one.
#[test]
fn it_runs_as_the_role_of_the_settings() {
    let database = Server::debian().database();
    let owner = database.role("owner", "");
    database.query("CREATE TABLE not_ours (a int)");
    let folder = Folder::sql(&[
        ("0001_a.sql", "RESET ROLE; ALTER TABLE not_ours ADD b int;"),
        ("0002_b.sql", "ALTER TABLE not_ours ADD c int;"),
    ]);
    trace(&database, &folder)
        .env("SCHEMAGATE_ROLE", &owner)
        .run()
        .assert_code(9)
        .assert_says("0002_b.sql:1")
        .assert_says("must be owner");
}
