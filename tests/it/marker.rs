//! `SCHEMAGATE_EXEC_ONCE` for those that only look. The rows are written here as `exec` writes them.

use serde_json::Value;

use crate::harness::{Database, Folder, Schemagate, Server, eventually};

const MARKER: &str = "1.4.2";

/// A database with a journal.
fn journal() -> Database<'static> {
    let database = Server::debian().database();
    let folder = Folder::sql(&[("0001_a.sql", "CREATE TABLE a (id int);\n")]);
    Schemagate::migrate(&database, &folder).run().assert_code(0);
    database
}

fn note(database: &Database<'_>, event: &str, history: &str, marker: &str, detail: &str) {
    let marker = marker.replace('\'', "''");
    database.query(&format!(
        "INSERT INTO schemagate.journal (run, history, event, version, actor, detail)
         VALUES (gen_random_uuid(), '{history}', '{event}', '{marker}', SESSION_USER, {detail})"
    ));
}

fn done(database: &Database<'_>) {
    note(database, "exec_done", "exec", MARKER, "NULL");
}

fn failed(database: &Database<'_>) {
    note(
        database,
        "failed",
        "exec",
        MARKER,
        "'{\"message\": \"alembic ended with exit code 3\"}'",
    );
}

/// With a marker the folder is not read: there is none.
fn call(database: &Database<'_>, args: &[&str]) -> Schemagate {
    Schemagate::new(args)
        .url(&database.url())
        .folder("/no/such/folder")
        .env("SCHEMAGATE_EXEC_ONCE", MARKER)
        .env("SCHEMAGATE_POLL_INTERVAL", "100ms")
}

fn status(database: &Database<'_>) -> Schemagate {
    call(database, &["status", "--exit-code"])
}

#[track_caller]
fn json(database: &Database<'_>) -> Value {
    let outcome = status(database).arg("--format").arg("json").run();
    serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{error}\n{outcome}"))
}

#[test]
fn status_of_an_absent_marker() {
    for database in [Server::debian().database(), journal()] {
        let before = database.schema_dump();
        status(&database)
            .run()
            .assert_code(8)
            .assert_prints("1.4.2   absent")
            .assert_says("marker 1.4.2 (SCHEMAGATE_EXEC_ONCE) is not done")
            .assert_says("schemagate exec");
        call(&database, &["status"]).run().assert_code(0);
        let value = json(&database);
        assert_eq!(value["state"], "pending");
        assert_eq!(value["database"], Value::from(database.name.as_str()));
        assert_eq!(value["marker"]["name"], MARKER);
        assert_eq!(value["marker"]["history"], "exec");
        assert_eq!(value["marker"]["state"], "absent");
        assert_eq!(database.schema_dump(), before);
    }
    // Neither does a schema without a journal hold anything.
    let database = Server::debian().database();
    database.query("CREATE SCHEMA schemagate");
    status(&database)
        .run()
        .assert_code(8)
        .assert_prints("absent");
}

#[test]
fn status_of_a_failed_and_of_a_done_marker() {
    let database = journal();
    failed(&database);
    status(&database)
        .run()
        .assert_code(8)
        .assert_prints("failed")
        .assert_prints("alembic ended with exit code 3")
        .assert_says("the last attempt at 1.4.2 failed: alembic ended with exit code 3");
    assert_eq!(json(&database)["state"], "failed");
    done(&database);
    status(&database).run().assert_code(0).assert_prints("done");
    let value = json(&database);
    assert_eq!(value["state"], "ready");
    assert_eq!(value["marker"]["state"], "done");
    assert!(value["marker"]["at"].is_string(), "{value}");
    // Once done it is done: a later failure was somebody else's.
    failed(&database);
    status(&database).run().assert_code(0);
}

/// The image of another tool has no folder of migrations.
#[test]
fn the_journal_of_the_markers_needs_no_folder() {
    let database = Server::debian().database();
    let history = call(&database, &["status", "--history"]);
    history
        .run()
        .assert_code(0)
        .assert_prints("the journal has nothing about exec");
    let database = journal();
    failed(&database);
    done(&database);
    note(&database, "applied", "schemagate.history", "0001", "NULL");
    let outcome = call(&database, &["status", "--history", "--format", "json"]).run();
    outcome.assert_code(0);
    let value: Value = serde_json::from_str(&outcome.stdout).expect("JSON");
    assert_eq!(value["history"], "exec");
    let events = value["journal"].as_array().expect("a list").iter();
    let events: Vec<_> = events.map(|note| &note["event"]).collect();
    assert_eq!(events, ["failed", "exec_done"]);
}

#[test]
fn markers_and_histories_are_told_apart() {
    let database = journal();
    done(&database);
    status(&database)
        .env("SCHEMAGATE_EXEC_ONCE", "1.4.3")
        .run()
        .assert_code(8);
    let other = status(&database).env("SCHEMAGATE_HISTORY_TABLE", "ops.\"Alembic\"");
    other.run().assert_code(8);
    note(&database, "exec_done", "ops.Alembic", MARKER, "NULL");
    other.run().assert_code(0).assert_prints("ops.Alembic");
    let strange = r"it's \ '; DROP TABLE a; -- 🐘";
    let quoted = status(&database).env("SCHEMAGATE_EXEC_ONCE", strange);
    quoted.run().assert_code(8);
    note(&database, "exec_done", "exec", strange, "NULL");
    quoted.run().assert_code(0);
    // A migration of that name is no marker.
    note(&database, "applied", "exec", "0001", "NULL");
    status(&database)
        .env("SCHEMAGATE_EXEC_ONCE", "0001")
        .run()
        .assert_code(8);
}

#[test]
fn wait_ends_when_the_marker_is_done() {
    let database = journal();
    let call = call(&database, &["wait", "--for", "schema"]);
    let waiting = call.spawn();
    eventually!(
        waiting.stderr().contains("marker 1.4.2"),
        "{}",
        waiting.stderr()
    );
    failed(&database);
    eventually!(
        waiting.stderr().contains("still waiting"),
        "{}",
        waiting.stderr()
    );
    done(&database);
    waiting.wait().assert_code(0);
    call.run().assert_code(0);
    call.env("SCHEMAGATE_EXEC_ONCE", "1.4.3")
        .env("SCHEMAGATE_WAIT_TIMEOUT", "1s")
        .run()
        .assert_code(8)
        .assert_says("marker 1.4.3 (SCHEMAGATE_EXEC_ONCE) is not done; not within 1s");
}

#[test]
fn run_takes_the_marker_for_the_schema() {
    let database = journal();
    let path = std::env::var("PATH").expect("a PATH");
    let call = call(&database, &["run", "--", "echo", "started"]).env("PATH", path);
    call.run()
        .assert_code(0)
        .assert_prints("started")
        .assert_says("marker 1.4.2 (SCHEMAGATE_EXEC_ONCE) is not done");
    let strict = call.clone().env("SCHEMAGATE_REQUIRE_CURRENT", "true");
    let refused = strict.run();
    refused.assert_code(8);
    assert_eq!(refused.stdout, "");
    done(&database);
    strict
        .run()
        .assert_code(0)
        .assert_prints("started")
        .assert_silent_about("is not done");
    call.env("SCHEMAGATE_AUTO_MIGRATE", "true")
        .run()
        .assert_code(2)
        .assert_says("SCHEMAGATE_AUTO_MIGRATE")
        .assert_says("SCHEMAGATE_EXEC_ONCE");
}

/// The advice is followed to the letter, and helps.
#[test]
fn a_missing_privilege_is_9_with_the_grant() {
    let database = journal();
    done(&database);
    let user = database.role("App", "LOGIN");
    let user = user.to_lowercase();
    let as_user = status(&database).url(&database.url_as(&user));
    let owner = database.role("reader", "");
    database.query(&format!("GRANT {owner} TO {user}"));
    let as_role = as_user.clone().env("SCHEMAGATE_ROLE", &owner);
    for (call, who) in [(&as_user, &user), (&as_role, &owner)] {
        let refused = call.run();
        refused
            .assert_code(9)
            .assert_says("cannot read the journal");
        let logs = refused.logs();
        let next = logs.last().expect("the sum")["next"]
            .as_str()
            .expect("advice")
            .to_owned();
        let (_, grants) = next.split_once(": ").expect("who is to grant what");
        assert!(grants.contains(who.as_str()), "{next}");
        database.query(grants);
        call.run().assert_code(0);
        database.query(&format!(
            "REVOKE ALL ON SCHEMA schemagate FROM {who}; REVOKE ALL ON schemagate.journal FROM {who}"
        ));
    }
    status(&database)
        .env("SCHEMAGATE_ROLE", "nobody_of_this_name")
        .run()
        .assert_code(9)
        .assert_says("create the role, or correct SCHEMAGATE_ROLE");
}

#[test]
fn what_stands_in_the_journals_place_is_told() {
    let database = Server::debian().database();
    database.query("CREATE SCHEMA schemagate; CREATE TABLE schemagate.journal (id int)");
    status(&database)
        .run()
        .assert_code(6)
        .assert_says("cannot read the journal")
        .assert_says("look at schemagate.journal");
}
