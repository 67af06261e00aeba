//! What a one-shot command leaves at a Pushgateway, and that a gateway never changes how it ends.

use std::time::Duration;

use crate::harness::receiver::Request;
use crate::harness::{
    Answer, Folder, PgBouncer, Pushgateway, Receiver, Schemagate, Server, assert_promtool_accepts,
    eventually,
};

/// Nothing listens on port 1.
const NOBODY: &str = "postgres://app:s3cret@127.0.0.1:1/app";

/// Far above the limit of a push, for machines that are busy.
const BOUND: Duration = Duration::from_secs(30);

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
    Receiver::start(Answer::Says("200 OK", ""))
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
    for name in NAMES {
        for comment in [format!("# HELP {name} "), format!("# TYPE {name} ")] {
            assert!(text.contains(&comment), "{comment}\n{text}");
        }
    }
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
            .env("SCHEMAGATE_LOCK_KEY", "4712")
            .spawn();
        let looks = || running.stderr().matches("lock is held elsewhere").count();
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

#[test]
fn the_real_gateway_shows_it() {
    let gateway = Pushgateway::start();
    let server = Server::debian();
    let database = server.database();
    let name = database.value("SELECT current_database()");
    let call = |folder: Folder| pushing(Schemagate::migrate(&database, folder), &gateway.url(""));

    call(two())
        .run()
        .assert_code(0)
        .assert_silent_about("not pushed");
    let group = format!("command=\"migrate\",database=\"{name}\",instance=\"\",job=\"schemagate\"");
    let line = |metric: &str, value: &str| format!("schemagate_{metric}{{{group}}} {value}");
    let shown = gateway.metrics();
    assert_has(
        &shown,
        &[&line("ready", "1"), &line("migrations_applied_total", "2")],
    );
    for metric in NAMES {
        assert!(
            shown.contains(&format!("# HELP {metric} ")),
            "{metric}\n{shown}"
        );
    }
    let success = format!("schemagate_last_success_timestamp_seconds{{{group}}}");
    let at = value(&shown, &success);

    // A later run that fails takes nothing away that is still true.
    let folder = two();
    folder.write("0003_c.sql", b"SELECT 1/0;");
    call(folder).run().assert_code(5);
    let shown = gateway.metrics();
    assert_has(
        &shown,
        &[
            &line("ready", "0"),
            &line("migrations_failed_total", "1"),
            &line("migrations_applied_total", "0"),
        ],
    );
    assert!(
        (value(&shown, &success) - at).abs() < f64::EPSILON,
        "{shown}"
    );

    // The next that succeeds replaces it all.
    let folder = two();
    folder.write("0003_c.sql", b"SELECT 1;");
    call(folder).run().assert_code(0);
    let shown = gateway.metrics();
    assert_has(
        &shown,
        &[&line("ready", "1"), &line("migrations_failed_total", "0")],
    );
    assert!(value(&shown, &success) > at, "{shown}");
}

#[test]
fn groups_keep_apart_at_the_real_gateway() {
    let gateway = Pushgateway::start();
    let database = Server::debian().database();
    let odd = format!("a/{} ü", database.value("SELECT current_database()"));
    database.query(&format!("CREATE DATABASE \"{odd}\""));
    let url = Server::debian().url(&odd.replace('/', "%2F").replace(' ', "%20"));
    pushing(Schemagate::new(&["migrate"]), &gateway.url("/metrics"))
        .url(&url)
        .folder(two())
        .env("SCHEMAGATE_HISTORY_TABLE", "tools.history")
        .run()
        .assert_code(0);
    let own_key = gateway.url("/metrics/job/shop/namespace@base64/YS9i");
    pushing(Schemagate::migrate(&database, two()), &own_key)
        .run()
        .assert_code(0);
    let shown = gateway.metrics();
    assert_has(
        &shown,
        &[
            &format!(
                "schemagate_ready{{command=\"migrate\",database=\"{odd}\",history=\"tools.history\",\
                 instance=\"\",job=\"schemagate\"}} 1"
            ),
            "schemagate_ready{instance=\"\",job=\"shop\",namespace=\"a/b\"} 1",
        ],
    );
    assert_eq!(shown.matches("schemagate_ready{").count(), 2, "{shown}");
    Server::debian()
        .session("postgres")
        .query(&format!("DROP DATABASE \"{odd}\""));
}

/// The name of the database stands in a file: it is still the label.
#[test]
fn a_url_in_a_file_names_the_database() {
    let database = Server::debian().database();
    let gateway = gateway();
    let secrets = Folder::empty();
    secrets.write("url", database.url().as_bytes());
    pushing(Schemagate::new(&["wait"]), &gateway.url(""))
        .env("SCHEMAGATE_DATABASE_URL_FILE", secrets.path().join("url"))
        .run()
        .assert_code(0);
    let name = database.value("SELECT current_database()");
    assert!(gateway.only().line.ends_with(&format!("/database/{name}")));
}

#[test]
fn a_gateway_that_fails_is_a_warning_and_nothing_more() {
    let database = Server::debian().database();
    let (good, bad) = (two(), failing());
    let other = Server::debian().database();
    for (answer, reason) in [
        (
            Answer::Says("400 Bad Request", "no\nsuch thing"),
            "400 Bad Request: no such thing",
        ),
        (
            Answer::Says("500 Internal Server Error", ""),
            "500 Internal Server Error",
        ),
        (Answer::Raw(b"220 smtp.example ESMTP\r\n"), "127.0.0.1:"),
        (Answer::Closes, "connection closed"),
        (Answer::Nothing, "took longer than 5.0 s"),
    ] {
        let gateway = Receiver::start(answer);
        let url = gateway
            .url("/hidden")
            .replace("http://", "http://me:s3cret@");
        for (call, code) in [
            (Schemagate::migrate(&database, &good), 0),
            (Schemagate::migrate(&other, &bad), 5),
        ] {
            let outcome = pushing(call, &url).run();
            outcome
                .assert_code(code)
                .assert_says("SCHEMAGATE_PUSHGATEWAY_URL")
                .assert_says(reason)
                .assert_silent_about("s3cret")
                .assert_silent_about("hidden")
                .assert_within(BOUND);
            assert!(outcome.stderr.trim_end().ends_with('}'), "{outcome}");
            let logs = outcome.logs();
            let last = logs.last().expect("a line");
            assert_eq!(last["message"], "run finished", "{outcome}");
        }
        assert_eq!(gateway.lines().len(), 2);
        gateway.requests()[0].assert_header("authorization: Basic bWU6czNjcmV0");
    }
}

#[test]
fn an_absent_gateway_is_a_warning() {
    let database = Server::debian().database();
    for (url, reason) in [
        ("http://127.0.0.1:1", "127.0.0.1:1: "),
        ("http://nowhere.invalid:9091", "nowhere.invalid"),
    ] {
        pushing(Schemagate::migrate(&database, two()), url)
            .run()
            .assert_code(0)
            .assert_says("not pushed")
            .assert_says(reason)
            .assert_within(BOUND);
    }
}

#[test]
fn a_private_certificate_is_told() {
    // Its bytes are no TLS, which is told too; a certificate of nobody is a unit test's.
    let gateway = gateway();
    let database = Server::debian().database();
    pushing(
        Schemagate::migrate(&database, two()),
        &gateway.url("").replace("http:", "https:"),
    )
    .run()
    .assert_code(0)
    .assert_says("not pushed");
}

/// After a signal a silent gateway gets half a second, not five: measured from the warning that it did not answer.
#[test]
fn a_signal_cuts_the_push_short() {
    let gateway = Receiver::start(Answer::Nothing);
    let running = pushing(Schemagate::new(&["wait"]), &gateway.url(""))
        .url(NOBODY)
        .spawn();
    eventually!(!running.stderr().is_empty(), "it says that it waits");
    running.signal("TERM");
    running
        .wait()
        .assert_code(143)
        .assert_says("not done 0.5 s after SIGTERM");
    assert_eq!(gateway.lines().len(), 1);
}

/// A signal that comes when the work is done changes nothing but the time.
#[test]
fn a_signal_during_the_push_keeps_the_code() {
    let database = Server::debian().database();
    let gateway = Receiver::start(Answer::Nothing);
    let running = pushing(Schemagate::migrate(&database, two()), &gateway.url("")).spawn();
    eventually!(!gateway.lines().is_empty(), "it pushes");
    running.signal("TERM");
    running
        .wait()
        .assert_code(0)
        .assert_says("not done 0.5 s after SIGTERM");
}

#[test]
fn a_url_that_is_none_is_a_mistake_in_the_settings() {
    Schemagate::new(&["migrate"])
        .url(NOBODY)
        .env("SCHEMAGATE_PUSHGATEWAY_URL", "http://me:s3cret/gateway")
        .run()
        .assert_code(2)
        .assert_says("SCHEMAGATE_PUSHGATEWAY_URL")
        .assert_says("no port number")
        .assert_silent_about("s3cret");
}
