//! The progress bar, on a real terminal.

use std::process::{Command, Stdio};

use crate::harness::{Database, Folder, Server};
use crate::slow::{SECONDS, table};

/// What the terminal got to see, and its exit code.
fn on_a_terminal(
    database: &Database<'_>,
    folder: &Folder,
    term: &str,
    settings: &str,
) -> (String, i32) {
    let call = format!(
        "stty cols 120 rows 30; SCHEMAGATE_DATABASE_URL={} SCHEMAGATE_DIR={} {settings} exec {} migrate",
        database.url(),
        folder.as_ref().display(),
        env!("CARGO_BIN_EXE_schemagate"),
    );
    let output = Command::new("timeout")
        .args([
            "180",
            "script",
            "--quiet",
            "--return",
            "--command",
            &call,
            "/dev/null",
        ])
        .env("TERM", term)
        .stdin(Stdio::null())
        .output()
        .expect("no timeout: run `make setup`");
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    (shown, output.status.code().unwrap_or(-1))
}

/// What a terminal shows in the end: what a line was overwritten or cleared with is gone.
fn remains(shown: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for line in shown.split('\n') {
        let line = line.trim_end_matches('\r');
        let cleared = line.rsplit("\u{1b}[2K").next().unwrap_or_default();
        lines.push(cleared.rsplit('\r').next().unwrap_or_default().to_owned());
    }
    lines
}

fn two_files() -> Folder {
    Folder::sql(&[
        (
            "0001_slow.sql",
            "CREATE INDEX parcels_slowly ON parcels (slowly(id));",
        ),
        ("0002_quick.sql", "SELECT 1;"),
    ])
}

#[test]
fn a_bar_is_drawn_and_taken_away() {
    let database = Server::debian().database();
    table(&database);
    let (shown, code) = on_a_terminal(&database, &two_files(), "xterm", "");
    assert_eq!(code, 0, "{shown}");
    assert!(
        shown.contains("CREATE INDEX on parcels, building index: scanning table"),
        "{shown}"
    );
    assert!(shown.contains("=>"), "{shown}");
    assert!(shown.contains(&format!(" of {SECONDS} blocks")), "{shown}");
    let percents: Vec<_> = shown
        .split("% ")
        .filter_map(|text| text.rsplit(' ').next()?.parse::<u8>().ok())
        .collect();
    assert!(
        percents.len() > 3 && percents.is_sorted(),
        "{percents:?}\n{shown}"
    );
    assert!(
        !shown.contains("still running"),
        "a bar needs no lines\n{shown}"
    );
    let remains = remains(&shown);
    assert!(
        remains.iter().all(|line| !line.contains("blocks")),
        "{remains:#?}"
    );
    for version in ["0001", "0002"] {
        let line = remains
            .iter()
            .find(|line| line.contains("applied") && line.contains(version));
        let line = line.unwrap_or_else(|| panic!("no line about {version}: {remains:#?}"));
        assert!(
            line.starts_with(char::is_numeric) || line.starts_with('\u{1b}'),
            "a whole line: {line:?}"
        );
    }
}

/// A line of the log comes above the bar, and both stay whole.
#[test]
fn a_line_of_the_log_does_not_garble_it() {
    let database = Server::debian().database();
    let noisy = "DO $$ BEGIN FOR i IN 1..7 LOOP PERFORM pg_sleep(1); RAISE WARNING 'warning number %', i; END LOOP; END $$;";
    let folder = Folder::sql(&[("0001_noisy.sql", noisy)]);
    let (shown, code) = on_a_terminal(&database, &folder, "xterm", "");
    assert_eq!(code, 0, "{shown}");
    assert!(shown.contains("0001 5s runs"), "a bar was drawn\n{shown}");
    let remains = remains(&shown);
    for number in 1..=7 {
        let wanted = format!("warning number {number}");
        let line = remains.iter().find(|line| line.contains(&wanted));
        let line = line.unwrap_or_else(|| panic!("no line of {wanted}: {remains:#?}"));
        assert!(!line.contains("runs"), "{line:?}");
    }
    assert!(
        remains.iter().all(|line| !line.contains("runs")),
        "{remains:#?}"
    );
}

/// JSON is for machines, and a dumb terminal cannot go back.
#[test]
fn without_a_bar_there_are_lines() {
    let database = Server::debian().database();
    std::thread::scope(|scope| {
        for (term, settings) in [("dumb", ""), ("xterm", "SCHEMAGATE_LOG_FORMAT=json")] {
            let database = Server::debian().copy(&database);
            scope.spawn(move || {
                let folder = Folder::sql(&[("0001_slow.sql", "SELECT pg_sleep(12);")]);
                let (shown, code) = on_a_terminal(&database, &folder, term, settings);
                assert_eq!(code, 0, "{shown}");
                assert!(shown.contains("still running"), "{shown}");
                assert!(!shown.contains("\u{1b}[2K"), "{shown}");
            });
        }
    });
}
