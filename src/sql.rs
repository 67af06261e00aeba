//! SQL text without a database: statements and their kinds, directives, places of errors, excerpts for logs.
//!
//! Everything here is lexing and keyword prefixes, never a full parser: a statement that is not known is
//! [`Kind::Plain`] and runs. What ends a statement, what starts a quote and what is a name follows PostgreSQL's own
//! scanner (`src/backend/parser/scan.l`) and `psql` for what only `psql` knows (`COPY` data, backslash commands).
//!
//! A file is read once and stays one `String`; statements, chunks and tokens are ranges of it, made lazily.

mod bare;
mod chunk;
pub mod directive;
mod excerpt;
mod kind;
mod lex;
pub mod lint;
mod name;
pub mod need;
mod position;
mod prepare;
pub mod risk;
mod script;
mod session;
mod split;
mod summary;
mod template;
mod units;
mod words;

use std::fmt;

pub use bare::{Bare, ReindexTarget};
pub use chunk::{Chunk, Chunks};
pub use excerpt::excerpt;
pub use kind::{FENCE_SAVEPOINT, Kind};
pub use name::Name;
pub use position::Place;
pub use prepare::Options;
pub use script::{Script, Statement, Statements};
pub use session::{Session, Setting};
pub use summary::{Mark, Summary};
pub use template::Template;
pub use units::{Unit, UnitKind, Units};

/// Something in a file that schemagate refuses, found before anything ran.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Issue {
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
    /// What is wrong and what to do; lower case, no full stop.
    pub message: String,
}

// === impl Issue ===

impl Issue {
    /// An issue at a byte offset of `text`.
    pub(crate) fn at(text: &str, offset: usize, message: impl Into<String>) -> Self {
        let (line, column) = position::line_column(text, offset);
        Self {
            line,
            column,
            message: message.into(),
        }
    }
}

impl fmt::Display for Issue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "line {}, column {}: {}",
            self.line, self.column, self.message
        )
    }
}
