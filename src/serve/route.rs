//! Which answer belongs to a request: pure, over what was last published.

#[cfg(test)]
pub(super) mod tests;

use std::{collections::BTreeMap, net::IpAddr};

use hyper::{
    Method, StatusCode,
    header::{ALLOW, CONTENT_SECURITY_POLICY, HeaderMap, HeaderName},
};
use jiff::Timestamp;

use super::{page, status};
use crate::{
    metrics::{self, Facts, Metrics},
    progress::Progress,
};

/// What is said instead of details.
pub(super) const HINT: &str = "shown to local peers only, such as a port-forward; SCHEMAGATE_DETAIL=all shows it to everybody";

/// What an answer is made of.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// What was last published.
    pub progress: &'a Progress,
    /// The process's metrics.
    pub metrics: &'a Metrics,
    /// Whether the work loop is still there.
    pub alive: bool,
    /// Whether the asker may see details.
    pub detail: bool,
    /// The time.
    pub now: Timestamp,
}

/// What is sent back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// 200, 404, 405 or 503.
    pub status: StatusCode,
    /// Of the body.
    pub content_type: &'static str,
    /// The body; `HEAD` gets its length only.
    pub body: String,
    /// Headers of this answer, beside those that all have.
    pub headers: Vec<(HeaderName, &'static str)>,
}

const TEXT: &str = "text/plain; charset=utf-8";

/// The answer to one request. `path` is taken as it was sent: neither decoded nor cleaned.
pub fn respond(method: &Method, path: &str, query: Option<&str>, seen: &Seen<'_>) -> Answer {
    let progress = seen.progress;
    let verbose = query.is_some_and(asks_for_reason);
    let answer = |content_type, body| Answer {
        status: StatusCode::OK,
        content_type,
        body,
        headers: Vec::new(),
    };
    let found = match path {
        "/livez" => probe(Probe::Live, verbose, seen),
        "/startupz" => probe(Probe::Startup, verbose, seen),
        "/readyz" => probe(Probe::Ready, verbose, seen),
        "/status" if is_read(method) => {
            answer("application/json", status::json(progress, seen.detail))
        }
        "/metrics" if is_read(method) => {
            answer(metrics::CONTENT_TYPE, seen.metrics.render(&facts(progress)))
        }
        "/" if is_read(method) => Answer {
            headers: vec![(CONTENT_SECURITY_POLICY, page::CONTENT_SECURITY_POLICY)],
            ..answer(
                "text/html; charset=utf-8",
                page::page(progress, seen.now, seen.detail),
            )
        },
        "/status" | "/metrics" | "/" => answer(TEXT, String::new()),
        _ => {
            return Answer {
                status: StatusCode::NOT_FOUND,
                ..answer(
                    TEXT,
                    "not found; there are / /livez /startupz /readyz /status /metrics\n".to_owned(),
                )
            };
        }
    };
    if is_read(method) {
        return found;
    }
    Answer {
        status: StatusCode::METHOD_NOT_ALLOWED,
        headers: vec![(ALLOW, "GET, HEAD")],
        ..answer(TEXT, "only GET and HEAD are answered\n".to_owned())
    }
}

fn is_read(method: &Method) -> bool {
    method == Method::GET || method == Method::HEAD
}

/// `?verbose`, also with a value or among others.
fn asks_for_reason(query: &str) -> bool {
    query
        .split('&')
        .any(|pair| pair.split('=').next() == Some("verbose"))
}

/// A question of the kubelet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Probe {
    Live,
    Startup,
    Ready,
}

fn probe(probe: Probe, verbose: bool, seen: &Seen<'_>) -> Answer {
    let progress = seen.progress;
    let state = progress.state.word();
    let why_not = match probe {
        Probe::Live if !seen.alive => Some("not alive: the work loop has ended".to_owned()),
        Probe::Startup if !progress.started => Some(format!("not started: {state}")),
        Probe::Ready if progress.draining => Some("not ready: told to end".to_owned()),
        Probe::Ready if !progress.ready => Some(format!("not ready: {state}")),
        Probe::Live | Probe::Startup | Probe::Ready => None,
    };
    let status = match why_not {
        None => StatusCode::OK,
        Some(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    let mut body = why_not.unwrap_or_else(|| "ok".to_owned());
    body.push('\n');
    if verbose {
        body.push_str(&reason(seen));
    }
    Answer {
        status,
        content_type: TEXT,
        body,
        headers: Vec::new(),
    }
}

/// What `?verbose` adds: one fact a line.
fn reason(seen: &Seen<'_>) -> String {
    let progress = seen.progress;
    let mut facts = vec![
        ("state", Some(progress.state.word().to_owned())),
        ("version", progress.version.clone()),
    ];
    if seen.detail {
        facts.extend([
            ("since", Some(status::time(progress.since))),
            ("reason", progress.reason.clone()),
            ("next step", progress.next_step.clone()),
            ("not checked since", progress.stale_since.map(status::time)),
            (
                "running",
                progress.running.as_ref().map(|running| {
                    format!("{} since {}", running.path, status::time(running.since))
                }),
            ),
            ("lock held by", progress.holder.clone()),
        ]);
    } else if progress.reason.is_some() {
        facts.push(("reason", Some(HINT.to_owned())));
    }
    facts
        .into_iter()
        .filter_map(|(name, value)| value.map(|value| format!("{name}: {value}\n")))
        .collect()
}

/// What the gauges of `/metrics` show.
fn facts(progress: &Progress) -> Facts<'_> {
    let mut counts = BTreeMap::<&str, usize>::new();
    if let Some(schema) = &progress.schema {
        // Those that are watched for are there also at nothing: a rule over an absent series never fires.
        for status in ["applied", "pending", "deferred", "failed"] {
            counts.insert(status, 0);
        }
        for line in &schema.migrations {
            *counts.entry(line.state).or_default() += 1;
        }
        counts.insert("ahead", schema.ahead.len());
        counts.insert("missing", schema.missing.len());
    }
    Facts {
        database_up: progress.database_up,
        ready: progress.is_ready(),
        state: Some(progress.state),
        migrations: counts.into_iter().collect(),
        version: progress.version.as_deref(),
    }
}

/// Whether a request was made on this host: by a `kubectl port-forward`, which dials from inside the pod, or by another
/// container of it.
///
/// A mesh's proxy dials from inside the pod too, for whoever asks. It is told by what it adds to the request, or by the
/// address that Istio keeps for what it passes on (`InboundPassthroughBindIpv4`).
pub fn is_local(peer: IpAddr, headers: &HeaderMap) -> bool {
    const ISTIO: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 6));
    let peer = peer.to_canonical();
    peer.is_loopback() && peer != ISTIO && !headers.keys().any(is_of_proxy)
}

fn is_of_proxy(name: &HeaderName) -> bool {
    let name = name.as_str();
    matches!(name, "via" | "forwarded" | "x-real-ip")
        || ["x-forwarded-", "x-envoy-", "l5d-"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
}
