use std::time::Duration;

use super::*;
use crate::{
    gate::Approval,
    report::plan::{Deferred, HeldStep, Line, Surroundings, TraceLine, TraceReport},
};

/// The checklist, one item a line, without markup.
fn shown(report: &Report) -> String {
    let mut out = String::new();
    write(&mut out, report);
    let (_, items) = out.split_once("\n\n").unwrap_or_default();
    let items = items.replace("<code>", "").replace("</code>", "");
    items.replace("&#95;", "_").replace("&#64;", "@")
}

fn step(version: &str, risk: Risk) -> Step {
    Step {
        version: version.to_owned(),
        approve: format!("{version}@3f9a0c1d2e4b"),
        risk,
        statement_count: 1,
        statements: vec![Line {
            line: 2,
            risk,
            ..Line::default()
        }],
        has_down: true,
        ..Step::default()
    }
}

fn report(steps: impl IntoIterator<Item = Step>) -> Report {
    let migrations: Vec<Step> = steps.into_iter().collect();
    Report {
        format: "sql",
        risk: migrations
            .iter()
            .map(|step| step.risk)
            .max()
            .unwrap_or_default(),
        migrations,
        surroundings: Surroundings {
            restore_point: Some(Ok(())),
            slow: Some(Duration::from_secs(30)),
            ..Surroundings::default()
        },
        ..Report::default()
    }
}

fn effect(relation: Option<&str>, lock: Lock, bytes: Option<u64>, made_here: bool) -> EffectLine {
    EffectLine {
        relation: relation.map(str::to_owned),
        object: None,
        lock: Some(lock),
        rewrite: false,
        made_here,
        risk: Risk::Blocking,
        why: "locks".to_owned(),
        safer: None,
        bytes,
        rows: None,
    }
}

#[track_caller]
fn check(report: &Report, expected: &str) {
    assert_eq!(shown(report), expected);
}

#[track_caller]
fn has(report: &Report, lines: &[&str]) {
    let shown = shown(report);
    for line in lines {
        assert!(
            shown.lines().any(|shown| shown == *line),
            "{line}\nis not in\n{shown}"
        );
    }
}

#[track_caller]
fn lacks(report: &Report, words: &[&str]) {
    let shown = shown(report);
    for word in words {
        assert!(!shown.contains(word), "{word}\nis in\n{shown}");
    }
}

#[test]
fn nothing_to_run_has_none_and_a_conflict_comes_first() {
    check(&report([]), "");
    let mut conflict = report([step("0001", Risk::Destructive)]);
    conflict.conflicts.push("0001 has changed".to_owned());
    check(
        &conflict,
        "- [ ] the conflicts are resolved: until then nothing would run\n",
    );
}

#[test]
fn what_is_safe_leaves_nothing_to_a_person() {
    check(
        &report([step("0001", Risk::Safe)]),
        "- [x] files and history fit
- [x] risk of each statement: 1 safe
- [x] locks: none that keeps others from a table that is there
- [x] gates: none holds a migration
- [x] contract steps: none
- [x] down files: one for each
",
    );
}

#[test]
fn what_loses_data_is_asked_about() {
    let mut held = step("0004", Risk::Destructive);
    held.held = Some(HeldStep {
        reason: "it needs an approval".to_owned(),
        line: Some(2),
        let_through: "SCHEMAGATE_APPROVE=0004".to_owned(),
    });
    held.statements[0].opaque = true;
    held.statements[0].effects = vec![
        effect(Some("new"), Lock::AccessExclusive, None, true),
        effect(Some("t"), Lock::Share, Some(8192), false),
        effect(Some("t"), Lock::AccessExclusive, Some(8192), false),
        effect(None, Lock::Share, None, false),
        effect(Some("read"), Lock::RowExclusive, Some(8192), false),
    ];
    held.statement_count = 5;
    held.has_down = false;
    let mut report = report([step("0003", Risk::Safe), held]);
    report.warnings.push("a warning".to_owned());
    check(
        &report,
        "- [x] files and history fit
- [x] risk of each statement: 1 destructive, 1 safe, 4 not listed
- [ ] somebody knows what 1 statement marked with a question mark will do: that shows only when it runs
- [x] locks: ACCESS EXCLUSIVE on t (8 KiB), SHARE on what it does not name
- [ ] these locks are acceptable when it is deployed
- [ ] how long it takes is known (schemagate plan --trace on a copy of production measures it)
- [ ] what is held has been read as it is, and is let through as said above: 0004@3f9a0c1d2e4b
- [x] contract steps: none
- [ ] the release before can live without what is lost; what is not marked phase=contract goes before the rollout: 0004
- [ ] the data that is lost is not needed any more
- [ ] a backup is there, and has been restored once (SCHEMAGATE_REQUIRE_BACKUP, which asks for one, is not set)
- [x] restore point: one with a name is created first
- [x] down files: none for 0004
- [ ] the warnings have been read
",
    );
}

#[test]
fn what_was_approved_and_backed_up_is_ticked() {
    let mut contract = step("0005", Risk::Destructive);
    contract.is_contract = true;
    contract.approvals = vec![Approval {
        what: "destructive".to_owned(),
        by: "approve in 0005_x.sql".to_owned(),
        reason: Some("unused since 1.3".to_owned()),
    }];
    let mut report = report([contract]);
    report.surroundings.asks_backup = true;
    report.surroundings.backup = Some("2026-08-01T12:00:00Z, and may be 24h old".to_owned());
    has(
        &report,
        &[
            "- [x] gates: none holds a migration",
            "- [x] approved: destructive in 0005, by approve in 0005_x.sql: unused since 1.3",
            "- [ ] no pod that is still deployed needs what the contract steps take away: 0005",
            "- [x] backup: noted in the journal, of 2026-08-01T12:00:00Z, and may be 24h old",
        ],
    );
    lacks(&report, &["phase=contract", "a backup is there"]);
    // A waived or a missing one is told where the gates are.
    report.surroundings.backup = None;
    lacks(&report, &["backup"]);
}

#[test]
fn a_restore_point_that_there_will_not_be_is_told() {
    let mut report = report([step("0004", Risk::Destructive)]);
    report.surroundings.restore_point = Some(Err("role app may not create one".to_owned()));
    let prefix = "- [ ] going back is possible without a named restore point: ";
    has(&report, &[&format!("{prefix}role app may not create one")]);
    report.surroundings.restore_point = None;
    has(
        &report,
        &[&format!("{prefix}SCHEMAGATE_RESTORE_POINT=false")],
    );
    report.surroundings.bootstrap = true;
    has(
        &report,
        &["- [x] gates: none holds, the database is being built from nothing"],
    );
    lacks(&report, &[prefix, "backup", "lost"]);
}

#[test]
fn contract_steps_that_wait_are_told() {
    let mut report = report([step("0004", Risk::Safe)]);
    let deferred = |version: &str, for_contract| Deferred {
        version: version.to_owned(),
        path: String::new(),
        why: String::new(),
        for_contract,
    };
    report.deferred = vec![deferred("0005", true), deferred("0006", false)];
    has(
        &report,
        &["- [x] contract steps: 0005 for SCHEMAGATE_PHASE=contract, after the rollout"],
    );
}

#[test]
fn what_a_trace_measured_is_compared_with_the_threshold() {
    let took = |milliseconds: f64, end| {
        let mut step = step("0004", Risk::Blocking);
        step.statements[0].trace = Some(TraceLine {
            duration_ms: milliseconds,
            ..TraceLine::default()
        });
        let mut report = report([step]);
        report.trace = Some(TraceReport {
            end,
            ..TraceReport::default()
        });
        report
    };
    has(
        &took(29_000.0, "whole"),
        &["- [x] no statement took longer than 30s"],
    );
    has(
        &took(31_000.0, "failed"),
        &[
            "- [ ] longer than 30s is acceptable for line 2 of 0004, 31.0 s",
            "- [ ] the error of the trace is mended",
        ],
    );
    has(
        &took(1.0, "limit"),
        &["- [ ] what the trace did not come to is known"],
    );
    lacks(&took(1.0, "whole"), &["--trace"]);
    let mut without_threshold = took(31_000.0, "whole");
    without_threshold.surroundings.slow = None;
    lacks(&without_threshold, &["longer"]);
}

#[test]
fn names_are_few_and_short() {
    let long = "é|@".repeat(100);
    let steps = (0..10).map(|_| Step {
        has_down: false,
        version: long.clone(),
        ..step("", Risk::Safe)
    });
    let mut out = String::new();
    write(&mut out, &report(steps));
    assert!(
        out.chars().count() < 2000 && out.contains("and 7 more"),
        "{out}"
    );
    let line = out.lines().last().unwrap();
    assert_eq!(line.matches("é").count(), 42, "{line}");
}
