//! `verify` apart from drift: history and files, unfinished indexes and constraints, assertions, exit codes.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::Value;

use crate::harness::{Database, Folder, Outcome, Schemagate, Server, eventually};

fn verify(database: &Database<'_>, folder: &Folder) -> Schemagate {
    Schemagate::new(&["verify", "--format", "json"])
        .url(&database.url())
        .folder(folder)
}

fn report(outcome: &Outcome) -> Value {
    serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{error}\n{outcome}"))
}

/// A migrated database with two rows in `t`.
fn migrated(database: &Database<'_>) -> Folder {
    let folder = Folder::sql(&[(
        "0001_t.sql",
        "CREATE TABLE t (id int PRIMARY KEY, a int); CREATE SEQUENCE s; INSERT INTO t VALUES (1, 1), (2, 2);",
    )]);
    Schemagate::migrate(database, &folder).run().assert_code(0);
    folder
}

#[test]
fn history_and_files() {
    let database = Server::debian().database();
    let folder = migrated(&database);
    verify(&database, &folder).run().assert_code(0);
    folder.write("0002_more.sql", b"CREATE TABLE u (a int)");
    let pending = verify(&database, &folder).run();
    pending.assert_code(8).assert_says("1 pending: 0002");
    assert_eq!(report(&pending)["result"], "pending");
    folder.write("0001_t.sql", b"CREATE TABLE other (a int)");
    let changed = verify(&database, &folder).run();
    changed.assert_code(6).assert_says("0001_t.sql has changed");
    let report = report(&changed);
    assert_eq!(report["findings"][0]["check"], "history");
    assert_eq!(report["findings"][0]["name"], "0001");
    verify(&database, &folder)
        .env("SCHEMAGATE_CHECKSUM", "warn")
        .run()
        .assert_code(8)
        .assert_prints("has changed");
    // 6 wins over 8.
    database.query("CREATE INDEX extra ON t (a)");
    let both = verify(&database, &folder)
        .env("SCHEMAGATE_CHECKSUM", "warn")
        .run();
    both.assert_code(6)
        .assert_prints("\"0002\"")
        .assert_says("added index public.extra");
    // Nothing of all this wrote anything.
    assert_eq!(
        database.value("SELECT count(*) FROM schemagate.history"),
        "1"
    );
    assert!(!database.has_table("u"));
}

#[test]
fn unfinished_indexes_and_constraints() {
    let database = Server::debian().database();
    let folder = migrated(&database);
    database.query("UPDATE t SET a = 1");
    let session = database.session();
    session
        .try_query("CREATE UNIQUE INDEX CONCURRENTLY \"Bad one\" ON t (a)")
        .unwrap_err();
    session.query("CREATE TABLE p (a int) PARTITION BY LIST (a); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);
        CREATE INDEX by_design ON ONLY p (a);
        ALTER TABLE t ADD CONSTRAINT later CHECK (a > 5) NOT VALID;
        CREATE DOMAIN d AS int; ALTER DOMAIN d ADD CONSTRAINT d_later CHECK (VALUE > 1) NOT VALID");
    let ignore = "table:*,index:public.by_design,domain:*,type:*,constraint:public.t.later";
    let outcome = verify(&database, &folder)
        .env("SCHEMAGATE_DRIFT_IGNORE", ignore)
        .run();
    outcome.assert_code(6);
    let report = report(&outcome);
    let of = |check: &str| -> Vec<Value> {
        let findings = report["findings"].as_array().unwrap().iter();
        findings
            .filter(|finding| finding["check"] == check)
            .cloned()
            .collect()
    };
    assert_eq!(of("index").len(), 1, "{outcome}");
    assert_eq!(of("index")[0]["name"], "public.\"Bad one\"");
    assert!(
        of("index")[0]["next"]
            .as_str()
            .unwrap()
            .contains("REINDEX INDEX CONCURRENTLY public.\"Bad one\"")
    );
    assert_eq!(of("constraint").len(), 1, "{outcome}");
    assert_eq!(
        of("constraint")[0]["next"],
        "ALTER DOMAIN public.d VALIDATE CONSTRAINT d_later"
    );
    database.query("DROP TABLE p; ALTER TABLE t DROP CONSTRAINT later; UPDATE t SET a = id; REINDEX INDEX \"Bad one\"; DROP INDEX \"Bad one\"; DROP DOMAIN d");
    verify(&database, &folder).run().assert_code(0);
}

#[test]
fn an_index_that_is_being_built_is_not_invalid() {
    let database = Server::debian().database();
    let folder = migrated(&database);
    let holder = database.session();
    holder.query("BEGIN; UPDATE t SET a = 3 WHERE id = 1");
    let building = database
        .session()
        .query_in_background("CREATE INDEX CONCURRENTLY slow ON t (a)");
    eventually!(
        database.value("SELECT count(*) FROM pg_index WHERE NOT indisvalid") == "1",
        "nobody builds"
    );
    verify(&database, &folder)
        .env("SCHEMAGATE_DRIFT_IGNORE", "public.slow")
        .run()
        .assert_code(0);
    // Not because of the pattern.
    let outcome = verify(&database, &folder).run();
    assert!(!outcome.stdout.contains("is invalid"), "{outcome}");
    drop(building);
}

/// Runs with these assertions.
fn asserted(database: &Database<'_>, folder: &Folder, files: &[(&str, &str)]) -> Outcome {
    let checks = Folder::sql(files);
    verify(database, folder)
        .env("SCHEMAGATE_VERIFY_DIR", checks.path())
        .env("SCHEMAGATE_STATEMENT_TIMEOUT", "5s")
        .run()
}

#[test]
fn assertions_hold_or_not() {
    let database = Server::debian().database();
    let folder = migrated(&database);
    let passing: &[(&str, &str)] = &[
        (
            "a.sql",
            "\u{feff}-- all have one\r\nSELECT id FROM t\r\n WHERE a IS NULL;\r\n",
        ),
        (
            "b.sql",
            "DO $$ BEGIN ASSERT (SELECT count(*) FROM t) = 2, 'two'; END $$",
        ),
        (
            "c.sql",
            "SET LOCAL search_path = nowhere; (SELECT 1 FROM public.t WHERE id > 5);;",
        ),
        ("notes.md", "COMMIT"),
        (".hidden.sql", "COMMIT"),
    ];
    let outcome = asserted(&database, &folder, passing);
    outcome.assert_code(0);
    assert_eq!(
        report(&outcome)["assertions_passed"],
        serde_json::json!(["a.sql", "b.sql", "c.sql"])
    );
    for (text, says) in [
        (
            "SELECT 1 WHERE false;\n\n  SELECT id FROM t",
            "x.sql:3:3 returned 2 rows",
        ),
        ("VALUES ('secret')", "x.sql:1:1 returned 1 row"),
        (
            "SELECT 1 WHERE false;\nDO $$ BEGIN RAISE EXCEPTION 'no owner'; END $$",
            "x.sql:2:1 failed: no owner",
        ),
        ("SELECT 'é', nothing FROM t", "x.sql:1:13 failed: column"),
        ("SELECT 1 / 0", "division by zero"),
        ("SELECT 1 WHERE false; SELEC 2", "SELEC"),
        ("SELECT pg_sleep(60)", "statement timeout"),
        ("SELECT id INTO u FROM t", "read-only"),
        (
            "WITH x AS (DELETE FROM t RETURNING id) SELECT id FROM x WHERE false",
            "read-only",
        ),
        (
            "SET TRANSACTION READ WRITE; WITH x AS (DELETE FROM t) SELECT 1 WHERE false",
            "read-write",
        ),
        ("SET transaction_read_only = off", "read-write"),
        ("DO $$ BEGIN DELETE FROM t; END $$", "read-only"),
        (
            "DO $$ BEGIN COMMIT; DELETE FROM t; COMMIT; END $$",
            "invalid transaction termination",
        ),
        (
            "DO $$ BEGIN SET TRANSACTION READ WRITE; DELETE FROM t; END $$",
            "read-write",
        ),
        (
            "DO $$ BEGIN BEGIN PERFORM set_config('transaction_read_only', 'off', false); END; DELETE FROM t; END $$",
            "read-write",
        ),
        ("SELECT id FROM t FOR UPDATE", "read-only"),
        (
            "SELECT nextval('s') FROM t",
            "nextval() in a read-only transaction",
        ),
    ] {
        let outcome = asserted(
            &database,
            &folder,
            &[
                ("w.sql", "SELECT 1 WHERE false"),
                ("x.sql", text),
                ("y.sql", ""),
            ],
        );
        let (code, whole) = (outcome.code(), outcome.to_string());
        if text.contains("SELEC 2") {
            // Not known to be a query.
            assert_eq!(code, 2, "{whole}");
        } else {
            assert_eq!(code, 6, "{text}\n{whole}");
            let report = report(&outcome);
            assert_eq!(
                report["assertions_passed"],
                serde_json::json!(["w.sql", "y.sql"]),
                "{text}"
            );
            outcome.assert_says("y.sql: no statement");
        }
        assert!(whole.contains(says), "{text}: {says}\n{whole}");
        assert!(!outcome.stdout.contains("secret"), "{whole}");
        assert_eq!(database.value("SELECT count(*) FROM t"), "2", "{text}");
    }
}

#[test]
fn what_is_no_assertion_ends_before_anything_is_asked() {
    let nowhere = "postgres://postgres@127.0.0.1:1/x";
    let migrations = Folder::sql(&[("0001_a.sql", "SELECT 1")]);
    let call = |dir: &std::path::Path| {
        Schemagate::new(&["verify"])
            .url(nowhere)
            .folder(&migrations)
            .env("SCHEMAGATE_VERIFY_DIR", dir)
            .run()
    };
    for (text, says) in [
        (
            &b"SELECT 1;\nCOMMIT;"[..],
            "x.sql line 2: an assertion only looks",
        ),
        (b"INSERT INTO t VALUES (1)", "INSERT is refused"),
        (b"\\i other.sql", "x.sql line 1"),
        (b"SELECT '\xff'", "not valid UTF-8"),
        (b"PREPARE p AS SELECT 1", "PREPARE is refused"),
        (b"LISTEN x", "LISTEN is refused"),
        (b"BEGIN; SELECT 1; COMMIT", "BEGIN is refused"),
    ] {
        let checks = Folder::empty();
        checks.write("x.sql", text);
        let outcome = call(checks.path());
        outcome.assert_code(2).assert_says(says);
    }
    let empty = Folder::empty();
    call(empty.path())
        .assert_code(2)
        .assert_says("there is no *.sql in it");
    call(&empty.path().join("gone"))
        .assert_code(2)
        .assert_says("SCHEMAGATE_VERIFY_DIR");
    fs::create_dir(empty.path().join("a.sql")).unwrap();
    symlink("nowhere", empty.path().join("b.sql")).unwrap();
    call(empty.path()).assert_code(2).assert_says("b.sql");
}

#[test]
fn assertions_run_as_the_role_and_see_what_it_may_see() {
    let database = Server::debian().database();
    let folder = migrated(&database);
    let role = database.role("checker", "");
    database.query(&format!(
        "CREATE TABLE private (a int); GRANT USAGE ON SCHEMA schemagate TO {role};
         GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA schemagate TO {role}; GRANT SELECT ON t TO {role}"
    ));
    let checks = Folder::sql(&[
        (
            "who.sql",
            &format!("SELECT current_user WHERE current_user <> '{role}'"),
        ),
        ("may.sql", "SELECT id FROM t WHERE id > 5"),
        ("may_not.sql", "SELECT a FROM private"),
    ]);
    let outcome = verify(&database, &folder)
        .env("SCHEMAGATE_VERIFY_DIR", checks.path())
        .env("SCHEMAGATE_ROLE", &role)
        .env("SCHEMAGATE_DRIFT_IGNORE", "public,grant:*")
        .run();
    outcome
        .assert_code(6)
        .assert_says("permission denied for table private");
    assert_eq!(
        report(&outcome)["assertions_passed"],
        serde_json::json!(["may.sql", "who.sql"])
    );
}

#[test]
fn a_signal_ends_a_long_assertion() {
    let database = Server::debian().database();
    let folder = migrated(&database);
    let checks = Folder::sql(&[("slow.sql", "SELECT pg_sleep(600)")]);
    let running = verify(&database, &folder)
        .env("SCHEMAGATE_VERIFY_DIR", checks.path())
        .spawn();
    let pid = database.schemagate_runs("pg_sleep");
    running.signal("TERM");
    running.wait().assert_code(143);
    eventually!(
        database
            .query(&format!("SELECT 1 FROM pg_stat_activity WHERE pid = {pid}"))
            .is_empty(),
        "the statement still runs"
    );
}
