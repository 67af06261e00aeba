//! Why a run goes back to its first look, and how long it pauses before.

use std::time::{Duration, Instant};

use super::{Done, Error, Event, Interrupted, Runner};
use crate::{
    apply::SqlFailure,
    connect::{self, Session},
    history::Snapshot,
    lock::{Holder, STALL_LIMIT},
    migration::{Migration, TransactionMode},
    plan::Plan,
    wire,
};

/// How often the connection may be lost in the same migration before it is given up: it may be the migration that
/// ends the server.
const LOST_LIMIT: u32 = 3;

/// How often a server without disk or memory is asked again: each time it fills up to its end, beside the application.
const EXHAUSTED_LIMIT: u32 = 3;

/// How often in a row another session may have applied what was to be applied, while the history does not change.
const AGAIN_LIMIT: u32 = 20;

/// The pause before looking again, which grows with every time.
const AGAIN_PAUSE: Duration = Duration::from_millis(10);

// === impl Runner ===

impl Runner<'_> {
    pub(super) async fn wait_for_lock(
        &mut self,
        holder: Option<Holder>,
        rows: usize,
    ) -> Result<(), Error> {
        self.waited = true;
        let pause = self
            .queue
            .pause(self.params.lock_wait, holder, rows, self.on_event)?;
        tokio::time::sleep(pause).await;
        Ok(())
    }

    /// A pod that was stopped in the middle of a `COPY` keeps the lock for as long as it stands still, unless whoever waits
    /// for it ends its session. What it had sent is rolled back.
    pub(super) async fn end_stalled(&mut self, session: &Session, holder: Option<&Holder>) {
        let Some(holder) = holder.filter(|_| self.stall.is_over(holder, Instant::now())) else {
            return;
        };
        let ended = wire::execute(session.client(), &holder.end_sql())
            .await
            .ok();
        let outcome = ended.map_or_else(
            |error| {
                let (why, pid) = (connect::describe(&error), holder.pid);
                format!("it could not be ended: {why}; as a superuser: SELECT pg_terminate_backend({pid})")
            },
            |()| "its session was ended".to_owned(),
        );
        let warning = format!(
            "{holder} has the lock and has sent nothing of the data of its COPY for {} s, so its pod stands still: {outcome}",
            STALL_LIMIT.as_secs()
        );
        (self.on_event)(Event::Warning(&warning));
    }

    pub(super) async fn retry(&mut self, failure: Box<SqlFailure>) -> Result<(), Error> {
        self.retries += 1;
        let limit = if failure.is_exhaustion() {
            self.params.lock_retries.min(EXHAUSTED_LIMIT)
        } else {
            self.params.lock_retries
        };
        if self.retries > limit {
            return Err(Error::Retries(failure));
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

    pub(super) async fn lost(&mut self, error: &tokio_postgres::Error) -> Result<(), Error> {
        if let Some(cause) = self.stop.cause() {
            return Err(Error::Stopped {
                cause,
                statement: Interrupted::Unconfirmed,
            });
        }
        self.lost += 1;
        if self.lost == 1 {
            self.lost_pause.reset();
        }
        let text = connect::describe(error);
        if self.lost > LOST_LIMIT {
            return Err(Error::Lost(format!(
                "the connection was lost {} times in a row: {text}",
                self.lost
            )));
        }
        (self.on_event)(Event::Lost {
            error: text,
            version: self
                .under_way
                .as_ref()
                .map(|migration| migration.version.as_str()),
        });
        tokio::time::sleep(self.lost_pause.next_delay()).await;
        Ok(())
    }

    /// Another pod was faster; its row must be visible at the next look. `rows` is how many there were before.
    pub(super) async fn again(&mut self, rows: usize) -> Result<(), Error> {
        if rows != self.repeats_at {
            (self.repeats, self.repeats_at) = (0, rows);
        }
        self.repeats += 1;
        if self.repeats > AGAIN_LIMIT {
            return Err(Error::Inconsistent);
        }
        tokio::time::sleep(AGAIN_PAUSE * self.repeats).await;
        Ok(())
    }

    /// After a lost connection: the look behind the lock has told whether the commit went through.
    pub(super) fn note_fate(&mut self, snapshot: &Snapshot, plan: &Plan) {
        let ahead = self.ahead.take();
        let Some(Migration { version, .. }) = self.under_way.take() else {
            return;
        };
        let is_pending = |version: &String| {
            plan.run
                .iter()
                .any(|&index| self.source.migrations[index].version == *version)
        };
        let note = if is_pending(&version) {
            format!(
                "the connection was lost during {version}, which was rolled back; the history has {} rows",
                snapshot.rows.len()
            )
        } else {
            // In one transaction all were committed with the last one.
            let together = match self.params.transaction {
                TransactionMode::Each => [Some(version.clone()), ahead]
                    .into_iter()
                    .flatten()
                    .collect(),
                TransactionMode::All => std::mem::take(&mut self.attempted),
            };
            let mut done = self.done.borrow_mut();
            for version in together {
                if !is_pending(&version) && !done.iter().any(|done| done.version == version) {
                    done.push(Done {
                        version,
                        elapsed: Duration::ZERO,
                    });
                }
            }
            format!("the connection was lost during {version}, which was committed")
        };
        (self.on_event)(Event::Note(&note));
    }
}
