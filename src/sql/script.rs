//! A file's text with its statements.

use std::ops::Range;

use crate::sql::chunk::Chunks;
use crate::sql::kind::{self, Kind};
use crate::sql::position::{self, Place, count_lines};
use crate::sql::split::{Data, Splitter, Step};
use crate::sql::summary::Summary;
use crate::sql::units::{self, Unit, Units};
use crate::sql::{Issue, Options, prepare};

/// The text of a file made ready for the wire. It owns the text; everything else is a range of it, and byte and
/// character offsets are those of the file (behind a byte order mark, which is dropped and counts for nothing).
#[derive(Debug, Clone)]
pub struct Script {
    pub(super) text: String,
    pub(super) summary: Summary,
}

/// One statement of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement<'t> {
    /// From its first token to its last, without comments around it and without its `;`.
    pub text: &'t str,
    /// The byte offset of its first token.
    pub start: usize,
    /// The byte offset behind its `;` (or behind `text` where that is missing).
    pub end: usize,
    /// The line of its first token, from 1.
    pub line: u32,
    /// How many statements come before it in the script. An empty one (`;;`) is none, neither here nor for the server.
    pub index: usize,
    /// The lines of data behind a `COPY … FROM STDIN`, without the line `\.`.
    pub copy_data: Option<Range<usize>>,
}

/// The statements of a script or of a part of it, found while iterating.
#[derive(Debug, Clone)]
pub struct Statements<'t> {
    text: &'t str,
    splitter: Splitter,
    /// Statements that start here or later do not belong to it.
    end: usize,
    /// Lines are counted up to here.
    counted: usize,
    line: u32,
    index: usize,
}

// === impl Script ===

impl Script {
    /// Makes a file's text ready, in one pass: see [`Options`] for what is replaced in place. Every reason to refuse
    /// the file is told at once (up to twenty).
    pub fn prepare(text: String, options: Options<'_>) -> Result<Self, Vec<Issue>> {
        prepare::prepare(text, options)
    }

    /// The text to send; all offsets are into this.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What was seen in the pass of [`Script::prepare`].
    pub const fn summary(&self) -> &Summary {
        &self.summary
    }

    /// All statements.
    pub fn statements(&self) -> Statements<'_> {
        Statements::new(&self.text, 0..self.text.len(), 1, 0)
    }

    /// The statements of one unit.
    pub fn statements_in(&self, unit: &Unit) -> Statements<'_> {
        Statements::new(
            &self.text,
            unit.range.clone(),
            unit.line,
            unit.first_statement,
        )
    }

    /// The script in pieces of at most `max_bytes`, to be sent one after the other; a larger statement goes alone.
    pub fn chunks(&self, max_bytes: usize) -> Chunks<'_> {
        Chunks::new(self.statements(), max_bytes)
    }

    /// One unit in pieces of at most `max_bytes`.
    pub fn chunks_in(&self, unit: &Unit, max_bytes: usize) -> Chunks<'_> {
        Chunks::new(self.statements_in(unit), max_bytes)
    }

    /// What to run one after the other when the file cannot run in one transaction ([`Summary::in_pieces`]); refused
    /// are the summary's refusals, and a statement between `BEGIN` and `COMMIT` that PostgreSQL would refuse there.
    pub fn units(&self) -> Result<Units, Vec<Issue>> {
        units::units(self)
    }

    /// Line and column (in characters), both from 1, of a byte offset.
    pub fn line_column(&self, offset: usize) -> (u32, u32) {
        position::line_column(&self.text, offset)
    }

    /// The place of an error for which PostgreSQL gave a position.
    ///
    /// `sent` is what of this text was in the message (a chunk's or a statement's range), `chars_before` how many
    /// characters the message had before it, `position` PostgreSQL's (characters, from 1). `None` when it points at
    /// what was before; what was behind counts as the end of `sent`.
    pub fn place_of_error(
        &self,
        sent: &Range<usize>,
        chars_before: usize,
        position: u32,
    ) -> Option<Place> {
        self.text.get(sent.clone())?;
        let chars = (position as usize)
            .checked_sub(1)?
            .checked_sub(chars_before)?;
        let offset = position::char_offset(&self.text, sent.start, chars).min(sent.end);
        let statement = Statements::new(&self.text, sent.clone(), 1, 0)
            .take_while(|statement| statement.start <= offset)
            .last();
        let range = statement.map_or(sent.clone(), |statement| statement.start..statement.end);
        Some(position::place(&self.text, offset, &range))
    }

    /// The place of a byte offset, with the index of the statement that holds it or comes before it.
    pub fn place_at(&self, offset: usize) -> Option<(usize, Place)> {
        let statement = self
            .statements()
            .take_while(|statement| statement.start <= offset)
            .last()?;
        let range = statement.start..statement.end;
        Some((statement.index, position::place(&self.text, offset, &range)))
    }

    /// The place of a statement, for errors without a position: `index` is the chunk's first statement plus the number
    /// of statements that the server completed.
    pub fn place_of_statement(&self, index: usize) -> Option<Place> {
        let statement = self.statements().nth(index)?;
        let range = statement.start..statement.end;
        Some(position::place(&self.text, statement.start, &range))
    }
}

// === impl Statement ===

impl Statement<'_> {
    /// What it is.
    pub fn kind(&self) -> Kind {
        kind::classify(self.text)
    }
}

// === impl Statements ===

impl<'t> Statements<'t> {
    fn new(text: &'t str, range: Range<usize>, line: u32, index: usize) -> Self {
        Self {
            text,
            splitter: Splitter::at(range.start),
            end: range.end,
            counted: range.start,
            line,
            index,
        }
    }
}

impl<'t> Iterator for Statements<'t> {
    type Item = Statement<'t>;

    fn next(&mut self) -> Option<Statement<'t>> {
        loop {
            match self.splitter.step(self.text) {
                Step::Statement(bounds, data) if bounds.start < self.end => {
                    self.line += count_lines(&self.text[self.counted..bounds.start]);
                    self.counted = bounds.start;
                    self.index += 1;
                    return Some(Statement {
                        text: &self.text[bounds.start..bounds.body_end],
                        start: bounds.start,
                        end: bounds.end,
                        line: self.line,
                        index: self.index - 1,
                        copy_data: match data {
                            Data::Inline(range) => Some(range),
                            Data::None | Data::Missing | Data::NotAlone(_) => None,
                        },
                    });
                }
                Step::Statement(..) | Step::End => {
                    // What lies behind stays unread, however often it is asked for.
                    self.splitter = Splitter::at(self.text.len());
                    return None;
                }
                // Prepared text has none of these; whoever iterates over other text gets what lies around them.
                Step::Comment(_) | Step::Backslash(..) | Step::Unterminated(_) => {}
            }
        }
    }
}
