//! From PostgreSQL's error position to a place in the file, with the line and a caret.

use std::ops::Range;

use unicode_width::UnicodeWidthChar;

use crate::sql::bare::inside;
use crate::sql::excerpt::{self, Masking};
use crate::sql::lex::{Lexeme, Token, Tokens};

/// Columns of a terminal that a shown line takes at most.
const MAX_COLUMNS: usize = 160;
/// Columns kept in front of the caret in a line that is cut.
const BEFORE_CARET: usize = 100;

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
    /// The statement's part of that line as it may be shown: literals and comments replaced, at most 160 columns wide.
    /// Empty for a statement with `PASSWORD`.
    pub text: String,
    /// What to print under `text`: spaces and tabs, then `^`, aligned with the place in a terminal.
    pub caret: String,
}

/// Line and column (in characters) of a byte offset, both from 1.
pub(super) fn line_column(text: &str, offset: usize) -> (u32, u32) {
    let before = &text[..text.floor_char_boundary(offset)];
    let column = 1 + before[line_start(before)..].chars().count();
    let line = 1 + count_lines(before);
    (line, u32::try_from(column).unwrap_or(u32::MAX))
}

/// How many line breaks there are.
pub(super) fn count_lines(text: &str) -> u32 {
    let count = memchr::memchr_iter(b'\n', text.as_bytes()).count();
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Where the last line of `before` starts.
fn line_start(before: &str) -> usize {
    before.rfind('\n').map_or(0, |at| at + 1)
}

/// The byte offset of a character, counted from 0 behind the byte offset `from`; the end where there are fewer.
pub(super) fn char_offset(text: &str, from: usize, chars: usize) -> usize {
    let found = text[from..].char_indices().nth(chars);
    found.map_or(text.len(), |(at, _)| from + at)
}

/// The place of a byte offset in a statement, given by its range.
pub(super) fn place(text: &str, offset: usize, statement: &Range<usize>) -> Place {
    let offset = offset.clamp(statement.start, statement.end);
    let (line, column) = line_column(text, offset);
    let mut place = Place {
        line,
        column,
        text: String::new(),
        caret: String::new(),
    };
    if !excerpt::is_secret(&text[statement.clone()]) {
        (place.text, place.caret) = show(text, offset, statement);
    }
    place
}

fn show(text: &str, offset: usize, statement: &Range<usize>) -> (String, String) {
    let start = line_start(&text[..offset]);
    let end = text[offset..]
        .find('\n')
        .map_or(text.len(), |at| offset + at);
    let mut drawing = Drawing {
        line: start..end,
        offset,
        text: String::new(),
        caret: None,
    };
    let before = &text[start..statement.start.max(start)];
    if before.trim().is_empty() {
        drawing.text.push_str(before);
    } else {
        drawing.text.push_str("… ");
    }
    let body = &text[statement.clone()];
    drawing.draw(body, statement.start, Masking::of(body));
    drawing.finish()
}

/// One line being drawn from the tokens that lie on it.
struct Drawing {
    /// The line, as a range of the whole text.
    line: Range<usize>,
    /// What the caret points at.
    offset: usize,
    text: String,
    /// Where in `text` the caret stands.
    caret: Option<usize>,
}

// === impl Drawing ===

impl Drawing {
    /// Draws the tokens of a piece of the text that starts at `base`.
    fn draw(&mut self, piece: &str, base: usize, masking: Masking) {
        for token in Tokens::new(piece) {
            let (start, end) = (base + token.start, base + token.end);
            if start >= self.line.end {
                break;
            }
            if end <= self.line.start {
                continue;
            }
            if token.lexeme == Lexeme::DollarText && masking.code {
                self.draw_code(token, piece, base, masking);
            } else if token.lexeme == Lexeme::Space {
                self.as_it_is(start..end, token.of(piece), start);
            } else {
                self.mark(start, end);
                self.text.push_str(&shown(token, piece, masking));
            }
        }
    }

    /// The body of a function: its quotes as they are, inside its own literals are replaced.
    fn draw_code(&mut self, token: Token, piece: &str, base: usize, masking: Masking) {
        let written = token.of(piece);
        let body = inside(written);
        let opening = written.find(body).filter(|_| !body.is_empty());
        let Some(opening) = opening else {
            self.mark(base + token.start, base + token.end);
            self.text.push_str("$$");
            return;
        };
        let start = base + token.start;
        let body_start = start + opening;
        let body_end = body_start + body.len();
        self.as_it_is(start..body_start, &written[..opening], start);
        self.draw(body, body_start, masking);
        self.as_it_is(
            body_end..base + token.end,
            &written[opening + body.len()..],
            body_end,
        );
    }

    /// Text that may be shown, cut to the line.
    fn as_it_is(&mut self, range: Range<usize>, written: &str, start: usize) {
        let from = range.start.max(self.line.start).min(range.end);
        let to = range.end.min(self.line.end).max(from);
        if (from..to).contains(&self.offset) {
            let ahead = &written[from - start..self.offset - start];
            self.caret = Some(self.text.len() + ahead.len());
        }
        self.text.push_str(&written[from - start..to - start]);
    }

    fn mark(&mut self, start: usize, end: usize) {
        if (start..end).contains(&self.offset) {
            self.caret = Some(self.text.len());
        }
    }

    fn finish(self) -> (String, String) {
        let caret = self.caret.unwrap_or(self.text.trim_end().len());
        cut(self.text.trim_end(), caret)
    }
}

/// A token other than space as it may be shown.
fn shown(token: Token, piece: &str, masking: Masking) -> String {
    match token.lexeme {
        Lexeme::LineComment => "-- …".to_owned(),
        Lexeme::BlockComment => "/* … */".to_owned(),
        _ => masking.show(token, piece).into_owned(),
    }
}

/// Columns that a character takes; a tab counts as eight.
fn width(c: char) -> usize {
    if c == '\t' { 8 } else { c.width().unwrap_or(0) }
}

/// Cuts a line around the caret, and makes the line of the caret.
fn cut(line: &str, caret: usize) -> (String, String) {
    let (before, behind) = line.split_at(caret.min(line.len()));
    let mut columns = 0;
    let kept: usize = before
        .chars()
        .rev()
        .take_while(|c| {
            columns += width(*c);
            columns <= BEFORE_CARET
        })
        .map(char::len_utf8)
        .sum();
    let kept_before = &before[before.len() - kept..];
    let mut text = String::new();
    if kept < before.len() {
        text.push('…');
    }
    text.push_str(kept_before);
    let caret = text
        .chars()
        .map(|c| {
            if c == '\t' {
                "\t".to_owned()
            } else {
                " ".repeat(width(c))
            }
        })
        .collect::<String>()
        + "^";
    let mut columns: usize = text.chars().map(width).sum();
    for c in behind.chars() {
        columns += width(c);
        if columns >= MAX_COLUMNS {
            text.push('…');
            break;
        }
        text.push(c);
    }
    (text, caret)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `‸` marks the offset in the text, the whole of which is one statement.
    #[track_caller]
    fn check(marked: &str, line: u32, column: u32, shown: &str, caret: &str) {
        let offset = marked.find('‸').unwrap();
        let text = marked.replace('‸', "");
        let found = place(&text, offset, &(0..text.len()));
        assert_eq!((found.line, found.column), (line, column));
        assert_eq!(found.text, shown);
        assert_eq!(found.caret, caret);
    }

    #[test]
    fn the_caret_stands_under_the_place() {
        check("SELECT\n  a, ‸b\nFROM t", 2, 6, "  a, b", "     ^");
        check("‸SELEC a", 1, 1, "SELEC a", "^");
        check("SELECT 1‸", 1, 9, "SELECT …", "        ^");
    }

    #[test]
    fn tabs_and_wide_characters_align() {
        check("SELECT\r\n\ta,\t‸b\r\n", 2, 5, "\ta,\tb", "\t  \t^");
        check(
            "SELECT \"漢字\", ‸b",
            1,
            14,
            "SELECT \"漢字\", b",
            "               ^",
        );
        check(
            "SELECT \"é\u{301}\", ‸b",
            1,
            14,
            "SELECT \"é\u{301}\", b",
            "            ^",
        );
    }

    #[test]
    fn literals_and_comments_are_replaced() {
        check(
            "INSERT INTO t VALUES ('sec‸ret', 17, x) -- note",
            1,
            27,
            "INSERT INTO t VALUES ('…', …, x) -- …",
            "                      ^",
        );
        check("SELECT 'a\nb', ‸c", 2, 5, "'…', c", "     ^");
        check("ALTER ROLE r PASSWORD ‸x", 1, 23, "", "");
    }

    #[test]
    fn the_body_of_a_function_is_code() {
        check(
            "CREATE FUNCTION f() RETURNS void AS $x$\n  BEGIN ‸PERFROM g('secret'); END $x$",
            2,
            9,
            "  BEGIN PERFROM g('…'); END $x$",
            "        ^",
        );
        check("SELECT $$\n ‸secret $$", 2, 2, "'…'", "^");
    }

    #[test]
    fn other_statements_on_the_line_are_left_out() {
        let text = "SELECT 'a'; SELECT b; SELECT 'c'";
        let found = place(text, 19, &(12..21));
        assert_eq!(
            (found.text.as_str(), found.caret.as_str()),
            ("… SELECT b;", "         ^")
        );
    }

    #[test]
    fn long_lines_are_cut_around_the_caret() {
        let text = format!("SELECT {} here {}", "a, ".repeat(200), "b, ".repeat(200));
        let offset = text.find("here").unwrap();
        let found = place(&text, offset, &(0..text.len()));
        let columns: usize = found.text.chars().map(width).sum();
        assert!(columns <= MAX_COLUMNS, "{columns}");
        assert!(found.text.starts_with('…') && found.text.ends_with('…'));
        let under: String = found
            .text
            .chars()
            .skip(found.caret.chars().count() - 1)
            .collect();
        assert!(under.starts_with("here"), "{under}");
    }

    #[test]
    fn characters_are_counted_not_bytes() {
        assert_eq!(char_offset("aé漢b", 1, 2), 6);
        assert_eq!(char_offset("ab", 0, 9), 2);
        assert_eq!(line_column("é\n漢b", 6), (2, 2));
        assert_eq!(line_column("", 9), (1, 1));
    }
}
