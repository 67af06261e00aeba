//! The chart, the manifests and the words around them: rendered by the real tools, validated strictly against three versions
//! of Kubernetes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "clippy excuses test functions by itself, but not the helpers that they call"
)]

mod documents;
mod self_check;
mod snapshot;
mod tools;
