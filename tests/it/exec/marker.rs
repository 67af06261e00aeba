//! `SCHEMAGATE_EXEC_ONCE`: what the journal remembers.

use std::time::Duration;

use super::{
    TRACED, WAITING, assert_never_two, direct_and_pooled, exec, let_go, pid_of, traced_table,
};
use crate::harness::{Database, Folder, Outcome, Proxy, Schemagate, Server, eventually};
use crate::lock::wait_for_all;

fn once(url: &str, folder: &Folder, script: &str) -> Schemagate {
    exec(url, folder, script).env("SCHEMAGATE_EXEC_ONCE", "1.4.2")
}

fn journal(database: &Database<'_>) -> Vec<Vec<String>> {
    database.query(
        "SELECT history, event, version, detail->>'command', duration_ms >= 0 FROM schemagate.journal
         WHERE event <> 'fingerprint' ORDER BY id",
    )
}

fn skipped(outcome: &Outcome) -> bool {
    let summary = outcome.logs().pop().expect("the sum of the run");
    summary["exec"]["skipped"] == true
}

#[test]
fn ten_at_once_and_one_runs_it() {
    direct_and_pooled(|database, url| {
        let call = once(url, &Folder::empty(), TRACED);
        let outcomes = wait_for_all((0..10).map(|_| call.spawn()).collect());
        for outcome in &outcomes {
            outcome.assert_code(0);
        }
        assert_eq!(
            outcomes.iter().filter(|outcome| skipped(outcome)).count(),
            9
        );
        assert_never_two(database, 1);
        assert_eq!(
            journal(database),
            [["exec", "exec_done", "1.4.2", "sh", "t"]]
        );
        call.run().assert_code(0).assert_says("the marker is done");
        call.clone()
            .env("SCHEMAGATE_DRY_RUN", "true")
            .run()
            .assert_prints("would skip");
        // Another image, another run; another history, another marker.
        call.clone()
            .env("SCHEMAGATE_EXEC_ONCE", "1.4.3")
            .run()
            .assert_code(0);
        call.env("SCHEMAGATE_HISTORY_TABLE", "public.alembic_version")
            .run()
            .assert_code(0);
        assert_never_two(database, 3);
        assert_eq!(journal(database)[2][0], "public.alembic_version");
    });
}

#[test]
fn a_failure_is_journalled_and_tried_again() {
    let database = Server::debian().database();
    let folder = Folder::empty();
    let call = once(&database.url(), &folder, "[ -e \"$DIR/go\" ] || exit 3");
    call.run().assert_code(3);
    assert_eq!(journal(&database), [["exec", "failed", "1.4.2", "sh", "t"]]);
    assert_eq!(
        database.value("SELECT detail->>'message' FROM schemagate.journal"),
        "sh ended with 3"
    );
    Schemagate::new(&["wait", "--for", "schema", "--wait-timeout", "1s"])
        .url(&database.url())
        .env("SCHEMAGATE_EXEC_ONCE", "1.4.2")
        .run()
        .assert_code(8)
        .assert_says("sh ended with 3");
    let_go(&folder);
    call.run().assert_code(0);
    assert_eq!(journal(&database)[1][1], "exec_done");
    Schemagate::new(&["wait", "--for", "schema"])
        .url(&database.url())
        .env("SCHEMAGATE_EXEC_ONCE", "1.4.2")
        .run()
        .assert_code(0);
}

#[test]
fn without_the_privilege_to_remember_it_is_not_run() {
    let database = Server::debian().database();
    let role = database.role("app", "LOGIN");
    let folder = Folder::empty();
    let script = "touch \"$DIR/ran\"";
    let call = once(&database.url_as(&role), &folder, script);
    let refused = || {
        call.run()
            .assert_code(9)
            .assert_says("SCHEMAGATE_EXEC_ONCE needs the journal")
            .assert_says("GRANT CREATE ON DATABASE");
        assert!(!folder.path().join("ran").exists());
    };
    refused();
    // It is there, and not for everybody.
    once(&database.url(), &folder, "exit 0")
        .env("SCHEMAGATE_EXEC_ONCE", "0")
        .run()
        .assert_code(0);
    call.run()
        .assert_code(9)
        .assert_says("GRANT USAGE ON SCHEMA schemagate");
    exec(&database.url_as(&role), &folder, script)
        .run()
        .assert_code(0);
    assert!(
        folder.path().join("ran").exists(),
        "without a marker it needs none"
    );
}

#[test]
fn as_the_role_that_owns_the_journal() {
    let database = Server::debian().database();
    let owner = database.role("owner", "");
    let app = database.role("app", &format!("LOGIN IN ROLE {owner} NOINHERIT"));
    database.query(&format!(
        "GRANT CREATE ON DATABASE {} TO {owner}",
        database.name
    ));
    let call =
        once(&database.url_as(&app), &Folder::empty(), "exit 0").env("SCHEMAGATE_ROLE", &owner);
    call.run().assert_code(0);
    call.run().assert_code(0).assert_says("the marker is done");
    let rows = "SELECT tableowner FROM pg_tables WHERE schemaname = 'schemagate'";
    assert_eq!(database.value(rows), owner);
}

/// Many programs end with 0 when they are told to end, wherever they are.
#[test]
fn after_a_signal_0_is_not_believed() {
    let database = Server::debian().database();
    let folder = Folder::empty();
    let script = format!("trap 'exit 0' TERM\n{WAITING}");
    let running = once(&database.url(), &folder, &script).spawn();
    pid_of(&folder);
    running.signal("TERM");
    running
        .wait()
        .assert_code(143)
        .assert_says("the marker 1.4.2 was not written");
    assert!(journal(&database).is_empty());
    eventually!(database.has_no_advisory_lock(), "the lock is free");
}

#[test]
fn a_connection_lost_over_the_marker_is_taken_up_again() {
    let database = Server::debian().database();
    let proxy = Proxy::to(Server::debian().port());
    let folder = Folder::empty();
    let running = once(&database.url_at(proxy.port()), &folder, WAITING).spawn();
    pid_of(&folder);
    proxy.hold();
    let_go(&folder);
    eventually!(
        running.stderr().contains("may not have been written"),
        "the row has no answer: {}",
        running.stderr()
    );
    proxy.cut();
    running.wait().assert_code(0);
    assert_eq!(
        journal(&database),
        [["exec", "exec_done", "1.4.2", "sh", "t"]]
    );
}

#[test]
fn success_is_not_told_without_the_marker() {
    let database = Server::debian().database();
    let proxy = Proxy::to(Server::debian().port());
    let folder = Folder::empty();
    let running = once(&database.url_at(proxy.port()), &folder, WAITING)
        .env("SCHEMAGATE_WAIT_TIMEOUT", "3s")
        .spawn();
    pid_of(&folder);
    proxy.hold();
    let_go(&folder);
    eventually!(
        running.stderr().contains("may not have been written"),
        "the row has no answer: {}",
        running.stderr()
    );
    proxy.refuse();
    running
        .wait()
        .assert_code(10)
        .assert_says("sh ended with 0, but its marker 1.4.2 could not be written");
    proxy.accept_again();
    assert!(journal(&database).is_empty());
}

/// Between the look and the lock another pod may have done it all: what counts is the look behind the lock.
#[test]
fn a_marker_that_came_just_before_the_lock_is_seen() {
    let database = Server::debian().database();
    traced_table(&database);
    let folder = Folder::empty();
    let first = once(&database.url(), &folder, WAITING).spawn();
    pid_of(&folder);
    let proxy = Proxy::to(Server::debian().port());
    proxy.delay(Duration::from_millis(500));
    let second = once(&database.url_at(proxy.port()), &folder, TRACED).spawn();
    let session = database.session();
    let has_looked = "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle' AND datname = current_database()
        AND query LIKE '%FROM schemagate.journal%' AND pid <> pg_backend_pid()";
    eventually!(session.value(has_looked) == "1", "the second has looked");
    // Its try for the lock comes a second later, or two.
    let_go(&folder);
    first.wait().assert_code(0);
    let outcome = second.wait();
    outcome.assert_code(0);
    assert!(skipped(&outcome), "{outcome}");
    assert_never_two(&database, 0);
}
