//! Polling with a limit instead of sleeping.

use std::env;
use std::thread;
use std::time::{Duration, Instant};

/// How long [`eventually!`] waits: `TEST_PATIENCE` seconds, 30 unless set.
pub(crate) fn patience() -> Duration {
    let seconds = env::var("TEST_PATIENCE").map_or(30, |text| {
        text.parse().expect("TEST_PATIENCE is a number of seconds")
    });
    Duration::from_secs(seconds)
}

/// Asks every few milliseconds until the answer is yes; `false` when patience ran out.
pub(crate) fn becomes_true(mut holds: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + patience();
    loop {
        if holds() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// Asserts that a condition becomes true within [`patience`]. What follows the condition is the message of the failure,
/// formatted only then.
macro_rules! eventually {
    ($condition:expr, $($message:tt)+) => {
        assert!(
            $crate::harness::eventually::becomes_true(|| $condition),
            "not within {:?}: {}",
            $crate::harness::eventually::patience(),
            format_args!($($message)+),
        )
    };
}
pub(crate) use eventually;
