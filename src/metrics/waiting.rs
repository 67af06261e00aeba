//! How long the lock of others was waited for: a sum of stretches, the last of which may still go on.

use std::time::{Duration, Instant};

#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// The stretches that are over.
    before: Duration,
    /// The beginning of the one that goes on.
    since: Option<Instant>,
}

// === impl Waiting ===

impl Waiting {
    /// The lock was seen elsewhere. Changes nothing while it is waited for already.
    pub(super) fn begin(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    /// It is ours since `at`, or no longer what is waited for.
    pub(super) fn end(&mut self, at: Instant) {
        if let Some(since) = self.since.take() {
            self.before += at.saturating_duration_since(since);
        }
    }

    /// The sum.
    pub(super) fn total(&self, now: Instant) -> Duration {
        let running = self.since.map(|since| now.saturating_duration_since(since));
        self.before + running.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `+` begins, `-` ends, `?` asks; each at a second. Gives the answers in seconds.
    #[track_caller]
    fn check(steps: &[(u64, char)], expected: &[u64]) {
        let start = Instant::now();
        let mut waiting = Waiting::default();
        let mut answers = Vec::new();
        for (second, step) in steps {
            let now = start + Duration::from_secs(*second);
            match step {
                '+' => waiting.begin(now),
                '-' => waiting.end(now),
                _ => answers.push(waiting.total(now).as_secs()),
            }
        }
        assert_eq!(answers, expected, "{steps:?}");
    }

    #[test]
    fn stretches_add_up() {
        check(&[(0, '?'), (5, '-'), (9, '?')], &[0, 0]);
        check(&[(1, '+'), (1, '?'), (4, '?')], &[0, 3]);
        // Every look that finds the lock elsewhere tells it again.
        check(&[(1, '+'), (3, '+'), (6, '+'), (7, '-'), (9, '?')], &[6]);
        check(
            &[
                (1, '+'),
                (3, '-'),
                (10, '?'),
                (20, '+'),
                (25, '-'),
                (25, '-'),
                (99, '?'),
            ],
            &[2, 7],
        );
        // It was ours before it was first seen elsewhere: clocks of two events.
        check(&[(5, '+'), (4, '-'), (9, '?')], &[0]);
    }
}
