//! What a run does to a database, on a direct connection.

use crate::harness::{Database, Folder, Schemagate, Server};

fn history(database: &Database<'_>) -> Vec<Vec<String>> {
    database.query("SELECT version, name FROM schemagate.history ORDER BY serial")
}

#[test]
fn the_first_run_applies_and_the_second_skips() {
    let database = Server::debian().database();
    let folder = Folder::sql(&[
        ("0001_users.sql", "CREATE TABLE users (id int PRIMARY KEY);"),
        (
            "0002_posts.up.sql",
            "CREATE TABLE posts (author int REFERENCES users);",
        ),
        ("0002_posts.down.sql", "DROP TABLE posts;"),
        (
            "0003_data.sql",
            "INSERT INTO users VALUES (1); INSERT INTO posts VALUES (1);",
        ),
    ]);
    let call = Schemagate::migrate(&database, &folder);
    call.run().assert_code(0).assert_says("0003");
    let rows = history(&database);
    assert_eq!(rows.len(), 3);
    assert_eq!(rows[0][0], "0001");
    assert_eq!(rows[2][0], "0003");

    call.run().assert_code(0);
    assert_eq!(history(&database), rows);
    assert_eq!(database.value("SELECT count(*) FROM posts"), "1");
}

#[test]
fn the_log_is_json_with_one_line_a_migration_and_one_that_sums_up() {
    let database = Server::debian().database();
    let folder = Folder::sql(&[
        ("0001_users.sql", "CREATE TABLE users (id int);"),
        ("0002_posts.sql", "CREATE TABLE posts (id int);"),
    ]);
    let outcome = Schemagate::migrate(&database, &folder).run();
    outcome.assert_code(0);
    let logs = outcome.logs();
    assert_eq!(logs.len(), outcome.stderr.lines().count(), "{outcome}");
    for version in ["0001", "0002"] {
        let lines = logs.iter().filter(|line| {
            line["level"].as_str() == Some("INFO") && line["version"].as_str() == Some(version)
        });
        assert_eq!(lines.count(), 1, "{version}\n{outcome}");
    }
    let last = logs.last().expect("a line");
    assert_eq!(last["exit_code"], 0, "{outcome}");
}

#[test]
fn libpq_variables_and_a_unix_socket() {
    let database = Server::debian().database();
    let folder = Folder::sql(&[("0001_a.sql", "CREATE TABLE a (id int);")]);
    Schemagate::new(&["migrate"])
        .folder(&folder)
        .env("PGHOST", Server::debian().socket_dir())
        .env("PGPORT", Server::debian().port().to_string())
        .env("PGUSER", "postgres")
        .env("PGDATABASE", &database.name)
        .run()
        .assert_code(0);
    assert!(database.has_table("a"));
}

#[test]
fn timestamps_as_versions() {
    let database = Server::debian().database();
    let folder = Folder::sql(&[
        ("20260101120000_a.sql", "CREATE TABLE a (id int);"),
        ("20260102120000_b.sql", "CREATE TABLE b (a int);"),
    ]);
    Schemagate::migrate(&database, &folder).run().assert_code(0);
    assert_eq!(history(&database)[1][0], "20260102120000");
}

#[test]
fn every_migration_has_its_row_in_the_journal() {
    let database = Server::debian().database();
    let folder = Folder::sql(&[
        ("0001_a.sql", "CREATE TABLE a (id int);"),
        ("0002_b.sql", "CREATE TABLE b (id int);"),
    ]);
    Schemagate::migrate(&database, &folder).run().assert_code(0);
    let events =
        database.query("SELECT event, coalesce(version, '') FROM schemagate.journal ORDER BY id");
    let has = |event: &str, version: &str| events.iter().any(|row| row[..] == [event, version]);
    assert!(
        has("applied", "0001") && has("applied", "0002"),
        "{events:?}"
    );
    assert!(
        has("run_started", "") && has("run_finished", ""),
        "{events:?}"
    );
    assert_eq!(
        database.value("SELECT count(DISTINCT run) FROM schemagate.journal"),
        "1"
    );
}

#[test]
fn a_syntax_error_shows_its_place() {
    let database = Server::debian().database();
    let folder = Folder::sql(&[
        ("0001_good.sql", "CREATE TABLE good (id int);"),
        (
            "0002_bad.sql",
            "CREATE TABLE half (id int);\n-- schön\nSELECT 'ü', * FRO good;\n",
        ),
        ("0003_never.sql", "CREATE TABLE never (id int);"),
    ]);
    Schemagate::migrate(&database, &folder)
        .run()
        .assert_code(5)
        .assert_says("0002_bad.sql")
        .assert_says("42601")
        .assert_says("3:15");
    assert!(database.has_table("good"));
    assert!(!database.has_table("half"), "the migration is rolled back");
    assert!(!database.has_table("never"));
    assert_eq!(history(&database).len(), 1);

    folder.write("0002_bad.sql", b"CREATE TABLE half (id int);");
    Schemagate::migrate(&database, &folder).run().assert_code(0);
    assert_eq!(history(&database).len(), 3);
}

#[test]
fn an_error_without_a_position_names_the_statement() {
    let database = Server::debian().database();
    let folder = Folder::sql(&[(
        "0001_zero.sql",
        "CREATE TABLE t (id int);\n;;\n-- a comment\nINSERT INTO t VALUES (1);\nSELECT 1 / (id - 1) FROM t;\nSELECT 2;\n",
    )]);
    Schemagate::migrate(&database, &folder)
        .run()
        .assert_code(5)
        .assert_says("22012")
        .assert_says("0001_zero.sql:5");
    assert!(!database.has_table("t"));
}

#[test]
fn a_deferred_constraint_fails_at_commit() {
    let database = Server::debian().database();
    let folder = Folder::sql(&[(
        "0001_deferred.sql",
        "CREATE TABLE p (id int PRIMARY KEY);
         CREATE TABLE c (p int REFERENCES p DEFERRABLE INITIALLY DEFERRED);
         INSERT INTO c VALUES (7);",
    )]);
    Schemagate::migrate(&database, &folder)
        .run()
        .assert_code(5)
        .assert_says("23503")
        .assert_says("0001_deferred.sql");
    assert!(!database.has_table("p"));
}

#[test]
fn copy_from_stdin() {
    let database = Server::debian().database();
    let folder = Folder::sql(&[(
        "0001_copy.sql",
        "\\restrict abc\nCREATE TABLE t (id int, name text);\nCOPY t (id, name) FROM stdin;\n1\tone; --\n2\t\\N\n\\.\n\
         UPDATE t SET name = 'two' WHERE name IS NULL;\n\\unrestrict abc\n",
    )]);
    Schemagate::migrate(&database, &folder).run().assert_code(0);
    assert_eq!(
        database.query("SELECT id, name FROM t ORDER BY id"),
        [["1", "one; --"], ["2", "two"]]
    );
}

#[test]
fn other_meta_commands_are_refused() {
    let database = Server::debian().database();
    let folder = Folder::sql(&[(
        "0001_meta.sql",
        "CREATE TABLE t (id int);\n\\connect other\n",
    )]);
    Schemagate::migrate(&database, &folder)
        .run()
        .assert_code(2)
        .assert_says("0001_meta.sql:2");
    assert!(!database.has_table("t"));
}

#[test]
fn one_transaction_for_all() {
    let database = Server::debian().database();
    let folder = Folder::sql(&[
        ("0001_a.sql", "CREATE TABLE a (id int);"),
        ("0002_b.sql", "SELECT 1 / 0;"),
    ]);
    let call = Schemagate::migrate(&database, &folder).env("SCHEMAGATE_TRANSACTION", "all");
    call.run().assert_code(5).assert_says("0002_b.sql");
    assert!(!database.has_table("a"));
    folder.write("0002_b.sql", b"CREATE TABLE b (id int);");
    call.run().assert_code(0);
    assert_eq!(history(&database).len(), 2);
}

#[test]
fn one_transaction_for_all_refuses_what_cannot_run_in_one() {
    let database = Server::debian().database();
    let folder = Folder::sql(&[
        ("0001_a.sql", "CREATE TABLE a (id int);"),
        ("0002_index.sql", "CREATE INDEX CONCURRENTLY ON a (id);"),
    ]);
    Schemagate::migrate(&database, &folder)
        .env("SCHEMAGATE_TRANSACTION", "all")
        .run()
        .assert_code(2)
        .assert_says("0002_index.sql");
    assert!(!database.has_table("a"));
}

#[test]
fn statements_outside_a_transaction() {
    let database = Server::debian().database();
    let folder = Folder::sql(&[
        ("0001_t.sql", "CREATE TABLE t (id int, name text);"),
        (
            "0002_bare.sql",
            "ALTER TABLE t ADD COLUMN more int;\nCREATE INDEX CONCURRENTLY t_id ON t (id);\nVACUUM t;\n\
             CREATE INDEX CONCURRENTLY ON t (name);\nINSERT INTO t VALUES (1, 'one', 2);\n",
        ),
        (
            "0003_off.sql",
            "-- schemagate: transaction=off\nINSERT INTO t VALUES (2);\nINSERT INTO t VALUES (3);\n",
        ),
    ]);
    Schemagate::migrate(&database, &folder).run().assert_code(0);
    assert_eq!(database.value("SELECT count(*) FROM t"), "3");
    assert_eq!(
        database.query("SELECT indexrelid::regclass::text, indisvalid FROM pg_index WHERE indrelid = 't'::regclass ORDER BY 1"),
        [["t_id", "t"], ["t_name_idx", "t"]]
    );
    assert_eq!(history(&database).len(), 3);
}

/// A unique index over duplicates: the build fails half way and leaves an invalid index.
#[test]
fn a_failed_concurrent_build_is_repaired_by_the_next_run() {
    for index in [
        "CREATE UNIQUE INDEX CONCURRENTLY t_id ON t (id);",
        "CREATE UNIQUE INDEX CONCURRENTLY ON t (id);",
    ] {
        let database = Server::debian().database();
        let text = format!("INSERT INTO ran VALUES (1);\n{index}\n");
        let folder = Folder::sql(&[
            (
                "0001_t.sql",
                "CREATE TABLE ran (id int); CREATE TABLE t (id int); INSERT INTO t VALUES (1), (1);",
            ),
            ("0002_index.sql", &text),
        ]);
        let call = Schemagate::migrate(&database, &folder);
        call.run()
            .assert_code(5)
            .assert_says("0002_index.sql:2")
            .assert_says("23505");
        assert_eq!(history(&database).len(), 1);

        database.query("DELETE FROM t WHERE ctid = (SELECT min(ctid) FROM t)");
        call.run().assert_code(0);
        assert_eq!(
            database.query("SELECT indisvalid FROM pg_index WHERE indrelid = 't'::regclass"),
            [["t"]],
            "one index, valid"
        );
        assert_eq!(
            database.value("SELECT count(*) FROM ran"),
            "1",
            "what was done is not done again"
        );
    }
}

#[test]
fn if_not_exists_does_not_hide_an_invalid_index() {
    let database = Server::debian().database();
    database.query("CREATE TABLE t (id int); INSERT INTO t VALUES (1), (1)");
    let build = "CREATE UNIQUE INDEX CONCURRENTLY t_id ON t (id)";
    assert!(database.session().try_query(build).is_err());
    let folder = Folder::sql(&[(
        "0001_index.sql",
        "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS t_id ON t (id);",
    )]);
    Schemagate::migrate(&database, &folder)
        .run()
        .assert_code(5)
        .assert_says("t_id")
        .assert_says("invalid");
    assert_eq!(history(&database).len(), 0);
}

#[test]
fn a_dry_run_writes_nothing() {
    let database = Server::debian().database();
    let folder = Folder::sql(&[("0001_a.sql", "CREATE TABLE a (id int);")]);
    Schemagate::migrate(&database, &folder)
        .env("SCHEMAGATE_DRY_RUN", "true")
        .run()
        .assert_code(0)
        .assert_prints("0001_a.sql");
    assert!(!database.has_table("a"));
    assert_eq!(
        database.value("SELECT count(*) FROM pg_namespace WHERE nspname = 'schemagate'"),
        "0"
    );
}

#[test]
fn no_further_than_the_target() {
    let database = Server::debian().database();
    let folder = Folder::sql(&[
        ("0001_a.sql", "CREATE TABLE a (id int);"),
        ("0002_b.sql", "CREATE TABLE b (id int);"),
    ]);
    let call = Schemagate::migrate(&database, &folder);
    call.clone()
        .env("SCHEMAGATE_TARGET", "0001")
        .run()
        .assert_code(0);
    assert!(!database.has_table("b"));
    call.clone()
        .env("SCHEMAGATE_TARGET", "0009")
        .run()
        .assert_code(2)
        .assert_says("0009");
    call.arg("--target").arg("0002").run().assert_code(0);
    assert!(database.has_table("b"));
}

#[test]
fn contract_migrations_wait_for_their_phase() {
    let database = Server::debian().database();
    let folder = Folder::sql(&[
        ("0001_a.sql", "CREATE TABLE a (id int, old int);"),
        (
            "0002_drop.sql",
            "-- schemagate: phase=contract\nALTER TABLE a DROP COLUMN old;",
        ),
        ("0003_behind.sql", "CREATE TABLE behind (id int);"),
    ]);
    let call = Schemagate::migrate(&database, &folder);
    call.run().assert_code(0);
    assert_eq!(history(&database).len(), 1);
    call.env("SCHEMAGATE_PHASE", "contract")
        .env("SCHEMAGATE_APPROVE", "0002")
        .run()
        .assert_code(0);
    assert_eq!(history(&database).len(), 3);
}

#[test]
fn objects_belong_to_the_role() {
    let database = Server::debian().database();
    let owner = database.role("owner", "");
    database.query(&format!(
        "GRANT CREATE ON SCHEMA public TO {owner}; GRANT CREATE ON DATABASE {} TO {owner}",
        database.name
    ));
    let folder = Folder::sql(&[("0001_a.sql", "CREATE TABLE a (id int);")]);
    Schemagate::migrate(&database, &folder)
        .env("SCHEMAGATE_ROLE", &owner)
        .run()
        .assert_code(0);
    assert_eq!(
        database.value("SELECT tableowner FROM pg_tables WHERE tablename = 'a'"),
        owner
    );
    database.query(&format!("DROP OWNED BY {owner}; DROP ROLE {owner}"));
}

#[test]
fn a_file_that_changes_between_reading_and_running_is_not_run() {
    let database = Server::debian().database();
    // Small files are kept between the check and the run; above 4 MiB together they are read again.
    let padding = format!("SELECT pg_sleep(1); -- {}", "x".repeat(5 << 20));
    let folder = Folder::sql(&[
        ("0001_wait.sql", &padding),
        // On its way already while the first one runs.
        ("0002_sent.sql", "CREATE TABLE sent (id int);"),
        ("0003_a.sql", "CREATE TABLE a (id int);"),
    ]);
    let running = Schemagate::migrate(&database, &folder).spawn();
    database.schemagate_runs("pg_sleep");
    folder.write("0003_a.sql", b"CREATE TABLE other (id int);");
    running.wait().assert_code(2).assert_says("0003_a.sql");
    assert!(database.has_table("sent"));
    assert!(!database.has_table("a") && !database.has_table("other"));
}

#[test]
fn server_defaults_do_not_break_the_fence() {
    let database = Server::debian().database();
    database.query(&format!(
        "ALTER DATABASE {0} SET default_transaction_isolation = 'serializable';
         ALTER DATABASE {0} SET default_transaction_read_only = on;
         ALTER DATABASE {0} SET statement_timeout = '300ms';
         ALTER DATABASE {0} SET search_path = nowhere, public;",
        database.name
    ));
    let folder = Folder::sql(&[(
        "0001_a.sql",
        "CREATE TABLE a (id int); SELECT pg_sleep(0.6);",
    )]);
    Schemagate::migrate(&database, &folder).run().assert_code(0);
    assert!(database.has_table("public.a"));
}
