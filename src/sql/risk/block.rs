//! `DO`: the statements of its body.

use super::Lock;
use super::read::{Reader, Work};
use crate::sql::bare::inside;
use crate::sql::lex::{Lexeme, Token};
use crate::sql::words::Words;

/// Words of PL/pgSQL behind which a statement starts.
const OPENS: &[&str] = &["begin", "then", "else", "loop"];

/// First words of statements that are SQL's own.
const SQL: &[&str] = &[
    "alter", "analyze", "call", "cluster", "comment", "copy", "create", "delete", "do", "drop",
    "explain", "grant", "import", "insert", "lock", "merge", "reassign", "refresh", "reindex",
    "revoke", "security", "select", "truncate", "update", "vacuum", "with",
];

/// Stands for a name that only the server knows. Nothing of this name is ever remembered as made.
const SOMETHING: &str = " \"\u{1}\" ";

const DYNAMIC: &str = "runs SQL that is put together when it runs";

/// Reads a statement behind `DO`.
pub(super) fn read(reader: &mut Reader<'_>, mut words: Words<'_>) {
    let mut body = None;
    let mut plpgsql = true;
    while let Some(token) = words.next() {
        match token.lexeme {
            Lexeme::Text | Lexeme::DollarText => body = Some(words.text_of(token)),
            Lexeme::Word if words.text_of(token).eq_ignore_ascii_case("language") => {
                plpgsql = words.ident().as_deref() == Some("plpgsql");
            }
            _ => {}
        }
    }
    let body = body.unwrap_or_default();
    let inner = inside(body);
    // Between plain quotes a quote is written twice.
    let doubled = (!body.starts_with('$')).then(|| inner.replace("''", "'"));
    let inner = doubled.as_deref().unwrap_or(inner);
    if !plpgsql {
        return reader.guess(inner, "a block in another language than PL/pgSQL");
    }
    let outer = std::mem::replace(&mut reader.conditional, true);
    statements(reader, inner);
    reader.conditional = outer;
}

/// Finds the statements: each begins behind `;`, a label, or a word that opens a list of them.
fn statements(reader: &mut Reader<'_>, body: &str) {
    let mut words = Words::new(body);
    let mut starts = true;
    while let Some(token) = words.peek() {
        let written = token.of(body);
        if starts && token.lexeme == Lexeme::Word {
            if SQL.iter().any(|word| written.eq_ignore_ascii_case(word)) {
                let statement = take_statement(&mut words);
                reader.statement(statement);
                continue;
            }
            if written.eq_ignore_ascii_case("perform") {
                words.next();
                let rest = take_statement(&mut words);
                reader.statement(&format!("SELECT {rest}"));
                continue;
            }
        }
        if written.eq_ignore_ascii_case("execute") && token.lexeme == Lexeme::Word {
            words.next();
            dynamic(reader, take_statement(&mut words));
            starts = true;
            continue;
        }
        if written.eq_ignore_ascii_case("search_path") || written.eq_ignore_ascii_case("role") {
            reader.memory.unknown_path();
        }
        if written.eq_ignore_ascii_case("delete") {
            // In a loop over DELETE … RETURNING, in RETURN QUERY.
            let mut ahead = words.clone();
            ahead.next();
            if ahead.is("from") {
                reader.statement(take_statement(&mut words.clone()));
            }
        }
        starts = opens(token, written);
        words.next();
    }
}

fn opens(token: Token, written: &str) -> bool {
    token.lexeme == Lexeme::Semi
        || written == ">"
        || (token.lexeme == Lexeme::Word
            && OPENS.iter().any(|word| written.eq_ignore_ascii_case(word)))
}

/// Takes everything up to the next `;`, or up to the `LOOP` that an `EXECUTE` or a query feeds.
fn take_statement<'t>(words: &mut Words<'t>) -> &'t str {
    let start = words.rest();
    while let Some(token) = words.peek() {
        let ends = token.lexeme == Lexeme::Semi
            || (token.lexeme == Lexeme::Word && words.text_of(token).eq_ignore_ascii_case("loop"));
        if ends {
            break;
        }
        words.next();
    }
    start
        .get(..start.len() - words.rest().len())
        .unwrap_or_default()
}

/// `EXECUTE`: the constant parts are read as if they were the statement, and what stands between them as a name.
fn dynamic(reader: &mut Reader<'_>, expression: &str) {
    let mut text = String::new();
    let mut words = Words::new(expression);
    while let Some(token) = words.next() {
        match token.lexeme {
            Lexeme::Text | Lexeme::DollarText => {
                text.push_str(&inside(words.text_of(token)).replace("''", "'"));
            }
            Lexeme::Word if words.text_of(token).eq_ignore_ascii_case("using") => break,
            Lexeme::Word if words.peek().is_none_or(|next| next.lexeme != Lexeme::Open) => {
                text.push_str(SOMETHING);
            }
            _ => {}
        }
    }
    for specifier in ["%I", "%s", "%L"] {
        text = text.replace(specifier, SOMETHING);
    }
    let known = reader.effects.len();
    reader.statement(&text);
    reader.opaque = true;
    // The names are made up; what it does to them stays.
    for effect in reader.effects.iter_mut().skip(known) {
        effect.object = None;
        effect.why = format!("{DYNAMIC}: {}", effect.why);
    }
    let found = reader
        .effects
        .iter()
        .skip(known)
        .any(|effect| effect.risk > super::Risk::Safe);
    if !found {
        reader.unnamed(Lock::AccessExclusive, Work::Long, DYNAMIC, None);
    }
}
