//! Nobody's history is run twice: folders and tables of other tools are recognised and refused.

use crate::harness::{Folder, Schemagate, Server, fixture};

#[track_caller]
fn refuses_folder(files: &[(&str, &str)], tool: &str) {
    let database = Server::debian().database();
    Schemagate::migrate(&database, Folder::sql(files))
        .run()
        .assert_code(2)
        .assert_says(tool)
        .assert_says("schemagate exec");
    assert!(!database.has_table("t"));
}

#[test]
fn folders_of_other_tools() {
    let create = "CREATE TABLE t (id int);";
    let goose = format!("-- +goose Up\n{create}\n-- +goose Down\nDROP TABLE t;\n");
    refuses_folder(&[("00001_t.sql", &goose)], "goose");
    let dbmate = format!("-- migrate:up\n{create}\n-- migrate:down\nDROP TABLE t;\n");
    refuses_folder(&[("20260101000000_t.sql", &dbmate)], "dbmate");
    refuses_folder(&[("V1__t.sql", create)], "Flyway");
    refuses_folder(
        &[
            ("20260101000000_t/migration.sql", create),
            ("migration_lock.toml", "provider = \"postgresql\"\n"),
        ],
        "Prisma",
    );
}

/// Prisma's folders look like those of Drizzle v1; without a snapshot or a history nothing tells them apart.
#[test]
fn folders_that_could_be_two_tools() {
    let files = [("20260101000000_t/migration.sql", "CREATE TABLE t (id int);")];
    let database = Server::debian().database();
    let call = Schemagate::migrate(&database, Folder::sql(&files));
    call.run().assert_code(2).assert_says("SCHEMAGATE_FORMAT");
    let folder = Folder::sql(&files);
    Schemagate::migrate(&database, &folder)
        .env("SCHEMAGATE_FORMAT", "drizzle")
        .run()
        .assert_code(0);
    Schemagate::migrate(&database, &folder).run().assert_code(0);
}

#[track_caller]
fn refuses_table(table: &str, setup: &str) {
    for folder in [
        Folder::sql(&[("0001_t.sql", "CREATE TABLE t (id int);")]),
        Folder::classic(&[("0000_t", 1_700_000_000_000, "CREATE TABLE t (id int);")]),
    ] {
        let database = Server::debian().database();
        database.query(setup);
        for format in [
            "auto",
            if folder.names().contains(&"meta".to_owned()) {
                "drizzle"
            } else {
                "sql"
            },
        ] {
            Schemagate::migrate(&database, &folder)
                .env("SCHEMAGATE_FORMAT", format)
                .run()
                .assert_code(6)
                .assert_says(table)
                .assert_says("baseline --to");
        }
        assert!(!database.has_table("t"));
    }
}

#[test]
fn history_tables_of_other_tools() {
    let simple = [
        "schema_migrations",
        "goose_db_version",
        "_sqlx_migrations",
        "_prisma_migrations",
        "flyway_schema_history",
        "refinery_schema_history",
        "pgmigrations",
        "knex_migrations",
        "alembic_version",
        "databasechangelog",
        "django_migrations",
    ];
    for table in simple {
        refuses_table(
            table,
            &format!("CREATE TABLE {table} (version bigint); INSERT INTO {table} VALUES (1)"),
        );
    }
}

#[test]
fn an_empty_history_table_of_another_tool_is_no_obstacle() {
    let database = Server::debian().database();
    database.query("CREATE TABLE schema_migrations (version bigint, dirty boolean)");
    let folder = Folder::sql(&[("0001_t.sql", "CREATE TABLE t (id int);")]);
    Schemagate::migrate(&database, &folder).run().assert_code(0);
    assert!(database.has_table("t"));
}

#[test]
fn plain_sql_on_a_database_of_drizzle() {
    let database = Server::debian().database();
    let drizzle = Folder::classic(&[("0000_a", 1_700_000_000_000, "CREATE TABLE a (id int);")]);
    Schemagate::migrate(&database, &drizzle)
        .run()
        .assert_code(0);
    Schemagate::migrate(
        &database,
        Folder::sql(&[("0001_t.sql", "CREATE TABLE t (id int);")]),
    )
    .run()
    .assert_code(6)
    .assert_says("__drizzle_migrations");
    assert!(!database.has_table("t"));
}

#[test]
fn a_v1_folder_that_knows_nothing_of_the_classic_rows() {
    let database = Server::debian().database();
    let drizzle = Folder::classic(&[("0000_a", 1_700_000_000_000, "CREATE TABLE a (id int);")]);
    Schemagate::migrate(&database, &drizzle)
        .run()
        .assert_code(0);
    Schemagate::migrate(&database, fixture("drizzle/v1/shop"))
        .run()
        .assert_code(6);
    assert!(!database.has_table("customers"));
}
