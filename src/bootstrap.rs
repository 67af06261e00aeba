//! What must stand before the first migration runs: no other tool's history, the journal, the history table in the
//! form that the folder needs. Each is created only when absent; in the common case nothing is sent.

use tokio_postgres::{Client, error::SqlState};

use crate::{
    apply::{Failure, Frame, Limits, failure, journal_grant},
    exit::ExitStatus,
    formats::{
        self, Shape,
        foreign::{self, Foreign, Own},
    },
    history::{self, Journal, Snapshot, journal},
    migration::{quote_ident, quote_literal},
    source::Source,
    wire,
};

/// What stands now.
#[derive(Debug, Clone, Copy)]
pub struct Ground {
    /// The history table.
    pub shape: Shape,
    /// Whether the journal can be written.
    pub journal: bool,
}

/// Why the ground could not be laid.
#[derive(Debug)]
pub enum Error {
    /// A table that cannot be read or upgraded.
    Format(formats::Error),
    /// Another tool's history has rows.
    Foreign(Foreign),
    /// The server refused.
    Own(Failure),
}

/// Looks, and creates what is absent. Under the lock.
pub async fn lay(
    client: &Client,
    source: &Source,
    params: &history::Params,
    snapshot: &Snapshot,
    frame: &Frame,
    limits: &Limits,
    warn: &mut dyn FnMut(&str),
) -> Result<Ground, Error> {
    let journal = lay_journal(client, snapshot, frame, warn).await?;
    let schema_exists = snapshot.schema_exists || (params.table.schema == "schemagate" && journal);
    let shape = match snapshot.shape {
        None => {
            let sql = formats::create_sql(params.format, &params.table, schema_exists);
            fenced(client, frame, limits, &sql).await.map_err(|error| {
                // IF NOT EXISTS asks the session's cache, which may not know yet what the last holder of the lock has
                // committed; the catalog's unique index does.
                if is_duplicate(&error) {
                    Error::Own(Failure::AlreadyApplied)
                } else {
                    own(error, snapshot)
                }
            })?;
            params.format.new_shape()
        }
        Some(shape) if formats::needs_upgrade(params.format, shape) => {
            let upgrade = formats::upgrade(&params.table, &source.migrations, &snapshot.rows)?;
            fenced(client, frame, limits, &upgrade.sql)
                .await
                .map_err(|error| own(error, snapshot))?;
            Shape::V1
        }
        Some(shape) => shape,
    };
    Ok(Ground { shape, journal })
}

/// Refuses to begin where another tool's history has rows: its migrations would run a second time.
pub async fn refuse_foreign(
    client: &Client,
    params: &history::Params,
    snapshot: &Snapshot,
) -> Result<(), Error> {
    if !snapshot.rows.is_empty() {
        return Ok(());
    }
    let own = Own {
        format: params.format,
        table: params.table.clone(),
        named: params.named,
    };
    let candidates = column(client, &foreign::find_sql(&own), snapshot).await?;
    let mut found = Vec::new();
    for candidate in &candidates {
        found.extend(foreign::identify(
            &own,
            &foreign::parse_candidate(candidate)?,
        ));
    }
    let Some(question) = foreign::has_rows_sql(&found) else {
        return Ok(());
    };
    let with_rows: Vec<usize> = column(client, &question, snapshot)
        .await?
        .iter()
        .filter_map(|position| position.parse().ok())
        .collect();
    Foreign::new(&own, &found, &with_rows).map_or(Ok(()), |foreign| Err(Error::Foreign(foreign)))
}

/// Whether somebody has a table or a view in this database, histories and extensions aside.
///
/// # Errors
///
/// What the server answers instead.
pub async fn has_relations(client: &Client, params: &history::Params) -> Result<bool, Error> {
    let question = format!(
        "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT IN ('information_schema', 'schemagate') \
         AND NOT pg_catalog.starts_with(n.nspname::pg_catalog.text, 'pg_') \
         AND NOT (n.nspname = {} AND c.relname = {}) \
         AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e'))",
        quote_literal(&params.table.schema),
        quote_literal(&params.table.table)
    );
    let rows = history::ask(client, params.role.as_deref(), &question)
        .await
        .map_err(|error| Error::Own(Failure::of_own(error)))?;
    Ok(rows.first().and_then(|row| row.first()?.as_deref()) == Some("t"))
}

/// The first column of a query's rows.
async fn column(client: &Client, sql: &str, snapshot: &Snapshot) -> Result<Vec<String>, Error> {
    let mut reply = wire::query(client, sql).await;
    let rows = reply.rows(0).map_err(|error| own(error, snapshot))?;
    Ok(rows
        .into_iter()
        .filter_map(|row| row.into_iter().next().flatten())
        .collect())
}

async fn lay_journal(
    client: &Client,
    snapshot: &Snapshot,
    frame: &Frame,
    warn: &mut dyn FnMut(&str),
) -> Result<bool, Error> {
    let laid = journal(client, snapshot.journal, frame.role.as_deref())
        .await
        .map_err(|error| own(error, snapshot))?;
    if !laid {
        warn_no_journal(snapshot, warn);
    }
    Ok(laid)
}

/// Creates the journal where it is absent; whether it can be written then. `false`: this role may not.
pub async fn journal(
    client: &Client,
    found: Journal,
    role: Option<&str>,
) -> Result<bool, tokio_postgres::Error> {
    let schema_exists = match found {
        Journal::Usable => return Ok(true),
        Journal::Denied => return Ok(false),
        Journal::NoTable => true,
        Journal::NoSchema => false,
    };
    let sql = journal::create_sql(schema_exists);
    match in_transaction(client, role, &sql).await {
        Ok(()) => Ok(true),
        Err(error) if is_duplicate(&error) => Ok(true),
        Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => Ok(false),
        Err(error) => Err(error),
    }
}

fn warn_no_journal(snapshot: &Snapshot, warn: &mut dyn FnMut(&str)) {
    warn(&format!(
        "no journal: role {} may not create or write {}; transactional migrations run without it; {}",
        snapshot.user,
        journal::TABLE,
        journal_grant(&snapshot.database, &snapshot.user)
    ));
}

/// Another run created it at the same moment.
fn is_duplicate(error: &tokio_postgres::Error) -> bool {
    [
        SqlState::DUPLICATE_SCHEMA,
        SqlState::DUPLICATE_TABLE,
        SqlState::UNIQUE_VIOLATION,
    ]
    .iter()
    .any(|state| error.code() == Some(state))
}

/// Runs `sql` behind the lock.
pub async fn fenced(
    client: &Client,
    frame: &Frame,
    limits: &Limits,
    sql: &str,
) -> Result<(), tokio_postgres::Error> {
    let begin = frame.begin(limits, false, None);
    send(
        client,
        &format!("{}{sql};NOTIFY schemagate;COMMIT", begin.sql),
    )
    .await
}

/// Runs `sql` in a transaction of its own, as `role`.
pub async fn in_transaction(
    client: &Client,
    role: Option<&str>,
    sql: &str,
) -> Result<(), tokio_postgres::Error> {
    let role = role.map_or_else(String::new, |role| {
        format!("SET LOCAL ROLE {};", quote_ident(role))
    });
    send(
        client,
        &format!("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;{role}{sql};COMMIT"),
    )
    .await
}

async fn send(client: &Client, sql: &str) -> Result<(), tokio_postgres::Error> {
    let outcome = wire::execute(client, sql).await.ok();
    if outcome.is_err() {
        // The first error matters; a lost connection has rolled back already.
        let _ = wire::execute(client, "ROLLBACK").await;
    }
    outcome
}

fn own(error: tokio_postgres::Error, snapshot: &Snapshot) -> Error {
    let message = error
        .as_db_error()
        .map(|db| db.message().to_owned())
        .unwrap_or_default();
    Error::Own(match Failure::of_own(error) {
        Failure::Sql(sql) if sql.exit_status() == ExitStatus::Refused => Failure::Refused {
            what: format!("the history table cannot be prepared: {sql}"),
            next: failure::grant(&message, &snapshot.user),
        },
        other => other,
    })
}

// === impl Error ===

impl From<formats::Error> for Error {
    fn from(error: formats::Error) -> Self {
        Self::Format(error)
    }
}
