//! The history table, `status` and `baseline`.

use serde_json::Value;

use crate::harness::{Database, Drizzle, Folder, Schemagate, Server};

fn two() -> Folder {
    Folder::sql(&[
        ("0001_a.sql", "CREATE TABLE a (id int);\n"),
        ("0002_b.sql", "CREATE TABLE b (id int);\n"),
    ])
}

/// A database on which [`two`] is applied.
fn applied() -> (Database<'static>, Folder) {
    let (database, folder) = (Server::debian().database(), two());
    Schemagate::migrate(&database, &folder).run().assert_code(0);
    (database, folder)
}

#[test]
fn the_tables_have_the_columns_of_the_contract() {
    let (database, _folder) = applied();
    let columns = |table: &str| {
        database
            .query(&format!(
                "SELECT attname || ' ' || format_type(atttypid, atttypmod) FROM pg_attribute
                 WHERE attrelid = 'schemagate.{table}'::regclass AND attnum > 0 ORDER BY attnum"
            ))
            .concat()
            .join(", ")
    };
    assert_eq!(
        columns("history"),
        "version text, name text, checksum text, applied_at timestamp with time zone, duration_ms bigint, serial bigint"
    );
    assert_eq!(
        columns("journal"),
        "id bigint, at timestamp with time zone, run uuid, history text, event text, version text, checksum text, \
         statement integer, duration_ms bigint, actor text, app_version text, wal pg_lsn, detail jsonb"
    );
}

#[test]
fn the_checksum_is_the_sha256_of_the_bytes() {
    let (database, _folder) = applied();
    assert_eq!(
        database.query(
            "SELECT version FROM schemagate.history
             WHERE checksum = encode(sha256(convert_to('CREATE TABLE a (id int);' || chr(10), 'UTF8')), 'hex')"
        ),
        [["0001"]]
    );
}

#[test]
fn a_changed_file_is_refused() {
    let (database, folder) = applied();
    folder.write("0001_a.sql", b"CREATE TABLE a (id bigint);\n");
    let call = Schemagate::migrate(&database, &folder);
    call.run().assert_code(6).assert_says("0001_a.sql");
    call.clone()
        .env("SCHEMAGATE_CHECKSUM", "warn")
        .run()
        .assert_code(0)
        .assert_says("0001_a.sql");
    call.env("SCHEMAGATE_CHECKSUM", "ignore")
        .run()
        .assert_code(0)
        .assert_silent_about("0001_a.sql");
}

#[test]
fn other_line_endings_are_a_warning() {
    let (database, folder) = applied();
    folder.write("0001_a.sql", b"CREATE TABLE a (id int);\r\n");
    Schemagate::migrate(&database, &folder)
        .run()
        .assert_code(0)
        .assert_says("0001_a.sql");
}

#[test]
fn an_older_pending_file_is_refused() {
    let (database, folder) = applied();
    folder.remove("0001_a.sql");
    folder.write("0000_zero.sql", b"CREATE TABLE zero (id int);");
    folder.write("0001_a.sql", b"CREATE TABLE a (id int);\n");
    let call = Schemagate::migrate(&database, &folder);
    call.run().assert_code(6).assert_says("0000_zero.sql");
    call.clone()
        .env("SCHEMAGATE_OUT_OF_ORDER", "ignore")
        .run()
        .assert_code(0);
    assert!(!database.has_table("zero"));
    call.env("SCHEMAGATE_OUT_OF_ORDER", "apply")
        .run()
        .assert_code(0);
    assert!(database.has_table("zero"));
}

#[test]
fn rows_of_a_newer_image_are_allowed_unless_told() {
    let (database, folder) = applied();
    folder.remove("0002_b.sql");
    let call = Schemagate::migrate(&database, &folder);
    call.run().assert_code(0);
    call.env("SCHEMAGATE_AHEAD", "fail")
        .run()
        .assert_code(6)
        .assert_says("0002");
}

#[test]
fn a_row_whose_file_is_gone_is_missing() {
    let (database, folder) = applied();
    folder.remove("0001_a.sql");
    Schemagate::migrate(&database, &folder)
        .run()
        .assert_code(6)
        .assert_says("0001");
}

#[test]
fn status_shows_every_migration() {
    let (database, folder) = applied();
    folder.write("0003_c.sql", b"CREATE TABLE c (id int);");
    let status = Schemagate::status(&database, &folder);
    status
        .run()
        .assert_code(0)
        .assert_prints("0001")
        .assert_prints("applied")
        .assert_prints("0003")
        .assert_prints("pending");
    status.clone().arg("--exit-code").run().assert_code(8);
    assert!(!database.has_table("c"));

    let json = status.arg("--format").arg("json").run();
    json.assert_code(0);
    let value: Value = serde_json::from_str(&json.stdout).expect("JSON on stdout");
    let migrations = value["migrations"].as_array().expect("migrations");
    assert_eq!(migrations.len(), 3, "{value}");
    assert_eq!(migrations[0]["version"], "0001");
    assert_eq!(migrations[0]["state"], "applied");
    assert_eq!(migrations[2]["state"], "pending");
}

#[test]
fn status_writes_nothing() {
    let database = Server::debian().database();
    Schemagate::status(&database, two())
        .run()
        .assert_code(0)
        .assert_prints("pending");
    assert_eq!(
        database
            .value("SELECT count(*) FROM pg_namespace WHERE nspname IN ('schemagate', 'drizzle')"),
        "0"
    );
}

#[test]
fn status_of_the_shop() {
    for generation in [Drizzle::Classic, Drizzle::V1] {
        let database = Server::debian().database();
        let half = Folder::first_of(&generation.shop(), 4);
        generation.migrate(half.path(), &database.url());
        Schemagate::status(&database, generation.shop())
            .arg("--exit-code")
            .run()
            .assert_code(8)
            .assert_prints("renames")
            .assert_prints("pending");
    }
}

#[test]
fn a_baseline_marks_without_running() {
    let (database, folder) = (Server::debian().database(), two());
    database.query("CREATE TABLE a (id int)");
    folder.write("0003_c.sql", b"CREATE TABLE c (id int);");
    Schemagate::new(&["baseline", "--to", "0002"])
        .url(&database.url())
        .folder(&folder)
        .run()
        .assert_code(0);
    assert!(!database.has_table("b"), "marked, not run");
    assert_eq!(
        database.query("SELECT version FROM schemagate.history ORDER BY serial"),
        [["0001"], ["0002"]]
    );
    Schemagate::migrate(&database, &folder).run().assert_code(0);
    assert!(database.has_table("c"));
}

#[test]
fn a_baseline_of_drizzle_is_believed_by_drizzle_orm() {
    for generation in [Drizzle::Classic, Drizzle::V1] {
        let database = Server::debian().database();
        let folder = Folder::first_of(&generation.shop(), 3);
        let last = if generation == Drizzle::Classic {
            "0002_payments"
        } else {
            "20250203080544_payments"
        };
        Schemagate::new(&["baseline", "--to", last])
            .url(&database.url())
            .folder(&folder)
            .run()
            .assert_code(0);
        generation.migrate(folder.path(), &database.url());
        assert!(!database.has_table("customers"));
        assert_eq!(
            database.value("SELECT count(*) FROM drizzle.__drizzle_migrations"),
            "3"
        );
    }
}

#[test]
fn a_baseline_to_an_unknown_version_is_refused() {
    let (database, folder) = (Server::debian().database(), two());
    Schemagate::new(&["baseline", "--to", "0009"])
        .url(&database.url())
        .folder(&folder)
        .run()
        .assert_code(2)
        .assert_says("0009");
}

#[test]
fn the_journal_is_printed() {
    let (database, folder) = applied();
    let call = || Schemagate::status(&database, &folder).arg("--history");
    call()
        .run()
        .assert_code(0)
        .assert_prints("run_started")
        .assert_prints("applied")
        .assert_prints("0002")
        .assert_prints("run_finished");
    let printed = call().arg("--format=json").run();
    let json: Value = serde_json::from_str(&printed.stdout).unwrap();
    let events: Vec<&str> = json["journal"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|note| note["event"].as_str())
        .collect();
    assert_eq!(
        events,
        [
            "run_started",
            "bootstrap",
            "applied",
            "applied",
            "fingerprint",
            "run_finished"
        ]
    );
    let reader = database.role("reader", "LOGIN");
    database.query(&format!(
        "GRANT USAGE ON SCHEMA schemagate TO {reader}; GRANT SELECT ON schemagate.history TO {reader}"
    ));
    call()
        .url(&database.url_as(&reader))
        .run()
        .assert_code(9)
        .assert_says("GRANT SELECT, INSERT ON schemagate.journal");
}

#[test]
fn a_long_journal_is_read_whatever_the_roles_patience() {
    let (database, folder) = applied();
    let hasty = database.role("hasty", "LOGIN");
    // A policy that takes its time stands for a table that has grown for years.
    database.query(&format!(
        "ALTER ROLE {hasty} SET statement_timeout = '1s'; GRANT ALL ON SCHEMA schemagate TO {hasty}; \
         GRANT ALL ON ALL TABLES IN SCHEMA schemagate TO {hasty}; \
         ALTER TABLE schemagate.journal ENABLE ROW LEVEL SECURITY; \
         CREATE POLICY slow ON schemagate.journal USING ((SELECT pg_sleep(2))::text IS NOT NULL)"
    ));
    Schemagate::status(&database, &folder)
        .arg("--history")
        .url(&database.url_as(&hasty))
        .run()
        .assert_code(0)
        .assert_prints("run_finished");
}
