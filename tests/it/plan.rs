//! `plan`: what would run, told to people and machines; nothing is changed.

use serde_json::Value;

use crate::harness::{Database, Folder, Outcome, Schemagate, Server};

pub(crate) fn plan(database: &Database<'_>, folder: &Folder) -> Schemagate {
    Schemagate::new(&["plan"])
        .url(&database.url())
        .folder(folder)
}

/// The report of `--format json`; null where there is none.
#[track_caller]
pub(crate) fn json(call: &Schemagate) -> (Value, Outcome) {
    let outcome = call.clone().arg("--format").arg("json").run();
    if outcome.stdout.is_empty() {
        return (Value::Null, outcome);
    }
    let report = serde_json::from_str(&outcome.stdout);
    let report = report.unwrap_or_else(|error| panic!("{error}\n{outcome}"));
    (report, outcome)
}

#[test]
fn nothing_is_changed_and_the_code_is_0() {
    let database = Server::debian().database();
    let folder = Folder::sql(&[
        ("0001_a.sql", "CREATE TABLE t (a int);"),
        (
            "0002_b.sql",
            "-- schemagate: transaction=off\r\nCREATE INDEX CONCURRENTLY i ON t (a);\r\nSELECT 1;\r\n",
        ),
    ]);
    let before = database.schema_dump();
    let outcome = plan(&database, &folder).run();
    outcome
        .assert_code(0)
        .assert_prints("2 migrations to run")
        .assert_prints("0001_a.sql, in one transaction")
        .assert_prints("0002_b.sql, in pieces")
        .assert_prints("1 bare  2 ")
        .assert_prints("CREATE INDEX CONCURRENTLY i ON t (a)");
    assert!(!outcome.stdout.contains('\u{1b}'), "{outcome}");
    assert_eq!(before, database.schema_dump());
    assert!(!database.has_table("schemagate.history"));
    assert!(database.has_no_advisory_lock());

    let call = plan(&database, &folder).arg("--exit-code");
    call.run().assert_code(8).assert_says("0001, 0002");
    Schemagate::migrate(&database, &folder).run().assert_code(0);
    call.run().assert_code(0).assert_prints("nothing to run");
}

#[test]
fn machines_are_told_the_checksum_that_an_approval_takes() {
    let database = Server::debian().database();
    let folder = Folder::sql(&[(
        "0001_a.sql",
        "CREATE TABLE t (a text);\nINSERT INTO t VALUES ('geheim');\nCREATE ROLE r PASSWORD 'geheim';",
    )]);
    let (report, outcome) = json(&plan(&database, &folder));
    outcome.assert_code(0);
    assert!(!outcome.stdout.contains("geheim"), "{outcome}");
    assert_eq!(report["schema_version"], 1);
    assert_eq!(report["database"], database.name);
    assert_eq!(report["pending"], 1);
    let migration = &report["migrations"][0];
    assert_eq!(migration["version"], "0001");
    assert_eq!(migration["mode"], "transaction");
    assert_eq!(migration["statement_count"], 3);
    let checksum = migration["checksum"].as_str().unwrap();
    assert_eq!(checksum.len(), 64);
    assert_eq!(migration["approve"], format!("0001@{}", &checksum[..12]));
    let statements = migration["statements"].as_array().unwrap();
    assert_eq!(statements.len(), 3);
    assert_eq!(statements[1]["line"], 2);
    assert_eq!(statements[1]["text"], "INSERT INTO t VALUES ('…')");
    assert!(report["trace"].is_null());
}

#[test]
fn relations_are_found_as_the_migration_would_and_their_size_is_told() {
    let database = Server::debian().database();
    let owner = database.role("owner", "");
    database.query(&format!(
        "CREATE SCHEMA \"ein Schema\"; CREATE SCHEMA {owner} AUTHORIZATION {owner};
         GRANT USAGE ON SCHEMA \"ein Schema\" TO {owner};
         CREATE TABLE \"ein Schema\".\"grüße 日本\" AS SELECT generate_series(1, 20000) a;
         CREATE TABLE {owner}.own AS SELECT generate_series(1, 3000) a;
         CREATE TABLE parts (a int) PARTITION BY RANGE (a);
         CREATE TABLE part PARTITION OF parts FOR VALUES FROM (0) TO (10000);
         INSERT INTO parts SELECT generate_series(1, 5000); ANALYZE;
         CREATE TABLE fresh AS SELECT 1 a;"
    ));
    let folder = Folder::sql(&[
        ("0001_a.sql", "DROP TABLE \"ein Schema\".\"grüße 日本\";"),
        (
            "0002_b.sql",
            "SET search_path = \"ein Schema\";\nDROP TABLE \"grüße 日本\";",
        ),
        ("0003_c.sql", "DROP TABLE own;"),
        ("0004_d.sql", "DROP TABLE public.parts;"),
        ("0005_e.sql", "DROP TABLE IF EXISTS nowhere.gone;"),
        ("0006_f.sql", "DROP TABLE fresh;"),
    ]);
    let call = plan(&database, &folder).env("SCHEMAGATE_ROLE", &owner);
    let (report, outcome) = json(&call);
    let effect = |migration: usize| {
        let statements = report["migrations"][migration]["statements"]
            .as_array()
            .unwrap();
        statements.last().unwrap()["effects"][0].clone()
    };
    for (migration, relation, rows) in [
        (0, "ein Schema.grüße 日本", Some(20_000)),
        (1, "ein Schema.grüße 日本", Some(20_000)),
        (2, &*format!("{owner}.own"), Some(3000)),
        (3, "public.parts", Some(5000)),
        (5, "public.fresh", None),
    ] {
        let effect = effect(migration);
        assert_eq!(effect["relation"], relation, "{outcome}");
        assert_eq!(effect["rows"].as_u64(), rows, "{effect}");
        assert!(effect["bytes"].as_u64().unwrap() >= 8192, "{effect}");
        assert_eq!(effect["lock"], "ACCESS EXCLUSIVE");
    }
    assert!(effect(4)["bytes"].is_null());
    // A table that is locked as a whole is told by its statistics.
    let session = database.session();
    session.query("BEGIN; LOCK TABLE \"ein Schema\".\"grüße 日本\"");
    let (report, outcome) = json(&call);
    outcome.assert_code(0);
    let bytes = &report["migrations"][0]["statements"][0]["effects"][0]["bytes"];
    assert!(bytes.as_u64().unwrap() > 500_000, "{outcome}");
}

#[test]
fn what_a_run_would_refuse_is_shown_and_refused() {
    let database = Server::debian().database();
    let folder = Folder::sql(&[
        ("0001_a.sql", "CREATE TABLE t (a int);"),
        ("0003_c.sql", "SELECT 1;"),
    ]);
    Schemagate::migrate(&database, &folder).run().assert_code(0);
    folder.write("0002_b.sql", b"SELECT 2;");
    for format in ["text", "json", "markdown"] {
        plan(&database, &folder)
            .arg("--format")
            .arg(format)
            .run()
            .assert_code(6)
            .assert_prints("older than the newest applied")
            .assert_says("SCHEMAGATE_OUT_OF_ORDER");
    }
    let foreign = Server::debian().database();
    foreign.query("CREATE TABLE goose_db_version (id int, version_id bigint, is_applied bool); INSERT INTO goose_db_version VALUES (1, 1, true)");
    plan(&foreign, &folder)
        .run()
        .assert_code(6)
        .assert_prints("goose_db_version")
        .assert_says("baseline --to");
    let broken = Folder::sql(&[("0001_a.sql", "SELECT 1;\nROLLBACK;\nSELECT 'x;")]);
    plan(&Server::debian().database(), &broken)
        .run()
        .assert_code(2)
        .assert_says("0001_a.sql:3");
}

#[test]
fn an_expand_migration_behind_a_contract_one_is_told() {
    let database = Server::debian().database();
    let folder = Folder::sql(&[
        ("0001_a.sql", "CREATE TABLE t (a int, b int);"),
        (
            "0002_b.sql",
            "-- schemagate: phase=contract\nALTER TABLE t DROP COLUMN b;",
        ),
        ("0003_c.sql", "ALTER TABLE t ADD c int;"),
    ]);
    let (report, _) = json(&plan(&database, &folder));
    assert_eq!(report["migrations"].as_array().unwrap().len(), 1);
    assert_eq!(report["deferred"][0]["version"], "0002");
    assert!(
        report["warnings"][0]
            .as_str()
            .unwrap()
            .contains("behind the contract migration 0002")
    );
    plan(&database, &folder)
        .run()
        .assert_prints("0003 (0003_c.sql): behind 0002, which waits for SCHEMAGATE_PHASE=contract");
}

#[test]
fn a_held_migration_is_told_with_what_lets_it_through() {
    let database = Server::debian().database();
    let first = ("0001_a.sql", "CREATE TABLE t (a int);");
    Schemagate::migrate(&database, Folder::sql(&[first]))
        .run()
        .assert_code(0);
    let folder = Folder::sql(&[first, ("0002_b.sql", "SELECT 1;\nDROP TABLE t;")]);
    let (report, outcome) = json(&plan(&database, &folder));
    outcome.assert_code(0);
    let held = &report["migrations"][0]["held"];
    assert_eq!(held["line"], 2, "{outcome}");
    let through = held["let_through"].as_str().unwrap();
    assert!(through.contains("SCHEMAGATE_APPROVE=0002"), "{through}");
    assert_eq!(report["risk"], "destructive");
}

#[test]
fn a_file_of_many_rows_is_summed_up() {
    let database = Server::debian().database();
    let mut text = "CREATE TABLE t (a int);\n".to_owned();
    text.push_str(&"INSERT INTO t VALUES (1);\n".repeat(400_000));
    text.push_str("DROP TABLE t;\n");
    let folder = Folder::sql(&[("0001_a.sql", &text)]);
    let (report, outcome) = json(&plan(&database, &folder));
    outcome.assert_code(0);
    let migration = &report["migrations"][0];
    assert_eq!(migration["statement_count"], 400_002);
    let listed = migration["statements"].as_array().unwrap().len();
    assert!((100..110).contains(&listed), "{listed}");
    assert!(outcome.stdout.len() < 100_000);
    // The text, what is prepared of it, and no more.
    let file = u64::try_from(text.len()).unwrap() / 1024;
    assert!(
        outcome.peak_kib < 4 * file + 30_000,
        "{} KiB",
        outcome.peak_kib
    );
}

#[test]
fn an_unprivileged_role_and_a_pooler_see_the_same() {
    let database = Server::debian().database();
    database.query("CREATE SCHEMA closed; CREATE TABLE closed.t (a int)");
    let role = database.role("app", "LOGIN");
    let folder = Folder::sql(&[("0001_a.sql", "DROP TABLE closed.t; DROP TABLE x;")]);
    let call = plan(&database, &folder).url(&database.url_as(&role));
    call.run()
        .assert_code(0)
        .assert_prints("DROP TABLE closed.t");
}
