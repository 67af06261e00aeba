//! `SCHEMAGATE_QUIT_URL`: the proxy of a mesh is told when a one-shot command has ended, whatever its code.

use std::time::Duration;

use crate::harness::postgres::free_port;
use crate::harness::{Folder, Outcome, Receiver, Reply, Schemagate, Server, eventually};

/// Nothing listens on port 1.
const NOBODY: &str = "postgres://app:s3cret@127.0.0.1:1/app";

/// Far above the limit of a call, for machines that are busy.
const BOUND: Duration = Duration::from_secs(30);

fn one() -> Folder {
    Folder::sql(&[("0001_a.sql", "CREATE TABLE a (id int);")])
}

fn proxy() -> Receiver {
    Receiver::start(Reply::Says("200 OK", "OK"))
}

fn quitting(call: Schemagate, proxy: &Receiver) -> Schemagate {
    call.env("SCHEMAGATE_QUIT_URL", proxy.url("/quitquitquit"))
}

/// A `wait` that finds no database, for as long as it is told.
fn waiting(timeout: &str) -> Schemagate {
    Schemagate::new(&["wait"])
        .url(NOBODY)
        .env("SCHEMAGATE_WAIT_TIMEOUT", timeout)
}

/// It ended with the code, the proxy was told once, and the sum is the last line all the same.
#[track_caller]
fn assert_told(proxy: &Receiver, outcome: &Outcome, code: i32) {
    outcome.assert_code(code).assert_silent_about("not told");
    let request = proxy.only();
    assert_eq!(request.line, "POST /quitquitquit");
    request.assert_header("content-length: 0");
    assert_eq!(request.body, "");
}

#[track_caller]
fn assert_sum_comes_last(outcome: &Outcome) {
    let last = outcome.stderr.trim_end().lines().last().unwrap_or_default();
    assert!(last.contains("\"run finished\""), "{outcome}");
}

#[test]
fn whatever_the_code() {
    let server = Server::debian();
    let done = server.database();
    let failed = server.database();
    let exec = |script: &str| {
        Schemagate::new(&["exec", "--", "sh", "-c", script])
            .url(&done.url())
            .env("PATH", "/usr/bin:/bin")
    };
    let bad = Folder::sql(&[("0001_a.sql", "SELECT 1/0;")]);
    for (call, code) in [
        (Schemagate::migrate(&done, one()), 0),
        (
            Schemagate::migrate(&done, one()).env("SCHEMAGATE_DRY_RUN", "true"),
            0,
        ),
        (Schemagate::migrate(&failed, bad), 5),
        (waiting("500ms"), 3),
        (waiting("1m").env("SCHEMAGATE_DEADLINE", "500ms"), 10),
        (Schemagate::migrate(&done, "/nowhere"), 2),
        (exec("exit 7"), 7),
        (exec("kill -s KILL $$"), 137),
    ] {
        let proxy = proxy();
        let outcome = quitting(call, &proxy).run();
        assert_told(&proxy, &outcome, code);
        assert_sum_comes_last(&outcome);
    }
}

#[test]
fn also_when_the_settings_are_refused() {
    for call in [
        waiting("soon"),
        Schemagate::new(&["migrate"]).env("SCHEMAGATE_LOCK_TIMEOUTS", "1s"),
        Schemagate::new(&["migrate", "--nonsense"]),
        Schemagate::new(&["exec"]),
        Schemagate::new(&["baseline"]),
        Schemagate::new(&["verify"]),
    ] {
        let proxy = proxy();
        assert_told(&proxy, &quitting(call, &proxy).run(), 2);
    }
}

#[test]
fn the_flag_is_heard_too() {
    let proxy = proxy();
    let url = proxy.url("/quitquitquit");
    let outcome = waiting("soon")
        .arg("--quit-url")
        .arg(&url)
        .env("SCHEMAGATE_QUIT_URL", "http://127.0.0.1:1/")
        .run();
    assert_told(&proxy, &outcome, 2);
}

#[test]
fn not_when_nothing_has_ended() {
    let database = Server::debian().database();
    let proxy = proxy();
    for (call, code) in [
        (Schemagate::status(&database, one()), 0),
        (Schemagate::new(&["migrate", "--help"]), 0),
        (Schemagate::new(&["migrate", "--version"]), 0),
        (Schemagate::new(&["sidecar", "--nonsense"]), 2),
        (Schemagate::new(&["run", "--nonsense", "--", "migrate"]), 2),
        (Schemagate::new(&["migrat"]), 2),
        (Schemagate::new(&["probe", "--nonsense"]), 1),
        (
            Schemagate::new(&["probe"]).env("SCHEMAGATE_LISTEN", "127.0.0.1:1"),
            1,
        ),
    ] {
        quitting(call, &proxy).run().assert_code(code);
        assert!(proxy.lines().is_empty(), "{:?}", proxy.lines());
    }
}

#[test]
fn it_comes_after_the_push() {
    let database = Server::debian().database();
    // One server for both keeps their order.
    let both = proxy();
    quitting(Schemagate::migrate(&database, one()), &both)
        .env("SCHEMAGATE_PUSHGATEWAY_URL", both.url(""))
        .run()
        .assert_code(0);
    let lines = both.lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("PUT /metrics/"), "{lines:?}");
    assert_eq!(lines[1], "POST /quitquitquit");
}

#[test]
fn a_proxy_that_is_starting_is_waited_for() {
    let address = format!("127.0.0.1:{}", free_port());
    let database = Server::debian().database();
    let running = Schemagate::migrate(&database, one())
        .env(
            "SCHEMAGATE_QUIT_URL",
            format!("http://{address}/quitquitquit"),
        )
        .env("SCHEMAGATE_LOG", "debug")
        .spawn();
    eventually!(database.has_table("a"), "the work is done");
    let proxy = Receiver::start_at(&address, Reply::Says("200 OK", ""));
    assert_told(&proxy, &running.wait(), 0);
}

#[test]
fn an_absent_or_broken_proxy_is_a_warning() {
    let database = Server::debian().database();
    let call = |url: &str| {
        Schemagate::migrate(&database, one())
            .env("SCHEMAGATE_QUIT_URL", url)
            .run()
    };
    let outcome = call("http://me:s3cret@127.0.0.1:1/hidden");
    outcome
        .assert_code(0)
        .assert_says("SCHEMAGATE_QUIT_URL")
        .assert_says("127.0.0.1:1")
        .assert_silent_about("s3cret")
        .assert_silent_about("hidden")
        .assert_within(BOUND);
    assert!(
        outcome.elapsed >= Duration::from_secs(4),
        "it is asked again: {outcome}"
    );
    assert_sum_comes_last(&outcome);
    for (reply, reason) in [
        (Reply::Says("404 Not Found", ""), "404 Not Found"),
        (Reply::Nothing, "took longer than"),
        (Reply::Closes, "connection closed"),
        (Reply::Raw(b"garbage\r\n\r\n"), "127.0.0.1:"),
    ] {
        let proxy = Receiver::start(reply);
        let outcome = call(&proxy.url("/quitquitquit"));
        outcome
            .assert_code(0)
            .assert_says("SCHEMAGATE_QUIT_URL")
            .assert_says(reason)
            .assert_within(BOUND);
        assert_sum_comes_last(&outcome);
        assert_eq!(proxy.lines().len(), 1, "what was asked is not asked again");
    }
}

#[test]
fn a_refused_call_beside_an_absent_proxy_still_ends_with_2() {
    waiting("soon")
        .env("SCHEMAGATE_QUIT_URL", "http://127.0.0.1:1/")
        .run()
        .assert_code(2)
        .assert_says("SCHEMAGATE_WAIT_TIMEOUT")
        .assert_says("not told")
        .assert_within(BOUND);
}

#[test]
fn after_a_signal() {
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let proxy = proxy();
        let running = quitting(waiting("1m"), &proxy).spawn();
        eventually!(!running.stderr().is_empty(), "it says that it waits");
        running.signal(signal);
        let outcome = running.wait();
        assert_told(&proxy, &outcome, code);
        assert_sum_comes_last(&outcome);
    }
}

#[test]
fn a_signal_cuts_it_short() {
    let silent = Receiver::start(Reply::Nothing);
    let running = quitting(waiting("1m"), &silent)
        .env("SCHEMAGATE_PUSHGATEWAY_URL", silent.url(""))
        .spawn();
    eventually!(!running.stderr().is_empty(), "it says that it waits");
    running.signal("TERM");
    let outcome = running.wait();
    outcome.assert_code(143);
    assert_eq!(
        outcome
            .stderr
            .matches("not done 0.5 s after SIGTERM")
            .count(),
        2,
        "{outcome}"
    );
    assert_sum_comes_last(&outcome);
}
