use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    sync::Arc,
    thread,
};

use rustls::{RootCertStore, pki_types::PrivateKeyDer};

use super::*;

const LONG: Duration = Duration::from_secs(20);

/// A server that takes one connection, reads a request's head (or the whole, where it announces a length) and says
/// `answer`; then it keeps the connection open until the client goes. Gives what was read.
fn server(answer: &'static [u8]) -> (Target, thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = Target::at(listener.local_addr().unwrap(), "/x?y");
    let serving = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let request = read_request(&mut stream);
        let _ = stream.write_all(answer);
        let _ = stream.read_to_end(&mut Vec::new());
        request
    });
    (target, serving)
}

fn read_request(stream: &mut impl io::Read) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                line.to_lowercase()
                    .strip_prefix("content-length: ")?
                    .parse()
                    .ok()
            });
            if body.len() >= length.unwrap_or(0) {
                return text;
            }
        }
        match stream.read(&mut buffer) {
            Ok(length @ 1..) => bytes.extend_from_slice(&buffer[..length]),
            _ => return text,
        }
    }
}

fn body(text: &'static str) -> Body {
    Body {
        content_type: Some("text/plain"),
        bytes: Bytes::from_static(text.as_bytes()),
    }
}

#[tokio::test]
async fn what_is_sent() {
    let (target, serving) = server(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let response = send(&target, Method::PUT, body("a 1\n"), LONG)
        .await
        .unwrap();
    assert_eq!(
        (response.status.as_u16(), response.body.as_str()),
        (200, "")
    );
    let request = serving.join().unwrap();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let mut lines: Vec<&str> = head.lines().collect();
    lines[1..].sort_unstable();
    let agent = concat!("user-agent: schemagate/", env!("CARGO_PKG_VERSION"));
    let host = format!("host: {}", target.authority());
    assert_eq!(
        lines,
        [
            "PUT /x?y HTTP/1.1",
            "connection: close",
            "content-length: 4",
            "content-type: text/plain",
            &host,
            agent,
        ]
    );
    assert_eq!(body, "a 1\n");
}

#[tokio::test]
async fn nothing_is_announced_as_nothing_and_credentials_are_sent() {
    let (target, serving) = server(b"HTTP/1.1 204 No Content\r\n\r\n");
    let url = format!("http://u:p%40ss@{}/q", target.authority());
    let target = Target::parse(&url).unwrap();
    let response = send(&target, Method::POST, Body::default(), LONG).await;
    assert_eq!(response.unwrap().reason(), "204 No Content");
    let request = serving.join().unwrap().to_lowercase();
    for line in [
        "post /q http/1.1\r\n",
        "\r\ncontent-length: 0\r\n",
        "\r\nauthorization: basic dtpwqhnz\r\n",
    ] {
        assert!(request.contains(line), "{line:?} is not in {request:?}");
    }
    assert!(!request.contains("transfer-encoding"), "{request}");
}

#[tokio::test]
async fn what_an_unsuccessful_answer_says_is_one_line() {
    for (answer, reason) in [
        (
            &b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 19\r\n\r\npending:\n\x1b[31m 0004\n"[..],
            "503 Service Unavailable: pending: [31m 0004",
        ),
        (
            b"HTTP/1.1 302 Found\r\nLocation: /y\r\nContent-Length: 0\r\n\r\n",
            "302 Found",
        ),
        (
            b"HTTP/1.1 400 Bad Request\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nbad\r\n0\r\n\r\n",
            "400 Bad Request: bad",
        ),
        (b"HTTP/1.0 500 x\r\nContent-Length: 0\r\n\r\n", "500 Internal Server Error"),
    ] {
        let (target, _serving) = server(answer);
        let response = send(&target, Method::GET, Body::default(), LONG).await;
        assert_eq!(response.unwrap().reason(), reason);
    }
}

#[tokio::test]
async fn who_was_sent_credentials_has_no_say() {
    let (target, _serving) =
        server(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 13\r\n\r\nnot hunter2!\n");
    let target = Target::parse(&format!("http://u:hunter2@{}/", target.authority())).unwrap();
    let response = send(&target, Method::GET, Body::default(), LONG).await;
    assert_eq!(response.unwrap().reason(), "401 Unauthorized");
}

#[tokio::test]
async fn a_body_without_end_is_cut() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = Target::at(listener.local_addr().unwrap(), "/");
    let serving = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        read_request(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 500 x\r\nConnection: close\r\n\r\n");
        let mut sent = 0_usize;
        while stream.write_all(&[b'x'; 4096]).is_ok() {
            sent += 4096;
        }
        sent
    });
    let response = send(&target, Method::GET, Body::default(), LONG)
        .await
        .unwrap();
    assert_eq!(response.body.len(), MAX_BODY);
    assert!(response.reason().len() < 400);
    // What the sockets hold between them is a few megabytes.
    assert!(serving.join().unwrap() < 64 << 20);
}

#[tokio::test]
async fn what_is_no_answer() {
    for answer in [
        &b"SSH-2.0-OpenSSH_9.2p1\r\n\r\n"[..],
        b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
    ] {
        let (target, _serving) = server(answer);
        let error = send(&target, Method::GET, Body::default(), LONG).await;
        let error = error.unwrap_err();
        assert!(matches!(error, Error::Exchange { .. }), "{error}");
        assert!(!error.is_refused() && !error.is_unconnected());
    }
}

#[tokio::test]
async fn a_head_without_end_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = Target::at(listener.local_addr().unwrap(), "/");
    let serving = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        read_request(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nX: ");
        while stream.write_all(&[b'x'; 4096]).is_ok() {}
    });
    let error = send(&target, Method::GET, Body::default(), LONG)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Exchange { .. }), "{error}");
    serving.join().unwrap();
}

#[tokio::test]
async fn a_closed_connection_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = Target::at(listener.local_addr().unwrap(), "/");
    let serving = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        read_request(&mut stream);
    });
    let error = send(&target, Method::GET, Body::default(), LONG)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("connection closed"), "{error}");
    serving.join().unwrap();
}

#[tokio::test]
async fn a_silent_server_takes_no_longer_than_the_limit() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = listener.local_addr().unwrap();
    let limit = Duration::from_millis(200);
    for url in [format!("http://{peer}/"), format!("https://{peer}/")] {
        let began = Instant::now();
        let target = Target::parse(&url).unwrap();
        let error = send(&target, Method::GET, Body::default(), limit)
            .await
            .unwrap_err();
        let expected = if target.is_https() {
            Step::Handshake(peer)
        } else {
            Step::Answer(peer)
        };
        assert!(
            matches!(error, Error::Timeout { step, .. } if step == expected),
            "{error}"
        );
        assert!(began.elapsed() >= limit);
        assert!(began.elapsed() < LONG);
    }
}

#[tokio::test]
async fn a_hanging_body_leaves_the_status() {
    let (target, _serving) = server(b"HTTP/1.1 400 x\r\nContent-Length: 100\r\n\r\nhalf");
    let limit = Duration::from_secs(3);
    let response = send(&target, Method::GET, Body::default(), limit).await;
    assert_eq!(response.unwrap().reason(), "400 Bad Request: half");
}

#[tokio::test]
async fn nobody_there() {
    let target = Target::parse("http://127.0.0.1:1/").unwrap();
    let error = send(&target, Method::GET, Body::default(), LONG)
        .await
        .unwrap_err();
    assert!(error.is_refused() && error.is_unconnected(), "{error}");
    assert!(error.to_string().starts_with("127.0.0.1:1: "), "{error}");

    let target = Target::parse("http://nowhere.invalid/").unwrap();
    let error = send(&target, Method::GET, Body::default(), LONG)
        .await
        .unwrap_err();
    assert!(!error.is_refused() && error.is_unconnected(), "{error}");
    assert!(error.to_string().contains("nowhere.invalid"), "{error}");
}

#[tokio::test]
async fn the_next_address_is_tried() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let there = listener.local_addr().unwrap();
    let nobody: SocketAddr = "127.0.0.1:1".parse().unwrap();
    let step = Cell::new(Step::LookUp);
    let deadline = Instant::now() + LONG;
    let (_, peer) = connect(&[nobody, there], deadline, &step).await.unwrap();
    assert_eq!(peer, there);
    let error = connect(&[nobody, nobody], deadline, &step)
        .await
        .unwrap_err();
    assert_eq!(error.to_string().matches("127.0.0.1:1: ").count(), 2);
}

/// A server with a certificate for `localhost`, and the store that trusts it.
fn encrypted() -> (SocketAddr, RootCertStore) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let session = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = rustls::StreamOwned::new(session, stream.unwrap());
            read_request(&mut stream);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    });
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    (address, roots)
}

#[tokio::test]
async fn https() {
    let (address, roots) = encrypted();
    let connected = async || TcpStream::connect(address).await.unwrap();
    let target = Target::parse(&format!("https://localhost:{}/", address.port())).unwrap();
    let stream = tls::encrypt(connected().await, "localhost", address, roots.clone()).await;
    let deadline = Instant::now() + LONG;
    let answer = exchange(
        Box::new(stream.unwrap()),
        &target,
        Method::GET,
        Body::default(),
        deadline,
    );
    assert_eq!(answer.await.unwrap().status, StatusCode::OK);

    let other = tls::encrypt(connected().await, "other.example", address, roots).await;
    assert!(matches!(other, Err(Error::Tls { .. })));

    let error = send(&target, Method::GET, Body::default(), LONG)
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("only public certificate authorities"),
        "{error}"
    );
}

#[tokio::test]
async fn https_to_a_server_of_http() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = format!("https://{}/", listener.local_addr().unwrap());
    let serving = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // No request of HTTP ever comes.
        let _ = stream.read(&mut [0; 1024]).unwrap();
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    let target = Target::parse(&target).unwrap();
    let error = send(&target, Method::GET, Body::default(), LONG).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("does not speak TLS"), "{error}");
    serving.join().unwrap();
}
