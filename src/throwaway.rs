//! A database that is made and dropped, and a server that is started and removed: what `validate` works on.
//!
//! Nothing of it outlives a run for long, whatever ends the run. The run itself drops and removes; a server has a
//! process beside it that does so when we are gone ([`keeper`]); and every run begins by removing what others left: a
//! database of ours that no session belongs to, a folder of ours that nobody has locked.

mod database;
pub mod dump;
pub mod keeper;
mod leftover;
mod listing;
mod programs;
mod server;

pub use database::Database;
pub use listing::{Listing, difference};
pub use server::Server;

use std::fmt;

use crate::{
    connect::{self, Class, classify},
    exit::ExitStatus,
};

/// Why there is no throwaway database, or what was found in it.
#[derive(Debug)]
pub struct Error {
    /// What happened.
    pub what: String,
    /// What to do.
    pub next: String,
    /// The exit code.
    pub status: ExitStatus,
}

// === impl Error ===

impl Error {
    /// A finding, or a refusal, with the code that it ends with.
    pub fn new(status: ExitStatus, what: impl Into<String>, next: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            next: next.into(),
            status,
        }
    }

    /// What the server answered to a statement of ours; `doing` completes "cannot …".
    pub(crate) fn of_server(doing: &str, error: &tokio_postgres::Error) -> Self {
        let refused =
            error.code() == Some(&tokio_postgres::error::SqlState::INSUFFICIENT_PRIVILEGE);
        let status = match classify(error) {
            _ if refused => ExitStatus::Refused,
            Class::Permanent(status) => status,
            Class::ConnectionLost | Class::Transient => ExitStatus::Unreachable,
            Class::Statement => ExitStatus::Usage,
        };
        Self::new(
            status,
            format!("cannot {doing}: {}", connect::describe(error)),
            "look at the server and its log, or use `--server auto`",
        )
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}
