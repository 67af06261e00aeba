//! Reads the history table that a format describes, and what the server is, in one round trip.

mod glance;
pub mod journal;
pub mod marker;
mod noted;
mod surroundings;

pub use glance::glance;
pub use noted::{Noted, noted, noted_and_repaired};
pub use surroundings::Surroundings;

use std::{fmt, net::IpAddr};

use tokio_postgres::{
    Client,
    error::{DbError, SqlState},
};

use crate::{
    connect::{self, Class},
    exit::ExitStatus,
    formats::{self, Column, Format, Shape},
    migration::{Applied, TableName, quote_ident, quote_literal},
    wire::{self, Row},
};

/// Where a history is and as whom to look at it.
#[derive(Debug, Clone)]
pub struct Params {
    /// The format whose table it is.
    pub format: Format,
    /// The table.
    pub table: TableName,
    /// Whether `SCHEMAGATE_HISTORY_TABLE` names it.
    pub named: bool,
    /// `SCHEMAGATE_ROLE`.
    pub role: Option<String>,
}

/// One look at the database.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The server process that answered. It differs from the pid of the handshake behind a pooler.
    pub pid: i32,
    /// `current_database()`, which a pooler's alias may hide.
    pub database: String,
    /// `current_user`, after `SCHEMAGATE_ROLE`.
    pub user: String,
    /// `current_schema()` as that user, where there is one, and the `search_path` that it comes from. Behind a pooler
    /// they are those that another client may have left.
    pub schema: Option<(String, String)>,
    /// The server sees us on another machine: the link can lose its power. A proxy on our own loopback counts as where
    /// it connects from.
    pub remote: bool,
    /// This session began without a timeout, and reads backslashes as the standard does.
    pub usual_defaults: bool,
    /// The server runs on Linux, where it can notice a client that went away.
    pub on_linux: bool,
    /// A standby: nothing can be written.
    pub in_recovery: bool,
    /// The history table, if it exists.
    pub shape: Option<Shape>,
    /// Whether the history table's schema exists.
    pub schema_exists: bool,
    /// The rows of the history, oldest first.
    pub rows: Vec<Applied>,
    /// Whether the journal can be written.
    pub journal: Journal,
}

/// The state of `schemagate.journal`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Journal {
    /// Neither the schema `schemagate` nor the table.
    NoSchema,
    /// The schema, but not the table.
    NoTable,
    /// Present and ours to use.
    Usable,
    /// Present, but this role may not read or write it.
    Denied,
}

/// Why the history could not be read.
#[derive(Debug)]
pub enum Error {
    /// The server's answer, or the connection's end.
    Database(tokio_postgres::Error),
    /// The same, when the journal was asked for a marker.
    Journal {
        /// What the server said.
        source: tokio_postgres::Error,
        /// Who was refused, where it was a refusal.
        user: Option<String>,
    },
    /// The table is not the one that the format writes.
    Format(formats::Error),
    /// An answer that cannot be, which only a bug or a strange server gives.
    Answer(&'static str),
}

// === impl Journal ===

impl Journal {
    /// From [`JOURNAL_COLUMNS`].
    fn of(schema: bool, usable: Option<&str>) -> Self {
        match (usable, schema) {
            (Some("t"), _) => Self::Usable,
            (Some(_), _) => Self::Denied,
            (None, true) => Self::NoTable,
            (None, false) => Self::NoSchema,
        }
    }
}

// === impl Snapshot ===

impl Snapshot {
    /// Reads the facts and all rows.
    ///
    /// `exists` says whether the table is believed to exist: then one round trip does it, and a table that is absent
    /// costs an error that the server logs and nobody else sees.
    pub async fn read(client: &Client, params: &Params, exists: bool) -> Result<Self, Error> {
        let read = Self::read_once(client, params, exists).await;
        let again = match &read {
            Ok(snapshot) => snapshot.shape.is_some() && !exists,
            // The catalog shows a table that was made in this very moment, and the same transaction may not find it yet.
            Err(Error::Database(error)) => error.code() == Some(&SqlState::UNDEFINED_TABLE),
            Err(_) => false,
        };
        if again {
            return Self::read_once(client, params, true).await;
        }
        read
    }

    /// The first look after connecting, for [`connect::until`]: what the connection did not carry is its error, what is
    /// wrong with the history is part of its answer.
    pub async fn first(
        client: &Client,
        params: &Params,
    ) -> Result<Result<Self, Error>, tokio_postgres::Error> {
        Self::attempt(client, params, true).await
    }

    /// The same for who has looked before, and knows whether there was a table (see [`Snapshot::read`]).
    pub async fn attempt(
        client: &Client,
        params: &Params,
        exists: bool,
    ) -> Result<Result<Self, Error>, tokio_postgres::Error> {
        match Self::read(client, params, exists).await {
            Err(Error::Database(error)) if is_about_the_connection(&error) => Err(error),
            looked => Ok(looked),
        }
    }

    async fn read_once(client: &Client, params: &Params, rows: bool) -> Result<Self, Error> {
        let mut reply = wire::query(client, &read_sql(params, rows)).await;
        let offset = if params.role.is_some() { 2 } else { 0 };
        let facts = reply.rows(offset)?;
        let facts = facts
            .first()
            .ok_or(Error::Answer("no row about the server"))?;
        let columns = columns(facts)?;
        let failed = reply.error.is_some();
        let rows = match &columns {
            Some(_) if rows => reply.rows(offset + 1),
            _ => Ok(Vec::new()),
        };
        if failed && params.role.is_some() {
            wire::execute(client, "ROLLBACK").await.ok()?;
        }
        Self::new(params, facts, columns.as_deref(), &rows?)
    }

    fn new(
        params: &Params,
        facts: &Row,
        columns: Option<&[Column]>,
        rows: &[Row],
    ) -> Result<Self, Error> {
        let text = |column: usize| facts.get(column).and_then(Option::as_deref);
        let flag = |column: usize| text(column) == Some("t");
        let mut snapshot = Self {
            pid: text(0)
                .and_then(|pid| pid.parse().ok())
                .ok_or(Error::Answer("no process id"))?,
            database: text(1).ok_or(Error::Answer("no database name"))?.to_owned(),
            user: text(7).unwrap_or_default().to_owned(),
            on_linux: flag(8),
            usual_defaults: flag(9),
            remote: is_remote(text(10)),
            schema: text(11).map(str::to_owned).zip(text(12).map(str::to_owned)),
            in_recovery: flag(2),
            shape: columns
                .map(|columns| formats::shape(params.format, &params.table, columns))
                .transpose()?,
            schema_exists: flag(4),
            rows: rows
                .iter()
                .filter_map(|row| row.first()?.as_deref())
                .map(|json| formats::parse_row(params.format, json))
                .collect::<Result<_, _>>()?,
            journal: Journal::of(flag(5), text(6)),
        };
        snapshot.rows.sort_by_key(|row| row.order);
        Ok(snapshot)
    }
}

/// What [`Journal::of`] reads: whether the schema is there, and whether the table may be used, NULL where it is not there.
const JOURNAL_COLUMNS: &str = "\
    EXISTS (SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = 'schemagate'), \
    (SELECT pg_catalog.has_schema_privilege(n.oid, 'USAGE') \
       AND pg_catalog.has_table_privilege(c.oid, 'SELECT') AND pg_catalog.has_table_privilege(c.oid, 'INSERT') \
     FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE n.nspname = 'schemagate' AND c.relname = 'journal' AND c.relkind IN ('r', 'p'))";

/// Whether the server sees its client (`inet_client_addr()`) on another machine.
fn is_remote(address: Option<&str>) -> bool {
    address
        .and_then(|address| address.parse::<IpAddr>().ok())
        .is_some_and(|address| !address.is_loopback())
}

/// `pg_class` is asked by name instead of `to_regclass`, which refuses a schema without USAGE.
fn read_sql(params: &Params, rows: bool) -> String {
    let schema = quote_literal(&params.table.schema);
    let table = quote_literal(&params.table.table);
    let facts = format!(
        "SELECT pg_catalog.pg_backend_pid(), pg_catalog.current_database(), pg_catalog.pg_is_in_recovery(), \
         (SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(a.attname, \
            pg_catalog.format_type(a.atttypid, a.atttypmod)) ORDER BY a.attnum) \
          FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid \
          JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
          WHERE n.nspname = {schema} AND c.relname = {table} AND c.relkind IN ('r', 'p', 'v', 'f') \
          AND a.attnum > 0 AND NOT a.attisdropped), \
         EXISTS (SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = {schema}), \
         {JOURNAL_COLUMNS}, \
         CURRENT_USER, pg_catalog.version() LIKE '%linux%', \
         pg_catalog.current_setting('standard_conforming_strings') = 'on' \
         AND pg_catalog.current_setting('statement_timeout') = '0' \
         AND COALESCE(pg_catalog.current_setting('transaction_timeout', true), '0') = '0', \
         pg_catalog.host(pg_catalog.inet_client_addr()), \
         pg_catalog.current_schema(), pg_catalog.current_setting('search_path')"
    );
    let mut sql = facts;
    if rows {
        sql.push(';');
        sql.push_str(&formats::select_rows_sql(&params.table));
    }
    match &params.role {
        Some(role) => format!(
            "BEGIN READ ONLY;SET LOCAL ROLE {};{sql};COMMIT",
            quote_ident(role)
        ),
        None => sql,
    }
}

/// Whether the first answer concerns the connection, not the history: a pooler lets clients in while its server is down.
fn is_about_the_connection(error: &tokio_postgres::Error) -> bool {
    connect::classify(error) != Class::Statement || connect::is_refused_login(error)
}

/// Asks one question as `role`.
pub async fn ask(
    client: &Client,
    role: Option<&str>,
    question: &str,
) -> Result<Vec<Row>, tokio_postgres::Error> {
    let Some(role) = role else {
        return wire::query(client, question).await.rows(0);
    };
    let role = quote_ident(role);
    let sql = format!("BEGIN READ ONLY;SET LOCAL ROLE {role};{question};COMMIT");
    let mut reply = wire::query(client, &sql).await;
    let rows = reply.rows(2);
    if rows.is_err() {
        // The first error matters.
        let _ = wire::execute(client, "ROLLBACK").await;
    }
    rows
}

/// Asks one question, which may take its time whatever the role's or the database's `statement_timeout` is.
pub async fn ask_patiently(
    client: &Client,
    role: Option<&str>,
    question: &str,
) -> Result<Vec<Row>, tokio_postgres::Error> {
    let as_role = role.map_or_else(String::new, |role| {
        format!("SET LOCAL ROLE {};", quote_ident(role))
    });
    let sql = format!("BEGIN READ ONLY;SET LOCAL statement_timeout = 0;{as_role}{question};COMMIT");
    let mut reply = wire::query(client, &sql).await;
    let rows = reply.rows(2 + usize::from(role.is_some()));
    if rows.is_err() {
        // The first error matters.
        let _ = wire::execute(client, "ROLLBACK").await;
    }
    rows
}

fn columns(facts: &Row) -> Result<Option<Vec<Column>>, Error> {
    let Some(json) = facts.get(3).and_then(Option::as_deref) else {
        return Ok(None);
    };
    let pairs: Vec<(String, String)> =
        serde_json::from_str(json).map_err(|_| Error::Answer("unreadable column list"))?;
    Ok(Some(
        pairs
            .into_iter()
            .map(|(name, type_name)| Column {
                name,
                // A role may have `quote_all_identifiers`, which also quotes types.
                type_name: type_name.trim_matches('"').to_owned(),
            })
            .collect(),
    ))
}

// === impl Error ===

impl Error {
    /// The exit code.
    ///
    /// The questions are the same for every history, so an SQL error other than those of `of_statement` comes from what
    /// stands in the table's place: the history does not match.
    pub fn exit_status(&self) -> ExitStatus {
        match self {
            Self::Database(error) | Self::Journal { source: error, .. } => {
                match connect::classify(error) {
                    Class::ConnectionLost | Class::Transient => ExitStatus::Unreachable,
                    Class::Permanent(status) => status,
                    Class::Statement => of_statement(code(error)),
                }
            }
            Self::Format(error) => error.exit_status(),
            Self::Answer(_) => ExitStatus::Bug,
        }
    }

    /// What to do next.
    pub fn help(&self) -> String {
        match self {
            Self::Database(error) => match self.exit_status() {
                ExitStatus::Unreachable => {
                    "look at the server and its log, then start again".to_owned()
                }
                ExitStatus::Locked => {
                    "see in pg_locks who holds the history table, or raise the role's lock_timeout"
                        .to_owned()
                }
                ExitStatus::Refused => match error.as_db_error() {
                    Some(error) => permit(code_of(error), error.message()),
                    None => "correct user and password".to_owned(),
                },
                _ => {
                    "look at the history table (SCHEMAGATE_HISTORY_TABLE): it cannot be read as one"
                        .to_owned()
                }
            },
            Self::Journal { source, user } => {
                marker::help(self.exit_status(), source, user.as_deref())
            }
            Self::Format(error) => error.help(),
            Self::Answer(_) => "please report this with the server's version".to_owned(),
        }
    }
}

impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(error)
    }
}

impl From<formats::Error> for Error {
    fn from(error: formats::Error) -> Self {
        Self::Format(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database(error) => {
                write!(f, "cannot read the history: {}", connect::describe(error))
            }
            Self::Journal { source, .. } => {
                write!(f, "cannot read the journal: {}", connect::describe(source))
            }
            Self::Format(error) => write!(f, "{error}"),
            Self::Answer(what) => write!(f, "the server gave an answer without meaning: {what}"),
        }
    }
}

impl std::error::Error for Error {}

fn code(error: &tokio_postgres::Error) -> &str {
    error.as_db_error().map_or("", code_of)
}

fn code_of(error: &DbError) -> &str {
    error.code().code()
}

/// SQL errors that reading a table may end with, whatever the table is.
fn of_statement(code: &str) -> ExitStatus {
    match code {
        // insufficient_privilege; a role to set that does not exist; a login that a pooler tried only now
        "42501" | "22023" | "3D000" | "28000" | "28P01" => ExitStatus::Refused,
        // lock_not_available: a lock_timeout of the role's own
        "55P03" => ExitStatus::Locked,
        // query_canceled: a statement_timeout of the role's own, or somebody's pg_cancel_backend; an error of the system
        // below the server; one inside it, as of a table that is replaced in this moment
        "57014" | "58000" | "58030" | "58P01" | "58P02" | "XX000" => ExitStatus::Unreachable,
        _ => ExitStatus::History,
    }
}

/// The sentence that permits what the server refused, in its English wording; else the general one.
fn permit(code: &str, message: &str) -> String {
    let object = |prefix: &str| message.strip_prefix(prefix).map(quote_ident);
    if code == "22023" {
        "create the role, or correct SCHEMAGATE_ROLE".to_owned()
    } else if let Some(schema) = object("permission denied for schema ") {
        format!("as its owner: GRANT USAGE ON SCHEMA {schema} TO the role that reads the history")
    } else if let Some(table) = object("permission denied for table ") {
        format!("as its owner: GRANT SELECT ON TABLE {table} TO the role that reads the history")
    } else if message.starts_with("permission denied to set role") {
        "GRANT the role of SCHEMAGATE_ROLE TO the role that connects".to_owned()
    } else {
        "GRANT SELECT on the history table, and USAGE on its schema, to the role that reads it"
            .to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_statements() {
        for (code, status) in [
            ("42501", ExitStatus::Refused),
            ("22023", ExitStatus::Refused),
            ("3D000", ExitStatus::Refused),
            ("55P03", ExitStatus::Locked),
            ("57014", ExitStatus::Unreachable),
            ("58030", ExitStatus::Unreachable),
            ("58P01", ExitStatus::Unreachable),
            ("XX000", ExitStatus::Unreachable),
            ("42703", ExitStatus::History),
            ("XX001", ExitStatus::History),
        ] {
            assert_eq!(of_statement(code), status, "{code}");
        }
    }

    #[test]
    fn permissions() {
        let check = |code: &str, message: &str, expected: &str| {
            let advice = permit(code, message);
            assert!(advice.contains(expected), "{message}: {advice}");
        };
        check(
            "42501",
            "permission denied for schema drizzle",
            "GRANT USAGE ON SCHEMA \"drizzle\"",
        );
        check(
            "42501",
            "permission denied for table history",
            "GRANT SELECT ON TABLE \"history\"",
        );
        check(
            "42501",
            "permission denied to set role \"owner\"",
            "SCHEMAGATE_ROLE",
        );
        check("22023", "role \"x\" does not exist", "SCHEMAGATE_ROLE");
        check("42501", "keine Berechtigung", "GRANT SELECT");
    }
}
