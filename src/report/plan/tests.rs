use super::*;

/// A report with a bit of everything.
fn report() -> Report {
    let effect = |relation: &str, lock, risk, bytes| EffectLine {
        relation: Some(relation.to_owned()),
        object: None,
        lock: Some(lock),
        rewrite: risk == Risk::Rewrite,
        made_here: false,
        risk,
        why: "locks out reads and writes".to_owned(),
        safer: (risk == Risk::Rewrite).then(|| "a new column, filled bit by bit".to_owned()),
        bytes,
        rows: bytes.map(|_| 12_345_678),
    };
    let line = |index: usize, text: &str, risk| Line {
        index,
        line: u32::try_from(index).unwrap() + 1,
        text: text.to_owned(),
        risk,
        ..Line::default()
    };
    let orders = effect(
        "shop.bestellungen_日本",
        Lock::AccessExclusive,
        Risk::Rewrite,
        Some(1_300_000_000),
    );
    let others = effect(
        "shop.old",
        Lock::AccessExclusive,
        Risk::Destructive,
        Some(8192),
    );
    let step = Step {
        version: "0004".to_owned(),
        path: "0004_x.sql".to_owned(),
        checksum: "3f9a".repeat(16),
        approve: "0004@3f9a3f9a3f9a".to_owned(),
        mode: "transaction",
        risk: Risk::Destructive,
        held: Some(HeldStep {
            reason: "a destructive statement needs an approval".to_owned(),
            line: Some(3),
            let_through: "SCHEMAGATE_APPROVE=0004".to_owned(),
        }),
        statement_count: 1000,
        statements: vec![
            line(0, "CREATE TABLE t (a int)", Risk::Safe),
            Line {
                effects: vec![orders],
                ..line(1, "ALTER TABLE \"bestellungen_日本\" …", Risk::Rewrite)
            },
            Line {
                effects: vec![others],
                opaque: true,
                ..line(2, "DROP TABLE old", Risk::Destructive)
            },
        ],
        ..Step::default()
    };
    Report {
        schema_version: SCHEMA_VERSION,
        database: "shop".to_owned(),
        history: "schemagate.history".to_owned(),
        format: "sql",
        folder: "./db/migrations/".to_owned(),
        risk: Risk::Destructive,
        pending: 1,
        migrations: vec![step],
        deferred: vec![Deferred {
            version: "0005".to_owned(),
            path: "0005_y.sql".to_owned(),
            why: "behind SCHEMAGATE_TARGET".to_owned(),
            for_contract: false,
        }],
        warnings: vec!["a warning".to_owned()],
        ..Report::default()
    }
}

fn traced() -> Report {
    let mut report = report();
    let step = &mut report.migrations[0];
    step.statements[1].trace = Some(TraceLine {
        duration_ms: 1234.5,
        locks: [Lock::AccessShare, Lock::AccessExclusive]
            .map(|mode| TakenLine {
                relation: "shop.orders".to_owned(),
                mode,
            })
            .to_vec(),
        rewritten: vec!["shop.orders".to_owned()],
        ..TraceLine::default()
    });
    step.statements[2].trace = Some(TraceLine {
        skipped: Some("it would".to_owned()),
        ..TraceLine::default()
    });
    step.rest = Some(TraceLine {
        duration_ms: 0.25,
        rows: Some(997),
        error: Some("0004_x.sql:9:1: broken (SQLSTATE 22012)".to_owned()),
        ..TraceLine::default()
    });
    report.trace = Some(TraceReport {
        end: "failed",
        held_ms: 1300,
        ran: 999,
        not_run: vec!["0004_x.sql:3: DROP TABLE old: it would".to_owned()],
        error: Some("0004_x.sql:9:1: broken (SQLSTATE 22012)".to_owned()),
        not_undone: NOT_UNDONE.to_vec(),
    });
    report
}

#[test]
fn people_read_columns_as_wide_as_a_terminal_shows_them() {
    assert_eq!(
        text(&report(), false),
        "1 migration to run, at worst destructive: database shop, history schemagate.history, format sql

0004  0004_x.sql, in one transaction, destructive (SCHEMAGATE_APPROVE=0004@3f9a3f9a3f9a)
  held at line 3: a destructive statement needs an approval; to let it through: SCHEMAGATE_APPROVE=0004
  LINE  RISK          LOCK                        ON                                            STATEMENT
  1     safe                                                                                    CREATE TABLE t (a int)
  2     rewrite       ACCESS EXCLUSIVE + rewrite  shop.bestellungen_日本 (1.2 GiB, ~12 M rows)  ALTER TABLE \"bestellungen_日本\" …
  3     destructive?  ACCESS EXCLUSIVE            shop.old (8 KiB, ~12 M rows)                  DROP TABLE old
  … and 997 more statements, not listed
  line 2: locks out reads and writes; safer: a new column, filled bit by bit
  line 3: locks out reads and writes

not for now:
  0005 (0005_y.sql): behind SCHEMAGATE_TARGET

warning: a warning
"
    );
}

#[test]
fn what_two_relations_have_in_common_is_told_once_and_a_new_one_is_called_so() {
    let mut report = report();
    let statement = &mut report.migrations[0].statements[2];
    let mut new = statement.effects[0].clone();
    new.made_here = true;
    new.relation = Some("new_one".to_owned());
    new.bytes = None;
    statement.effects.push(new);
    let text = text(&report, false);
    assert_eq!(text.matches("line 3: locks out").count(), 1, "{text}");
    assert!(text.contains("new_one (new)"), "{text}");
    let markdown = markdown(&report);
    let row = markdown.lines().find(|line| line.starts_with("| 3 |"));
    assert_eq!(row.unwrap().matches("locks out").count(), 1, "{markdown}");
    assert!(
        markdown.contains("<code>new&#95;one</code> (new)"),
        "{markdown}"
    );
}

#[test]
fn people_read_what_a_trace_saw() {
    let text = text(&traced(), false);
    for expected in [
        "  LINE  TOOK     ROWS  TRACE\n",
        "  2     1234 ms        ACCESS EXCLUSIVE on shop.orders, rewrote shop.orders\n",
        "  3                    not run: it would\n",
        "  rest  0.2 ms   997   failed: 0004_x.sql:9:1: broken (SQLSTATE 22012)\n",
        "trace: 999 statements ran and were rolled back; locks, each told where it was taken \
         first, were held for 1s300ms; it ended at an error, and what \
         follows was not run\n",
        "  not run: 0004_x.sql:3: DROP TABLE old: it would\n",
        "  - sequences that moved stay where they are\n",
    ] {
        assert!(text.contains(expected), "{expected}{text}");
    }
}

#[test]
fn colours_are_for_terminals_and_change_nothing_else() {
    let coloured = text(&traced(), true);
    assert!(coloured.contains("\u{1b}[1;31mdestructive"));
    let mut plain = coloured;
    for sequence in ["0m", "1m", "33m", "35m", "1;31m"] {
        plain = plain.replace(&format!("\u{1b}[{sequence}"), "");
    }
    let plain: Vec<&str> = plain.lines().map(str::trim_end).collect();
    assert_eq!(plain.join("\n"), text(&traced(), false).trim_end());
}

#[test]
fn a_terminal_is_not_driven_by_a_file_name() {
    let mut report = report();
    report.migrations[0].path = "0004_\u{1b}[2J\u{202e}x\n.sql".to_owned();
    let text = text(&report, false);
    assert!(!text.contains(['\u{1b}', '\u{202e}']));
    assert!(
        text.contains("0004_\u{fffd}[2J\u{fffd}x\u{fffd}.sql"),
        "{text}"
    );
}

#[test]
fn machines_read_words_and_null() {
    let json: serde_json::Value = serde_json::from_str(&json(&traced())).unwrap();
    assert_eq!(json["schema_version"], 1);
    assert_eq!(json["risk"], "destructive");
    let statement = &json["migrations"][0]["statements"][1];
    let effect = &statement["effects"][0];
    assert_eq!(effect["lock"], "ACCESS EXCLUSIVE");
    assert_eq!(effect["rewrite"], true);
    assert_eq!(effect["bytes"], 1_300_000_000_u64);
    assert_eq!(statement["trace"]["locks"][1]["mode"], "ACCESS EXCLUSIVE");
    assert_eq!(statement["trace"]["duration_ms"], 1234.5);
    assert!(statement["trace"]["error"].is_null());
    assert!(json["migrations"][0]["statements"][0]["trace"].is_null());
    assert_eq!(json["trace"]["end"], "failed");
}

#[test]
fn a_comment_on_a_pull_request() {
    let text = markdown(&traced());
    for expected in [
        "### Migration plan: 1 migration, 🔴 destructive, held\n",
        "| 2 | 🟪 rewrite | ACCESS EXCLUSIVE on <code>shop.bestellungen&#95;日本</code> (1.2 GiB, ~12 M rows), rewritten | ",
        "| 3 | 🔴 destructive? |",
        "**Held** (line 3): a destructive",
        "<code>SCHEMAGATE&#95;APPROVE=0004</code>",
        "- [ ] what is held has been read as it is, and is let through as said above: <code>0004&#64;3f9a3f9a3f9a</code>\n",
        "**Trace:** 999 statements ran",
        "1234 ms, ACCESS EXCLUSIVE on shop.orders, rewrote shop.orders |",
    ] {
        assert!(text.contains(expected), "{expected}\n{text}");
    }
    let nothing = markdown(&Report::default());
    assert!(
        nothing.contains("nothing to run") && !nothing.contains("- [ ]"),
        "{nothing}"
    );
}

#[test]
fn nothing_leaves_its_cell_or_mentions_anybody() {
    let evil = "a|b`c``d</code><img src=x onerror=1>@team #1 [x](y) **b** \\| \n# h <!--";
    let mut report = traced();
    report.database = evil.to_owned();
    let step = &mut report.migrations[0];
    for field in [&mut step.version, &mut step.path] {
        evil.clone_into(field);
    }
    step.held.as_mut().unwrap().reason = evil.to_owned();
    step.statements[1].text = evil.to_owned();
    step.statements[1].effects[0].relation = Some(evil.to_owned());
    step.statements[1].effects[0].why = evil.to_owned();
    report.conflicts.push(evil.to_owned());
    report.trace.as_mut().unwrap().error = Some(evil.to_owned());
    let text = markdown(&report);
    for markup in [
        "<img", "`", "](", "**b**", "\\|", "@", "<!--", "\n# h", "a|b",
    ] {
        assert!(!text.contains(markup), "{markup}\n{text}");
    }
    let table = text.lines().filter(|line| line.starts_with('|'));
    for line in table {
        assert_eq!(line.matches('|').count(), 6, "{line}");
    }
}

#[test]
fn a_comment_has_an_end() {
    let long = "é|@".repeat(4000);
    let mut report = traced();
    let mut step = report.migrations.remove(0);
    let line = step.statements[1].clone();
    step.statements.extend(std::iter::repeat_n(line, 5000));
    report.migrations = vec![step; 300];
    report.conflicts = vec!["x".repeat(300); 100];
    report.warnings = vec![long.clone(); 3];
    let trace = report.trace.as_mut().unwrap();
    trace.not_run = vec!["y".repeat(100); 200];
    trace.error = Some(long);
    let text = markdown(&report);
    assert!(text.chars().count() < 65_536, "{}", text.chars().count());
    assert!(text.contains("migrations that do not fit into a comment"));
    assert!(text.contains("statements that do not fit") && text.contains("more\n"));
}

#[test]
fn findings_stand_at_their_lines() {
    let found = findings(&traced());
    let told: Vec<String> = found
        .iter()
        .map(|found| {
            format!(
                "{:?} {} {}:{}",
                found.level, found.rule, found.path, found.line
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            "Warning rewrite db/migrations/0004_x.sql:2",
            "Error destructive db/migrations/0004_x.sql:3",
            "Note opaque db/migrations/0004_x.sql:3",
            "Note trace db/migrations/0004_x.sql:3",
            "Error held db/migrations/0004_x.sql:3",
            "Error trace db/migrations/0004_x.sql:1",
            "Warning plan ./db/migrations/:1",
        ]
    );
    assert_eq!(
        found[0].help.as_deref(),
        Some("a new column, filled bit by bit")
    );
}

#[test]
fn locks_of_one_transaction_are_put_side_by_side() {
    let warned = |all: bool, change: &dyn Fn(&mut Report)| {
        let mut report = report();
        report.warnings.clear();
        change(&mut report);
        report.warn_of_locks(all);
        report.warnings
    };
    let warnings = warned(false, &|_| {});
    assert_eq!(warnings.len(), 1);
    assert!(
        warnings[0].starts_with("0004 locks shop.bestellungen_日本, shop.old in one transaction"),
        "{warnings:?}"
    );
    // In pieces of their own, or on a relation that is not there, they do not meet.
    let pieces = warned(false, &|report| {
        for (index, line) in report.migrations[0].statements.iter_mut().enumerate() {
            line.piece = Some(index);
        }
    });
    assert!(pieces.is_empty(), "{pieces:?}");
    let absent = warned(false, &|report| {
        report.migrations[0].statements[2].effects[0].bytes = None;
    });
    assert!(absent.is_empty(), "{absent:?}");
    // In one transaction those of several files do.
    let two = |report: &mut Report| {
        let mut second = report.migrations[0].clone();
        "0005".clone_into(&mut second.version);
        report.migrations[0].statements.truncate(2);
        second.statements.remove(1);
        report.migrations.push(second);
    };
    assert!(warned(false, &two).is_empty());
    assert!(warned(true, &two)[0].contains("SCHEMAGATE_TRANSACTION=all"));
}

#[test]
fn sizes_for_people() {
    for (bytes, expected) in [
        (0, "0 B"),
        (8192, "8 KiB"),
        (1536, "1.5 KiB"),
        (10 << 20, "10 MiB"),
        (u64::MAX, "16777215 TiB"),
    ] {
        assert_eq!(size(bytes), expected);
    }
    assert_eq!(
        [count(9_999), count(10_000), count(12_345_678)],
        ["9999", "10 k", "12 M"]
    );
}
