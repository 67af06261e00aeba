//! `run -- CMD`: wait, migrate or tell what is pending, and become the command.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::harness::process::must;
use crate::harness::{Database, Folder, Running, Schemagate, Server, eventually};

/// Nothing listens on port 1.
const NOBODY: &str = "postgres://app:s3cret@127.0.0.1:1/app";

fn one() -> Folder {
    Folder::sql(&[("0001_a.sql", "CREATE TABLE a (id int);\n")])
}

fn path() -> OsString {
    std::env::var_os("PATH").expect("a PATH")
}

fn run(url: &str, folder: impl AsRef<Path>, argv: &[&str]) -> Schemagate {
    Schemagate::new(&[&["run", "--"], argv].concat())
        .url(url)
        .folder(folder)
        .env("PATH", path())
}

/// On a database that is what the image needs.
fn current(argv: &[&str]) -> (Database<'static>, Schemagate) {
    let (database, folder) = (Server::debian().database(), one());
    Schemagate::migrate(&database, &folder).run().assert_code(0);
    let call = run(&database.url(), &folder, argv);
    (database, call)
}

/// The standard output of the same command without us.
fn alone(argv: &[&str]) -> String {
    let output = must(Command::new(argv[0]).args(&argv[1..]));
    String::from_utf8(output.stdout).expect("text")
}

#[track_caller]
fn started(call: &Schemagate) -> Running {
    let running = call.spawn();
    eventually!(
        running.stderr().lines().any(|line| line == "up"),
        "the command does not start: {}",
        running.stderr()
    );
    running
}

#[test]
fn it_is_the_same_process() {
    let (_database, call) = current(&["sh", "-c", "echo $$"]);
    let running = call.spawn();
    let pid = running.pid();
    let outcome = running.wait();
    outcome.assert_code(0);
    assert_eq!(outcome.stdout.trim(), pid.to_string());
}

#[test]
fn the_environment_is_the_same_without_our_secrets() {
    let (database, call) = current(&["env"]);
    let mut expected = BTreeMap::from([
        ("DATABASE_URL", "postgres://app:its-own@db/app".to_owned()),
        ("DATABASE_URL_FILE", "/no/such/file".to_owned()),
        ("EMPTY", String::new()),
        ("PGPASSWORD", "its-own".to_owned()),
        ("PGAPPNAME", "app".to_owned()),
        ("SCHEMAGATE_WAIT_TIMEOUT", "1m".to_owned()),
        ("SCHEMAGATE_PORT", "tcp://10.0.0.1:9911".to_owned()),
        ("HOSTNAME", "pod-1".to_owned()),
        ("LANG", "\u{1f418} = 'x'".to_owned()),
    ]);
    let call = expected
        .iter()
        .fold(call, |call, (name, value)| call.env(name, value))
        .env("SCHEMAGATE_PUSHGATEWAY_URL", "http://u:s3cret@push/")
        .env("SCHEMAGATE_QUIT_URL", "http://u:s3cret@127.0.0.1:1/quit");
    expected.insert("PATH", path().into_string().expect("a PATH in UTF-8"));
    let outcome = call.run();
    outcome.assert_code(0);
    let mut found: BTreeMap<&str, String> = outcome
        .stdout
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name, value.to_owned()))
        .collect();
    assert!(found.remove("SCHEMAGATE_DIR").is_some());
    assert_eq!(found, expected);

    // The file with the address goes too, and what flags say is no variable of the command's.
    let file = Folder::empty();
    file.write("url", database.url().as_bytes());
    let outcome = Schemagate::new(&["run", "--dir"])
        .arg(&one().path().to_string_lossy())
        .arg("--")
        .arg("env")
        .env("PATH", path())
        .env("SCHEMAGATE_DATABASE_URL_FILE", file.path().join("url"))
        .env("SCHEMAGATE_DIR", "/as/it/was")
        .run();
    outcome
        .assert_code(0)
        .assert_prints("SCHEMAGATE_DIR=/as/it/was");
    assert!(!outcome.stdout.contains("DATABASE_URL"), "{outcome}");
}

#[test]
fn values_that_are_no_text_are_passed_on() {
    let (_database, call) = current(&["sh", "-c", "printf %s \"$ODD\" | od -An -tx1"]);
    let odd = OsString::from_vec(vec![b'a', 0xff, 0xfe, b'\n', 0x80]);
    let outcome = call.env("ODD", odd).run();
    outcome.assert_code(0);
    assert_eq!(outcome.stdout.trim(), "61 ff fe 0a 80");
}

#[test]
fn arguments_are_passed_on_as_they_are() {
    let odd = [
        "two words",
        "\u{1f418}",
        "",
        "--",
        "-x",
        "--help",
        "$HOME",
        "*",
        "it's \"q\"\n",
    ];
    let argv = [&["printf", "[%s]"], &odd[..]].concat();
    let (_database, call) = current(&argv);
    let outcome = call.run();
    outcome.assert_code(0);
    assert_eq!(outcome.stdout, alone(&argv));
}

#[test]
fn the_end_is_the_commands_own() {
    for code in [0, 1, 37, 255] {
        let (_database, call) = current(&["sh", "-c", &format!("exit {code}")]);
        let outcome = call.run();
        assert_eq!(
            (outcome.code(), outcome.signal()),
            (code, None),
            "{outcome}"
        );
    }
    let (_database, call) = current(&["sh", "-c", "kill -KILL $$"]);
    let outcome = call.run();
    assert_eq!(outcome.signal(), Some(9), "{outcome}");
}

#[test]
fn signals_reach_the_command() {
    let trap = "trap 'echo caught; exit 7' TERM; echo up >&2; while :; do sleep 0.05; done";
    let (_database, call) = current(&["sh", "-c", trap]);
    let running = started(&call);
    running.signal("TERM");
    running.wait().assert_code(7).assert_prints("caught");
    for (name, number) in [("TERM", 15), ("INT", 2), ("PIPE", 13)] {
        let (_database, call) = current(&["sh", "-c", "echo up >&2; exec sleep 60"]);
        let running = started(&call);
        running.signal(name);
        let outcome = running.wait();
        assert_eq!(outcome.signal(), Some(number), "{outcome}");
    }
}

/// Masks and dispositions, open files, limits, working folder: as if we had never been there.
#[test]
fn nothing_of_ours_is_left_in_the_process() {
    for argv in [
        &[
            "grep",
            "-E",
            "^(Sig(Blk|Ign|Cgt)|Threads|NoNewPrivs):",
            "/proc/self/status",
        ][..],
        &["ls", "/proc/self/fd"],
        &["sh", "-c", "ulimit -a"],
        &["sh", "-c", "umask; pwd"],
    ] {
        let (_database, call) = current(argv);
        let outcome = call.run();
        outcome.assert_code(0);
        assert_eq!(
            heeding_interrupts(&outcome.stdout),
            heeding_interrupts(&alone(argv)),
            "{argv:?}"
        );
    }
}

/// A shell without job control lets what it starts in the background ignore SIGINT. We listen for it while we wait, and
/// the command finds it at its default.
fn heeding_interrupts(text: &str) -> String {
    let line = |line: &str| match line.strip_prefix("SigIgn:\t") {
        Some(mask) => {
            let ignored = u64::from_str_radix(mask, 16).unwrap();
            format!("SigIgn:\t{:016x}\n", ignored & !(1 << 1))
        }
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

#[test]
fn it_migrates_when_asked_and_sums_up_before_it_starts() {
    let (database, folder) = (Server::debian().database(), one());
    let call = run(&database.url(), &folder, &["sh", "-c", "echo up >&2"]);
    let outcome = call.clone().env("SCHEMAGATE_AUTO_MIGRATE", "true").run();
    outcome.assert_code(0);
    assert!(database.has_table("a"));
    let lines: Vec<&str> = outcome.stderr.lines().collect();
    let [.., sum, "up"] = lines[..] else {
        panic!("the sum does not come right before the command\n{outcome}");
    };
    let sum: serde_json::Value = serde_json::from_str(sum).expect("the sum in JSON");
    assert_eq!(sum["command"], "run");
    assert_eq!(sum["exit_code"], 0);
    assert_eq!(sum["applied"][0]["version"], "0001");
    call.env("SCHEMAGATE_REQUIRE_CURRENT", "true")
        .run()
        .assert_code(0)
        .assert_silent_about("pending:");
}

#[test]
fn a_failed_migration_does_not_start_the_command() {
    let database = Server::debian().database();
    let folder = Folder::sql(&[("0001_a.sql", "CREATE TABLE a (id no_such_type);\n")]);
    let outcome = run(&database.url(), &folder, &["echo", "started"])
        .env("SCHEMAGATE_AUTO_MIGRATE", "true")
        .run();
    outcome.assert_code(5).assert_says("no_such_type");
    assert_eq!(outcome.stdout, "");
}

#[test]
fn what_is_pending_is_told_and_refused_where_asked() {
    let (database, folder) = (Server::debian().database(), one());
    let call = run(&database.url(), &folder, &["echo", "started"]);
    let strict = call.clone().env("SCHEMAGATE_REQUIRE_CURRENT", "true");
    call.run()
        .assert_code(0)
        .assert_prints("started")
        .assert_says("1 pending: 0001");
    let refused = strict.run();
    refused.assert_code(8).assert_says("1 pending: 0001");
    assert_eq!(refused.stdout, "");
    assert!(!database.has_table("a"));

    Schemagate::migrate(&database, &folder).run().assert_code(0);
    strict.run().assert_code(0).assert_silent_about("pending:");
    folder.write("0001_a.sql", b"CREATE TABLE a (id bigint);\n");
    call.run()
        .assert_code(0)
        .assert_prints("started")
        .assert_says("0001_a.sql has changed");
    strict
        .run()
        .assert_code(6)
        .assert_says("0001_a.sql has changed");
}

#[test]
fn rows_of_a_newer_image_are_as_ahead_says() {
    let (database, folder) = (Server::debian().database(), one());
    folder.write("0002_b.sql", b"CREATE TABLE b (id int);\n");
    Schemagate::migrate(&database, &folder).run().assert_code(0);
    folder.remove("0002_b.sql");
    let strict = run(&database.url(), &folder, &["echo", "started"])
        .env("SCHEMAGATE_REQUIRE_CURRENT", "true");
    strict.run().assert_code(0).assert_prints("started");
    strict.env("SCHEMAGATE_AHEAD", "fail").run().assert_code(6);
}

#[test]
fn a_dry_run_starts_nothing() {
    let (database, folder) = (Server::debian().database(), one());
    let call = run(&database.url(), &folder, &["sh", "-c", "echo started"])
        .env("SCHEMAGATE_DRY_RUN", "true");
    let looked = call.run();
    looked
        .assert_code(0)
        .assert_prints("would run sh -c 'echo started'")
        .assert_says("1 pending: 0001");
    let planned = call.env("SCHEMAGATE_AUTO_MIGRATE", "true").run();
    planned
        .assert_code(0)
        .assert_prints("would apply 0001")
        .assert_prints("would run sh -c 'echo started'");
    let secret = ["sh", "--password=hunter2", "postgres://u:hunter2@db/app"];
    run(&database.url(), &folder, &secret)
        .env("SCHEMAGATE_DRY_RUN", "true")
        .run()
        .assert_code(0)
        .assert_prints("would run sh '[not shown]' '[not shown]'");
    for outcome in [looked, planned] {
        assert!(!outcome.stdout.lines().any(|line| line == "started"));
    }
    assert!(!database.has_table("a"));
}

#[test]
fn a_typo_is_told_before_anything_else() {
    for (argv, says) in [
        (&["no-such-program"][..], "no-such-program"),
        (&["/no/such/program", "x"], "/no/such/program"),
        (&["/etc/passwd"], "/etc/passwd"),
    ] {
        // Neither the folder nor the database is there.
        run(NOBODY, "/no/such/folder", argv)
            .env("SCHEMAGATE_WAIT_TIMEOUT", "10m")
            .run()
            .assert_code(2)
            .assert_says(says)
            .assert_silent_about("waiting for the database")
            .assert_silent_about("/no/such/folder");
    }
    let (database, folder) = (Server::debian().database(), one());
    run(&database.url(), &folder, &["no-such-program"])
        .env("SCHEMAGATE_AUTO_MIGRATE", "true")
        .run()
        .assert_code(2);
    assert!(!database.has_table("a"));
    Schemagate::new(&["run"]).url(NOBODY).run().assert_code(2);
}

/// What only the kernel can tell: a program that is still being written.
#[test]
fn a_program_that_cannot_be_started_is_2() {
    let folder = Folder::empty();
    let program = folder.path().join("app");
    fs::copy("/bin/true", &program).expect("a copy");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("its mode");
    let _writer = OpenOptions::new()
        .append(true)
        .open(&program)
        .expect("the copy opens");
    let (_database, call) = current(&[&program.to_string_lossy()]);
    let outcome = call.run();
    outcome
        .assert_code(2)
        .assert_says("cannot run")
        .assert_says("what to do");
}

#[test]
fn the_wait_is_that_of_every_command() {
    let call = run(NOBODY, one(), &["echo", "started"]);
    let refused = call.clone().env("SCHEMAGATE_WAIT_TIMEOUT", "1s").run();
    refused.assert_code(3).assert_silent_about("s3cret");
    assert_eq!(refused.stdout, "");
    call.clone()
        .env("SCHEMAGATE_DEADLINE", "1s")
        .run()
        .assert_code(10);
    let running = call.spawn();
    eventually!(
        running.stderr().contains("waiting for the database"),
        "{}",
        running.stderr()
    );
    running.signal("TERM");
    let ended = running.wait();
    assert_eq!((ended.code(), ended.signal()), (143, None), "{ended}");
    assert_eq!(ended.stdout, "");
}
