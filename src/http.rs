//! A small HTTP client: one request, one answer, one limit for everything.
//!
//! For what speaks HTTP beside the database: the sidecar that `probe` asks, a Pushgateway, the proxy of a mesh. Every
//! request has a connection of its own; redirects and the variables that name a proxy are not followed.

mod error;
mod target;
mod tls;

use std::{cell::Cell, io, net::SocketAddr, pin::pin, time::Duration};

use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, StatusCode,
    body::{Bytes, Incoming},
    client::conn::http1,
    header::{AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    time::{Instant, timeout_at},
};

pub use error::{Error, Step};
pub use hyper::Method;
pub use target::Target;

/// How much of a body is read: enough for a reason.
const MAX_BODY: usize = 4096;
/// How much of an answer's head is read.
const MAX_HEAD: usize = 16 * 1024;
/// How much of a body goes into a line.
const MAX_REASON: usize = 300;

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: StatusCode,
    /// What an unsuccessful answer says, at most its first 4 KiB and as much as came in time. Empty after a success:
    /// nobody needs to wait for it.
    pub body: String,
}

/// What a request carries.
#[derive(Debug, Clone, Default)]
pub struct Body {
    /// `Content-Type`; none is sent without it.
    pub content_type: Option<&'static str>,
    /// The bytes. `Content-Length` is told also of none.
    pub bytes: Bytes,
}

/// Whatever carries the bytes; boxed, so that hyper's client is compiled once.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

// === impl Response ===

impl Response {
    /// In one line: the status, and what the body says.
    pub fn reason(&self) -> String {
        let said = line(&self.body);
        if said.is_empty() {
            self.status.to_string()
        } else {
            format!("{}: {said}", self.status)
        }
    }
}

/// Sends a request and waits for the answer; the look-up of the name, the connection and TLS included, no longer than
/// `limit`.
pub async fn send(
    target: &Target,
    method: Method,
    body: Body,
    limit: Duration,
) -> Result<Response, Error> {
    let deadline = Instant::now() + limit;
    let step = Cell::new(Step::LookUp);
    let work = async {
        let addresses = addresses(target).await?;
        let (stream, peer) = connect(&addresses, deadline, &step).await?;
        let stream: Box<dyn Stream> = if target.is_https() {
            step.set(Step::Handshake(peer));
            Box::new(tls::encrypt(stream, &target.host(), peer, tls::public_roots()).await?)
        } else {
            Box::new(stream)
        };
        step.set(Step::Answer(peer));
        exchange(stream, target, method, body, deadline)
            .await
            .map_err(|reason| Error::Exchange { peer, reason })
    };
    timeout_at(deadline, work)
        .await
        .unwrap_or_else(|_| timed_out(limit, step.get()))
}

fn timed_out<T>(limit: Duration, step: Step) -> Result<T, Error> {
    Err(Error::Timeout { limit, step })
}

async fn addresses(target: &Target) -> Result<Vec<SocketAddr>, Error> {
    if let Some(address) = target.address() {
        return Ok(vec![address]);
    }
    let host = target.host();
    let found: io::Result<Vec<SocketAddr>> = lookup_host((host.as_str(), target.port()))
        .await
        .map(Iterator::collect);
    let found = found.and_then(|found| {
        if found.is_empty() {
            Err(io::Error::other("it has no address"))
        } else {
            Ok(found)
        }
    });
    found.map_err(|source| Error::Lookup { host, source })
}

/// The first address that takes a connection. One that swallows packets must not use up the time of the others, so that
/// each may take its share of what is left.
async fn connect(
    addresses: &[SocketAddr],
    deadline: Instant,
    step: &Cell<Step>,
) -> Result<(TcpStream, SocketAddr), Error> {
    let mut tried = Vec::new();
    for (index, &address) in addresses.iter().enumerate() {
        step.set(Step::Connect(address));
        let now = Instant::now();
        let share = match u32::try_from(addresses.len() - index) {
            Ok(more @ 2..) => now + deadline.saturating_duration_since(now) / more,
            // Exactly the end of all, so that what was tried before is told.
            _ => deadline,
        };
        let connecting = timeout_at(share, TcpStream::connect(address));
        let error = match connecting.await {
            Ok(Ok(stream)) => return Ok((stream, address)),
            Ok(Err(error)) => error,
            Err(_) => io::ErrorKind::TimedOut.into(),
        };
        tried.push((address, error));
    }
    Err(Error::Connect(tried))
}

/// The request and its answer over an open connection.
async fn exchange(
    stream: Box<dyn Stream>,
    target: &Target,
    method: Method,
    body: Body,
    deadline: Instant,
) -> Result<Response, String> {
    let request = request(target, method, body).map_err(|error| error.to_string())?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error::chain(&error))?;
    let mut answer = pin!(async {
        let response = sender.send_request(request).await;
        let response = response.map_err(|error| error::chain(&error))?;
        let status = response.status();
        // Who was sent credentials may repeat them in what it says.
        let body = if status.is_success() || target.authorization().is_some() {
            String::new()
        } else {
            text(response.into_body(), deadline).await
        };
        Ok(Response { status, body })
    });
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        // The connection may end before the answer was taken from it.
        _ = connection => answer.await,
    }
}

fn request(
    target: &Target,
    method: Method,
    body: Body,
) -> hyper::http::Result<Request<Full<Bytes>>> {
    let mut request = Request::builder()
        .method(method)
        .uri(target.uri())
        .header(HOST, target.authority())
        .header(
            USER_AGENT,
            concat!("schemagate/", env!("CARGO_PKG_VERSION")),
        )
        .header(CONNECTION, "close")
        // Not left to hyper, which may leave it out where there is nothing: proxies then answer 411.
        .header(CONTENT_LENGTH, body.bytes.len());
    if let Some(content_type) = body.content_type {
        request = request.header(CONTENT_TYPE, content_type);
    }
    if let Some(authorization) = target.authorization() {
        request = request.header(AUTHORIZATION, authorization);
    }
    request.body(Full::new(body.bytes))
}

/// The beginning of a body. The status is what counts: a body that does not end, or not in time, is cut.
async fn text(mut body: Incoming, deadline: Instant) -> String {
    // The whole request must not run into its own limit for the sake of the body.
    let left = deadline.saturating_duration_since(Instant::now());
    let end = Instant::now() + left / 2;
    let mut bytes = Vec::new();
    while bytes.len() < MAX_BODY {
        let Ok(Some(Ok(frame))) = timeout_at(end, body.frame()).await else {
            break;
        };
        if let Some(data) = frame.data_ref() {
            bytes.extend_from_slice(data);
        }
    }
    bytes.truncate(MAX_BODY);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// One line of what a server wrote, without what would disturb a terminal.
fn line(text: &str) -> String {
    let text: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let mut line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.len() > MAX_REASON {
        line.truncate(line.floor_char_boundary(MAX_REASON));
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests;
