//! Why a command must stop before it is done: a signal, or its deadline.

use std::{
    future::Future,
    pin::{Pin, pin},
    time::Duration,
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::time::{Instant, interval};

use crate::{
    exit::ExitStatus,
    shutdown::{Shutdown, Signal},
};

/// How long a cancelled statement may take to end before its connection is dropped.
const CANCEL_LIMIT: Duration = Duration::from_secs(4);
/// A cancel request can be lost in a pooler, or come before the statement: another is sent after this time. Each runs to
/// its own end, because over a slow link with TLS it needs several round trips before the server reads it.
const CANCEL_AGAIN: Duration = Duration::from_millis(300);
/// How long the last request may take to reach its end when the work has ended already.
const REST_LIMIT: Duration = Duration::from_millis(500);

/// The two reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// SIGTERM or SIGINT.
    Signal(Signal),
    /// `SCHEMAGATE_DEADLINE` has passed.
    Deadline,
}

/// What became of guarded work.
#[derive(Debug)]
pub enum Guarded<T> {
    /// It ended before anything was to stop.
    Ended(T),
    /// It ended after it had been told to.
    Told(T, Cause),
    /// It was dropped.
    Dropped {
        /// Why it had to stop.
        cause: Cause,
        /// There was something to cancel, and its end was not seen in time.
        unconfirmed: bool,
    },
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

    /// The same signals, with a deadline that begins now.
    #[must_use]
    pub fn again(&self, deadline: Option<Duration>) -> Self {
        Self::new(self.shutdown.clone(), deadline)
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

    /// The last question before this process becomes another program: whether it must stop. A signal that comes after
    /// the answer ends it at once, so that none is lost.
    pub fn last_cause(&self) -> Option<Cause> {
        self.shutdown.end_at_once();
        self.cause()
    }

    /// Runs `work` until it ends or must stop. Then `cancel` is called, again and again, until the work has noticed.
    ///
    /// With nothing to cancel the work is dropped at once, and after 4 s in any case.
    pub async fn guard<T, F>(
        &self,
        work: impl Future<Output = T>,
        cancel: impl Fn() -> Option<F>,
    ) -> Guarded<T>
    where
        F: Future,
    {
        let mut work = pin!(work);
        let cause = tokio::select! {
            biased;
            out = &mut work => return Guarded::Ended(out),
            cause = self.wait() => cause,
        };
        let mut requests = FuturesUnordered::new();
        let telling = tell(work, &cancel, &mut requests);
        let told = tokio::time::timeout(CANCEL_LIMIT, telling).await;
        if matches!(told, Ok(Some(_))) {
            // A pooler still passes the last one on, and minds it when its client goes away meanwhile.
            let rest = async { while requests.next().await.is_some() {} };
            let _ = tokio::time::timeout(REST_LIMIT, rest).await;
        }
        match told {
            Ok(Some(out)) => Guarded::Told(out, cause),
            Ok(None) | Err(_) => Guarded::Dropped {
                cause,
                unconfirmed: cancel().is_some(),
            },
        }
    }
}

/// Sends cancel requests beside the work, until it ends; `None` when there is nothing to cancel in the first place.
async fn tell<T, F: Future>(
    mut work: Pin<&mut impl Future<Output = T>>,
    cancel: &impl Fn() -> Option<F>,
    requests: &mut FuturesUnordered<F>,
) -> Option<T> {
    requests.push(cancel()?);
    let mut again = interval(CANCEL_AGAIN);
    again.reset();
    loop {
        tokio::select! {
            biased;
            out = &mut work => return Some(out),
            // The answer tells nothing; the effect does.
            Some(_) = requests.next() => {}
            _ = again.tick() => requests.extend(cancel()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, future};

    use tokio::{sync::Notify, time::sleep};

    use super::*;

    const SOON: Duration = Duration::from_millis(100);

    fn soon() -> Stop {
        Stop::new(Shutdown::silent(), Some(SOON))
    }

    /// Requests that each take longer than the pause between them arrive all the same.
    #[tokio::test]
    async fn slow_requests_arrive() {
        let (arrived, sent) = (Notify::new(), Cell::new(0));
        let began = Instant::now();
        let request = || {
            sent.set(sent.get() + 1);
            Some(async {
                sleep(CANCEL_AGAIN * 2).await;
                arrived.notify_one();
            })
        };
        let guarded = soon().guard(arrived.notified(), request).await;
        assert!(matches!(guarded, Guarded::Told((), Cause::Deadline)));
        assert!(began.elapsed() >= SOON + CANCEL_AGAIN * 2);
        assert!((2..=3).contains(&sent.get()), "{}", sent.get());
    }

    #[tokio::test]
    async fn without_an_effect_the_work_is_dropped() {
        let began = Instant::now();
        let request = || Some(future::ready(()));
        let guarded = soon().guard(future::pending::<()>(), request).await;
        assert!(matches!(
            guarded,
            Guarded::Dropped {
                unconfirmed: true,
                ..
            }
        ));
        assert!(began.elapsed() >= CANCEL_LIMIT);
    }

    #[tokio::test]
    async fn with_nothing_to_cancel_the_work_is_dropped_at_once() {
        let began = Instant::now();
        let nothing = || None::<future::Ready<()>>;
        let guarded = soon().guard(future::pending::<()>(), nothing).await;
        assert!(matches!(
            guarded,
            Guarded::Dropped {
                unconfirmed: false,
                ..
            }
        ));
        assert!(began.elapsed() < CANCEL_LIMIT);
    }
}
