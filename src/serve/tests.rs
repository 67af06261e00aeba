//! The endpoints over real sockets, with peers that do what they should not.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod alone;

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

#[test]
fn answers_follow_what_is_published() {
    let served = Served::new(Limits::default(), Progress::new(Timestamp::now()));
    assert!(served.probe().starts_with("HTTP/1.1 503 "));
    served.progress.send_replace(Arc::new(ready()));
    served.assert_answers();
    let draining = Progress {
        draining: true,
        ..ready()
    };
    served.progress.send_replace(Arc::new(draining));
    let verbose = served.ask(b"GET /readyz?verbose HTTP/1.0\r\n\r\n");
    assert!(verbose.starts_with("HTTP/1.0 503 "), "{verbose}");
    assert!(body(&verbose).starts_with("not ready: told to end\nstate: ready\n"));
}

#[test]
fn alive_as_long_as_the_work_loop() {
    const LIVEZ: &[u8] = b"GET /livez HTTP/1.0\r\n\r\n";
    let served = Served::new(Limits::default(), ready());
    assert!(served.ask(LIVEZ).starts_with("HTTP/1.0 200 "));
    let at = served.at();
    drop(served.progress);
    let answer = ask(at, LIVEZ);
    assert!(answer.starts_with("HTTP/1.0 503 "), "{answer}");
}

#[test]
fn every_answer_says_what_it_is() {
    let served = Served::new(Limits::default(), ready());
    let mut stream = served.connect();
    for path in ["/readyz", "/status", "/", "/nowhere"] {
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let get = read_answer(&mut stream);
        assert_eq!(header(&get, "cache-control"), "no-store");
        assert_eq!(header(&get, "x-content-type-options"), "nosniff");
        assert!(!body(&get).is_empty());
        // `HEAD` is the same without the body: the next answer follows the headers at once.
        write!(stream, "HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        write!(stream, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut head = vec![0; get.len() - body(&get).len()];
        stream.read_exact(&mut head).unwrap();
        let head = String::from_utf8(head).unwrap();
        for name in ["content-type", "content-length", "cache-control"] {
            assert_eq!(header(&head, name), header(&get, name), "{path} {name}");
        }
        assert_eq!(body(&read_answer(&mut stream)), "ok\n");
    }
    write!(stream, "POST /readyz HTTP/1.1\r\nContent-Length: 0\r\n\r\n").unwrap();
    let post = read_answer(&mut stream);
    assert!(post.starts_with("HTTP/1.1 405 "), "{post}");
    assert_eq!(header(&post, "allow"), "GET, HEAD");
    let page = served.ask(b"GET / HTTP/1.0\r\n\r\n");
    assert_eq!(
        header(&page, "content-security-policy"),
        page::CONTENT_SECURITY_POLICY
    );
}

#[test]
fn a_mesh_hides_who_asks() {
    let served = Served::new(Limits::default(), ready());
    let direct = served.ask(b"GET /status HTTP/1.0\r\n\r\n");
    assert!(body(&direct).contains("\"since\""), "{direct}");
    let proxied = served.ask(b"GET /status HTTP/1.0\r\nX-Forwarded-For: 10.0.0.9\r\n\r\n");
    assert!(!body(&proxied).contains("\"since\""), "{proxied}");
}

#[test]
fn requests_of_every_kind() {
    let served = Served::new(Limits::default(), ready());
    for (request, expected) in [
        ("GET /readyz HTTP/1.0\r\n\r\n", "HTTP/1.0 200 "),
        (
            "GET /readyz HTTP/1.1\r\nConnection: close\r\n\r\n",
            "HTTP/1.1 200 ",
        ),
        (
            "GET http://elsewhere/readyz HTTP/1.1\r\nConnection: close\r\n\r\n",
            "HTTP/1.1 200 ",
        ),
        ("GET http://elsewhere HTTP/1.0\r\n\r\n", "HTTP/1.0 200 "),
        ("GET /readyz?verbose#x HTTP/1.0\r\n\r\n", "HTTP/1.0 "),
        ("GET //readyz HTTP/1.0\r\n\r\n", "HTTP/1.0 404 "),
        ("GET /readyz/ HTTP/1.0\r\n\r\n", "HTTP/1.0 404 "),
        ("GET /%72eadyz HTTP/1.0\r\n\r\n", "HTTP/1.0 404 "),
        ("GET /../readyz HTTP/1.0\r\n\r\n", "HTTP/1.0 404 "),
        ("GET %72eadyz HTTP/1.0\r\n\r\n", "HTTP/1."),
        ("OPTIONS * HTTP/1.0\r\n\r\n", "HTTP/1.0 404 "),
        (
            "CONNECT elsewhere:443 HTTP/1.1\r\nConnection: close\r\n\r\n",
            "HTTP/1.1 404 ",
        ),
        ("BREW /readyz HTTP/1.0\r\n\r\n", "HTTP/1.0 405 "),
        ("get /readyz HTTP/1.0\r\n\r\n", "HTTP/1.0 405 "),
        ("\r\n\r\nGET /readyz HTTP/1.0\r\n\r\n", "HTTP/1.0 200 "),
        ("GET /readyz HTTP/1.0\n\n", "HTTP/1.0 200 "),
        ("GET /readyz\r\n\r\n", "HTTP/1.1 400 "),
        ("GET /readyz HTTP/3.0\r\n\r\n", "HTTP/1.1 400 "),
        ("GET /ready z HTTP/1.1\r\n\r\n", "HTTP/1.1 400 "),
        ("GET /readyz HTTP/1.1\r\nA b: c\r\n\r\n", "HTTP/1.1 400 "),
        (
            "GET /readyz HTTP/1.1\r\nContent-Length: x\r\n\r\n",
            "HTTP/1.1 400 ",
        ),
        (
            "GET /readyz HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
            "HTTP/1.1 400 ",
        ),
        (
            "GET /readyz HTTP/1.1\r\nUpgrade: h2c\r\nConnection: upgrade, close\r\n\r\n",
            "HTTP/1.1 200 ",
        ),
        (
            "GET /readyz HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 9\r\nConnection: close\r\n\r\n",
            "HTTP/1.1 200 ",
        ),
        // The beginning of HTTP/2 and of TLS.
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ""),
        (
            "\x16\x03\x01\x02\x00\x01\x00\x01\x7f\x03\x03",
            "HTTP/1.1 400 ",
        ),
        ("\0\0\0\0", "HTTP/1.1 400 "),
    ] {
        let answer = served.ask(request.as_bytes());
        assert!(answer.starts_with(expected), "{request:?}: {answer:?}");
        let count = answer.matches("HTTP/1.").count();
        assert!(count <= 1, "{request:?}: {answer:?}");
    }
    served.assert_answers();
}

#[test]
fn bodies_are_not_taken_in() {
    let served = Served::new(Limits::default(), ready());
    let megabytes = "x".repeat(3_000_000);
    for (head, body) in [
        (
            "GET /readyz HTTP/1.1\r\nContent-Length: 5\r\nConnection: close\r\n\r\n",
            "12345",
        ),
        (
            "GET /readyz HTTP/1.1\r\nContent-Length: 3000000\r\n\r\n",
            megabytes.as_str(),
        ),
        (
            "GET /readyz HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n",
            megabytes.as_str(),
        ),
        (
            "GET /readyz HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "zz\r\ngarbage",
        ),
        (
            "GET /readyz HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
            megabytes.as_str(),
        ),
    ] {
        // Read to the end: the connection is closed, and what was sent in vain does not hide the answer.
        let answer = served.ask(format!("{head}{body}").as_bytes());
        assert!(answer.starts_with("HTTP/1.1 200 "), "{head:?}: {answer:?}");
        assert!(answer.ends_with("ok\n"), "{head:?}: {answer:?}");
    }
    // A small body that is there is passed over, and the connection goes on.
    let mut stream = served.connect();
    for _ in 0..3 {
        stream
            .write_all(b"GET /livez HTTP/1.1\r\nContent-Length: 5\r\n\r\n12345")
            .unwrap();
        assert_eq!(body(&read_answer(&mut stream)), "ok\n");
    }
    served.assert_answers();
}

#[test]
fn headers_have_limits() {
    let served = Served::new(Limits::default(), ready());
    let many = "a: b\r\n".repeat(101);
    let long = format!("a: {}\r\n", "x".repeat(1_000_000));
    let target = "x".repeat(1_000_000);
    for request in [
        format!("GET /readyz HTTP/1.1\r\n{many}\r\n"),
        format!("GET /readyz HTTP/1.1\r\n{long}\r\n"),
        format!("GET /{target} HTTP/1.1\r\n\r\n"),
    ] {
        let answer = served.ask(request.as_bytes());
        let status = answer.get(..12).unwrap_or_default();
        assert!(
            ["HTTP/1.1 431", "HTTP/1.1 414"].contains(&status),
            "{answer:?}"
        );
    }
    let enough = "a: b\r\n".repeat(80);
    let answer = served.ask(format!("GET /readyz HTTP/1.0\r\n{enough}\r\n").as_bytes());
    assert!(answer.starts_with("HTTP/1.0 200 "), "{answer:?}");
    served.assert_answers();
}

#[test]
fn a_thousand_requests_in_one_go() {
    let served = Served::new(Limits::default(), ready());
    let mut stream = served.connect();
    let requests =
        "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\nGET /nowhere HTTP/1.1\r\n\r\n".repeat(500);
    stream.write_all(requests.as_bytes()).unwrap();
    for _ in 0..500 {
        assert!(read_answer(&mut stream).starts_with("HTTP/1.1 200 "));
        assert!(read_answer(&mut stream).starts_with("HTTP/1.1 404 "));
    }
    served.assert_answers();
}

#[test]
fn who_has_asked_may_close_its_side() {
    let served = Served::new(Limits::default(), huge());
    for request in [STATUS, b"GET /status HTTP/1.0\r\n\r\n"] {
        let mut stream = served.connect();
        stream.write_all(request).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let answer = read_to_end(&mut stream);
        let length: usize = header(&answer, "content-length").parse().unwrap();
        assert!(length > HUGE);
        assert_eq!(body(&answer).len(), length);
    }
    // Half a request, and then no more.
    let mut stream = served.connect();
    stream.write_all(b"GET /readyz HT").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let answer = read_to_end(&mut stream);
    assert!(!answer.contains("200"), "{answer:?}");
    served.assert_answers();
}

#[test]
fn who_says_too_little_is_closed() {
    let limits = Limits {
        request: SOON,
        ..Limits::default()
    };
    let served = Served::new(limits, ready());
    // Nothing; half a line; an answer, then nothing.
    for (request, expected) in [
        ("", 0),
        ("GET /readyz HT", 0),
        ("GET /readyz HTTP/1.1\r\n\r\n", 1),
    ] {
        let answer = served.ask(request.as_bytes());
        assert_eq!(
            answer.matches("HTTP/1.1 200 ").count(),
            expected,
            "{request:?}: {answer:?}"
        );
    }
    // A byte now and then does not win time.
    let mut stream = served.connect();
    stream
        .set_read_timeout(Some(Duration::from_millis(20)))
        .unwrap();
    let begun = Instant::now();
    stream.write_all(b"GET /readyz HTTP/1.1\r\na: ").unwrap();
    loop {
        let said = stream.write_all(b"x");
        let mut byte = [0];
        match stream.read(&mut byte) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Ok(1) => panic!("half a request is answered"),
            _ => break,
        }
        assert!(said.is_ok() && begun.elapsed() < PATIENCE, "it goes on");
    }
    served.assert_answers();
}

#[test]
fn idle_connections_do_not_keep_probes_out() {
    let limits = Limits {
        request: 10 * PATIENCE,
        ..Limits::default()
    };
    let served = Served::new(limits, ready());
    let idle: Vec<TcpStream> = (0..500).map(|_| served.connect()).collect();
    for _ in 0..100 {
        served.assert_answers();
    }
    // Those that were there first have been closed, the last ones have not.
    let (first, last) = (&idle[0], &idle[499]);
    let mut byte = [0];
    match (&*first).read(&mut byte) {
        Ok(count) => assert_eq!(count, 0),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    last.set_nonblocking(true).unwrap();
    let error = (&*last).read(&mut byte).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
}

#[test]
fn large_answers_that_nobody_reads_make_room() {
    let served = Served::new(Limits::default(), huge());
    let mut readers: Vec<TcpStream> = Vec::new();
    for _ in 0..6 {
        let mut stream = served.connect();
        stream.write_all(STATUS).unwrap();
        // It is under way.
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        readers.push(stream);
    }
    let ends: Vec<usize> = readers
        .iter_mut()
        .map(|stream| read_to_end_or(stream, HUGE))
        .collect();
    for (index, length) in ends.iter().enumerate() {
        assert_eq!(
            *length >= HUGE,
            index >= 2,
            "{index}: {length} bytes; {ends:?}"
        );
    }
    served.assert_answers();
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

#[test]
fn who_does_not_read_is_closed() {
    let limits = Limits {
        answer: SOON,
        ..Limits::default()
    };
    let served = Served::new(limits, huge());
    // Not at all, or a little now and then: to read much would win time.
    for count in [0, 32] {
        let mut stream = served.connect();
        stream.write_all(STATUS).unwrap();
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        eventually("the connection is closed", || {
            stream.read_exact(&mut vec![0; count]).unwrap();
            !established(served.at().port(), &stream)
        });
        assert!(read_to_end_or(&mut stream, HUGE) < HUGE);
    }
    // Answers to `HEAD` have no body to wait for.
    let mut stream = served.connect();
    let requests = b"HEAD /livez HTTP/1.1\r\n\r\n".repeat(10_000);
    let begun = Instant::now();
    while stream.write_all(&requests).is_ok() {
        assert!(begun.elapsed() < PATIENCE, "it goes on");
    }
    served.assert_answers();
}

#[test]
fn who_reads_slowly_gets_everything() {
    let limits = Limits {
        answer: Duration::from_secs(1),
        ..Limits::default()
    };
    let served = Served::new(limits, huge());
    let mut stream = served.connect();
    stream.write_all(STATUS).unwrap();
    let (mut total, mut space) = (0, vec![0; 64 * 1024]);
    let begun = Instant::now();
    while total < HUGE {
        std::thread::sleep(Duration::from_millis(60));
        let count = stream.read(&mut space).unwrap();
        assert_ne!(count, 0, "closed after {total} bytes");
        total += count;
    }
    assert!(begun.elapsed() > limits.answer, "too fast to tell");
}

#[test]
fn who_is_still_sending_is_not_reset() {
    let served = Served::new(Limits::default(), ready());
    for head in [
        "GET /readyz HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n".to_owned(),
        format!("GET /readyz HTTP/1.1\r\na: {}", "x".repeat(17_000)),
    ] {
        let mut stream = served.connect();
        stream.write_all(head.as_bytes()).unwrap();
        let answer = read_answer(&mut stream);
        assert!(
            answer.contains("200 OK") || answer.contains(" 431 "),
            "{answer}"
        );
        // What comes after the answer finds somebody who takes it, for a while.
        for _ in 0..5 {
            stream.write_all(&[b'x'; 10_000]).unwrap();
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(read_to_end(&mut stream), "");
    }
}

/// Whether the server's end of a connection is still held by a process.
fn established(port: u16, stream: &TcpStream) -> bool {
    let peer = stream.local_addr().unwrap();
    let IpAddr::V4(_) = peer.ip() else {
        panic!("IPv4 is expected")
    };
    let (local, remote) = (format!(":{port:04X}"), format!(":{:04X}", peer.port()));
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    table.lines().skip(1).any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields[1].ends_with(&local) && fields[2].ends_with(&remote) && fields[9] != "0"
    })
}

#[test]
fn the_end_answers_what_is_under_way() {
    let mut served = Served::new(Limits::default(), huge());
    let at = served.at();
    let mut idle = served.connect();
    let mut used = served.connect();
    used.write_all(b"GET /livez HTTP/1.1\r\n\r\n").unwrap();
    read_answer(&mut used);
    let mut reading = served.connect();
    reading.write_all(STATUS).unwrap();
    let mut byte = [0];
    reading.read_exact(&mut byte).unwrap();
    let mut sent = served.connect();
    sent.write_all(b"GET /livez HTTP/1.1\r\n\r\n").unwrap();
    let ends = std::thread::spawn(move || {
        let mut ends = [&mut idle, &mut used, &mut sent].map(read_to_end).to_vec();
        ends.push(read_to_end(&mut reading));
        ends
    });
    let took = served.drain(PATIENCE);
    assert!(took < PATIENCE, "{took:?}");
    let ends = ends.join().unwrap();
    assert_eq!([&*ends[0], &*ends[1]], ["", ""]);
    assert!(ends[2].ends_with("ok\n"), "{}", ends[2]);
    assert!(ends[3].len() > HUGE, "{}", ends[3].len());
    let refused = TcpStream::connect(at).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn the_end_answers_who_knocks() {
    let listener = bind(&Params {
        listen: (Ipv4Addr::LOCALHOST, 0).into(),
        detail_for_all: false,
    });
    let listener = listener.unwrap();
    let at = listener.local_addr();
    let mut knocking: Vec<TcpStream> = (0..50).map(|_| connect(at)).collect();
    for stream in &mut knocking {
        stream.write_all(b"GET /livez HTTP/1.1\r\n\r\n").unwrap();
    }
    let (_sender, receiver) = watch::channel(Arc::new(ready()));
    let server = start(listener, receiver, Metrics::new().unwrap()).unwrap();
    let reading = std::thread::spawn(move || {
        let ends = knocking.iter_mut().map(read_to_end);
        ends.filter(|end| end.ends_with("ok\n")).count()
    });
    server.drain(PATIENCE);
    assert_eq!(reading.join().unwrap(), 50);
}

#[test]
fn the_end_waits_for_nobody_beyond_its_limit() {
    let mut served = Served::new(Limits::default(), huge());
    let mut reading = served.connect();
    reading.write_all(STATUS).unwrap();
    let mut byte = [0];
    reading.read_exact(&mut byte).unwrap();
    let mut half = served.connect();
    half.write_all(b"GET /livez HT").unwrap();
    let took = served.drain(SOON);
    assert!((SOON..PATIENCE).contains(&took), "{took:?}");
    assert!(read_to_end_or(&mut reading, HUGE) < HUGE);
    assert_eq!(read_to_end(&mut half), "");
}

#[test]
fn it_ends_with_its_handle() {
    let served = Served::new(Limits::default(), ready());
    let at = served.at();
    let mut idle = served.connect();
    drop(served);
    assert_eq!(read_to_end(&mut idle), "");
    eventually("the port is free", || TcpStream::connect(at).is_err());
}
