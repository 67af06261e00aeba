//! The stream below the client library: a socket with or without TLS, watched while the session starts.
//!
//! The library keeps the server's key for cancelling to itself, and its own cancel request is dropped by `PgBouncer`
//! 1.18, so the key is read here on its way in. So is the server's question for a password (see `auth`).

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_postgres::tls::{ChannelBinding, TlsConnect};

use super::auth::Methods;
use super::tls::TlsStream;

/// How the bytes travel.
pub(super) enum Transport {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<TlsStream>),
}

/// What a server needs to find a running statement: process and secret of `BackendKeyData`.
#[derive(Clone, Copy)]
pub(super) struct CancelKey {
    pub(super) pid: i32,
    pub(super) secret: [u8; 4],
}

/// What was seen while the session started.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) key: OnceLock<CancelKey>,
    /// Why this side refused to authenticate.
    pub(super) refused: OnceLock<String>,
    /// What the server asked for: the code of `AuthenticationRequest`.
    method: OnceLock<i32>,
    /// SCRAM was answered with channel binding.
    bound: OnceLock<()>,
}

/// How the server was shown who we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Login {
    /// It asked for nothing: trusted, by the socket's owner, or by a client certificate.
    Nothing,
    /// By the password in clear text.
    ClearText,
    /// By an MD5 hash.
    Md5,
    /// By SCRAM-SHA-256.
    Scram {
        /// Bound to the server's certificate, so that nobody can stand in between.
        bound: bool,
    },
    /// In another way.
    Other,
}

impl fmt::Debug for CancelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelKey")
            .field("pid", &self.pid)
            .finish_non_exhaustive()
    }
}

/// A transport and its watcher.
pub(super) struct Wire {
    transport: Transport,
    /// `None` once the session has started.
    watcher: Option<Watcher>,
}

/// Cuts the server's messages out of the stream of bytes, keeping no more than eight bytes of each.
/// <https://www.postgresql.org/docs/current/protocol-message-formats.html>
struct Watcher {
    header: Vec<u8>,
    /// The first bytes of the message's body.
    body: Vec<u8>,
    /// What is still to come of the body.
    left: usize,
    asked: bool,
    methods: Option<Methods>,
    seen: Arc<Seen>,
}

/// Is the session still starting?
#[derive(Debug, PartialEq, Eq)]
enum Phase {
    Starting,
    Started,
}

// === impl Seen ===

/// The mechanism that names channel binding, in `SASLInitialResponse`.
const BOUND: &[u8] = b"SCRAM-SHA-256-PLUS";

impl Seen {
    /// How the session was authenticated.
    pub(super) fn login(&self) -> Login {
        match self.method.get() {
            None => Login::Nothing,
            Some(3) => Login::ClearText,
            Some(5) => Login::Md5,
            Some(10) => Login::Scram {
                bound: self.bound.get().is_some(),
            },
            Some(_) => Login::Other,
        }
    }
}

// === impl Wire ===

impl Wire {
    pub(super) fn new(transport: Transport, methods: Option<Methods>) -> (Self, Arc<Seen>) {
        let seen = Arc::new(Seen::default());
        let watcher = Watcher {
            header: Vec::with_capacity(5),
            body: Vec::with_capacity(8),
            left: 0,
            asked: false,
            methods,
            seen: Arc::clone(&seen),
        };
        let wire = Self {
            transport,
            watcher: Some(watcher),
        };
        (wire, seen)
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.transport).poll_read(cx, buf))?;
        if let Some(watcher) = &mut self.watcher {
            match watcher.feed(buf.filled().get(before..).unwrap_or_default()) {
                Ok(Phase::Starting) => {}
                Ok(Phase::Started) => self.watcher = None,
                Err(why) => {
                    let _ = watcher.seen.refused.set(why.clone());
                    buf.set_filled(before);
                    return Poll::Ready(Err(io::Error::other(why)));
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Some(watcher) = &self.watcher
            && buf.windows(BOUND.len()).any(|part| part == BOUND)
        {
            let _ = watcher.seen.bound.set(());
        }
        Pin::new(&mut self.transport).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(cx)
    }
}

impl tokio_postgres::tls::TlsStream for Wire {
    fn channel_binding(&self) -> ChannelBinding {
        match &self.transport {
            Transport::Tls(stream) => stream.channel_binding(),
            Transport::Tcp(_) | Transport::Unix(_) => ChannelBinding::none(),
        }
    }
}

// === impl Watcher ===

impl Watcher {
    fn feed(&mut self, mut bytes: &[u8]) -> Result<Phase, String> {
        while let Some((first, rest)) = bytes.split_first() {
            if self.left == 0 {
                self.header.push(*first);
                bytes = rest;
                if self.header.len() == 5 {
                    self.left = self.body_length();
                }
            } else {
                let (now, later) = bytes.split_at(self.left.min(bytes.len()));
                self.left -= now.len();
                let room = 8 - self.body.len();
                self.body.extend_from_slice(&now[..room.min(now.len())]);
                bytes = later;
            }
            if self.header.len() == 5 && self.left == 0 && self.message()? == Phase::Started {
                return Ok(Phase::Started);
            }
        }
        Ok(Phase::Starting)
    }

    /// The length in the header counts itself. A nonsensical one is the client library's to complain of.
    fn body_length(&self) -> usize {
        match self.header[..] {
            [_, a, b, c, d] => u32::from_be_bytes([a, b, c, d]).saturating_sub(4) as usize,
            _ => 0,
        }
    }

    /// A whole message has gone by.
    fn message(&mut self) -> Result<Phase, String> {
        let kind = self.header.first().copied();
        self.header.clear();
        let body = std::mem::take(&mut self.body);
        match (kind, &body[..]) {
            (Some(b'K'), &[a, b, c, d, ref secret @ ..]) => {
                let _ = secret.try_into().map(|secret| {
                    self.seen.key.set(CancelKey {
                        pid: i32::from_be_bytes([a, b, c, d]),
                        secret,
                    })
                });
            }
            (Some(b'R'), &[a, b, c, d, ..]) => {
                let request = i32::from_be_bytes([a, b, c, d]);
                if let Some(methods) = self.methods {
                    methods.allow(request, self.asked)?;
                }
                if request != 0 {
                    let _ = self.seen.method.set(request);
                }
                self.asked = true;
            }
            (Some(b'Z'), _) => return Ok(Phase::Started),
            _ => {}
        }
        Ok(Phase::Starting)
    }
}

// === impl Transport ===

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// Tells the client library that its stream is as secure as it will get: TLS, if any, is already below it.
pub(super) struct AlreadySecured;

impl TlsConnect<Wire> for AlreadySecured {
    type Stream = Wire;
    type Error = std::convert::Infallible;
    type Future = std::future::Ready<Result<Wire, Self::Error>>;

    fn connect(self, stream: Wire) -> Self::Future {
        std::future::ready(Ok(stream))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watcher(methods: Option<Methods>) -> Watcher {
        Watcher {
            header: Vec::new(),
            body: Vec::new(),
            left: 0,
            asked: false,
            methods,
            seen: Arc::default(),
        }
    }

    /// Authentication ok, a parameter, the key, ready for query, and a byte of what follows.
    const START: &[u8] =
        b"R\0\0\0\x08\0\0\0\0S\0\0\0\x0fa_name\0val\0K\0\0\0\x0c\0\0\x12\x34wxyzZ\0\0\0\x05IX";

    #[test]
    fn the_key_is_found_however_the_bytes_arrive() {
        for chunk in 1..START.len() {
            let mut watcher = watcher(None);
            let started = START
                .chunks(chunk)
                .any(|bytes| watcher.feed(bytes) == Ok(Phase::Started));
            assert!(started, "chunks of {chunk}");
            let key = watcher.seen.key.get().unwrap();
            assert_eq!((key.pid, &key.secret), (0x1234, b"wxyz"));
        }
    }

    #[test]
    fn a_method_that_is_not_allowed_stops_the_start() {
        let scram = Methods::parse("scram-sha-256").unwrap();
        assert!(watcher(Some(scram)).feed(START).is_err());
        assert!(watcher(Some(scram)).feed(b"R\0\0\0\x08\0\0\0\x03").is_err());
        assert!(
            watcher(Some(scram))
                .feed(b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0")
                .is_ok()
        );
    }

    #[test]
    fn nonsense_does_no_harm() {
        let mut bytes = Vec::new();
        for byte in 0..=255_u8 {
            bytes.extend([byte, byte ^ 0x55, 0, 0, 3]);
            let _ = watcher(None).feed(&bytes);
        }
        assert!(
            watcher(None)
                .feed(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                .is_ok()
        );
        assert!(
            watcher(None)
                .feed(b"K\0\0\0\x04K\0\0\0\0K\0\0\0\x05x")
                .is_ok()
        );
    }
}
