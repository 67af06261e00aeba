//! The integration tests: the built binary against real servers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "clippy excuses test functions by itself, but not the helpers that they call"
)]

mod harness;

mod apply;
mod bad_input;
mod config;
mod conflicts;
mod connect;
mod drizzle;
mod exit_codes;
mod half_there;
mod history;
mod lock;
mod metrics;
mod pieces;
mod pooler;
mod probe;
mod quit;
mod readme;
mod self_check;
mod session_state;
mod signals;
mod sql;
mod versions;
