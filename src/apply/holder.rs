//! The second connection behind a transaction pooler: it holds the main key in an idle transaction while the first
//! one runs a statement outside a transaction.
//!
//! An idle READ COMMITTED transaction that holds only an advisory lock has no snapshot, so a concurrent index build
//! beside it does not wait for it.

use std::{cell::RefCell, future::Future, time::Duration};

use tokio::time::{Instant, MissedTickBehavior};

use super::{Failure, Frame};
use crate::{
    connect::{self, Canceller, Session},
    lock::{Holder, LockKeys},
    wire::{self, Reply},
};

/// The server ends this transaction after 20 s without a sign of life.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// The session that holds the lock.
pub(super) struct HolderSession {
    session: Session,
    keys: LockKeys,
    notes: RefCell<Vec<String>>,
}

// === impl HolderSession ===

impl HolderSession {
    /// Connects and takes the main key, or tells that somebody else has it.
    pub(super) async fn open(params: &connect::Params, frame: &Frame) -> Result<Self, Failure> {
        let session = connect::connect_once(params)
            .await
            .map_err(|error| Failure::Unsupported {
                what: format!("a second connection for the lock cannot be had: {error}"),
                next: "allow the role two connections, or give schemagate a URL of its own (SCHEMAGATE_DATABASE_URL) that goes to the server, not to the pooler"
                    .to_owned(),
            })?;
        let mut reply = wire::query(session.client(), &frame.holder_begin()).await;
        let won = reply.scalar(2).map_err(Failure::of_own)?;
        if won.as_deref() != Some("t") {
            session.close().await;
            return Err(Failure::LockHeld);
        }
        Ok(Self {
            session,
            keys: frame.keys,
            notes: RefCell::new(Vec::new()),
        })
    }

    /// Runs a statement of the first connection under the lock: beats, bounds its time (a pooler does not let us set
    /// `statement_timeout` for it), and cancels it when the lock is lost or when a foreign tool that blocks on our own
    /// key would make it wait for ever.
    pub(super) async fn beside(
        &self,
        statement: impl Future<Output = Reply>,
        limit: Option<Duration>,
        cancel: &Canceller,
    ) -> Result<Reply, Failure> {
        let mut statement = std::pin::pin!(statement);
        let mut beats = tokio::time::interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        let mut lost = false;
        loop {
            tokio::select! {
                biased;
                reply = &mut statement => {
                    return if lost { Err(Failure::LockHeld) } else { Ok(reply) };
                }
                _ = beats.tick() => {
                    let mut reply = wire::query(self.session.client(), &waiting_builds_sql(&self.keys)).await;
                    match reply.rows(0) {
                        Ok(rows) => self.note_waiters(&rows),
                        Err(_) => lost = true,
                    }
                    let late = deadline.is_some_and(|deadline| deadline <= Instant::now());
                    if lost || late || !self.notes.borrow().is_empty() {
                        // Again at the next beat, until it has its effect.
                        let _ = cancel.cancel().await;
                    }
                }
            }
        }
    }

    fn note_waiters(&self, rows: &[wire::Row]) {
        let mut notes = self.notes.borrow_mut();
        if !notes.is_empty() {
            return;
        }
        for row in rows {
            let text = |column: usize| row.get(column).cloned().flatten().unwrap_or_default();
            notes.push(format!(
                "pid {} ({}) blocks in pg_advisory_lock on the same key, and our statement would wait for its snapshot \
                 for ever: the statement was cancelled",
                text(0),
                text(1)
            ));
        }
    }

    /// What there is to tell.
    pub(super) fn notes(&self) -> Vec<String> {
        self.notes.take()
    }

    /// Ends the transaction and with it the lock.
    pub(super) async fn release(self) {
        // The end of the connection releases it as well.
        let _ = wire::execute(self.session.client(), "ROLLBACK").await;
        self.session.close().await;
    }
}

/// The sessions that block on our key and that another session waits for.
fn waiting_builds_sql(keys: &LockKeys) -> String {
    format!(
        "{} AND EXISTS (SELECT 1 FROM pg_catalog.pg_locks b WHERE NOT b.granted AND b.pid <> l.pid \
         AND l.pid = ANY (pg_catalog.pg_blocking_pids(b.pid)))",
        Holder::waiters_sql(keys)
    )
}
