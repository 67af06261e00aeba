//! Each exit code for its reason, and what is said beside it.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::harness::{Folder, Schemagate, Server, eventually};

fn one() -> Folder {
    Folder::sql(&[("0001_a.sql", "CREATE TABLE a (id int);")])
}

/// Nothing listens on port 1.
const NOBODY: &str = "postgres://app:s3cret@127.0.0.1:1/app";

#[test]
fn an_unknown_variable_is_2_and_suggests_the_nearest() {
    Schemagate::new(&["migrate"])
        .url(NOBODY)
        .folder(one())
        .env("SCHEMAGATE_LOCK_TIMEOUTS", "5s")
        .run()
        .assert_code(2)
        .assert_says("SCHEMAGATE_LOCK_TIMEOUTS")
        .assert_says("SCHEMAGATE_LOCK_TIMEOUT");
}

#[test]
fn all_mistakes_are_told_at_once_without_the_secret() {
    Schemagate::new(&["migrate"])
        .url("mysql://app:s3cret@db/app")
        .env("SCHEMAGATE_LOCK_TIMEOUT", "fast")
        .env("SCHEMAGATE_FORMAT", "rails")
        .env("SCHEMAGATE_TRANSACTION", "none")
        .run()
        .assert_code(2)
        .assert_says("SCHEMAGATE_DATABASE_URL")
        .assert_says("SCHEMAGATE_LOCK_TIMEOUT")
        .assert_says("fast")
        .assert_says("SCHEMAGATE_FORMAT")
        .assert_says("SCHEMAGATE_TRANSACTION")
        .assert_silent_about("s3cret");
}

#[test]
fn what_kubernetes_injects_for_a_service_is_ignored() {
    let database = Server::debian().database();
    Schemagate::migrate(&database, one())
        .env("SCHEMAGATE_SERVICE_HOST", "10.0.0.1")
        .env("SCHEMAGATE_SERVICE_PORT", "9911")
        .env("SCHEMAGATE_SERVICE_PORT_HTTP", "9911")
        .env("SCHEMAGATE_PORT", "tcp://10.0.0.1:9911")
        .env("SCHEMAGATE_PORT_9911_TCP", "tcp://10.0.0.1:9911")
        .env("SCHEMAGATE_PORT_9911_TCP_ADDR", "10.0.0.1")
        .env("SCHEMAGATE_MIGRATOR_SERVICE_HOST", "10.0.0.2")
        .run()
        .assert_code(0);
    assert!(database.has_table("a"));
}

#[test]
fn an_unknown_command_is_2() {
    Schemagate::new(&["migrat"])
        .run()
        .assert_code(2)
        .assert_says("migrate");
}

#[test]
fn help_and_version_are_0() {
    for command in [
        &[][..],
        &["migrate"],
        &["status"],
        &["wait"],
        &["baseline"],
        &["install"],
    ] {
        let with = |flag| Schemagate::new(&[command, &[flag]].concat()).run();
        with("--help").assert_code(0).assert_prints("schemagate");
        with("--version")
            .assert_code(0)
            .assert_prints(env!("CARGO_PKG_VERSION"));
    }
}

#[test]
fn an_unreachable_server_is_3() {
    Schemagate::new(&["migrate"])
        .url(NOBODY)
        .folder(one())
        .env("SCHEMAGATE_WAIT_TIMEOUT", "1s")
        .run()
        .assert_code(3)
        .assert_says("127.0.0.1")
        .assert_silent_about("s3cret")
        .assert_within(Duration::from_secs(5));
}

#[test]
fn an_unknown_host_is_3() {
    Schemagate::new(&["wait"])
        .url("postgres://app@nowhere.invalid/app")
        .env("SCHEMAGATE_WAIT_TIMEOUT", "1s")
        .run()
        .assert_code(3)
        .assert_says("nowhere.invalid");
}

#[test]
fn without_waiting_one_attempt_is_made() {
    Schemagate::new(&["migrate"])
        .url(NOBODY)
        .folder(one())
        .env("SCHEMAGATE_WAIT", "false")
        .run()
        .assert_code(3)
        .assert_within(Duration::from_secs(1));
}

#[test]
fn a_broken_folder_is_told_before_any_waiting() {
    Schemagate::new(&["migrate"])
        .url(NOBODY)
        .folder("/nowhere")
        .run()
        .assert_code(2)
        .assert_says("/nowhere")
        .assert_within(Duration::from_secs(1));
}

#[test]
fn a_wrong_password_is_9_after_the_grace() {
    let database = Server::debian().database();
    let role = database.role("app", "LOGIN PASSWORD 'right' IN ROLE needs_password");
    let outcome = Schemagate::migrate(&database, one())
        .url(&database.url_as(&format!("{role}:wr0ng-s3cret")))
        .run();
    outcome
        .assert_code(9)
        .assert_says("28P01")
        .assert_silent_about("wr0ng-s3cret")
        .assert_within(Duration::from_secs(20));
    assert!(outcome.elapsed >= Duration::from_secs(8), "{outcome}");
}

#[test]
fn a_password_that_becomes_right_within_the_grace_is_0() {
    let database = Server::debian().database();
    let role = database.role("app", "LOGIN PASSWORD 'right' IN ROLE needs_password");
    let running = Schemagate::new(&["wait"])
        .url(&database.url_as(&format!("{role}:late")))
        .spawn();
    eventually!(
        Server::debian()
            .log()
            .contains(&format!("failed for user \"{role}\"")),
        "a first attempt"
    );
    database.query(&format!("ALTER ROLE {role} PASSWORD 'late'"));
    running.wait().assert_code(0);
}

#[test]
fn an_unknown_database_is_9() {
    let database = Server::debian().database();
    Schemagate::migrate(&database, one())
        .url(&Server::debian().url("nowhere"))
        .env("SCHEMAGATE_AUTH_GRACE", "500ms")
        .run()
        .assert_code(9)
        .assert_says("nowhere")
        .assert_says("3D000");
}

#[test]
fn no_privilege_is_9_and_the_message_holds_the_grant() {
    let database = Server::debian().database();
    let role = database.role("app", "LOGIN");
    let classic = Folder::classic(&[("0000_a", 1_700_000_000_000, "CREATE TABLE a (id int);")]);
    for folder in [one(), classic] {
        Schemagate::migrate(&database, &folder)
            .url(&database.url_as(&role))
            .run()
            .assert_code(9)
            .assert_says("GRANT CREATE ON DATABASE")
            .assert_says(&role);
    }
}

#[test]
fn without_a_journal_transactional_work_goes_on() {
    let database = Server::debian().database();
    let role = database.role("app", "LOGIN");
    database.query(&format!(
        "CREATE SCHEMA drizzle AUTHORIZATION {role}; GRANT CREATE ON SCHEMA public TO {role}"
    ));
    let folder = Folder::classic(&[("0000_a", 1_700_000_000_000, "CREATE TABLE a (id int);")]);
    Schemagate::migrate(&database, &folder)
        .url(&database.url_as(&role))
        .run()
        .assert_code(0)
        .assert_says("GRANT CREATE ON DATABASE");
    assert!(database.has_table("a"));
    database.query(&format!("DROP OWNED BY {role}"));
}

#[test]
fn the_deadline_is_10_and_cancels() {
    let database = Server::debian().database();
    let folder = Folder::sql(&[(
        "0001_slow.sql",
        "CREATE TABLE half (id int); SELECT pg_sleep(60);",
    )]);
    Schemagate::migrate(&database, &folder)
        .env("SCHEMAGATE_DEADLINE", "1s")
        .run()
        .assert_code(10)
        .assert_says("SCHEMAGATE_DEADLINE")
        .assert_within(Duration::from_secs(5));
    eventually!(database.has_no_advisory_lock(), "the lock is free");
    assert!(!database.has_table("half"));
}

#[test]
fn wait_ends_when_the_database_answers() {
    let server = Server::own();
    let url = server.url("postgres");
    server.stop(crate::harness::Stop::Fast);
    let mut running = Schemagate::new(&["wait", "--for", "database"])
        .url(&url)
        .spawn();
    eventually!(!running.stderr().is_empty(), "it says that it waits");
    assert!(running.is_running());
    server.start();
    running.wait().assert_code(0);
}

/// `/dev/termination-log` in a mount namespace of its own: the machine's `/dev` is not touched.
#[test]
fn the_reason_stands_in_the_termination_log() {
    let script = "mount -t tmpfs none /dev && : >/dev/termination-log && \"$0\" migrate; code=$?; cat /dev/termination-log; exit $code";
    let output = Command::new("unshare")
        .args([
            "--mount",
            "--map-root-user",
            "sh",
            "-c",
            script,
            env!("CARGO_BIN_EXE_schemagate"),
        ])
        .env("SCHEMAGATE_DATABASE_URL", NOBODY)
        .env("SCHEMAGATE_DIR", "/nowhere")
        .output()
        .expect("unshare (util-linux) starts");
    let (said, logged) = (
        String::from_utf8_lossy(&output.stderr),
        String::from_utf8_lossy(&output.stdout),
    );
    assert_eq!(
        output.status.code(),
        Some(2),
        "mount namespaces are needed (root, or unprivileged user namespaces): {said}"
    );
    assert!(logged.contains("/nowhere"), "{logged}");
    assert!(
        logged.lines().count() >= 2,
        "what happened, and what to do: {logged}"
    );
}

#[test]
fn install_copies_the_executable() {
    let folder = Folder::empty();
    let target = folder.path().join("bin/schemagate");
    std::fs::create_dir(folder.path().join("bin")).expect("a folder");
    let install = |path: &Path| {
        Schemagate::new(&["install"])
            .arg(&path.to_string_lossy())
            .run()
    };
    for _ in 0..2 {
        install(&target).assert_code(0);
    }
    assert_eq!(crate::harness::process::mode(&target), 0o755);
    Schemagate::new(&["--version"])
        .program(&target)
        .run()
        .assert_code(0);
    assert_eq!(folder.names(), ["bin"]);

    install(&folder.path().join("absent/schemagate"))
        .assert_code(2)
        .assert_says("absent");
}

#[test]
fn a_full_standard_output_is_no_panic() {
    let database = Server::debian().database();
    let output = Command::new("sh")
        .args([
            "-c",
            "exec \"$0\" status >/dev/full",
            env!("CARGO_BIN_EXE_schemagate"),
        ])
        .env("SCHEMAGATE_DATABASE_URL", database.url())
        .env("SCHEMAGATE_DIR", one().path())
        .output()
        .expect("sh starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("panicked"), "{said}");
    assert!(
        !output.status.success(),
        "a status that nobody could read is no success"
    );
    assert_ne!(output.status.code(), None, "it ends with a code");
}
