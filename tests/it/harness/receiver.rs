//! A server of HTTP that keeps what it is sent: a gateway, a mesh's proxy or a sidecar that behaves as a test wants.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// How it answers.
#[derive(Clone, Copy)]
pub(crate) enum Reply {
    /// A status line's end (`200 OK`) and a body.
    Says(&'static str, &'static str),
    /// These bytes.
    Raw(&'static [u8]),
    /// Nothing, and the connection stays open.
    Nothing,
    /// The end of the connection.
    Closes,
}

/// A request that came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// Method and path.
    pub(crate) line: String,
    /// The other lines of the head, names in lower case.
    pub(crate) headers: Vec<String>,
    pub(crate) body: String,
}

/// The server. It listens until the test process ends.
pub(crate) struct Receiver {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
}

// === impl Receiver ===

impl Receiver {
    pub(crate) fn start(reply: Reply) -> Self {
        Self::start_at("127.0.0.1:0", reply)
    }

    pub(crate) fn start_at(address: &str, reply: Reply) -> Self {
        let listener = TcpListener::bind(address).expect("an address to listen on");
        let address = listener.local_addr().expect("its address");
        let requests = Arc::<Mutex<Vec<Request>>>::default();
        let seen = Arc::clone(&requests);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let seen = Arc::clone(&seen);
                thread::spawn(move || serve(stream, reply, &seen));
            }
        });
        Self { address, requests }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What has come so far, in the order in which it was read.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// Method and path of what has come.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.requests()
            .into_iter()
            .map(|request| request.line)
            .collect()
    }

    /// The only request that has come.
    #[track_caller]
    pub(crate) fn only(&self) -> Request {
        let requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:#?}");
        requests.into_iter().next().expect("one")
    }
}

// === impl Request ===

impl Request {
    #[track_caller]
    pub(crate) fn assert_header(&self, line: &str) {
        let found = self.headers.iter().any(|header| header == line);
        assert!(found, "no {line:?} in {self:#?}");
    }
}

fn serve(mut stream: TcpStream, reply: Reply, seen: &Mutex<Vec<Request>>) {
    let Some(request) = read(&mut stream) else {
        return;
    };
    seen.lock().unwrap().push(request);
    let _ = match reply {
        Reply::Closes => return,
        Reply::Nothing => Ok(()),
        Reply::Raw(bytes) => stream.write_all(bytes),
        Reply::Says(status, body) => {
            let length = body.len();
            write!(
                stream,
                "HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}"
            )
        }
    };
    // The client ends the connection.
    let _ = stream.read_to_end(&mut Vec::new());
}

/// A request with its body; `None` where the client goes before its end.
fn read(stream: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 8192];
    loop {
        if let Some(request) = parse(&bytes) {
            return Some(request);
        }
        let length = stream.read(&mut buffer).ok().filter(|length| *length > 0)?;
        bytes.extend_from_slice(&buffer[..length]);
    }
}

fn parse(bytes: &[u8]) -> Option<Request> {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let line = lines.next()?.strip_suffix(" HTTP/1.1")?.to_owned();
    let headers: Vec<String> = lines
        .map(|line| match line.split_once(": ") {
            Some((name, value)) => format!("{}: {value}", name.to_lowercase()),
            None => line.to_owned(),
        })
        .collect();
    let length = headers
        .iter()
        .find_map(|header| header.strip_prefix("content-length: "))
        .map_or(0, |length| length.parse().expect("a length"));
    (body.len() >= length).then(|| Request {
        line,
        headers,
        body: body.to_owned(),
    })
}
