use super::*;
use crate::sql::Options;

mod made;
mod release;

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

#[track_caller]
fn judged(text: &str, risk: Risk, opaque: bool) {
    let found = &assess_all(&mut Release::new(0), text)[0];
    assert_eq!(
        (found.risk, found.opaque),
        (risk, opaque),
        "{text}: {found:?}"
    );
}

#[test]
fn blocks_in_every_kind_of_string() {
    for (text, risk, opaque) in [
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
    ] {
        judged(text, risk, opaque);
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
        ("DO $$ BEGIN EXECUTE stmt USING 1; END $$", Blocking, true),
        (
            "DO $$ BEGIN PERFORM create_partitions(); END $$",
            Blocking,
            true,
        ),
        ("DO $$ BEGIN CALL p(); END $$", Blocking, true),
        (
            "DO $$ BEGIN GRANT EXECUTE ON FUNCTION f() TO x; END $$",
            Safe,
            false,
        ),
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
    ] {
        judged(text, risk, opaque);
    }
}

#[test]
fn commands_in_commands_and_unknown_ones() {
    for (text, risk, opaque) in [
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
        judged(text, risk, opaque);
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
        format!("SELECT '{}'", "x".repeat(1 << 20)),
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
