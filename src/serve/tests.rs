//! The endpoints over real sockets, with peers that do what they should not.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod alone;
mod end;
mod limits;
mod requests;

use std::{
    io::{ErrorKind, Read, Write},
    net::{IpAddr, Ipv4Addr, Shutdown, TcpStream},
    time::Instant,
};

use jiff::Timestamp;

use super::*;
use crate::{progress::State, report::status::Status};

/// How long what must happen may take on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// A limit that a test waits for.
const SOON: Duration = Duration::from_millis(300);

/// Served endpoints and the work loop's end of the channel.
struct Served {
    server: Option<Server>,
    progress: watch::Sender<Arc<Progress>>,
}

impl Served {
    fn new(limits: Limits, progress: Progress) -> Self {
        let listener = bind(&Params {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            detail_for_all: false,
        });
        let (sender, receiver) = watch::channel(Arc::new(progress));
        let metrics = Metrics::new().unwrap();
        Self {
            server: Some(start_with(listener.unwrap(), receiver, metrics, limits).unwrap()),
            progress: sender,
        }
    }

    fn at(&self) -> SocketAddr {
        self.server.as_ref().unwrap().local_addr()
    }

    fn connect(&self) -> TcpStream {
        connect(self.at())
    }

    /// Sends, closes its own side, and reads to the end.
    fn ask(&self, request: &[u8]) -> String {
        ask(self.at(), request)
    }

    fn probe(&self) -> String {
        self.ask(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    }

    #[track_caller]
    fn assert_answers(&self) {
        let answer = self.probe();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer:?}");
    }

    fn drain(&mut self, limit: Duration) -> Duration {
        let begun = Instant::now();
        self.server.take().unwrap().drain(limit);
        begun.elapsed()
    }
}

fn connect(at: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn ask(at: SocketAddr, request: &[u8]) -> String {
    let mut stream = connect(at);
    stream.write_all(request).unwrap();
    read_to_end(&mut stream)
}

/// Everything until the other side closes; a reset is an end too.
fn read_to_end(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error}"),
        _ => String::from_utf8_lossy(&bytes).into_owned(),
    }
}

/// How many bytes come before the end, or `enough`.
fn read_to_end_or(stream: &mut TcpStream, enough: usize) -> usize {
    let (mut total, mut space) = (0, vec![0; 1 << 16]);
    while total < enough {
        match stream.read(&mut space) {
            Ok(0) => break,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            outcome => total += outcome.unwrap(),
        }
    }
    total
}

/// One answer with its body; the connection stays.
fn read_answer(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let mut body = vec![0; header(&head, "content-length").parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
    head + &String::from_utf8(body).unwrap()
}

fn header<'a>(answer: &'a str, name: &str) -> &'a str {
    let found = answer
        .lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(found, _)| found.eq_ignore_ascii_case(name));
    found.unwrap_or_else(|| panic!("no {name} in {answer:?}")).1
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap().1
}

fn ready() -> Progress {
    Progress {
        state: State::Ready,
        ready: true,
        started: true,
        ..Progress::new(Timestamp::now())
    }
}

/// A `/status` above [`HUGE`].
fn huge() -> Progress {
    let schema = Status {
        schema_version: 1,
        state: "ready",
        format: "sql",
        history: "h".to_owned(),
        database: "d".to_owned(),
        migrations: Vec::new(),
        ahead: Vec::new(),
        missing: Vec::new(),
        conflicts: Vec::new(),
        warnings: vec!["w".repeat(1000); HUGE / 1000],
    };
    Progress {
        schema: Some(Arc::new(schema)),
        ..ready()
    }
}

/// Bytes, more than the kernel takes for a connection.
const HUGE: usize = 2_000_000;

const STATUS: &[u8] = b"GET /status HTTP/1.1\r\n\r\n";

#[track_caller]
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
