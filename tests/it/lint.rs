//! `lint`: what it finds, how it is told, how it ends. No server is needed.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::harness::{Folder, Outcome, Schemagate, fixture};

const USERS: &str = "CREATE TABLE users (id int PRIMARY KEY, name varchar(20), email text);";
const DROP: &str = "ALTER TABLE users DROP COLUMN email;";

fn lint(folder: &Folder, args: &[&str]) -> Outcome {
    let mut call = Schemagate::new(&["lint"]);
    for arg in args {
        call = call.arg(arg);
    }
    call.arg(&folder.path().display().to_string()).run()
}

/// Rules, classes and lines of what is found in files, one behind the other.
fn found(files: &[(&str, &str)], args: &[&str]) -> (i32, Vec<(String, String, u64)>) {
    let folder = Folder::sql(files);
    let mut call = Schemagate::new(&["lint", "--format", "json"]);
    for arg in args {
        call = call.arg(arg);
    }
    for (name, _) in files {
        call = call.arg(&folder.path().join(name).display().to_string());
    }
    let outcome = call.run();
    let report: Value =
        serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{error}\n{outcome}"));
    let findings = report["findings"].as_array().unwrap().iter();
    let findings = findings.map(|finding| {
        let text = |key: &str| finding[key].as_str().unwrap().to_owned();
        (
            text("rule"),
            text("level"),
            finding["line"].as_u64().unwrap(),
        )
    });
    (outcome.code(), findings.collect())
}

#[track_caller]
fn check(text: &str, args: &[&str], code: i32, expected: &[(&str, &str, u64)]) {
    let found = found(&[("a.sql", text)], args);
    let expected: Vec<_> = expected
        .iter()
        .map(|(rule, level, line)| ((*rule).to_owned(), (*level).to_owned(), *line))
        .collect();
    assert_eq!(found, (code, expected), "{text}");
}

#[test]
fn classes_and_the_end() {
    check("SELECT 1;", &[], 0, &[]);
    check("", &[], 0, &[]);
    let add = "\n\n  ALTER TABLE users ADD COLUMN a int;";
    check(add, &[], 0, &[("blocking", "note", 3)]);
    check(
        add,
        &["--fail-on", "blocking"],
        7,
        &[("blocking", "note", 3)],
    );
    let index = "CREATE INDEX i ON users (a);";
    check(
        index,
        &["--fail-on", "rewrite"],
        0,
        &[("blocking", "warning", 1)],
    );
    let serial = "ALTER TABLE users ADD COLUMN a serial;";
    check(
        serial,
        &["--fail-on", "rewrite"],
        7,
        &[("rewrite", "warning", 1)],
    );
    check(DROP, &[], 7, &[("destructive", "error", 1)]);
    check("SELECT f();", &[], 0, &[("blocking", "warning", 1)]);
    check("SELECT f(a) FROM t;", &[], 0, &[("opaque", "note", 1)]);
    check(&format!("{USERS}{DROP}"), &[], 0, &[]);
    check(
        "CREATE TABLE IF NOT EXISTS users (a int); DROP TABLE public.users;",
        &[],
        0,
        &[],
    );
}

#[test]
fn an_approval_in_the_file() {
    let approved = format!("-- schemagate: approve=destructive reason=\"nobody reads it\"\n{DROP}");
    check(&approved, &[], 0, &[("destructive", "note", 2)]);
    let two = [("1.sql", approved.as_str()), ("2.sql", "DROP TABLE users;")];
    let (code, found) = found(&two, &[]);
    assert_eq!((code, found.len()), (7, 2));
}

#[test]
fn rules_of_squawk() {
    let required = "ALTER TABLE users ADD COLUMN a int NOT NULL;";
    check(
        required,
        &[],
        0,
        &[
            ("blocking", "warning", 1),
            ("adding-required-field", "warning", 1),
        ],
    );
    check(
        required,
        &["--exclude", "adding-required-field"],
        0,
        &[("blocking", "warning", 1)],
    );
    check(
        required,
        &["--rules", "none"],
        0,
        &[("blocking", "warning", 1)],
    );
    check(
        required,
        &["--fail-on", "safe", "--rules", "none"],
        7,
        &[("blocking", "warning", 1)],
    );
    // What the class says is not said again, unless it was asked for.
    let both = [
        ("destructive", "error", 1),
        ("ban-drop-column", "warning", 1),
    ];
    check(
        DROP,
        &["--rules", "ban-drop-column,prefer-text-field"],
        7,
        &both,
    );
    let taste = "CREATE TABLE t (a varchar(10));";
    check(taste, &[], 0, &[]);
    let text = [("prefer-text-field", "warning", 1)];
    check(taste, &["--rules", "prefer-text-field"], 0, &text);
    check(
        taste,
        &["--rules", "prefer-text-field", "--fail-on", "blocking"],
        7,
        &text,
    );
    let ignored = format!("-- squawk-ignore ban-drop-column\n{DROP}");
    // The gate would hold it all the same: only an approval lets it through.
    check(
        &ignored,
        &["--rules", "ban-drop-column"],
        7,
        &[("destructive", "error", 2)],
    );
    // A new table is free to change.
    let renamed = format!(
        "{USERS}\nALTER TABLE users RENAME COLUMN name TO title;\nALTER TABLE users ALTER COLUMN title SET NOT NULL;"
    );
    check(
        &renamed,
        &["--rules", "renaming-column,adding-not-nullable-field"],
        0,
        &[],
    );
    check(&renamed, &[], 0, &[]);
}

#[test]
fn mistakes_of_the_caller() {
    let folder = Folder::sql(&[("0001_a.sql", USERS)]);
    let refused = |args: &[&str], word: &str| {
        lint(&folder, args).assert_code(2).assert_says(word);
    };
    refused(
        &["--rules", "ban-drop-colum"],
        "did you mean ban-drop-column",
    );
    refused(&["--exclude", "xyz"], "there is no rule xyz");
    refused(&["--pg-version", "9.6"], "9.6");
    refused(&["--pg-version", "latest"], "latest");
    refused(&["--since", "0007"], "0007");
    refused(&["--fail-on", "bad"], "bad");
    refused(&["--format", "markdown"], "markdown");
    Schemagate::new(&["lint", "/nowhere/x.sql"])
        .run()
        .assert_code(2)
        .assert_says("/nowhere/x.sql");
    let file = folder.path().join("0001_a.sql").display().to_string();
    Schemagate::new(&["lint", "--since", "0001", &file])
        .run()
        .assert_code(2)
        .assert_says("folder");
}

#[test]
fn files_that_migrate_would_refuse() {
    for (text, word) in [
        ("SELECT 'a;", ":1:8"),
        ("SELECT 1;\n\\i other.sql\n", ":2:1"),
        ("-- schemagate: aprove=destructive\nSELECT 1;", "approve"),
    ] {
        let folder = Folder::sql(&[("0001_a.sql", text), ("0002_b.sql", "SELECT 1;")]);
        lint(&folder, &[]).assert_code(2).assert_says(word);
    }
}

#[test]
fn what_is_applied_is_in_use() {
    let folder = Folder::sql(&[
        ("0001_a.sql", USERS),
        (
            "0002_b.sql",
            "ALTER TABLE users ALTER COLUMN name TYPE varchar(40);",
        ),
        ("0003_c.sql", DROP),
    ]);
    lint(&folder, &[])
        .assert_code(0)
        .assert_prints("read as one release");
    let outcome = lint(&folder, &["--since", "1"]);
    outcome
        .assert_code(7)
        .assert_prints("0003_c.sql:1:1: error: destructive: users: drops a column");
    outcome.assert_prints("1 destructive, 1 blocking, in 2 statements and 2 files");
    lint(&folder, &["--since", "0003_c"]).assert_code(2);
    lint(&folder, &["--since", "0003"])
        .assert_code(0)
        .assert_prints("nothing found, in 0 statements and 0 files");
}

#[test]
fn the_shop_of_both_generations() {
    for shop in ["drizzle/classic/shop", "drizzle/v1/shop"] {
        let shop = fixture(shop);
        let dir = shop.to_str().unwrap();
        Schemagate::new(&["lint", dir]).run().assert_code(0);
        Schemagate::new(&["lint"])
            .env("SCHEMAGATE_DIR", dir)
            .run()
            .assert_code(0);
        let call = Schemagate::new(&[
            "lint",
            "--fail-on",
            "rewrite",
            "--format",
            "drizzle",
            "--format",
            "json",
            dir,
        ]);
        call.run().assert_code(0);
    }
    let outcome = Schemagate::new(&[
        "lint",
        "--since",
        "0006",
        "tests/fixtures/drizzle/classic/shop",
    ])
    .run();
    outcome.assert_code(0).assert_prints(
        "tests/fixtures/drizzle/classic/shop/0007_carts.sql:14:1: warning: rewrite: order_items",
    );
}

#[test]
fn expand_and_contract() {
    let add = "ALTER TABLE users ADD COLUMN a int;";
    let contract = format!("-- schemagate: phase=contract\n{DROP}");
    let mixed = [("1.sql", add), ("2.sql", DROP)];
    let rules = |files: &[(&str, &str)]| -> Vec<String> {
        let (_, found) = found(files, &["--rules", "none"]);
        found.into_iter().map(|(rule, ..)| rule).collect()
    };
    assert_eq!(rules(&mixed), ["blocking", "destructive", "mixed-release"]);
    assert_eq!(
        rules(&[("1.sql", add), ("2.sql", &contract)]),
        ["blocking", "destructive"]
    );
    assert_eq!(
        rules(&[("1.sql", &contract), ("2.sql", add)]),
        ["destructive", "expand-behind-contract", "blocking"]
    );
    assert_eq!(
        rules(&[("1.sql", DROP), ("2.sql", "UPDATE users SET name = '';")]),
        ["destructive"]
    );
    let folder = Folder::sql(&[
        ("0001_a.sql", USERS),
        ("0002_b.sql", &contract),
        ("0003_c.sql", add),
    ]);
    lint(&folder, &["--since", "1"]).assert_prints("it waits until");
}

#[test]
fn annotations() {
    let folder = Folder::sql(&[("0001_a.sql", USERS), ("0002_100%,a:b.sql", DROP)]);
    let outcome = lint(&folder, &["--format", "github", "--since", "1"]);
    outcome.assert_code(7);
    let line = outcome.stdout.trim_end();
    assert!(
        line.starts_with("::error file=") && !line.contains('\n'),
        "{outcome}"
    );
    outcome.assert_prints("0002_100%25%2Ca%3Ab.sql,line=1,col=1,title=schemagate%3A destructive::users: drops a column");
}

#[test]
fn sarif_is_valid() {
    let name = "0002_ü #?.sql";
    let text = format!("{DROP}\nSELECT 'ü', f();\nALTER TABLE users ADD COLUMN a int NOT NULL;");
    let folder = Folder::sql(&[("0001_a.sql", USERS), (name, &text)]);
    for args in [
        &["--format", "sarif"][..],
        &["--format", "sarif", "--since", "1"],
    ] {
        let outcome = lint(&folder, args);
        validate(&outcome.stdout);
        let log: Value = serde_json::from_str(&outcome.stdout).unwrap();
        for result in log["runs"][0]["results"].as_array().unwrap() {
            let uri = &result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"];
            assert!(
                uri.as_str().unwrap().ends_with("0002_%C3%BC%20%23%3F.sql"),
                "{uri}"
            );
        }
    }
    validate(
        &Schemagate::new(&[
            "lint",
            "--format",
            "sarif",
            "--since",
            "0005",
            "tests/fixtures/drizzle/classic/shop",
        ])
        .run()
        .stdout,
    );
}

#[track_caller]
fn validate(log: &str) {
    let peer = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/sarif");
    let mut python = Command::new(peer.join(".venv/bin/python"))
        .arg(peer.join("validate.py"))
        .arg(fixture("sarif").join("sarif-schema-2.1.0.json"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("no validator in tests/peers/sarif: run `make setup`");
    python
        .stdin
        .take()
        .unwrap()
        .write_all(log.as_bytes())
        .unwrap();
    let output = python.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}\n{log}");
}

#[test]
fn hostile_files_end() {
    for text in [
        format!("SELECT {}1{};", "(".repeat(300_000), ")".repeat(300_000)),
        format!("ALTER TABLE t ADD CHECK ({} a);", "NOT ".repeat(300_000)),
        format!("DO $$ {} $$;", "BEGIN ".repeat(300_000)),
        format!("SELECT {} a;", "a AND ".repeat(300_000)),
        "DROP TABLE \"🦀;\"\"\";\r\nDROP TABLE t;\r\n".repeat(2_000),
    ] {
        let folder = Folder::sql(&[("a.sql", &text)]);
        let path = folder.path().join("a.sql").display().to_string();
        let code = Schemagate::new(&["lint", "--format", "json", &path])
            .run()
            .code();
        assert!(code == 0 || code == 7, "{code}: {}", &text[..40]);
    }
}
