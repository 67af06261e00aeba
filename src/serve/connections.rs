//! The connections: who is let in, for how long, and how they end.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    io,
    net::IpAddr,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response,
    body::Incoming,
    header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{oneshot, watch},
    task::{AbortHandle, yield_now},
    time::{sleep, timeout},
};

use super::{
    route::{self, Seen},
    socket::Socket,
};
use crate::{metrics::Metrics, progress::Progress};

/// What a connection may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How many there may be. One more, and the oldest is closed.
    pub connections: usize,
    /// How long one may be without a whole request: after it was opened, and after each answer.
    pub request: Duration,
    /// Bytes of a request's line and headers, at least 8192.
    pub head: usize,
    /// How long a peer may take for each 64 KiB of an answer.
    pub answer: Duration,
    /// How many answers above 64 KiB may be on their way. One more, and the connection of the oldest is closed.
    pub large: usize,
}

/// What is served.
pub(super) struct Site {
    pub(super) progress: watch::Receiver<Arc<Progress>>,
    pub(super) metrics: Metrics,
    pub(super) detail_for_all: bool,
}

/// The open connections, and the large answers on their way. Clones share them.
#[derive(Clone, Default)]
struct Open {
    connections: ByAge,
    large: ByAge,
}

/// What can be closed, the oldest first. Clones share it.
#[derive(Clone, Default)]
struct ByAge(Arc<Mutex<List>>);

#[derive(Default)]
struct List {
    next: u64,
    open: BTreeMap<u64, AbortHandle>,
}

/// Takes something off its list, however it ends.
struct Listed {
    list: ByAge,
    id: u64,
}

/// A large answer's body, which hyper lets go of when the last byte is written.
struct Large {
    body: String,
    _listed: Listed,
}

/// Where an answer begins to be large: less than this, from every connection there may be, can be afforded.
const LARGE: usize = 64 * 1024;

/// Before accepting is tried again after it failed.
const PAUSE: Duration = Duration::from_millis(50);

/// How long a connection or a request that has been sent may take to be seen here, when the end has come.
const ARRIVAL: Duration = Duration::from_millis(20);

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 128,
            // Not one of the usual intervals of probes and scrapes, which would meet the closing door each time.
            request: Duration::from_secs(8),
            head: 16 * 1024,
            answer: Duration::from_secs(8),
            large: 4,
        }
    }
}

/// Serves until `told`, which says how long the end may take.
pub(super) async fn serve(
    listener: TcpListener,
    site: Arc<Site>,
    limits: Limits,
    told: oneshot::Receiver<Duration>,
) {
    let (drain, draining) = watch::channel(false);
    let mut door = Door {
        open: Open::default(),
        site,
        limits,
        draining,
        failing: false,
    };
    let limit = tokio::select! {
        limit = told => limit.unwrap_or_default(),
        never = door.accept(&listener) => match never {},
    };
    let finished = timeout(limit, async move {
        // Who has knocked is let in, and what has been sent is read.
        let _ = timeout(ARRIVAL, door.accept(&listener)).await;
        drop((listener, door));
        sleep(ARRIVAL).await;
        let _ = drain.send(true);
        drain.closed().await;
    })
    .await;
    if finished.is_err() {
        tracing::debug!("connections are cut off: they did not end in time");
    }
}

/// Where connections come in.
struct Door {
    open: Open,
    site: Arc<Site>,
    limits: Limits,
    draining: watch::Receiver<bool>,
    /// Whether the last attempt to accept failed.
    failing: bool,
}

// === impl Door ===

impl Door {
    async fn accept(&mut self, listener: &TcpListener) -> Infallible {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    self.failing = false;
                    self.admit(stream, peer.ip());
                }
                Err(error) => self.refused(&error).await,
            }
        }
    }

    /// Most often no descriptors are left. Whoever waits would be reported again at once: without a pause, and with
    /// nobody to make room, this would never rest.
    async fn refused(&mut self, error: &io::Error) {
        if !self.failing {
            tracing::warn!(%error, "a connection could not be accepted");
        }
        self.failing = true;
        if self.open.connections.close_oldest() {
            yield_now().await;
        } else {
            sleep(PAUSE).await;
        }
    }

    fn admit(&mut self, stream: TcpStream, peer: IpAddr) {
        self.open.connections.make_room(self.limits.connections);
        let visit = Arc::new(Visit {
            listed: self.open.connections.ticket(),
            peer,
            site: Arc::clone(&self.site),
            limits: self.limits,
            open: self.open.clone(),
        });
        let task = tokio::spawn({
            let (visit, draining) = (Arc::clone(&visit), self.draining.clone());
            async move { visit.converse(stream, draining).await }
        });
        // The task does not run before this function has returned: there is one thread.
        let connections = &self.open.connections;
        connections.enter(&visit.listed, task.abort_handle());
    }
}

// === impl ByAge ===

impl ByAge {
    fn with<T>(&self, work: impl FnOnce(&mut List) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A place behind all others, which lasts as long as the ticket.
    fn ticket(&self) -> Listed {
        let id = self.with(|list| {
            list.next += 1;
            list.next
        });
        Listed {
            list: self.clone(),
            id,
        }
    }

    fn enter(&self, listed: &Listed, handle: AbortHandle) {
        self.with(|list| list.open.insert(listed.id, handle));
    }

    fn get(&self, listed: &Listed) -> Option<AbortHandle> {
        self.with(|list| list.open.get(&listed.id).cloned())
    }

    /// Room for one more, where there may be `limit`.
    fn make_room(&self, limit: usize) {
        while self.with(|list| list.open.len()) >= limit.max(1) {
            self.close_oldest();
        }
    }

    /// Whether there was one.
    fn close_oldest(&self) -> bool {
        // Closed outside of the lock: who is closed takes itself off the list.
        let oldest = self.with(|list| list.open.pop_first());
        if let Some((_, handle)) = &oldest {
            tracing::debug!("the oldest connection is closed to make room");
            handle.abort();
        }
        oldest.is_some()
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.list.with(|list| list.open.remove(&self.id));
    }
}

impl AsRef<[u8]> for Large {
    fn as_ref(&self) -> &[u8] {
        self.body.as_bytes()
    }
}

/// One connection.
struct Visit {
    listed: Listed,
    peer: IpAddr,
    site: Arc<Site>,
    limits: Limits,
    open: Open,
}

// === impl Visit ===

impl Visit {
    /// From its first request to its end.
    async fn converse(&self, stream: TcpStream, mut draining: watch::Receiver<bool>) {
        // An answer goes out in one piece.
        let _ = stream.set_nodelay(true);
        let socket = Socket::new(stream, self.limits.answer);
        let service = service_fn(|request: Request<Incoming>| {
            std::future::ready(Ok::<_, Infallible>(self.answer(&request)))
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.request)
            .max_buf_size(self.limits.head)
            // Who has asked all may close its side and still read.
            .half_close(true)
            .serve_connection(TokioIo::new(socket), service);
        let mut connection = pin!(connection);
        let told = async {
            // Its sender outlives every connection.
            let _ = draining.wait_for(|told| *told).await;
        };
        let ended = tokio::select! {
            biased;
            ended = connection.as_mut() => ended,
            () = told => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(peer = %self.peer, %error, "a connection ended early");
        }
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let site = &*self.site;
        let progress = Arc::clone(&site.progress.borrow());
        let seen = Seen {
            progress: &progress,
            metrics: &site.metrics,
            alive: site.progress.has_changed().is_ok(),
            detail: site.detail_for_all || route::is_local(self.peer, request.headers()),
            now: jiff::Timestamp::now(),
        };
        let (method, uri) = (request.method(), request.uri());
        let answer = route::respond(method, uri.path(), uri.query(), &seen);
        tracing::debug!(%method, path = uri.path(), status = answer.status.as_u16(), "answered");
        let length = answer.body.len();
        let mut response = Response::new(Full::new(if method == Method::HEAD {
            Bytes::new()
        } else {
            self.body(answer.body)
        }));
        *response.status_mut() = answer.status;
        let headers = response.headers_mut();
        // Told also where the body is left out.
        headers.insert(CONTENT_LENGTH, length.into());
        let common = [
            (CONTENT_TYPE, answer.content_type),
            (CACHE_CONTROL, "no-store"),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ];
        for (name, value) in common.into_iter().chain(answer.headers) {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }

    /// A large body is on its list until it is written.
    fn body(&self, body: String) -> Bytes {
        let Some(handle) = self.open.connections.get(&self.listed) else {
            // Closed to make room: nobody reads on.
            return body.into();
        };
        if body.len() < LARGE {
            return body.into();
        }
        self.open.large.make_room(self.limits.large);
        let listed = self.open.large.ticket();
        self.open.large.enter(&listed, handle);
        Bytes::from_owner(Large {
            body,
            _listed: listed,
        })
    }
}
