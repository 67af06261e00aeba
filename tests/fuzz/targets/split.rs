//! Where statements begin and end, beside PostgreSQL's own scanner and grammar.
#![no_main]

use std::ops::Range;

use libfuzzer_sys::{Corpus, fuzz_target};
use pg_query::protobuf::{ScanToken, Token};
use schemagate::sql::{Chunk, Options, Script, excerpt, need, risk::Release};

fuzz_target!(|data: &[u8]| -> Corpus {
    let Ok(text) = std::str::from_utf8(data) else {
        return Corpus::Reject;
    };
    let (marker, in_transaction) = match text.len() % 4 {
        0 => (Some("--> statement-breakpoint"), true),
        1 => (None, true),
        _ => (None, false),
    };
    let options = Options {
        marker,
        in_transaction,
    };
    match Script::prepare(text.to_owned(), options) {
        Ok(script) => check(&script),
        Err(issues) => {
            assert!(!issues.is_empty(), "refused without a reason");
            if is_plain(text) && grammar(text).is_some() {
                panic!("PostgreSQL takes what is refused: {issues:?}");
            }
        }
    }
    Corpus::Keep
});

/// Free of what psql, a tool or a directive knows, and of what changes how the server reads the rest.
fn is_plain(text: &str) -> bool {
    let lower = text.to_lowercase();
    let others = [
        "\\",
        "copy",
        "schemagate",
        "standard_conforming",
        "encoding",
        "names",
        "\0",
        "\u{feff}",
        "savepoint",
        "release",
        "rollback",
        "abort",
        "prepare",
        "commit",
        "begin",
        "-->",
        "set",
        "backslash",
    ];
    !others.iter().any(|word| lower.contains(word))
}

fn check(script: &Script) {
    let text = script.text();
    let ours: Vec<_> = script.statements().collect();
    assert_eq!(ours.len(), script.summary().statements);
    for (index, statement) in ours.iter().enumerate() {
        assert_eq!(statement.index, index);
        // What the log and the risk check make of it must not fail, whatever it is.
        let _ = (statement.kind(), excerpt(statement.text));
        let _ = script.line_column(statement.start);
    }
    let _ = Release::offline(150_000).file(script);
    let _ = need::needs(script);
    chunks(script);
    if let Ok(units) = script.units() {
        let statements: usize = units.list.iter().map(|unit| unit.statements).sum();
        assert!(statements <= ours.len());
    }
    // Data of a COPY is no SQL, and what follows on it is read on another line than the server's.
    if script.summary().copies > 0 || says_nothing(text) {
        return;
    }
    let ranges: Vec<Range<usize>> = ours.iter().map(|s| s.start..s.end).collect();
    match pg_query::scan_tokens(text) {
        Ok(tokens) => beside_the_scanner(text, &ranges, &tokens),
        Err(error) => {
            let error = error.to_string();
            assert!(!error.contains("unterminated"), "{error}");
            return;
        }
    }
    if let Some(theirs) = grammar(text) {
        beside_the_grammar(text, &ranges, &theirs);
    }
}

/// The crate must not be asked of a text without tokens, nor for statements where there are none: it makes slices of null
/// pointers then.
fn says_nothing(text: &str) -> bool {
    // A letter, a digit or a comment's `-` and `/` make a token; what else there is may be white space of PostgreSQL's.
    !text
        .bytes()
        .any(|byte| byte.is_ascii_graphic() || byte >= 0x80)
}

/// The statements that PostgreSQL's grammar finds, if it takes the text.
fn grammar(text: &str) -> Option<Vec<&str>> {
    if says_nothing(text) {
        return None;
    }
    let tokens = pg_query::scan_tokens(text).ok()?;
    let says = |token: &&ScanToken| {
        let silent = [Token::SqlComment, Token::CComment, Token::Ascii59];
        !silent.map(|silent| silent as i32).contains(&token.token)
    };
    tokens.iter().find(says)?;
    pg_query::split_with_parser(text).ok()
}

/// Every statement is in exactly one chunk, in order.
fn chunks(script: &Script) {
    let mut next = 0;
    for chunk in script.chunks(64) {
        match chunk {
            Chunk::Sql {
                range,
                first_statement,
                statements,
            } => {
                assert_eq!(first_statement, next);
                assert!(statements > 0 && script.text().get(range).is_some());
                next += statements;
            }
            Chunk::Copy {
                range,
                statement,
                data,
            } => {
                assert_eq!(statement, next);
                assert!(script.text().get(range).is_some() && script.text().get(data).is_some());
                next += 1;
            }
        }
    }
    assert_eq!(next, script.summary().statements);
}

fn place(token: &ScanToken) -> (usize, usize) {
    (token.start as usize, token.end as usize)
}

/// A statement begins and ends at tokens of the scanner, and no token lies outside of all but a `;`.
fn beside_the_scanner(text: &str, ours: &[Range<usize>], tokens: &[ScanToken]) {
    let is_comment = |token: &&ScanToken| {
        [Token::SqlComment as i32, Token::CComment as i32].contains(&token.token)
    };
    let mut ours = ours.iter().peekable();
    for token in tokens.iter().filter(|token| !is_comment(token)) {
        let (start, end) = place(token);
        while ours.peek().is_some_and(|range| range.end <= start) {
            ours.next();
        }
        let written = text.get(start..end).unwrap_or_default();
        match ours.peek() {
            Some(range) if range.start <= start => {
                assert!(
                    end <= range.end,
                    "{written:?} is cut by {range:?} in {text:?}"
                );
            }
            _ => assert_eq!(written, ";", "at {start} of {text:?}"),
        }
    }
}

/// As many statements as the grammar finds, each in its place.
fn beside_the_grammar(text: &str, ours: &[Range<usize>], theirs: &[&str]) {
    assert_eq!(ours.len(), theirs.len(), "{theirs:?} in {text:?}");
    for (ours, theirs) in ours.iter().zip(theirs) {
        let start = theirs.as_ptr() as usize - text.as_ptr() as usize;
        let end = start + theirs.len();
        let body = text[ours.clone()].trim_end_matches(';');
        assert!(
            start <= ours.start && ours.start + body.len() <= end.max(ours.end),
            "{ours:?} is {start}..{end} in {text:?}"
        );
    }
}
