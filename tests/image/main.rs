//! The image, its examples and compose.yaml, in a real container engine.
//!
//! No image is pulled: what stands for a public base image is made of this machine's own Debian packages.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "clippy excuses test functions by itself, but not the helpers that they call"
)]

mod harness;

mod bases;
mod compose;
mod container;
mod content;
mod dockerfile;
mod engine;
mod exit_codes;
mod postgres;
mod run;
mod ways;
