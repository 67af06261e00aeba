//! A server in trouble: without disk or memory, in a deadlock, with a clock that jumps. The README's table says what each
//! comes to.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
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

mod clock;
mod resources;
mod sessions;
