//! What the work loop learns, as the machine takes it in.

use std::time::Duration;

use super::State;
use crate::{
    plan::{self, Conflict, Plan},
    report::status::{Line, Status},
};

/// A sentence on what happened and one on what to do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Told {
    /// What happened, without secrets.
    pub what: String,
    /// What to do about it; may be empty.
    pub next: String,
}

/// What a look at the history has shown.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The migrations for people and machines.
    pub status: Status,
    /// For each migration whether it has a row.
    pub applied: Vec<bool>,
    /// What forbids to run anything.
    pub conflicts: Vec<Conflict>,
    /// The version of the newest applied migration.
    pub version: Option<String>,
    /// What tells these rows from others.
    pub fingerprint: u64,
    /// The last repair that the journal knows of; another one means that a person has put something right.
    pub repaired: i64,
    /// Who holds the lock, where somebody does and it was asked.
    pub holder: Option<String>,
    /// Every journalled failure among the needed migrations is for want of a privilege.
    pub lacks_privilege: bool,
}

/// Why a run of this process ended otherwise than well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// It may work the next time.
    Transient,
    /// A gate holds the next migration, which a window that opens or an application that goes away may change.
    Held,
    /// This migration failed in SQL: its content does not run again.
    Migration(String),
    /// The database is another tool's, which may change without a change of the history: a mismatch till then.
    Surroundings,
    /// It does not run again before the history is another; the state to show till then.
    History(State),
}

/// What the work loop has learnt.
#[derive(Debug)]
pub enum Observation<'a> {
    /// The database cannot be reached, or gives no answer.
    Unreachable(Told),
    /// The database answers, but the history may not be read just now.
    Unreadable(Told),
    /// What stands in the history's place is no history.
    NoHistory(Told),
    /// A look.
    Seen(Box<Seen>),
    /// The rows are those of the last look.
    Unchanged,
    /// The database answers.
    Answered,
    /// A run of this process has made its plan.
    Planned(&'a Plan),
    /// A run of this process waits for the lock.
    LockElsewhere(Option<String>),
    /// A run of this process writes.
    Writing,
    /// A run of this process sends a migration.
    Starting {
        /// Which.
        version: &'a str,
        /// Its file.
        path: &'a str,
    },
    /// A run of this process has applied a migration.
    Applied {
        /// Which.
        version: &'a str,
        /// How long it took.
        elapsed: Duration,
    },
    /// A run of this process has met something that it gets over.
    Hindered(String),
    /// A run of this process ended well.
    Done,
    /// A run of this process ended otherwise.
    Failed(Cause, Told),
    /// The process was told to end.
    Draining,
}

// === impl Seen ===

impl Seen {
    /// From a plan and what it was made of. `lacks_privilege` tells of a journalled failure, by version.
    pub fn new(
        status: Status,
        plan: &Plan,
        fingerprint: u64,
        lacks_privilege: impl Fn(&str) -> bool,
    ) -> Self {
        let failed = status.migrations.iter().filter(|line| is_failed(line));
        let lacks_privilege = failed.clone().all(|line| lacks_privilege(&line.version));
        Self {
            lacks_privilege: lacks_privilege && failed.count() > 0,
            applied: applied(plan),
            conflicts: plan.conflicts.clone(),
            version: plan
                .newest
                .and_then(|index| Some(status.migrations.get(index)?.version.clone())),
            fingerprint,
            repaired: 0,
            holder: None,
            status,
        }
    }
}

pub(super) fn applied(plan: &Plan) -> Vec<bool> {
    let states = plan.states.iter();
    states
        .map(|state| matches!(state, plan::State::Applied { .. }))
        .collect()
}

pub(super) fn is_failed(line: &Line) -> bool {
    line.state == "failed"
}

pub(super) fn is_pending(line: &Line) -> bool {
    line.state == "pending"
}

/// It has no row, and is needed.
pub(super) fn is_open(line: &Line) -> bool {
    is_pending(line) || is_failed(line)
}
