//! Markers of `SCHEMAGATE_EXEC_ONCE`: what the journal remembers of a tool that `exec` runs once for each of them.
//!
//! Whoever asks for a marker takes it as the state of the schema, so the folder of migrations is not looked at.

use tokio_postgres::{Client, error::SqlState};

use super::{Error, ask, is_about_the_connection, journal, permit};
use crate::{
    exit::ExitStatus,
    migration::{TableName, quote_ident, quote_literal},
    wire,
};

/// What stands in the journal's column `history` where `SCHEMAGATE_HISTORY_TABLE` names no other.
pub const HISTORY: &str = "exec";

/// One marker, as the journal's rows carry it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    /// `SCHEMAGATE_EXEC_ONCE`, which is column `version`.
    pub name: String,
    /// `SCHEMAGATE_HISTORY_TABLE` as text, or [`HISTORY`].
    pub history: String,
}

/// What the journal knows of a marker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MarkerState {
    /// No run with it has ended.
    Absent,
    /// A run with it ended well.
    Done {
        /// When, as PostgreSQL prints it.
        at: String,
    },
    /// None has ended well, and this is how the last one failed.
    Failed {
        /// What was noted of it.
        message: String,
        /// When, as PostgreSQL prints it.
        at: String,
    },
}

// === impl Marker ===

impl Marker {
    /// The marker `name` of a history, or of [`HISTORY`].
    pub fn new(name: impl Into<String>, history: Option<&TableName>) -> Self {
        Self {
            name: name.into(),
            history: history.map_or_else(|| HISTORY.to_owned(), ToString::to_string),
        }
    }

    /// The question: event, time and message of the one row that decides, if there is one.
    ///
    /// A run that ended well counts for ever, whatever failed after it: nobody runs the tool again for the same marker.
    pub fn select_sql(&self) -> String {
        format!(
            "SELECT event, at::pg_catalog.text, detail->>'message' FROM {} WHERE history = {} AND version = {} \
             AND event IN ('exec_done', 'failed') ORDER BY event = 'failed', id DESC LIMIT 1",
            journal::TABLE,
            quote_literal(&self.history),
            quote_literal(&self.name)
        )
    }

    /// Asks the journal, as `role` (`SCHEMAGATE_ROLE`) where one is given. One round trip.
    ///
    /// Where there is no journal nothing has been noted.
    ///
    /// # Errors
    ///
    /// [`Error::Journal`], with the missing privilege told by [`Error::help`].
    pub async fn look(&self, client: &Client, role: Option<&str>) -> Result<MarkerState, Error> {
        let source = match ask(client, role, &self.select_sql()).await {
            Ok(rows) => return MarkerState::of(&rows),
            Err(error) => error,
        };
        let is = |state: SqlState| source.code() == Some(&state);
        if is(SqlState::UNDEFINED_TABLE) || is(SqlState::INVALID_SCHEMA_NAME) {
            return Ok(MarkerState::Absent);
        }
        let user = match role {
            _ if !is(SqlState::INSUFFICIENT_PRIVILEGE) => None,
            Some(role) => Some(role.to_owned()),
            None => current_user(client).await,
        };
        Err(Error::Journal { source, user })
    }

    /// The first look after connecting, for [`crate::connect::until`]: what the connection did not carry is its error, what is
    /// wrong with the journal is part of its answer.
    ///
    /// # Errors
    ///
    /// What concerns the connection.
    pub async fn first(
        &self,
        client: &Client,
        role: Option<&str>,
    ) -> Result<Result<MarkerState, Error>, tokio_postgres::Error> {
        match self.look(client, role).await {
            Err(Error::Journal { source, .. }) if is_about_the_connection(&source) => Err(source),
            looked => Ok(looked),
        }
    }
}

// === impl MarkerState ===

impl MarkerState {
    /// From the answer to [`Marker::select_sql`].
    ///
    /// # Errors
    ///
    /// [`Error::Answer`] for rows of another question.
    pub fn of(rows: &[wire::Row]) -> Result<Self, Error> {
        rows.first().map_or(Ok(Self::Absent), state)
    }

    /// Whether the schema is what the marker stands for.
    pub const fn is_done(&self) -> bool {
        matches!(self, Self::Done { .. })
    }
}

fn state(row: &wire::Row) -> Result<MarkerState, Error> {
    let text = |column: usize| row.get(column).and_then(Option::as_deref);
    let at = text(1)
        .ok_or(Error::Answer("a row of the journal without its time"))?
        .to_owned();
    match text(0) {
        Some("exec_done") => Ok(MarkerState::Done { at }),
        Some("failed") => Ok(MarkerState::Failed {
            message: text(2).unwrap_or("failed").to_owned(),
            at,
        }),
        _ => Err(Error::Answer("a row of the journal of another event")),
    }
}

async fn current_user(client: &Client) -> Option<String> {
    let mut reply = wire::query(client, "SELECT CURRENT_USER").await;
    reply.scalar(0).ok().flatten()
}

/// What to do about a journal that cannot be read; `user` is who was refused.
pub(super) fn help(
    status: ExitStatus,
    source: &tokio_postgres::Error,
    user: Option<&str>,
) -> String {
    let (code, message) = source
        .as_db_error()
        .map_or(("", ""), |error| (error.code().code(), error.message()));
    match (status, user) {
        (ExitStatus::Refused, _) if is_about_the_role(code, message) => permit(code, message),
        (ExitStatus::Refused, Some(user)) => grant(user),
        (ExitStatus::Refused, None) => "correct user and password".to_owned(),
        (ExitStatus::Unreachable, _) => {
            "look at the server and its log, then start again".to_owned()
        }
        (ExitStatus::Locked, _) => format!(
            "see in pg_locks who holds {}, or raise the role's lock_timeout",
            journal::TABLE
        ),
        _ => format!(
            "look at {}: it cannot be read as the journal",
            journal::TABLE
        ),
    }
}

/// `SCHEMAGATE_ROLE` itself, not what it may read.
fn is_about_the_role(code: &str, message: &str) -> bool {
    code == "22023" || message.starts_with("permission denied to set role")
}

fn grant(user: &str) -> String {
    let user = quote_ident(user);
    format!(
        "as the journal's owner: GRANT USAGE ON SCHEMA schemagate TO {user}; GRANT SELECT ON {} TO {user}",
        journal::TABLE
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_question_is_quoted_and_names_the_history() {
        let plain = Marker::new("v1's", None);
        assert_eq!(plain.history, "exec");
        let sql = plain.select_sql();
        assert!(
            sql.contains("history = 'exec' AND version = 'v1''s'"),
            "{sql}"
        );
        let table = TableName::new("ops", "It's");
        let named = Marker::new("1.4.2", Some(&table));
        assert!(named.select_sql().contains("history = 'ops.It''s'"));
    }

    #[test]
    fn rows() {
        let row = |event: &str, message: Option<&str>| {
            let parts = [Some(event), Some("2026-01-01 00:00:00+00"), message];
            parts.map(|part| part.map(str::to_owned)).to_vec()
        };
        let at = || "2026-01-01 00:00:00+00".to_owned();
        let found = |event, message| state(&row(event, message)).unwrap();
        assert_eq!(found("exec_done", None), MarkerState::Done { at: at() });
        for (noted, message) in [(Some("exit 3"), "exit 3"), (None, "failed")] {
            let failed = MarkerState::Failed {
                message: message.to_owned(),
                at: at(),
            };
            assert_eq!(found("failed", noted), failed);
        }
        assert!(state(&row("applied", None)).is_err());
        assert!(state(&Vec::new()).is_err());
    }

    #[test]
    fn the_grant_names_who_was_refused() {
        assert_eq!(
            grant("App"),
            "as the journal's owner: GRANT USAGE ON SCHEMA schemagate TO \"App\"; \
             GRANT SELECT ON schemagate.journal TO \"App\""
        );
    }
}
