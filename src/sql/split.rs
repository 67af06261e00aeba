//! Where statements begin and end.
//!
//! A `;` ends a statement except in parentheses (`CREATE RULE … DO (a; b)`) and in the body of a routine written in
//! SQL (`BEGIN ATOMIC … END`), which are the two places where PostgreSQL's grammar takes one inside a statement.

use std::ops::Range;

use crate::sql::kind::{self, Kind};
use crate::sql::lex::{Lexeme, Token, token_at};

/// A reader that can stop at anything of interest and go on, also after the text was changed in place behind it.
#[derive(Debug, Clone, Default)]
pub(super) struct Splitter {
    /// Where reading goes on.
    pub(super) offset: usize,
    open: Open,
    /// Stop at line comments too.
    comments: bool,
}

/// The statement being read.
#[derive(Debug, Clone, Default)]
struct Open {
    start: Option<usize>,
    body_end: usize,
    depth: u32,
    routine: Routine,
}

/// How far a statement has shown itself to be a routine with a body of statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Routine {
    #[default]
    Unread,
    Create,
    CreateOr,
    CreateOrReplace,
    /// `CREATE [OR REPLACE] FUNCTION` or `PROCEDURE`.
    Head,
    Begin,
    /// In the body, where no statement has begun: behind `ATOMIC` or `;`. Only here `END` ends the body; elsewhere
    /// it belongs to a `CASE` or is a name.
    BodyStart,
    Body,
    /// Any other statement, or a body that has ended.
    No,
}

/// A statement's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Its first token.
    pub(super) start: usize,
    /// Behind its last token, the `;` not counted.
    pub(super) body_end: usize,
    /// Behind its `;`, or as `body_end` where there is none.
    pub(super) end: usize,
}

/// What the splitter met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Statement(Bounds, Data),
    /// A line comment; only if asked for.
    Comment(Range<usize>),
    /// A backslash outside any quote, and whether a statement has begun before it.
    Backslash(usize, bool),
    /// A quote or a comment without an end.
    Unterminated(Token),
    End,
}

/// The data of a `COPY … FROM STDIN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Data {
    /// Not such a statement.
    None,
    /// The lines between the statement's line and the line `\.`.
    Inline(Range<usize>),
    /// There is no line `\.`.
    Missing,
    /// Something stands between the `;` and the end of the line.
    NotAlone(usize),
}

// === impl Splitter ===

impl Splitter {
    /// Starts between two statements.
    pub(super) fn at(offset: usize) -> Self {
        Self {
            offset,
            ..Self::default()
        }
    }

    /// Starts at the beginning and stops at line comments too.
    pub(super) fn with_comments() -> Self {
        Self {
            comments: true,
            ..Self::default()
        }
    }

    /// Reads on to the next thing of interest.
    pub(super) fn step(&mut self, text: &str) -> Step {
        while let Some(token) = token_at(text, self.offset) {
            self.offset = token.end;
            if !token.terminated {
                return Step::Unterminated(token);
            }
            match token.lexeme {
                Lexeme::LineComment if self.comments => {
                    return Step::Comment(token.start..token.end);
                }
                Lexeme::Space | Lexeme::BlockComment | Lexeme::LineComment => {}
                Lexeme::Backslash => {
                    return Step::Backslash(token.start, self.open.start.is_some());
                }
                Lexeme::Semi if self.open.ends_here() => {
                    if let Some(bounds) = self.close(token.end) {
                        return self.with_data(text, bounds);
                    }
                }
                _ => self.open.push(token, text),
            }
        }
        match self.close(text.len()) {
            None => Step::End,
            Some(bounds) => {
                let bounds = Bounds {
                    end: bounds.body_end,
                    ..bounds
                };
                self.with_data(text, bounds)
            }
        }
    }

    fn close(&mut self, end: usize) -> Option<Bounds> {
        let open = std::mem::take(&mut self.open);
        open.start.map(|start| Bounds {
            start,
            body_end: open.body_end,
            end,
        })
    }

    /// The lexer must not read the data: reading goes on behind it.
    fn with_data(&mut self, text: &str, bounds: Bounds) -> Step {
        let body = &text[bounds.start..bounds.body_end];
        let copies = body
            .get(..4)
            .is_some_and(|word| word.eq_ignore_ascii_case("copy"))
            && kind::classify(body) == Kind::CopyFromStdin;
        if !copies {
            return Step::Statement(bounds, Data::None);
        }
        let (data, resume) = data(text, bounds.end);
        self.offset = resume;
        Step::Statement(bounds, data)
    }
}

// === impl Open ===

impl Open {
    fn ends_here(&self) -> bool {
        self.depth == 0 && !matches!(self.routine, Routine::Body | Routine::BodyStart)
    }

    fn push(&mut self, token: Token, text: &str) {
        self.start.get_or_insert(token.start);
        self.body_end = token.end;
        match token.lexeme {
            Lexeme::Open => self.depth = self.depth.saturating_add(1),
            Lexeme::Close => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        if self.routine != Routine::No && self.depth == 0 {
            self.routine = self.routine.read(token, token.of(text));
        }
    }
}

// === impl Routine ===

impl Routine {
    fn read(self, token: Token, written: &str) -> Self {
        let is =
            |keyword: &str| token.lexeme == Lexeme::Word && written.eq_ignore_ascii_case(keyword);
        match self {
            Self::Unread if is("create") => Self::Create,
            Self::Create if is("or") => Self::CreateOr,
            Self::CreateOr if is("replace") => Self::CreateOrReplace,
            Self::Create | Self::CreateOrReplace if is("function") || is("procedure") => Self::Head,
            Self::Head | Self::Begin if is("begin") => Self::Begin,
            Self::Begin if is("atomic") => Self::BodyStart,
            Self::Head | Self::Begin => Self::Head,
            Self::BodyStart | Self::Body if token.lexeme == Lexeme::Semi => Self::BodyStart,
            Self::BodyStart if !is("end") => Self::Body,
            Self::Body => Self::Body,
            _ => Self::No,
        }
    }
}

/// The data behind a `COPY` statement that ends at `end`, and where SQL goes on.
fn data(text: &str, end: usize) -> (Data, usize) {
    let rest = &text[end..];
    let Some(line) = rest.find('\n') else {
        let data = if rest.trim().is_empty() {
            Data::Missing
        } else {
            Data::NotAlone(end)
        };
        return (data, text.len());
    };
    let same_line = &rest[..line];
    if let Some(at) = same_line.find(|c: char| !c.is_whitespace()) {
        return (Data::NotAlone(end + at), text.len());
    }
    let start = end + line + 1;
    let mut from = start;
    while let Some(found) = text[from..].find("\\.") {
        let at = from + found;
        let at_line_start = at == start || text.as_bytes()[at - 1] == b'\n';
        let behind = &text[at + 2..];
        if at_line_start && behind.is_empty() {
            return (Data::Inline(start..at), text.len());
        }
        for line_end in ["\n", "\r\n"] {
            if at_line_start && behind.starts_with(line_end) {
                return (Data::Inline(start..at), at + 2 + line_end.len());
            }
        }
        from = at + 2;
    }
    (Data::Missing, text.len())
}

#[cfg(test)]
mod tests;
