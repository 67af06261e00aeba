//! How a run ends otherwise than well.

use std::time::Duration;

use crate::{
    apply::{self, Failure, SqlFailure},
    bootstrap, connect, formats,
    gate::Held,
    history,
    lock::Holder,
    mend,
    plan::{self, Conflict},
    preflight::Finding,
    problem::Problem,
    source,
    stop::Cause,
};

/// How a run ended otherwise.
#[derive(Debug)]
pub enum Error {
    /// The database was not reached.
    Connect(connect::Error),
    /// Something is pending, and the settings ask for a standby.
    NoPrimary(Problem),
    /// The history could not be read.
    History(history::Error),
    /// `SCHEMAGATE_TARGET` names no migration.
    Target(plan::UnknownTarget),
    /// The history and the files do not fit.
    Conflicts(Vec<Conflict>),
    /// Files that cannot be run.
    Prepare(apply::prepare::Error),
    /// The history table is not the format's, or cannot be upgraded.
    Format(formats::Error),
    /// Another tool's history has rows.
    Foreign(formats::foreign::Foreign),
    /// Only an existing history could prove what the folder is.
    Unproved(source::Error),
    /// What is known to fail; nothing was written. Not empty.
    Preflight(Vec<Finding>),
    /// A repair does not apply.
    Mend(Box<mend::Refusal>),
    /// A gate holds a migration. What stands before it was applied.
    Held(Box<Held>),
    /// A migration was not applied.
    Apply(Failure),
    /// The lock was not had in time.
    LockWait {
        /// Who holds it.
        holder: Option<Box<Holder>>,
        /// Without progress for so long.
        stuck_for: Duration,
        /// Not queued at all.
        off: bool,
    },
    /// Tried as often as it may be: table locks were not obtained, or the server had no disk or memory.
    Retries(Box<SqlFailure>),
    /// The connection was lost, and not taken up again in time.
    Lost(String),
    /// The command had to stop.
    Stopped {
        /// Why.
        cause: Cause,
        /// What became of the statement that was running.
        statement: Interrupted,
    },
    /// The history says one thing and its row another; a bug.
    Inconsistent,
}

/// What became of the running statement when a command had to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interrupted {
    /// None was running.
    Nothing,
    /// The server confirmed that it was cancelled.
    Cancelled,
    /// The server was told, and no answer came in time.
    Unconfirmed,
}

// === impl Error ===

impl From<bootstrap::Error> for Error {
    fn from(error: bootstrap::Error) -> Self {
        match error {
            bootstrap::Error::Format(error) => Self::Format(error),
            bootstrap::Error::Foreign(foreign) => Self::Foreign(foreign),
            bootstrap::Error::Own(failure) => Self::Apply(failure),
        }
    }
}
