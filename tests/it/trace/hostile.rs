//! Whatever a file holds, nothing of it is committed.

use super::{leaves_nothing, trace};
use crate::harness::{Folder, Server};

#[track_caller]
fn check(server: &Server, text: &str) {
    let database = server.database();
    database.query(
        "CREATE TABLE kept (a int);
         CREATE PROCEDURE commits() LANGUAGE plpgsql AS 'BEGIN INSERT INTO kept VALUES (1); COMMIT; END';
         CREATE FUNCTION runs(text) RETURNS void LANGUAGE plpgsql AS 'BEGIN EXECUTE $1; END'",
    );
    let folder = Folder::sql(&[
        ("0001_a.sql", text),
        ("0002_b.sql", "CREATE TABLE last (a int);"),
    ]);
    let call = trace(&database, &folder);
    let (report, outcome) = leaves_nothing(&database, &call);
    let code = outcome.code();
    assert!(matches!(code, 0 | 2 | 5), "{text:?}\n{outcome}");
    assert!(
        !outcome.stderr.contains("may be committed"),
        "{text:?}\n{outcome}"
    );
    // What no way of running can honour is refused before anything is looked at.
    assert_eq!(
        report["trace"].is_object(),
        code != 2,
        "{text:?}\n{outcome}"
    );
    assert_eq!(database.value("SELECT count(*) FROM kept"), "0", "{text:?}");
    assert_eq!(
        database.value("SELECT count(*) FROM pg_prepared_xacts"),
        "0"
    );
}

fn nothing_is_committed(server: &Server) {
    let make = "CREATE TABLE made (a int); INSERT INTO kept VALUES (1);";
    for rest in [
        "COMMIT; CREATE TABLE more (a int);",
        "commit/**/work;",
        "COMMIT; BEGIN; CREATE TABLE more (a int); END; SELECT 1;",
        "DO $$ BEGIN INSERT INTO kept VALUES (2); COMMIT; END $$;",
        "DO $$ BEGIN EXECUTE 'COM' || 'MIT'; END $$;",
        "CALL commits();",
        "SELECT runs('COMMIT');",
        "SELECT runs('CALL commits()');",
        "VACUUM; CREATE INDEX CONCURRENTLY i ON kept (a);",
        "SET SESSION AUTHORIZATION postgres; RESET ALL; DISCARD TEMP;",
        "SAVEPOINT a; INSERT INTO kept VALUES (3); ROLLBACK TO a; RELEASE a;",
        "SELECT 1;\u{b}COMMIT;",
        "\u{b}COMMIT;",
        "\u{b}PREPARE\u{b}TRANSACTION 'x';",
        "PREPARE\u{b}TRANSACTION 'x';",
        "\u{a0}COMMIT;",
        "PREPARE p AS INSERT INTO kept VALUES (4); EXECUTE p; DEALLOCATE ALL; EXECUTE p;",
        "COPY kept FROM PROGRAM 'echo 5';",
        "COPY kept TO PROGRAM 'cat';",
        "CREATE RULE r AS ON INSERT TO kept DO ALSO (SELECT 1; SELECT 2); INSERT INTO kept VALUES (6);",
        "SELECT ';COMMIT;' AS \"COMMIT\"; SELECT $x$;COMMIT;$x$;",
        "SET standard_conforming_strings = on; SELECT E'\\';COMMIT;--';",
        "SELECT set_config('transaction_timeout', '0', false); SELECT set_config('search_path', '', false);",
        "LOCK TABLE kept; SELECT pg_advisory_lock(1); NOTIFY x; LISTEN x;",
    ] {
        check(server, &format!("{make}\n{rest}"));
        check(server, &format!("{rest}\n{make}"));
    }
    check(
        server,
        &format!("-- schemagate: transaction=off\n{make} COMMIT; VACUUM;"),
    );
    check(server, &format!("BEGIN;\n{make}\nCOMMIT;\n"));
}

#[test]
fn nothing_is_committed_whatever_a_file_holds() {
    nothing_is_committed(Server::debian());
}

/// From 16 on a vertical tab is white space.
#[test]
fn nor_on_a_newer_server() {
    nothing_is_committed(Server::embedded("18"));
}
