//! Why a trace did not begin, or cannot be relied on.

use crate::{apply::Failure, connect, lock::Holder, stop::Cause};

/// Why there is nothing to report.
#[derive(Debug)]
pub enum Error {
    /// Other clients are connected: who, and how many of each.
    Others(Vec<(String, u64)>),
    /// A run holds the lock.
    LockHeld(Option<Box<Holder>>),
    /// The history has changed since it was looked at.
    Moved,
    /// The transaction ended by itself: what ran before may be committed. Where it was noticed.
    Ended(String),
    /// One of our own statements failed, or a file was replaced while it was in use.
    Own(Box<Failure>),
    /// The connection ended.
    Lost(tokio_postgres::Error),
    /// The limit passed.
    Limit,
    /// A signal or the deadline; whether the end of the running statement was not seen.
    Stopped(Cause, bool),
}

// === impl Error ===

impl Error {
    /// Sorts an error that ends the transaction from outside.
    pub(super) fn of_own(error: tokio_postgres::Error) -> Self {
        match error.code().map(tokio_postgres::error::SqlState::code) {
            // idle_in_transaction_session_timeout, transaction_timeout, query_canceled
            Some("25P03" | "25P04" | "57014") => Self::Limit,
            _ if connect::classify(&error).is_connection_lost() => Self::Lost(error),
            _ => Self::Own(Box::new(Failure::of_own(error))),
        }
    }
}
