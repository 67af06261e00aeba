//! Bytes from the network to the sidecar's endpoints: the real server, over a real socket.
#![no_main]

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use schemagate::metrics::Metrics;
use schemagate::progress::Machine;
use schemagate::serve;
use tokio::sync::watch;

fuzz_target!(|data: &[u8]| {
    static ADDRESS: OnceLock<SocketAddr> = OnceLock::new();
    let address = *ADDRESS.get_or_init(serve_for_ever);
    let answer = exchange(address, data);
    // Nothing, where nothing whole was asked; else a status that the contract knows.
    if !answer.is_empty() {
        let head = String::from_utf8_lossy(&answer[..answer.len().min(12)]).into_owned();
        let known = [
            "200", "400", "404", "405", "408", "413", "414", "431", "501", "503", "505",
        ];
        let status = head
            .strip_prefix("HTTP/1.1 ")
            .or(head.strip_prefix("HTTP/1.0 "));
        assert!(
            status.is_some_and(|status| known.contains(&status)),
            "{head}"
        );
    }
    // It goes on serving others.
    let alive = exchange(
        address,
        b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    );
    assert!(
        alive.starts_with(b"HTTP/1.1 200"),
        "{}",
        String::from_utf8_lossy(&alive)
    );
});

/// Serves until the process ends, and tells where.
fn serve_for_ever() -> SocketAddr {
    let listener = serve::bind(&serve::Params {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        detail_for_all: true,
    })
    .expect("a free port");
    let machine = Machine::new(Timestamp::UNIX_EPOCH);
    let (progress, receiver) = watch::channel(Arc::new(machine.progress().clone()));
    let metrics = Metrics::new().expect("metrics");
    let server = serve::start(listener, receiver, metrics).expect("the endpoints");
    let address = server.local_addr();
    // Dropped, they would end.
    std::mem::forget((server, progress));
    address
}

fn exchange(address: SocketAddr, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).expect("a connection");
    // Closed at once: thousands of connections a second would use up the ports.
    let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    let _ = stream.set_read_timeout(Some(Duration::from_secs(20)));
    // A server that has heard enough may have closed.
    let _ = stream.write_all(request);
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}
