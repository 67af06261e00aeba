//! Migrating: a run like that of `migrate`, whose events are shown while it goes on.

use std::{cell::RefCell, time::Duration};

use tokio::time::{Instant, interval};
use tracing::{info, warn};

use super::{
    Need, Next, Watcher,
    desk::{Desk, PAUSE, told},
    eyes::of_connection,
};
use crate::{
    apply::Failure,
    connect::{self, Backoff, Wait},
    error::Error,
    exit::ExitStatus,
    metrics::RunEnd,
    migration::Migration,
    progress::{Cause, Observation, State, Told},
    runner::{self, Event},
    source::Source,
    stop,
};

/// How long a run waits for the database. It has answered a moment ago, and when the time is over the next look finds
/// out why, and another run begins: so the sidecar waits without end, and never on a connection that hangs.
const WAIT: Wait = Wait {
    enabled: true,
    timeout: Some(Duration::from_mins(1)),
    auth_grace: Duration::from_secs(10),
};

/// The pauses between runs that end for a passing reason: from this, doubling, …
const FIRST: Duration = Duration::from_secs(2);
/// … to this. Each of them is journalled.
const LONGEST: Duration = Duration::from_mins(1);

/// When the next run may begin.
pub(super) struct Runs {
    pause: Backoff,
    not_before: Instant,
    /// The way past a gate that was last logged.
    held: Option<String>,
}

// === impl Runs ===

impl Runs {
    pub(super) fn new() -> Self {
        Self {
            pause: Backoff::new(FIRST, LONGEST),
            not_before: Instant::now(),
            held: None,
        }
    }
}

// === impl Watcher ===

impl Watcher<'_> {
    /// When the next run is to begin, if one is wanted.
    pub(super) fn next_run(&self) -> Option<Instant> {
        self.params.migrate?;
        self.desk.wants_run().then_some(self.runs.not_before)
    }

    /// A run, if one is wanted and allowed.
    pub(super) async fn migrate(&mut self) -> Next {
        let (Some(migrate), Need::Folder { source, params }) = (self.params.migrate, self.need)
        else {
            return Next::Pause;
        };
        if self.next_run().is_none_or(|at| Instant::now() < at) {
            return Next::Pause;
        }
        self.eyes.close().await;
        let mut params = (**params).clone();
        params.wait = WAIT;
        params.author.run = uuid::Uuid::new_v4();
        let stop = self.stop.again(migrate.deadline);
        let done = RefCell::new(Vec::new());
        let desk = RefCell::new(&mut self.desk);
        let tell = self.tell;
        let mut on_event = |event: Event<'_>| {
            tell(&event);
            show(&mut desk.borrow_mut(), &event);
        };
        let began = Instant::now();
        let running = runner::run(&mut params, source, &stop, &done, &mut on_event);
        let (outcome, was_migrating) = attended(running, self.stop, &desk).await;
        if !done.borrow().is_empty() {
            self.runs.pause.reset();
            self.pace.reset();
        }
        self.metrics.run_ended(run_end(&outcome), began.elapsed());
        if self.stop.cause().is_some() {
            return Next::End(match outcome {
                Err(error) if was_migrating => Err(Error::Run(error)),
                _ => Ok(()),
            });
        }
        match outcome {
            Ok(_) => {
                info!(applied = done.borrow().len(), "the run is done");
                self.desk.observe(Observation::Done);
                self.runs.held = None;
                self.runs.pause.reset();
                // A run that ends well and leaves something pending must not repeat without a break.
                self.runs.not_before = Instant::now() + self.runs.pause.next_delay();
                Next::Look
            }
            Err(error) => self.failed(source, error, migrate.exit_on_failure),
        }
    }

    fn failed(&mut self, source: &Source, error: runner::Error, exit: bool) -> Next {
        let error = Error::Run(error);
        let cause = cause(&source.migrations, &error);
        let what = told(&error);
        if cause == Cause::Held {
            return self.held(what);
        }
        self.runs.held = None;
        warn!(
            exit_code = error.exit_status().code(),
            error = what.what,
            next_step = what.next,
            place = error.block(),
            "the run failed"
        );
        if let Some(detail) = error.detail() {
            info!(detail, "detail of the server");
        }
        let is_over = cause != Cause::Transient;
        self.runs.not_before = Instant::now() + self.runs.pause.next_delay();
        self.desk.observe(Observation::Failed(cause, what));
        if exit && is_over {
            return Next::End(Err(error));
        }
        Next::Pause
    }

    /// A gate holds the next migration: it is asked again at the pace of the looks. The log has a line for each way out, for reasons have numbers that
    /// change all the time.
    fn held(&mut self, what: Told) -> Next {
        if self.runs.held.as_ref() != Some(&what.next) {
            warn!(held = what.what, next_step = what.next, "held by a gate");
            self.runs.held = Some(what.next.clone());
        }
        self.runs.not_before = Instant::now() + self.pace.next(false);
        self.desk.observe(Observation::Failed(Cause::Held, what));
        Next::Pause
    }
}

/// Waits for the end of a run, publishes what it shows, and says at once when the process is told to end. Whether it
/// was migrating then is told too.
async fn attended<T>(
    running: impl Future<Output = T>,
    stop: &stop::Stop,
    desk: &RefCell<&mut Desk<'_>>,
) -> (T, bool) {
    let mut running = std::pin::pin!(running);
    let mut tick = interval(PAUSE);
    let mut told = None;
    loop {
        tokio::select! {
            biased;
            _ = stop.wait(), if told.is_none() => {
                let mut desk = desk.borrow_mut();
                told = Some(desk.state() == State::Migrating);
                desk.drain();
            }
            out = &mut running => return (out, told.unwrap_or_default()),
            _ = tick.tick() => desk.borrow_mut().catch_up(),
        }
    }
}

fn show(desk: &mut Desk<'_>, event: &Event<'_>) {
    match event {
        Event::Planned(plan) => desk.observe(Observation::Planned(plan)),
        Event::Connect(connect::Event::Failed { error, .. }) => {
            let told = of_connection(error);
            desk.cannot_ask(&told);
            desk.observe(Observation::Unreachable(told));
        }
        Event::Connect(connect::Event::Connected { .. }) => {
            desk.answers();
            desk.observe(Observation::Answered);
        }
        Event::LockElsewhere { holder, .. } => {
            let holder = holder.map(ToString::to_string);
            desk.observe(Observation::LockElsewhere(holder));
        }
        Event::RunStarted { .. } => desk.observe(Observation::Writing),
        Event::Starting(migration) => desk.observe(Observation::Starting {
            version: &migration.version,
            path: &migration.path,
        }),
        Event::Applied { migration, elapsed } => desk.observe(Observation::Applied {
            version: &migration.version,
            elapsed: *elapsed,
        }),
        Event::Retry { failure, .. } => desk.observe(Observation::Hindered(failure.hindrance())),
        Event::Lost { error, .. } => {
            desk.observe(Observation::Unreachable(Told {
                what: format!("the connection was lost: {error}"),
                next: "look at the server and its log".to_owned(),
            }));
        }
        // Who has the lock may yet be held by a gate; a sidecar undoes and repairs nothing.
        Event::LockTaken { .. }
        | Event::Reverted { .. }
        | Event::Watching { .. }
        | Event::Repaired(_)
        | Event::Warning(_)
        | Event::Note(_)
        | Event::Aside(_) => {}
    }
}

/// What the end of a run means for the next one.
fn cause(migrations: &[Migration], error: &Error) -> Cause {
    use runner::Error as E;
    match error {
        // A mistake in a file that the settings name may be corrected there: it is read again at every attempt.
        Error::Run(E::Connect(_)) => Cause::Transient,
        // Its tables may be dropped, which no look at our own history shows.
        Error::Run(E::Foreign(_)) => Cause::Surroundings,
        Error::Run(E::Apply(Failure::Sql(sql))) if error.exit_status() == ExitStatus::Sql => {
            if migrations
                .iter()
                .any(|migration| migration.version == sql.version)
            {
                Cause::Migration(sql.version.clone())
            } else {
                // Our own statements: no file is to blame.
                Cause::Transient
            }
        }
        _ => match error.exit_status() {
            ExitStatus::History => Cause::History(State::Mismatch),
            ExitStatus::Held => Cause::Held,
            ExitStatus::Usage | ExitStatus::Bug => Cause::History(State::Failed),
            _ => Cause::Transient,
        },
    }
}

fn run_end(outcome: &Result<runner::Outcome, runner::Error>) -> RunEnd {
    match outcome {
        Ok(_) => RunEnd::Well,
        Err(runner::Error::Apply(Failure::Sql(_)) | runner::Error::Retries(_)) => {
            RunEnd::MigrationFailed
        }
        Err(_) => RunEnd::Otherwise,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{apply::SqlFailure, migration::Directives, runner::Interrupted};

    fn migration() -> Migration {
        Migration {
            version: "0002".to_owned(),
            name: "b".to_owned(),
            path: "0002_b.sql".to_owned(),
            checksum: "bb".to_owned(),
            checksum_other_endings: [String::new(), String::new()],
            created_at: 0,
            size: 0,
            directives: Directives::default(),
            down: None,
        }
    }

    #[test]
    fn what_an_end_means_for_the_next_run() {
        use runner::Error as E;
        let check = |error: runner::Error, expected: Cause| {
            assert_eq!(cause(&[migration()], &Error::Run(error)), expected);
        };
        let sql = |version: &str, code: &str| {
            E::Apply(Failure::Sql(Box::new(SqlFailure::at(
                version, "x.sql", code,
            ))))
        };
        check(sql("0002", "42601"), Cause::Migration("0002".to_owned()));
        check(sql("0002", "42501"), Cause::Transient);
        check(sql("the run", "42601"), Cause::Transient);
        let waited = E::LockWait {
            holder: None,
            stuck_for: Duration::ZERO,
            off: true,
        };
        check(waited, Cause::Transient);
        check(E::Lost("x".to_owned()), Cause::Transient);
        let stopped = E::Stopped {
            cause: stop::Cause::Deadline,
            statement: Interrupted::Cancelled,
        };
        check(stopped, Cause::Transient);
        check(
            E::Connect(connect::Error::Settings(Vec::new())),
            Cause::Transient,
        );
        check(E::Conflicts(Vec::new()), Cause::History(State::Mismatch));
        let dirty = Failure::Dirty {
            version: "0002".to_owned(),
            what: "x".to_owned(),
            undoing: false,
        };
        check(E::Apply(dirty), Cause::History(State::Mismatch));
        let unsupported = Failure::Unsupported {
            what: "x".to_owned(),
            next: "y".to_owned(),
        };
        check(E::Apply(unsupported), Cause::History(State::Failed));
        check(E::Inconsistent, Cause::History(State::Failed));
        let held = crate::gate::Held {
            version: "0002".to_owned(),
            path: "0002_b.sql".to_owned(),
            statement: None,
            reason: "x".to_owned(),
            let_through: "y".to_owned(),
        };
        check(E::Held(Box::new(held)), Cause::Held);
    }
}
