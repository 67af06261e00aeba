//! The life of `schemagate exec`: another tool under our lock.
//!
//! 1. Wait for the database, look whether the marker is done, try the lock; all on one session (`wrap/take.rs`). While
//!    the lock is elsewhere no connection is held, and every look begins with the marker.
//! 2. Keep that session ([`crate::hold`]) and run the command beside it (`wrap/watch.rs`). Its end is its own: a signal is
//!    passed on. Only a lost lock, the deadline, and a signal that it does not heed make us end it.
//! 3. Write the marker in the transaction that holds the lock: its commit is the lock's release (`wrap/note.rs`).
//!
//! With a marker success is never told without its row. Without one nothing is written to the database.
//!
//! Seconds after the last sign of life that the server has answered, when the link goes dead: at 5 the next one is sent,
//! at 10 the lock counts as lost and the command is told to end, at 15 it is killed, at 20 the server gives the lock away.
//! When the server itself ends the lock's session, the lock is free at once, and the command has 5 s to end. A schemagate
//! that can do nothing of this, because it is stopped, has a guard beside it that kills the command at 17.

mod error;
mod note;
mod take;
mod watch;

use std::{ffi::OsString, path::Path, time::Duration};

use tokio::time::Instant;

pub use error::{End, Error, Unmarked};
use take::{Lock, Taken, take};
use watch::Watched;

use crate::{
    child::{self, Child, Env, Output, Program},
    connect::{self, Wait},
    history::{
        journal::Author,
        marker::{Marker, MarkerState},
    },
    hold::Hold,
    lock::LockKeys,
    runner::{self, Event, LockWait, Queue, stopped},
    stop::Stop,
};

/// Everything that such a run is told.
#[derive(Debug)]
pub struct Params {
    /// Where the database is.
    pub connect: connect::Params,
    /// How long to wait for it.
    pub wait: Wait,
    /// `SCHEMAGATE_EXEC_ONCE`.
    pub marker: Option<Marker>,
    /// `SCHEMAGATE_HISTORY_TABLE` as text, or [`crate::history::marker::HISTORY`]: a part of the derived lock key.
    pub history: String,
    /// `SCHEMAGATE_LOCK_KEY`.
    pub lock_key: Option<i64>,
    /// `SCHEMAGATE_LOCK_WAIT_TIMEOUT`.
    pub lock_wait: LockWait,
    /// `SCHEMAGATE_ROLE`, who owns the journal.
    pub role: Option<String>,
    /// Who writes the journal.
    pub author: Author,
    /// `schemagate/VERSION POD`.
    pub application_name: String,
    /// What to run.
    pub program: Program,
    /// Variables that are not for the command.
    pub remove: Vec<OsString>,
}

/// How such a run ended well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The marker was done, since then.
    Skipped {
        /// When, as PostgreSQL prints it.
        at: String,
    },
    /// The command ended with 0, and its marker is in the journal where there is one.
    Done {
        /// How long it ran.
        elapsed: Duration,
    },
}

/// One such run.
struct Wrapper<'a> {
    params: &'a Params,
    stop: &'a Stop,
    on_event: &'a mut dyn FnMut(Event<'_>),
    queue: Queue,
}

/// What the wait for the lock came to.
enum Won {
    /// The lock is ours.
    Lock(Hold),
    /// It is not needed.
    Marked { at: String },
}

/// Runs to the end of the command, a signal or the deadline.
pub async fn run(
    params: &mut Params,
    stop: &Stop,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<Outcome, Error> {
    // On a standby a lock excludes nobody but those who look at the same standby.
    params
        .connect
        .require_primary()
        .map_err(runner::Error::NoPrimary)?;
    let mut wrapper = Wrapper {
        params,
        stop,
        on_event,
        queue: Queue::new(),
    };
    let hold = match stopped(stop, wrapper.win()).await?? {
        Won::Lock(hold) => hold,
        Won::Marked { at } => return Ok(Outcome::Skipped { at }),
    };
    let watched = wrapper.command(&hold).await?;
    wrapper.conclude(hold, watched).await
}

/// Waits for the database and tells what the journal knows of the marker; takes no lock.
pub async fn look(
    params: &Params,
    stop: &Stop,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<MarkerState, Error> {
    let mut on_event = |event: connect::Event<'_>| on_event(Event::Connect(event));
    let looking = connect::until(
        &params.connect,
        &params.wait,
        &mut on_event,
        async |session| take::marker(session, params).await,
    );
    let (session, looked) = stopped(stop, looking)
        .await?
        .map_err(runner::Error::Connect)?;
    session.close().await;
    Ok(looked.map_err(runner::Error::History)?)
}

// === impl Wrapper ===

impl Wrapper<'_> {
    /// Waits for the database and for the lock, or until the marker is done.
    async fn win(&mut self) -> Result<Won, runner::Error> {
        let params = self.params;
        loop {
            self.queue.looks();
            let mut connecting = |event: connect::Event<'_>| (self.on_event)(Event::Connect(event));
            let (session, taken) = connect::until(
                &params.connect,
                &params.wait,
                &mut connecting,
                async |session| take(session, params).await,
            )
            .await
            .map_err(runner::Error::Connect)?;
            let holder = match taken {
                Ok(Taken::Lock(Lock { keys, sent, beat })) => {
                    (self.on_event)(Event::LockTaken { key: keys.main });
                    return Ok(Won::Lock(Hold::keep(session, sent, beat)));
                }
                Ok(Taken::Marked { at }) => {
                    session.close().await;
                    return Ok(Won::Marked { at });
                }
                Ok(Taken::Elsewhere(holder)) => holder,
                Err(error) => {
                    session.close().await;
                    return Err(error);
                }
            };
            session.close().await;
            // Progress is the holder's heartbeat; nothing is known of the rows of a tool's own history.
            let pause = self
                .queue
                .pause(params.lock_wait, holder, 0, self.on_event)?;
            tokio::time::sleep(pause).await;
        }
    }

    /// Runs the command to its end, whoever decides it.
    async fn command(&mut self, hold: &Hold) -> Result<Watched, Error> {
        let params = self.params;
        let handed = params
            .connect
            .handed_down()
            .map_err(runner::Error::Connect)?;
        let mut env = Env {
            remove: params.remove.clone(),
            set: Vec::new(),
        };
        if handed.iter().any(|(name, _)| *name == "DATABASE_URL") {
            // Beside the address itself it would name another one, or be refused.
            env.remove.push("DATABASE_URL_FILE".into());
        }
        let own = handed.into_iter();
        env.set
            .extend(own.map(|(name, value)| (name.into(), value)));
        let output = Output::own().map_err(|source| {
            Error::Program(child::Error::System {
                doing: "pass the command's output on",
                source,
            })
        })?;
        let name = params.name();
        (self.on_event)(Event::Note(&format!("running {name} under the lock")));
        let began = Instant::now();
        let mut child = Child::spawn(&params.program, &env, output).map_err(Error::Program)?;
        let mut warn = |warning: &str| (self.on_event)(Event::Warning(warning));
        let end = watch::watch(&mut child, hold, self.stop, &name, &mut warn).await;
        let elapsed = began.elapsed();
        Ok(Watched { end, elapsed })
    }
}

// === impl Params ===

impl Params {
    /// The command as messages call it: its name alone, for arguments may hold passwords.
    pub fn name(&self) -> String {
        name_of(self.program.argv())
    }

    fn keys(&self, database: &str) -> LockKeys {
        self.lock_key.map_or_else(
            || LockKeys::of_history(database, &self.history),
            LockKeys::with_main,
        )
    }
}

/// The last part of the first word.
fn name_of(argv: &[OsString]) -> String {
    let word = argv.first().map(Path::new);
    let name = word.and_then(|word| word.file_name().or(Some(word.as_os_str())));
    name.map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_called_by_its_name_alone() {
        let name = |word: &str| name_of(&[word.into(), "--password=hunter2".into()]);
        assert_eq!(name("/venv/bin/alembic"), "alembic");
        assert_eq!(name("./migrate.sh"), "migrate.sh");
        assert_eq!(name("rake"), "rake");
        assert_eq!(name("/"), "/");
        assert_eq!(name_of(&[]), "");
    }
}
