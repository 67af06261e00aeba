//! Extensions: available, permitted, in the right version.

use super::{assert_untouched, drop_role, files, maker, migrate, migrate_as};
use crate::harness::Server;

#[test]
fn one_that_the_server_does_not_have() {
    let database = Server::debian().database();
    let folder = files(&[
        "CREATE TABLE a (id int);",
        "CREATE EXTENSION IF NOT EXISTS vector;",
    ]);
    migrate(&database, &folder)
        .run()
        .assert_code(5)
        .assert_says("0002_x.sql:1: extension vector is not available on this server")
        .assert_says("postgresql-NN-pgvector");
    assert_untouched(&database);
    assert!(!database.has_table("a"));
    // Not even a block before it can change that.
    migrate(
        &database,
        files(&["DO $$BEGIN END$$;", "CREATE EXTENSION vector;"]),
    )
    .run()
    .assert_code(5)
    .assert_says("is not available");
    assert_untouched(&database);
}

#[test]
fn one_that_takes_a_superuser() {
    let database = Server::debian().database();
    let role = maker(&database);
    let folder = files(&["CREATE EXTENSION IF NOT EXISTS file_fdw;"]);
    migrate_as(&database, &role, &folder)
        .assert_code(9)
        .assert_says("permission denied to create extension file_fdw")
        .assert_says("as a superuser, before the run");
    assert_untouched(&database);
    database.query("CREATE EXTENSION \"file_fdw\"");
    migrate_as(&database, &role, &folder).assert_code(0);
    drop_role(&database, &role);
}

#[test]
fn one_that_is_trusted() {
    let database = Server::debian().database();
    let role = database.role("app", "LOGIN");
    database.query(&format!(
        "CREATE SCHEMA own AUTHORIZATION {role}; CREATE SCHEMA schemagate AUTHORIZATION {role}"
    ));
    let folder = files(&["CREATE EXTENSION pg_trgm SCHEMA own;"]);
    migrate_as(&database, &role, &folder)
        .assert_code(9)
        .assert_says("permission denied to create extension pg_trgm")
        .assert_says("GRANT CREATE ON DATABASE");
    database.query(&format!(
        "GRANT CREATE ON DATABASE {} TO {role}",
        database.name
    ));
    migrate_as(&database, &role, &folder).assert_code(0);
    drop_role(&database, &role);
}

#[test]
fn versions() {
    let database = Server::debian().database();
    let check = |text: &str, says: &str| {
        migrate(&database, files(&[text]))
            .run()
            .assert_code(5)
            .assert_says(says);
        assert_untouched(&database);
    };
    check(
        "CREATE EXTENSION pg_trgm VERSION '99';",
        "not available in version 99; the server has",
    );
    check(
        "ALTER EXTENSION pg_trgm UPDATE;",
        "extension pg_trgm is not installed in this database",
    );
    check(
        "CREATE EXTENSION earthdistance;",
        "requires extension cube, which is not installed",
    );
    database.query("CREATE EXTENSION pg_trgm VERSION '1.3'");
    check(
        "CREATE EXTENSION pg_trgm;",
        "extension pg_trgm already exists (version 1.3)",
    );
    check(
        "ALTER EXTENSION pg_trgm UPDATE TO '99';",
        "not available in version 99",
    );
    migrate(
        &database,
        files(&[
            "CREATE EXTENSION IF NOT EXISTS pg_trgm VERSION '1.6';",
            "ALTER EXTENSION pg_trgm UPDATE TO '1.6'; ALTER EXTENSION pg_trgm UPDATE;",
            "CREATE EXTENSION cube; CREATE EXTENSION earthdistance; DROP EXTENSION cube CASCADE;",
            "CREATE EXTENSION earthdistance CASCADE;",
        ]),
    )
    .run()
    .assert_code(0)
    .assert_says("is there in version 1.3, which IF NOT EXISTS leaves as it is");
}

/// PostgreSQL 12's catalog knows no trust; 14 and 18 ask as 15 does.
#[test]
fn on_other_releases() {
    for major in ["14", "18"] {
        let database = Server::embedded(major).database();
        migrate(&database, files(&["CREATE EXTENSION vector;"]))
            .run()
            .assert_code(5)
            .assert_says("is not available");
    }
}

#[test]
fn what_only_newer_releases_have() {
    let folder = files(&[
        "CREATE TABLE t (id int, UNIQUE NULLS NOT DISTINCT (id));",
        "MERGE INTO t USING t u ON t.id = u.id WHEN MATCHED THEN DELETE;",
    ]);
    let older = Server::embedded("14").database();
    migrate(&older, &folder)
        .run()
        .assert_code(5)
        .assert_says("0001_x.sql:1: NULLS NOT DISTINCT needs PostgreSQL 15, and the server is 14")
        .assert_says("0002_x.sql:1: MERGE needs PostgreSQL 15");
    assert_untouched(&older);
    for server in [Server::debian(), Server::embedded("18")] {
        let database = server.database();
        migrate(&database, &folder).run().assert_code(0);
    }
}
