//! What many pods, dead pods and lost servers must not break: a thousand at once, ghosts that hold the lock, a foreign tool
//! that blocks on it, a failover.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "clippy excuses test functions by itself, but not the helpers that they call"
)]

#[path = "../it"]
mod it {
    #[allow(dead_code, unused_imports, reason = "other tests use the rest")]
    pub(crate) mod harness;
}
use it::harness;

mod failover;
mod foreign;
mod ghosts;
mod herd;
mod peers;
mod pod;
mod power;

/// A line that is seen also when the test passes: the test runner keeps only what goes through its own macros.
macro_rules! tell {
    ($($text:tt)+) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($text)+);
    }};
}
use tell;
