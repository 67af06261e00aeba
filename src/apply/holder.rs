//! The second connection that holds the main key in an idle transaction while the first one runs a migration in pieces:
//! behind a transaction pooler, where no session-level lock may be taken, and on servers before 14, where nothing would
//! end a paused client that holds one.

use std::{future::Future, time::Duration};

use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::{Failure, Frame};
use crate::{
    connect::{self, Canceller, Class},
    exit::ExitStatus,
    hold::{Hold, State, Waiter},
    lock::{Holder, LockKeys},
    migration::quote_literal,
    wire::{self, Reply},
};

/// How long a cancel request may take.
const CANCEL_LIMIT: Duration = Duration::from_secs(5);
/// A cancel request can be lost, or come before the statement: it is sent again.
const CANCEL_AGAIN: Duration = Duration::from_secs(1);
/// How long the second connection may take to come.
const OPEN_LIMIT: Duration = Duration::from_secs(10);

/// The session that holds the lock.
pub(super) struct HolderSession(Hold);

/// How a statement beside the lock ended.
pub(super) enum Ended {
    /// By itself.
    Itself(Reply),
    /// It was cancelled because the lock was lost.
    LockLost,
    /// It was cancelled because it would have waited for ever, for this reason.
    WaitedFor(Reply, String),
}

// === impl HolderSession ===

impl HolderSession {
    /// Connects and takes the main key, or tells that somebody else has it.
    pub(super) async fn open(params: &connect::Params, frame: &Frame) -> Result<Self, Failure> {
        let session = match timeout(OPEN_LIMIT, connect::connect_once(params)).await {
            Ok(Ok(session)) => session,
            Ok(Err(error)) => return Err(no_second(&error)),
            Err(_) => {
                return Err(no_slot());
            }
        };
        let begin = frame.holder_begin();
        let sent = Instant::now();
        let answer = timeout(OPEN_LIMIT, wire::query(session.client(), &begin.sql)).await;
        let Ok(mut reply) = answer else {
            return Err(no_slot());
        };
        if reply
            .scalar(begin.count - 1)
            .map_err(Failure::of_own)?
            .as_deref()
            != Some("t")
        {
            return Err(Failure::LockHeld);
        }
        let question = waiting_builds_sql(&frame.keys, &frame.application_name);
        Ok(Self(Hold::keep(session, sent, question)))
    }

    /// A beat right now: whether the lock is still ours.
    pub(super) async fn confirm(&self) -> Result<(), Failure> {
        if self.0.confirm().await {
            Ok(())
        } else {
            Err(Failure::LockHeld)
        }
    }

    /// Runs a statement of the first connection under the lock, bounds its time (a pooler does not let us set
    /// `statement_timeout` for it), and cancels it when the lock is lost or when a foreign tool that blocks on our own
    /// key would make it wait for ever.
    pub(super) async fn beside(
        &self,
        statement: impl Future<Output = Reply>,
        limit: Option<Duration>,
        cancel: &Canceller,
    ) -> Ended {
        let mut statement = std::pin::pin!(statement);
        let end = limit.and_then(|limit| Instant::now().checked_add(limit));
        let late = async {
            match end {
                Some(end) => sleep_until(end).await,
                None => std::future::pending().await,
            }
        };
        let found = tokio::select! {
            biased;
            reply = &mut statement => return Ended::Itself(reply),
            found = self.0.alarm() => found,
            () = late => State::default(),
        };
        loop {
            let nudge = async {
                // The answer tells nothing; the effect does.
                let _ = timeout(CANCEL_LIMIT, cancel.cancel()).await;
                sleep(CANCEL_AGAIN).await;
            };
            tokio::select! {
                biased;
                reply = &mut statement => {
                    return match found {
                        State { lost: Some(_), .. } => Ended::LockLost,
                        State { waiter: Some(waiter), .. } => Ended::WaitedFor(reply, reason(&waiter)),
                        State { .. } => Ended::Itself(reply),
                    };
                }
                () = nudge => {}
            }
        }
    }

    /// Ends the transaction and with it the lock.
    pub(super) async fn release(self) {
        self.0.release().await;
    }
}

fn reason(waiter: &Waiter) -> String {
    format!(
        "{waiter} blocks in pg_advisory_lock on the same key, and our statement would wait for its snapshot for ever"
    )
}

/// Neither connection may wait for the other for ever where the pooler has one server connection for both.
pub(super) async fn within_reach<T>(
    answer: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    timeout(OPEN_LIMIT, answer)
        .await
        .unwrap_or_else(|_| Err(no_slot()))
}

fn no_slot() -> Failure {
    Failure::no_second_connection(
        "there was no server connection for it within 10 s; the pooler needs a pool of at least 2",
        ExitStatus::Locked,
    )
}

/// A second connection that is refused for now is worth another try; one that is refused for good is not.
fn no_second(error: &connect::Error) -> Failure {
    let status = match error.class() {
        Class::Permanent(status) => status,
        Class::Transient | Class::ConnectionLost | Class::Statement => ExitStatus::Locked,
    };
    Failure::no_second_connection(&error.to_string(), status)
}

/// The sessions that block on our key and that our own statement waits for.
fn waiting_builds_sql(keys: &LockKeys, application_name: &str) -> String {
    format!(
        "{} AND EXISTS (SELECT 1 FROM pg_catalog.pg_locks b JOIN pg_catalog.pg_stat_activity s ON s.pid = b.pid \
         WHERE NOT b.granted AND s.application_name = {} AND l.pid = ANY (pg_catalog.pg_blocking_pids(b.pid)))",
        Holder::waiters_sql(keys),
        quote_literal(application_name)
    )
}
