//! The one pass that makes a file's text ready.

use std::ops::Range;

use crate::sql::kind::{self, FENCE_SAVEPOINT, Kind};
use crate::sql::lex::{Lexeme, Token, Tokens};
use crate::sql::position::count_lines;
use crate::sql::session::{Misreading, Session, Setting, misreads};
use crate::sql::split::{Bounds, Data, Splitter, Step};
use crate::sql::summary::{Mark, Summary};
use crate::sql::{Issue, Script, directive};

/// How many issues are told; a thousand would help nobody.
const MAX_ISSUES: usize = 20;

/// How a file is read.
///
/// Replaced in place, so that every offset stays what it is in the file:
/// - `\restrict` and `\unrestrict` of `pg_dump`: by spaces;
/// - the marker: by a `;`, and a comment in front of it on its line becomes a block comment;
/// - `BEGIN` and `COMMIT` around the whole file, where it runs in a transaction anyway: by spaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options<'m> {
    /// Where the format divides the text, whatever stands before or behind (`--> statement-breakpoint`). It starts
    /// with `--`, and is looked for in line comments only, never in a string.
    pub marker: Option<&'m str>,
    /// The file's tool runs it inside a transaction of its own, so a `COMMIT` at the top of the file ends that one.
    /// `false` for `transaction=off`.
    pub in_transaction: bool,
}

pub(super) fn prepare(mut text: String, options: Options<'_>) -> Result<Script, Vec<Issue>> {
    if text.starts_with('\u{feff}') {
        text.drain(.."\u{feff}".len());
    }
    if u32::try_from(text.len()).is_err() {
        // The lexer counts in 32 bits.
        let message = "the file is larger than 4 GiB; load such data by other means";
        return Err(vec![Issue::at(&text, 0, message)]);
    }
    if let Some(at) = text.find('\0') {
        let message = "a NUL character, which PostgreSQL cannot take; is this file text";
        return Err(vec![Issue::at(&text, at, message)]);
    }
    let mut pass = Pass::new(text, options);
    while pass.step() {}
    pass.finish()
}

struct Pass<'m> {
    text: String,
    options: Options<'m>,
    splitter: Splitter,
    /// Directives are read up to here.
    head_end: usize,
    issues: Vec<Issue>,
    summary: Summary,
    /// `BEGIN` and `COMMIT`, as long as the file may turn out to be one transaction.
    boundaries: Vec<Bounds>,
    /// A `COMMIT` was seen.
    committed: bool,
    /// Something came behind it: the file is more than one transaction.
    divided: bool,
    counted: usize,
    line: u32,
    /// From here on the server would read backslashes in strings in another way, for this reason.
    backslashes: Option<(usize, &'static str)>,
}

// === impl Pass ===

impl<'m> Pass<'m> {
    fn new(text: String, options: Options<'m>) -> Self {
        Self {
            head_end: directive::head_end(&text),
            text,
            options,
            splitter: Splitter::with_comments(),
            issues: Vec::new(),
            summary: Summary {
                in_transaction: options.in_transaction,
                ..Summary::default()
            },
            boundaries: Vec::new(),
            committed: false,
            divided: !options.in_transaction,
            counted: 0,
            line: 1,
            backslashes: None,
        }
    }

    /// Handles the next thing of interest; false at the end.
    fn step(&mut self) -> bool {
        match self.splitter.step(&self.text) {
            Step::End => return false,
            Step::Comment(range) => self.comment(range),
            Step::Backslash(at, inside) => self.backslash(at, inside),
            Step::Unterminated(token) => self.unterminated(token),
            Step::Statement(bounds, data) => self.statement(&bounds, &data),
        }
        true
    }

    fn issue(&mut self, offset: usize, message: impl Into<String>) {
        if self.issues.len() < MAX_ISSUES {
            self.issues.push(Issue::at(&self.text, offset, message));
        }
    }

    fn comment(&mut self, range: Range<usize>) {
        let comment = &self.text[range.clone()];
        let marker = self.options.marker.filter(|marker| marker.len() >= 3);
        if let Some((at, marker)) = marker.and_then(|marker| find(comment, marker)) {
            self.divide(range.start, range.start + at, marker.len());
        } else if range.start >= self.head_end && directive::looks_like_one(comment) {
            self.issue(
                range.start,
                "a schemagate directive behind the first statement would be ignored; move it to the head of the file",
            );
        }
    }

    /// Puts a `;` in the place of the marker. Reading goes on at the comment's start: what stood behind the marker on
    /// its line is SQL now.
    fn divide(&mut self, comment: usize, marker: usize, len: usize) {
        let prefix = marker - comment;
        if prefix < 2 {
            // At most the first dash of `--->`.
            self.replace(comment, "", prefix);
            self.replace(marker, ";", len);
        } else {
            // Nothing in front may open or close a block comment of its own.
            for at in comment + 2..marker {
                if matches!(self.text.as_bytes()[at], b'*' | b'/') {
                    self.replace(at, "", 1);
                }
            }
            self.replace(comment, "/*", 2);
            self.replace(marker, "*/;", len);
        }
        self.splitter.offset = comment;
    }

    /// Overwrites `len` ASCII characters with `by` and spaces.
    fn replace(&mut self, at: usize, by: &str, len: usize) {
        self.text
            .replace_range(at..at + len, &format!("{by:<len$}"));
    }

    fn backslash(&mut self, at: usize, inside: bool) {
        let line_end = self.text[at..]
            .find(['\n', '\r'])
            .map_or(self.text.len(), |end| at + end);
        let command = &self.text[at..line_end];
        let name = command.split_whitespace().next().unwrap_or("\\").to_owned();
        let restricts = matches!(name.as_str(), "\\restrict" | "\\unrestrict");
        if restricts && !inside && command.is_ascii() {
            self.replace(at, "", line_end - at);
        } else {
            self.issue(
                at,
                format!(
                    "{name} is a command of psql, not SQL; schemagate runs SQL, COPY … FROM stdin with its data, and \
                     ignores \\restrict and \\unrestrict of pg_dump"
                ),
            );
        }
        self.splitter.offset = line_end;
    }

    fn unterminated(&mut self, token: Token) {
        let what = match token.lexeme {
            Lexeme::BlockComment => "a comment (/*)",
            Lexeme::QuotedIdent => "a quoted name (\")",
            Lexeme::DollarText => "a dollar-quoted string",
            _ => "a string (')",
        };
        self.issue(token.start, format!("{what} begins here and never ends"));
    }

    fn statement(&mut self, bounds: &Bounds, data: &Data) {
        self.line += count_lines(&self.text[self.counted..bounds.start]);
        self.counted = bounds.start;
        self.summary.statements += 1;
        match data {
            Data::None => {}
            Data::Inline(_) => self.summary.copies += 1,
            Data::Missing => self.issue(
                bounds.start,
                "COPY … FROM stdin needs its data on the lines behind it, ended by a line \\.",
            ),
            Data::NotAlone(at) => self.issue(
                *at,
                "the data of COPY … FROM stdin begins on the next line; put this on a line of its own behind the data",
            ),
        }
        let text = &self.text[bounds.start..bounds.body_end];
        let kind = kind::classify(text);
        if let Some((at, reason)) = self.backslashes.filter(|_| has_backslash(text)) {
            self.issue(at, reason);
            self.backslashes = None;
        }
        self.judge(bounds, &kind);
        self.divides(bounds, &kind);
    }

    fn judge(&mut self, bounds: &Bounds, kind: &Kind) {
        match kind {
            Kind::Savepoint(name) | Kind::Release(name) | Kind::RollbackTo(name)
                if name == FENCE_SAVEPOINT =>
            {
                self.issue(
                    bounds.start,
                    format!(
                        "the savepoint {FENCE_SAVEPOINT} is schemagate's own; use another name"
                    ),
                );
            }
            Kind::CopyToStdout => self.issue(
                bounds.start,
                "COPY … TO stdout has nobody to write to; remove it",
            ),
            Kind::Session(session) => self.session(bounds, session),
            Kind::Bare(bare) => mark(&mut self.summary.bare, self.line, bare.what()),
            Kind::Call => mark(&mut self.summary.call, self.line, "CALL"),
            Kind::Plain if kind::adds_enum_value(&self.text[bounds.start..bounds.body_end]) => {
                mark(
                    &mut self.summary.new_enum_value,
                    self.line,
                    "ALTER TYPE … ADD VALUE",
                );
            }
            _ => {}
        }
        if let Some(reason) = refusal(kind)
            && self.summary.refused.len() < MAX_ISSUES
        {
            let issue = Issue::at(&self.text, bounds.start, reason);
            self.summary.refused.push(issue);
        }
    }

    fn session(&mut self, bounds: &Bounds, session: &Session) {
        match misreads(&self.text[bounds.start..bounds.body_end], session) {
            Some(Misreading::OfAnything(reason)) => self.issue(bounds.start, reason),
            Some(Misreading::OfBackslashes(reason)) => {
                self.backslashes.get_or_insert((bounds.start, reason));
            }
            None => {}
        }
        if !session.local {
            let what = match &session.setting {
                Setting::Role => "role",
                Setting::SessionAuthorization => "session authorization",
                Setting::SearchPath => "search_path",
                Setting::All => "RESET ALL",
                Setting::Other(name) => name,
            };
            mark(&mut self.summary.session, self.line, what);
        }
    }

    /// Keeps account of whether `BEGIN` and `COMMIT` divide the file or only frame it.
    fn divides(&mut self, bounds: &Bounds, kind: &Kind) {
        let what = match kind {
            Kind::Begin { .. } => "BEGIN",
            Kind::Commit => "COMMIT",
            _ => {
                self.divided |= self.committed;
                return;
            }
        };
        mark(&mut self.summary.boundary, self.line, what);
        self.committed |= *kind == Kind::Commit;
        // One with modes is refused, as it stands.
        self.divided |= matches!(kind, Kind::Begin { usual_modes: false });
        if self.divided {
            self.boundaries = Vec::new();
        } else {
            self.boundaries.push(bounds.clone());
        }
    }

    fn finish(mut self) -> Result<Script, Vec<Issue>> {
        if !self.issues.is_empty() {
            self.issues.sort();
            return Err(self.issues);
        }
        if !self.divided && self.summary.bare.is_none() && !self.boundaries.is_empty() {
            self.blank_frame();
        }
        Ok(Script {
            text: self.text,
            summary: self.summary,
        })
    }

    fn blank_frame(&mut self) {
        for bounds in std::mem::take(&mut self.boundaries) {
            let tokens: Vec<Token> = Tokens::new(&self.text[bounds.start..bounds.end])
                .filter(|token| token.is_significant())
                .collect();
            for token in tokens {
                self.replace(bounds.start + token.start, "", token.end - token.start);
            }
            self.summary.statements -= 1;
        }
        self.summary.boundary = None;
    }
}

/// Where the marker stands in a comment; nearly always at its start.
fn find<'m>(comment: &str, marker: &'m str) -> Option<(usize, &'m str)> {
    if comment.starts_with(marker) {
        return Some((0, marker));
    }
    comment.find(marker).map(|at| (at, marker))
}

fn mark(slot: &mut Option<Mark>, line: u32, what: &str) {
    slot.get_or_insert_with(|| Mark {
        line,
        what: what.to_owned(),
    });
}

/// Why no way of running a file honours this statement.
fn refusal(kind: &Kind) -> Option<&'static str> {
    Some(match kind {
        Kind::Begin { usual_modes: false } => {
            "BEGIN with this mode cannot be honoured: migrations run READ COMMITTED READ WRITE; write BEGIN alone"
        }
        Kind::CommitAndChain => "COMMIT AND CHAIN is not supported; write COMMIT; BEGIN;",
        Kind::Rollback => {
            "ROLLBACK would undo what the file did before it; remove it, or use SAVEPOINT and ROLLBACK TO"
        }
        Kind::RollbackAndChain => {
            "ROLLBACK AND CHAIN would undo what the file did before it; remove it, or use SAVEPOINT and ROLLBACK TO"
        }
        Kind::PrepareTransaction => {
            "PREPARE TRANSACTION would leave the migration prepared, neither applied nor undone; remove it"
        }
        Kind::CommitPrepared => "COMMIT PREPARED is not for migrations; run it by hand",
        Kind::RollbackPrepared => "ROLLBACK PREPARED is not for migrations; run it by hand",
        Kind::SetTransaction => {
            "the transaction's modes cannot be set by a migration: it runs READ COMMITTED READ WRITE; remove it"
        }
        _ => return None,
    })
}

/// Whether a string without prefix holds a backslash.
fn has_backslash(text: &str) -> bool {
    text.contains('\\')
        && Tokens::new(text).any(|token| {
            let written = token.of(text);
            token.lexeme == Lexeme::Text && written.starts_with('\'') && written.contains('\\')
        })
}

#[cfg(test)]
mod tests;
