//! The integration tests: the built binary against real servers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "clippy excuses test functions by itself, but not the helpers that they call"
)]

#[allow(dead_code, reason = "other test binaries use the rest")]
mod harness;

mod ahead;
mod apply;
mod audit;
mod bad_input;
mod baseline;
mod config;
mod conflicts;
mod connect;
mod doctor;
mod down;
mod drift;
mod drizzle;
mod exec;
mod exit_codes;
mod gates;
mod guard;
mod half_there;
mod history;
mod lint;
mod lock;
mod marker;
mod metrics;
mod page;
mod pieces;
mod plan;
mod pooler;
mod preflight;
mod probe;
mod quit;
mod readme;
mod repair;
mod restore;
mod risk;
mod run;
mod self_check;
mod session_state;
mod sidecar;
mod signals;
mod sql;
mod trace;
mod validate;
mod verify;
mod versions;
mod wait_schema;
mod wrapped;
