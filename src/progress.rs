//! What a sidecar knows, for whoever asks: the state of the contract, its reason, the schema as it was last seen.
//!
//! The work loop owns a [`Machine`] and publishes a [`Progress`] on a watch channel; the endpoints read it and never
//! wait for anybody. Pure: times are passed in.

mod machine;

use std::{collections::VecDeque, sync::Arc};

use jiff::Timestamp;

pub use machine::{Cause, Machine, Observation, Seen, Told};

use crate::report::status::Status;

/// How many of the last errors are kept.
pub const MAX_ERRORS: usize = 10;

/// The states of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Never yet connected.
    Connecting,
    /// Needed migrations are pending.
    Pending,
    /// Needed migrations are pending, and another session holds the lock.
    WaitingForLock,
    /// This process applies migrations.
    Migrating,
    /// All that this image needs is applied.
    Ready,
    /// So it is, and the history has rows that this image does not know.
    Ahead,
    /// The history does not match the files.
    Mismatch,
    /// A needed migration failed, here or in another pod.
    Failed,
}

/// Everything that the endpoints show.
#[derive(Debug, Clone)]
pub struct Progress {
    /// The state.
    pub state: State,
    /// Since when it is in this state.
    pub since: Timestamp,
    /// Why it is not ready, or what a person should know, in a sentence or two without secrets.
    pub reason: Option<String>,
    /// What to do about it.
    pub next_step: Option<String>,
    /// `/readyz`. Once it was true, it stays so while the database cannot be asked.
    pub ready: bool,
    /// `/startupz`: the schema has once been what this image needs.
    pub started: bool,
    /// The process was told to end: `/readyz` says no from here on.
    pub draining: bool,
    /// Whether the last attempt to ask the database got an answer.
    pub database_up: bool,
    /// Since when what is shown could not be checked.
    pub stale_since: Option<Timestamp>,
    /// When the schema was last seen.
    pub seen_at: Option<Timestamp>,
    /// The migrations as they were last seen.
    pub schema: Option<Arc<Status>>,
    /// The version of the newest applied migration; of `SCHEMAGATE_EXEC_ONCE` the marker.
    pub version: Option<String>,
    /// The migration that is being applied by this process.
    pub running: Option<Running>,
    /// Who holds the lock, in words (see `lock::Holder`).
    pub holder: Option<String>,
    /// The last errors, newest first, at most [`MAX_ERRORS`].
    pub errors: VecDeque<Noted>,
}

/// A migration under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// Its version.
    pub version: String,
    /// Its file.
    pub path: String,
    /// Since when.
    pub since: Timestamp,
}

/// An error that was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    /// When it was last seen.
    pub at: Timestamp,
    /// How often in a row.
    pub times: u64,
    /// What it was, without secrets.
    pub text: String,
}

// === impl State ===

impl State {
    /// All of them, in the order of the contract.
    pub const ALL: [Self; 8] = [
        Self::Connecting,
        Self::Pending,
        Self::WaitingForLock,
        Self::Migrating,
        Self::Ready,
        Self::Ahead,
        Self::Mismatch,
        Self::Failed,
    ];

    /// The word of the contract.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Pending => "pending",
            Self::WaitingForLock => "waiting_for_lock",
            Self::Migrating => "migrating",
            Self::Ready => "ready",
            Self::Ahead => "ahead",
            Self::Mismatch => "mismatch",
            Self::Failed => "failed",
        }
    }
}

// === impl Progress ===

impl Progress {
    /// Nothing is known yet.
    pub fn new(now: Timestamp) -> Self {
        Self {
            state: State::Connecting,
            since: now,
            reason: None,
            next_step: None,
            ready: false,
            started: false,
            draining: false,
            database_up: false,
            stale_since: None,
            seen_at: None,
            schema: None,
            version: None,
            running: None,
            holder: None,
            errors: VecDeque::new(),
        }
    }

    /// What `/readyz` answers.
    pub const fn is_ready(&self) -> bool {
        self.ready && !self.draining
    }
}
