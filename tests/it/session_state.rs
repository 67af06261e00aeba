//! Whatever a script sets, nothing of it is left on a connection that somebody else may get.
//!
//! The pooler has one server connection, so the application's session and schemagate meet on the same backend.

use crate::harness::{Folder, PgBouncer, Schemagate, Server, Session};

/// All that can leak, in one comparable value.
const STATE: &str = "
SELECT name, setting FROM pg_settings WHERE name NOT LIKE 'transaction%' AND name NOT IN ('in_hot_standby')
UNION ALL SELECT 'current_user', current_user
UNION ALL SELECT 'session_user', session_user
UNION ALL SELECT 'temporary tables', count(*)::text FROM pg_class WHERE relpersistence = 't'
UNION ALL SELECT 'prepared statements', count(*)::text FROM pg_prepared_statements
UNION ALL SELECT 'cursors', count(*)::text FROM pg_cursors
UNION ALL SELECT 'channels', count(*)::text FROM pg_listening_channels()
UNION ALL SELECT 'advisory locks', count(*)::text FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()
ORDER BY 1";

/// Runs a script through the pooler between two looks of the application.
///
/// PgBouncer itself keeps `application_name` and a few others apart per client; the rest is ours to undo.
#[track_caller]
fn leaves_nothing(script: &str, code: i32) {
    let database = Server::debian().database();
    let bouncer = PgBouncer::start(Server::debian(), "transaction", 1);
    let application = Session::connect(&bouncer.url(&database));
    application.query("SET application_name = 'shop'");
    let pid = application.value("SELECT pg_backend_pid()");
    let before = application.query(STATE);

    let folder = Folder::sql(&[
        ("0001_leak.sql", script),
        ("0002_next.sql", "CREATE TABLE public.next (id int);"),
    ]);
    Schemagate::migrate(&database, &folder)
        .url(&bouncer.url(&database))
        .run()
        .assert_code(code);

    assert_eq!(
        application.value("SELECT pg_backend_pid()"),
        pid,
        "the same backend"
    );
    let after = application.query(STATE);
    let changed: Vec<_> = after.iter().filter(|row| !before.contains(row)).collect();
    assert!(changed.is_empty(), "left behind by {script}: {changed:?}");
    assert_eq!(before.len(), after.len());
    assert_eq!(database.has_table("next"), code == 0);
}

#[test]
fn search_path() {
    leaves_nothing(
        "SELECT pg_catalog.set_config('search_path', '', false); CREATE TABLE public.t (id int);",
        0,
    );
    leaves_nothing("SET search_path TO '';", 0);
    leaves_nothing(
        "CREATE SCHEMA like_pg; SET search_path TO like_pg, pg_catalog;",
        0,
    );
}

#[test]
fn a_path_that_shadows_functions_and_operators() {
    leaves_nothing(
        "CREATE SCHEMA evil;
         CREATE FUNCTION evil.set_config(text, text, boolean) RETURNS text LANGUAGE sql AS $$ SELECT 1/0 || '' $$;
         CREATE FUNCTION evil.pg_try_advisory_xact_lock(bigint) RETURNS boolean LANGUAGE sql AS $$ SELECT 1/0 = 1 $$;
         CREATE FUNCTION evil.never(text, text) RETURNS boolean LANGUAGE sql AS $$ SELECT 1/0 = 1 $$;
         CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.never);
         SET search_path TO evil, pg_catalog;",
        0,
    );
}

#[test]
fn timeouts_and_other_settings() {
    leaves_nothing(
        "SET statement_timeout = '1h'; SET lock_timeout = '1h'; SET timezone = 'Pacific/Chatham';
         SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE; SET row_security = off;
         SET check_function_bodies = false; SET client_min_messages = error; SET xmloption = content;",
        0,
    );
}

#[test]
fn standard_conforming_strings() {
    leaves_nothing(
        "SET standard_conforming_strings = off; CREATE TABLE t (x text DEFAULT 'plain');",
        0,
    );
}

#[test]
fn application_name() {
    leaves_nothing("SET application_name = 'from the script';", 0);
}

#[test]
fn role_and_session_authorization() {
    leaves_nothing("SET ROLE pg_monitor;", 0);
    leaves_nothing("SET SESSION AUTHORIZATION pg_monitor;", 0);
}

#[test]
fn temporary_tables_prepared_statements_cursors_channels() {
    leaves_nothing(
        "CREATE TEMPORARY TABLE scratch (id int); PREPARE p AS SELECT 1; LISTEN channel;
         DECLARE held CURSOR WITH HOLD FOR SELECT 1; CREATE TEMP SEQUENCE s;",
        0,
    );
}

#[test]
fn advisory_locks() {
    leaves_nothing(
        "SELECT pg_advisory_lock(1); SELECT pg_advisory_unlock_all();",
        0,
    );
    leaves_nothing("SELECT pg_advisory_lock(1);", 0);
}

#[test]
fn a_script_that_fails_leaks_nothing_either() {
    leaves_nothing(
        "SET search_path TO ''; SET ROLE pg_monitor; CREATE TEMP TABLE x (id int); PREPARE p AS SELECT 1; SELECT 1/0;",
        5,
    );
    leaves_nothing("SET standard_conforming_strings = off; SELECT 1/0;", 5);
}

/// `COMMIT` in a script: it is handled piece by piece, with every piece in its own transaction.
#[test]
fn own_transactions() {
    leaves_nothing(
        "SET search_path TO ''; BEGIN; CREATE TABLE public.a (id int); COMMIT; CREATE TABLE public.b (id int);",
        0,
    );
    leaves_nothing(
        "CREATE TABLE a (id int); COMMIT; SET search_path TO ''; BEGIN; CREATE TABLE public.b (id int);",
        0,
    );
}

fn direct(files: &[(&str, &str)]) -> (crate::harness::Database<'static>, crate::harness::Outcome) {
    let database = Server::debian().database();
    let outcome = Schemagate::migrate(&database, Folder::sql(files)).run();
    (database, outcome)
}

#[test]
fn unlocking_everything_does_not_lose_the_fence() {
    let (database, outcome) = direct(&[
        ("0001_unlock.sql", "SELECT pg_advisory_unlock_all();"),
        ("0002_next.sql", "CREATE TABLE next (id int);"),
    ]);
    outcome.assert_code(0);
    assert!(database.has_table("next") && database.has_no_advisory_lock());
}

#[test]
fn discard_all_outside_a_transaction() {
    let files = [
        ("0001_t.sql", "CREATE TABLE t (id int);"),
        (
            "0002_discard.sql",
            "DISCARD ALL;\nCREATE INDEX CONCURRENTLY t_id ON t (id);\nINSERT INTO t VALUES (1);",
        ),
        ("0003_next.sql", "CREATE TABLE next (id int);"),
    ];
    let (database, outcome) = direct(&files);
    outcome.assert_code(0);
    assert_eq!(database.value("SELECT count(*) FROM t"), "1");
    assert_eq!(
        database.value("SELECT count(*) FROM schemagate.history"),
        "3"
    );
}

/// A `ROLLBACK` that would undo the file and leave a row saying that it ran.
#[test]
fn a_rollback_in_a_script_is_never_taken_for_success() {
    let (database, outcome) = direct(&[
        ("0001_first.sql", "CREATE TABLE first (id int);"),
        ("0002_back.sql", "CREATE TABLE lost (id int); ROLLBACK;"),
    ]);
    outcome.assert_code(2).assert_says("0002_back.sql");
    assert!(!database.has_table("lost"));
}

#[test]
fn prepare_transaction_is_refused() {
    let (database, outcome) = direct(&[(
        "0001_two.sql",
        "CREATE TABLE t (id int); PREPARE TRANSACTION 'x';",
    )]);
    outcome.assert_code(2).assert_says("0001_two.sql");
    assert!(!database.has_table("t"));
}

#[test]
fn a_procedure_that_commits() {
    let (database, outcome) = direct(&[
        (
            "0001_do.sql",
            "CREATE TABLE t (id int);\nDO $$ BEGIN INSERT INTO t VALUES (1); COMMIT; INSERT INTO t VALUES (2); END $$;",
        ),
        ("0002_next.sql", "CREATE TABLE next (id int);"),
    ]);
    outcome.assert_code(0);
    assert_eq!(database.value("SELECT count(*) FROM t"), "2");
    assert!(database.has_table("next"));
}

#[test]
fn deferred_leaks_do_not_reach_the_next_migration() {
    let (database, outcome) = direct(&[
        (
            "0001_path.sql",
            "CREATE SCHEMA other; SET search_path TO other; SET ROLE pg_monitor; SET standard_conforming_strings = off;",
        ),
        (
            "0002_next.sql",
            "CREATE TABLE next (x text DEFAULT 'a\\b');",
        ),
    ]);
    outcome.assert_code(0);
    assert!(database.has_table("public.next"));
    assert_eq!(
        database.value("SELECT tableowner FROM pg_tables WHERE tablename = 'next'"),
        "postgres"
    );
}

/// On a direct session what is said with every migration is prepared once. A file may take it away: in its own words, or
/// hidden in a function that it calls, which only the server's refusal tells.
#[test]
fn files_that_take_our_prepared_statements_away() {
    let database = Server::debian().database();
    database.query(
        "CREATE FUNCTION forget() RETURNS void LANGUAGE plpgsql AS \
         'BEGIN EXECUTE ''DEAL'' || ''LOCATE ALL''; END'",
    );
    let folder = Folder::empty();
    for number in 1..=30 {
        let more = match number {
            5 | 6 | 19 => "SELECT forget();",
            12 => "DEALLOCATE ALL;",
            15 => "PREPARE schemagate_1 AS SELECT 1;",
            _ => "",
        };
        let text = format!(
            "CREATE TABLE t{number:02} (id int);\n{more}\nINSERT INTO t{number:02} VALUES (1);"
        );
        folder.write(&format!("{number:04}_step.sql"), text.as_bytes());
    }
    Schemagate::migrate(&database, &folder).run().assert_code(0);
    let rows: Vec<String> = (1..=30)
        .map(|number| format!("(SELECT count(*) FROM t{number:02})"))
        .collect();
    assert_eq!(
        database.value(&format!("SELECT {}", rows.join(" + "))),
        "30"
    );
    assert_eq!(
        database.value(
            "SELECT string_agg(version, ',' ORDER BY serial) = string_agg(version, ',' ORDER BY version) \
             AND count(*) = 30 FROM schemagate.history"
        ),
        "t"
    );
    assert_eq!(
        database.value("SELECT count(*) FROM schemagate.journal WHERE event = 'applied'"),
        "30"
    );
}
