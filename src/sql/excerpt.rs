//! Statements as a log may show them.

use std::borrow::Cow;

use crate::sql::bare::inside;
use crate::sql::lex::{Lexeme, Token, Tokens};
use crate::sql::name::identifier;

/// Characters of an excerpt at most.
const MAX_CHARS: usize = 200;
/// What stands for a literal.
const HIDDEN: &str = "'…'";

/// A statement for a log or a table: literals replaced by `'…'`, comments dropped, white space folded, cut at 200
/// characters. Numbers stay in statements that define something (`varchar(80)`), not in those that carry rows. Of a
/// statement with `PASSWORD` only the first two words are shown.
pub fn excerpt(statement: &str) -> String {
    if is_secret(statement) {
        return secret_excerpt(statement);
    }
    let masking = Masking::of(statement);
    let mut shown = Excerpt::default();
    for token in Tokens::new(statement) {
        if !token.is_significant() {
            shown.space();
            continue;
        }
        if !shown.push(&masking.show(token, statement)) {
            break;
        }
    }
    shown.text
}

fn secret_excerpt(statement: &str) -> String {
    let words: Vec<&str> = Tokens::new(statement)
        .filter(|token| token.is_significant())
        .take(2)
        .take_while(|token| token.lexeme == Lexeme::Word)
        .map(|token| token.of(statement))
        .collect();
    format!("{} … (not shown: it has a PASSWORD)", words.join(" "))
}

/// Whether the statement has the word `PASSWORD`, also in the body of a block or function.
pub(super) fn is_secret(statement: &str) -> bool {
    Tokens::new(statement).any(|token| match token.lexeme {
        Lexeme::Word | Lexeme::QuotedIdent => {
            identifier(token, statement).is_some_and(|name| name.eq_ignore_ascii_case("password"))
        }
        Lexeme::DollarText => is_secret(inside(token.of(statement))),
        _ => false,
    })
}

/// Which tokens of a statement are shown as they are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Masking {
    numbers: bool,
    /// A dollar-quoted string is code, so it may be shown with its own literals replaced.
    pub(super) code: bool,
}

// === impl Masking ===

impl Masking {
    pub(super) fn of(statement: &str) -> Self {
        let first = Tokens::new(statement)
            .find(|token| token.is_significant())
            .map_or("", |token| token.of(statement));
        let is = |words: &[&str]| words.iter().any(|word| first.eq_ignore_ascii_case(word));
        Self {
            numbers: is(&["create", "alter", "drop", "comment", "set", "do"]),
            code: is(&["create", "do"]),
        }
    }

    /// A significant token as it may be shown.
    pub(super) fn show(self, token: Token, text: &str) -> Cow<'_, str> {
        match token.lexeme {
            Lexeme::Text | Lexeme::DollarText => Cow::Borrowed(HIDDEN),
            Lexeme::Number if !self.numbers => Cow::Borrowed("…"),
            // The rest of a text whose quote has no end may hold anything.
            Lexeme::QuotedIdent if !token.terminated => Cow::Borrowed("\"…"),
            _ => Cow::Owned(
                token
                    .of(text)
                    .chars()
                    .map(|c| if c.is_control() { ' ' } else { c })
                    .collect(),
            ),
        }
    }
}

/// The text made so far.
#[derive(Debug, Default)]
struct Excerpt {
    text: String,
    chars: usize,
    space: bool,
}

// === impl Excerpt ===

impl Excerpt {
    fn space(&mut self) {
        self.space = !self.text.is_empty();
    }

    /// False when the text is full.
    fn push(&mut self, piece: &str) -> bool {
        let space = std::mem::take(&mut self.space);
        for c in space.then_some(' ').into_iter().chain(piece.chars()) {
            if self.chars == MAX_CHARS {
                self.text.pop();
                self.text.push('…');
                return false;
            }
            self.text.push(c);
            self.chars += 1;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(statement: &str, expected: &str) {
        assert_eq!(excerpt(statement), expected);
    }

    #[test]
    fn literals_are_replaced() {
        check(
            "INSERT INTO t -- who\n VALUES ('it''s', E'a\\'b', $$x;y$$, 4111, B'01') ;",
            "INSERT INTO t VALUES ('…', '…', '…', …, '…') ;",
        );
        check(
            "create table  t(a\tvarchar(80))",
            "create table t(a varchar(80))",
        );
        check("SELECT 'no end", "SELECT '…'");
        check("SELECT \"no end", "SELECT \"…");
        check("  /* only */ ", "");
    }

    #[test]
    fn passwords_are_never_shown() {
        check(
            "ALTER ROLE app PASSWORD 'x'",
            "ALTER ROLE … (not shown: it has a PASSWORD)",
        );
        check(
            "DO $$ BEGIN CREATE ROLE r password 'x'; END $$",
            "DO … (not shown: it has a PASSWORD)",
        );
        check(
            "create user mapping for u server s options (\"password\" 'x')",
            "create user … (not shown: it has a PASSWORD)",
        );
        check(
            "ALTER TABLE users ADD password_hash text",
            "ALTER TABLE users ADD password_hash text",
        );
    }

    #[test]
    fn long_statements_are_cut() {
        let long = excerpt(&format!("CREATE TABLE t ({})", "ä int, ".repeat(100)));
        assert_eq!(long.chars().count(), 200);
        assert!(long.ends_with('…'));
    }

    #[test]
    fn control_characters_do_not_reach_a_terminal() {
        check("SELECT \u{1b}x, \"a\u{7}b\"", "SELECT  x, \"a b\"");
    }
}
