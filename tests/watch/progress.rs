//! How far a long statement is, as a line of the log every ten seconds.

use crate::harness::{PgBouncer, Server};
use crate::slow::{SECONDS, lines, migrate, one, table};

const BUILD: &str = "CREATE INDEX parcels_slowly ON parcels (slowly(id));";

#[test]
fn an_index_build_in_a_transaction() {
    let database = Server::debian().database();
    table(&database);
    let outcome = migrate(&database.url(), &one(BUILD)).run();
    outcome.assert_code(0);
    let lines = lines(&outcome);
    assert_eq!(lines.len(), 1, "one in {SECONDS} s\n{outcome}");
    let line = &lines[0];
    assert_eq!(line["level"], "INFO", "{line}");
    assert_eq!(line["version"], "0001", "{line}");
    assert_eq!(line["command"], "CREATE INDEX", "{line}");
    assert_eq!(line["phase"], "building index: scanning table", "{line}");
    assert_eq!(line["relation"], "parcels", "{line}");
    assert_eq!(line["unit"], "blocks", "{line}");
    assert_eq!(line["total"], SECONDS, "{line}");
    let done = line["done"].as_u64().unwrap();
    assert!((5..u64::from(SECONDS)).contains(&done), "{line}");
    assert_eq!(line["percent"], done * 100 / u64::from(SECONDS), "{line}");
    assert!(line["elapsed_ms"].as_u64().unwrap() >= 10_000, "{line}");
    assert!(line.get("blocked_by").is_none(), "{line}");
}

#[test]
fn a_copy_counts_its_rows() {
    let database = Server::debian().database();
    table(&database);
    database.query(
        "CREATE FUNCTION slow_row() RETURNS trigger LANGUAGE plpgsql AS
         'BEGIN PERFORM slowly(new.id); RETURN new; END';
         CREATE TABLE copied (id int);
         CREATE TRIGGER slow BEFORE INSERT ON copied FOR EACH ROW EXECUTE FUNCTION slow_row()",
    );
    let rows: String = (0..SECONDS)
        .flat_map(|row| [row.to_string(), "\n".to_owned()])
        .collect();
    let folder = one(&format!("COPY copied FROM stdin;\n{rows}\\.\n"));
    let outcome = migrate(&database.url(), &folder).run();
    outcome.assert_code(0);
    let line = lines(&outcome).pop().expect("a line");
    assert_eq!(line["command"], "COPY FROM", "{line}");
    assert_eq!(line["relation"], "copied", "{line}");
    assert_eq!(line["unit"], "tuples", "{line}");
    assert!(
        line["done"].as_u64().is_some_and(|done| done >= 5),
        "{line}"
    );
    assert!(
        line.get("percent").is_none(),
        "nobody knows the end: {line}"
    );
}

/// Where PostgreSQL has no view there is still a sign of life; and each version's views can be asked.
#[test]
fn what_has_no_view_is_running() {
    std::thread::scope(|scope| {
        for major in ["14", "18"] {
            scope.spawn(move || {
                let database = Server::embedded(major).database();
                let folder = one(&format!("SELECT pg_sleep({SECONDS});"));
                let outcome = migrate(&database.url(), &folder).run();
                outcome.assert_code(0);
                let line = lines(&outcome).pop().expect("a line");
                assert_eq!(line["message"], "still running", "{line}");
                assert!(line.get("command").is_none(), "{line}");
            });
        }
    });
}

/// The pooler tells nobody on which server connection a statement runs.
#[test]
fn behind_a_transaction_pooler_the_statement_is_found_by_name() {
    let database = Server::debian().database();
    table(&database);
    let pooler = PgBouncer::start(Server::debian(), "transaction", 5);
    let folder = one("CREATE INDEX CONCURRENTLY parcels_slowly ON parcels (slowly(id));");
    let outcome = migrate(&pooler.url(&database), &folder).run();
    outcome.assert_code(0);
    let lines = lines(&outcome);
    let line = lines.first().expect("a line");
    assert_eq!(line["command"], "CREATE INDEX CONCURRENTLY", "{line}");
    assert_eq!(line["phase"], "building index: scanning table", "{line}");
}
