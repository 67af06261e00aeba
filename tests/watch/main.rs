//! A statement that takes long or waits, looked at from a second connection; and what becomes of the application's traffic
//! meanwhile.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "clippy excuses test functions by itself, but not the helpers that they call"
)]

/// What the integration tests stand on.
#[path = "../it"]
mod it {
    #[allow(
        dead_code,
        unused_imports,
        reason = "the other test binary uses the rest"
    )]
    pub(crate) mod harness;
}
use it::harness;

mod blockers;
mod connections;
mod progress;
mod slow;
mod terminal;
mod traffic;
