//! `probe`: ask the sidecar on this host, for health checks in an image that has no shell.
//!
//! Ends with 0 or 1 and nothing else. It runs beside the container's process, so that it leaves the termination message
//! alone and prints no sum of a run: one line says why it ends with 1, which `docker inspect` and the kubelet's events
//! show.

use std::{
    io::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use crate::{
    cli::Endpoint,
    exit::ExitStatus,
    http::{self, Body, Method, Target},
};

/// For everything; below the kubelet's default of one second, so that the reason is told before it ends the probe.
const LIMIT: Duration = Duration::from_millis(900);

/// Runs the command.
pub fn run(listen: SocketAddr, endpoint: Endpoint) -> ExitStatus {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let answer = match runtime {
        Ok(runtime) => runtime.block_on(ask(&addresses(listen), endpoint)),
        Err(error) => Err(format!("the runtime could not be started: {error}")),
    };
    match answer {
        Ok(()) => ExitStatus::Done,
        Err(reason) => {
            let line = format!("{}: {reason}\n", endpoint.path());
            // Nobody is left to tell that standard error is closed.
            let _ = std::io::stderr().write_all(line.as_bytes());
            ExitStatus::Other(1)
        }
    }
}

/// Where a sidecar on this host can be that was told to listen there: on every address, it may have had to do without
/// IPv6.
fn addresses(listen: SocketAddr) -> Vec<SocketAddr> {
    let on = |address: IpAddr| SocketAddr::new(address, listen.port());
    match listen.ip() {
        IpAddr::V6(address) if address.is_unspecified() => {
            vec![
                on(Ipv6Addr::LOCALHOST.into()),
                on(Ipv4Addr::LOCALHOST.into()),
            ]
        }
        IpAddr::V4(address) if address.is_unspecified() => vec![on(Ipv4Addr::LOCALHOST.into())],
        // The whole address: a link-local one has a scope.
        _ => vec![listen],
    }
}

/// The first that listens is the one.
async fn ask(addresses: &[SocketAddr], endpoint: Endpoint) -> Result<(), String> {
    let path = format!("{}?verbose", endpoint.path());
    let end = tokio::time::Instant::now() + LIMIT;
    let mut reasons = Vec::new();
    for address in addresses {
        let target = Target::at(*address, &path);
        let left = end.saturating_duration_since(tokio::time::Instant::now());
        match http::send(&target, Method::GET, Body::default(), left).await {
            Ok(answer) if answer.status == 200 => return Ok(()),
            Ok(answer) => return Err(format!("{address} answered {}", answer.reason())),
            Err(error) if error.is_unconnected() => reasons.push(error.to_string()),
            Err(error) => return Err(error.to_string()),
        }
    }
    Err(format!(
        "nobody answers, is the sidecar running? {}",
        reasons.join("; ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_to_ask() {
        for (listen, expected) in [
            ("[::]:9911", &["[::1]:9911", "127.0.0.1:9911"][..]),
            ("0.0.0.0:80", &["127.0.0.1:80"]),
            ("10.0.0.7:1", &["10.0.0.7:1"]),
            ("[fd00::1]:1", &["[fd00::1]:1"]),
            ("[fe80::1%3]:1", &["[fe80::1%3]:1"]),
        ] {
            let found = addresses(listen.parse().unwrap());
            let found: Vec<String> = found.iter().map(ToString::to_string).collect();
            assert_eq!(found, expected, "{listen}");
        }
    }
}
