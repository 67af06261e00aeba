//! The one JSON line that sums up a run.

use std::{collections::BTreeMap, io::Write as _, time::Duration};

use serde::Serialize;

use crate::{
    error::Error,
    exit::ExitStatus,
    gate::Held,
    migration::Migration,
    plan::{Difference, Plan, State},
    report::log::millis,
    runner::{Done, Event},
};

/// What a run has done, filled in on the way so that a failed run tells it too.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Summary {
    /// When the run ended, RFC 3339 in UTC.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub timestamp: String,
    /// Always `INFO`: the line stands among the log's.
    pub level: &'static str,
    /// Always `run finished`.
    pub message: &'static str,
    /// The command.
    pub command: &'static str,
    /// What the process ends with.
    pub exit_code: u8,
    /// The format of the folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<&'static str>,
    /// The history table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<String>,
    /// With `SCHEMAGATE_DRY_RUN`: nothing was written.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// What this run applied, in order.
    pub applied: Vec<AppliedLine>,
    /// What this run undid, newest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reverted: Vec<AppliedLine>,
    /// What `baseline` marked as applied, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub baselined: Vec<String>,
    /// What `repair` did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repaired: Option<RepairedLine>,
    /// Where the server stood before the first migration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restore: Option<Restore>,
    /// What is left to run.
    pub pending: Vec<String>,
    /// The migration that a gate holds, and with it all behind it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<HeldLine>,
    /// How many are behind the target or a contract migration.
    pub deferred: usize,
    /// How many rows this image does not know.
    pub ahead: usize,
    /// What `exec` ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exec: Option<ExecLine>,
    /// The whole run.
    pub duration_ms: u64,
    /// What happened, where the end is not 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// The schema as it was last seen, for metrics; `None` where nothing looked at it.
    #[serde(skip)]
    pub seen: Option<Seen>,
}

/// The schema in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// How many migrations or rows are in which state; the words are of [`crate::metrics::STATUSES`].
    pub counts: BTreeMap<&'static str, usize>,
    /// The version that was applied last.
    pub newest: Option<String>,
}

/// A migration that was applied.
#[derive(Debug, Clone, Serialize)]
pub struct AppliedLine {
    /// Which.
    pub version: String,
    /// From sending to the answer.
    pub duration_ms: u64,
}

/// A migration that a gate holds.
#[derive(Debug, Clone, Serialize)]
pub struct HeldLine {
    /// Which.
    pub version: String,
    /// Its file.
    pub path: String,
    /// The line of the statement that is held, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// That statement, its literals replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statement: Option<String>,
    /// Why.
    pub reason: String,
    /// The line or variable that lets it through.
    pub let_through: String,
}

/// A repair.
#[derive(Debug, Clone, Serialize)]
pub struct RepairedLine {
    /// The flag.
    pub what: &'static str,
    /// The migration, or how the row is called.
    pub version: String,
}

/// What a person could go back to.
#[derive(Debug, Clone, Serialize)]
pub struct Restore {
    /// The position in the write-ahead log.
    pub wal: String,
    /// The server's time.
    pub at: String,
    /// The name of a restore point.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// The command of `exec`.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ExecLine {
    /// Its name, without arguments.
    pub command: String,
    /// `SCHEMAGATE_EXEC_ONCE`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub marker: Option<String>,
    /// The marker was done, so the command was not run.
    pub skipped: bool,
    /// What the command itself ended with, 128 + n for a signal; `None` where it did not run or end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<u8>,
    /// How long it ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
}

// === impl Summary ===

impl Summary {
    /// A run that has begun.
    pub fn new(command: &'static str, dry_run: bool) -> Self {
        Self {
            level: "INFO",
            message: "run finished",
            command,
            dry_run,
            ..Self::default()
        }
    }

    /// Notes what a look at the history showed.
    pub fn planned(&mut self, migrations: &[Migration], plan: &Plan) {
        let states = migrations.iter().zip(&plan.states);
        self.pending = states
            .filter(|(_, state)| matches!(state, State::Pending | State::OutOfOrder))
            .map(|(migration, _)| migration.version.clone())
            .collect();
        self.deferred = plan.deferred();
        self.ahead = plan.ahead.len();
        let newest = plan.newest.and_then(|index| migrations.get(index));
        self.seen = Some(Seen {
            counts: counts(plan),
            newest: newest.map(|migration| migration.version.clone()),
        });
    }

    /// Notes what was applied; it is no longer pending.
    pub fn done(&mut self, done: &[Done]) {
        self.applied = lines(done);
        let before = self.pending.len();
        self.pending
            .retain(|version| !done.iter().any(|done| done.version == *version));
        if let (Some(seen), Some(last)) = (&mut self.seen, done.last()) {
            seen.moved(before - self.pending.len(), "applied");
            seen.newest = Some(last.version.clone());
        }
    }

    /// Notes what was undone.
    pub fn reverted(&mut self, done: &[Done]) {
        self.reverted = lines(done);
    }

    /// Notes that a pending migration failed; `false` where it is none of those.
    pub fn failed(&mut self, version: &str) -> bool {
        let known = self.pending.iter().any(|pending| pending == version);
        if let (Some(seen), true) = (&mut self.seen, known) {
            seen.moved(1, "failed");
        }
        known
    }

    /// Notes that a gate holds a migration.
    pub fn held(&mut self, held: &Held) {
        let (line, statement) = held.statement.clone().unzip();
        self.held = Some(HeldLine {
            version: held.version.clone(),
            path: held.path.clone(),
            line,
            statement,
            reason: held.reason.clone(),
            let_through: held.let_through.clone(),
        });
    }

    /// Notes what a run says of its beginning, and a repair.
    pub fn began(&mut self, event: &Event<'_>) {
        match event {
            Event::RunStarted {
                wal,
                at,
                restore_point,
            } => {
                self.restore = Some(Restore {
                    wal: (*wal).to_owned(),
                    at: (*at).to_owned(),
                    name: restore_point.map(str::to_owned),
                });
            }
            Event::Repaired(mend) => {
                self.repaired = Some(RepairedLine {
                    what: mend.kind.word(),
                    version: mend.version.clone(),
                });
            }
            _ => {}
        }
    }

    /// The settings of a recovery to the state before the run, where it failed and something of it may be committed.
    ///
    /// <https://www.postgresql.org/docs/current/runtime-config-wal.html#RUNTIME-CONFIG-WAL-RECOVERY-TARGET>
    pub fn way_back(&self, error: &Error) -> Option<String> {
        let Restore { wal, at, name } = self.restore.as_ref()?;
        let wrote = !self.applied.is_empty() || error.may_have_written();
        // What is held is no failure: nobody wants to go back from there.
        if !wrote || error.exit_status() == ExitStatus::Held {
            return None;
        }
        let before = format!("recovery_target_lsn = '{wal}', the state of {at}");
        Some(match name {
            Some(name) => format!("recovery_target_name = '{name}', or {before}"),
            None => before,
        })
    }

    /// Notes the end.
    pub fn ended(&mut self, outcome: &Result<(), Error>, elapsed: Duration) -> ExitStatus {
        let status = match outcome {
            Ok(()) => ExitStatus::Done,
            Err(error) => {
                self.error = Some(error.what());
                self.next = Some(error.next_step());
                error.exit_status()
            }
        };
        self.exit_code = status.code();
        self.duration_ms = millis(elapsed);
        status
    }

    /// The line, without its line break.
    pub fn line(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

fn lines(done: &[Done]) -> Vec<AppliedLine> {
    let line = |done: &Done| AppliedLine {
        version: done.version.clone(),
        duration_ms: millis(done.elapsed),
    };
    done.iter().map(line).collect()
}

// === impl Seen ===

impl Seen {
    /// So many are no longer pending.
    fn moved(&mut self, count: usize, state: &'static str) {
        let pending = self.counts.entry("pending").or_default();
        *pending = pending.saturating_sub(count);
        *self.counts.entry(state).or_default() += count;
    }
}

fn counts(plan: &Plan) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for state in &plan.states {
        let word = match state {
            State::Applied {
                difference: Difference::Content,
                ..
            } => "changed",
            State::Applied { .. } => "applied",
            State::Pending => "pending",
            State::Deferred(_) => "deferred",
            State::OutOfOrder => "out_of_order",
            State::Ignored => "ignored",
        };
        *counts.entry(word).or_default() += 1;
    }
    counts.insert("ahead", plan.ahead.len());
    counts.insert("missing", plan.missing.len());
    counts
}

/// Prints the sum as the last line on standard error, whatever the log's form and filter.
pub fn print(summary: &Summary) {
    let stamped = Summary {
        timestamp: jiff::Timestamp::now().to_string(),
        ..summary.clone()
    };
    // Nobody is left to tell that standard error is closed.
    let _ = std::io::stderr().write_all(format!("{}\n", stamped.line()).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_moves_on() {
        let states = [
            State::Applied {
                row: 0,
                difference: Difference::LineEndings,
            },
            State::Applied {
                row: 1,
                difference: Difference::Content,
            },
            State::Pending,
            State::Pending,
            State::Pending,
            State::Ignored,
        ];
        let plan = Plan {
            states: states.to_vec(),
            ..Plan::default()
        };
        let mut summary = Summary {
            pending: ["3", "4", "5"].map(Into::into).to_vec(),
            seen: Some(Seen {
                counts: counts(&plan),
                newest: Some("2".into()),
            }),
            ..Summary::default()
        };
        summary.done(&[Done {
            version: "3".into(),
            elapsed: Duration::ZERO,
        }]);
        assert!(summary.failed("4"));
        assert!(!summary.failed("3") && !summary.failed("the run"));
        let seen = summary.seen.unwrap();
        assert_eq!(seen.newest.as_deref(), Some("3"));
        let expected = [
            ("ahead", 0),
            ("applied", 2),
            ("changed", 1),
            ("failed", 1),
            ("ignored", 1),
            ("missing", 0),
            ("pending", 1),
        ];
        assert_eq!(seen.counts, BTreeMap::from(expected));
        let known = |word: &&str| crate::metrics::STATUSES.contains(word);
        assert!(seen.counts.keys().all(known));
    }

    #[test]
    fn a_failed_run_tells_what_it_has_done() {
        let mut summary = Summary {
            pending: vec!["1".into(), "2".into()],
            ..Summary::new("migrate", false)
        };
        summary.done(&[Done {
            version: "1".into(),
            elapsed: Duration::from_millis(3),
        }]);
        let refused = Err(Error::Refused {
            what: "what".into(),
            next: "next".into(),
        });
        assert_eq!(
            summary.ended(&refused, Duration::from_millis(5)),
            ExitStatus::Usage
        );
        assert_eq!(
            summary.line(),
            r#"{"level":"INFO","message":"run finished","command":"migrate","exit_code":2,"applied":[{"version":"1","duration_ms":3}],"pending":["2"],"#
                .to_owned()
                + r#""deferred":0,"ahead":0,"duration_ms":5,"error":"what","next":"next"}"#
        );
    }
}
