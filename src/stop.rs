//! Why a command must stop before it is done: a signal, or its deadline.

use std::{future::Future, pin::pin, time::Duration};

use tokio::time::Instant;

use crate::{
    exit::ExitStatus,
    shutdown::{Shutdown, Signal},
};

/// How long a cancelled statement may take to end before its connection is dropped.
const CANCEL_LIMIT: Duration = Duration::from_secs(4);
/// A cancel request can be lost in a pooler, or come before the statement: it is sent again.
const CANCEL_AGAIN: Duration = Duration::from_millis(300);

/// The two reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// SIGTERM or SIGINT.
    Signal(Signal),
    /// `SCHEMAGATE_DEADLINE` has passed.
    Deadline,
}

/// Watches for both.
#[derive(Debug, Clone)]
pub struct Stop {
    shutdown: Shutdown,
    deadline: Option<Instant>,
}

// === impl Cause ===

impl Cause {
    /// The exit code.
    pub const fn exit_status(self) -> ExitStatus {
        match self {
            Self::Signal(Signal::Terminate) => ExitStatus::Terminated,
            Self::Signal(Signal::Interrupt) => ExitStatus::Interrupted,
            Self::Deadline => ExitStatus::Deadline,
        }
    }
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Signal(Signal::Terminate) => "SIGTERM received",
            Self::Signal(Signal::Interrupt) => "SIGINT received",
            Self::Deadline => "the deadline passed (SCHEMAGATE_DEADLINE)",
        })
    }
}

// === impl Stop ===

impl Stop {
    /// A watch that begins now.
    pub fn new(shutdown: Shutdown, deadline: Option<Duration>) -> Self {
        Self {
            shutdown,
            deadline: deadline.and_then(|limit| Instant::now().checked_add(limit)),
        }
    }

    /// Resolves when the command must stop.
    pub async fn wait(&self) -> Cause {
        let deadline = async {
            match self.deadline {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            signal = self.shutdown.recv() => Cause::Signal(signal),
            () = deadline => Cause::Deadline,
        }
    }

    /// Whether the command must stop already.
    pub fn cause(&self) -> Option<Cause> {
        let passed = self.deadline.is_some_and(|at| at <= Instant::now());
        self.shutdown
            .received()
            .map(Cause::Signal)
            .or_else(|| passed.then_some(Cause::Deadline))
    }

    /// Runs `work` until it ends or must stop. Then `cancel` is called, again and again, until the work has noticed;
    /// without something to cancel, and after 4 s, the work is dropped. `None` means that it was dropped.
    pub async fn guard<T, F>(
        &self,
        work: impl Future<Output = T>,
        cancel: impl Fn() -> Option<F>,
    ) -> (Option<T>, Option<Cause>)
    where
        F: Future,
    {
        let mut work = pin!(work);
        let cause = tokio::select! {
            biased;
            out = &mut work => return (Some(out), None),
            cause = self.wait() => cause,
        };
        let limit = Instant::now() + CANCEL_LIMIT;
        while let Some(request) = cancel().filter(|_| Instant::now() < limit) {
            let nudge = async {
                // The answer tells nothing; the effect does.
                let _ = tokio::time::timeout(CANCEL_AGAIN, request).await;
                tokio::time::sleep(CANCEL_AGAIN).await;
            };
            tokio::select! {
                biased;
                out = &mut work => return (Some(out), Some(cause)),
                () = nudge => {}
            }
        }
        (None, Some(cause))
    }
}
