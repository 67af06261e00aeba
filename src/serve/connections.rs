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
use futures_util::FutureExt as _;
use http_body_util::Full;
use hyper::{
    Method, Request, Response,
    body::Incoming,
    header::{
        CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue,
        X_CONTENT_TYPE_OPTIONS,
    },
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{oneshot, watch},
    task::AbortHandle,
    time::{sleep, timeout},
};

use super::route::{self, Answer, Seen};
use crate::{metrics::Metrics, progress::Progress};

/// What a connection may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How many there may be. One more, and the oldest is closed.
    pub connections: usize,
    /// How long one may be without a whole request: after it was opened, and after each answer.
    pub request: Duration,
    /// Bytes of a request's line and headers.
    pub head: usize,
}

/// What is served.
pub(super) struct Site {
    pub(super) progress: watch::Receiver<Arc<Progress>>,
    pub(super) metrics: Metrics,
    pub(super) detail_for_all: bool,
}

/// The open connections by age; clones share them.
#[derive(Clone, Default)]
struct Open(Arc<Mutex<BTreeMap<u64, AbortHandle>>>);

/// Takes a connection off the list, however it ends.
struct Listed {
    open: Open,
    id: u64,
}

/// Before accepting is tried again after it failed.
const PAUSE: Duration = Duration::from_millis(50);

/// How long a request that has been sent may take to be seen here, when the end has come.
const ARRIVAL: Duration = Duration::from_millis(20);

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 128,
            // Not one of the usual intervals of probes and scrapes, which would meet the closing door each time.
            request: Duration::from_secs(8),
            head: 16 * 1024,
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
        next: 0,
        failing: false,
    };
    let limit = tokio::select! {
        limit = told => limit.unwrap_or_default(),
        never = door.accept(&listener) => match never {},
    };
    // Whoever knocked before the end is let in.
    while let Some(Ok((stream, peer))) = listener.accept().now_or_never() {
        door.admit(stream, peer.ip());
    }
    drop((listener, door));
    let finished = timeout(limit, async {
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
    next: u64,
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

    /// Most often no descriptors are left; a connection that waits would be reported again at once.
    async fn refused(&mut self, error: &io::Error) {
        if !self.failing {
            tracing::warn!(%error, "a connection could not be accepted");
        }
        self.failing = true;
        self.open.close_oldest();
        sleep(PAUSE).await;
    }

    fn admit(&mut self, stream: TcpStream, peer: IpAddr) {
        while self.open.len() >= self.limits.connections {
            tracing::debug!("the oldest connection makes room");
            self.open.close_oldest();
        }
        let id = self.next;
        self.next += 1;
        let listed = Listed {
            open: self.open.clone(),
            id,
        };
        let (site, limits, draining) = (Arc::clone(&self.site), self.limits, self.draining.clone());
        // The task does not run before this function has returned: there is one thread.
        let task = tokio::spawn(async move {
            let _listed = listed;
            converse(stream, peer, &site, &limits, draining).await;
        });
        self.open.add(id, task.abort_handle());
    }
}

// === impl Open ===

impl Open {
    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<u64, AbortHandle>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn len(&self) -> usize {
        self.with(|open| open.len())
    }

    fn add(&self, id: u64, handle: AbortHandle) {
        self.with(|open| open.insert(id, handle));
    }

    fn close_oldest(&self) {
        if let Some((_, handle)) = self.with(BTreeMap::pop_first) {
            handle.abort();
        }
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.open.with(|open| open.remove(&self.id));
    }
}

/// One connection to its end.
async fn converse(
    stream: TcpStream,
    peer: IpAddr,
    site: &Site,
    limits: &Limits,
    mut draining: watch::Receiver<bool>,
) {
    // An answer goes out in one piece.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request: Request<Incoming>| {
        std::future::ready(Ok::<_, Infallible>(answer(&request, peer, site)))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.request)
        .max_buf_size(limits.head)
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service);
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
        tracing::debug!(%peer, %error, "a connection ended early");
    }
}

fn answer(request: &Request<Incoming>, peer: IpAddr, site: &Site) -> Response<Full<Bytes>> {
    let progress = Arc::clone(&site.progress.borrow());
    let seen = Seen {
        progress: &progress,
        metrics: &site.metrics,
        alive: site.progress.has_changed().is_ok(),
        detail: site.detail_for_all || route::is_local(peer, request.headers()),
        now: jiff::Timestamp::now(),
    };
    let uri = request.uri();
    let answer = route::respond(request.method(), uri.path(), uri.query(), &seen);
    tracing::debug!(method = %request.method(), path = uri.path(), status = answer.status.as_u16(), "answered");
    response(request.method(), answer)
}

fn response(method: &Method, answer: Answer) -> Response<Full<Bytes>> {
    let length = answer.body.len();
    let body = if method == Method::HEAD {
        Bytes::new()
    } else {
        answer.body.into()
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value: &'static str| {
        headers.insert(name, HeaderValue::from_static(value));
    };
    set(CONTENT_TYPE, answer.content_type);
    set(CACHE_CONTROL, "no-store");
    set(X_CONTENT_TYPE_OPTIONS, "nosniff");
    for (name, value) in answer.headers {
        set(name, value);
    }
    // Told also where the body is left out.
    headers.insert(CONTENT_LENGTH, length.into());
    response
}
