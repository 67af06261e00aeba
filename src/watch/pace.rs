//! When the next look comes.

use std::time::Duration;

use crate::connect::Backoff;

/// The pauses until the schema is what the image needs: from this, doubling, …
const FIRST: Duration = Duration::from_secs(1);
/// … to this.
const LONGEST: Duration = Duration::from_secs(15);
/// The pause after that.
const SETTLED: Duration = Duration::from_secs(30);

/// The pauses between looks, each anything between nothing and its bound: a hundred pods must not look at once.
#[derive(Debug)]
pub(super) struct Pace {
    unsettled: Backoff,
    settled: Backoff,
}

// === impl Pace ===

impl Pace {
    /// `interval` is `SCHEMAGATE_POLL_INTERVAL`, which stands for all of them.
    pub(super) fn new(interval: Option<Duration>) -> Self {
        let fixed = |bounds: (Duration, Duration)| match interval {
            Some(interval) => Backoff::new(interval, interval),
            None => Backoff::new(bounds.0, bounds.1),
        };
        Self {
            unsettled: fixed((FIRST, LONGEST)),
            settled: fixed((SETTLED, SETTLED)),
        }
    }

    /// The next pause; `settled` once the schema is what the image needs, and it is known what to wait for.
    pub(super) fn next(&mut self, settled: bool) -> Duration {
        if settled {
            self.unsettled.reset();
            self.settled.next_delay()
        } else {
            self.unsettled.next_delay()
        }
    }

    /// Something moves: shorter pauses again.
    pub(super) fn reset(&mut self) {
        self.unsettled.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pauses: impl Iterator<Item = Duration>, bound: u64) {
        let bound = Duration::from_millis(bound);
        let pauses: Vec<Duration> = pauses.take(100).collect();
        let longest = pauses.iter().max().copied().unwrap_or_default();
        assert!(longest <= bound + Duration::from_millis(1), "{longest:?}");
        assert!(longest > bound / 2, "{longest:?}");
    }

    #[test]
    fn the_schedule_of_the_contract() {
        for (step, bound) in [1000, 2000, 4000, 8000, 15_000, 15_000]
            .into_iter()
            .enumerate()
        {
            check(
                std::iter::repeat_with(|| {
                    let mut pace = Pace::new(None);
                    (0..=step).map(|_| pace.next(false)).last().unwrap()
                }),
                bound,
            );
        }
        let mut pace = Pace::new(None);
        check(std::iter::repeat_with(|| pace.next(true)), 30_000);
    }

    #[test]
    fn progress_and_readiness_begin_anew() {
        for settle in [true, false] {
            check(
                std::iter::repeat_with(|| {
                    let mut pace = Pace::new(None);
                    for _ in 0..5 {
                        pace.next(false);
                    }
                    if settle {
                        pace.next(true);
                    } else {
                        pace.reset();
                    }
                    pace.next(false)
                }),
                1000,
            );
        }
    }

    #[test]
    fn a_given_interval_stands_for_all() {
        let mut pace = Pace::new(Some(Duration::from_millis(200)));
        check(std::iter::repeat_with(|| pace.next(false)), 200);
        check(std::iter::repeat_with(|| pace.next(true)), 200);
    }
}
