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
mod exec;
mod exit_codes;
mod guard;
mod half_there;
mod history;
mod lint;
mod lock;
mod marker;
mod metrics;
mod page;
mod pieces;
mod pooler;
mod probe;
mod quit;
mod readme;
mod risk;
mod run;
mod self_check;
mod session_state;
mod sidecar;
mod signals;
mod sql;
mod versions;
mod wait_schema;
mod wrapped;
