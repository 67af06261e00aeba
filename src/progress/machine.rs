//! How one [`Progress`] follows from another: the table of the contract.
//!
//! Two things decide. What was seen of the schema gives the state; once that was good, only a history that got worse
//! takes readiness away. Whether the database can be asked changes neither.

mod observation;
mod reason;

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;

pub use observation::{Cause, Observation, Seen, Told};
use observation::{applied, is_open, is_pending};

use super::{MAX_ERRORS, Noted, Progress, Running, State};
use crate::{
    plan::{Conflict, Plan},
    report::status::{Line, Status},
};

/// The state, and what it takes to decide the next one.
#[derive(Debug)]
pub struct Machine {
    progress: Progress,
    /// The state that the schema was last in while it was what this image needs.
    settled: State,
    /// For each migration whether it had a row when the schema was last what this image needs.
    applied: Vec<bool>,
    /// Why the schema is not what this image needs, or what else there is to say of it.
    of_schema: Option<Told>,
    /// Why the database cannot be asked.
    trouble: Option<Told>,
    /// How the last run of this process ended, as long as that matters.
    ended: Option<Ended>,
    /// Where the line of the next migration to be applied is looked for.
    cursor: usize,
    /// What tells the rows of the last look from others.
    fingerprint: Option<u64>,
    /// The last repair at that time.
    repaired: i64,
    /// A failure that is in the journal, and that an operator may have cured by granting a privilege.
    lacks_privilege: bool,
}

#[derive(Debug)]
struct Ended {
    cause: Cause,
    told: Told,
    /// The rows at that time.
    fingerprint: Option<u64>,
    /// The last repair at that time.
    repaired: i64,
}

// === impl Machine ===

impl Machine {
    /// Nothing is known yet.
    pub fn new(now: Timestamp) -> Self {
        Self {
            progress: Progress::new(now),
            settled: State::Ready,
            applied: Vec::new(),
            of_schema: None,
            trouble: None,
            ended: None,
            cursor: 0,
            fingerprint: None,
            repaired: 0,
            lacks_privilege: false,
        }
    }

    /// What the endpoints show.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Whether a migrating sidecar should begin a run: something needed is pending, and it has not failed for good. A
    /// database that cannot be asked cannot be migrated either.
    pub fn wants_run(&self) -> bool {
        if self.trouble.is_some() || !self.progress.database_up {
            return false;
        }
        let may = match &self.ended {
            None
            | Some(Ended {
                cause: Cause::Transient | Cause::Held | Cause::Surroundings,
                ..
            }) => true,
            Some(_) => false,
        };
        may && match self.schema_state() {
            Some("pending") => true,
            Some("failed") => self.lacks_privilege,
            _ => false,
        }
    }

    /// What was last seen of the schema, in the words of [`Status`].
    fn schema_state(&self) -> Option<&'static str> {
        Some(self.progress.schema.as_ref()?.state)
    }

    /// Takes in what was learnt.
    pub fn observe(&mut self, observation: Observation<'_>, now: Timestamp) {
        match observation {
            Observation::Unreachable(told) => self.cannot_ask(told, false, now),
            Observation::Unreadable(told) => self.cannot_ask(told, true, now),
            Observation::NoHistory(told) => self.no_history(told, now),
            Observation::Seen(seen) => self.seen(*seen, now),
            Observation::Unchanged => self.checked(now),
            Observation::Answered => {
                self.progress.database_up = true;
                self.trouble = None;
            }
            Observation::Planned(plan) => self.planned(plan, now),
            Observation::LockElsewhere(holder) => {
                self.progress.holder = holder;
                self.progress.running = None;
                self.enter(State::WaitingForLock, now);
            }
            Observation::Writing => self.writing(now),
            Observation::Starting { version, path } => {
                self.writing(now);
                self.progress.running = Some(Running {
                    version: version.to_owned(),
                    path: path.to_owned(),
                    since: now,
                });
            }
            Observation::Applied { version, elapsed } => self.applied(version, elapsed, now),
            Observation::Hindered(text) => {
                self.progress.running = None;
                self.note(&text, now);
                self.of_schema = Some(Told {
                    what: format!("{text}; trying again"),
                    next: String::new(),
                });
            }
            Observation::Done => self.done(now),
            Observation::Failed(cause, told) => self.failed(cause, told, now),
            Observation::Draining => self.progress.draining = true,
        }
        self.explain();
    }

    fn enter(&mut self, state: State, now: Timestamp) {
        if self.progress.state != state {
            self.progress.state = state;
            self.progress.since = now;
        }
    }

    /// Only for errors: a text that is repeated is counted.
    fn note(&mut self, text: &str, now: Timestamp) {
        let errors = &mut self.progress.errors;
        match errors.front_mut() {
            Some(last) if last.text == text => {
                last.times += 1;
                last.at = now;
            }
            _ => {
                errors.push_front(Noted {
                    at: now,
                    times: 1,
                    text: text.to_owned(),
                });
                errors.truncate(MAX_ERRORS);
            }
        }
    }

    /// The last look was the last word; readiness stays as it was.
    fn cannot_ask(&mut self, told: Told, up: bool, now: Timestamp) {
        self.progress.database_up = up;
        if !up {
            self.progress.running = None;
        }
        if self.progress.seen_at.is_some() {
            self.progress.stale_since.get_or_insert(now);
        }
        self.note(&told.what, now);
        self.trouble = Some(told);
    }

    /// The database has told what it knows.
    fn checked(&mut self, now: Timestamp) {
        self.progress.database_up = true;
        self.progress.stale_since = None;
        self.progress.seen_at = Some(now);
        self.trouble = None;
    }

    fn no_history(&mut self, told: Told, now: Timestamp) {
        self.checked(now);
        self.progress.ready = false;
        self.progress.schema = None;
        self.progress.version = None;
        self.progress.holder = None;
        self.fingerprint = None;
        self.ended = None;
        if self.of_schema.as_ref() != Some(&told) {
            self.note(&told.what, now);
        }
        self.of_schema = Some(told);
        self.enter(State::Mismatch, now);
    }

    fn seen(&mut self, seen: Seen, now: Timestamp) {
        let Seen {
            mut status,
            applied,
            conflicts,
            version,
            fingerprint,
            repaired,
            holder,
            lacks_privilege,
        } = seen;
        self.checked(now);
        self.forget_ended(&status, fingerprint, repaired);
        self.mark_own_failure(&mut status);
        self.fingerprint = Some(fingerprint);
        self.repaired = repaired;
        self.lacks_privilege = lacks_privilege;
        self.progress.version = version;
        self.progress.holder = holder.filter(|_| status.state == "pending");
        self.progress.running = None;
        let is_good = matches!(status.state, "ready" | "ahead");
        if self.progress.ready && !is_good && self.is_worse(&applied, &conflicts) {
            self.progress.ready = false;
        }
        if is_good {
            self.applied = applied;
        }
        self.of_schema = self.told_of(&status, &conflicts);
        self.progress.schema = Some(Arc::new(status));
        self.settle(now);
    }

    /// One of this image's own migrations that was applied has left the history or changed there, or a row that this
    /// image does not know is refused.
    fn is_worse(&self, applied: &[bool], conflicts: &[Conflict]) -> bool {
        let had = |index: usize| self.applied.get(index) == Some(&true);
        let has = |index: usize| applied.get(index) == Some(&true);
        let left = (0..self.applied.len()).any(|index| had(index) && !has(index));
        left || conflicts.iter().any(|conflict| match conflict {
            Conflict::Ahead { .. } => true,
            Conflict::Changed { version, .. } => {
                let lines = self.progress.schema.iter();
                let mut lines = lines.flat_map(|schema| &schema.migrations);
                lines
                    .position(|line| line.version == *version)
                    .is_some_and(had)
            }
            Conflict::OutOfOrder { .. } | Conflict::Missing { .. } => false,
        })
    }

    /// What no longer matters of the last run.
    fn forget_ended(&mut self, status: &Status, fingerprint: u64, repaired: i64) {
        let Some(ended) = &self.ended else {
            return;
        };
        // A person has put something right since, be it elsewhere.
        let matters = ended.repaired == repaired
            && match &ended.cause {
                Cause::Transient | Cause::Held | Cause::Surroundings => {
                    status.migrations.iter().any(is_open)
                }
                Cause::Migration(failed) => {
                    let mut lines = status.migrations.iter();
                    lines.any(|line| line.version == *failed && is_open(line))
                }
                Cause::History(_) => ended.fingerprint == Some(fingerprint),
            };
        if !matters {
            self.ended = None;
        }
    }

    /// A failure of this process counts also where it could not be journalled.
    fn mark_own_failure(&self, status: &mut Status) {
        let Some(Ended {
            cause: Cause::Migration(version),
            told,
            ..
        }) = &self.ended
        else {
            return;
        };
        let mut lines = status.migrations.iter_mut();
        if let Some(line) = lines.find(|line| line.version == *version && is_pending(line)) {
            line.state = "failed";
            line.note = Some(told.what.clone());
            status.judge();
        }
    }

    /// The state that the last look, the last run and the lock's holder amount to.
    fn settle(&mut self, now: Timestamp) {
        let state = match (self.schema_state(), &self.ended) {
            (Some("ready"), _) => State::Ready,
            (Some("ahead"), _) => State::Ahead,
            (
                _,
                Some(Ended {
                    cause: Cause::History(state),
                    ..
                }),
            ) => *state,
            (Some("mismatch"), _)
            | (
                _,
                Some(Ended {
                    cause: Cause::Surroundings,
                    ..
                }),
            ) => State::Mismatch,
            (Some("failed"), _) => State::Failed,
            (_, _) if self.progress.holder.is_some() => State::WaitingForLock,
            (Some(_), _) => State::Pending,
            (None, _) => self.progress.state,
        };
        if matches!(state, State::Ready | State::Ahead) {
            self.progress.ready = true;
            self.progress.started = true;
            self.settled = state;
        }
        // What is new and wrong is told, but no pod that serves loses its readiness over it.
        let state = if self.progress.ready {
            self.settled
        } else {
            state
        };
        self.enter(state, now);
    }

    /// Other pods may have got on while this one waited.
    fn planned(&mut self, plan: &Plan, now: Timestamp) {
        self.checked(now);
        let applied = applied(plan);
        let Some(schema) = &mut self.progress.schema else {
            return;
        };
        let is_new = |(line, applied): (&Line, &bool)| *applied && is_open(line);
        if schema.migrations.iter().zip(&applied).any(is_new) {
            let schema = Arc::make_mut(schema);
            for (line, applied) in schema.migrations.iter_mut().zip(&applied) {
                if *applied && is_open(line) {
                    line.state = "applied";
                    line.note = None;
                }
            }
            schema.judge();
        }
        let newest = plan.newest;
        let newest = newest.and_then(|index| Some(schema.migrations.get(index)?.version.clone()));
        self.progress.version = newest;
    }

    fn writing(&mut self, now: Timestamp) {
        self.progress.holder = None;
        self.ended = None;
        // What runs says it.
        self.of_schema = None;
        self.enter(State::Migrating, now);
    }

    fn applied(&mut self, version: &str, elapsed: Duration, now: Timestamp) {
        self.progress.running = None;
        self.progress.version = Some(version.to_owned());
        let Some(schema) = &mut self.progress.schema else {
            return;
        };
        // Copies only what a reader still holds.
        let lines = &mut Arc::make_mut(schema).migrations;
        // They come in the order of the lines, and there may be ten thousand.
        let mut places = (self.cursor..lines.len()).chain(0..self.cursor.min(lines.len()));
        let place = places.find(|place| lines[*place].version == version);
        if let Some(line) = place.and_then(|place| lines.get_mut(place)) {
            line.state = "applied";
            line.applied_at = Some(as_the_server_prints(now));
            line.duration_ms = i64::try_from(elapsed.as_millis()).ok();
            line.note = None;
        }
        self.cursor = place.map_or(0, |place| place + 1);
    }

    fn done(&mut self, now: Timestamp) {
        self.checked(now);
        self.progress.running = None;
        self.progress.holder = None;
        self.ended = None;
        if let Some(mut schema) = self.progress.schema.take() {
            Arc::make_mut(&mut schema).judge();
            if matches!(schema.state, "ready" | "ahead") {
                let lines = schema.migrations.iter();
                self.applied = lines
                    .map(|line| matches!(line.state, "applied" | "changed"))
                    .collect();
            }
            self.of_schema = self.told_of(&schema, &[]);
            self.progress.schema = Some(schema);
        }
        self.settle(now);
    }

    fn failed(&mut self, cause: Cause, told: Told, now: Timestamp) {
        self.progress.running = None;
        self.progress.holder = None;
        if cause != Cause::Held {
            self.note(&told.what, now);
        }
        self.ended = Some(Ended {
            cause,
            told,
            fingerprint: self.fingerprint,
            repaired: self.repaired,
        });
        if let Some(mut schema) = self.progress.schema.take() {
            let status = Arc::make_mut(&mut schema);
            status.judge();
            self.mark_own_failure(status);
            self.of_schema = self.told_of(&schema, &[]);
            self.progress.schema = Some(schema);
        }
        self.settle(now);
    }
}

/// The time as PostgreSQL prints one in UTC; the next look brings the server's own.
fn as_the_server_prints(now: Timestamp) -> String {
    now.strftime("%Y-%m-%d %H:%M:%S.%6f+00").to_string()
}

#[cfg(test)]
mod tests;
