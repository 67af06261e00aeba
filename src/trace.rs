//! Running what is pending in one transaction that is always rolled back, to see what it really does.
//!
//! Nothing may ever be committed. A statement goes to the server only after the server itself has parsed it as exactly
//! one statement (`Parse` of the extended protocol refuses two), and only when its first word is none that ends a
//! transaction; a procedure or block that commits is refused by the server inside a transaction block. After every
//! statement the transaction's own time stamp is asked for: another one would mean that it has ended, and is told.
//!
//! Locks are held to the end of the transaction, so its time is limited three times: by our own clock, which cancels;
//! by the server's timeouts, set again before each statement, for a client that stands still; and by the server's look
//! at the connection, for a client that is gone.

mod begin;
mod error;
mod look;
mod rules;
mod statement;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    apply::{Failure, Frame, Job, Limits, Mode, SqlFailure, leaks::Leaks},
    connect::Session,
    history,
    migration::TransactionMode,
    source::Source,
    sql::risk::Lock,
    stop::{Cause, Guarded, Stop},
};

pub use error::Error;
use look::Looker;

/// A lock is waited for no longer than this: nobody is to queue behind a trace.
const LOCK_TIMEOUT: Duration = Duration::from_secs(1);
/// What the way to the server and back may take of the limit.
const MARGIN: Duration = Duration::from_millis(100);
/// How many statements run in a savepoint of their own. More than 64 subtransactions slow down everybody else's
/// snapshots (`PGPROC_MAX_CACHED_SUBXIDS`).
const SAVEPOINTS: usize = 50;

/// What a trace is told.
#[derive(Debug)]
pub struct Params<'a> {
    /// The files.
    pub source: &'a Source,
    /// The history's table, and as whom to work.
    pub history: &'a history::Params,
    /// How many rows the history had at the look; `None` where there was no table.
    pub rows: Option<usize>,
    /// The lock's keys and what is known of the session.
    pub frame: &'a Frame,
    /// `SCHEMAGATE_LOCK_TIMEOUT` and `SCHEMAGATE_STATEMENT_TIMEOUT`; only shorter ones than the trace's own count.
    pub limits: Limits,
    /// `SCHEMAGATE_TRANSACTION`.
    pub transaction: TransactionMode,
    /// `--trace-limit`: how long locks may be held in all.
    pub limit: Duration,
    /// `--force`: also beside other clients.
    pub force: bool,
}

/// A migration to be traced.
#[derive(Debug)]
pub struct Target<'a> {
    /// Which.
    pub job: &'a mut Job,
    /// The statements that are observed one by one; the others together.
    pub listed: BTreeSet<usize>,
}

/// What was seen.
#[derive(Debug, Default)]
pub struct Traced {
    /// One for each target that was begun, in order.
    pub migrations: Vec<TracedMigration>,
    /// How long locks were held.
    pub held: Duration,
    /// Why it ended before its end.
    pub end: End,
}

/// How a trace ended.
#[derive(Debug, Default)]
pub enum End {
    /// Everything was looked at.
    #[default]
    Whole,
    /// A statement failed, and what stands behind it was not run.
    Failed(Box<SqlFailure>),
    /// The limit passed, and what stands behind was not run.
    Limit,
}

/// What was seen of a migration.
#[derive(Debug, Default)]
pub struct TracedMigration {
    /// The statements that were observed one by one.
    pub statements: BTreeMap<usize, Observed>,
    /// All others together.
    pub rest: Observed,
    /// How many those are.
    pub rest_count: usize,
    /// What was left out.
    pub not_run: Vec<NotRun>,
}

/// What a statement did.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Observed {
    /// From sending to the answer.
    pub elapsed: Duration,
    /// The rows that it touched, where it is a statement that touches rows.
    pub rows: Option<u64>,
    /// The locks that it took on relations which were there before the trace, and that were not held already.
    pub locks: Vec<Taken>,
    /// The relations that have another file now.
    pub rewritten: Vec<String>,
    /// Where, SQLSTATE and message.
    pub error: Option<String>,
    /// Why it was not run.
    pub skipped: Option<String>,
}

/// A lock on a relation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Taken {
    /// `schema.name`.
    pub relation: String,
    /// The mode.
    pub lock: Lock,
}

/// A statement that a trace left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotRun {
    /// Its line, from 1.
    pub line: u32,
    /// Its text for people.
    pub excerpt: String,
    /// Why.
    pub why: String,
}

/// Runs the targets in order, and rolls back. What was seen is told also when it ended early; an error means that it
/// did not begin, was stopped, or cannot be relied on.
pub async fn run(
    session: &Session,
    params: &Params<'_>,
    targets: &mut [Target<'_>],
    stop: &Stop,
) -> Result<Traced, Error> {
    // What takes time and needs no lock comes before; the small ones behind it are in memory already.
    if let Some(first) = targets.first_mut() {
        first.job.load(params.source).map_err(own)?;
    }
    let canceller = session.canceller();
    let cancel = || {
        let canceller = canceller.clone();
        Some(async move { canceller.cancel().await })
    };
    let limited = stop.again(Some(params.limit));
    let mut traced = Traced::default();
    let mut work = Tracer {
        session,
        params,
        stop: &limited,
        traced: &mut traced,
        began: Instant::now(),
        looker: Looker::default(),
        savepoints: 0,
        new_enum_value: false,
        left_out: false,
        leaks: Leaks::default(),
        stamp: None,
        rest_unseen: false,
    };
    let work = limited.guard(work.life(targets), cancel);
    let inner = match stop.guard(work, cancel).await {
        Guarded::Ended(inner) => inner,
        Guarded::Told(_, cause) => return Err(Error::Stopped(cause, false)),
        Guarded::Dropped { cause, .. } => return Err(Error::Stopped(cause, true)),
    };
    match inner {
        Guarded::Ended(Ok(())) | Guarded::Told(Ok(()), Cause::Deadline) => Ok(traced),
        Guarded::Told(Err(error @ Error::Ended(_)), _) => Err(error),
        Guarded::Ended(Err(Error::Limit)) | Guarded::Told(Err(_), Cause::Deadline) => {
            Ok(cut_off(traced, params))
        }
        Guarded::Dropped { .. } => Ok(cut_off(traced, params)),
        Guarded::Ended(Err(error)) => Err(error),
        Guarded::Told(_, cause @ Cause::Signal(_)) => Err(Error::Stopped(cause, false)),
    }
}

/// The session was ended instead of the transaction.
fn cut_off(mut traced: Traced, params: &Params<'_>) -> Traced {
    if traced.held.is_zero() {
        traced.held = params.limit;
    }
    traced.end = End::Limit;
    traced
}

struct Tracer<'a> {
    session: &'a Session,
    params: &'a Params<'a>,
    /// Signals and the trace's own limit.
    stop: &'a Stop,
    traced: &'a mut Traced,
    began: Instant,
    looker: Looker,
    savepoints: usize,
    /// A file before this one has added a value to an enum.
    new_enum_value: bool,
    /// A statement was left out that a later one may need.
    left_out: bool,
    /// What the files may leave on a pooled connection.
    leaks: Leaks,
    /// The transaction's time stamp.
    stamp: Option<String>,
    /// Statements have run since the last look.
    rest_unseen: bool,
}

/// Whether to go on.
enum Next {
    On,
    Stop(End),
}

// === impl Tracer ===

impl Tracer<'_> {
    async fn life(&mut self, targets: &mut [Target<'_>]) -> Result<(), Error> {
        let outcome = self.begin().await;
        let outcome = match outcome {
            Ok(()) => self.targets(targets).await,
            Err(error) => Err(error),
        };
        let ended = self.roll_back().await;
        self.traced.held = self.began.elapsed();
        self.traced.end = outcome?;
        ended
    }

    async fn targets(&mut self, targets: &mut [Target<'_>]) -> Result<End, Error> {
        let last = targets.len().saturating_sub(1);
        for (index, target) in targets.iter_mut().enumerate() {
            if index > 0 {
                self.clean().await?;
            }
            let is_last = index == last;
            match self.target(target, is_last).await? {
                Next::On => {}
                Next::Stop(end) => return Ok(end),
            }
        }
        Ok(End::Whole)
    }

    async fn target(&mut self, target: &mut Target<'_>, is_last: bool) -> Result<Next, Error> {
        let source = self.params.source;
        target.job.load(source).map_err(own)?;
        let seen = self.file(target.job, &target.listed, is_last).await;
        target.job.unload();
        seen
    }

    async fn file(
        &mut self,
        job: &Job,
        listed: &BTreeSet<usize>,
        is_last: bool,
    ) -> Result<Next, Error> {
        let source = self.params.source;
        let script = job.script().map_err(own)?;
        if !self.params.frame.direct {
            self.leaks = self.leaks.or(Leaks::of(script.text()));
        }
        self.traced.migrations.push(TracedMigration::default());
        let file = statement::File {
            migration: &source.migrations[job.migration],
            script,
            mode: &job.mode,
        };
        for statement in script.statements() {
            let listed = listed.contains(&statement.index);
            match self.statement(&file, &statement, listed).await? {
                Next::On => {}
                stop @ Next::Stop(_) => return Ok(stop),
            }
        }
        self.end_of_file(&file, is_last).await
    }

    /// What is left of the limit.
    fn left(&self) -> Duration {
        self.params.limit.saturating_sub(self.began.elapsed())
    }

    /// How long a statement may take now.
    fn room(&self) -> Duration {
        self.left().saturating_sub(self.reserve() + MARGIN)
    }

    /// So much of the limit is left for a client that stands still while the server waits for it.
    fn reserve(&self) -> Duration {
        let limit = self.params.limit;
        let least = Duration::from_secs(1).min(limit / 2);
        (limit / 4).clamp(least, Duration::from_secs(5))
    }

    fn is_over(&self) -> bool {
        self.stop.cause().is_some() || self.room().is_zero()
    }

    /// What was seen of the migration under way.
    fn current(&mut self) -> &mut TracedMigration {
        if self.traced.migrations.is_empty() {
            self.traced.migrations.push(TracedMigration::default());
        }
        let last = self.traced.migrations.len() - 1;
        &mut self.traced.migrations[last]
    }
}

fn own(failure: Failure) -> Error {
    Error::Own(Box::new(failure))
}

/// Whether a statement of a file in pieces is a piece of its own.
fn is_alone(mode: &Mode, index: usize) -> bool {
    match mode {
        Mode::Transaction => false,
        Mode::Pieces(units) => units
            .list
            .iter()
            .any(|unit| unit.first_statement == index && unit.statements == 1),
    }
}

// === impl Traced ===

impl Traced {
    /// How many statements ran.
    pub fn ran(&self) -> usize {
        let one_by_one = |migration: &TracedMigration| {
            let observed = migration.statements.values();
            observed
                .filter(|observed| observed.skipped.is_none())
                .count()
        };
        let migrations = self.migrations.iter();
        migrations
            .map(|migration| one_by_one(migration) + migration.rest_count)
            .sum()
    }
}
