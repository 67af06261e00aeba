//! What one pass over a file has shown.

use crate::sql::Issue;

/// What one pass over a file has shown; where it says "first", later ones are not kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// How many statements there are, as the server counts its `CommandComplete`s.
    pub statements: usize,
    /// How many of them are `COPY … FROM STDIN` with data.
    pub copies: usize,
    /// The first statement that PostgreSQL refuses in a transaction block.
    pub bare: Option<Mark>,
    /// The first `BEGIN` or `COMMIT` that divides the file. Those around the whole file are blanked in place and do
    /// not count.
    pub boundary: Option<Mark>,
    /// The first `CALL` (or block that calls): its procedure may commit, and fails then in any message of ours.
    pub call: Option<Mark>,
    /// The first new value of an enum, which only a later transaction can use.
    pub new_enum_value: Option<Mark>,
    /// The first setting that outlives its transaction, with what it sets: pieces that run one after the other need it
    /// said again, which a transaction pooler cannot carry to a statement outside a transaction.
    pub session: Option<Mark>,
    /// Transaction control that no way of running the file can honour, ready to be told (up to twenty): `ROLLBACK`,
    /// `… AND CHAIN`, two-phase commit, `SET TRANSACTION`, `BEGIN` with unusual modes.
    pub refused: Vec<Issue>,
    /// As [`crate::sql::Options::in_transaction`].
    pub(super) in_transaction: bool,
}

/// The first statement of some kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Its line, from 1.
    pub line: u32,
    /// What it is (`CREATE INDEX CONCURRENTLY`, `COMMIT`, `search_path`).
    pub what: String,
}

// === impl Summary ===

impl Summary {
    /// Whether the file runs as [`crate::sql::Units`], one after the other, instead of in one transaction.
    pub const fn in_pieces(&self) -> bool {
        !self.in_transaction || self.bare.is_some() || self.boundary.is_some()
    }
}
