//! The gateway: the real one shows what was pushed, and one that fails never changes how a command ends.

use std::time::Duration;

use super::{NAMES, NOBODY, assert_has, failing, gateway, pushing, two, value};
use crate::harness::{Folder, Pushgateway, Receiver, Reply, Schemagate, Server, eventually};

/// Far above the limit of a push, for machines that are busy.
const BOUND: Duration = Duration::from_secs(30);

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
    for (reply, reason) in [
        (
            Reply::Says("400 Bad Request", "no\nsuch thing"),
            "400 Bad Request",
        ),
        (
            Reply::Says("500 Internal Server Error", ""),
            "500 Internal Server Error",
        ),
        (Reply::Raw(b"220 smtp.example ESMTP\r\n"), "127.0.0.1:"),
        (Reply::Closes, "connection closed"),
        (Reply::Nothing, "took longer than 5.0 s"),
    ] {
        let gateway = Receiver::start(reply);
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
fn a_gateway_without_tls_is_a_warning() {
    let gateway = gateway();
    let database = Server::debian().database();
    let url = gateway.url("").replace("http:", "https:");
    pushing(Schemagate::migrate(&database, two()), &url)
        .run()
        .assert_code(0)
        .assert_says("not pushed")
        .assert_says("TLS")
        .assert_within(BOUND);
}

/// After a signal a silent gateway gets half a second, not five: measured from the warning that it did not answer.
#[test]
fn a_signal_cuts_the_push_short() {
    let gateway = Receiver::start(Reply::Nothing);
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
    let gateway = Receiver::start(Reply::Nothing);
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
