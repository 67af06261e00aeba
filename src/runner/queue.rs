//! Waiting for a lock that is elsewhere, without a connection.

use std::time::{Duration, Instant};

use super::{Error, Event, LockWait};
use crate::{
    connect::Backoff,
    lock::{Holder, Patience},
};

/// The longest pause between two looks (`Backoff::connecting`).
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// However long a look took: the rest up to the longest pause is left to chance, so that those who wait do not come in step.
const LONGEST_LEAST_PAUSE: Duration = Duration::from_secs(4);

/// A pause is at least so many times as long as the look before it. Where looks take long it is because of all who look: a
/// thousand that pause for half of the longest pause on average keep two processors of a server busy with new sessions alone,
/// and the slower the server, the more of them are under way at once.
const PAUSES_PER_LOOK: u32 = 4;

/// How long a line about the same holder stands for itself: very many may wait, and each of them writes a log.
const TOLD_FOR: Duration = Duration::from_secs(30);

/// A place in the queue: how often it was looked, and since when nothing has moved.
#[derive(Debug)]
pub struct Queue {
    backoff: Backoff,
    /// When the look began that is under way.
    looking: Option<Instant>,
    patience: Option<Patience>,
    /// The holder that was told last, and when.
    told: Option<(Option<String>, Instant)>,
}

// === impl Queue ===

impl Queue {
    /// Nobody waits yet.
    pub fn new() -> Self {
        Self {
            backoff: Backoff::connecting(),
            looking: None,
            patience: None,
            told: None,
        }
    }

    /// A look begins.
    pub fn looks(&mut self) {
        self.looking = Some(Instant::now());
    }

    /// What follows is work, not a look.
    pub fn works(&mut self) {
        self.looking = None;
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
        let looked = self.looking.take().map(|began| now.duration_since(began));
        let next_in = paced(self.backoff.next_delay(), looked.unwrap_or_default());
        let next_in = next_in.min(patience.left(now));
        on_event(Event::LockElsewhere {
            holder: holder.as_ref(),
            next_in,
            told: self.is_told(holder.as_ref(), now),
        });
        Ok(next_in)
    }

    /// Whether a line has said the same a short while ago; else one says it now.
    fn is_told(&mut self, holder: Option<&Holder>, now: Instant) -> bool {
        let holder = holder.map(Holder::to_string);
        let is_told = self
            .told
            .as_ref()
            .is_some_and(|(before, at)| *before == holder && now.duration_since(*at) < TOLD_FOR);
        if !is_told {
            self.told = Some((holder, now));
        }
        is_told
    }
}

/// What was drawn from all pauses up to the longest, brought into those that follow a look of this length. They differ still:
/// who came at once must not come at once again.
fn paced(drawn: Duration, looked: Duration) -> Duration {
    let least = looked
        .saturating_mul(PAUSES_PER_LOOK)
        .min(LONGEST_LEAST_PAUSE);
    least + drawn.mul_f64(1.0 - least.div_duration_f64(LONGEST_PAUSE))
}

impl Default for Queue {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_look_is_followed_by_a_long_pause() {
        let ms = Duration::from_millis;
        for (drawn, looked, pause) in [
            (40, 0, 40),
            (5000, 0, 5000),
            (100, 10, 139),
            (0, 250, 1000),
            (2500, 250, 3000),
            (5000, 250, 5000),
            (0, 8000, 4000),
            (2500, 8000, 4500),
            (5000, 8000, 5000),
        ] {
            let paced = paced(ms(drawn), ms(looked)).as_millis();
            assert_eq!(paced, pause, "{drawn} {looked}");
        }
        assert!(paced(ms(5001), Duration::MAX) <= ms(5001));
    }

    #[test]
    fn the_same_holder_is_told_now_and_then() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut row = vec![None; 9];
        row[0] = Some("42".to_owned());
        let one = Holder::from_row(&row);
        row[0] = Some("43".to_owned());
        let other = Holder::from_row(&row);
        let mut queue = Queue::new();
        for (holder, seconds, told) in [
            (&one, 0, false),
            (&one, 1, true),
            (&one, 29, true),
            (&one, 31, false),
            (&other, 32, false),
            (&None, 33, false),
            (&None, 34, true),
        ] {
            let said = queue.is_told(holder.as_ref(), at(seconds));
            assert_eq!(said, told, "after {seconds} s");
        }
    }
}
