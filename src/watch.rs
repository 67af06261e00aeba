//! The sidecar's work: looks at the schema again and again, and migrates where it is asked to.
//!
//! One task on one thread does it all, and tells what it knows on a watch channel that the endpoints read. A look is
//! bounded in time, so a database that hangs is one that cannot be reached. Between looks no connection is held, or with
//! [`Params::listen`] one that the appliers' `NOTIFY` wakes.

mod desk;
mod eyes;
mod pace;
mod run;

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::sleep_until};

use desk::Desk;
use eyes::{Eyes, Looked, Wake};
use pace::Pace;

use crate::{
    connect,
    error::Error,
    history::marker::Marker,
    metrics::Metrics,
    progress::{Progress, State},
    runner::{self, Event},
    source::Source,
    stop::Stop,
};

/// What the image needs, and where to look for it.
#[derive(Debug)]
pub enum Need {
    /// The migrations of its folder.
    Folder {
        /// The folder.
        source: Source,
        /// What a run is told, a look too.
        params: Box<runner::Params>,
    },
    /// A marker in the journal.
    Marker {
        /// The marker.
        marker: Marker,
        /// Where the database is.
        connect: Box<connect::Params>,
        /// `SCHEMAGATE_ROLE`.
        role: Option<String>,
    },
}

/// How to watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Params {
    /// `SCHEMAGATE_WATCH=listen`.
    pub listen: bool,
    /// `SCHEMAGATE_POLL_INTERVAL`; `None` is the schedule of the contract.
    pub interval: Option<Duration>,
    /// Whether and how to migrate.
    pub migrate: Option<Migrate>,
}

/// How a sidecar migrates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migrate {
    /// `SCHEMAGATE_DEADLINE`, for each run: the process itself has none.
    pub deadline: Option<Duration>,
    /// `SCHEMAGATE_ON_FAILURE=exit`.
    pub exit_on_failure: bool,
}

/// Whom the work tells what happens.
pub struct Audience<'a> {
    /// Who reads the state.
    pub progress: &'a watch::Sender<Arc<Progress>>,
    /// What is counted.
    pub metrics: &'a Metrics,
    /// Who logs and counts what happens during a run.
    pub tell: &'a dyn Fn(&Event<'_>),
}

/// The state before the first look.
pub fn beginning() -> watch::Sender<Arc<Progress>> {
    watch::Sender::new(Arc::new(Progress::new(jiff::Timestamp::now())))
}

/// Watches until a signal comes. [`Progress::draining`] is set when this returns.
///
/// # Errors
///
/// A signal while a migration was running, and with [`Migrate::exit_on_failure`] a failure for good.
pub async fn watch(
    need: &Need,
    params: Params,
    stop: &Stop,
    audience: Audience<'_>,
) -> Result<(), Error> {
    let mut watcher = Watcher {
        need,
        params,
        stop,
        desk: Desk::new(audience.progress),
        eyes: Eyes::new(need, params.listen),
        pace: Pace::new(params.interval),
        runs: run::Runs::new(),
        metrics: audience.metrics,
        tell: audience.tell,
    };
    let outcome = watcher.work().await;
    watcher.desk.drain();
    watcher.eyes.close().await;
    outcome
}

struct Watcher<'a> {
    need: &'a Need,
    params: Params,
    stop: &'a Stop,
    desk: Desk<'a>,
    eyes: Eyes<'a>,
    pace: Pace,
    runs: run::Runs,
    metrics: &'a Metrics,
    tell: &'a dyn Fn(&Event<'_>),
}

/// Whether to go on.
enum Next {
    /// A pause, then another look.
    Pause,
    /// Another look at once.
    Look,
    /// The end.
    End(Result<(), Error>),
}

// === impl Watcher ===

impl Watcher<'_> {
    async fn work(&mut self) -> Result<(), Error> {
        let mut wake = Wake::Due;
        loop {
            if self.look(wake).await.is_none() {
                return Ok(());
            }
            if let Some(error) = self.fatal() {
                return Err(error);
            }
            match self.migrate().await {
                Next::End(outcome) => return outcome,
                Next::Look => {
                    wake = Wake::Due;
                    continue;
                }
                Next::Pause => {}
            }
            wake = match self.pause().await {
                Some(wake) => wake,
                None => return Ok(()),
            };
        }
    }

    /// One look; `None` when a signal came.
    async fn look(&mut self, wake: Wake) -> Option<()> {
        let settled = self.desk.is_settled();
        if !self.eyes.is_connected() {
            self.metrics.connect_attempt();
        }
        let looked = tokio::select! {
            biased;
            _ = self.stop.wait() => None,
            looked = self.eyes.look(wake, settled) => Some(looked),
        };
        let Some(looked) = looked else {
            self.desk.drain();
            self.eyes.give_up().await;
            return None;
        };
        if matches!(&looked, Looked::Seen(seen) if self.desk.is_progress(seen))
            || matches!(looked, Looked::Followed(_))
        {
            self.pace.reset();
        }
        self.desk.looked(looked);
        Some(())
    }

    /// What a sidecar that is to end on a failure ends with.
    fn fatal(&mut self) -> Option<Error> {
        let migrate = self.params.migrate?;
        if !migrate.exit_on_failure || self.desk.wants_run() {
            return None;
        }
        match self.desk.state() {
            State::Failed | State::Mismatch => self.desk.end(),
            _ => None,
        }
    }

    /// Waits for the next look; `None` when a signal came.
    async fn pause(&mut self) -> Option<Wake> {
        let mut due = self.eyes.due(&mut self.pace, self.desk.is_settled());
        if let Some(run) = self.next_run() {
            due = due.min(run);
        }
        tokio::select! {
            biased;
            _ = self.stop.wait() => None,
            wake = self.eyes.wake() => Some(wake),
            () = sleep_until(due) => Some(Wake::Due),
        }
    }
}
