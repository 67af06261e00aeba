use super::*;
use crate::sql::Options;

/// The units in one line each: `T` or `B`, the text, and what must be set before it.
#[track_caller]
fn check(text: &str, in_transaction: bool, expected: &[&str]) {
    let script = script(text, in_transaction);
    let units = script.units().unwrap();
    let found: Vec<String> = units
        .list
        .iter()
        .map(|unit| {
            let letter = match unit.kind {
                UnitKind::Transaction => 'T',
                UnitKind::Bare(_) => 'B',
            };
            let settings: Vec<&str> = units
                .settings(unit)
                .iter()
                .map(|range| &script.text()[range.clone()])
                .collect();
            assert_eq!(script.statements_in(unit).count(), unit.statements);
            let first = script.statements_in(unit).next().unwrap();
            assert_eq!((first.line, first.index), (unit.line, unit.first_statement));
            format!(
                "{letter} {} [{}]",
                &script.text()[unit.range.clone()],
                settings.join(", ")
            )
        })
        .collect();
    assert_eq!(found, expected, "{text}");
}

fn script(text: &str, in_transaction: bool) -> Script {
    let options = Options {
        marker: None,
        in_transaction,
    };
    Script::prepare(text.to_owned(), options).unwrap()
}

#[track_caller]
fn refused(text: &str, in_transaction: bool, expected: &[(u32, &str)]) {
    let issues = script(text, in_transaction).units().unwrap_err();
    assert_eq!(issues.len(), expected.len(), "{issues:?}");
    for (issue, (line, part)) in issues.iter().zip(expected) {
        assert_eq!(issue.line, *line);
        assert!(issue.message.contains(part), "{issue}");
    }
}

#[test]
fn statement_by_statement() {
    check("a; b\n", false, &["T a; []", "T b []"]);
    check(
        "a; CREATE INDEX CONCURRENTLY i ON t (a); b;",
        true,
        &[
            "T a; []",
            "B CREATE INDEX CONCURRENTLY i ON t (a); []",
            "T b; []",
        ],
    );
    check("VACUUM", true, &["B VACUUM []"]);
    check("-- nothing", false, &[]);
}

#[test]
fn transactions_of_the_file_stay_together() {
    check(
        "a; BEGIN; b; c; COMMIT; d; BEGIN; e;",
        false,
        &["T a; []", "T b; c; []", "T d; []", "T e; []"],
    );
    check(
        "BEGIN; a; BEGIN; b; COMMIT; COMMIT; c",
        false,
        &["T a; BEGIN; b; []", "T c []"],
    );
    check("BEGIN; COMMIT; a;", false, &["T a; []"]);
}

#[test]
fn the_transaction_that_the_tool_opened_counts() {
    check(
        "a;\nCOMMIT;\nVACUUM;\nBEGIN;\nb; c;",
        true,
        &["T a; []", "B VACUUM; []", "T b; c; []"],
    );
    check(
        "a; b; COMMIT; c; d;",
        true,
        &["T a; b; []", "T c; []", "T d; []"],
    );
    check(
        "a; BEGIN; b; COMMIT; c;",
        true,
        &["T a; BEGIN; b; []", "T c; []"],
    );
    check("COMMIT; VACUUM; BEGIN;", true, &["B VACUUM; []"]);
    check(
        "VACUUM; BEGIN; a; b; COMMIT;",
        true,
        &["B VACUUM; []", "T a; b; []"],
    );
    check("a; COMMIT; b;", false, &["T a; []", "T b; []"]);
}

#[test]
fn settings_are_said_again() {
    check(
        "SET x = 1; a; SET LOCAL z = 1; SET y = 2; VACUUM; b;",
        false,
        &[
            "T a; [SET x = 1]",
            "B VACUUM; [SET x = 1, SET y = 2]",
            "T b; [SET x = 1, SET y = 2]",
        ],
    );
    check(
        "BEGIN; a; SET x = 1; SET LOCAL y = 1; b; COMMIT; c;",
        false,
        &["T a; SET x = 1; SET LOCAL y = 1; b; []", "T c; [SET x = 1]"],
    );
    check(
        "SET x = 1; DISCARD ALL; SET y = 1; a",
        false,
        &["B DISCARD ALL; [SET x = 1]", "T a [SET y = 1]"],
    );
    check(
        "BEGIN; SET x = 1; SAVEPOINT s; SET y = 1; ROLLBACK TO s; COMMIT; a;",
        false,
        &[
            "T SET x = 1; SAVEPOINT s; SET y = 1; ROLLBACK TO s; []",
            "T a; [SET x = 1]",
        ],
    );
}

#[test]
fn copies_are_units_too() {
    check(
        "COPY t FROM stdin;\nVACUUM;\n\\.\na;",
        false,
        &["T COPY t FROM stdin; []", "T a; []"],
    );
}

#[test]
fn what_postgresql_would_refuse_is_refused() {
    refused(
        "BEGIN;\na;\nVACUUM;\nCOMMIT;\n",
        false,
        &[(3, "BEGIN of line 1")],
    );
    refused(
        "a;\nVACUUM;\nREINDEX SCHEMA s;\nCOMMIT;\n",
        true,
        &[(2, "VACUUM"), (3, "start of the file")],
    );
    refused(
        "a;\nBEGIN;\nVACUUM;\nCOMMIT;\nb;",
        true,
        &[(3, "BEGIN of line 2")],
    );
    refused("a;\nROLLBACK;\n", false, &[(2, "would undo")]);
    // A subscription without a slot may be dropped in a block, which the text does not tell.
    check(
        "BEGIN; DROP SUBSCRIPTION s; COMMIT;",
        false,
        &["T DROP SUBSCRIPTION s; []"],
    );
}
