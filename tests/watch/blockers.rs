//! Who is in the way.

use std::time::Duration;

use crate::harness::eventually::eventually;
use crate::harness::{Database, Folder, Schemagate, Server, Session};
use crate::slow::{lines, migrate, one};

fn busy() -> Database<'static> {
    let database = Server::debian().database();
    database.query("CREATE TABLE busy (id int, card text)");
    database
}

/// Somebody who read the table and did not end the transaction.
fn reader(database: &Database<'_>) -> (Session, String) {
    let reader = database.session();
    reader.query(
        "SET application_name = 'monthly report'; BEGIN ISOLATION LEVEL REPEATABLE READ;
         SELECT * FROM busy WHERE card = '4111-1111'",
    );
    let pid = reader.value("SELECT pg_backend_pid()");
    reader.query("SELECT count(*) FROM busy WHERE card = '4111-1111'");
    (reader, pid)
}

fn alter() -> Folder {
    one("ALTER TABLE busy ADD COLUMN more int;")
}

fn short(database: &Database<'_>, retries: &str) -> Schemagate {
    migrate(&database.url(), &alter())
        .env("SCHEMAGATE_LOCK_TIMEOUT", "3s")
        .env("SCHEMAGATE_LOCK_RETRIES", retries)
}

#[test]
fn a_lock_timeout_names_who_has_the_lock() {
    let database = busy();
    let (reader, pid) = reader(&database);
    let running = short(&database, "20").spawn();
    eventually!(
        running.stderr().contains("trying again"),
        "the first attempt is over"
    );
    reader.query("COMMIT");
    let outcome = running.wait();
    outcome.assert_code(0).assert_silent_about("4111");
    let logs = outcome.logs();
    let retry = logs
        .iter()
        .find(|line| {
            line["error"]
                .as_str()
                .is_some_and(|error| error.contains("55P03"))
        })
        .expect("a line about the attempt");
    let blocked_by = retry["blocked_by"].as_str().expect("who it was");
    let begins = format!("pid {pid} (monthly report), its transaction open for ");
    assert!(blocked_by.starts_with(&begins), "{blocked_by}");
    let ends = ", idle in transaction: SELECT count(*) FROM busy WHERE card = '…'";
    assert!(blocked_by.ends_with(ends), "{blocked_by}");
}

#[test]
fn the_last_word_names_it_too() {
    let database = busy();
    let (_reader, pid) = reader(&database);
    let outcome = short(&database, "0").run();
    outcome
        .assert_code(4)
        .assert_says(&format!("blocked by: pid {pid} (monthly report)"))
        .assert_silent_about("4111");
}

/// Who may not see what another role does still learns whom to ask about.
#[test]
fn of_another_role_only_pid_and_name_are_known() {
    let database = busy();
    let role = database.role("owner", "LOGIN");
    database.query(&format!(
        "GRANT CREATE ON DATABASE {} TO {role}",
        database.name
    ));
    database.query(&format!(
        "ALTER TABLE busy OWNER TO {role}; GRANT CREATE ON SCHEMA public TO {role}"
    ));
    let (_reader, pid) = reader(&database);
    let outcome = short(&database, "0").url(&database.url_as(&role)).run();
    outcome
        .assert_code(4)
        .assert_says(&format!("pid {pid} (monthly report), the rest is hidden"))
        .assert_silent_about("4111");
}

/// A concurrent build waits without a limit, for whoever might still see the table without the index.
#[test]
fn a_concurrent_build_tells_whose_end_it_waits_for() {
    let database = busy();
    let (reader, pid) = reader(&database);
    let folder = one("CREATE INDEX CONCURRENTLY busy_id ON busy (id);");
    let running = migrate(&database.url(), &folder).spawn();
    eventually!(
        running.stderr().contains("waiting for a lock"),
        "a line about the wait"
    );
    reader.query("COMMIT");
    let outcome = running.wait();
    outcome.assert_code(0).assert_silent_about("4111");
    let line = lines(&outcome).remove(0);
    assert_eq!(
        line["waits_for"], "the end of another transaction",
        "{line}"
    );
    assert_eq!(line["phase"], "waiting for old snapshots", "{line}");
    assert_eq!(line["unit"], "lockers", "{line}");
    assert!(
        line["waits_ms"]
            .as_u64()
            .is_some_and(|waited| waited > 5000),
        "{line}"
    );
    let blocked_by = line["blocked_by"].as_str().expect("who it is");
    assert!(
        blocked_by.starts_with(&format!("pid {pid} (monthly report)")),
        "{line}"
    );
}

/// A transaction without a session: nobody could be asked to end it.
#[test]
fn a_prepared_transaction_is_named() {
    let server = Server::own_with("max_prepared_transactions = 2");
    let database = server.database();
    database.query("CREATE TABLE busy (id int)");
    database.query("BEGIN; LOCK TABLE busy; PREPARE TRANSACTION 'left behind'");
    let call = migrate(&database.url(), &alter())
        .env("SCHEMAGATE_LOCK_TIMEOUT", "3s")
        .env("SCHEMAGATE_LOCK_RETRIES", "0")
        .timeout(Duration::from_mins(1));
    call.run()
        .assert_code(4)
        .assert_says("blocked by: a prepared transaction (see pg_prepared_xacts)");
}
