//! The pauses between attempts. The only file that knows the `backoff` crate.

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff as _;

/// Exponential backoff with full jitter: each pause is anything between nothing and a bound that doubles.
///
/// It never ends by itself: the crate measures elapsed time with its own clock, so an overall limit belongs into
/// `tokio::time`, where tests can pause it.
#[derive(Debug)]
pub struct Backoff(ExponentialBackoff);

// === impl Backoff ===

impl Backoff {
    /// Pauses of at most `first`, then twice that, and so on up to `longest`.
    pub fn new(first: Duration, longest: Duration) -> Self {
        // A factor of 1 draws from 0 to twice the interval, so half the bound is the interval.
        Self(ExponentialBackoff {
            current_interval: first / 2,
            initial_interval: first / 2,
            randomization_factor: 1.0,
            multiplier: 2.0,
            max_interval: longest / 2,
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        })
    }

    /// What a waiting pod uses: 100 ms doubling to 5 s.
    pub fn connecting() -> Self {
        Self::new(Duration::from_millis(100), Duration::from_secs(5))
    }

    /// The next pause.
    pub fn next_delay(&mut self) -> Duration {
        // `None` stands for an elapsed limit, and none is set.
        self.0.next_backoff().unwrap_or(self.0.max_interval)
    }

    /// Begins anew with the shortest pauses, as after progress.
    pub fn reset(&mut self) {
        self.0.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every pause stays under the doubling bound, and they are not all alike.
    #[test]
    fn full_jitter_under_a_doubling_bound() {
        let mut distinct = std::collections::BTreeSet::new();
        for _ in 0..50 {
            let mut backoff = Backoff::connecting();
            for bound in [100, 200, 400, 800, 1600, 3200, 5000, 5000] {
                let delay = backoff.next_delay();
                assert!(
                    delay <= Duration::from_millis(bound + 1),
                    "{delay:?} above {bound} ms"
                );
                distinct.insert(delay);
            }
        }
        assert!(distinct.len() > 100, "no jitter");
    }

    #[test]
    fn other_bounds_and_reset() {
        let mut backoff = Backoff::new(Duration::from_secs(2), Duration::from_secs(30));
        let longest = (0..200).map(|_| backoff.next_delay()).max();
        assert!(longest > Some(Duration::from_secs(20)), "{longest:?}");
        assert!(
            longest <= Some(Duration::from_millis(30_001)),
            "{longest:?}"
        );
        backoff.reset();
        assert!(backoff.next_delay() <= Duration::from_millis(2001));
    }
}
