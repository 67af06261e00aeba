//! What is asked, and what is answered.

use super::*;

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
