use super::*;
use crate::sql::Chunk;

const MARKER: &str = "--> statement-breakpoint";

fn prepared(text: &str, in_transaction: bool) -> Result<Script, Vec<Issue>> {
    let options = Options {
        marker: Some(MARKER),
        in_transaction,
    };
    Script::prepare(text.to_owned(), options)
}

fn statements(script: &Script) -> Vec<&str> {
    script
        .statements()
        .map(|statement| statement.text)
        .collect()
}

/// What the server is sent, and the statements in it.
#[track_caller]
fn check(text: &str, sent: &str, expected: &[&str]) {
    let script = prepared(text, true).unwrap();
    assert_eq!(script.text(), sent);
    assert_eq!(statements(&script), expected);
    assert_eq!(script.summary().statements, expected.len());
    assert!(!script.summary().in_pieces());
}

/// The only issue: where it is, and a part of what it says.
#[track_caller]
fn refused(text: &str, line: u32, column: u32, part: &str) {
    let issues = prepared(text, true).unwrap_err();
    let [issue] = issues.as_slice() else {
        panic!("{issues:?}");
    };
    assert_eq!((issue.line, issue.column), (line, column), "{issue}");
    assert!(issue.message.contains(part), "{issue}");
}

#[test]
fn markers_divide_the_text() {
    let semi = format!(";{}", " ".repeat(23));
    check(
        &format!("SELECT 1;\n{MARKER}\nSELECT 2\n{MARKER}\nSELECT 3"),
        &format!("SELECT 1;\n{semi}\nSELECT 2\n{semi}\nSELECT 3"),
        &["SELECT 1", "SELECT 2", "SELECT 3"],
    );
    check(
        &format!("SELECT 1 {MARKER} SELECT 2;{MARKER}"),
        &format!("SELECT 1 {semi} SELECT 2;{semi}"),
        &["SELECT 1", "SELECT 2"],
    );
}

#[test]
fn a_marker_inside_a_comment_ends_it_as_drizzle_does() {
    let semi = format!("*/;{}", " ".repeat(21));
    check(
        &format!("SELECT 1 -- é */ x {MARKER} , 2 {MARKER}"),
        &format!("SELECT 1 /* é    x {semi} , 2 ;{}", " ".repeat(23)),
        &["SELECT 1", ", 2"],
    );
}

#[test]
fn a_marker_behind_other_dashes_divides_too() {
    check(
        &format!("SELECT 1 -{MARKER}\nSELECT 2 --{MARKER}"),
        &format!(
            "SELECT 1  ;{}\nSELECT 2 /**/;{}",
            " ".repeat(23),
            " ".repeat(21)
        ),
        &["SELECT 1", "SELECT 2"],
    );
}

#[test]
fn a_marker_in_a_string_or_block_comment_is_none() {
    for text in [
        format!("SELECT 'a\n{MARKER}\n', 2"),
        format!("SELECT $$a\n{MARKER}\n$$, 2"),
        format!("SELECT \"a\n{MARKER}\n\", 2"),
        format!("SELECT /* a\n{MARKER}\n */ 2"),
    ] {
        check(&text, &text, &[&text]);
    }
    let data = format!("COPY t FROM stdin;\n{MARKER}\n\\.\n");
    check(&data, &data, &["COPY t FROM stdin"]);
    let script = Script::prepare(format!("SELECT 1 {MARKER}\n, 2"), Options::default()).unwrap();
    assert_eq!(statements(&script).len(), 1);
}

#[test]
fn pg_dumps_own_commands_are_blanked() {
    check(
        "--\n\n\\restrict abcDEF123\n\nSELECT 1;\n\\unrestrict abcDEF123\r\n",
        &format!(
            "--\n\n{}\n\nSELECT 1;\n{}\r\n",
            " ".repeat(19),
            " ".repeat(21)
        ),
        &["SELECT 1"],
    );
}

#[test]
fn a_byte_order_mark_is_dropped_and_counts_for_nothing() {
    check("\u{feff}SELECT 1", "SELECT 1", &["SELECT 1"]);
    refused("\u{feff}SELECT '", 1, 8, "never ends");
}

#[test]
fn commands_of_psql_are_refused() {
    refused(
        "SELECT 1;\n\\i other.sql\nSELECT 2;",
        2,
        1,
        "\\i is a command of psql",
    );
    refused("\\connect x -- it's", 1, 1, "\\connect");
    refused("SELECT 1 \\gexec", 1, 10, "\\gexec");
    refused("SELECT 1\n\\restrict x\n;", 2, 1, "\\restrict");
    refused("\\copy t from 'x'", 1, 1, "\\copy");
    refused("SELECT 1 \\; SELECT 2;", 1, 10, "\\;");
}

#[test]
fn quotes_without_an_end_are_told_where_they_begin() {
    refused("SELECT 1;\n SELECT 'a;\n", 2, 9, "a string (') begins here");
    refused("SELECT E'a'\n  'b\\';", 1, 8, "a string");
    refused("SELECT \"é\"\"", 1, 8, "a quoted name");
    refused("/* /* */ SELECT 1", 1, 1, "a comment");
    refused("DO $é$ $$", 1, 4, "a dollar-quoted string");
    refused("SELECT 1;\nSELECT '\0'", 2, 9, "NUL");
}

#[test]
fn copies_must_be_whole() {
    refused(
        "SELECT 1;\nCOPY t FROM stdin;\n1\n",
        2,
        1,
        "ended by a line \\.",
    );
    refused(
        "COPY t FROM stdin; SELECT 1;\n1\n\\.\n",
        1,
        20,
        "on the next line",
    );
    refused("COPY t TO stdout;", 1, 1, "nobody to write to");
    let script = prepared("COPY t FROM stdin;\n1\n\\.\n", true).unwrap();
    assert_eq!(script.summary().copies, 1);
}

#[test]
fn the_fence_is_left_alone() {
    for statement in ["SAVEPOINT", "RELEASE", "RELEASE SAVEPOINT", "ROLLBACK TO"] {
        refused(
            &format!("{statement} SCHEMAGATE_fence;"),
            1,
            1,
            "schemagate's own",
        );
    }
    assert!(prepared("SAVEPOINT schemagate;", true).is_ok());
}

#[test]
fn settings_that_change_how_text_is_read_are_refused() {
    refused("SET client_encoding = 'LATIN1';", 1, 1, "UTF-8");
    refused(
        "SET standard_conforming_strings = off; SELECT 'a\\b'",
        1,
        1,
        "E'…'",
    );
    for harmless in ["'a'", "E'a\\b'", "$$a\\b$$", "/* \\ */ 1"] {
        let text = format!("SET standard_conforming_strings = off; SELECT {harmless}");
        assert!(
            Script::prepare(text.clone(), Options::default()).is_ok(),
            "{text}"
        );
    }
}

#[test]
fn a_directive_behind_the_first_statement_is_refused() {
    refused(
        "SELECT 1;\n-- schemagate: transaction=off\n",
        2,
        1,
        "head of the file",
    );
    refused(
        "SELECT 1; -- Schemagate : transaction=off\n",
        1,
        11,
        "head of the file",
    );
    refused(
        "SELECT\n--schemagate: transaction=off\n1",
        2,
        1,
        "head of the file",
    );
    for text in [
        "-- schemagate: transaction=off\nSELECT 1;\n-- schemagate was here",
        "\\restrict x\n;\n-- schemagate: transaction=off\nSELECT '\n-- schemagate: x=y\n';",
    ] {
        assert!(prepared(text, true).is_ok(), "{text}");
    }
}

#[test]
fn every_issue_is_told_up_to_a_limit() {
    let issues = prepared("\\i a\nSELECT 1;\n\\i b\nCOPY t TO stdout;\n'", true).unwrap_err();
    let lines: Vec<u32> = issues.iter().map(|issue| issue.line).collect();
    assert_eq!(lines, [1, 3, 4, 5]);
    assert_eq!(
        prepared(&"\\i a\n".repeat(500), true).unwrap_err().len(),
        MAX_ISSUES
    );
}

#[test]
fn a_frame_of_begin_and_commit_is_blanked() {
    let blank = |len: usize| " ".repeat(len);
    check(
        "BEGIN;\nSELECT 1;\nCOMMIT;\n",
        &format!("{}\nSELECT 1;\n{}\n", blank(6), blank(7)),
        &["SELECT 1"],
    );
    check(
        "-- head\nSTART /* é */ TRANSACTION ; SELECT 1; END WORK",
        "-- head\n      /* é */               SELECT 1;         ",
        &["SELECT 1"],
    );
    check("SELECT 1; COMMIT;", "SELECT 1;        ", &["SELECT 1"]);
    check(
        "BEGIN; SELECT 1; BEGIN;",
        "       SELECT 1;       ",
        &["SELECT 1"],
    );
    check(
        "SELECT 1; COMMIT; BEGIN;",
        "SELECT 1;               ",
        &["SELECT 1"],
    );
    check("BEGIN; COMMIT;", "              ", &[]);
}

#[test]
fn a_dividing_begin_and_commit_stays() {
    for (text, in_transaction, first) in [
        ("BEGIN; SELECT 1; COMMIT; SELECT 2;", true, "BEGIN"),
        ("SELECT 1; COMMIT; SELECT 2; COMMIT;", true, "COMMIT"),
        ("BEGIN; SELECT 1; COMMIT;", false, "BEGIN"),
        ("COMMIT; VACUUM; BEGIN;", true, "COMMIT"),
    ] {
        let script = prepared(text, in_transaction).unwrap();
        assert_eq!(script.text(), text);
        let boundary = script.summary().boundary.as_ref().unwrap();
        assert_eq!((boundary.line, boundary.what.as_str()), (1, first));
        assert!(script.summary().in_pieces());
    }
}

#[test]
fn the_summary_has_the_first_of_each_kind() {
    let text = "SET LOCAL a.b = 1;\nSET search_path = x;\nSET ROLE y;\nCALL p();\nVACUUM;\nDROP INDEX CONCURRENTLY i;\n\
                ALTER TYPE e ADD VALUE 'x';";
    let script = prepared(text, true).unwrap();
    let summary = script.summary();
    let shown = |mark: &Option<Mark>| mark.as_ref().map(|mark| (mark.line, mark.what.clone()));
    assert_eq!(shown(&summary.session), Some((2, "search_path".to_owned())));
    assert_eq!(shown(&summary.call), Some((4, "CALL".to_owned())));
    assert_eq!(shown(&summary.bare), Some((5, "VACUUM".to_owned())));
    assert_eq!(
        shown(&summary.new_enum_value),
        Some((7, "ALTER TYPE … ADD VALUE".to_owned()))
    );
    assert_eq!(summary.statements, 7);
    assert!(summary.in_pieces() && summary.refused.is_empty());
}

#[test]
fn transaction_control_that_cannot_be_honoured_is_listed() {
    let text = "BEGIN READ ONLY;\nROLLBACK;\nCOMMIT AND CHAIN;\nROLLBACK AND CHAIN;\nPREPARE TRANSACTION 'x';\n\
                COMMIT PREPARED 'x';\nROLLBACK PREPARED 'x';\nSET TRANSACTION READ ONLY;\nSAVEPOINT a;\nROLLBACK TO a;";
    let script = prepared(text, true).unwrap();
    let lines: Vec<u32> = script
        .summary()
        .refused
        .iter()
        .map(|issue| issue.line)
        .collect();
    assert_eq!(lines, [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(script.units().unwrap_err(), script.summary().refused);
}

#[test]
fn errors_are_placed_in_the_file() {
    let text = "\u{feff}SELECT 'é';\nSELECT ä,\n  oops FROM t;\n";
    let script = prepared(text, true).unwrap();
    let Some(Chunk::Sql { range, .. }) = script.chunks(10).nth(1) else {
        panic!("no second chunk");
    };
    // PostgreSQL counts characters of the whole message: a prefix of 6, then "SELECT ä,\n  " is 12.
    let place = script.place_of_error(&range, 6, 6 + 12 + 1).unwrap();
    assert_eq!((place.line, place.column), (3, 3));
    assert_eq!(
        (place.text.as_str(), place.caret.as_str()),
        ("  oops FROM t;", "  ^")
    );
    assert_eq!(script.place_of_error(&range, 6, 6), None);
    assert_eq!(script.place_of_error(&range, 6, 0), None);
    let behind = script.place_of_error(&range, 6, 9999).unwrap();
    assert_eq!((behind.line, behind.column), (3, 15));
    let second = script.place_of_statement(1).unwrap();
    assert_eq!((second.line, second.column), (2, 1));
    assert_eq!(script.place_of_statement(2), None);
}
