//! How the command ends, and what `exec` makes of it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::thread::sleep;
use std::time::Duration;

use super::{WAITING, exec, let_go, pid_of, read};
use crate::harness::process::is_alive;
use crate::harness::{Database, Folder, Running, Server, eventually};

/// Starts a script that waits, after what it is to do on SIGTERM.
fn waiting(database: &Database<'_>, folder: &Folder, trap: &str) -> Running {
    exec(&database.url(), folder, &format!("{trap}\n{WAITING}")).spawn()
}

#[test]
fn output_and_code_are_its_own() {
    let database = Server::debian().database();
    let script = "echo to stdout; echo to stderr >&2; read line || echo no input; exit 7";
    let outcome = exec(&database.url(), &Folder::empty(), script).run();
    outcome
        .assert_code(7)
        .assert_prints("to stdout\nno input")
        .assert_says("to stderr\n")
        .assert_says("sh ended with 7")
        .assert_says("its output above says why");
    let summary = outcome.logs().pop().expect("the sum of the run");
    assert_eq!(summary["exit_code"], 7, "{summary}");
    assert_eq!(summary["exec"]["command"], "sh", "{summary}");
    assert_eq!(summary["exec"]["exit_code"], 7, "{summary}");
    exec(&database.url(), &Folder::empty(), "kill -KILL $$")
        .run()
        .assert_code(137)
        .assert_says("SIGKILL")
        .assert_says("OOMKilled");
    eventually!(database.has_no_advisory_lock(), "the lock is free");
}

#[test]
fn a_signal_is_passed_on_and_the_end_is_its_own() {
    let database = Server::debian().database();
    for (signal, trap, code) in [
        ("TERM", "trap 'exit 7' TERM", 7),
        ("TERM", "trap 'exit 0' TERM", 0),
        ("TERM", "", 143),
        ("INT", "trap 'exit 8' INT", 8),
        ("INT", "", 130),
    ] {
        let folder = Folder::empty();
        let running = waiting(&database, &folder, trap);
        let pid = pid_of(&folder);
        running.signal(signal);
        running.wait().assert_code(code);
        assert!(!is_alive(pid));
        eventually!(database.has_no_advisory_lock(), "the lock is free");
    }
}

/// Until the command has ended it may write: the lock stays.
/// What reads the log line by line must find ours.
#[test]
fn a_last_line_without_an_end_is_not_our_sums_beginning() {
    let database = Server::debian().database();
    let script = "printf 'to stdout'; printf 'to stderr' >&2";
    let outcome = exec(&database.url(), &Folder::empty(), script).run();
    outcome.assert_code(0).assert_says("to stderr\n");
    assert_eq!(outcome.stdout, "to stdout");
    let last = outcome.stderr.lines().last().expect("a line");
    let sum: serde_json::Value = serde_json::from_str(last).expect("JSON alone in its line");
    assert_eq!(sum["message"], "run finished");
}

/// A log collector that hangs fills the pipe, and whoever logs stands still.
#[test]
fn a_signal_is_passed_on_though_nobody_reads_the_log() {
    let database = Server::debian().database();
    let folder = Folder::empty();
    folder.write(
        "stuck",
        b"#!/bin/sh\nmkfifo \"$DIR/log\"; exec 3<>\"$DIR/log\"; exec \"$GATE\" \"$@\" 2>&3\n",
    );
    let stuck = folder.path().join("stuck");
    fs::set_permissions(&stuck, fs::Permissions::from_mode(0o755)).expect("chmod");
    let script = format!(
        "trap 'touch \"$DIR/told\"; exit' TERM
         (while :; do echo {} >&2; echo >>\"$DIR/lines\"; done) &
         {WAITING}",
        "x".repeat(1000)
    );
    let running = exec(&database.url(), &folder, &script)
        .env("GATE", env!("CARGO_BIN_EXE_schemagate"))
        .program(&stuck)
        .spawn();
    pid_of(&folder);
    let lines = || read(&folder.path().join("lines")).len();
    let stands_still = || {
        let before = lines();
        sleep(Duration::from_millis(500));
        before > 0 && lines() == before
    };
    eventually!(stands_still(), "nobody reads");
    running.signal("TERM");
    eventually!(folder.path().join("told").exists(), "it is told");
    running.signal("KILL");
}

#[test]
fn the_lock_is_held_until_a_told_command_has_ended() {
    let database = Server::debian().database();
    let folder = Folder::empty();
    let running = waiting(&database, &folder, "trap 'touch \"$DIR/told\"' TERM");
    pid_of(&folder);
    running.signal("TERM");
    eventually!(folder.path().join("told").exists(), "it is told");
    assert!(!database.has_no_advisory_lock());
    let_go(&folder);
    running.wait().assert_code(0);
}

#[test]
fn a_command_that_does_not_heed_a_signal_is_killed_before_the_kubelet_does() {
    let database = Server::debian().database();
    let folder = Folder::empty();
    let running = waiting(&database, &folder, "trap '' TERM");
    let pid = pid_of(&folder);
    running.signal("TERM");
    running
        .wait()
        .assert_code(10)
        .assert_says("SIGTERM received and passed on; sh did not end within 25 s")
        .assert_within(Duration::from_mins(1));
    assert!(!is_alive(pid));
    eventually!(database.has_no_advisory_lock(), "the lock is free");
}

#[test]
fn a_second_signal_ends_both_at_once() {
    let database = Server::debian().database();
    let folder = Folder::empty();
    let running = waiting(&database, &folder, "trap '' TERM");
    let pid = pid_of(&folder);
    running.signal("TERM");
    eventually!(
        running.stderr().contains("passing it on"),
        "the first is seen"
    );
    running.signal("TERM");
    running.wait().assert_code(143);
    eventually!(!is_alive(pid), "the command is not left behind");
    eventually!(database.has_no_advisory_lock(), "the lock is free");
}

#[test]
fn the_deadline() {
    let database = Server::debian().database();
    let folder = Folder::empty();
    for trap in ["", "trap '' TERM"] {
        let running = exec(&database.url(), &folder, &format!("{trap}\n{WAITING}"))
            .env("SCHEMAGATE_DEADLINE", "2s")
            .env("SCHEMAGATE_EXEC_ONCE", "deadline")
            .spawn();
        let pid = pid_of(&folder);
        running
            .wait()
            .assert_code(10)
            .assert_says("SCHEMAGATE_DEADLINE");
        assert!(!is_alive(pid));
    }
    let failed =
        "SELECT count(*), min(detail->>'message') FROM schemagate.journal WHERE event = 'failed'";
    let rows = database.query(failed);
    assert_eq!(rows[0][0], "2");
    assert!(rows[0][1].contains("the deadline passed"), "{rows:?}");
}

#[test]
fn what_it_leaves_running_is_told_of() {
    let database = Server::debian().database();
    let folder = Folder::empty();
    let script =
        format!("({WAITING}) >/dev/null 2>&1 & until [ -e \"$DIR/pid\" ]; do sleep 0.05; done");
    exec(&database.url(), &folder, &script)
        .run()
        .assert_code(0)
        .assert_says("is under no lock");
    let_go(&folder);
    assert!(!read(&folder.path().join("pid")).is_empty());
}
