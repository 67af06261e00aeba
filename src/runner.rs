//! The life of a migrating run: connect, look, lock, look again, apply; and again from the start whenever the lock is
//! elsewhere, the connection is lost or a table is busy.
//!
//! Going back to the start is what keeps this small: the fate of an unknown commit, a history that another pod has
//! moved on, a lock that changed hands are all answered by the next look.

mod again;
mod error;
mod event;
mod facts;
mod fingerprint;
mod gates;
mod look;
mod queue;
mod ready;
mod repair;
mod restore;
mod undo;
mod write;

use std::{cell::RefCell, time::Duration};

pub use error::{Error, Interrupted};
pub use event::Event;
pub use facts::{candidate, facts_for};
pub use fingerprint::note_fingerprint;
use look::{First, first_look, holder};
pub use look::{
    Looked, failures, history_table, look, look_and_go, needs_writing, plan_of, plan_of_rows,
    release, seen_holder, stopped,
};
pub use queue::Queue;
pub use repair::{Decided, decide};
pub use restore::restorable;
pub use undo::{down_files, order as order_down};

use crate::{
    apply::{Failure, Frame, Holding, Limits, Prepared},
    connect::{self, Backoff, Canceller, Session, Wait},
    gate,
    history::{self, Snapshot, journal::Author},
    lock::{Holder, LockKeys, Stall},
    mend::Wish,
    migration::{Migration, RestorePoint, TransactionMode},
    plan::{Plan, Policy},
    source::Source,
    stop::{Cause, Guarded, Stop},
    undo::Target,
    wire,
};

/// Everything that a run is told.
#[derive(Debug, Clone)]
pub struct Params {
    /// Where the database is.
    pub connect: connect::Params,
    /// How long to wait for it.
    pub wait: Wait,
    /// Where the history is, and as whom to work.
    pub history: history::Params,
    /// `SCHEMAGATE_LOCK_KEY`.
    pub lock_key: Option<i64>,
    /// `SCHEMAGATE_LOCK_WAIT_TIMEOUT`.
    pub lock_wait: LockWait,
    /// `SCHEMAGATE_LOCK_TIMEOUT` and `SCHEMAGATE_STATEMENT_TIMEOUT`.
    pub limits: Limits,
    /// `SCHEMAGATE_LOCK_RETRIES`.
    pub lock_retries: u32,
    /// `SCHEMAGATE_TRANSACTION`.
    pub transaction: TransactionMode,
    /// What may run.
    pub policy: Policy,
    /// What holds migrations back.
    pub gate: gate::Settings,
    /// Who writes the journal.
    pub author: Author,
    /// `schemagate/VERSION POD`.
    pub application_name: String,
    /// `SCHEMAGATE_RESTORE_POINT`.
    pub restore_point: RestorePoint,
    /// What to do.
    pub task: Task,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Run what is pending.
    Migrate,
    /// Mark what is pending as applied.
    Baseline,
    /// Undo what was applied later than this; `SCHEMAGATE_TARGET` and phase mean nothing to it.
    Down(Target),
    /// Put the history right; what is pending stays so.
    Repair(Wish),
}

/// `SCHEMAGATE_LOCK_WAIT_TIMEOUT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockWait {
    /// Do not queue.
    Off,
    /// This long without progress of the holder; `None` is without end.
    For(Option<Duration>),
}

/// A migration that this run has applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// Which.
    pub version: String,
    /// From sending, or from the answer to the one before, to the answer.
    pub elapsed: Duration,
}

/// How a run ended well.
#[derive(Debug)]
pub struct Outcome {
    /// What the last look showed; what it lists as pending has been applied since.
    pub plan: Plan,
    /// Whether the lock was waited for.
    pub waited: bool,
}

/// One run.
pub struct Runner<'a> {
    params: &'a mut Params,
    source: &'a Source,
    stop: &'a Stop,
    on_event: &'a mut dyn FnMut(Event<'_>),
    /// What a signal would have to cancel.
    cancellable: &'a RefCell<Option<Canceller>>,
    /// What has been applied so far.
    done: &'a RefCell<Vec<Done>>,
    /// What is or was under way when the connection ended.
    under_way: Option<Migration>,
    /// What was sent behind it.
    ahead: Option<String>,
    /// What the last attempt was to apply.
    attempted: Vec<String>,
    lost: u32,
    retries: u32,
    lost_pause: Backoff,
    repeats: u32,
    /// How many rows the history had when the repeats began.
    repeats_at: usize,
    waited: bool,
    started: bool,
    /// This run has begun to build the database from nothing.
    building: bool,
    /// The places of the migrations whose approvals are journalled.
    noted: Vec<usize>,
    pause: Backoff,
    queue: Queue,
    /// The keys of the lock that was elsewhere at the last look.
    awaited: Option<LockKeys>,
    stall: Stall,
}

/// How one attempt ended.
enum Step {
    Finished(Plan),
    LockElsewhere {
        keys: LockKeys,
        holder: Option<Holder>,
        rows: usize,
    },
    NeedsPrimary,
    /// The history had more rows than these when something was to be applied.
    Again {
        rows: usize,
    },
}

/// Runs to the end, a signal or the deadline. What was applied is told in `done` also when the end is an error.
pub async fn run(
    params: &mut Params,
    source: &Source,
    stop: &Stop,
    done: &RefCell<Vec<Done>>,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<Outcome, Error> {
    let cancellable = RefCell::new(None);
    let mut runner = Runner {
        params,
        source,
        stop,
        on_event,
        cancellable: &cancellable,
        done,
        under_way: None,
        ahead: None,
        attempted: Vec::new(),
        lost: 0,
        retries: 0,
        lost_pause: Backoff::new(Duration::from_secs(1), Duration::from_secs(10)),
        repeats: 0,
        repeats_at: 0,
        waited: false,
        started: false,
        building: false,
        noted: Vec::new(),
        pause: Backoff::new(Duration::from_secs(2), Duration::from_secs(30)),
        queue: Queue::new(),
        awaited: None,
        stall: Stall::default(),
    };
    let cancel = || {
        let canceller: Option<Canceller> = cancellable.borrow().clone();
        canceller.map(|canceller| async move { canceller.cancel().await })
    };
    let (cause, statement) = match stop.guard(runner.life(), cancel).await {
        Guarded::Ended(Err(Error::Apply(Failure::Stopped { cancelled }))) => {
            (None, interrupted(cancelled))
        }
        Guarded::Told(Err(Error::Apply(Failure::Stopped { cancelled })), cause) => {
            (Some(cause), interrupted(cancelled))
        }
        Guarded::Told(Err(Error::Apply(failure)), cause) if failure.is_cancelled() => {
            (Some(cause), Interrupted::Cancelled)
        }
        Guarded::Ended(outcome) | Guarded::Told(outcome, _) => return outcome,
        Guarded::Dropped { cause, unconfirmed } => (
            Some(cause),
            if unconfirmed {
                Interrupted::Unconfirmed
            } else {
                Interrupted::Nothing
            },
        ),
    };
    Err(Error::Stopped {
        cause: cause.or_else(|| stop.cause()).unwrap_or(Cause::Deadline),
        statement,
    })
}

/// What became of the statement where the run has noticed by itself that it has to stop.
fn interrupted(cancelled: bool) -> Interrupted {
    if cancelled {
        Interrupted::Cancelled
    } else {
        Interrupted::Nothing
    }
}

// === impl Runner ===

impl Runner<'_> {
    async fn life(&mut self) -> Result<Outcome, Error> {
        loop {
            match self.attempt().await {
                Ok(Step::Finished(plan)) => {
                    return Ok(Outcome {
                        plan,
                        waited: self.waited,
                    });
                }
                Ok(Step::LockElsewhere { keys, holder, rows }) => {
                    self.awaited = Some(keys);
                    self.wait_for_lock(holder, rows).await?;
                }
                Ok(Step::NeedsPrimary) => self
                    .params
                    .connect
                    .require_primary()
                    .map_err(Error::NoPrimary)?,
                Ok(Step::Again { rows }) => self.again(rows).await?,
                Err(
                    Error::Apply(Failure::Connection(error))
                    | Error::History(history::Error::Database(error)),
                ) if connect::classify(&error).may_pass() => {
                    self.lost(&error).await?;
                }
                Err(Error::Apply(Failure::Contention(failure))) => self.retry(failure).await?,
                Err(error) => return Err(error),
            }
        }
    }

    /// From connecting to closing the connection.
    async fn attempt(&mut self) -> Result<Step, Error> {
        self.queue.looks();
        let awaited = self.awaited.take();
        let (session, looked) = self.connect(awaited).await?;
        let outcome = match looked {
            First::Current(plan) => {
                (self.on_event)(Event::Planned(&plan));
                Ok(Step::Finished(plan))
            }
            First::Elsewhere {
                plan,
                keys,
                holder,
                rows,
            } => {
                (self.on_event)(Event::Planned(&plan));
                let holder = Some(holder);
                Ok(Step::LockElsewhere { keys, holder, rows })
            }
            First::Looked(Ok(snapshot)) => self.work(&session, *snapshot).await,
            First::Looked(Err(error)) => Err(Error::History(error)),
        };
        if let Ok(Step::LockElsewhere { holder, .. }) = &outcome {
            self.end_stalled(&session, holder.as_ref()).await;
        }
        if !matches!(outcome, Err(Error::Apply(Failure::Connection(_)))) {
            session.close().await;
        }
        outcome
    }

    async fn connect(&mut self, awaited: Option<LockKeys>) -> Result<(Session, First), Error> {
        // After a lost connection the fate of what was under way is to be told, and what was applied is undone or put right
        // only after the whole look.
        let whole = matches!(self.params.task, Task::Down(_) | Task::Repair(_));
        let glance = Some(self.source).filter(|_| self.under_way.is_none() && !whole);
        let wait = &self.params.wait;
        let connected = first_look(self.params, wait, glance, awaited, self.on_event).await;
        connected.map_err(|error| match &self.under_way {
            Some(migration) => Error::Lost(format!(
                "{} ({}) was under way: {error}",
                migration.version, migration.path
            )),
            None => Error::Connect(error),
        })
    }

    async fn work(&mut self, session: &Session, snapshot: Snapshot) -> Result<Step, Error> {
        if let Task::Repair(wish) = self.params.task.clone() {
            return self.repair(session, snapshot, &wish).await;
        }
        let plan = self.plan(&snapshot)?;
        if !needs_writing(&plan, &snapshot, self.source) {
            self.note_fate(&snapshot, &plan);
            self.note_end_after_loss(session, &snapshot).await;
            return Ok(Step::Finished(plan));
        }
        if snapshot.in_recovery {
            return Ok(Step::NeedsPrimary);
        }
        let frame = self.stance(session, &snapshot);
        let (keys, holding) = (frame.keys, frame.holding);
        let (snapshot, plan) = if holding == Holding::Session {
            if let Some(elsewhere) = self.take_lock(session, &frame, snapshot.rows.len()).await? {
                return Ok(elsewhere);
            }
            // The first look is older than the lock.
            let exists = snapshot.shape.is_some();
            let snapshot = self.look(session, exists).await?;
            let plan = self.plan(&snapshot)?;
            (snapshot, plan)
        } else {
            (snapshot, plan)
        };
        // Without the lock an absent row means nothing yet: its transaction may still be running.
        if holding == Holding::Session {
            self.note_fate(&snapshot, &plan);
        }
        if !needs_writing(&plan, &snapshot, self.source) {
            self.note_fate(&snapshot, &plan);
            self.note_end_after_loss(session, &snapshot).await;
            return Ok(Step::Finished(plan));
        }
        *self.cancellable.borrow_mut() = Some(session.canceller());
        let versions = plan.run.iter();
        self.attempted = versions
            .map(|&index| self.source.migrations[index].version.clone())
            .collect();
        self.queue.works();
        let outcome = self.write(session, &snapshot, &plan, frame).await;
        *self.cancellable.borrow_mut() = None;
        let outcome = outcome.map(|()| plan);
        self.settled(session, &keys, snapshot.rows.len(), outcome)
            .await
    }

    /// What follows on work behind the lock, of a history that had so many rows.
    async fn settled(
        &self,
        session: &Session,
        keys: &LockKeys,
        rows: usize,
        outcome: Result<Plan, Error>,
    ) -> Result<Step, Error> {
        match outcome {
            Ok(plan) => Ok(Step::Finished(plan)),
            Err(Error::Apply(Failure::LockHeld)) => {
                let holder = holder(session, keys).await.map_err(of_own)?;
                let keys = *keys;
                Ok(Step::LockElsewhere { keys, holder, rows })
            }
            Err(Error::Apply(Failure::AlreadyApplied)) => Ok(Step::Again { rows }),
            Err(error) => Err(error),
        }
    }

    async fn look(&self, session: &Session, exists: bool) -> Result<Snapshot, Error> {
        Snapshot::read(session.client(), &self.params.history, exists)
            .await
            .map_err(Error::History)
    }

    fn plan(&mut self, snapshot: &Snapshot) -> Result<Plan, Error> {
        let mut plan = plan_of(self.source, snapshot, &self.params.policy)?;
        if let Task::Down(target) = self.params.task {
            plan.run = undo::order(self.source, snapshot, &plan, target)?;
        }
        (self.on_event)(Event::Planned(&plan));
        if plan.conflicts.is_empty() {
            Ok(plan)
        } else {
            Err(Error::Conflicts(plan.conflicts))
        }
    }

    /// How this session can hold the lock, and whether it goes to the server itself.
    fn stance(&self, session: &Session, snapshot: &Snapshot) -> Frame {
        let direct = session.wire_pid() == Some(snapshot.pid);
        Frame {
            keys: lock_keys(self.params, &snapshot.database),
            // Without `idle_session_timeout` nothing would end a paused client that holds a session-level lock.
            holding: if direct && session.server_version() >= 140_000 {
                Holding::Session
            } else {
                Holding::Transaction
            },
            server_version: session.server_version(),
            checks_connection: session.server_version() >= 140_000 && snapshot.on_linux,
            role: self.params.history.role.clone(),
            application_name: self.params.application_name.clone(),
            direct,
            usual_defaults: snapshot.usual_defaults,
            remote: snapshot.remote,
            prepared: Prepared::default(),
        }
    }

    /// Tries the session-level lock and tells who holds it otherwise.
    async fn take_lock(
        &mut self,
        session: &Session,
        frame: &Frame,
        rows: usize,
    ) -> Result<Option<Step>, Error> {
        let settings = frame.session_settings().sql;
        let main = frame.keys.main;
        let sql = format!("SELECT pg_catalog.pg_try_advisory_lock({main});{settings}");
        let mut reply = wire::query(session.client(), &sql).await;
        let won = reply.scalar(0).map_err(of_own)?;
        reply.ok().map_err(of_own)?;
        if won.as_deref() == Some("t") {
            (self.on_event)(Event::LockTaken { key: main });
            return Ok(None);
        }
        let keys = frame.keys;
        let holder = holder(session, &keys).await.map_err(of_own)?;
        Ok(Some(Step::LockElsewhere { keys, holder, rows }))
    }
}

/// The keys of the lock that a run takes.
pub fn lock_keys(params: &Params, database: &str) -> LockKeys {
    params.lock_key.map_or_else(
        || LockKeys::derive(database, &params.history.table),
        LockKeys::with_main,
    )
}

fn of_own(error: tokio_postgres::Error) -> Error {
    Error::Apply(Failure::of_own(error))
}
