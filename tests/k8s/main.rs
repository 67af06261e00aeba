//! The chart, the manifests and the words around them: rendered by the real tools, validated strictly against three versions
//! of Kubernetes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "clippy excuses test functions by itself, but not the helpers that they call"
)]

/// What the integration tests stand on, at the path that its macros name.
#[path = "../it"]
mod it {
    #[allow(
        dead_code,
        unused_imports,
        reason = "each test binary uses a part of it"
    )]
    pub(crate) mod harness;
}
use it::harness;

mod backup;
mod chart;
mod documents;
mod kustomize;
mod manifests;
mod monitoring;
mod roles;
mod self_check;
mod snapshot;
mod tools;
mod workflows;
