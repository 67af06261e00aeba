//! Statements grouped for sending.

use std::iter::Peekable;
use std::ops::Range;

use crate::sql::script::{Statement, Statements};

/// One message, or one `COPY` with its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chunk {
    /// Statements that go in one message.
    Sql {
        /// From the first statement's first token to behind the last one's `;`.
        range: Range<usize>,
        /// The index of the first statement in the script.
        first_statement: usize,
        /// How many there are.
        statements: usize,
    },
    /// A `COPY … FROM STDIN`, which speaks a protocol of its own.
    Copy {
        /// The statement without its `;`.
        range: Range<usize>,
        /// Its index in the script.
        statement: usize,
        /// Its lines of data, to be sent as they are.
        data: Range<usize>,
    },
}

/// Chunks of a script, made while iterating: see [`crate::sql::Script::chunks`].
#[derive(Debug, Clone)]
pub struct Chunks<'t> {
    statements: Peekable<Statements<'t>>,
    max_bytes: usize,
}

// === impl Chunks ===

impl<'t> Chunks<'t> {
    pub(super) fn new(statements: Statements<'t>, max_bytes: usize) -> Self {
        Self {
            statements: statements.peekable(),
            max_bytes,
        }
    }
}

impl Iterator for Chunks<'_> {
    type Item = Chunk;

    fn next(&mut self) -> Option<Chunk> {
        let first = self.statements.next()?;
        if let Some(data) = first.copy_data {
            return Some(Chunk::Copy {
                range: first.start..first.start + first.text.len(),
                statement: first.index,
                data,
            });
        }
        let limit = first.start.saturating_add(self.max_bytes);
        let fits = |next: &Statement<'_>| next.copy_data.is_none() && next.end <= limit;
        let mut end = first.end;
        let mut statements = 1;
        while let Some(next) = self.statements.next_if(fits) {
            end = next.end;
            statements += 1;
        }
        Some(Chunk::Sql {
            range: first.start..end,
            first_statement: first.index,
            statements,
        })
    }
}

#[cfg(test)]
mod tests;
