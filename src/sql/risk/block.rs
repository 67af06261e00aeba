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
    let mut body = String::new();
    let mut plpgsql = true;
    while let Some(token) = words.next() {
        let written = words.text_of(token);
        match token.lexeme {
            // A string may go on in the next line.
            Lexeme::Text | Lexeme::DollarText => body.push_str(&value(written)),
            Lexeme::Word if written.eq_ignore_ascii_case("language") => {
                let language = words.next().map_or("", |token| words.text_of(token));
                let language = language.trim_matches(['\'', '"']);
                plpgsql = language.eq_ignore_ascii_case("plpgsql");
            }
            _ => {}
        }
    }
    if !plpgsql {
        return reader.guess(&body, "a block in another language than PL/pgSQL");
    }
    // Also in a string, for set_config.
    if body.to_ascii_lowercase().contains("search_path") {
        reader.memory.unknown_path();
    }
    let outer = std::mem::replace(&mut reader.conditional, true);
    statements(reader, &body);
    reader.conditional = outer;
}

/// What a literal stands for.
fn value(written: &str) -> String {
    let inner = inside(written);
    if written.starts_with('$') {
        return inner.to_owned();
    }
    let inner = inner.replace("''", "'");
    match written.as_bytes().first() {
        Some(b'e' | b'E') => unescape(&inner),
        Some(b'u' | b'U') => crate::sql::name::unescape(&inner),
        _ => inner,
    }
}

/// Resolves the escapes of `E'…'`.
///
/// <https://www.postgresql.org/docs/current/sql-syntax-lexical.html#SQL-SYNTAX-STRINGS-ESCAPE>
fn unescape(inner: &str) -> String {
    let mut out = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some((before, behind)) = rest.split_once('\\') {
        out.push_str(before);
        let mut chars = behind.chars();
        let (radix, skip, most) = match chars.next() {
            Some('x') => (16, 1, 2),
            Some('u') => (16, 1, 4),
            Some('U') => (16, 1, 8),
            Some('0'..='7') => (8, 0, 3),
            Some('b' | 'f' | 'n' | 'r' | 't') => {
                out.push(' ');
                rest = chars.as_str();
                continue;
            }
            Some(other) => {
                out.push(other);
                rest = chars.as_str();
                continue;
            }
            None => return out,
        };
        let digits = behind.get(skip..).unwrap_or_default();
        let end = digits
            .find(|c: char| !c.is_digit(radix))
            .unwrap_or(digits.len())
            .min(most);
        let (number, behind) = digits.split_at(end);
        let code = u32::from_str_radix(number, radix).ok();
        out.extend(code.and_then(char::from_u32));
        rest = behind;
    }
    out.push_str(rest);
    out
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
                text.push_str(&value(words.text_of(token)));
            }
            Lexeme::Comma => text.push(' '),
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
