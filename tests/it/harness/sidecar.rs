//! A running sidecar, and what its endpoints say.

use std::net::SocketAddr;

use serde_json::Value;

use super::binary::{Outcome, Running, Schemagate};
use super::eventually::eventually;
use super::http::{self, Answer};

/// A sidecar that serves.
pub(crate) struct Sidecar {
    pub(crate) running: Running,
    address: SocketAddr,
}

// === impl Sidecar ===

impl Sidecar {
    /// Starts it at a free port and waits until it serves.
    #[track_caller]
    pub(crate) fn start(call: &Schemagate) -> Self {
        let running = call.clone().env("SCHEMAGATE_LISTEN", "127.0.0.1:0").spawn();
        let mut address = None;
        eventually!(
            {
                address = address_in(&running.stderr());
                address.is_some()
            },
            "no address in\n{}",
            running.stderr()
        );
        Self {
            running,
            address: address.expect("an address"),
        }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// For a browser.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Answer {
        http::get(self.address, path)
    }

    /// What `/readyz` answers with.
    #[track_caller]
    pub(crate) fn readyz(&self) -> u16 {
        self.get("/readyz").status
    }

    #[track_caller]
    pub(crate) fn is_ready(&self) -> bool {
        self.readyz() == 200
    }

    /// `/status`.
    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        let body = self.get("/status").body;
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"))
    }

    #[track_caller]
    pub(crate) fn state(&self) -> String {
        self.status()["state"].as_str().expect("a state").to_owned()
    }

    #[track_caller]
    pub(crate) fn reason(&self) -> String {
        self.status()["reason"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// Waits for a state, and says whether `/readyz` is as it should be.
    #[track_caller]
    pub(crate) fn becomes(&self, state: &str, ready: bool) {
        eventually!(
            self.state() == state,
            "state {state}: {:#}\n{}",
            self.status(),
            self.running.stderr()
        );
        assert_eq!(self.is_ready(), ready, "{:#}", self.status());
    }

    /// Waits until the database cannot be asked, or can be.
    #[track_caller]
    pub(crate) fn sees_database(&self, up: bool) {
        eventually!(
            self.status()["database_up"] == up,
            "database_up {up}: {:#}",
            self.status()
        );
    }

    /// SIGTERM, and the end.
    #[track_caller]
    pub(crate) fn stop(self) -> Outcome {
        self.running.signal("TERM");
        self.running.wait()
    }
}

fn address_in(stderr: &str) -> Option<SocketAddr> {
    stderr
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find_map(|line| line["address"].as_str()?.parse().ok())
}
