//! A reader of keywords and names over the significant tokens of one statement.

use crate::sql::lex::{Lexeme, Token, Tokens};
use crate::sql::name::{Name, identifier};

/// Where reading stands. A clone is a bookmark.
#[derive(Debug, Clone)]
pub(super) struct Words<'t> {
    text: &'t str,
    tokens: Tokens<'t>,
}

// === impl Words ===

impl<'t> Words<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self {
            text,
            tokens: Tokens::new(text),
        }
    }

    /// The next significant token.
    pub(super) fn next(&mut self) -> Option<Token> {
        self.tokens.find(|token| token.is_significant())
    }

    /// The next significant token, left in place.
    pub(super) fn peek(&self) -> Option<Token> {
        self.clone().next()
    }

    /// A token's text.
    pub(super) fn text_of(&self, token: Token) -> &'t str {
        &self.text[token.start..token.end]
    }

    /// Whether the next token is this keyword, unquoted, in any case.
    pub(super) fn is(&self, keyword: &str) -> bool {
        self.clone().take(keyword)
    }

    /// Takes the keyword if it is next.
    pub(super) fn take(&mut self, keyword: &str) -> bool {
        let mut ahead = self.clone();
        let found = ahead.next().is_some_and(|token| {
            token.lexeme == Lexeme::Word && self.text_of(token).eq_ignore_ascii_case(keyword)
        });
        if found {
            *self = ahead;
        }
        found
    }

    /// Takes all the keywords in this order, or none.
    pub(super) fn take_all(&mut self, keywords: &[&str]) -> bool {
        let bookmark = self.clone();
        let found = keywords.iter().all(|keyword| self.take(keyword));
        if !found {
            *self = bookmark;
        }
        found
    }

    /// Takes one of the keywords.
    pub(super) fn take_any(&mut self, keywords: &[&str]) -> bool {
        keywords.iter().any(|keyword| self.take(keyword))
    }

    /// Takes the token if it is of this kind.
    pub(super) fn take_lexeme(&mut self, lexeme: Lexeme) -> bool {
        let mut ahead = self.clone();
        let found = ahead.next().is_some_and(|token| token.lexeme == lexeme);
        if found {
            *self = ahead;
        }
        found
    }

    /// A single identifier.
    pub(super) fn ident(&mut self) -> Option<String> {
        let mut ahead = self.clone();
        let name = identifier(ahead.next()?, self.text)?;
        *self = ahead;
        Some(name)
    }

    /// A name with its schema, if one is written.
    pub(super) fn name(&mut self) -> Option<Name> {
        let mut name = Name {
            schema: None,
            name: self.ident()?,
        };
        while self.take_lexeme(Lexeme::Dot) {
            name.schema = Some(std::mem::replace(&mut name.name, self.ident()?));
        }
        Some(name)
    }

    /// Names between commas.
    pub(super) fn names(&mut self) -> Vec<Name> {
        let mut names = Vec::new();
        while let Some(name) = self.name() {
            names.push(name);
            if !self.take_lexeme(Lexeme::Comma) {
                break;
            }
        }
        names
    }

    /// The words of a parenthesised option list, each with the text that follows it up to the comma; empty when no
    /// parenthesis is next. `(VERBOSE, CONCURRENTLY false)` is `[("verbose", ""), ("concurrently", "false")]`.
    pub(super) fn options(&mut self) -> Vec<(String, String)> {
        let mut options = Vec::new();
        if !self.take_lexeme(Lexeme::Open) {
            return options;
        }
        let mut depth = 1_u32;
        let mut current: Option<(String, String)> = None;
        while let Some(token) = self.next() {
            match token.lexeme {
                Lexeme::Open => depth += 1,
                Lexeme::Close => depth -= 1,
                Lexeme::Comma if depth == 1 => options.extend(current.take()),
                _ => push_option(&mut current, self.text_of(token)),
            }
            if depth == 0 {
                break;
            }
        }
        options.extend(current);
        options
    }

    /// Takes a parenthesis; what is in it.
    pub(super) fn parenthesis(&mut self) -> Option<&'t str> {
        let open = self.peek()?;
        if !self.skip_parentheses() {
            return None;
        }
        let end = self.text.len() - self.rest().len();
        let inner = self.text.get(open.end..end)?;
        Some(inner.strip_suffix(')').unwrap_or(inner))
    }

    /// Takes a parenthesis with all that is in it.
    pub(super) fn skip_parentheses(&mut self) -> bool {
        if !self.take_lexeme(Lexeme::Open) {
            return false;
        }
        let mut depth = 1_u32;
        while let Some(token) = self.next() {
            match token.lexeme {
                Lexeme::Open => depth += 1,
                Lexeme::Close => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
        true
    }

    /// The text behind what was read.
    pub(super) fn rest(&self) -> &'t str {
        self.tokens.rest()
    }

    /// Nothing but what was read.
    pub(super) fn at_end(&self) -> bool {
        self.peek().is_none()
    }
}

fn push_option(current: &mut Option<(String, String)>, written: &str) {
    match current {
        None => *current = Some((written.to_ascii_lowercase(), String::new())),
        Some(_) if written == "=" => {}
        Some((_, value)) => value.push_str(
            written
                .trim_matches(|c| matches!(c, '\'' | '"'))
                .to_ascii_lowercase()
                .as_str(),
        ),
    }
}

/// Whether an option's value switches it off, as PostgreSQL's `defGetBoolean` reads it.
pub(super) fn is_off(value: &str) -> bool {
    matches!(value, "false" | "off" | "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_are_unquoted_and_of_any_case() {
        let mut words = Words::new("/* x */ Create \"index\" i");
        assert!(!words.take_all(&["create", "index"]));
        assert!(words.take("create"));
        assert!(!words.take("index"));
        assert_eq!(words.ident().as_deref(), Some("index"));
        assert!(words.take("i") && words.at_end());
    }

    #[test]
    fn names_keep_schema_and_drop_the_database() {
        let names = Words::new("db.s.\"T\" , u , ").names();
        let shown: Vec<String> = names.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["s.T", "u"]);
    }

    #[test]
    fn the_inside_of_a_parenthesis() {
        let mut words = Words::new("x /* ( */ (a (b), ')') y");
        words.next();
        assert_eq!(words.parenthesis(), Some("a (b), ')'"));
        assert!(words.take("y"));
        assert_eq!(words.parenthesis(), None);
    }

    #[test]
    fn options_have_words_and_values() {
        assert_eq!(
            Words::new("(VERBOSE, Concurrently = 'FALSE', x (1, 2)) y").options(),
            [
                ("verbose".to_owned(), String::new()),
                ("concurrently".to_owned(), "false".to_owned()),
                ("x".to_owned(), "1,2".to_owned())
            ]
        );
        assert!(Words::new("x").options().is_empty());
    }
}
