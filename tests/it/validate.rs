//! `validate`: everything from nothing in a throwaway database, which is gone afterwards.

use std::path::Path;

use crate::harness::{Database, Folder, PgBouncer, Schemagate, Server, eventually, fixture};

mod dump;
mod own_server;

/// A call on a server, as its superuser unless told otherwise.
fn validate(database: &Database<'_>, folder: impl AsRef<Path>) -> Schemagate {
    Schemagate::new(&["validate"])
        .url(&database.url())
        .folder(folder)
}

/// How many throwaway databases a server has. Other tests run beside this one, so each has a server of its own.
fn leftovers(server: &Server) -> String {
    let session = server.session("postgres");
    session.value("SELECT count(*) FROM pg_database WHERE datname LIKE 'schemagate\\_validate\\_%'")
}

/// Two tables, each with its down file.
fn tables() -> Folder {
    Folder::sql(&[
        ("0001_a.up.sql", "CREATE TABLE a (id int PRIMARY KEY);"),
        ("0001_a.down.sql", "DROP TABLE a;"),
        (
            "0002_b.up.sql",
            "CREATE INDEX CONCURRENTLY a_i ON a (id);\nCREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1';\n\
             CREATE TYPE mood AS ENUM ('sad', 'ok');",
        ),
        (
            "0002_b.down.sql",
            "DROP TYPE mood;\nDROP FUNCTION f();\nDROP INDEX CONCURRENTLY a_i;",
        ),
    ])
}

#[test]
fn folders_of_every_format_pass_and_nothing_stays() {
    for server in [
        Server::debian(),
        Server::embedded("14"),
        Server::embedded("18"),
    ] {
        let database = server.database();
        for folder in ["drizzle/classic/shop", "drizzle/v1/shop"] {
            validate(&database, fixture(folder))
                .run()
                .assert_code(0)
                .assert_prints("again     nothing to do, nothing written")
                .assert_prints("has no down files")
                .assert_prints("dropped ");
        }
        let outcome = validate(&database, tables()).run();
        outcome
            .assert_code(0)
            .assert_prints("up        2 migrations applied")
            .assert_prints("down      2 migrations undone; the schema is as it was before")
            .assert_prints("up again  2 migrations applied; the schema is as it was after");
        assert_eq!(
            outcome.logs().pop().unwrap()["applied"]
                .as_array()
                .unwrap()
                .len(),
            2
        );
        // The database of the settings was not touched.
        assert_eq!(
            database.value("SELECT to_regnamespace('schemagate') IS NULL"),
            "t"
        );
    }
}

#[test]
fn a_broken_migration_is_shown_with_its_place() {
    let server = Server::own();
    let database = server.database();
    let folder = tables();
    folder.write(
        "0002_b.up.sql",
        b"CREATE TABLE b ();\nALTER TABLE nowhere ADD id int;",
    );
    let outcome = validate(&database, &folder).run();
    outcome.assert_code(5).assert_says("0002_b.up.sql:2:1:");
    outcome.assert_silent_about("to go back");
    let sum = outcome.logs().pop().unwrap();
    assert_eq!(sum["applied"][0]["version"], "0001");
    assert_eq!(leftovers(&server), "0");
}

#[test]
fn contract_steps_run_and_no_gate_holds_and_a_target_is_a_target() {
    let database = Server::debian().database();
    let folder = Folder::sql(&[
        ("1_a.sql", "CREATE TABLE a (x int, y int);"),
        (
            "2_b.sql",
            "-- schemagate: phase=contract\nALTER TABLE a DROP COLUMN y;",
        ),
        ("3_c.sql", "this is no SQL"),
    ]);
    validate(&database, &folder)
        .env("SCHEMAGATE_TARGET", "2")
        .run()
        .assert_code(0)
        .assert_prints("2 migrations applied");
    validate(&database, &folder)
        .env("SCHEMAGATE_TARGET", "9")
        .run()
        .assert_code(2)
        .assert_says("names no migration");
    validate(&database, &folder)
        .env("SCHEMAGATE_DRY_RUN", "true")
        .run()
        .assert_code(0)
        .assert_prints("would apply 3 migrations");
}

#[test]
fn down_goes_as_far_as_there_are_files() {
    let database = Server::debian().database();
    let folder = tables();
    folder.remove("0001_a.down.sql");
    validate(&database, &folder)
        .run()
        .assert_code(0)
        .assert_prints("down      1 of 2 migrations undone, down to the newest without a down file")
        .assert_prints("up again  1 migration applied");
    folder.remove("0002_b.down.sql");
    validate(&database, &folder)
        .run()
        .assert_code(0)
        .assert_prints("down      not tried: the newest of the 2 migrations has no down file");
}

#[test]
fn a_down_file_that_forgets_something_is_a_finding() {
    let server = Server::own();
    let database = server.database();
    let check = |up: &str, down: &str, finding: &str| {
        let folder = tables();
        folder.write("0003_c.up.sql", up.as_bytes());
        folder.write("0003_c.down.sql", down.as_bytes());
        validate(&database, &folder)
            .run()
            .assert_code(6)
            .assert_says(finding);
        assert_eq!(leftovers(&server), "0");
    };
    check(
        "CREATE TABLE IF NOT EXISTS \"o d d\" (id serial PRIMARY KEY)",
        "SELECT 1",
        "the down files do not lead back: table public.\\\"o d d\\\" was not there before\"",
    );
    check(
        "ALTER TABLE a ADD y int",
        "SELECT 1",
        "the down file of 0003 does not undo it: column public.a.y was not there before",
    );
    check(
        "ALTER TABLE a ALTER id TYPE bigint",
        "SELECT 1",
        "column public.a.id is not what it was",
    );
    check(
        "SELECT 1",
        "ALTER TABLE a DROP CONSTRAINT a_pkey",
        "constraint a_pkey on public.a is gone",
    );
    check(
        "CREATE SCHEMA s; CREATE VIEW s.v AS SELECT 1 AS x",
        "DROP VIEW s.v",
        "schema s was not there before",
    );
    check(
        "CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 2'",
        "SELECT 1",
        "function public.f() is not what it was",
    );
    check(
        "ALTER TYPE mood ADD VALUE IF NOT EXISTS 'happy'",
        "SELECT 1",
        "type public.mood is not what it was",
    );
    check(
        "GRANT SELECT ON a TO PUBLIC",
        "SELECT 1",
        "table public.a is not what it was",
    );
}

#[test]
fn a_down_file_that_fails_is_shown_with_its_place() {
    let database = Server::debian().database();
    let folder = tables();
    folder.write("0002_b.down.sql", b"DROP TYPE mood;\nDROP FUNCTION g();");
    validate(&database, &folder)
        .run()
        .assert_code(5)
        .assert_says("0002_b.down.sql:2:");
}

#[test]
fn a_second_run_must_be_a_no_op() {
    let database = Server::debian().database();
    let folder = Folder::sql(&[
        ("1_a.sql", "CREATE TABLE a ();"),
        ("2_b.sql", "UPDATE schemagate.history SET checksum = 'x';"),
    ]);
    validate(&database, &folder)
        .run()
        .assert_code(6)
        .assert_says("1_a.sql has changed since it was applied");
}

#[test]
fn killed_it_leaves_a_database_that_the_next_run_drops() {
    let server = Server::own();
    let database = server.database();
    let slow = tables();
    slow.write("0002_b.up.sql", b"SELECT pg_sleep(60);");
    let throwaway = "SELECT string_agg(datname, ',') FROM pg_database WHERE datname LIKE 'schemagate\\_validate\\_%'";
    let sleeping = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND state = 'active'
        AND pid <> pg_backend_pid()";
    let killed = validate(&database, &slow).spawn();
    eventually!(database.value(sleeping) == "1", "the first sleeps");
    killed.signal("KILL");
    killed.wait().assert_code(137);
    let left = database.value(throwaway);
    assert!(left.starts_with("schemagate_validate_"));
    let sessions = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE '{left}' IN (application_name, datname)"
    );
    eventually!(database.value(&sessions) == "0", "its sessions end");
    // A run beside it is left alone, and so is what only looks like one of ours.
    let beside = validate(&database, &slow).spawn();
    eventually!(database.value(sleeping) == "1", "the second sleeps");
    let living = database.value(throwaway);
    assert!(
        !living.contains(&left) && !living.is_empty(),
        "{left} {living}"
    );
    database.query("CREATE DATABASE schemagate_validate_mine");
    validate(&database, tables()).run().assert_code(0);
    assert_eq!(
        database
            .value(throwaway)
            .replace("schemagate_validate_mine", "")
            .trim_matches(','),
        living
    );
    beside.signal("TERM");
    beside.wait().assert_code(143);
    assert_eq!(database.value(throwaway), "schemagate_validate_mine");
}

#[test]
fn told_to_stop_or_out_of_time_it_drops_the_database() {
    let server = Server::own();
    let database = server.database();
    let folder = tables();
    folder.write("0002_b.up.sql", b"SELECT pg_sleep(60);");
    validate(&database, &folder)
        .env("SCHEMAGATE_DEADLINE", "3s")
        .run()
        .assert_code(10);
    assert_eq!(leftovers(&server), "0");
    let run = validate(&database, &folder).spawn();
    eventually!(run.stderr().contains("applied"), "{}", run.stderr());
    run.signal("INT");
    run.wait().assert_code(130);
    assert_eq!(leftovers(&server), "0");
}

#[test]
fn a_role_without_createdb_is_told_how_to_get_it() {
    let database = Server::debian().database();
    let role = database.role("weak", "LOGIN");
    let call = validate(&database, tables()).url(&database.url_as(&role));
    call.run()
        .assert_code(9)
        .assert_says(&format!("ALTER ROLE \\\"{role}\\\" CREATEDB"))
        .assert_says("--server auto");
    database.query(&format!("ALTER ROLE {role} CREATEDB"));
    call.run().assert_code(0);
    // As an owner whose privileges are not inherited.
    let owner = database.role("owner", "");
    let login = database.role(
        "login",
        &format!("LOGIN NOINHERIT CREATEDB IN ROLE {owner}"),
    );
    let call = validate(&database, tables())
        .url(&database.url_as(&login))
        .env("SCHEMAGATE_ROLE", &owner);
    call.run().assert_code(0).assert_prints("dropped ");
}

#[test]
fn poolers_and_standbys_are_refused() {
    let database = Server::debian().database();
    let pooler = PgBouncer::start(Server::debian(), "transaction", 2);
    validate(&database, tables())
        .url(&pooler.url(&database))
        .run()
        .assert_code(2)
        .assert_says("this is a pooler");
    let standby = Server::standby_of(Server::debian());
    validate(&database, tables())
        .url(&standby.url("postgres"))
        .run()
        .assert_code(2)
        .assert_says("a standby");
}

#[test]
fn settings_of_the_history_and_an_empty_folder() {
    let database = Server::debian().database();
    validate(&database, tables())
        .env("SCHEMAGATE_HISTORY_TABLE", "\"o'dd\".\"h 🐘\"")
        .env("SCHEMAGATE_LOCK_KEY", "42")
        .env("SCHEMAGATE_TRANSACTION", "each")
        .run()
        .assert_code(0)
        .assert_prints("the schema is as it was after");
    validate(&database, Folder::empty())
        .env("SCHEMAGATE_ALLOW_EMPTY", "true")
        .env("SCHEMAGATE_FORMAT", "sql")
        .run()
        .assert_code(0)
        .assert_prints("nothing was applied");
}

#[test]
fn roles_that_stay_are_told() {
    let database = Server::debian().database();
    let role = format!("{}_made", database.name);
    let folder = Folder::sql(&[("1_role.sql", &format!("CREATE ROLE {role};"))]);
    validate(&database, &folder)
        .run()
        .assert_code(0)
        .assert_says(&format!("these were made and stay: {role}"));
}
