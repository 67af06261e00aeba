//! Migrations in pieces: what runs outside a transaction, fails there, and is taken up again.

use crate::harness::{Database, Folder, PgBouncer, Schemagate, Server};

/// A concurrent build of a unique index on a table with duplicates.
fn duplicates() -> Folder {
    Folder::sql(&[
        (
            "0001_t.sql",
            "CREATE TABLE t (id int); INSERT INTO t VALUES (1), (1);",
        ),
        (
            "0002_unique.sql",
            "CREATE UNIQUE INDEX CONCURRENTLY t_id ON t (id);",
        ),
    ])
}

fn versions(database: &Database<'_>) -> String {
    database.value("SELECT string_agg(version, ',' ORDER BY serial) FROM schemagate.history")
}

#[test]
fn a_statement_that_names_nothing_fails_every_time() {
    let table = "CREATE TABLE p (id int) PARTITION BY RANGE (id); CREATE TABLE p1 (id int);";
    for typo in [
        "DROP INDEX CONCURRENTLY nowhere;",
        "ALTER TABLE p DETACH PARTITION p1 CONCURRENTLY;",
        "DROP DATABASE nowhere_at_all;",
        "REINDEX INDEX CONCURRENTLY nowhere;",
    ] {
        let database = Server::debian().database();
        let folder = Folder::sql(&[("0001_p.sql", table), ("0002_typo.sql", typo)]);
        let call = Schemagate::migrate(&database, &folder);
        for _ in 0..3 {
            call.run().assert_code(5).assert_says("0002_typo.sql:1:");
        }
        assert_eq!(versions(&database), "0001", "{typo}");
        Schemagate::status(&database, &folder)
            .run()
            .assert_code(0)
            .assert_prints("failed");
    }
}

#[test]
fn a_statement_that_failed_may_be_corrected() {
    let database = Server::debian().database();
    let folder = Folder::sql(&[
        ("0001_t.sql", "CREATE TABLE t (id int);"),
        (
            "0002_index.sql",
            "CREATE INDEX CONCURRENTLY t_id ON t (id)\n    WHERE idd > 1;",
        ),
    ]);
    let call = Schemagate::migrate(&database, &folder);
    call.run()
        .assert_code(5)
        .assert_says("0002_index.sql:2:11")
        .assert_silent_about("rolled back whole");
    folder.write(
        "0002_index.sql",
        b"CREATE INDEX CONCURRENTLY t_id ON t (id);",
    );
    call.run().assert_code(0);
    assert_eq!(versions(&database), "0001,0002");
}

#[test]
fn what_a_failed_build_leaves_is_removed_as_the_role_that_built() {
    let database = Server::debian().database();
    let owner = database.role("owner", "");
    let login = database.role("login", &format!("LOGIN NOINHERIT IN ROLE {owner}"));
    database.query(&format!(
        "GRANT CREATE ON DATABASE {0} TO {owner}; GRANT CREATE ON SCHEMA public TO {owner}",
        database.name
    ));
    let folder = duplicates();
    let call = Schemagate::migrate(&database, &folder)
        .url(&database.url_as(&login))
        .env("SCHEMAGATE_ROLE", &owner);
    call.run().assert_code(5).assert_says("23505");
    let indexes = "SELECT count(*) FROM pg_index WHERE indrelid = 't'::regclass";
    assert_eq!(database.value(indexes), "0", "the invalid index is gone");
    database.query("DELETE FROM t");
    call.run().assert_code(0);
    assert_eq!(database.value(indexes), "1");
}

#[test]
fn an_invalid_index_is_refused_behind_a_search_path_too() {
    let database = Server::debian().database();
    let folder = Folder::sql(&[
        (
            "0001_t.sql",
            "CREATE SCHEMA s; CREATE TABLE s.t (id int); INSERT INTO s.t VALUES (1), (1);",
        ),
        (
            "0002_index.sql",
            "-- schemagate: transaction=off\nSET search_path = s;
             CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS i ON t (id);",
        ),
    ]);
    Schemagate::migrate(&database, &folder)
        .env("SCHEMAGATE_TARGET", "0001")
        .run()
        .assert_code(0);
    let build = "CREATE UNIQUE INDEX CONCURRENTLY i ON s.t (id)";
    assert!(database.session().try_query(build).is_err());
    Schemagate::migrate(&database, &folder)
        .run()
        .assert_code(5)
        .assert_says("exists but is invalid");
    assert_eq!(versions(&database), "0001");
}

#[test]
fn a_history_row_that_was_deleted_by_hand_runs_the_pieces_again() {
    let database = Server::debian().database();
    let folder = Folder::sql(&[("0001_vacuum.sql", "VACUUM pg_class; SELECT 1;")]);
    let call = Schemagate::migrate(&database, &folder);
    call.run().assert_code(0);
    database.query("DELETE FROM schemagate.history");
    call.run().assert_code(0);
    assert_eq!(versions(&database), "0001");
}

#[test]
fn a_read_only_default_does_not_stop_it() {
    let database = Server::debian().database();
    let folder = Folder::sql(&[
        ("0001_t.sql", "CREATE TABLE t (id int);"),
        ("0002_index.sql", "CREATE INDEX CONCURRENTLY i ON t (id);"),
    ]);
    database.query(&format!(
        "ALTER DATABASE {} SET default_transaction_read_only = on",
        database.name
    ));
    Schemagate::migrate(&database, &folder).run().assert_code(0);
}

#[test]
fn one_transaction_for_all_that_fails_at_its_commit_is_5() {
    let database = Server::debian().database();
    let folder = Folder::sql(&[
        (
            "0001_t.sql",
            "CREATE TABLE a (id int PRIMARY KEY);
             CREATE TABLE b (id int REFERENCES a DEFERRABLE INITIALLY DEFERRED);",
        ),
        ("0002_b.sql", "INSERT INTO b VALUES (1);"),
    ]);
    Schemagate::migrate(&database, &folder)
        .env("SCHEMAGATE_TRANSACTION", "all")
        .run()
        .assert_code(5)
        .assert_says("23503");
    assert!(!database.has_table("a"));
}

#[test]
fn a_committing_procedure_is_refused_behind_a_pooler_and_leaves_no_lock() {
    let bouncer = PgBouncer::start(Server::debian(), "transaction", 5);
    let database = Server::debian().database();
    database.query("CREATE PROCEDURE p() LANGUAGE plpgsql AS $$ BEGIN COMMIT; END $$");
    for statement in ["CALL p();", "DO $$ BEGIN COMMIT; END $$;"] {
        let text = format!("-- schemagate: transaction=off\n{statement}");
        let folder = Folder::sql(&[("0001_call.sql", &text)]);
        Schemagate::migrate(&database, &folder)
            .url(&bouncer.url(&database))
            .run()
            .assert_code(2)
            .assert_says("SCHEMAGATE_DATABASE_URL");
        assert!(database.has_no_advisory_lock());
        Schemagate::migrate(&database, &folder).run().assert_code(0);
        database.query("TRUNCATE schemagate.history");
    }
}

#[test]
fn a_pool_of_one_is_told_and_nothing_runs_without_the_lock() {
    let bouncer = PgBouncer::start(Server::debian(), "transaction", 1);
    let database = Server::debian().database();
    let folder = Folder::sql(&[
        ("0001_t.sql", "CREATE TABLE t (id int);"),
        ("0002_index.sql", "CREATE INDEX CONCURRENTLY i ON t (id);"),
    ]);
    Schemagate::migrate(&database, &folder)
        .url(&bouncer.url(&database))
        .env("SCHEMAGATE_LOCK_RETRIES", "0")
        .run()
        .assert_code(4)
        .assert_says("pool of at least 2");
    assert_eq!(
        database.value("SELECT count(*) FROM pg_index WHERE indrelid = 't'::regclass"),
        "0"
    );
}

#[test]
fn files_are_utf8_whatever_the_database_is() {
    let bouncer = PgBouncer::start(Server::debian(), "transaction", 2);
    let database = Server::debian().database();
    let name = format!("{}_latin", database.name);
    database.query(&format!(
        "CREATE DATABASE {name} ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    ));
    let folder = Folder::sql(&[
        ("0001_a.sql", "CREATE TABLE a AS SELECT 'é'::text AS x;"),
        ("0002_b.sql", "CREATE TABLE b AS SELECT 'é'::text AS x;"),
        (
            "0003_same.sql",
            "DO $$ BEGIN IF (SELECT x FROM a) <> (SELECT x FROM b) OR (SELECT length(x) FROM b) <> 1 THEN RAISE 'mojibake'; END IF; END $$;",
        ),
    ]);
    let url = bouncer.url(&database).replace(&database.name, &name);
    Schemagate::new(&["migrate"])
        .url(&url)
        .folder(&folder)
        .run()
        .assert_code(0);
}

#[test]
fn baselines_at_once_mark_once() {
    let bouncer = PgBouncer::start(Server::debian(), "transaction", 5);
    let database = Server::debian().database();
    let folder = Folder::classic(&[("0000_a", 1_700_000_000_000, "CREATE TABLE a (id int);")]);
    let call = Schemagate::new(&["baseline", "--to", "0000_a"])
        .url(&bouncer.url(&database))
        .folder(&folder);
    let running: Vec<_> = (0..8).map(|_| call.spawn()).collect();
    for outcome in running {
        outcome.wait().assert_code(0);
    }
    assert_eq!(
        database.value("SELECT count(*) FROM drizzle.__drizzle_migrations"),
        "1"
    );
}
