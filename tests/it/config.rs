//! Settings, help and `install`, through the built binary. No server is needed: nothing here gets as far as connecting.

use std::io::Write;
use std::process::{Command, Output, Stdio};

/// Runs the binary with nothing but the given environment.
fn run(args: &[&str], env: &[(&str, &str)]) -> (i32, String, String) {
    told(command(args, env).output())
}

fn command(args: &[&str], env: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_schemagate"));
    command.args(args).env_clear().envs(env.iter().copied());
    command.stdin(Stdio::null());
    command
}

/// Exit code, standard output, standard error.
#[allow(
    clippy::expect_used,
    reason = "a helper of tests, which clippy does not take for one"
)]
fn told(output: std::io::Result<Output>) -> (i32, String, String) {
    let output = output.expect("the binary runs");
    let text = |bytes| String::from_utf8(bytes).expect("the output is text");
    let code = output.status.code().expect("the binary was not killed");
    (code, text(output.stdout), text(output.stderr))
}

#[test]
fn every_mistake_is_told_at_once_and_no_secret() {
    let (code, out, err) = run(
        &["migrate", "--lock-retries=many"],
        &[
            (
                "SCHEMAGATE_DATABASE_URL",
                "postgres://u:hunter2@localhost/d",
            ),
            ("SCHEMAGATE_DATABSE_URL", "postgres://u:hunter2@localhost/d"),
            ("SCHEMAGATE_WAIT_TIMEOUT", "120"),
            ("SCHEMAGATE_WINDOW", "Sat 02:00-04:00"),
            ("SCHEMAGATE_PORT", "tcp://10.0.0.1:5432"),
        ],
    );
    assert_eq!((code, out.as_str()), (2, ""));
    for text in [
        "4 mistakes",
        "did you mean SCHEMAGATE_DATABASE_URL?",
        "SCHEMAGATE_WAIT_TIMEOUT=\"120\"",
        "SCHEMAGATE_WINDOW=",
        "--lock-retries=\"many\"",
    ] {
        assert!(err.contains(text), "{text:?} is not in\n{err}");
    }
    assert!(
        !err.contains("hunter2") && !err.contains("10.0.0.1"),
        "{err}"
    );
}

#[test]
fn the_environment_need_not_be_text() {
    use std::os::unix::ffi::OsStrExt;
    let garbled = std::ffi::OsStr::from_bytes(b"\xff\xfe");
    let mut other = command(&["--version"], &[]);
    assert_eq!(told(other.env("LS_COLORS", garbled).output()).0, 0);
    let mut ours = command(&["migrate"], &[]);
    ours.env("SCHEMAGATE_ROLE", garbled)
        .env("PGPASSWORD", garbled);
    let (code, _, err) = told(ours.output());
    assert_eq!(code, 2);
    assert!(
        err.contains("SCHEMAGATE_ROLE: the value is not valid UTF-8"),
        "{err}"
    );
    assert!(
        err.contains("PGPASSWORD: the value is not valid UTF-8"),
        "{err}"
    );
}

#[test]
fn streams_and_codes_of_help() {
    let (code, out, err) = run(&["--help"], &[]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.contains("Exit codes:"), "{out}");
    let (code, out, err) = run(&[], &[]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("Usage:"), "{err}");
    let (code, _, err) = run(&["backfill", "--batch", "5"], &[]);
    assert_eq!(code, 2);
    assert!(err.contains("later release"), "{err}");
}

#[test]
fn help_into_a_closed_pipe_is_no_crash() {
    for (args, code) in [
        (&["--help"][..], 0),
        (&[][..], 2),
        (&["install", "/no/such/place"][..], 2),
    ] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut child = command(args, &[]);
        let errors = writer.try_clone().expect("a second end");
        child.stdout(writer).stderr(errors);
        let status = child.status().expect("the binary runs");
        assert_eq!(status.code(), Some(code), "{args:?}");
    }
}

#[test]
fn a_full_disk_under_the_log_is_no_crash() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
    let mut full = full.expect("/dev/full");
    assert!(full.write_all(b"x").is_err());
    let status = command(&["install", "/no/such/place"], &[])
        .stderr(full)
        .status();
    assert_eq!(status.expect("the binary runs").code(), Some(2));
}

#[test]
fn install_copies_a_binary_that_runs() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let path = folder.path().to_str().expect("a readable name");
    let (code, _, err) = run(&["install", path], &[]);
    assert_eq!(code, 0, "{err}");
    let copy = Command::new(folder.path().join("schemagate"))
        .arg("--version")
        .output();
    let (code, out, _) = told(copy);
    assert_eq!(code, 0);
    assert_eq!(out, concat!("schemagate ", env!("CARGO_PKG_VERSION"), "\n"));
    let left = std::fs::read_dir(folder.path())
        .expect("the folder")
        .count();
    assert_eq!(left, 1);
}

#[test]
fn install_says_why_not() {
    let (code, _, err) = run(&["install", "/no/such/place/gate"], &[]);
    assert_eq!(code, 2);
    assert!(
        err.contains("/no/such/place/gate") && err.contains("folder that exists"),
        "{err}"
    );
}

#[test]
fn the_log_is_json_where_nobody_looks_and_text_on_request() {
    let failing = &["install", "/no/such/place/gate"];
    let (_, _, err) = run(failing, &[]);
    let line: serde_json::Value =
        serde_json::from_str(err.lines().next().unwrap_or_default()).expect("a line of JSON");
    assert_eq!(line["level"], "ERROR");
    let (_, _, err) = run(failing, &[("SCHEMAGATE_LOG_FORMAT", "text")]);
    assert!(!err.starts_with('{') && !err.contains('\u{1b}'), "{err}");
}
