//! The next migration's message is on its way before the answer to the one before: it does nothing unless that one is
//! committed, however that one ends.

use crate::harness::{Database, Folder, Schemagate, Server};

const COUNT: usize = 14;

/// So many small migrations, with these in the place of some.
fn steps(special: &[(usize, &str)]) -> Folder {
    let folder = Folder::empty();
    for number in 1..=COUNT {
        let usual = format!("CREATE TABLE t{number:02} (id int);");
        let own = special.iter().find(|(at, _)| *at == number);
        let text = own.map_or(usual.as_str(), |(_, text)| text);
        folder.write(&format!("{number:04}_step.sql"), text.as_bytes());
    }
    folder
}

fn applied(database: &Database<'_>) -> String {
    database.value("SELECT string_agg(version, ' ' ORDER BY serial) FROM schemagate.history")
}

fn versions(range: std::ops::RangeInclusive<usize>) -> String {
    let versions: Vec<String> = range.map(|number| format!("{number:04}")).collect();
    versions.join(" ")
}

/// The fifth fails with this SQLSTATE, and nothing behind it is run.
#[track_caller]
fn ends_with_the_fifth(prelude: &str, text: &str, sqlstate: &str) {
    let database = Server::debian().database();
    database.query(prelude);
    let folder = steps(&[(5, text)]);
    let outcome = Schemagate::migrate(&database, &folder).run();
    outcome.assert_code(5);
    outcome.assert_says(sqlstate).assert_says("0005_step.sql");
    assert!(!outcome.stderr.contains("0006_"), "{outcome}");
    assert_eq!(applied(&database), versions(1..=4));
    assert!(!database.has_table("t06"));

    // The corrected file goes on from there.
    let folder = steps(&[]);
    Schemagate::migrate(&database, &folder).run().assert_code(0);
    assert_eq!(applied(&database), versions(1..=COUNT));
}

#[test]
fn nothing_behind_an_error() {
    ends_with_the_fifth("SELECT 1", "CREATE TABLE t04 (id int);", "42P07");
}

/// The server finds it before it begins the transaction, and then waits outside any.
#[test]
fn nothing_behind_a_syntax_error() {
    ends_with_the_fifth("SELECT 1", "CREATE TABEL t05 (id int);", "42601");
}

/// `COMMIT` itself fails, which ends the transaction too.
#[test]
fn nothing_behind_a_commit_that_fails() {
    ends_with_the_fifth(
        "CREATE TABLE parent (id int PRIMARY KEY); \
         CREATE TABLE child (id int REFERENCES parent DEFERRABLE INITIALLY DEFERRED)",
        "INSERT INTO child VALUES (7);",
        "23503",
    );
}

/// A trigger at `COMMIT` takes away the word that the message behind asks for: it is sent once more.
#[test]
fn a_word_that_is_taken_away() {
    let database = Server::debian().database();
    database.query(
        "CREATE TABLE noted (id int); \
         CREATE FUNCTION forget() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN PERFORM set_config('schemagate.last_committed', 'x', false); RETURN NULL; END $$; \
         CREATE CONSTRAINT TRIGGER forget AFTER INSERT ON noted DEFERRABLE INITIALLY DEFERRED \
         FOR EACH ROW EXECUTE FUNCTION forget()",
    );
    let folder = steps(&[
        (5, "INSERT INTO noted VALUES (5);"),
        (COUNT, "INSERT INTO noted VALUES (14);"),
    ]);
    Schemagate::migrate(&database, &folder).run().assert_code(0);
    assert_eq!(applied(&database), versions(1..=COUNT));
    assert_eq!(database.value("SELECT count(*) FROM noted"), "2");
}

/// Files of all kinds in turn: what runs in pieces, what is too large to go ahead, and what is neither.
#[test]
fn between_files_that_do_not_go_ahead() {
    let database = Server::debian().database();
    let large = format!("-- {}\nCREATE TABLE t07 (id int);", "x".repeat(100 << 10));
    let copied = "CREATE TABLE t09 (id int);\nCOPY t09 FROM stdin;\n1\n2\n\\.\n";
    let folder = steps(&[
        (3, "CREATE INDEX CONCURRENTLY i03 ON t02 (id);"),
        (7, &large),
        (9, copied),
        (
            11,
            "BEGIN; CREATE TABLE t11 (id int); COMMIT; INSERT INTO t11 VALUES (1);",
        ),
    ]);
    Schemagate::migrate(&database, &folder).run().assert_code(0);
    assert_eq!(applied(&database), versions(1..=COUNT));
    assert_eq!(database.value("SELECT count(*) FROM t09"), "2");
}
