//! The one error that ends a command: what happened, what to do, which exit code. It only forwards what the modules
//! know.

mod exec;

use std::time::Duration;

use crate::{
    apply::{Failure, SqlFailure},
    child, connect, duration,
    exit::ExitStatus,
    install,
    lock::Holder,
    preflight,
    runner::{self, Interrupted},
    source,
    stop::Cause,
    throwaway, wrap,
};

/// Why a command ended otherwise than with 0.
#[derive(Debug)]
pub enum Error {
    /// The folder.
    Source(source::Error),
    /// The database was not reached.
    Connect(connect::Error),
    /// A run that migrates or looks.
    Run(runner::Error),
    /// A run of another tool.
    Exec(Box<wrap::Error>),
    /// `install`.
    Install(install::Error),
    /// The command of `run` or `exec` cannot be run.
    Program(child::Error),
    /// Pending, where the command was asked to be current.
    Pending(Vec<String>),
    /// This role may not read the journal.
    NoJournal,
    /// The schema is not what this image needs, where the command was asked to be current.
    Behind {
        /// What is missing.
        what: String,
        /// What to do.
        next: String,
    },
    /// `verify` has found something.
    Mismatch {
        /// What.
        what: String,
        /// What to do.
        next: String,
    },
    /// A needed migration failed in SQL, in this process or another.
    Failed {
        /// Which, and how.
        what: String,
        /// What to do.
        next: String,
    },
    /// What `validate` works on cannot be had, or it has found something.
    Throwaway(throwaway::Error),
    /// A command refuses.
    Refused {
        /// What it refuses.
        what: String,
        /// What to do.
        next: String,
    },
    /// A trace that did not begin, or that ended before its end.
    Trace {
        /// The exit code.
        status: ExitStatus,
        /// What happened.
        what: String,
        /// What to do.
        next: String,
    },
    /// `lint` has findings that it fails on.
    Findings {
        /// How many, and the first.
        what: String,
        /// What to do.
        next: String,
    },
    /// The operating system refuses what every program needs.
    System(String),
}

// === impl Error ===

impl Error {
    /// The exit code.
    pub fn exit_status(&self) -> ExitStatus {
        match self {
            Self::Source(_) | Self::Refused { .. } => ExitStatus::Usage,
            Self::Connect(error) => error.exit_status(),
            Self::Run(error) => of_run(error),
            Self::Exec(error) => exec::exit_status(error),
            Self::Install(error) => error.exit_status(),
            Self::NoJournal => ExitStatus::Refused,
            Self::Program(error) => error.exit_status(),
            Self::Pending(_) | Self::Behind { .. } => ExitStatus::Pending,
            Self::Mismatch { .. } => ExitStatus::History,
            Self::Failed { .. } => ExitStatus::Sql,
            Self::Trace { status, .. } => *status,
            Self::Throwaway(error) => error.status,
            Self::Findings { .. } => ExitStatus::Held,
            Self::System(_) => ExitStatus::Bug,
        }
    }

    /// What happened, in one line.
    pub fn what(&self) -> String {
        match self {
            Self::Source(error) => error.to_string(),
            Self::Connect(error) => error.to_string(),
            Self::Run(error) => what(error),
            Self::Exec(error) => exec::what(error),
            Self::Install(error) => error.to_string(),
            Self::Program(error) => error.what(),
            Self::Pending(versions) => {
                format!("{} pending: {}", versions.len(), versions.join(", "))
            }
            Self::Throwaway(error) => error.what.clone(),
            Self::NoJournal => "this role may not read schemagate.journal".to_owned(),
            Self::Behind { what, .. }
            | Self::Mismatch { what, .. }
            | Self::Failed { what, .. }
            | Self::Refused { what, .. }
            | Self::Trace { what, .. }
            | Self::Findings { what, .. }
            | Self::System(what) => what.clone(),
        }
    }

    /// What to do next, in one line.
    pub fn next_step(&self) -> String {
        match self {
            Self::Source(error) => error.help().to_owned(),
            Self::Connect(error) => connect_help(error),
            Self::Run(error) => next(error),
            Self::Exec(error) => exec::next(error),
            Self::Install(error) => error.help().to_owned(),
            Self::Program(error) => error.help().to_owned(),
            Self::Pending(_) => "run `schemagate migrate` with this image".to_owned(),
            Self::NoJournal => {
                "as its owner: GRANT USAGE ON SCHEMA schemagate TO the role; GRANT SELECT, INSERT ON schemagate.journal TO it"
                    .to_owned()
            }
            Self::Behind { next, .. }
            | Self::Mismatch { next, .. }
            | Self::Failed { next, .. }
            | Self::Refused { next, .. }
            | Self::Findings { next, .. }
            | Self::Trace { next, .. } => next.clone(),
            Self::Throwaway(error) => error.next.clone(),
            Self::System(_) => "see the limits of the container".to_owned(),
        }
    }

    /// More for a person: the line of the file with its caret, the statement, hint and context.
    pub fn block(&self) -> Option<String> {
        self.sql()
            .map(SqlFailure::block)
            .filter(|block| !block.is_empty())
    }

    /// The server's DETAIL, which can hold values of rows: for the log only.
    pub fn detail(&self) -> Option<&str> {
        self.sql()?.detail.as_deref()
    }

    /// The migration in whose SQL it ended.
    pub fn failed_version(&self) -> Option<&str> {
        self.sql().map(|sql| sql.version.as_str())
    }

    /// Whether something of the run may be committed although it failed: pieces of a migration, or what nobody could be
    /// asked about.
    pub fn may_have_written(&self) -> bool {
        use runner::Error as E;
        match self {
            Self::Run(E::Stopped { statement, .. }) => *statement != Interrupted::Nothing,
            Self::Run(E::Lost(_) | E::Apply(Failure::Dirty { .. } | Failure::Connection(_))) => {
                true
            }
            _ => self.sql().is_some_and(SqlFailure::leaves_pieces),
        }
    }

    fn sql(&self) -> Option<&SqlFailure> {
        let error = match self {
            Self::Run(error) => error,
            Self::Exec(error) => match error.as_ref() {
                wrap::Error::Run(error) => error,
                _ => return None,
            },
            _ => return None,
        };
        match error {
            runner::Error::Apply(Failure::Sql(sql) | Failure::Contention(sql))
            | runner::Error::Retries(sql) => Some(sql),
            _ => None,
        }
    }
}

fn of_run(error: &runner::Error) -> ExitStatus {
    use runner::Error as E;
    match error {
        E::Connect(error) => error.exit_status(),
        E::History(error) => error.exit_status(),
        E::Target(_) | E::Prepare(_) | E::Unproved(_) | E::NoPrimary(_) | E::Mend(_) => {
            ExitStatus::Usage
        }
        E::Conflicts(_) | E::Format(_) | E::Foreign(_) => ExitStatus::History,
        E::Preflight(findings) => preflight::exit_status(findings),
        E::Held(_) => ExitStatus::Held,
        E::Apply(failure) => of_failure(failure),
        E::Retries(sql) if sql.is_exhaustion() => ExitStatus::Unreachable,
        E::LockWait { .. } | E::Retries(_) => ExitStatus::Locked,
        E::Lost(_) => ExitStatus::Deadline,
        E::Stopped { cause, .. } => cause.exit_status(),
        E::Inconsistent => ExitStatus::Bug,
    }
}

fn of_failure(failure: &Failure) -> ExitStatus {
    match failure {
        Failure::Sql(sql) => sql.exit_status(),
        Failure::Contention(_) | Failure::LockHeld => ExitStatus::Locked,
        Failure::Dirty { .. } => ExitStatus::History,
        Failure::Refused { .. } => ExitStatus::Refused,
        Failure::Unsupported { .. } => ExitStatus::Usage,
        Failure::Connection(_) | Failure::Stopped { .. } => ExitStatus::Deadline,
        Failure::AlreadyApplied => ExitStatus::Bug,
    }
}

fn what(error: &runner::Error) -> String {
    use runner::Error as E;
    match error {
        E::Connect(error) => error.to_string(),
        E::History(error) => error.to_string(),
        E::NoPrimary(problem) => problem.to_string(),
        E::Target(error) => error.to_string(),
        E::Conflicts(conflicts) => conflicts
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("; "),
        E::Prepare(error) => error.to_string(),
        E::Preflight(findings) => preflight::what(findings),
        E::Mend(refusal) => refusal.what.clone(),
        E::Held(held) => held.to_string(),
        E::Format(error) => error.to_string(),
        E::Foreign(error) => error.to_string(),
        E::Unproved(error) => error.to_string(),
        E::Apply(failure) => failed(failure),
        E::LockWait {
            holder,
            stuck_for,
            off,
        } => waited(holder.as_deref(), *stuck_for, *off),
        E::Retries(sql) => format!("{}: {}", gave_up(sql), sql.headline()),
        E::Lost(what) => format!("the connection was lost: {what}"),
        E::Stopped { cause, statement } => stopped(*cause, *statement),
        E::Inconsistent => "the history table and its rows contradict each other".to_owned(),
    }
}

fn gave_up(sql: &SqlFailure) -> &'static str {
    match sql.code.as_str() {
        _ if sql.is_exhaustion() => "the server has run out of disk space or memory",
        "40001" => "other transactions came in between each time",
        _ => "table locks were not obtained",
    }
}

fn stopped(cause: Cause, statement: Interrupted) -> String {
    match statement {
        Interrupted::Nothing => format!("{cause}; stopped, nothing was running"),
        Interrupted::Cancelled => {
            format!("{cause}; the running statement was cancelled and the lock released")
        }
        Interrupted::Unconfirmed => format!(
            "{cause}; the server was told to cancel but did not confirm in time; the connection was closed, which ends \
             the statement and the lock"
        ),
    }
}

fn failed(failure: &Failure) -> String {
    match failure {
        Failure::Sql(sql) | Failure::Contention(sql) => {
            format!("{} failed: {}", sql.version, sql.headline())
        }
        Failure::Dirty { version, what, .. } => format!("{version} is dirty: {what}"),
        Failure::Refused { what, .. } | Failure::Unsupported { what, .. } => what.clone(),
        Failure::Connection(error) => {
            format!("the connection was lost: {}", connect::describe(error))
        }
        Failure::LockHeld => "the lock is held by another session".to_owned(),
        Failure::AlreadyApplied => "another session applied the same migration".to_owned(),
        Failure::Stopped { .. } => "stopped".to_owned(),
    }
}

fn waited(holder: Option<&Holder>, stuck_for: Duration, off: bool) -> String {
    let who = holder.map_or_else(
        || "a session that cannot be seen".to_owned(),
        ToString::to_string,
    );
    if off {
        return format!("the lock is held by {who}, and SCHEMAGATE_LOCK_WAIT_TIMEOUT is off");
    }
    format!(
        "the lock is held by {who}, and nothing has moved for {}",
        duration::print(Duration::from_secs(stuck_for.as_secs()))
    )
}

fn next(error: &runner::Error) -> String {
    use runner::Error as E;
    match error {
        E::Connect(error) => connect_help(error),
        E::History(error) => error.help(),
        E::NoPrimary(_) => "migrations are pending, and a standby cannot apply them".to_owned(),
        E::Target(error) => error.help(),
        E::Conflicts(conflicts) => conflicts
            .first()
            .map(crate::plan::Conflict::help)
            .unwrap_or_default(),
        E::Prepare(error) => error.next.clone(),
        E::Preflight(findings) => preflight::next_step(findings),
        E::Mend(refusal) => refusal.next.clone(),
        E::Held(held) => held.let_through.clone(),
        E::Format(error) => error.help(),
        E::Foreign(error) => error.help(),
        E::Unproved(error) => error.help().to_owned(),
        E::Apply(failure) => next_of_failure(failure),
        E::LockWait { holder, .. } => holder.as_ref().map_or_else(
            || "look at pg_locks for the advisory lock".to_owned(),
            |holder| {
                format!(
                    "see what it does in pg_stat_activity; if it is stuck: SELECT pg_terminate_backend({})",
                    holder.pid
                )
            },
        ),
        E::Retries(sql) => sql.next_step(),
        E::Lost(_) => {
            "look at the server's log, then start again: what was committed is in the history and is not run twice"
                .to_owned()
        }
        E::Stopped { .. } => "start again: what was committed is in the history and is not run twice".to_owned(),
        E::Inconsistent => "please report this with the rows of the history table".to_owned(),
    }
}

fn next_of_failure(failure: &Failure) -> String {
    match failure {
        Failure::Sql(sql) | Failure::Contention(sql) => sql.next_step(),
        Failure::Dirty {
            version,
            undoing: true,
            ..
        } => format!(
            "`schemagate down` to the version before it goes on where it ended; or undo by hand what is left of it, and \
             `schemagate repair --forget {version}` lets it run again from its start"
        ),
        Failure::Dirty { version, .. } => format!(
            "look at the database; when the work is whole, `schemagate baseline --to {version}`; else undo by hand what is \
             left of it, and `schemagate repair --clear-dirty {version}` lets it run again from its start"
        ),
        Failure::Refused { next, .. } | Failure::Unsupported { next, .. } => next.clone(),
        _ => "start again".to_owned(),
    }
}

fn connect_help(error: &connect::Error) -> String {
    error.help().unwrap_or_else(|| {
        "look at the server and its log; `SCHEMAGATE_WAIT_TIMEOUT` says how long to wait".to_owned()
    })
}

impl From<runner::Error> for Error {
    fn from(error: runner::Error) -> Self {
        Self::Run(error)
    }
}

impl From<wrap::Error> for Error {
    fn from(error: wrap::Error) -> Self {
        Self::Exec(Box::new(error))
    }
}

impl From<source::Error> for Error {
    fn from(error: source::Error) -> Self {
        Self::Source(error)
    }
}

impl From<throwaway::Error> for Error {
    fn from(error: throwaway::Error) -> Self {
        Self::Throwaway(error)
    }
}

impl From<connect::Error> for Error {
    fn from(error: connect::Error) -> Self {
        Self::Connect(error)
    }
}
