//! What a run without a folder of migrations needs to know of the server.

use tokio_postgres::Client;

use super::{Error, JOURNAL_COLUMNS, Journal, ask, is_remote};

/// Where a session is, and as whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surroundings {
    /// `current_database()`, which a pooler's alias may hide.
    pub database: String,
    /// `current_user`, after `SCHEMAGATE_ROLE`.
    pub user: String,
    /// See [`super::Snapshot::remote`].
    pub remote: bool,
    /// The server runs on Linux, where it can notice a client that went away.
    pub on_linux: bool,
    /// Whether the journal can be written.
    pub journal: Journal,
}

// === impl Surroundings ===

impl Surroundings {
    /// Asks the server, as `role` where one is given. One round trip.
    pub async fn look(client: &Client, role: Option<&str>) -> Result<Self, Error> {
        let question = format!(
            "SELECT pg_catalog.current_database(), CURRENT_USER, pg_catalog.host(pg_catalog.inet_client_addr()), \
             pg_catalog.version() LIKE '%linux%', {JOURNAL_COLUMNS}"
        );
        let rows = ask(client, role, &question).await?;
        let row = rows
            .first()
            .ok_or(Error::Answer("no row about the server"))?;
        let text = |column: usize| row.get(column).and_then(Option::as_deref);
        let flag = |column: usize| text(column) == Some("t");
        Ok(Self {
            database: text(0).ok_or(Error::Answer("no database name"))?.to_owned(),
            user: text(1).unwrap_or_default().to_owned(),
            remote: is_remote(text(2)),
            on_linux: flag(3),
            journal: Journal::of(flag(4), text(5)),
        })
    }
}
