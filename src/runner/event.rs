//! What a run tells while it goes on.

use std::time::Duration;

use crate::{
    apply::SqlFailure, connect, lock::Holder, mend::Mend, migration::Migration, observe::Sight,
    plan::Plan,
};

/// What happens during a run.
#[derive(Debug)]
pub enum Event<'a> {
    /// A look at the history, and what is to be done after it.
    Planned(&'a Plan),
    /// Waiting for the database.
    Connect(connect::Event<'a>),
    /// Another session holds the lock.
    LockElsewhere {
        /// Who, as far as it can be seen.
        holder: Option<&'a Holder>,
        /// When the next look comes.
        next_in: Duration,
        /// The same was told a moment ago.
        told: bool,
    },
    /// The lock is ours.
    LockTaken {
        /// The key.
        key: i64,
    },
    /// The first migration is about to happen.
    RunStarted {
        /// The WAL position, to which a person may want to go back.
        wal: &'a str,
        /// The server's time.
        at: &'a str,
        /// A restore point of this name stands there.
        restore_point: Option<&'a str>,
    },
    /// A migration is about to be sent, or the server is about to come to it.
    Starting(&'a Migration),
    /// A migration is in the history.
    Applied {
        /// Which.
        migration: &'a Migration,
        /// From sending, or from the answer to the one before, to the answer.
        elapsed: Duration,
    },
    /// A migration is no longer in the history.
    Reverted {
        /// Which; its path is that of the down file.
        migration: &'a Migration,
        /// From sending to the answer.
        elapsed: Duration,
    },
    /// What a second connection sees of a statement that takes long, about once a second.
    Watching {
        /// The migration.
        version: &'a str,
        /// What it sees.
        sight: &'a Sight,
    },
    /// A migration met a lock timeout, a deadlock or a serialization failure.
    Retry {
        /// What happened.
        failure: &'a SqlFailure,
        /// The how-manieth.
        attempt: u32,
        /// When the next one comes.
        next_in: Duration,
    },
    /// The connection ended while something was under way.
    Lost {
        /// Why, without secrets.
        error: String,
        /// What was under way.
        version: Option<&'a str>,
    },
    /// The history was put right.
    Repaired(&'a Mend),
    /// A remark for who looks closely.
    Aside(&'a str),
    /// A warning for a person.
    Warning(&'a str),
    /// A remark on the way.
    Note(&'a str),
}
