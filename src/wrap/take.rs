//! One look and one try for the lock, on one session.

use tokio::time::Instant;

use super::Params;
use crate::{
    apply::{Failure, Frame, Holding, Prepared, journal_grant},
    bootstrap,
    connect::{self, Class, Session},
    history::{self, Surroundings, journal, marker::MarkerState},
    lock::{Holder, LockKeys, command_label},
    migration::quote_ident,
    runner::Error,
    wire,
};

/// What a look came to.
pub(super) enum Taken {
    /// The session is in a transaction that holds the lock.
    Lock(Lock),
    /// Somebody has it, as far as can be seen.
    Elsewhere(Option<Holder>),
    /// The marker is done.
    Marked {
        /// Since when.
        at: String,
    },
}

/// The lock that was taken.
pub(super) struct Lock {
    pub(super) keys: LockKeys,
    /// When the message that took it was sent.
    pub(super) sent: Instant,
    /// What the heartbeat asks: who waits for it in the server.
    pub(super) beat: String,
}

/// Asks for the marker. What concerns the connection is the outer error, for [`connect::until`].
pub(super) async fn marker(
    session: &Session,
    params: &Params,
) -> Result<Result<MarkerState, history::Error>, tokio_postgres::Error> {
    match &params.marker {
        Some(marker) => marker.first(session.client(), params.role.as_deref()).await,
        // Somebody must be asked: behind a pooler a session alone says nothing.
        None => wire::execute(session.client(), "SELECT 1")
            .await
            .ok()
            .map(|()| Ok(MarkerState::Absent)),
    }
}

/// Looks at the marker, makes sure that it can be written, and tries the lock, behind which the marker is looked at again.
///
/// The journal is created before the lock is tried: a transaction that creates something and then idles would hold
/// back others.
pub(super) async fn take(
    session: &Session,
    params: &Params,
) -> Result<Result<Taken, Error>, tokio_postgres::Error> {
    match attempt(session, params).await {
        Ok(taken) => Ok(Ok(taken)),
        Err(Trouble::Run(error)) => Ok(Err(error)),
        Err(Trouble::Connection(error)) => Err(error),
    }
}

async fn attempt(session: &Session, params: &Params) -> Result<Taken, Trouble> {
    let client = session.client();
    let mut role = None;
    if let Some(marker) = &params.marker {
        // Without a marker nothing is written, and nobody needs to be anybody else.
        role = params.role.as_deref();
        if let MarkerState::Done { at } = marker.first(client, role).await?? {
            return Ok(Taken::Marked { at });
        }
    }
    let around = Surroundings::look(client, role).await?;
    if params.marker.is_some() && !bootstrap::journal(client, around.journal, role).await? {
        return Err(no_journal(&around).into());
    }
    let keys = params.keys(&around.database);
    let label = command_label(&params.name());
    let begin = frame(session, params, &around, keys).holder_begin();
    let mut sql = format!("{label}{}{}", begin.sql, Holder::select_sql(&keys));
    let mut marked_at = begin.count + 1;
    if let Some(marker) = &params.marker {
        // In a statement of its own, whose snapshot is younger than the lock.
        if let Some(role) = role {
            sql.push_str(";SET LOCAL ROLE ");
            sql.push_str(&quote_ident(role));
            marked_at += 1;
        }
        sql.push(';');
        sql.push_str(&marker.select_sql());
    }
    let sent = Instant::now();
    let mut reply = wire::query(client, &sql).await;
    let won = reply.scalar(begin.count - 1)?;
    let holder = reply.rows(begin.count)?;
    // No row where it was not asked for.
    let taken = match MarkerState::of(&reply.rows(marked_at)?)? {
        MarkerState::Done { at } => Taken::Marked { at },
        _ if won.as_deref() == Some("t") => {
            let beat = format!("{label}{}", Holder::waiters_sql(&keys));
            return Ok(Taken::Lock(Lock { keys, sent, beat }));
        }
        _ => Taken::Elsewhere(holder.first().and_then(Holder::from_row)),
    };
    // A pooler gives up a server connection whose client goes away in the middle of a transaction.
    wire::execute(client, "ROLLBACK").await.ok()?;
    Ok(taken)
}

/// As on a line of which nothing is known: the transaction is all that there is.
fn frame(session: &Session, params: &Params, around: &Surroundings, keys: LockKeys) -> Frame {
    Frame {
        keys,
        holding: Holding::Transaction,
        server_version: session.server_version(),
        checks_connection: session.server_version() >= 140_000 && around.on_linux,
        role: None,
        application_name: params.application_name.clone(),
        direct: false,
        usual_defaults: false,
        remote: around.remote,
        prepared: Prepared::default(),
    }
}

fn no_journal(around: &Surroundings) -> Error {
    Error::Apply(Failure::Refused {
        what: format!(
            "SCHEMAGATE_EXEC_ONCE needs the journal, and role {} may not create or write {}",
            around.user,
            journal::TABLE
        ),
        next: journal_grant(&around.database, &around.user),
    })
}

/// What ends an attempt: something that waiting and connecting again may help, or not.
enum Trouble {
    Connection(tokio_postgres::Error),
    Run(Error),
}

// === impl Trouble ===

impl From<tokio_postgres::Error> for Trouble {
    fn from(error: tokio_postgres::Error) -> Self {
        if connect::classify(&error) == Class::Statement && !connect::is_refused_login(&error) {
            Self::Run(Error::Apply(Failure::of_own(error)))
        } else {
            Self::Connection(error)
        }
    }
}

impl From<history::Error> for Trouble {
    fn from(error: history::Error) -> Self {
        match error {
            history::Error::Database(error)
                if connect::classify(&error) != Class::Statement
                    || connect::is_refused_login(&error) =>
            {
                Self::Connection(error)
            }
            error => Self::Run(Error::History(error)),
        }
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Run(error)
    }
}
