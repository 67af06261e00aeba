use super::*;
use crate::sql::session::Setting;

#[track_caller]
fn check(statement: &str, expected: &Kind) {
    assert_eq!(classify(statement), *expected, "{statement}");
}

fn session(local: bool, setting: Setting) -> Kind {
    Kind::Session(Session { local, setting })
}

#[test]
fn transactions_begin() {
    for usual in [
        "BEGIN",
        "begin work",
        "BEGIN TRANSACTION",
        "START TRANSACTION",
        "BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE NOT DEFERRABLE",
        "START TRANSACTION READ WRITE, ISOLATION LEVEL READ UNCOMMITTED",
        "BEGIN /* now */",
    ] {
        check(usual, &Kind::Begin { usual_modes: true });
    }
    for other in [
        "BEGIN ISOLATION LEVEL SERIALIZABLE",
        "BEGIN READ ONLY",
        "START TRANSACTION READ WRITE, DEFERRABLE",
        "BEGIN nonsense",
    ] {
        check(other, &Kind::Begin { usual_modes: false });
    }
    check("START WITH 1", &Kind::Plain);
}

#[test]
fn transactions_end() {
    for commit in [
        "COMMIT",
        "commit work",
        "END",
        "END TRANSACTION",
        "COMMIT AND NO CHAIN",
    ] {
        check(commit, &Kind::Commit);
    }
    check("COMMIT AND CHAIN", &Kind::CommitAndChain);
    check("END WORK AND CHAIN", &Kind::CommitAndChain);
    check("COMMIT PREPARED 'x'", &Kind::CommitPrepared);
    for rollback in [
        "ROLLBACK",
        "ABORT",
        "ROLLBACK WORK",
        "rollback and no chain",
    ] {
        check(rollback, &Kind::Rollback);
    }
    check("ROLLBACK TRANSACTION AND CHAIN", &Kind::RollbackAndChain);
    check("ROLLBACK PREPARED 'x'", &Kind::RollbackPrepared);
    check("PREPARE TRANSACTION 'x'", &Kind::PrepareTransaction);
    check("PREPARE p AS SELECT 1", &Kind::Plain);
    // Not SQL: left to the server.
    check("COMMIT now", &Kind::Plain);
    check("END LOOP", &Kind::Plain);
    check("\"commit\"", &Kind::Plain);
    check("committed", &Kind::Plain);
}

#[test]
fn savepoints() {
    check("SAVEPOINT A", &Kind::Savepoint("a".to_owned()));
    check("RELEASE a", &Kind::Release("a".to_owned()));
    check("RELEASE SAVEPOINT \"A\"", &Kind::Release("A".to_owned()));
    check("ROLLBACK TO a", &Kind::RollbackTo("a".to_owned()));
    check(
        "ROLLBACK WORK TO SAVEPOINT a",
        &Kind::RollbackTo("a".to_owned()),
    );
    check("ABORT TO a", &Kind::RollbackTo("a".to_owned()));
    check("SAVEPOINT", &Kind::Plain);
}

#[test]
fn settings() {
    let other = |name: &str| Setting::Other(name.to_owned());
    for (statement, local, setting) in [
        ("SET Lock_Timeout = '2s'", false, other("lock_timeout")),
        ("SET LOCAL lock_timeout TO 0", true, other("lock_timeout")),
        ("SET SESSION my.setting = 'x'", false, other("my.setting")),
        ("SET search_path = a, b", false, Setting::SearchPath),
        ("SET SCHEMA 'a'", false, Setting::SearchPath),
        ("SET ROLE app", false, Setting::Role),
        ("SET LOCAL ROLE app", true, Setting::Role),
        (
            "SET SESSION AUTHORIZATION app",
            false,
            Setting::SessionAuthorization,
        ),
        (
            "SET LOCAL SESSION AUTHORIZATION app",
            true,
            Setting::SessionAuthorization,
        ),
        ("SET TIME ZONE 'UTC'", false, other("timezone")),
        ("SET NAMES 'UTF8'", false, other("client_encoding")),
        ("RESET ALL", false, Setting::All),
        ("RESET ROLE", false, Setting::Role),
        (
            "RESET SESSION AUTHORIZATION",
            false,
            Setting::SessionAuthorization,
        ),
        ("RESET search_path", false, Setting::SearchPath),
        (
            "SELECT pg_catalog.set_config('search_path', '', false)",
            false,
            Setting::SearchPath,
        ),
        (
            "select set_config('Role', 'app', true)",
            true,
            Setting::Role,
        ),
        (
            "SELECT set_config('a.b', $$x$$ , false)",
            false,
            Setting::Other(String::new()),
        ),
    ] {
        if statement.contains("$$") {
            check(statement, &Kind::Plain);
        } else {
            check(statement, &session(local, setting));
        }
    }
}

#[test]
fn what_only_looks_like_a_setting() {
    for plain in [
        "SET CONSTRAINTS ALL DEFERRED",
        "SELECT set_config('a.b', f(), false)",
        "SELECT set_config('a.b', 'x', false), 1",
        "SELECT set_config('a.b', 'x', false) FROM t",
        "SELECT set_config(x, 'y', false)",
        "SELECT set_config('a.b', 'x', y)",
        "SELECT set_config('a.b'",
        "SELECT 1",
        "SET",
    ] {
        check(plain, &Kind::Plain);
    }
    for transaction in [
        "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "SET LOCAL TRANSACTION READ ONLY",
        "SET transaction_isolation = 'serializable'",
        "SELECT set_config('transaction_read_only', 'on', true)",
    ] {
        check(transaction, &Kind::SetTransaction);
    }
    let defaults = Session {
        local: false,
        setting: Setting::Other("default_transaction_modes".to_owned()),
    };
    check(
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
        &Kind::Session(defaults),
    );
}

#[test]
fn copies() {
    for from in [
        "COPY t FROM STDIN",
        "copy s.\"T\" (a, b) from stdin with (format csv)",
        "COPY t (a, b) FROM stdin CSV HEADER",
        "COPY BINARY t FROM STDIN",
        "COPY t FROM /* x */ STDIN",
    ] {
        check(from, &Kind::CopyFromStdin);
    }
    for to in [
        "COPY t TO STDOUT",
        "COPY (SELECT (1)) TO STDOUT",
        "COPY t (a) TO stdout CSV",
    ] {
        check(to, &Kind::CopyToStdout);
    }
    for plain in [
        "COPY t FROM '/tmp/x'",
        "COPY t FROM PROGRAM 'x'",
        "COPY t TO '/tmp/x'",
        "COPY (SELECT 1) TO PROGRAM 'cat'",
        "COPY",
    ] {
        check(plain, &Kind::Plain);
    }
    check("CALL p()", &Kind::Call);
}

#[test]
fn enum_values() {
    assert!(adds_enum_value(
        "ALTER TYPE s.e ADD VALUE IF NOT EXISTS 'x'"
    ));
    assert!(!adds_enum_value("ALTER TYPE e RENAME VALUE 'x' TO 'y'"));
    assert!(!adds_enum_value("ALTER TYPE c ADD ATTRIBUTE value int"));
}

#[test]
fn what_reads_other_than_in_psql_is_known() {
    use crate::sql::session::misreads;
    let refused = |statement: &str| match classify(statement) {
        Kind::Session(session) => misreads(statement, &session).is_some(),
        other => panic!("{statement}: {other:?}"),
    };
    for statement in [
        "SET standard_conforming_strings = off",
        "SET LOCAL standard_conforming_strings TO 'false'",
        "SELECT pg_catalog.set_config('standard_conforming_strings', 'off', false)",
        "SET client_encoding = 'LATIN1'",
        "SET NAMES 'SQL_ASCII'",
    ] {
        assert!(refused(statement), "{statement}");
    }
    for statement in [
        "SET standard_conforming_strings = on",
        "SELECT pg_catalog.set_config('standard_conforming_strings', 'on', false)",
        "SET client_encoding = 'UTF8'",
        "SET client_encoding TO utf8",
        "RESET client_encoding",
        "SET lock_timeout = 0",
    ] {
        assert!(!refused(statement), "{statement}");
    }
}
