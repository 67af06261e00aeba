//! `plan --trace`: the same, run in a transaction that is rolled back.

use std::time::Duration;

use super::Context;
use crate::{
    apply::{Failure, Frame, Holding, Job, Prepared},
    cli::TraceArgs,
    connect::{self, Session},
    duration,
    error::Error,
    exit::ExitStatus,
    history::Snapshot,
    report::{
        log::millis,
        plan::{NOT_UNDONE, Report, Step, TakenLine, TraceLine, TraceReport},
    },
    runner::{self, Interrupted, Params},
    source::Source,
    trace::{self, End, Observed, Target, Traced, TracedMigration},
};

/// How many statements that were left out are told in all.
const NOT_RUN: usize = 200;

/// What a trace needs.
pub(super) struct Tracing<'a, 'c> {
    pub(super) context: &'a Context<'c>,
    pub(super) source: &'a Source,
    pub(super) params: &'a Params,
    pub(super) snapshot: &'a Snapshot,
    pub(super) session: &'a Session,
    pub(super) args: TraceArgs,
}

// === impl Tracing ===

impl Tracing<'_, '_> {
    /// Runs what is pending and writes into the report what was seen. The error at which it ended is the command's end,
    /// once the report has been shown.
    pub(super) async fn run(
        &self,
        jobs: &mut [Job],
        report: &mut Report,
    ) -> Result<Option<Error>, Error> {
        let frame = self.frame();
        let params = trace::Params {
            source: self.source,
            history: &self.params.history,
            rows: self.snapshot.shape.map(|_| self.snapshot.rows.len()),
            frame: &frame,
            limits: self.params.limits,
            transaction: self.params.transaction,
            limit: self.args.limit,
            force: self.args.force,
        };
        let steps = jobs.iter_mut().zip(&report.migrations);
        let mut targets: Vec<Target<'_>> = steps
            .map(|(job, step)| Target {
                job,
                listed: step.statements.iter().map(|line| line.index).collect(),
            })
            .collect();
        let tracing = trace::run(self.session, &params, &mut targets, &self.context.stop);
        let traced = tracing.await.map_err(|error| self.error(error))?;
        Ok(self.write(traced, report))
    }

    fn frame(&self) -> Frame {
        let session = self.session;
        let version = session.server_version();
        Frame {
            keys: runner::lock_keys(self.params, &self.snapshot.database),
            holding: Holding::Transaction,
            server_version: version,
            checks_connection: version >= 140_000 && self.snapshot.on_linux,
            role: self.params.history.role.clone(),
            application_name: self.params.application_name.clone(),
            direct: session.wire_pid() == Some(self.snapshot.pid),
            usual_defaults: self.snapshot.usual_defaults,
            remote: self.snapshot.remote,
            prepared: Prepared::default(),
        }
    }

    fn write(&self, traced: Traced, report: &mut Report) -> Option<Error> {
        let mut told = TraceReport {
            end: "whole",
            held_ms: millis(traced.held),
            ran: traced.ran(),
            not_undone: NOT_UNDONE.to_vec(),
            ..TraceReport::default()
        };
        for (step, seen) in report.migrations.iter_mut().zip(traced.migrations) {
            tell(step, seen, &mut told);
        }
        let end = match traced.end {
            End::Whole => None,
            End::Limit => {
                told.end = "limit";
                Some(self.too_long())
            }
            End::Failed(failure) => {
                told.end = "failed";
                told.error = Some(failure.headline());
                let failure = if matches!(failure.code.as_str(), "55P03" | "40P01" | "40001") {
                    Failure::Contention(failure)
                } else {
                    Failure::Sql(failure)
                };
                Some(runner::Error::Apply(failure).into())
            }
        };
        report.trace = Some(told);
        end
    }

    fn too_long(&self) -> Error {
        Error::Trace {
            status: ExitStatus::Deadline,
            what: format!(
                "the trace reached its limit of {} and was rolled back",
                duration::print(self.args.limit)
            ),
            next: "what stands behind was not looked at; --trace-limit gives it longer, on a database where nobody \
                   waits for its locks"
                .to_owned(),
        }
    }

    fn error(&self, error: trace::Error) -> Error {
        use trace::Error as E;
        let refused = |status, what, next: &str| Error::Trace {
            status,
            what,
            next: next.to_owned(),
        };
        match error {
            E::Others(others) => refused(
                ExitStatus::Usage,
                format!(
                    "other clients are connected to database {}, and would wait for the locks of a trace: {}",
                    self.snapshot.database,
                    list(&others)
                ),
                "point it at a copy of the database; or say --force, which may hold them up for as long as --trace-limit",
            ),
            E::LockHeld(holder) => refused(
                ExitStatus::Locked,
                format!(
                    "a run is under way, and a trace keeps out of its way: the lock is held by {}",
                    holder.map_or_else(
                        || "a session that cannot be seen".to_owned(),
                        |holder| holder.to_string()
                    )
                ),
                "start again when it has ended",
            ),
            E::Moved => refused(
                ExitStatus::Locked,
                "the history has changed since it was looked at".to_owned(),
                "another run was faster; start again",
            ),
            E::Ended(place) => refused(
                ExitStatus::Bug,
                format!(
                    "the transaction of the trace ended by itself, as was noticed at {place}: what ran before may be \
                     committed"
                ),
                "look at the database, and please report this with the file",
            ),
            E::Own(failure) => runner::Error::Apply(*failure).into(),
            E::Lost(error) => refused(
                ExitStatus::Deadline,
                format!(
                    "the connection was lost during the trace: {}",
                    connect::describe(&error)
                ),
                "the server has rolled back; start again",
            ),
            E::Limit => self.too_long(),
            E::Stopped(cause, unconfirmed) => runner::Error::Stopped {
                cause,
                statement: if unconfirmed {
                    Interrupted::Unconfirmed
                } else {
                    Interrupted::Cancelled
                },
            }
            .into(),
        }
    }
}

fn tell(step: &mut Step, seen: TracedMigration, told: &mut TraceReport) {
    for not_run in seen.not_run {
        if told.not_run.len() < NOT_RUN {
            told.not_run.push(format!(
                "{}:{}: {}: {}",
                step.path, not_run.line, not_run.excerpt, not_run.why
            ));
        }
    }
    for line in &mut step.statements {
        line.trace = seen.statements.get(&line.index).map(trace_line);
    }
    if seen.rest_count > 0 || seen.rest.error.is_some() {
        step.rest = Some(trace_line(&seen.rest));
    }
}

fn trace_line(observed: &Observed) -> TraceLine {
    let locks = observed.locks.iter().map(|taken| TakenLine {
        relation: taken.relation.clone(),
        mode: taken.lock,
    });
    TraceLine {
        duration_ms: milliseconds(observed.elapsed),
        rows: observed.rows,
        locks: locks.collect(),
        rewritten: observed.rewritten.clone(),
        error: observed.error.clone(),
        skipped: observed.skipped.clone(),
    }
}

/// With three digits behind the point, which is what a clock here is good for.
fn milliseconds(elapsed: Duration) -> f64 {
    (elapsed.as_secs_f64() * 1e6).round() / 1e3
}

fn list(others: &[(String, u64)]) -> String {
    let others = others.iter().map(|(name, count)| match count {
        1 => name.clone(),
        count => format!("{name} ({count})"),
    });
    others.collect::<Vec<_>>().join(", ")
}
