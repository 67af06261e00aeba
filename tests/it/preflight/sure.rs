//! Conflicts that are certain, and everything that only looks like one: what would have run is never refused.

use super::{assert_untouched, drop_role, files, maker, migrate, migrate_as};
use crate::harness::{PgBouncer, Schemagate, Server};

#[test]
fn names_that_are_taken() {
    for (there, text, says) in [
        (
            "CREATE TABLE t (id int)",
            "CREATE TABLE t (id int);",
            "relation public.t already exists (table, owner postgres)",
        ),
        (
            "CREATE VIEW t AS SELECT 1",
            "CREATE TABLE public.t (id int);",
            "already exists (view",
        ),
        (
            "CREATE TABLE a (id int); CREATE INDEX i ON a (id)",
            "CREATE INDEX i ON a (id);",
            "relation public.i already exists (index",
        ),
        (
            "CREATE TYPE e AS ENUM ('a')",
            "CREATE TYPE e AS ENUM ('b');",
            "type public.e already exists",
        ),
        (
            "CREATE SCHEMA s",
            "CREATE SCHEMA s;",
            "schema s already exists",
        ),
        (
            "CREATE SEQUENCE q",
            "CREATE SEQUENCE q;",
            "already exists (sequence",
        ),
    ] {
        let database = Server::debian().database();
        database.query(there);
        let folder = files(&["CREATE TABLE first (id int);", text]);
        migrate(&database, &folder)
            .run()
            .assert_code(5)
            .assert_says("0002_x.sql:1: ")
            .assert_says(says)
            .assert_says("baseline --to 0002");
        assert_untouched(&database);
        assert!(!database.has_table("first"));
    }
}

/// Each of these runs to its end on a server without a check, so it must here.
#[test]
fn what_only_looks_like_a_conflict() {
    for (there, texts) in [
        // Gone before, in every way.
        (
            "CREATE TABLE t (id int)",
            &["DROP TABLE t;", "CREATE TABLE t (id int);"][..],
        ),
        (
            "CREATE TABLE t (id int)",
            &["ALTER TABLE t RENAME TO u; CREATE TABLE t (id int);"],
        ),
        (
            "CREATE TABLE t (id int); CREATE INDEX i ON t (id)",
            &["DROP TABLE t; CREATE TABLE u (id int); CREATE INDEX i ON u (id);"],
        ),
        (
            "CREATE TABLE t (id int); CREATE INDEX i ON t (id)",
            &["ALTER TABLE t DROP COLUMN id, ADD COLUMN b int; CREATE INDEX i ON t (b);"],
        ),
        (
            "CREATE TABLE t (id int); CREATE VIEW v AS SELECT * FROM t",
            &["DROP TABLE t CASCADE;", "CREATE VIEW v AS SELECT 1;"],
        ),
        (
            "CREATE SCHEMA s; CREATE TABLE s.t (id int)",
            &["DROP SCHEMA s CASCADE; CREATE SCHEMA s; CREATE TABLE s.t (id int);"],
        ),
        (
            "CREATE SCHEMA s; CREATE TABLE s.t (id int)",
            &["ALTER SCHEMA s RENAME TO s2; CREATE SCHEMA s; CREATE TABLE s.t (id int);"],
        ),
        (
            "CREATE TABLE p (id int) PARTITION BY LIST (id); CREATE TABLE p1 PARTITION OF p DEFAULT",
            &["DROP TABLE p; CREATE TABLE p1 (id int);"],
        ),
        (
            "CREATE TABLE t (id serial)",
            &["DROP TABLE t; CREATE SEQUENCE t_id_seq;"],
        ),
        (
            "CREATE TABLE t (id int)",
            &[
                "DO $$BEGIN DROP TABLE t; END$$;",
                "CREATE TABLE t (id int);",
            ],
        ),
        (
            "CREATE TABLE t (id int); CREATE FUNCTION f() RETURNS void LANGUAGE sql AS 'DROP TABLE t'",
            &["SELECT f();", "CREATE TABLE t (id int);"],
        ),
        // Another place.
        (
            "CREATE TABLE t (id int)",
            &["CREATE SCHEMA s; SET search_path = s; CREATE TABLE t (id int);"],
        ),
        (
            "CREATE TABLE t (id int); CREATE SCHEMA s",
            &["CREATE TABLE s.t (id int);"],
        ),
        (
            "CREATE TABLE t (id int)",
            &["CREATE SCHEMA postgres; CREATE TABLE t (id int);"],
        ),
        (
            "CREATE TABLE t (id int)",
            &["CREATE TEMP TABLE t (id int); ALTER TABLE t ADD COLUMN a int;"],
        ),
        (
            "CREATE SCHEMA s; CREATE TABLE s.t (id int)",
            &["CREATE TABLE t (id int);"],
        ),
    ] {
        runs(there, texts);
    }
}

/// The same.
#[test]
fn what_is_no_error_or_something_else() {
    for (there, texts) in [
        // No error.
        (
            "CREATE TABLE t (id int)",
            &["CREATE TABLE IF NOT EXISTS t (id int); CREATE SCHEMA IF NOT EXISTS public;"],
        ),
        (
            "CREATE VIEW v AS SELECT 1 AS a",
            &["CREATE OR REPLACE VIEW v AS SELECT 2 AS a;"],
        ),
        (
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
            &["CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT 1';"],
        ),
        ("CREATE TABLE \"T\" (id int)", &["CREATE TABLE t (id int);"]),
        (
            "",
            &["DROP TABLE IF EXISTS nothing; ALTER TABLE IF EXISTS nothing ADD COLUMN a int;"],
        ),
        // A view over something temporary; a type that was declared only; an extension that another has brought.
        (
            "CREATE VIEW v AS SELECT 1",
            &["CREATE TEMP TABLE x (id int); CREATE VIEW v AS SELECT * FROM x;"],
        ),
        ("CREATE TYPE shell", &["CREATE TYPE shell AS ENUM ('a');"]),
        (
            "",
            &["CREATE EXTENSION earthdistance CASCADE; ALTER EXTENSION cube UPDATE;"],
        ),
        (
            "CREATE TABLE t (id int)",
            &["DROP TABLE IF EXISTS nothing, t, nor_this; CREATE TABLE t (id int);"],
        ),
        (
            "CREATE TABLE t (id int); CREATE TABLE u (id int)",
            &["CREATE TABLE IF NOT EXISTS u AS SELECT 1; DROP TABLE t; CREATE TABLE t (id int);"],
        ),
        // In pieces, of which some may have run before.
        (
            "CREATE TABLE t (id int)",
            &["-- schemagate: transaction=off\nDROP TABLE t;\nCREATE TABLE t (id int);"],
        ),
    ] {
        runs(there, texts);
    }
}

#[track_caller]
fn runs(there: &str, texts: &[&str]) {
    let database = Server::debian().database();
    database.query(there);
    let outcome = migrate(&database, files(texts)).run();
    outcome.assert_code(0);
    if !texts[0].starts_with("DO") && !texts[0].starts_with("SELECT") {
        outcome.assert_silent_about("may fail");
    }
}

/// As an ordinary role, where privileges come from somewhere else than the catalog says at first.
#[test]
fn what_only_looks_like_a_missing_privilege() {
    for (setup, texts) in [
        (
            "CREATE TABLE t (id int); GRANT {owner} TO {role}; ALTER TABLE t OWNER TO {owner}",
            &["ALTER TABLE t ADD COLUMN a int;"][..],
        ),
        (
            "CREATE FUNCTION f() RETURNS void LANGUAGE sql SECURITY DEFINER AS 'GRANT CREATE ON SCHEMA public TO {role}'",
            &["SELECT f();", "CREATE TABLE t (id int);"],
        ),
        (
            "CREATE TABLE t (id int); ALTER TABLE t OWNER TO {owner}; GRANT {owner} TO {role}; ALTER ROLE {role} NOINHERIT",
            &["SET LOCAL ROLE {owner}; ALTER TABLE t ADD COLUMN a int;"],
        ),
        (
            "CREATE SCHEMA {role} AUTHORIZATION {role}",
            &["CREATE TABLE t (id int);"],
        ),
        (
            "",
            &[
                "CREATE SCHEMA s; CREATE TABLE s.t (id int); CREATE INDEX i ON s.t (id); INSERT INTO s.t VALUES (1);",
            ],
        ),
        ("", &["CREATE SCHEMA {role}; CREATE TABLE t (id int);"]),
        (
            "CREATE SCHEMA s AUTHORIZATION {role}; CREATE TABLE s.t (id int)",
            &["DROP TABLE s.t;"],
        ),
        (
            "CREATE SCHEMA s AUTHORIZATION {role}; CREATE TABLE s.t (id int); CREATE TABLE x (id int PRIMARY KEY)",
            &["CREATE TABLE IF NOT EXISTS s.t (id int REFERENCES public.x);"],
        ),
        (
            "CREATE TABLE t (id int, b int); GRANT INSERT (b), UPDATE (b), SELECT ON t TO {role}",
            &["INSERT INTO t (b) VALUES (1); UPDATE t SET b = 2;"],
        ),
        (
            "CREATE TABLE x (id int PRIMARY KEY, b int); GRANT REFERENCES (id) ON x TO {role}; CREATE SCHEMA s AUTHORIZATION {role}",
            &["CREATE TABLE s.t (id int REFERENCES x (id));"],
        ),
        (
            "GRANT pg_write_all_data TO {role}; CREATE TABLE t (id int)",
            &["INSERT INTO t VALUES (1);"],
        ),
        (
            "ALTER DATABASE {database} OWNER TO {role}",
            &["CREATE TABLE t (id int);"],
        ),
    ] {
        let database = Server::debian().database();
        let role = maker(&database);
        let owner = database.role("owner", "");
        let fill = |text: &str| {
            text.replace("{role}", &role)
                .replace("{owner}", &owner)
                .replace("{database}", &database.name)
        };
        database.query(&fill(setup));
        let texts: Vec<String> = texts.iter().map(|text| fill(text)).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        migrate_as(&database, &role, &files(&texts)).assert_code(0);
        database.query(&format!(
            "ALTER DATABASE {} OWNER TO postgres",
            database.name
        ));
        drop_role(&database, &role);
        drop_role(&database, &owner);
    }
}

#[test]
fn in_doubt_the_server_decides_after_a_warning() {
    let database = Server::debian().database();
    database.query("CREATE TABLE t (id int)");
    let folder = files(&["DO $$BEGIN END$$;", "CREATE TABLE t (id int);"]);
    migrate(&database, &folder)
        .run()
        .assert_code(5)
        .assert_says(
            "0002_x.sql:1: relation public.t already exists (table, owner postgres): it may fail",
        )
        .assert_says("SQLSTATE 42P07");
    let applied = "SELECT count(*) FROM schemagate.history";
    assert_eq!(database.value(applied), "1", "the first one ran");
}

#[test]
fn an_event_trigger_may_do_anything() {
    let database = Server::debian().database();
    database.query(
        "CREATE TABLE t (id int);
         CREATE FUNCTION away() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN DROP TABLE IF EXISTS t; END$$;
         CREATE EVENT TRIGGER away ON ddl_command_start WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION away();",
    );
    migrate(&database, files(&["CREATE TABLE t (id int);"]))
        .run()
        .assert_says("it may fail");
}

/// Twenty pods without a session-level lock: what another has just made is not in the way.
#[test]
fn a_race_behind_a_pooler() {
    let bouncer = PgBouncer::start(Server::debian(), "transaction", 5);
    let folder = files(&[
        "CREATE TABLE a (id int);",
        "CREATE TABLE b (id int);",
        "CREATE INDEX i ON a (id);",
        "ALTER TABLE a RENAME TO c; CREATE TABLE a (id int);",
        "CREATE TABLE d (id int);",
    ]);
    for _ in 0..5 {
        let database = Server::debian().database();
        let call = Schemagate::new(&["migrate"])
            .url(&bouncer.url(&database))
            .folder(&folder);
        let racers: Vec<_> = (0..20).map(|_| call.spawn()).collect();
        for racer in racers {
            racer.wait().assert_code(0);
        }
    }
}
