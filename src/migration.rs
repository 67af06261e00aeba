//! The vocabulary: what a migration is and what the history says of it. Data only.

use std::time::Duration;

use semver::VersionReq;

use crate::window::Windows;

/// One migration as a file (or a folder's file) describes it.
///
/// The text is not kept: ten thousand files would not fit in a pod of a few MiB. It is read again when it is applied
/// and must then still have [`Migration::checksum`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// What identifies the migration to people and settings: the tag of classic Drizzle (`0004_add_users`), the
    /// folder of Drizzle v1, the digits of a plain SQL file as written (`0004`).
    pub version: String,
    /// A readable name: the part behind the version where the format has one, else the version itself.
    pub name: String,
    /// The file, relative to the folder, with `/`; what messages show (`0004_add_users.sql`).
    pub path: String,
    /// Lowercase hexadecimal SHA-256, computed over what the format says.
    pub checksum: String,
    /// The same checksum with line endings changed to LF and to CRLF; equal to one of them means that only the line
    /// endings differ.
    pub checksum_other_endings: [String; 2],
    /// Drizzle: the milliseconds that stand in `created_at`. Plain SQL: unused, 0.
    pub created_at: i64,
    /// Size of the file in bytes.
    pub size: u64,
    /// What the comments at the head of the file ask for.
    pub directives: Directives,
    /// The file that undoes it, relative to the folder, where the format has one.
    pub down: Option<String>,
}

/// Directives of a file: `-- schemagate: key=value …`, comments at its head, invisible to other tools.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Directives {
    /// `transaction=off`: run statement by statement.
    pub transaction_off: bool,
    /// `phase=contract`: wait for the contract phase.
    pub contract: bool,
    /// `lock-timeout=2s`.
    pub lock_timeout: Option<Duration>,
    /// `statement-timeout=10m`.
    pub statement_timeout: Option<Duration>,
    /// `approve=destructive reason="…"`.
    pub approve: Option<Approve>,
    /// `waive=backup reason="…"`: the reason.
    pub waive_backup: Option<String>,
    /// `window="…"`: when this file may run, whatever it risks.
    pub window: Option<Windows>,
    /// `requires-app=">=1.4"`.
    pub requires_app: Option<VersionReq>,
}

/// What the author of a file approves in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Approve {
    /// Classes of risk, in the contract's words.
    pub classes: Vec<String>,
    /// Why.
    pub reason: String,
}

/// A row of the history table, whatever tool's table it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Applied {
    /// The order in which rows were written: Drizzle's `id`, `serial` of plain SQL.
    pub order: i64,
    /// `version` of plain SQL, `name` of Drizzle v1; `None` where the table has no such column or the value is NULL.
    pub version: Option<String>,
    /// The checksum or hash as stored.
    pub checksum: Option<String>,
    /// Drizzle's `created_at` in milliseconds. `None` for other tools and for NULL.
    pub created_at: Option<i64>,
    /// When it was applied, as PostgreSQL prints it, where the table says so.
    pub applied_at: Option<String>,
    /// How long it took in milliseconds, where the table says so.
    pub duration_ms: Option<i64>,
}

/// A table name in two parts, unquoted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableName {
    /// The schema.
    pub schema: String,
    /// The table.
    pub table: String,
}

// === impl TableName ===

impl TableName {
    /// From its two parts.
    pub fn new(schema: impl Into<String>, table: impl Into<String>) -> Self {
        Self {
            schema: schema.into(),
            table: table.into(),
        }
    }

    /// Quoted for SQL: `"schema"."table"`.
    pub fn quoted(&self) -> String {
        format!("{}.{}", quote_ident(&self.schema), quote_ident(&self.table))
    }
}

impl std::fmt::Display for TableName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.schema, self.table)
    }
}

/// An SQL identifier in double quotes.
///
/// <https://www.postgresql.org/docs/current/sql-syntax-lexical.html#SQL-SYNTAX-IDENTIFIERS>
pub fn quote_ident(ident: &str) -> String {
    format!("\"{}\"", ident.replace('"', "\"\""))
}

/// An SQL string literal that reads the same whatever `standard_conforming_strings` says.
///
/// <https://www.postgresql.org/docs/current/sql-syntax-lexical.html#SQL-SYNTAX-STRINGS-ESCAPE>
pub fn quote_literal(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    if text.contains('\\') {
        format!("E'{}'", doubled.replace('\\', "\\\\"))
    } else {
        format!("'{doubled}'")
    }
}

/// Declares a setting with a closed list of words.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_meta])* $variant),+ }

        impl $name {
            /// Every word with its meaning.
            pub const ALL: &'static [(&'static str, Self)] = &[$(($word, Self::$variant)),+];

            /// The word as it stands in a variable.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }
    };
}

words! {
    /// `SCHEMAGATE_FORMAT`.
    FormatSetting {
        /// Recognise it.
        Auto = "auto",
        /// Drizzle, classic or v1.
        Drizzle = "drizzle",
        /// Plain numbered SQL files.
        Sql = "sql",
    }
}

words! {
    /// `SCHEMAGATE_PHASE`.
    Phase {
        /// In order, up to the first pending contract migration.
        Expand = "expand",
        /// Everything pending.
        Contract = "contract",
        /// Everything pending.
        All = "all",
    }
}

words! {
    /// `SCHEMAGATE_OUT_OF_ORDER`: pending, but older than the newest applied.
    OutOfOrder {
        /// Run it.
        Apply = "apply",
        /// Refuse with exit 6.
        Fail = "fail",
        /// Leave it, with a warning.
        Ignore = "ignore",
    }
}

words! {
    /// `SCHEMAGATE_CHECKSUM`: an applied file has changed.
    ChecksumPolicy {
        /// Refuse with exit 6.
        Fail = "fail",
        /// Warn.
        Warn = "warn",
        /// Say nothing.
        Ignore = "ignore",
    }
}

words! {
    /// `SCHEMAGATE_AHEAD`: rows that this image does not know.
    AheadPolicy {
        /// A rolled-back application on an expanded schema is fine.
        Allow = "allow",
        /// Refuse with exit 6.
        Fail = "fail",
    }
}

words! {
    /// `SCHEMAGATE_TRANSACTION`.
    TransactionMode {
        /// One transaction a migration.
        Each = "each",
        /// One transaction for all that is pending.
        All = "all",
    }
}

words! {
    /// `SCHEMAGATE_RESTORE_POINT`: a named restore point before a destructive step.
    RestorePoint {
        /// Where it is permitted, and there was data before.
        Auto = "auto",
        /// Refuse the run where it is not permitted.
        Needed = "true",
        /// None.
        Off = "false",
    }
}
