//! Waiting for a lock that is elsewhere, without a connection.

use std::time::{Duration, Instant};

use super::{Error, Event, LockWait};
use crate::{
    connect::Backoff,
    lock::{Holder, Patience},
};

/// A place in the queue: how often it was looked, and since when nothing has moved.
#[derive(Debug)]
pub struct Queue {
    backoff: Backoff,
    patience: Option<Patience>,
}

// === impl Queue ===

impl Queue {
    /// Nobody waits yet.
    pub fn new() -> Self {
        Self {
            backoff: Backoff::connecting(),
            patience: None,
        }
    }

    /// How long to pause after a look that has shown the lock elsewhere, with so many rows in the history.
    ///
    /// # Errors
    ///
    /// [`Error::LockWait`] when it is time to give up.
    pub fn pause(
        &mut self,
        wait: LockWait,
        holder: Option<Holder>,
        rows: usize,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<Duration, Error> {
        let given_up = |holder: Option<Holder>, stuck_for, off| Error::LockWait {
            holder: holder.map(Box::new),
            stuck_for,
            off,
        };
        let LockWait::For(limit) = wait else {
            return Err(given_up(holder, Duration::ZERO, true));
        };
        let now = Instant::now();
        let patience = self
            .patience
            .get_or_insert_with(|| Patience::new(limit, now));
        if !patience.goes_on(holder.as_ref(), rows, now) {
            return Err(given_up(holder, patience.stuck_for(now), false));
        }
        let next_in = self.backoff.next_delay().min(patience.left(now));
        on_event(Event::LockElsewhere {
            holder: holder.as_ref(),
            next_in,
        });
        Ok(next_in)
    }
}

impl Default for Queue {
    fn default() -> Self {
        Self::new()
    }
}
