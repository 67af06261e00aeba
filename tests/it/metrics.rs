//! What is counted, as a sidecar serves it and as a one-shot command pushes it.

mod gateway;

use crate::harness::receiver::Request;
use crate::harness::{
    Folder, PgBouncer, Receiver, Reply, Schemagate, Server, Sidecar, assert_promtool_accepts,
    eventually,
};

/// Nothing listens on port 1.
const NOBODY: &str = "postgres://app:s3cret@127.0.0.1:1/app";

/// Every name of the contract.
const NAMES: [&str; 15] = [
    "schemagate_build_info",
    "schemagate_database_up",
    "schemagate_ready",
    "schemagate_state",
    "schemagate_migrations",
    "schemagate_schema_version_info",
    "schemagate_migrations_applied_total",
    "schemagate_migrations_failed_total",
    "schemagate_migration_duration_seconds",
    "schemagate_slow_migrations_total",
    "schemagate_lock_wait_seconds",
    "schemagate_lock_retries_total",
    "schemagate_last_success_timestamp_seconds",
    "schemagate_last_run_duration_seconds",
    "schemagate_connect_attempts_total",
];

fn two() -> Folder {
    Folder::sql(&[
        ("0001_a.sql", "CREATE TABLE a (id int);"),
        ("0002_b.sql", "CREATE TABLE b (id int);"),
    ])
}

/// The second of three fails.
fn failing() -> Folder {
    Folder::sql(&[
        ("0001_a.sql", "CREATE TABLE a (id int);"),
        ("0002_b.sql", "CREATE TABLE a (id int);"),
        ("0003_c.sql", "CREATE TABLE c (id int);"),
    ])
}

fn gateway() -> Receiver {
    Receiver::start(Reply::Says("200 OK", ""))
}

fn pushing(call: Schemagate, url: &str) -> Schemagate {
    call.env("SCHEMAGATE_PUSHGATEWAY_URL", url)
}

/// The lines are in the text.
#[track_caller]
fn assert_has(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(
            text.lines().any(|found| found == *line),
            "{line} is not in\n{text}"
        );
    }
}

/// Every name of the contract is there, with what it is.
#[track_caller]
fn assert_every_name(text: &str) {
    for name in NAMES {
        for comment in [format!("# HELP {name} "), format!("# TYPE {name} ")] {
            assert!(text.contains(&comment), "{comment}\n{text}");
        }
    }
}

#[track_caller]
fn value(text: &str, name: &str) -> f64 {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let line = line.unwrap_or_else(|| panic!("no {name} in\n{text}"));
    line.parse().expect("a number")
}

/// The only request, a push of that method, for a command; promtool accepts what it carries.
#[track_caller]
fn pushed(gateway: &Receiver, method: &str, command: &str) -> Request {
    let push = gateway.only();
    let start = format!("{method} /metrics/job/schemagate/command/{command}/database/");
    assert!(push.line.starts_with(&start), "{push:?}");
    push.assert_header("content-type: text/plain; version=0.0.4; charset=utf-8");
    assert_promtool_accepts(&push.body);
    push
}

#[test]
fn a_good_end_is_pushed() {
    let database = Server::debian().database();
    let gateway = gateway();
    pushing(Schemagate::migrate(&database, two()), &gateway.url(""))
        .run()
        .assert_code(0)
        .assert_silent_about("Pushgateway");
    let text = pushed(&gateway, "PUT", "migrate").body;
    assert_every_name(&text);
    assert_has(
        &text,
        &[
            "schemagate_database_up 1",
            "schemagate_ready 1",
            "schemagate_state{state=\"ready\"} 1",
            "schemagate_state{state=\"failed\"} 0",
            "schemagate_migrations{status=\"applied\"} 2",
            "schemagate_migrations{status=\"pending\"} 0",
            "schemagate_schema_version_info{version=\"0002\"} 1",
            "schemagate_migrations_applied_total 2",
            "schemagate_migrations_failed_total 0",
            "schemagate_migration_duration_seconds_count 2",
            "schemagate_connect_attempts_total 1",
        ],
    );
    assert!(value(&text, "schemagate_last_success_timestamp_seconds") > 1.7e9);
    assert!(value(&text, "schemagate_last_run_duration_seconds") > 0.0);
}

#[test]
fn nothing_to_do_is_pushed_too() {
    let database = Server::debian().database();
    let folder = two();
    Schemagate::migrate(&database, &folder).run().assert_code(0);
    let gateway = gateway();
    pushing(Schemagate::migrate(&database, &folder), &gateway.url("/"))
        .run()
        .assert_code(0);
    assert_has(
        &pushed(&gateway, "PUT", "migrate").body,
        &[
            "schemagate_ready 1",
            "schemagate_migrations{status=\"applied\"} 2",
            "schemagate_schema_version_info{version=\"0002\"} 1",
            "schemagate_migrations_applied_total 0",
        ],
    );
}

#[test]
fn a_sidecar_serves_them() {
    let database = Server::debian().database();
    let folder = two();
    let sidecar = Sidecar::start(&Schemagate::sidecar(&database, &folder));
    sidecar.becomes("pending", false);
    let text = sidecar.get("/metrics").body;
    assert_promtool_accepts(&text);
    assert_has(
        &text,
        &[
            "schemagate_ready 0",
            "schemagate_state{state=\"pending\"} 1",
            "schemagate_migrations{status=\"pending\"} 2",
            "schemagate_migrations{status=\"out_of_order\"} 0",
        ],
    );
    Schemagate::migrate(&database, &folder).run().assert_code(0);
    sidecar.becomes("ready", true);
    let text = sidecar.get("/metrics").body;
    assert_promtool_accepts(&text);
    assert_every_name(&text);
    sidecar.stop().assert_code(0);
}

/// An older image on a schema that a newer one has moved on.
#[test]
fn what_is_ahead_is_pushed() {
    let database = Server::debian().database();
    let folder = two();
    Schemagate::migrate(&database, &folder).run().assert_code(0);
    folder.remove("0002_b.sql");
    let gateway = gateway();
    pushing(Schemagate::migrate(&database, &folder), &gateway.url(""))
        .run()
        .assert_code(0)
        .assert_says("\"ahead\":1");
    assert_has(
        &pushed(&gateway, "PUT", "migrate").body,
        &[
            "schemagate_ready 1",
            "schemagate_state{state=\"ahead\"} 1",
            "schemagate_migrations{status=\"applied\"} 1",
            "schemagate_migrations{status=\"ahead\"} 1",
            "schemagate_schema_version_info{version=\"0001\"} 1",
        ],
    );
}

#[test]
fn a_failed_migration_is_pushed() {
    let database = Server::debian().database();
    let gateway = gateway();
    pushing(Schemagate::migrate(&database, failing()), &gateway.url(""))
        .run()
        .assert_code(5);
    let text = pushed(&gateway, "POST", "migrate").body;
    assert_has(
        &text,
        &[
            "schemagate_database_up 1",
            "schemagate_ready 0",
            "schemagate_state{state=\"failed\"} 1",
            "schemagate_migrations{status=\"applied\"} 1",
            "schemagate_migrations{status=\"failed\"} 1",
            "schemagate_migrations{status=\"pending\"} 1",
            "schemagate_schema_version_info{version=\"0001\"} 1",
            "schemagate_migrations_applied_total 1",
            "schemagate_migrations_failed_total 1",
        ],
    );
    assert!(!text.contains("last_success"), "{text}");
}

#[test]
fn a_database_that_is_not_there_is_pushed() {
    let gateway = gateway();
    pushing(Schemagate::new(&["migrate"]), &gateway.url(""))
        .url(NOBODY)
        .folder(two())
        .env("SCHEMAGATE_WAIT", "false")
        .run()
        .assert_code(3);
    let push = pushed(&gateway, "POST", "migrate");
    assert!(push.line.ends_with("/database/app"), "{push:?}");
    assert_has(
        &push.body,
        &[
            "schemagate_database_up 0",
            "schemagate_ready 0",
            "schemagate_state{state=\"connecting\"} 1",
            "schemagate_connect_attempts_total 1",
        ],
    );
    assert!(!push.body.contains("s3cret"));
}

#[test]
fn what_does_not_ask_for_the_schema_says_nothing_of_it() {
    let database = Server::debian().database();
    let gateway = gateway();
    pushing(Schemagate::new(&["wait"]), &gateway.url(""))
        .url(&database.url())
        .run()
        .assert_code(0);
    let text = pushed(&gateway, "PUT", "wait").body;
    assert_has(&text, &["schemagate_database_up 1"]);
    for name in ["ready", "state", "migrations", "schema_version_info"] {
        assert!(
            !text.contains(&format!("# TYPE schemagate_{name} ")),
            "{text}"
        );
    }
}

#[test]
fn waiting_for_the_schema_says_what_it_has_seen() {
    let database = Server::debian().database();
    let gateway = gateway();
    pushing(
        Schemagate::new(&["wait", "--for", "schema"]),
        &gateway.url(""),
    )
    .url(&database.url())
    .folder(two())
    .env("SCHEMAGATE_WAIT", "false")
    .run()
    .assert_code(8);
    assert_has(
        &pushed(&gateway, "POST", "wait").body,
        &[
            "schemagate_database_up 1",
            "schemagate_ready 0",
            "schemagate_state{state=\"pending\"} 1",
            "schemagate_migrations{status=\"pending\"} 2",
        ],
    );
}

/// The tool's marker stands for the schema; without one, nothing is known of it.
#[test]
fn a_tool_is_told_of_by_its_marker() {
    let database = Server::debian().database();
    let exec = |script: &str| {
        Schemagate::new(&["exec", "--", "sh", "-c", script])
            .url(&database.url())
            .env("PATH", "/usr/bin:/bin")
    };
    for (script, code, method, lines) in [
        (
            "exit 7",
            7,
            "POST",
            [
                "schemagate_ready 0",
                "schemagate_state{state=\"failed\"} 1",
                "schemagate_migrations_failed_total 1",
            ],
        ),
        (
            "exit 0",
            0,
            "PUT",
            [
                "schemagate_ready 1",
                "schemagate_state{state=\"ready\"} 1",
                "schemagate_schema_version_info{version=\"v1.4\"} 1",
            ],
        ),
    ] {
        let gateway = gateway();
        let call = exec(script).env("SCHEMAGATE_EXEC_ONCE", "v1.4");
        pushing(call, &gateway.url("")).run().assert_code(code);
        assert_has(&pushed(&gateway, method, "exec").body, &lines);
    }
    let gateway = gateway();
    pushing(exec("exit 0"), &gateway.url(""))
        .run()
        .assert_code(0);
    let text = pushed(&gateway, "PUT", "exec").body;
    assert!(!text.contains("schemagate_ready"), "{text}");
}

/// The wait for the lock is counted until the lock is ours, and no longer. Behind a pooler only the end of a migration
/// tells that it was.
#[test]
fn the_wait_for_the_lock_is_measured() {
    let server = Server::debian();
    let bouncer = PgBouncer::start(server, "transaction", 5);
    for pooled in [false, true] {
        let database = server.database();
        let url = if pooled {
            bouncer.url(&database)
        } else {
            database.url()
        };
        let gateway = gateway();
        let holder = database.session();
        holder.query("SELECT pg_advisory_lock(4712)");
        let folder = Folder::sql(&[("0001_a.sql", "SELECT pg_sleep(3);")]);
        let running = pushing(Schemagate::migrate(&database, folder), &gateway.url(""))
            .url(&url)
            .env("SCHEMAGATE_LOG", "debug")
            .env("SCHEMAGATE_LOCK_KEY", "4712")
            .spawn();
        let looks = || running.stderr().matches("held elsewhere").count();
        eventually!(looks() >= 3, "it waits for the lock");
        holder.query("SELECT pg_advisory_unlock(4712)");
        let outcome = running.wait();
        outcome.assert_code(0);
        let text = pushed(&gateway, "PUT", "migrate").body;
        let waited = value(&text, "schemagate_lock_wait_seconds");
        let worked = value(&text, "schemagate_migration_duration_seconds_sum");
        assert!(worked >= 3.0, "{text}");
        assert!(waited > 0.0, "{text}");
        assert!(
            waited + worked <= outcome.elapsed.as_secs_f64(),
            "{outcome}\n{text}"
        );
    }
}

#[test]
fn what_is_no_one_shot_or_writes_nothing_pushes_nothing() {
    let database = Server::debian().database();
    let gateway = gateway();
    let url = gateway.url("");
    pushing(Schemagate::status(&database, two()), &url)
        .run()
        .assert_code(0);
    pushing(Schemagate::migrate(&database, two()), &url)
        .env("SCHEMAGATE_DRY_RUN", "true")
        .run()
        .assert_code(0);
    assert!(gateway.lines().is_empty(), "{:?}", gateway.lines());
}
