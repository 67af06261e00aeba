use super::*;
use crate::sql::Options;

fn read(text: &str) -> Vec<Need> {
    let options = Options {
        marker: None,
        in_transaction: true,
    };
    needs(&Script::prepare(text.to_owned(), options).unwrap())
}

/// One word a need: `+table s.t` is made, `=` altered, `~` moved, `-` dropped, `--` with all that depends on it; `?` is
/// without an error where it is there.
fn shown(what: &What) -> String {
    match what {
        What::Create {
            object,
            name,
            lenient,
        } => format!(
            "+{} {name}{}",
            object.word().to_ascii_lowercase(),
            if *lenient { "?" } else { "" }
        ),
        What::Own { object, name, act } => {
            let act = match act {
                Act::Alter => "=",
                Act::Move => "~",
                Act::Drop { cascade: false } => "-",
                Act::Drop { cascade: true } => "--",
            };
            format!("{act}{} {name}", object.word().to_ascii_lowercase())
        }
        What::Privilege { privilege, name } => format!("{privilege} {name}"),
        What::Extension {
            name,
            version,
            lenient,
            cascade,
        } => format!("ext {name} {version:?} {lenient} {cascade}"),
        What::UpdateExtension { name, version } => format!("update {name} {version:?}"),
        What::Version { since, .. } => format!("since {since}"),
        What::Role => "role".to_owned(),
        What::Path => "path".to_owned(),
        What::Grants => "grants".to_owned(),
        What::Opaque => "opaque".to_owned(),
    }
}

#[track_caller]
fn check(text: &str, expected: &[&str]) {
    let found: Vec<String> = read(text).iter().map(|need| shown(&need.what)).collect();
    assert_eq!(found, expected, "{text}");
}

#[test]
fn what_is_created() {
    check("CREATE TABLE s.\"T\" (a int)", &["+table s.T"]);
    check(
        "create unlogged table if not exists t (a int references u, b int, foreign key (b) references v.w (x))",
        &["+table t?", "REFERENCES u", "REFERENCES v.w"],
    );
    check("CREATE TEMP TABLE t (a int)", &["~table t", "path"]);
    check(
        "CREATE TABLE pg_temp.t (a int)",
        &["~table pg_temp.t", "path"],
    );
    check("CREATE TABLE t AS SELECT f()", &["+table t", "opaque"]);
    check("CREATE TABLE t (a) AS SELECT 1", &["+table t", "opaque"]);
    check(
        "CREATE TABLE p1 PARTITION OF p DEFAULT",
        &["+table p1", "=table p"],
    );
    check(
        "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS i ON ONLY s.t (a) NULLS NOT DISTINCT",
        &["=table s.t", "+index s.i?", "since 15"],
    );
    check("CREATE INDEX ON t (a)", &["=table t"]);
    check("CREATE OR REPLACE VIEW v AS SELECT 1", &["+view v?"]);
    check("CREATE RECURSIVE VIEW v (a) AS SELECT 1", &["+view v"]);
    check("CREATE TYPE s.e AS ENUM ('a')", &["+type s.e"]);
    check("CREATE DOMAIN d AS int", &["+domain d"]);
    check("CREATE SEQUENCE IF NOT EXISTS q", &["+sequence q?"]);
    check(
        "CREATE OR REPLACE FUNCTION s.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        &["+routine s.f?"],
    );
    check("CREATE SCHEMA IF NOT EXISTS s", &["+schema s?"]);
    check("CREATE SCHEMA AUTHORIZATION r", &["+schema r"]);
    check(
        "CREATE SCHEMA s CREATE TABLE t ()",
        &["+schema s", "opaque"],
    );
}

#[test]
fn extensions() {
    check("CREATE EXTENSION vector", &["ext vector None false false"]);
    check(
        "CREATE EXTENSION IF NOT EXISTS \"uuid-ossp\" WITH SCHEMA x VERSION '1.1' CASCADE",
        &["ext uuid-ossp Some(\"1.1\") true true"],
    );
    check(
        "ALTER EXTENSION vector UPDATE TO '0.8.0'",
        &["update vector Some(\"0.8.0\")"],
    );
    check("ALTER EXTENSION vector UPDATE", &["update vector None"]);
    check("ALTER EXTENSION x SET SCHEMA s", &["~extension x"]);
    check("DROP EXTENSION IF EXISTS x CASCADE", &["--extension x"]);
}

#[test]
fn what_is_changed() {
    check(
        "ALTER TABLE IF EXISTS ONLY s.t ADD COLUMN a int REFERENCES u (b)",
        &["=table s.t", "REFERENCES u"],
    );
    check("ALTER TABLE t RENAME TO u", &["~table t"]);
    check("ALTER TABLE t DROP COLUMN a", &["~table t"]);
    check("ALTER TABLE t OWNER TO r", &["~table t"]);
    check(
        "ALTER TABLE t DETACH PARTITION p CONCURRENTLY",
        &["=table t", "since 14"],
    );
    check("ALTER TYPE e ADD VALUE 'x'", &["=type e"]);
    check("ALTER TABLE ALL IN TABLESPACE x SET TABLESPACE y", &[]);
    check(
        "DROP TABLE IF EXISTS a, s.b CASCADE",
        &["--table a", "--table s.b"],
    );
    check("DROP INDEX CONCURRENTLY i", &["-index i"]);
    check("DROP OWNED BY r", &["opaque"]);
    check("DROP TRIGGER g ON t", &[]);
    check(
        "CREATE OR REPLACE TRIGGER g AFTER UPDATE OF a, b ON s.t EXECUTE FUNCTION f()",
        &["since 14", "TRIGGER s.t"],
    );
    check(
        "CREATE CONSTRAINT TRIGGER g AFTER INSERT ON t DEFERRABLE FOR EACH ROW EXECUTE FUNCTION f()",
        &["TRIGGER t"],
    );
    check("CREATE POLICY p ON t FOR SELECT TO r", &["=table t"]);
    check(
        "CREATE RULE r AS ON INSERT TO t DO INSTEAD NOTHING",
        &["=table t"],
    );
    check("ALTER POLICY p ON s.t TO r", &["=table s.t"]);
}

#[test]
fn rows_and_what_nobody_knows() {
    check("INSERT INTO s.t VALUES (1)", &["INSERT s.t"]);
    check("UPDATE ONLY t SET a = 1", &["UPDATE t"]);
    check("DELETE FROM t", &["DELETE t"]);
    check("TRUNCATE TABLE ONLY a, b", &["TRUNCATE a", "TRUNCATE b"]);
    check("COPY t (a) FROM '/x'", &["INSERT t"]);
    check("COPY (SELECT 1) TO '/x'", &["opaque"]);
    check("SELECT f()", &["opaque"]);
    check("SELECT setval('s', 1)", &[]);
    check("SELECT pg_catalog.setval('s', 1, f())", &[]);
    check("SELECT setval('s', 1), f()", &["opaque"]);
    check(
        "SELECT pg_catalog.set_config('search_path', '', false)",
        &["path"],
    );
    check("SET search_path = x; RESET ROLE", &["path", "role"]);
    check("SET LOCAL lock_timeout = 1", &[]);
    check("DO $$BEGIN END$$; CALL p()", &["opaque", "opaque"]);
    check("GRANT a TO b; REVOKE c FROM d", &["grants", "grants"]);
    check("CREATE USER u PASSWORD 'x'", &["grants"]);
    check(
        "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO r",
        &["grants"],
    );
    check("ALTER DATABASE d SET search_path = x", &["path"]);
    check(
        "MERGE INTO t USING u ON true WHEN MATCHED THEN DELETE",
        &["since 15"],
    );
    check("COMMENT ON TABLE t IS 'CREATE TABLE x'", &[]);
}

#[test]
fn nonsense_needs_nothing() {
    for text in [
        "CREATE",
        "ALTER TABLE",
        "DROP",
        "CREATE INDEX ON",
        "CREATE TABLE",
        "INSERT INTO",
        "ALTER EXTENSION",
        "CREATE EXTENSION",
        "CREATE TRIGGER x",
        "CREATE SCHEMA",
        "COPY",
        "1",
        "\"create\" table t",
        "ALTER TYPE 1",
    ] {
        check(text, &[]);
    }
}

#[test]
fn places_and_an_end() {
    let found = read("\nCREATE TABLE a ();\n\nDROP TABLE b;");
    let places: Vec<_> = found
        .iter()
        .map(|need| (need.line, need.statement))
        .collect();
    assert_eq!(places, [(2, 0), (4, 1)]);
    let many = read(&"DROP TABLE x;".repeat(MAX_NEEDS + 10));
    assert_eq!(many.len(), MAX_NEEDS + 1);
    assert_eq!(many.last().unwrap().what, What::Opaque);
}
