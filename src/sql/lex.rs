//! Tokens of PostgreSQL's SQL with their place in the text.
//!
//! The lexer is started anew for every token, which costs nothing (it is a cursor over the rest of the text) and lets
//! callers go on at any offset: behind `COPY` data, or where a marker was replaced.

use squawk_lexer::{BOM, LiteralKind, TokenKind};

/// What a token is, as far as anything here has to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lexeme {
    Space,
    LineComment,
    BlockComment,
    /// A keyword or an unquoted identifier.
    Word,
    /// `"…"` or `U&"…"`.
    QuotedIdent,
    /// Any string in single quotes, with its prefix.
    Text,
    /// `$tag$…$tag$`.
    DollarText,
    Number,
    Semi,
    Open,
    Close,
    Comma,
    Dot,
    Backslash,
    Other,
}

/// One token, byte offsets into the whole text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) lexeme: Lexeme,
    pub(super) start: usize,
    pub(super) end: usize,
    /// False for a quote or comment that reaches the end of the text.
    pub(super) terminated: bool,
}

/// The tokens of a text from an offset on.
#[derive(Debug, Clone)]
pub(super) struct Tokens<'t> {
    text: &'t str,
    offset: usize,
}

// === impl Token ===

impl Token {
    /// Neither space nor comment.
    pub(super) fn is_significant(self) -> bool {
        !matches!(
            self.lexeme,
            Lexeme::Space | Lexeme::LineComment | Lexeme::BlockComment
        )
    }

    /// The token's text.
    pub(super) fn of(self, text: &str) -> &str {
        &text[self.start..self.end]
    }
}

// === impl Tokens ===

impl<'t> Tokens<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, offset: 0 }
    }

    /// What was not read yet.
    pub(super) fn rest(&self) -> &'t str {
        self.text.get(self.offset..).unwrap_or_default()
    }
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        let token = token_at(self.text, self.offset)?;
        self.offset = token.end;
        Some(token)
    }
}

/// The token that starts at `offset`; `None` at the end of the text.
pub(super) fn token_at(text: &str, offset: usize) -> Option<Token> {
    let rest = text.get(offset..)?;
    if let Some(token) = common(rest, offset) {
        return Some(token);
    }
    if rest.as_bytes().first() == BOM.as_bytes().first() && rest.starts_with(BOM) {
        // The crate skips it at the start of what it is given. To PostgreSQL it is a letter like any other.
        let len = rest.find(ends_word).unwrap_or(rest.len());
        return Some(Token {
            lexeme: Lexeme::Word,
            start: offset,
            end: offset + len,
            terminated: true,
        });
    }
    let token = squawk_lexer::tokenize(rest).next()?;
    let mut end = offset + token.len as usize;
    let (lexeme, mut terminated) = lexeme(token.kind, rest);
    if matches!(
        token.kind,
        TokenKind::Literal {
            kind: LiteralKind::EscStr { terminated: true }
        }
    ) {
        (end, terminated) = continued(text, end);
    }
    Some(Token {
        lexeme,
        start: offset,
        end,
        terminated,
    })
}

/// What the rows of a large file are made of, read without the crate, which goes from character to character: a file of
/// hundreds of megabytes is read several times.
fn common(rest: &str, offset: usize) -> Option<Token> {
    let bytes = rest.as_bytes();
    let (lexeme, len, terminated) = match *bytes.first()? {
        b'(' => (Lexeme::Open, 1, true),
        b')' => (Lexeme::Close, 1, true),
        b',' => (Lexeme::Comma, 1, true),
        b';' => (Lexeme::Semi, 1, true),
        b'\'' => {
            let end = plain_text_end(bytes);
            (Lexeme::Text, end.unwrap_or(bytes.len()), end.is_some())
        }
        _ => return None,
    };
    Some(Token {
        lexeme,
        start: offset,
        end: offset + len,
        terminated,
    })
}

/// The offset behind the closing quote of a string that starts here and has no prefix: two quotes are one in it.
fn plain_text_end(bytes: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        at += memchr::memchr(b'\'', bytes.get(at..)?)? + 1;
        if bytes.get(at) != Some(&b'\'') {
            return Some(at);
        }
        at += 1;
    }
}

fn ends_word(c: char) -> bool {
    c.is_ascii() && !c.is_ascii_alphanumeric() && c != '_' && c != '$'
}

fn lexeme(kind: TokenKind, rest: &str) -> (Lexeme, bool) {
    let lexeme = match kind {
        TokenKind::Whitespace => Lexeme::Space,
        TokenKind::LineComment => Lexeme::LineComment,
        TokenKind::BlockComment { terminated } => return (Lexeme::BlockComment, terminated),
        TokenKind::Ident => Lexeme::Word,
        TokenKind::QuotedIdent { terminated, .. } => return (Lexeme::QuotedIdent, terminated),
        TokenKind::Literal { kind } => return literal(kind),
        TokenKind::Semi => Lexeme::Semi,
        TokenKind::OpenParen => Lexeme::Open,
        TokenKind::CloseParen => Lexeme::Close,
        TokenKind::Comma => Lexeme::Comma,
        TokenKind::Dot => Lexeme::Dot,
        TokenKind::Unknown if rest.starts_with('\\') => Lexeme::Backslash,
        _ => Lexeme::Other,
    };
    (lexeme, true)
}

fn literal(kind: LiteralKind) -> (Lexeme, bool) {
    match kind {
        LiteralKind::Int { .. } | LiteralKind::Numeric { .. } => (Lexeme::Number, true),
        LiteralKind::DollarQuotedString { terminated } => (Lexeme::DollarText, terminated),
        LiteralKind::Str { terminated }
        | LiteralKind::NationalStr { terminated }
        | LiteralKind::ByteStr { terminated }
        | LiteralKind::BitStr { terminated }
        | LiteralKind::UnicodeEscStr { terminated }
        | LiteralKind::EscStr { terminated } => (Lexeme::Text, terminated),
    }
}

/// The end of an escape string that may go on after a line break: `E'a'⏎'b\'c'` is one string, and the part behind
/// the line break still knows backslashes, which a token of its own would not (`quotecontinue` in `scan.l`).
fn continued(text: &str, mut end: usize) -> (usize, bool) {
    while let Some(open) = next_part(text, end) {
        match escape_end(text, open + 1) {
            Some(close) => end = close,
            None => return (text.len(), false),
        }
    }
    (end, true)
}

/// Where the next part's quote stands, if only space with a line break and line comments are in between.
fn next_part(text: &str, from: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = from;
    let mut line_break = false;
    loop {
        match *bytes.get(at)? {
            b'\n' | b'\r' => line_break = true,
            b' ' | b'\t' | 0x0b | 0x0c => {}
            b'-' if bytes.get(at + 1) == Some(&b'-') => {
                at += bytes[at..]
                    .iter()
                    .position(|b| matches!(b, b'\n' | b'\r'))?;
                continue;
            }
            b'\'' if line_break => return Some(at),
            _ => return None,
        }
        at += 1;
    }
}

/// The offset behind the closing quote of an escape string whose content starts at `from`.
fn escape_end(text: &str, from: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = from;
    loop {
        match *bytes.get(at)? {
            b'\\' => at += 2,
            b'\'' if bytes.get(at + 1) == Some(&b'\'') => at += 2,
            b'\'' => return Some(at + 1),
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lexemes(text: &str) -> Vec<(Lexeme, &str)> {
        Tokens::new(text)
            .filter(|token| token.is_significant())
            .map(|token| (token.lexeme, token.of(text)))
            .collect()
    }

    /// What is read without the crate is what the crate reads.
    #[test]
    fn common_tokens_are_those_of_the_crate() {
        let strings = [
            "''",
            "'a'b",
            "'a''b' 'c'",
            "'",
            "'''",
            "''''",
            "'a''",
            r"'é\'x",
            "'a\n''\nb'",
            "'''a'';'",
        ];
        for text in strings.into_iter().chain(["(1)", "))", ",,", ";;"]) {
            let own = common(text, 0).unwrap();
            let token = squawk_lexer::tokenize(text).next().unwrap();
            let (lexeme, terminated) = lexeme(token.kind, text);
            let end = token.len as usize;
            let expected = Token {
                lexeme,
                start: 0,
                end,
                terminated,
            };
            assert_eq!(own, expected, "{text}");
        }
        assert_eq!(common("E'a'", 0), None);
        assert_eq!(common("", 0), None);
    }

    #[test]
    fn an_escape_string_goes_on_behind_a_line_break() {
        let one = r"E'a' -- it's
  'b\';c'";
        assert_eq!(lexemes(one), [(Lexeme::Text, one)]);
        assert_eq!(
            lexemes(r"E'a' 'b\' x"),
            [
                (Lexeme::Text, "E'a'"),
                (Lexeme::Text, r"'b\'"),
                (Lexeme::Word, "x")
            ]
        );
        assert_eq!(
            lexemes("E'a'\n/* */ 'b'"),
            [(Lexeme::Text, "E'a'"), (Lexeme::Text, "'b'")]
        );
    }

    #[test]
    fn an_escape_string_without_an_end_says_so() {
        let token = token_at("E'a'\n'b\\'", 0).unwrap();
        assert!(!token.terminated);
        assert_eq!(token.end, 9);
    }

    #[test]
    fn a_byte_order_mark_inside_is_a_letter() {
        assert_eq!(
            lexemes(";\u{feff}commit;"),
            [
                (Lexeme::Semi, ";"),
                (Lexeme::Word, "\u{feff}commit"),
                (Lexeme::Semi, ";")
            ]
        );
    }

    #[test]
    fn offsets_are_bytes() {
        let text = "sélect 'ü' \\x";
        let tokens: Vec<_> = Tokens::new(text).collect();
        assert_eq!(tokens.last().map(|t| t.end), Some(text.len()));
        assert!(tokens.iter().any(|t| t.lexeme == Lexeme::Backslash));
        let joined: String = tokens.iter().map(|t| t.of(text)).collect();
        assert_eq!(joined, text);
    }
}
