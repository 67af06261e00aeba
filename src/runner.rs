//! The life of a migrating run: connect, look, lock, look again, apply; and again from the start whenever the lock is
//! elsewhere, the connection is lost or a table is busy.
//!
//! Going back to the start is what keeps this small: the fate of an unknown commit, a history that another pod has
//! moved on, a lock that changed hands are all answered by the next look.

use std::{
    cell::RefCell,
    future::Future,
    time::{Duration, Instant},
};

use crate::{
    apply::{self, Applier, Failure, Frame, Holding, Job, Limits, SqlFailure},
    bootstrap::{self, Ground},
    connect::{self, Backoff, Canceller, Session, Wait},
    formats::{self, Format},
    history::{
        self, Snapshot,
        journal::{Author, Entry, Kind},
    },
    lock::{Holder, LockKeys, Patience},
    migration::{Migration, TableName, TransactionMode},
    plan::{self, Conflict, Plan, Policy},
    problem::Problem,
    source::{self, Source},
    stop::{Cause, Stop},
    wire,
};

/// How often the connection may be lost in the same migration before it is given up: it may be the migration that
/// ends the server.
const LOST_LIMIT: u32 = 3;

/// Everything that a run is told.
#[derive(Debug)]
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
    /// Who writes the journal.
    pub author: Author,
    /// `schemagate/VERSION POD`.
    pub application_name: String,
    /// What to do with what is pending.
    pub task: Task,
}

/// What to do with what is pending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Run it.
    Migrate,
    /// Mark it as applied.
    Baseline,
}

/// `SCHEMAGATE_LOCK_WAIT_TIMEOUT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockWait {
    /// Do not queue.
    Off,
    /// This long without progress of the holder; `None` is without end.
    For(Option<Duration>),
}

/// What happens during a run.
#[derive(Debug)]
pub enum Event<'a> {
    /// Waiting for the database.
    Connect(connect::Event<'a>),
    /// Another session holds the lock.
    LockElsewhere {
        /// Who, as far as it can be seen.
        holder: Option<&'a Holder>,
        /// When the next look comes.
        next_in: Duration,
    },
    /// The lock is ours.
    LockTaken {
        /// The key.
        key: i64,
    },
    /// A migration is about to be sent.
    Starting(&'a Migration),
    /// A migration is in the history.
    Applied {
        /// Which.
        migration: &'a Migration,
        /// From sending to the answer.
        elapsed: Duration,
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
    /// A warning for a person.
    Warning(&'a str),
    /// A remark on the way.
    Note(&'a str),
}

/// A migration that this run has applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// Which.
    pub version: String,
    /// From sending to the answer.
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

/// How a run ended otherwise.
#[derive(Debug)]
pub enum Error {
    /// The database was not reached.
    Connect(connect::Error),
    /// Something is pending, and the settings ask for a standby.
    NoPrimary(Problem),
    /// The history could not be read.
    History(history::Error),
    /// `SCHEMAGATE_TARGET` names no migration.
    Target(plan::UnknownTarget),
    /// The history and the files do not fit.
    Conflicts(Vec<Conflict>),
    /// Files that cannot be run.
    Prepare(apply::prepare::Error),
    /// The history table is not the format's, or cannot be upgraded.
    Format(formats::Error),
    /// Another tool's history has rows.
    Foreign(formats::foreign::Foreign),
    /// Only an existing history could prove what the folder is.
    Unproved(source::Error),
    /// A migration was not applied.
    Apply(Failure),
    /// The lock was not had in time.
    LockWait {
        /// Who holds it.
        holder: Option<Holder>,
        /// Without progress for so long.
        stuck_for: Duration,
        /// Not queued at all.
        off: bool,
    },
    /// Table locks were not obtained.
    LockRetries(Box<SqlFailure>),
    /// The connection was lost, and not taken up again in time.
    Lost(String),
    /// The command had to stop.
    Stopped(Cause),
    /// The history says one thing and its row another; a bug.
    Inconsistent,
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
    under_way: Option<String>,
    lost: u32,
    retries: u32,
    repeats: u32,
    waited: bool,
    started: bool,
    pause: Backoff,
    queue: Backoff,
    patience: Option<Patience>,
}

/// How one attempt ended.
enum Step {
    Finished(Plan),
    LockElsewhere { holder: Option<Holder>, rows: usize },
    NeedsPrimary,
    Again,
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
        lost: 0,
        retries: 0,
        repeats: 0,
        waited: false,
        started: false,
        pause: Backoff::new(Duration::from_secs(2), Duration::from_secs(30)),
        queue: Backoff::connecting(),
        patience: None,
    };
    let cancel = || {
        let canceller: Option<Canceller> = cancellable.borrow().clone();
        canceller.map(|canceller| async move { canceller.cancel().await })
    };
    match stop.guard(runner.life(), cancel).await {
        (Some(Err(Error::Apply(Failure::Stopped))) | None, Some(cause)) => {
            Err(Error::Stopped(cause))
        }
        (Some(Err(Error::Apply(Failure::Stopped))), None) => {
            Err(Error::Stopped(stop.cause().unwrap_or(Cause::Deadline)))
        }
        (Some(outcome), _) => outcome,
        (None, None) => Err(Error::Inconsistent),
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
                Ok(Step::LockElsewhere { holder, rows }) => {
                    self.wait_for_lock(holder, rows).await?;
                }
                Ok(Step::NeedsPrimary) => self
                    .params
                    .connect
                    .require_primary()
                    .map_err(Error::NoPrimary)?,
                Ok(Step::Again) => self.again()?,
                Err(Error::Apply(Failure::Connection(error)))
                | Err(Error::History(history::Error::Database(error)))
                    if connect::classify(&error).is_connection_lost() =>
                {
                    self.lost(&error)?;
                }
                Err(Error::Apply(Failure::Contention(failure))) => self.retry(failure).await?,
                Err(error) => return Err(error),
            }
        }
    }

    /// From connecting to closing the connection.
    async fn attempt(&mut self) -> Result<Step, Error> {
        let session = self.connect().await?;
        let outcome = self.work(&session).await;
        if !matches!(outcome, Err(Error::Apply(Failure::Connection(_)))) {
            session.close().await;
        }
        outcome
    }

    async fn connect(&mut self) -> Result<Session, Error> {
        let on_event = &mut *self.on_event;
        let connected = connect::connect(&self.params.connect, &self.params.wait, &mut |event| {
            on_event(Event::Connect(event));
        })
        .await;
        connected.map_err(|error| match &self.under_way {
            Some(version) => Error::Lost(format!("{version} was under way: {error}")),
            None => Error::Connect(error),
        })
    }

    async fn work(&mut self, session: &Session) -> Result<Step, Error> {
        let snapshot = self.look(session, true).await?;
        let plan = self.plan(&snapshot)?;
        if !needs_writing(&plan, &snapshot, self.source) {
            self.note_fate(&snapshot, &plan);
            return Ok(Step::Finished(plan));
        }
        if snapshot.in_recovery {
            return Ok(Step::NeedsPrimary);
        }
        let keys = self.keys(&snapshot.database);
        let direct = session.wire_pid() == Some(snapshot.pid);
        // Without `idle_session_timeout` nothing would end a paused client that holds a session-level lock.
        let holding = if direct && session.server_version() >= 140_000 {
            Holding::Session
        } else {
            Holding::Transaction
        };
        let frame = self.frame(session, &snapshot, keys, holding);
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
        self.note_fate(&snapshot, &plan);
        if !needs_writing(&plan, &snapshot, self.source) {
            return Ok(Step::Finished(plan));
        }
        let outcome = self.write(session, &snapshot, &plan, frame, direct).await;
        match outcome {
            Ok(()) => Ok(Step::Finished(plan)),
            Err(Error::Apply(Failure::LockHeld)) => {
                let holder = holder(session, &keys).await?;
                Ok(Step::LockElsewhere {
                    holder,
                    rows: snapshot.rows.len(),
                })
            }
            Err(Error::Apply(Failure::AlreadyApplied)) => Ok(Step::Again),
            Err(error) => Err(error),
        }
    }

    async fn look(&self, session: &Session, exists: bool) -> Result<Snapshot, Error> {
        Snapshot::read(session.client(), &self.params.history, exists)
            .await
            .map_err(Error::History)
    }

    fn plan(&self, snapshot: &Snapshot) -> Result<Plan, Error> {
        let plan = plan_of(self.source, snapshot, &self.params.policy)?;
        if plan.conflicts.is_empty() {
            Ok(plan)
        } else {
            Err(Error::Conflicts(plan.conflicts))
        }
    }

    fn keys(&self, database: &str) -> LockKeys {
        self.params.lock_key.map_or_else(
            || LockKeys::derive(database, &self.params.history.table),
            LockKeys::with_main,
        )
    }

    fn frame(
        &self,
        session: &Session,
        snapshot: &Snapshot,
        keys: LockKeys,
        holding: Holding,
    ) -> Frame {
        Frame {
            keys,
            holding,
            server_version: session.server_version(),
            checks_connection: session.server_version() >= 140_000 && snapshot.on_linux,
            role: self.params.history.role.clone(),
            application_name: self.params.application_name.clone(),
        }
    }

    /// Tries the session-level lock and tells who holds it otherwise.
    async fn take_lock(
        &mut self,
        session: &Session,
        frame: &Frame,
        rows: usize,
    ) -> Result<Option<Step>, Error> {
        let sql = format!(
            "SELECT pg_catalog.pg_try_advisory_lock({});{};{}",
            frame.keys.main,
            frame.session_settings(),
            Holder::select_sql(&frame.keys)
        );
        let mut reply = wire::query(session.client(), &sql).await;
        let won = reply.scalar(0).map_err(of_own)?;
        let found = reply.rows(2).map_err(of_own)?;
        if won.as_deref() == Some("t") {
            (self.on_event)(Event::LockTaken {
                key: frame.keys.main,
            });
            return Ok(None);
        }
        let holder = found.first().and_then(Holder::from_row);
        Ok(Some(Step::LockElsewhere { holder, rows }))
    }

    /// Everything that writes.
    async fn write(
        &mut self,
        session: &Session,
        snapshot: &Snapshot,
        plan: &Plan,
        frame: Frame,
        direct: bool,
    ) -> Result<(), Error> {
        let mut jobs = Vec::new();
        if self.params.task == Task::Migrate {
            jobs = apply::prepare::prepare(
                self.source,
                &plan.run,
                self.params.transaction,
                &mut |warning| (self.on_event)(Event::Warning(warning)),
            )
            .map_err(Error::Prepare)?;
            bootstrap::refuse_foreign(session.client(), &self.params.history, snapshot).await?;
        }
        let ground = bootstrap::lay(
            session.client(),
            self.source,
            &self.params.history,
            snapshot,
            &frame,
            &mut |warning| (self.on_event)(Event::Warning(warning)),
        )
        .await?;
        if ground.journal && !self.started {
            self.note_start(session, snapshot, &frame).await?;
        }
        if !ground.journal && jobs.iter().any(Job::needs_journal) {
            return Err(Error::Apply(apply::journal_needed(
                "a pending migration",
                &snapshot.database,
                &snapshot.user,
            )));
        }
        match self.params.task {
            Task::Migrate => {
                self.apply(session, snapshot, &mut jobs, frame, direct, &ground)
                    .await?;
            }
            Task::Baseline => self.mark(session, plan, &frame, ground).await?,
        }
        if ground.journal {
            self.note_end(session).await;
        }
        Ok(())
    }

    async fn apply(
        &mut self,
        session: &Session,
        snapshot: &Snapshot,
        jobs: &mut [Job],
        frame: Frame,
        direct: bool,
        ground: &Ground,
    ) -> Result<(), Error> {
        let Self {
            params,
            source,
            stop,
            on_event,
            cancellable,
            done,
            under_way,
            lost,
            retries,
            pause,
            ..
        } = self;
        let mut applier = Applier {
            session,
            connect: &params.connect,
            source,
            table: &params.history.table,
            shape: ground.shape,
            frame,
            limits: params.limits,
            author: &params.author,
            journal: ground.journal,
            direct,
            user: &snapshot.user,
            database: &snapshot.database,
            stop,
            on_event: &mut |event| match event {
                apply::Event::Starting(migration) => {
                    *under_way = Some(migration.version.clone());
                    on_event(Event::Starting(migration));
                }
                apply::Event::Cancellable(canceller) => *cancellable.borrow_mut() = canceller,
                apply::Event::Applied { migration, elapsed } => {
                    *under_way = None;
                    (*lost, *retries) = (0, 0);
                    pause.reset();
                    done.borrow_mut().push(Done {
                        version: migration.version.clone(),
                        elapsed,
                    });
                    on_event(Event::Applied { migration, elapsed });
                }
                apply::Event::Note(note) => on_event(Event::Note(&note)),
            },
        };
        let outcome = applier.run(jobs, params.transaction).await;
        *cancellable.borrow_mut() = None;
        if !matches!(outcome, Err(Failure::Connection(_))) {
            *under_way = None;
        }
        outcome.map_err(Error::Apply)
    }

    /// Marks what is pending as applied, in one transaction.
    async fn mark(
        &mut self,
        session: &Session,
        plan: &Plan,
        frame: &Frame,
        ground: Ground,
    ) -> Result<(), Error> {
        let history = &self.params.history;
        let mut sql = String::new();
        for &index in &plan.run {
            let migration = &self.source.migrations[index];
            let row =
                formats::insert_sql(history.format, &history.table, ground.shape, migration, "0");
            sql.push_str(&row);
            sql.push(';');
            if ground.journal {
                let entry = Entry::about(Kind::Baselined, &migration.version, &migration.checksum);
                sql.push_str(&self.params.author.insert_sql(&entry));
                sql.push(';');
            }
        }
        bootstrap::fenced(session.client(), frame, &sql)
            .await
            .map_err(of_own)?;
        for &index in &plan.run {
            let version = &self.source.migrations[index].version;
            (self.on_event)(Event::Note(&format!("marked {version} as applied")));
            self.done.borrow_mut().push(Done {
                version: version.clone(),
                elapsed: Duration::ZERO,
            });
        }
        Ok(())
    }

    /// The start of the run, once, with the WAL position to go back to.
    async fn note_start(
        &mut self,
        session: &Session,
        snapshot: &Snapshot,
        frame: &Frame,
    ) -> Result<(), Error> {
        let author = &self.params.author;
        let mut sql = author.insert_sql(&Entry::of(Kind::RunStarted));
        if snapshot.rows.is_empty() {
            sql = format!("{sql};{}", author.insert_sql(&Entry::of(Kind::Bootstrap)));
        }
        let role = frame.role.as_deref();
        bootstrap::in_transaction(session.client(), role, &sql)
            .await
            .map_err(of_own)?;
        self.started = true;
        Ok(())
    }

    /// The end of the run. The work is committed: a failure to note its end is a warning.
    async fn note_end(&mut self, session: &Session) {
        let entry = Entry::of(Kind::RunFinished);
        let role = self.params.history.role.as_deref();
        let sql = self.params.author.insert_sql(&entry);
        if let Err(error) = bootstrap::in_transaction(session.client(), role, &sql).await {
            let warning = format!(
                "the end of the run could not be journalled: {}",
                connect::describe(&error)
            );
            (self.on_event)(Event::Warning(&warning));
        }
    }

    /// After a lost connection: the look behind the lock has told whether the commit went through.
    fn note_fate(&mut self, snapshot: &Snapshot, plan: &Plan) {
        let Some(version) = self.under_way.take() else {
            return;
        };
        let committed = !plan
            .run
            .iter()
            .any(|&index| self.source.migrations[index].version == version);
        let note = if committed {
            self.done.borrow_mut().push(Done {
                version: version.clone(),
                elapsed: Duration::ZERO,
            });
            format!("the connection was lost during {version}, which was committed")
        } else {
            format!(
                "the connection was lost during {version}, which was rolled back; the history has {} rows",
                snapshot.rows.len()
            )
        };
        (self.on_event)(Event::Note(&note));
    }

    async fn wait_for_lock(&mut self, holder: Option<Holder>, rows: usize) -> Result<(), Error> {
        self.waited = true;
        let LockWait::For(limit) = self.params.lock_wait else {
            return Err(Error::LockWait {
                holder,
                stuck_for: Duration::ZERO,
                off: true,
            });
        };
        let now = Instant::now();
        let patience = self
            .patience
            .get_or_insert_with(|| Patience::new(limit, now));
        if !patience.goes_on(holder.as_ref(), rows, now) {
            let stuck_for = patience.stuck_for(now);
            return Err(Error::LockWait {
                holder,
                stuck_for,
                off: false,
            });
        }
        let next_in = self.queue.next_delay().min(patience.left(now));
        (self.on_event)(Event::LockElsewhere {
            holder: holder.as_ref(),
            next_in,
        });
        tokio::time::sleep(next_in).await;
        Ok(())
    }

    async fn retry(&mut self, failure: Box<SqlFailure>) -> Result<(), Error> {
        self.retries += 1;
        if self.retries > self.params.lock_retries {
            return Err(Error::LockRetries(failure));
        }
        let next_in = self.pause.next_delay();
        (self.on_event)(Event::Retry {
            failure: &failure,
            attempt: self.retries,
            next_in,
        });
        tokio::time::sleep(next_in).await;
        Ok(())
    }

    fn lost(&mut self, error: &tokio_postgres::Error) -> Result<(), Error> {
        self.lost += 1;
        let text = connect::describe(error);
        if self.lost > LOST_LIMIT {
            return Err(Error::Lost(format!(
                "the connection was lost {} times in a row: {text}",
                self.lost
            )));
        }
        (self.on_event)(Event::Lost {
            error: text,
            version: self.under_way.as_deref(),
        });
        Ok(())
    }

    /// Another pod was faster; its row must be visible at the next look.
    fn again(&mut self) -> Result<(), Error> {
        self.repeats += 1;
        if self.repeats > 1000 {
            return Err(Error::Inconsistent);
        }
        Ok(())
    }
}

/// Connects and looks, for commands that write nothing.
pub async fn look(
    params: &Params,
    stop: &Stop,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<(Snapshot, Session), Error> {
    let looking = async {
        let session = connect::connect(&params.connect, &params.wait, &mut |event| {
            on_event(Event::Connect(event));
        })
        .await
        .map_err(Error::Connect)?;
        let snapshot = Snapshot::read(session.client(), &params.history, true)
            .await
            .map_err(Error::History)?;
        Ok((snapshot, session))
    };
    stopped(stop, looking).await?
}

/// Waits for work that has nothing to cancel: a signal or the deadline drops it.
pub async fn stopped<T>(stop: &Stop, work: impl Future<Output = T>) -> Result<T, Error> {
    let nothing = || None::<std::future::Ready<()>>;
    let (outcome, cause) = stop.guard(work, nothing).await;
    outcome.ok_or(Error::Stopped(cause.unwrap_or(Cause::Deadline)))
}

/// What a look at the database means for the files; every command that asks it asks it here.
pub fn plan_of(source: &Source, snapshot: &Snapshot, policy: &Policy) -> Result<Plan, Error> {
    if source.needs_history_proof && snapshot.shape.is_none() {
        return Err(Error::Unproved(source.unproved()));
    }
    let matched = formats::reconcile(
        source.format,
        &source.migrations,
        snapshot.rows.clone(),
        snapshot.shape,
    )
    .map_err(Error::Format)?;
    plan::plan(&source.migrations, &matched, policy).map_err(Error::Target)
}

/// Something is to be run, or Drizzle's table is to be brought to the form that its folder needs.
fn needs_writing(plan: &Plan, snapshot: &Snapshot, source: &Source) -> bool {
    !plan.run.is_empty()
        || snapshot
            .shape
            .is_some_and(|shape| formats::needs_upgrade(source.format, shape))
}

async fn holder(session: &Session, keys: &LockKeys) -> Result<Option<Holder>, Error> {
    let mut reply = wire::query(session.client(), &Holder::select_sql(keys)).await;
    let rows = reply.rows(0).map_err(of_own)?;
    Ok(rows.first().and_then(Holder::from_row))
}

fn of_own(error: tokio_postgres::Error) -> Error {
    Error::Apply(Failure::of_own(error))
}

/// The table of a history that the settings do not name.
pub fn history_table(setting: Option<&TableName>, format: Format) -> TableName {
    setting
        .cloned()
        .unwrap_or_else(|| format.default_history_table())
}

impl From<bootstrap::Error> for Error {
    fn from(error: bootstrap::Error) -> Self {
        match error {
            bootstrap::Error::Format(error) => Self::Format(error),
            bootstrap::Error::Foreign(foreign) => Self::Foreign(foreign),
            bootstrap::Error::Own(failure) => Self::Apply(failure),
        }
    }
}
