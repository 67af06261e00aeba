//! The second connection that holds the main key in an idle transaction while the first one runs a migration in pieces:
//! behind a transaction pooler, where no session-level lock may be taken, and on servers before 14, where nothing would
//! end a paused client that holds one.
//!
//! An idle READ COMMITTED transaction that holds only an advisory lock has no snapshot, so a concurrent index build
//! beside it does not wait for it. A task of its own beats for as long as the lock is held, whatever the first
//! connection does meanwhile: the server ends the transaction after 20 s without a sign of life.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{Failure, Frame};
use crate::{
    connect::{self, Canceller, Class, Session},
    exit::ExitStatus,
    lock::{Holder, LockKeys},
    migration::quote_literal,
    wire::{self, Reply},
};

const HEARTBEAT: Duration = Duration::from_secs(5);
/// A beat without an answer for so long is a lost connection.
const BEAT_LIMIT: Duration = Duration::from_secs(5);
/// A cancel request can be lost, or come before the statement: it is sent again.
const CANCEL_AGAIN: Duration = Duration::from_secs(1);
/// How long the second connection may take to come.
const OPEN_LIMIT: Duration = Duration::from_secs(10);

/// The session that holds the lock.
pub(super) struct HolderSession {
    session: Arc<Session>,
    state: watch::Receiver<State>,
    task: JoinHandle<()>,
}

/// What the last beat has shown.
#[derive(Debug, Clone, Default)]
struct State {
    /// The connection or its transaction is gone, and the lock with it.
    lost: bool,
    /// A foreign session that blocks on our key and that our own statement waits for.
    waiter: Option<String>,
}

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
            Ok(Ok(session)) => Arc::new(session),
            Ok(Err(error)) => return Err(no_second(&error)),
            Err(_) => {
                return Err(no_slot());
            }
        };
        let begin = frame.holder_begin();
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
        let (tell, state) = watch::channel(State::default());
        let question = waiting_builds_sql(&frame.keys, &frame.application_name);
        let task = tokio::spawn(beat(Arc::clone(&session), question, tell));
        Ok(Self {
            session,
            state,
            task,
        })
    }

    /// A beat right now: whether the lock is still ours.
    pub(super) async fn confirm(&self) -> Result<(), Failure> {
        let reply = timeout(BEAT_LIMIT, wire::execute(self.session.client(), "SELECT 1")).await;
        match reply {
            Ok(reply) if reply.error.is_none() && !self.state.borrow().lost => Ok(()),
            _ => Err(Failure::LockHeld),
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
        let mut state = self.state.clone();
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
            found = alarm(&mut state) => found,
            () = late => State::default(),
        };
        loop {
            let nudge = async {
                // The answer tells nothing; the effect does.
                let _ = timeout(BEAT_LIMIT, cancel.cancel()).await;
                sleep(CANCEL_AGAIN).await;
            };
            tokio::select! {
                biased;
                reply = &mut statement => {
                    return match found {
                        State { lost: true, .. } => Ended::LockLost,
                        State { waiter: Some(waiter), .. } => Ended::WaitedFor(reply, waiter),
                        State { .. } => Ended::Itself(reply),
                    };
                }
                () = nudge => {}
            }
        }
    }

    /// Ends the transaction and with it the lock.
    pub(super) async fn release(self) {
        self.task.abort();
        // The end of the connection releases it as well.
        let _ = timeout(BEAT_LIMIT, wire::execute(self.session.client(), "ROLLBACK")).await;
        let _ = self.task.await;
        if let Ok(session) = Arc::try_unwrap(self.session) {
            session.close().await;
        }
    }
}

/// Waits until something is wrong.
async fn alarm(state: &mut watch::Receiver<State>) -> State {
    let wrong = |state: &State| state.lost || state.waiter.is_some();
    match state.wait_for(wrong).await {
        Ok(found) => found.clone(),
        // The task has ended without a word, which only losing the lock does.
        Err(_) => State {
            lost: true,
            waiter: None,
        },
    }
}

async fn beat(session: Arc<Session>, question: String, tell: watch::Sender<State>) {
    loop {
        sleep(HEARTBEAT).await;
        let reply = timeout(BEAT_LIMIT, wire::query(session.client(), &question)).await;
        let rows = reply.ok().and_then(|mut reply| reply.rows(0).ok());
        let state = State {
            lost: rows.is_none(),
            waiter: rows.as_deref().and_then(waiter),
        };
        let lost = state.lost;
        if tell.send(state).is_err() || lost {
            return;
        }
    }
}

fn waiter(rows: &[wire::Row]) -> Option<String> {
    let row = rows.first()?;
    let text = |column: usize| row.get(column).cloned().flatten().unwrap_or_default();
    Some(format!(
        "pid {} ({}) blocks in pg_advisory_lock on the same key, and our statement would wait for its snapshot for ever",
        text(0),
        text(1)
    ))
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
