//! Why a run goes back to its first look, and how long it pauses before.

use std::time::{Duration, Instant};

use super::{Error, Event, Interrupted, LockWait, Runner};
use crate::{
    apply::SqlFailure,
    connect,
    lock::{Holder, Patience},
};

/// How often the connection may be lost in the same migration before it is given up: it may be the migration that
/// ends the server.
const LOST_LIMIT: u32 = 3;

/// How often in a row another session may have applied what was to be applied, while the history shows no new row.
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
        let LockWait::For(limit) = self.params.lock_wait else {
            return Err(Error::LockWait {
                holder: holder.map(Box::new),
                stuck_for: Duration::ZERO,
                off: true,
            });
        };
        let now = Instant::now();
        let patience = self
            .patience
            .get_or_insert_with(|| Patience::new(limit, now));
        if !patience.goes_on(holder.as_ref(), rows, now) {
            let stuck_for = patience.stuck_for(now);
            return Err(Error::LockWait {
                holder: holder.map(Box::new),
                stuck_for,
                off: false,
            });
        }
        let next_in = self.queue.next_delay().min(patience.left(now));
        (self.on_event)(Event::LockElsewhere {
            holder: holder.as_ref(),
            next_in,
        });
        tokio::time::sleep(next_in).await;
        Ok(())
    }

    pub(super) async fn retry(&mut self, failure: Box<SqlFailure>) -> Result<(), Error> {
        self.retries += 1;
        if self.retries > self.params.lock_retries {
            return Err(Error::LockRetries(failure));
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
        if rows > self.repeats_at {
            (self.repeats, self.repeats_at) = (0, rows);
        }
        self.repeats += 1;
        if self.repeats > AGAIN_LIMIT {
            return Err(Error::Inconsistent);
        }
        tokio::time::sleep(AGAIN_PAUSE * self.repeats).await;
        Ok(())
    }
}
