//! Holding the lock idly: a session whose transaction does nothing but hold the key, and a task that beats for it.
//!
//! An idle READ COMMITTED transaction that holds only an advisory lock has no snapshot, so a concurrent index build
//! beside it does not wait for it, and it is held as well behind a transaction pooler as on a direct line. The server
//! ends the transaction after [`IDLE_LIMIT`] without a sign of life. The task gives one every
//! [`HEARTBEAT`], whatever else goes on, and takes the lock for lost long before the server gives it away.

use std::{fmt, sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep_until, timeout, timeout_at},
};

use crate::{
    connect::{self, Session},
    lock::{HEARTBEAT, IDLE_LIMIT},
    wire::{self, Row},
};

/// Without an answer to anything sent in this time the lock counts as lost.
const SILENCE: Duration = Duration::from_secs(10);
/// What was done under a lost lock must be over this long after the last sign of life, which leaves a quarter of the
/// server's patience for clocks and scheduling.
const OVER: Duration = Duration::from_secs(15);
/// What was done under the lock and is not over then is ended by others ([`Hold::sign`]): the rest is the distance
/// between two clocks.
const KEPT: Duration = Duration::from_secs(17);
/// What a sign of life gets at least, when this process was stopped and is late itself.
const LATE: Duration = Duration::from_secs(1);
/// How long the server may take for the end of the transaction.
const END_LIMIT: Duration = Duration::from_secs(5);

const _: () = assert!(
    HEARTBEAT.as_secs() < SILENCE.as_secs()
        && SILENCE.as_secs() < OVER.as_secs()
        && OVER.as_secs() < KEPT.as_secs()
        && KEPT.as_secs() < IDLE_LIMIT.as_secs()
);

/// How long work may go on that was told to end because its lock is lost.
pub const GRACE: Duration = Duration::from_secs(OVER.as_secs() - SILENCE.as_secs());

/// A session that holds the lock, and the task that beats for it. Dropping it ends both.
pub struct Hold {
    session: Arc<Session>,
    state: watch::Receiver<State>,
    /// When the last message that was answered was sent.
    answered: watch::Receiver<Instant>,
    beating: Beating,
}

/// The task; it ends with its owner.
struct Beating(JoinHandle<()>);

/// What the last beat has shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// The connection or its transaction is gone, and the lock with it.
    pub lost: Option<Lost>,
    /// Who the beat's question found: a session that waits for this lock.
    pub waiter: Option<Waiter>,
}

/// The loss of the lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// What happened, without secrets.
    pub why: String,
    /// When the work must be over: the server has given the lock away, or may do so soon after.
    pub until: Instant,
}

/// A session that waits for the lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiter {
    /// Its server process.
    pub pid: String,
    /// As it calls itself; may be empty.
    pub application_name: String,
}

/// Why the transaction that holds the lock did not end as asked.
#[derive(Debug)]
pub enum Unended {
    /// The server's answer, or the connection's end.
    Server(tokio_postgres::Error),
    /// No answer in time: the transaction may have been committed.
    NoAnswer,
}

// === impl Hold ===

impl Hold {
    /// Keeps a session whose transaction has just got the lock. `sent` is when the message that took it was sent, and
    /// `question` is what each beat asks: its rows are pid and `application_name` of sessions that wait for the lock.
    pub fn keep(session: Session, sent: Instant, question: String) -> Self {
        let session = Arc::new(session);
        let (tell, state) = watch::channel(State::default());
        let (sign, answered) = watch::channel(sent);
        let task = beat(Arc::clone(&session), question, tell, sign);
        Self {
            session,
            state,
            answered,
            beating: Beating(tokio::spawn(task)),
        }
    }

    /// A beat right now: whether the lock is still ours.
    pub async fn confirm(&self) -> bool {
        let beat = timeout(
            SILENCE / 2,
            wire::execute(self.session.client(), "SELECT 1"),
        );
        let answered = beat.await.is_ok_and(|reply| reply.error.is_none());
        answered && self.state.borrow().lost.is_none()
    }

    /// Waits for a sign of life of the server after the one that was `known`. It answers which, and until when the lock
    /// is ours without another; for ever once it is lost.
    pub async fn sign(&self, known: Option<Instant>) -> (Instant, Instant) {
        let mut answered = self.answered.clone();
        let newer = answered.wait_for(|answered| known.is_none_or(|known| *answered > known));
        match newer.await {
            Ok(answered) => (*answered, *answered + KEPT),
            Err(_) => std::future::pending().await,
        }
    }

    /// Waits until the lock is lost or somebody waits for it.
    pub async fn alarm(&self) -> State {
        self.when(|state| state.lost.is_some() || state.waiter.is_some())
            .await
    }

    /// Waits until the lock is lost.
    pub async fn lost(&self) -> Lost {
        self.when(|state| state.lost.is_some())
            .await
            .lost
            .unwrap_or_else(|| Lost::now("nobody watches the lock's connection".to_owned()))
    }

    /// Waits until a beat finds somebody who waits for the lock; for ever once it is lost.
    pub async fn waiter(&self) -> Waiter {
        match self.alarm().await.waiter {
            Some(waiter) => waiter,
            None => std::future::pending().await,
        }
    }

    async fn when(&self, wrong: impl Fn(&State) -> bool) -> State {
        let mut state = self.state.clone();
        match state.wait_for(wrong).await {
            Ok(found) => found.clone(),
            // The task has ended without a word, which it does not do.
            Err(_) => State {
                lost: Some(Lost::now("nobody watches the lock's connection".to_owned())),
                waiter: None,
            },
        }
    }

    /// Ends the transaction, and with it the lock, by `sql`, which contains the `COMMIT`.
    pub async fn end(self, sql: &str) -> Result<(), Unended> {
        if let Some(session) = self.end_and_keep(sql).await? {
            session.close().await;
        }
        Ok(())
    }

    /// The same, and the session stays for what follows.
    pub async fn end_and_keep(mut self, sql: &str) -> Result<Option<Session>, Unended> {
        self.beating.0.abort();
        let outcome = match timeout(END_LIMIT, wire::execute(self.session.client(), sql)).await {
            Ok(reply) => reply.ok().map_err(Unended::Server),
            Err(_) => Err(Unended::NoAnswer),
        };
        let _ = (&mut self.beating.0).await;
        let session = Arc::try_unwrap(self.session).ok();
        match (outcome, session) {
            (Ok(()), session) => Ok(session),
            (Err(unended), session) => {
                if let Some(session) = session {
                    session.close().await;
                }
                Err(unended)
            }
        }
    }

    /// Ends the transaction without any effect, and with it the lock.
    pub async fn release(self) {
        // The end of the connection does the same.
        let _ = self.end("ROLLBACK").await;
    }
}

async fn beat(
    session: Arc<Session>,
    question: String,
    tell: watch::Sender<State>,
    sign: watch::Sender<Instant>,
) {
    loop {
        let mut answered = *sign.borrow();
        let closed = tokio::select! {
            biased;
            error = session.closed() => Some(error),
            () = sleep_until(answered + HEARTBEAT) => None,
        };
        let outcome = if let Some(error) = closed {
            Err(Lost::now(error.map_or_else(
                || "the server closed the connection".to_owned(),
                |error| connect::describe(&error),
            )))
        } else {
            ask(&session, &question, &mut answered).await
        };
        let state = match outcome {
            Ok(waiter) => State { lost: None, waiter },
            Err(lost) => State {
                lost: Some(lost),
                waiter: None,
            },
        };
        let lost = state.lost.is_some();
        if !lost {
            sign.send_replace(answered);
        }
        if tell.send(state).is_err() || lost {
            return;
        }
    }
}

/// One sign of life. What counts is when it was sent: the server counts from later.
async fn ask(
    session: &Session,
    question: &str,
    answered: &mut Instant,
) -> Result<Option<Waiter>, Lost> {
    let sent = Instant::now();
    let limit = (*answered + SILENCE).max(sent + LATE);
    let Ok(mut reply) = timeout_at(limit, wire::query(session.client(), question)).await else {
        let silent = answered.elapsed().as_secs();
        return Err(Lost {
            why: format!("the server has not answered for {silent} s"),
            until: *answered + OVER,
        });
    };
    let rows = reply
        .rows(0)
        .map_err(|error| Lost::now(connect::describe(&error)))?;
    *answered = sent;
    Ok(rows.first().map(Waiter::of))
}

impl Drop for Beating {
    fn drop(&mut self) {
        self.0.abort();
    }
}

// === impl Lost ===

impl Lost {
    /// The server has ended the transaction, so the lock is free already.
    fn now(why: String) -> Self {
        Self {
            why,
            until: Instant::now() + GRACE,
        }
    }
}

// === impl Unended ===

impl fmt::Display for Unended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(error) => f.write_str(&connect::describe(error)),
            Self::NoAnswer => write!(f, "no answer within {} s", END_LIMIT.as_secs()),
        }
    }
}

// === impl Waiter ===

impl Waiter {
    fn of(row: &Row) -> Self {
        let text = |column: usize| row.get(column).cloned().flatten().unwrap_or_default();
        Self {
            pid: text(0),
            application_name: text(1),
        }
    }
}

impl fmt::Display for Waiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pid {} ({})", self.pid, self.application_name)
    }
}
