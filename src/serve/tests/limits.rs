//! Peers that say too little, send too much, or do not read.

use super::*;

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
