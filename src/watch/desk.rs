//! Where what is learnt is taken in, published and logged: a line for each change, none for a look that shows nothing
//! new.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::{sync::watch, time::Instant};
use tracing::{info, warn};

use super::eyes::Looked;
use crate::{
    error::Error,
    progress::{Machine, Observation, Progress, Seen, State, Told},
    runner,
};

/// A run publishes no more often than this, changes of the state excepted: each time the list of migrations is copied.
pub(super) const PAUSE: Duration = Duration::from_millis(100);

/// The machine, and whom it tells.
pub(super) struct Desk<'a> {
    machine: Machine,
    sender: &'a watch::Sender<Arc<Progress>>,
    published: Instant,
    /// Something is not published yet.
    behind: bool,
    /// What the process would end with, were it to end on what the last look has shown.
    end: Option<Error>,
    /// What was last logged of a database that cannot be asked.
    trouble: Option<String>,
    /// The rows of the last look.
    fingerprint: Option<u64>,
}

// === impl Desk ===

impl<'a> Desk<'a> {
    pub(super) fn new(sender: &'a watch::Sender<Arc<Progress>>) -> Self {
        let since = sender.borrow().since;
        Self {
            machine: Machine::new(since),
            sender,
            published: Instant::now(),
            behind: false,
            end: None,
            trouble: None,
            fingerprint: None,
        }
    }

    pub(super) fn state(&self) -> State {
        self.machine.progress().state
    }

    pub(super) fn wants_run(&self) -> bool {
        self.machine.wants_run()
    }

    /// The schema is what this image needs, so that a glance at the rows is enough to see whether that has changed.
    pub(super) fn is_settled(&self) -> bool {
        let progress = self.machine.progress();
        let state = progress.schema.as_ref().map(|schema| schema.state);
        progress.ready && matches!(state, Some("ready" | "ahead"))
    }

    /// Whether a look shows other rows than the one before.
    pub(super) fn is_progress(&self, seen: &Seen) -> bool {
        self.fingerprint
            .is_some_and(|before| before != seen.fingerprint)
    }

    /// What the process would end with.
    pub(super) fn end(&mut self) -> Option<Error> {
        self.end.take()
    }

    /// Takes in what a look has shown, and publishes it.
    pub(super) fn looked(&mut self, looked: Looked) {
        self.take_in(looked);
        self.catch_up();
    }

    fn take_in(&mut self, looked: Looked) {
        self.end = None;
        match looked {
            Looked::Unreachable(told) => {
                self.cannot_ask(&told);
                self.observe(Observation::Unreachable(told));
            }
            Looked::Unreadable(told) => {
                self.cannot_ask(&told);
                self.observe(Observation::Unreadable(told));
            }
            Looked::NoHistory(error) => {
                self.answers();
                let error = Error::Run(error);
                self.observe(Observation::NoHistory(told(&error)));
                self.end = Some(error);
            }
            Looked::Unchanged => {
                self.answers();
                self.observe(Observation::Unchanged);
            }
            Looked::Followed(plan) => {
                self.answers();
                self.observe(Observation::Planned(&plan));
            }
            Looked::Seen(seen) => {
                self.answers();
                self.warn_of(&seen);
                self.fingerprint = Some(seen.fingerprint);
                let conflicts = seen.conflicts.clone();
                self.observe(Observation::Seen(seen));
                self.end = if conflicts.is_empty() {
                    let progress = self.machine.progress();
                    Some(Error::Failed {
                        what: progress.reason.clone().unwrap_or_default(),
                        next: progress.next_step.clone().unwrap_or_default(),
                    })
                } else {
                    Some(Error::Run(runner::Error::Conflicts(conflicts)))
                };
            }
        }
    }

    /// Takes in what was learnt, and publishes it, at once or a little later (see [`Desk::catch_up`]).
    pub(super) fn observe(&mut self, observation: Observation<'_>) {
        let before = self.brief();
        self.machine.observe(observation, Timestamp::now());
        let changed = self.brief() != before;
        if changed {
            self.log(before.0);
        }
        if changed || self.published.elapsed() >= PAUSE {
            self.publish();
        } else {
            self.behind = true;
        }
    }

    /// Publishes what [`Desk::observe`] has put off.
    pub(super) fn catch_up(&mut self) {
        if self.behind {
            self.publish();
        }
    }

    /// The process was told to end.
    pub(super) fn drain(&mut self) {
        self.observe(Observation::Draining);
        self.catch_up();
    }

    /// The database answers, or not, in a run.
    pub(super) fn answers(&mut self) {
        if self.trouble.take().is_some() {
            info!("the database answers again");
        }
    }

    /// Logs why the database cannot be asked, once for each reason.
    pub(super) fn cannot_ask(&mut self, told: &Told) {
        if self.trouble.as_ref() != Some(&told.what) {
            warn!(
                error = told.what,
                next_step = told.next,
                "the database cannot be asked"
            );
            self.trouble = Some(told.what.clone());
        }
    }

    fn brief(&self) -> (State, bool, bool) {
        let progress = self.machine.progress();
        (progress.state, progress.is_ready(), progress.database_up)
    }

    fn publish(&mut self) {
        self.published = Instant::now();
        self.behind = false;
        let progress = self.machine.progress().clone();
        self.sender.send_replace(Arc::new(progress));
    }

    fn log(&self, before: State) {
        let progress = self.machine.progress();
        let (state, ready) = (progress.state, progress.is_ready());
        if state == before {
            return;
        }
        let (reason, next_step) = (progress.reason.as_deref(), progress.next_step.as_deref());
        let (state, was) = (state.word(), before.word());
        if matches!(progress.state, State::Mismatch | State::Failed) {
            warn!(state, was, ready, reason, next_step, "schema");
        } else {
            info!(state, was, ready, reason, "schema");
        }
    }

    /// What a person should know of the history, once.
    fn warn_of(&self, seen: &Seen) {
        let before = self.machine.progress().schema.as_ref();
        for warning in &seen.status.warnings {
            if before.is_none_or(|before| !before.warnings.contains(warning)) {
                warn!("{warning}");
            }
        }
    }
}

/// An error in the words of the endpoints.
pub(super) fn told(error: &Error) -> Told {
    Told {
        what: error.what(),
        next: error.next_step(),
    }
}
