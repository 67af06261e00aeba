use super::*;
use crate::sql::Options;

mod made;

/// The table that the integration tests hold against real servers.
const STATEMENTS: &str = include_str!("../../../tests/fixtures/risk/statements.tsv");

fn script(text: &str) -> Script {
    Script::prepare(text.to_owned(), Options::default()).unwrap()
}

fn assess_all(release: &mut Release, text: &str) -> Vec<Assessment> {
    let script = script(text);
    let statements: Vec<_> = script.statements().collect();
    statements
        .iter()
        .map(|statement| release.assess(statement))
        .collect()
}

/// The strongest lock on each relation, in the order of the first mention; those without a name last.
fn locks(assessment: &Assessment) -> String {
    let mut locks: Vec<(String, Lock, bool)> = Vec::new();
    for effect in &assessment.effects {
        let Some(lock) = effect.lock else { continue };
        let name = effect.object.as_ref();
        let name = name.map_or_else(|| "?".to_owned(), Name::to_string);
        match locks.iter_mut().find(|known| known.0 == name) {
            Some(known) => {
                known.1 = known.1.max(lock);
                known.2 |= effect.rewrite;
            }
            None => locks.push((name, lock, effect.rewrite)),
        }
    }
    locks.sort_by_key(|known| known.0 == "?");
    let shown: Vec<String> = locks
        .iter()
        .map(|(name, lock, rewrite)| format!("{name}: {lock}{}", if *rewrite { "!" } else { "" }))
        .collect();
    if shown.is_empty() {
        "-".to_owned()
    } else {
        shown.join(", ")
    }
}

#[test]
fn the_table_of_statements() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for line in STATEMENTS.lines().filter(|line| !line.starts_with('#')) {
        let columns: Vec<&str> = line.split('\t').collect();
        let [class, expected, remarks, sql] = columns[..] else {
            panic!("{line}");
        };
        let found = Release::new(0).assess(&script(sql).statements().next().unwrap());
        let opaque = remarks.split("; ").any(|remark| remark == "opaque");
        if (found.risk.word(), locks(&found).as_str(), found.opaque) != (class, expected, opaque) {
            wrong.push(format!(
                "{sql}\n  expected {class} {expected}\n  found    {} {} opaque={}",
                found.risk,
                locks(&found),
                found.opaque
            ));
        }
        count += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count >= 80, "{count}");
}

#[track_caller]
fn risks(release: &mut Release, text: &str, expected: &[Risk]) {
    let found: Vec<Risk> = assess_all(release, text).iter().map(|a| a.risk).collect();
    assert_eq!(found, expected, "{text}");
}

use Risk::{Blocking, Destructive, Rewrite, Safe};

#[test]
fn what_the_release_has_made_is_free_to_change() {
    for (text, expected) in [
        (
            "CREATE TABLE t (id int); ALTER TABLE t DROP COLUMN id; DROP TABLE t",
            &[Safe, Safe, Safe][..],
        ),
        // It is gone then: the next one of that name is another.
        (
            "CREATE TABLE t (id int); DROP TABLE t; DROP TABLE t",
            &[Safe, Safe, Destructive],
        ),
        (
            "CREATE TABLE t (id int); ALTER TABLE t RENAME TO u; DROP TABLE u; DROP TABLE t",
            &[Safe, Safe, Safe, Destructive],
        ),
        (
            "ALTER TABLE old RENAME TO t; DROP TABLE t",
            &[Blocking, Destructive],
        ),
        (
            "CREATE TABLE t (id int); ALTER TABLE t SET SCHEMA a; DROP TABLE a.t",
            &[Safe, Safe, Safe],
        ),
        (
            "CREATE TABLE IF NOT EXISTS t (id int); DROP TABLE t",
            &[Safe, Destructive],
        ),
        ("CREATE VIEW v AS SELECT 1; DROP VIEW v", &[Safe, Safe]),
        (
            "CREATE OR REPLACE VIEW v AS SELECT 1; DROP VIEW v",
            &[Blocking, Blocking],
        ),
        (
            "CREATE MATERIALIZED VIEW m AS SELECT 1; REFRESH MATERIALIZED VIEW m",
            &[Safe, Safe],
        ),
        (
            "CREATE TABLE t AS SELECT 1 a; CREATE INDEX i ON t (a)",
            &[Safe, Safe],
        ),
        ("SELECT 1 a INTO t; TRUNCATE t", &[Safe, Safe]),
        (
            "CREATE SCHEMA s; CREATE TABLE s.t (a int); DROP TABLE s.t",
            &[Safe, Safe, Safe],
        ),
        (
            "CREATE SCHEMA s; DROP SCHEMA s CASCADE; DROP SCHEMA s CASCADE",
            &[Safe, Safe, Destructive],
        ),
        (
            "CREATE SCHEMA IF NOT EXISTS s; DROP SCHEMA s CASCADE",
            &[Safe, Destructive],
        ),
        // An index is new, its table is not.
        (
            "CREATE INDEX CONCURRENTLY i ON users (a); DROP INDEX i",
            &[Safe, Blocking],
        ),
        (
            "CREATE TABLE t (a int); CREATE INDEX i ON t (a); DROP INDEX i",
            &[Safe, Safe, Safe],
        ),
        // Quoted names differ by case.
        (
            "CREATE TABLE \"T\" (a int); DROP TABLE t",
            &[Safe, Destructive],
        ),
        ("CREATE TABLE T (a int); DROP TABLE \"t\"", &[Safe, Safe]),
        // What is rolled back was never there.
        (
            "BEGIN; CREATE TABLE t (a int); ROLLBACK; DROP TABLE t",
            &[Safe, Safe, Safe, Destructive],
        ),
        // A block may not have come so far.
        (
            "DO $$ BEGIN CREATE TABLE t (a int); EXCEPTION WHEN duplicate_table THEN null; END $$; DROP TABLE t",
            &[Safe, Destructive],
        ),
        (
            "CREATE TABLE t (a int); DO $$ BEGIN DROP TABLE t; END $$",
            &[Safe, Safe],
        ),
        // Other tables are still those of others.
        (
            "CREATE TABLE t (a int REFERENCES users); DROP TABLE t",
            &[Blocking, Blocking],
        ),
        (
            "CREATE TABLE a (x int); CREATE TABLE t (a int REFERENCES a); DROP TABLE t",
            &[Safe, Safe, Safe],
        ),
        (
            "CREATE TABLE t (a int); DELETE FROM t; TRUNCATE t",
            &[Safe, Safe, Safe],
        ),
    ] {
        risks(&mut Release::new(0), text, expected);
    }
}

#[test]
fn a_name_without_a_schema_is_where_the_search_path_leads() {
    let drizzle = "CREATE TABLE users (id int); ALTER TABLE orders ADD FOREIGN KEY (u) REFERENCES public.users (id)";
    for (text, expected) in [
        // A lock is taken for granted, data is not.
        (
            "CREATE TABLE t (a int); CREATE INDEX ON public.t (a); DROP TABLE public.t",
            &[Safe, Safe, Destructive][..],
        ),
        (drizzle, &[Safe, Blocking]),
        (
            "SET search_path = app; CREATE TABLE t (a int); DROP TABLE t",
            &[Safe, Safe, Safe],
        ),
        (
            "CREATE TABLE t (a int); SET search_path = app; DROP TABLE t",
            &[Safe, Safe, Destructive],
        ),
        (
            "SET search_path = app; CREATE TABLE t (a int); RESET search_path; DROP TABLE t",
            &[Safe, Safe, Safe, Destructive],
        ),
        (
            "SELECT set_config('search_path', 'app', false); CREATE TABLE t (a int); SET ROLE x; DROP TABLE t",
            &[Safe, Safe, Safe, Destructive],
        ),
        (
            "CREATE TABLE app.t (a int); SET search_path = app; DROP TABLE app.t",
            &[Safe, Safe, Safe],
        ),
        (
            "CREATE TEMP TABLE t (a int); DROP TABLE t; DROP TABLE t",
            &[Safe, Safe, Destructive],
        ),
    ] {
        risks(&mut Release::new(0), text, expected);
    }
    let mut told = Release::new(0);
    told.set_current_schema("public");
    risks(
        &mut told,
        "CREATE TABLE t (a int); DROP TABLE public.t",
        &[Safe, Safe],
    );
    let mut told = Release::new(0);
    told.set_current_schema("app");
    risks(
        &mut told,
        "CREATE TABLE t (a int); CREATE INDEX ON public.t (a); DROP TABLE app.t",
        &[Safe, Blocking, Safe],
    );
}

#[test]
fn a_file_ends_what_it_has_set() {
    let mut release = Release::new(0);
    risks(
        &mut release,
        "CREATE TEMP TABLE x (a int); CREATE TABLE t (a int); SET search_path = app",
        &[Safe, Safe, Safe],
    );
    release.next_file();
    risks(
        &mut release,
        "DROP TABLE t; DROP TABLE x",
        &[Safe, Destructive],
    );
}

#[test]
fn offline_a_table_made_if_it_is_not_there_is_made() {
    let text = "CREATE TABLE IF NOT EXISTS t (a int); DROP TABLE public.t";
    risks(&mut Release::offline(0), text, &[Safe, Safe]);
}

#[test]
fn what_was_applied_is_in_use_but_known() {
    let mut release = Release::offline(0);
    let history = "CREATE TYPE mood AS ENUM ('ok'); CREATE DOMAIN positive AS int CHECK (VALUE > 0); CREATE DOMAIN label AS text; \
        CREATE TABLE t (name varchar(20) NOT NULL, price numeric(10, 2), n int)";
    assess_all(&mut release, history);
    release.applied();
    for (text, expected) in [
        ("ALTER TABLE t ADD COLUMN m mood", Blocking),
        ("ALTER TABLE t ADD COLUMN m public.mood", Blocking),
        ("ALTER TABLE t ADD COLUMN m label", Blocking),
        ("ALTER TABLE t ADD COLUMN m positive", Rewrite),
        ("ALTER TABLE t ALTER COLUMN name TYPE varchar(40)", Blocking),
        ("ALTER TABLE t ALTER COLUMN name TYPE text", Blocking),
        // Now it is a text.
        ("ALTER TABLE t ALTER COLUMN name TYPE varchar(40)", Rewrite),
        (
            "ALTER TABLE t ALTER COLUMN price TYPE numeric(12, 2)",
            Blocking,
        ),
        (
            "ALTER TABLE t ALTER COLUMN price TYPE numeric(12, 2) USING price",
            Rewrite,
        ),
        ("ALTER TABLE t ALTER COLUMN n TYPE bigint", Rewrite),
        ("ALTER TABLE t RENAME COLUMN n TO m", Blocking),
        ("ALTER TABLE t ALTER COLUMN m TYPE bigint", Blocking),
        ("DROP TABLE t", Destructive),
    ] {
        risks(&mut release, text, &[expected]);
    }
}

#[test]
fn blocks_and_dynamic_sql() {
    for (text, risk, opaque) in [
        ("DO $$ BEGIN PERFORM 1; END $$", Safe, false),
        ("DO $$ BEGIN NULL; END $$", Safe, false),
        (
            "DO $x$ DECLARE r record; BEGIN FOR r IN SELECT * FROM t LOOP DELETE FROM u WHERE id = r.id; END LOOP; END $x$",
            Destructive,
            false,
        ),
        (
            "DO $$ BEGIN IF EXISTS (SELECT 1) THEN ALTER TABLE t ADD COLUMN a int; ELSE TRUNCATE t; END IF; END $$",
            Destructive,
            false,
        ),
        (
            "DO $$ <<here>> BEGIN DROP TABLE t; END $$",
            Destructive,
            false,
        ),
        (
            "DO LANGUAGE plpgsql 'BEGIN EXECUTE ''DROP TABLE '' || x; END'",
            Destructive,
            true,
        ),
        (
            "DO $$ BEGIN EXECUTE format('DROP TABLE %I', t); END $$",
            Destructive,
            true,
        ),
        (
            "DO $$ BEGIN EXECUTE 'CREATE TABLE ' || a; EXECUTE 'DROP TABLE ' || a; END $$",
            Destructive,
            true,
        ),
        (
            "DO $$ BEGIN EXECUTE format('%s TABLE t', 'DROP'); END $$",
            Destructive,
            true,
        ),
        (
            r"DO $$ BEGIN EXECUTE E'dr\x6fp\ntable t'; END $$",
            Destructive,
            true,
        ),
        (r"DO E'BEGIN\n DROP TABLE t;\nEND'", Destructive, false),
        (r"DO U&'BEGIN \0044ROP TABLE t; END'", Destructive, false),
        ("DO 'BEGIN DROP '\n'TABLE t; END'", Destructive, false),
        (
            "DO $$ BEGIN DROP TABLE t; END $$ LANGUAGE 'plpgsql'",
            Destructive,
            false,
        ),
        (
            r"DO E'BEGIN EXECUTE \'DROP TABLE t\'; END'",
            Destructive,
            true,
        ),
        ("DO $$ BEGIN EXECUTE stmt USING 1; END $$", Blocking, true),
        (
            "DO $$ BEGIN PERFORM create_partitions(); END $$",
            Blocking,
            true,
        ),
        ("DO $$ BEGIN CALL p(); END $$", Blocking, true),
        (
            "DO LANGUAGE plpython3u $$ plpy.execute('drop table t') $$",
            Destructive,
            true,
        ),
        (
            "DO LANGUAGE plperl $$ spi_exec_query('x') $$",
            Blocking,
            true,
        ),
        ("CALL p()", Blocking, true),
        ("SELECT create_hypertable('t', 'at')", Blocking, true),
        (
            "SELECT lower(name), count(*) FROM t WHERE a IN (1) GROUP BY (name)",
            Safe,
            false,
        ),
        ("SELECT f(name) FROM t", Safe, true),
        ("SELECT app.now()", Blocking, true),
        (
            "CREATE FUNCTION f() RETURNS void LANGUAGE sql AS $$ DROP TABLE t $$",
            Safe,
            false,
        ),
        (
            "CREATE PROCEDURE p() LANGUAGE plpgsql AS $$ BEGIN DROP TABLE t; END $$",
            Safe,
            false,
        ),
        ("INSERT INTO t SELECT 1", Safe, false),
        (
            "INSERT INTO t WITH x AS (DELETE FROM u RETURNING *) SELECT * FROM x",
            Destructive,
            false,
        ),
        (
            "WITH x AS (SELECT 1) SELECT * FROM x FOR UPDATE",
            Safe,
            false,
        ),
        ("PREPARE d AS DELETE FROM t", Destructive, false),
        ("EXPLAIN DELETE FROM t", Safe, false),
        ("EXPLAIN (ANALYZE false) DELETE FROM t", Safe, false),
        ("EXPLAIN (COSTS, ANALYZE) DELETE FROM t", Destructive, false),
        ("((SELECT 1))", Safe, false),
        ("FROBNICATE TABLE t", Blocking, true),
        ("FROBNICATE AND DROP t", Destructive, true),
        ("ALTER TABLE t FROBNICATE", Rewrite, true),
        ("ALTER FROBNICATOR t", Blocking, true),
    ] {
        let found = &assess_all(&mut Release::new(0), text)[0];
        assert_eq!(
            (found.risk, found.opaque),
            (risk, opaque),
            "{text}: {found:?}"
        );
    }
}

#[test]
fn the_version_decides() {
    for (version, text, expected) in [
        (170_000, "ALTER DOMAIN d VALIDATE CONSTRAINT c", Blocking),
        (0, "ALTER DOMAIN d VALIDATE CONSTRAINT c", Blocking),
        (180_000, "ALTER DOMAIN d VALIDATE CONSTRAINT c", Safe),
    ] {
        risks(&mut Release::new(version), text, &[expected]);
    }
}

#[test]
fn rows_are_not_kept() {
    let mut text = "INSERT INTO t (a) VALUES (1);\n".repeat(10_000);
    text.push_str(&"ALTER TABLE t ADD COLUMN a int;\n".repeat(2_000));
    text.push_str("DROP TABLE t;");
    let file = Release::new(0).file(&script(&text));
    assert_eq!((file.statements, file.notable.len()), (12_001, NOTABLE));
    assert_eq!(file.risk, Destructive);
    assert_eq!(file.notable.last().unwrap().risk, Destructive);
    assert_eq!(file.notable.last().unwrap().line, 12_001);
}

/// Nothing here is recursive over the text, so a small stack is enough for whatever a file holds.
#[test]
fn hostile_statements_end_on_a_small_stack() {
    let many = |part: &str| part.repeat(1 << 20 / part.len().max(1).ilog2().max(1));
    let nested =
        |open: &str, close: &str| format!("{}1{}", open.repeat(200_000), close.repeat(200_000));
    let texts = vec![
        format!("SELECT {}", nested("(", ")")),
        format!("ALTER TABLE t ADD CHECK ({})", nested("(", ")")),
        format!(
            "ALTER TABLE t ADD COLUMN a int DEFAULT {}",
            nested("f(", ")")
        ),
        format!("ALTER TABLE t ADD CHECK ({} a)", "NOT ".repeat(300_000)),
        format!("UPDATE t SET a = 1 WHERE {} b", "a AND ".repeat(200_000)),
        format!("ALTER TABLE t {}ADD a int", "ADD a int, ".repeat(100_000)),
        format!("DROP TABLE {}t", "t, ".repeat(200_000)),
        format!("DO $$ BEGIN {} END $$", "DROP TABLE t; ".repeat(50_000)),
        format!("DO $a$ {} $a$", "BEGIN ".repeat(200_000)),
        format!(
            "CREATE TABLE t ({}a int)",
            "a int REFERENCES u, ".repeat(50_000)
        ),
        format!("{}SELECT 1", "EXPLAIN ANALYZE ".repeat(50_000)),
        format!("{}DELETE FROM t", "PREPARE a AS ".repeat(50_000)),
        format!("SELECT {}", nested("[", "]")),
        format!("ALTER TABLE {}t ADD a int", "a.".repeat(100_000)),
        format!("CREATE TABLE t (a {})", "int[] ".repeat(100_000)),
        format!("SELECT '{}'", many("x")),
        "ALTER TABLE".to_owned(),
        "ALTER TABLE t".to_owned(),
        "ALTER TABLE t ADD".to_owned(),
        "CREATE INDEX ON".to_owned(),
        "DO".to_owned(),
        "DO $$".to_owned(),
        "COMMENT ON".to_owned(),
        "LOCK ,".to_owned(),
        "ALTER TABLE t ALTER COLUMN a TYPE".to_owned(),
        "🦀".to_owned(),
        "ALTER TABLE \"🦀 \"\" x\" DROP COLUMN \"💥\"".to_owned(),
        "ALTER TABLE t ADD a int[".to_owned(),
        "ALTER TABLE t ADD a int DEFAULT (".to_owned(),
    ];
    let thread = std::thread::Builder::new().stack_size(256 * 1024);
    let read = thread.spawn(move || {
        for text in &texts {
            // As it stands: what no file can hold must not hurt either.
            let reader_risk = Release::new(0).read(text).risk();
            let _ = reader_risk;
        }
    });
    read.unwrap().join().unwrap();
}
