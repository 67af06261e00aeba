//! `status --history`: who ran what, when, for how long, from which pod and version, with which approvals.

use serde_json::Value;

use crate::harness::{Database, Folder, Outcome, Schemagate, Server};

fn folder() -> Folder {
    Folder::sql(&[("0001_a.sql", "CREATE TABLE a (id int);")])
}

fn history(database: &Database<'_>, folder: &Folder, words: &[&str]) -> Outcome {
    let mut call = Schemagate::status(database, folder).arg("--history");
    for word in words {
        call = call.arg(word);
    }
    let outcome = call.run();
    outcome.assert_code(0);
    outcome
}

fn rows(outcome: &Outcome) -> Vec<Value> {
    let json: Value = serde_json::from_str(&outcome.stdout).expect("JSON");
    json["journal"].as_array().expect("a journal").clone()
}

/// Rows as other runs, other releases and people leave them; a new column besides.
const MANY: &str = r#"
    ALTER TABLE schemagate.journal ADD COLUMN of_a_later_release text DEFAULT 'x';
    INSERT INTO schemagate.journal (run, history, event, version, statement, duration_ms, actor, app_version, detail)
    SELECT '1a2b3c4d-0000-0000-0000-000000000000', 'schemagate.history', event, version, statement, took, 'ops@a-pod', '2.1.0',
           detail::jsonb
    FROM (VALUES
        ('approved', '0004', NULL, NULL, '{"what": "destructive", "by": "approve in 0004_x.sql", "reason": "unused since May"}'),
        ('backup', NULL, NULL, NULL, '{"what": "pgBackRest", "size": 12}'),
        ('intent', '0005', 2, NULL, '{"relation": 16384}'),
        ('statement_done', '0005', 2, 1500, NULL),
        ('failed', '0005', 3, NULL, E'{"message": "0005_x.sql:1:1: no\\n such \\u001b[31mtable", "sqlstate": "42P01"}'),
        ('repaired', '0005', NULL, NULL, '{"what": "clear-dirty", "before": {"done": 1, "begun": 0, "failed": 1}}'),
        ('repaired', '0001', NULL, NULL, '{"what": "accept-checksum", "before": "aa", "after": "bb"}'),
        ('reverted', '0003', NULL, 12, NULL),
        ('baselined', '0002', NULL, NULL, NULL),
        ('exec_done', '1.4.2', NULL, 3000, NULL),
        ('heartbeat', NULL, NULL, NULL, NULL),
        ('fingerprint', NULL, NULL, NULL, NULL),
        ('of 2030', '0001', NULL, NULL, '{"novel": true, "deep": {"er": [1]}}'),
        ('strange', NULL, NULL, NULL, '[1]'),
        ('run_finished', NULL, NULL, NULL, '{"outcome": "held"}')
    ) AS t (event, version, statement, took, detail);
    UPDATE schemagate.journal SET detail = jsonb_build_object('objects', 7, 'schema',
        (SELECT jsonb_object_agg(n, repeat('wide ', 100)) FROM generate_series(1, 2000) n)) WHERE event = 'fingerprint'
"#;

#[test]
fn every_event_has_its_line() {
    let (database, folder) = (Server::debian().database(), folder());
    Schemagate::migrate(&database, &folder)
        .env("HOSTNAME", "first-pod")
        .env("SCHEMAGATE_APP_VERSION", "1.4.0")
        .run()
        .assert_code(0);
    database.query(MANY);
    let printed = history(&database, &folder, &[]);
    let lines: Vec<&str> = printed.stdout.lines().collect();
    let columns: Vec<&str> = lines[0].split_whitespace().collect();
    assert_eq!(
        columns,
        [
            "AT", "RUN", "EVENT", "VERSION", "TOOK", "ACTOR", "APP", "WHAT"
        ]
    );
    let release = format!("schemagate {}", env!("CARGO_PKG_VERSION"));
    for words in [
        &[
            "run_started",
            "postgres@first-pod",
            "1.4.0",
            release.as_str(),
            "wal ",
        ][..],
        &["bootstrap"],
        &["applied", "0001"],
        &["run_finished", "done"],
        &[
            "1a2b3c4d  approved",
            "0004",
            "ops@a-pod",
            "2.1.0",
            "destructive, by approve in 0004_x.sql, because: unused since May",
        ],
        &["backup", "pgBackRest, size 12"],
        &["intent", "0005 piece 2"],
        &["statement_done", "0005 piece 2", "1s500ms"],
        &[
            "failed",
            "0005 piece 3",
            "0005_x.sql:1:1: no such [31mtable",
        ],
        &["repaired", "0005", "clear-dirty", "before done 1"],
        &["repaired", "0001", "accept-checksum", "before aa"],
        &["reverted", "0003", "12ms"],
        &["baselined", "0002"],
        &["exec_done", "1.4.2", "3s"],
        &["heartbeat"],
        &["fingerprint", "objects 7"],
        &["of 2030", "novel true"],
        &["strange"],
        &["run_finished", "held"],
    ] {
        let found = lines
            .iter()
            .any(|line| words.iter().all(|word| line.contains(word)));
        assert!(found, "{words:?}\n{printed}");
    }
    assert!(!printed.stdout.contains("wide wide"), "no whole schema");
    assert!(
        !printed.stdout.contains('\u{1b}'),
        "nothing that a terminal obeys"
    );
}

#[test]
fn json_has_everything_but_a_whole_schema() {
    let (database, folder) = (Server::debian().database(), folder());
    Schemagate::migrate(&database, &folder).run().assert_code(0);
    database.query(MANY);
    let printed = history(&database, &folder, &["--format", "json"]);
    let rows = rows(&printed);
    let of = |event: &str| {
        let mut rows = rows.iter().rev();
        rows.find(|row| row["event"] == event).expect(event).clone()
    };
    assert_eq!(rows.len(), 20);
    assert_eq!(of("approved")["detail"]["reason"], "unused since May");
    assert_eq!(of("intent")["detail"]["relation"], 16384);
    assert_eq!(
        of("fingerprint")["detail"],
        serde_json::json!({"objects": 7})
    );
    assert_eq!(of("of 2030")["detail"]["deep"]["er"][0], 1);
    assert!(printed.stdout.len() < 20_000, "{}", printed.stdout.len());
    let finished = rows.iter().find(|row| row["event"] == "run_finished");
    assert!(
        finished.unwrap()["duration_ms"].is_number(),
        "how long the run took"
    );
}

#[test]
fn the_newest_of_many_stand_last_and_can_be_asked_for_alone() {
    let (database, folder) = (Server::debian().database(), folder());
    Schemagate::migrate(&database, &folder).run().assert_code(0);
    database.query(
        "INSERT INTO schemagate.journal (run, history, event, version, actor)
         SELECT gen_random_uuid(), 'schemagate.history', 'applied', n::text, 'app@pod' FROM generate_series(1, 10000) n",
    );
    let all = history(&database, &folder, &[]);
    assert!(
        all.stdout.lines().last().unwrap().contains("10000"),
        "newest last"
    );
    assert!(all.peak_kib < 64 * 1024, "{} KiB", all.peak_kib);
    let two = history(&database, &folder, &["--limit", "2", "--format=json"]);
    let versions: Vec<Value> = rows(&two)
        .iter()
        .map(|row| row["version"].clone())
        .collect();
    assert_eq!(versions, ["9999", "10000"]);
    Schemagate::status(&database, &folder)
        .arg("--limit=2")
        .run()
        .assert_code(2);
}
