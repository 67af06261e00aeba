//! The parts of the other tests' harness that these use.

#[path = "../it/harness/eventually.rs"]
pub(crate) mod eventually;
#[path = "../it/harness/process.rs"]
#[allow(dead_code, reason = "the other tests use the rest")]
pub(crate) mod process;

pub(crate) use eventually::eventually;
