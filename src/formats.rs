//! What the supported tools' files and history tables look like.
//!
//! Pure: names, text and rows go in, data and SQL text come out. The SQL names every object with its schema, because
//! it also runs behind files that changed `search_path`. The facts are from Drizzle's own source (`migrator.js`,
//! `pg-core/dialect.js` of drizzle-orm 0.45.4; `migrator.utils.js`, `up-migrations/pg.js` of 1.0.0-rc.5) and from the
//! rows those releases write.

mod amend;
pub mod drizzle;
pub mod drizzle_v1;
pub mod foreign;
pub mod numbered;
pub mod other_tools;
mod reconcile;
mod row;
mod table;
mod upgrade;

pub use amend::{accept_sql, forget_sql, row_sql};
pub use reconcile::{Matched, reconcile};
pub use row::{label, parse_row, select_rows_sql};
pub use table::{
    ALREADY_APPLIED, Column, Fence, MOVED_ON, Shape, applied_check, create_sql, delete_sql, insert,
    newest_check_sql, shape,
};
pub use upgrade::{Upgrade, needs_upgrade, upgrade};

use crate::exit::ExitStatus;
use crate::migration::{ChecksumPolicy, OutOfOrder, TableName};
use std::fmt;

/// A format that is understood: how the files are named and which table remembers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Drizzle 0.x: `meta/_journal.json` and `<tag>.sql`.
    DrizzleClassic,
    /// Drizzle 1.x: `<YYYYMMDDHHMMSS>_<name>/migration.sql`.
    DrizzleV1,
    /// Plain numbered files: `0001_name.sql`, or `0001_name.up.sql` beside `0001_name.down.sql`.
    Sql,
}

/// A history table that cannot be worked with. Always [`ExitStatus::History`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The table is there with columns that are not the tool's.
    Shape {
        /// The table.
        table: TableName,
        /// Whose table it should be.
        format: Format,
        /// What is wrong with the columns.
        reason: String,
        /// The columns that are there.
        found: Vec<Column>,
    },
    /// A row that cannot be read.
    Row {
        /// What is wrong with it.
        reason: String,
    },
    /// Drizzle's upgrade of a 0.x table: rows that match no local folder.
    Upgrade {
        /// Their `id`s.
        ids: Vec<i64>,
    },
}

// === impl Format ===

impl Format {
    /// The name in reports and logs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::DrizzleClassic => "drizzle",
            Self::DrizzleV1 => "drizzle-v1",
            Self::Sql => "sql",
        }
    }

    /// The history table where `SCHEMAGATE_HISTORY_TABLE` names none.
    pub fn default_history_table(self) -> TableName {
        match self {
            Self::DrizzleClassic | Self::DrizzleV1 => {
                TableName::new("drizzle", "__drizzle_migrations")
            }
            Self::Sql => TableName::new("schemagate", "history"),
        }
    }

    /// What the table is when schemagate has just created it.
    pub const fn new_shape(self) -> Shape {
        match self {
            Self::DrizzleClassic => Shape::Classic,
            Self::DrizzleV1 => Shape::V1,
            Self::Sql => Shape::Sql,
        }
    }

    /// The text between the statements of a file, where the format has one.
    pub const fn statement_marker(self) -> Option<&'static str> {
        match self {
            Self::DrizzleClassic | Self::DrizzleV1 => Some("--> statement-breakpoint"),
            Self::Sql => None,
        }
    }

    /// `SCHEMAGATE_OUT_OF_ORDER` where it is not set: what the tool does, but a failure where the tool skips silently.
    pub const fn default_out_of_order(self) -> OutOfOrder {
        match self {
            Self::DrizzleV1 => OutOfOrder::Apply,
            Self::DrizzleClassic | Self::Sql => OutOfOrder::Fail,
        }
    }

    /// `SCHEMAGATE_CHECKSUM` where it is not set: Drizzle stores hashes and never compares them.
    pub const fn default_checksum(self) -> ChecksumPolicy {
        match self {
            Self::DrizzleClassic | Self::DrizzleV1 => ChecksumPolicy::Warn,
            Self::Sql => ChecksumPolicy::Fail,
        }
    }

    /// Whether an applied row without a file is refused. Drizzle accepts it.
    pub const fn refuses_missing(self) -> bool {
        matches!(self, Self::Sql)
    }

    /// Whether this is a generation of Drizzle.
    pub const fn is_drizzle(self) -> bool {
        matches!(self, Self::DrizzleClassic | Self::DrizzleV1)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

// === impl Error ===

impl Error {
    /// [`ExitStatus::History`].
    pub const fn exit_status(&self) -> ExitStatus {
        ExitStatus::History
    }

    /// What to do next.
    pub fn help(&self) -> String {
        match self {
            Self::Shape { .. } => {
                "name this application's own table in SCHEMAGATE_HISTORY_TABLE, or let the tool that owns the table \
                 run under `schemagate exec`"
                    .to_owned()
            }
            Self::Row { .. } => "look at the row and correct it, then start again".to_owned(),
            Self::Upgrade { .. } => {
                "deploy an image whose folder has these migrations (`drizzle-kit up` makes the folders), or delete \
                 rows that are no longer true"
                    .to_owned()
            }
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shape {
                table,
                format,
                reason,
                found,
            } => {
                let found: Vec<String> = found.iter().map(Column::to_string).collect();
                write!(
                    f,
                    "table {table} is not a history table of format {format}: {reason} (its columns: {})",
                    found.join(", ")
                )
            }
            Self::Row { reason } => write!(
                f,
                "the history table has a row that cannot be read: {reason}"
            ),
            Self::Upgrade { ids } => {
                let ids: Vec<String> = ids.iter().map(i64::to_string).collect();
                write!(
                    f,
                    "the history table has to be upgraded for Drizzle v1, but {} of its rows match no local migration \
                     (ids: {})",
                    ids.len(),
                    ids.join(", ")
                )
            }
        }
    }
}

impl std::error::Error for Error {}
