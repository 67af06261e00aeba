//! Which statements a trace sends, and which it leaves out with a reason. Pure.

use crate::sql::{Kind, Setting};

/// Settings that keep a trace short.
const OURS: [&str; 10] = [
    "statement_timeout",
    "lock_timeout",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "transaction_timeout",
    "client_connection_check_interval",
    "tcp_keepalives_idle",
    "tcp_keepalives_interval",
    "tcp_keepalives_count",
    "tcp_user_timeout",
];

/// What to do with a statement.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// Run it.
    Run,
    /// Run it without a savepoint of ours around it: it has to do with savepoints itself.
    Unwrapped,
    /// Let the server parse it, which will refuse it.
    Parse,
    /// Leave it out, for this reason.
    Skip(String),
}

/// The rule for a statement.
///
/// The first word is looked at once more, by itself and without the knowledge of its grammar: whatever begins like the
/// end of a transaction is not sent, however it goes on. A statement of PostgreSQL begins with an ASCII letter or a
/// parenthesis (`src/backend/parser/gram.y`), and its first word ends where its letters do (`scan.l`).
pub(super) fn rule(text: &str, kind: &Kind) -> Rule {
    if !text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '(') {
        return Rule::Parse;
    }
    let end =
        text.find(|c: char| c.is_ascii() && !c.is_ascii_alphanumeric() && c != '_' && c != '$');
    let first = text.get(..end.unwrap_or(text.len())).unwrap_or_default();
    let first = first.to_ascii_lowercase();
    match (first.as_str(), kind) {
        ("rollback", Kind::RollbackTo(_)) | ("savepoint" | "release", _) => Rule::Unwrapped,
        ("begin" | "start" | "commit" | "end" | "rollback" | "abort", _) => {
            skip("the file's own transaction control: a trace is one transaction")
        }
        ("prepare", _) if text.to_ascii_lowercase().contains("transaction") => {
            skip("it would end the transaction of the trace")
        }
        ("deallocate", _) => skip("it would drop what the trace itself has prepared"),
        ("copy", Kind::Plain) => {
            skip("it uses a file or program of the server, which no rollback undoes")
        }
        (_, Kind::CopyToStdout) => skip("it sends rows to the client"),
        (_, Kind::SetTransaction) => skip("a trace is one transaction of READ COMMITTED"),
        (_, Kind::Bare(bare)) => Rule::Skip(format!(
            "PostgreSQL refuses {} in a transaction",
            bare.what()
        )),
        (_, Kind::Session(session)) if is_ours(&session.setting) => {
            skip("a trace keeps its own limits")
        }
        _ => Rule::Run,
    }
}

/// Whether the rows that the server counts are rows that were touched.
pub(super) fn touches_rows(text: &str) -> bool {
    let word = text.split(|c: char| !c.is_ascii_alphabetic()).next();
    let words = ["insert", "update", "delete", "merge", "copy", "with"];
    word.is_some_and(|word| words.iter().any(|known| word.eq_ignore_ascii_case(known)))
}

fn is_ours(setting: &Setting) -> bool {
    matches!(setting, Setting::Other(name) if OURS.contains(&name.as_str()))
}

fn skip(why: &str) -> Rule {
    Rule::Skip(why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{Options, Script};

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let script = Script::prepare(text.to_owned(), Options::default()).unwrap();
        let statement = script.statements().next().unwrap();
        let found = match rule(statement.text, &statement.kind()) {
            Rule::Skip(why) => why,
            other => format!("{other:?}"),
        };
        assert!(found.contains(expected), "{text}: {found}");
    }

    #[test]
    fn what_could_end_the_transaction_is_never_sent() {
        for text in [
            "COMMIT",
            "commit and chain",
            "/* x */ End Work",
            "ABORT",
            "COMMIT\u{b}PREPARED 'x'",
            "commit x",
            "Rollback",
            "ROLLBACK PREPARED 'x'",
            "BEGIN",
            "start transaction",
            "PREPARE\u{b}TRANSACTION 'x'",
        ] {
            let script = Script::prepare(text.to_owned(), Options::default());
            // What is refused before is not run either.
            let Ok(script) = script else { continue };
            for statement in script.statements() {
                let rule = rule(statement.text, &statement.kind());
                assert!(matches!(rule, Rule::Skip(_)), "{text}: {rule:?}");
            }
            let by_word_alone = rule(text.trim_start_matches("/* x */ "), &Kind::Plain);
            assert!(matches!(by_word_alone, Rule::Skip(_)), "{text}");
        }
        assert_eq!(rule("\u{b}COMMIT", &Kind::Plain), Rule::Parse);
        assert_eq!(rule("\u{a0}COMMIT", &Kind::Plain), Rule::Parse);
        assert_eq!(rule(";COMMIT", &Kind::Plain), Rule::Parse);
    }

    #[test]
    fn rules() {
        check("ALTER TABLE t ADD a int", "Run");
        check("(SELECT 1)", "Run");
        check("committee", "Run");
        check("PREPARE q AS SELECT 1", "Run");
        check("SAVEPOINT a", "Unwrapped");
        check("ROLLBACK TO a", "Unwrapped");
        check("RELEASE a", "Unwrapped");
        check(
            "CREATE INDEX CONCURRENTLY i ON t (a)",
            "CREATE INDEX CONCURRENTLY in a transaction",
        );
        check("COPY t FROM PROGRAM 'rm'", "no rollback");
        check("COPY t FROM STDIN;\n1\n\\.\n", "Run");
        check("SET statement_timeout = 0", "own limits");
        check("SET LOCAL lock_timeout = 0", "own limits");
        check(
            "SELECT pg_catalog.set_config('transaction_timeout', '0', false)",
            "own limits",
        );
        check("SET search_path = a", "Run");
        check("DEALLOCATE ALL", "prepared");
    }

    #[test]
    fn rows() {
        assert!(touches_rows("insert into t values (1)"));
        assert!(touches_rows("WITH a AS (SELECT 1) DELETE FROM t"));
        assert!(!touches_rows("SELECT 1"));
        assert!(!touches_rows("CREATE TABLE t ()"));
    }
}
