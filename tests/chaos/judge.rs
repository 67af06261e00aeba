//! The verdict on a database: is it what an undisturbed run leaves, and nothing else.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use crate::folder::Made;
use crate::harness::Database;

/// All that must be equal: the schema as `pg_dump` says it, and every row of every table.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Picture {
    pub(crate) schema: String,
    pub(crate) data: String,
}

/// Looks at a database.
pub(crate) fn picture(database: &Database<'_>) -> Picture {
    let session = database.session();
    let tables = session.query(
        "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = 'public' AND c.relkind = 'r' ORDER BY 1",
    );
    let mut data = String::new();
    for table in tables.iter().flatten() {
        let rows = if table == "ledger" {
            "string_agg(x::text, ' ' ORDER BY x::text)"
        } else {
            "count(*) || ' rows, ' || md5(string_agg(x::text, ' ' ORDER BY x::text))"
        };
        let rows = session.value(&format!("SELECT {rows} FROM {table} x"));
        let _ = writeln!(data, "{table}: {rows}");
    }
    Picture {
        schema: database.schema_dump(),
        data,
    }
}

/// The history table's version column, as SQL, with the table.
fn history(made: &Made) -> (&'static str, &'static str) {
    if made.is_drizzle {
        (
            "((created_at - 1700000000000) / 1000)::text",
            "drizzle.__drizzle_migrations",
        )
    } else {
        ("version", "schemagate.history")
    }
}

/// What the history says, in the order of the versions.
fn expected(made: &Made) -> Vec<String> {
    if made.is_drizzle {
        (0..made.versions.len()).map(|at| at.to_string()).collect()
    } else {
        made.versions.clone()
    }
}

/// Everything that is wrong with the end of a round.
pub(crate) fn faults_of(database: &Database<'_>, made: &Made, calm: &Picture) -> Vec<String> {
    let mut wrong = Vec::new();
    let session = database.session();
    let (version, table) = history(made);
    let rows: Vec<String> = session
        .query(&format!(
            "SELECT {version} FROM {table} ORDER BY {version}::int"
        ))
        .concat();
    if rows != expected(made) {
        wrong.push(format!("the history has {rows:?}"));
    }
    let applied = session.query(
        "SELECT version, count(*) FROM schemagate.journal WHERE event = 'applied'
         GROUP BY version HAVING count(*) <> 1",
    );
    if !applied.is_empty() {
        wrong.push(format!("the journal has more than one row for {applied:?}"));
    }
    let invalid = session.query(
        "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid OR NOT indisready",
    );
    if !invalid.is_empty() {
        wrong.push(format!("invalid indexes are left: {invalid:?}"));
    }
    if !database.has_no_advisory_lock() {
        wrong.push("an advisory lock is left".to_owned());
    }
    let picture = picture(database);
    if picture.data != calm.data {
        wrong.push(format!(
            "the data differs\n--- undisturbed\n{}--- here\n{}",
            calm.data, picture.data
        ));
    }
    if picture.schema != calm.schema {
        wrong.push(format!(
            "the schema differs\n--- undisturbed\n{}\n--- here\n{}",
            calm.schema, picture.schema
        ));
    }
    wrong
}

/// When the last migration was committed.
pub(crate) fn last_commit(database: &Database<'_>, made: &Made) -> SystemTime {
    let (_, table) = history(made);
    let micros = database.value(&format!(
        "SELECT (extract(epoch FROM max(pg_xact_commit_timestamp(xmin))) * 1000000)::int8 FROM {table}"
    ));
    let micros = micros.parse().expect("a time after 1970");
    SystemTime::UNIX_EPOCH + Duration::from_micros(micros)
}

/// Whether a migration is, or in this run was, begun and not done outside a transaction: what code 6 claims.
pub(crate) fn was_dirty(database: &Database<'_>, version: &str) -> bool {
    database.value(&format!(
        "SELECT EXISTS (SELECT 1 FROM schemagate.journal i WHERE i.event = 'intent' AND i.version = '{version}'
           AND NOT EXISTS (SELECT 1 FROM schemagate.journal d WHERE d.version = i.version AND d.id > i.id
                           AND d.event = 'statement_done' AND d.statement = i.statement
                           AND NOT EXISTS (SELECT 1 FROM schemagate.journal r WHERE r.version = i.version
                                           AND r.event = 'repaired' AND r.id BETWEEN i.id AND d.id)))"
    )) == "t"
}

/// Whatever is put wrong by hand is seen.
#[test]
fn the_judge_sees_what_is_wrong() {
    use crate::choice::Choice;
    use crate::folder::{Link, make};
    use crate::harness::{Schemagate, Server};

    let server = Server::debian();
    let made = make(&mut Choice::new(1), Link::Pooled);
    let right = server.database();
    Schemagate::migrate(&right, &made.folder)
        .run()
        .assert_code(0);
    let calm = picture(&right);
    assert_eq!(faults_of(&right, &made, &calm), Vec::<String>::new());
    let (_, history) = history(&made);
    for (sabotage, told) in [
        ("INSERT INTO ledger SELECT * FROM ledger LIMIT 1", "the data differs"),
        ("UPDATE t1 SET n = n + 1 WHERE id = 1", "the data differs"),
        ("CREATE INDEX one_too_many ON t1 (n)", "the schema differs"),
        (
            "UPDATE pg_index SET indisvalid = false WHERE indrelid = 't1'::regclass",
            "invalid indexes",
        ),
        (&format!("DELETE FROM {history}"), "the history has []"),
        (
            "INSERT INTO schemagate.journal (run, history, event, actor, version)
             SELECT run, history, event, actor, version FROM schemagate.journal WHERE event = 'applied' LIMIT 1",
            "the journal has more than one row",
        ),
    ] {
        let wrong = server.copy(&right);
        wrong.query(sabotage);
        let found = faults_of(&wrong, &made, &calm);
        assert!(
            found.iter().any(|fault| fault.starts_with(told)),
            "{sabotage}: {found:?}"
        );
    }
    let holder = right.session();
    holder.query("SELECT pg_advisory_lock(1)");
    let found = faults_of(&right, &made, &calm);
    assert_eq!(found, ["an advisory lock is left"]);
}
