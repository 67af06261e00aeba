//! The sidecar's endpoints, on a thread of their own: whatever the work loop does, an answer is not delayed by it.
//!
//! | path | 200 when | else |
//! | --- | --- | --- |
//! | `/livez` | the work loop is there; the database is never asked | 503 |
//! | `/startupz` | the schema has once been what this image needs | 503 |
//! | `/readyz` | it is, and the process was not told to end | 503 |
//! | `/status` | always; JSON | |
//! | `/metrics` | always; the text format of Prometheus | |
//! | `/` | always; a page for people | |
//!
//! There is no database client here: an answer is made of the [`Progress`] that was last published. What a connection
//! may cost is limited ([`Limits`]), and where there are too many the oldest makes room, so that probes are answered.

mod connections;
mod listen;
pub mod page;
pub mod route;
mod socket;
mod status;
#[cfg(test)]
mod tests;

use std::{
    fmt, io,
    net::SocketAddr,
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    thread::JoinHandle,
    time::Duration,
};

use tokio::sync::{oneshot, watch};

pub use connections::Limits;
pub use listen::{Listener, bind};

use crate::{exit::ExitStatus, metrics::Metrics, progress::Progress};

/// Where the endpoints are served, and who sees what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Params {
    /// `SCHEMAGATE_LISTEN`. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// `SCHEMAGATE_DETAIL=all`: details are not for local peers only.
    pub detail_for_all: bool,
}

/// Why the endpoints are not served.
#[derive(Debug)]
pub enum Error {
    /// The address cannot be listened at.
    Listen {
        /// `SCHEMAGATE_LISTEN`.
        address: SocketAddr,
        /// What the operating system says.
        source: io::Error,
    },
    /// A thread or an event loop could not be had.
    Start(io::Error),
}

/// Endpoints that are being served. Dropped, they end at once.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    thread: JoinHandle<()>,
    /// Carries how long the end may take.
    drain: oneshot::Sender<Duration>,
    /// Hangs up when the thread is at its end.
    ended: mpsc::Receiver<()>,
}

/// How much longer than its limit the thread may take to end, for what it does between two looks at its clock.
const OVERTIME: Duration = Duration::from_millis(200);

/// Serves until [`Server::drain`]. `progress` must outlive the work: once its sender is gone, `/livez` says so.
pub fn start(
    listener: Listener,
    progress: watch::Receiver<Arc<Progress>>,
    metrics: Metrics,
) -> Result<Server, Error> {
    start_with(listener, progress, metrics, Limits::default())
}

/// [`start`] with other limits.
pub fn start_with(
    listener: Listener,
    progress: watch::Receiver<Arc<Progress>>,
    metrics: Metrics,
    limits: Limits,
) -> Result<Server, Error> {
    let address = listener.local_addr();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(Error::Start)?;
    let (socket, detail_for_all) = listener.into_parts();
    let socket = {
        let _inside = runtime.enter();
        tokio::net::TcpListener::from_std(socket).map_err(Error::Start)?
    };
    let site = Arc::new(connections::Site {
        progress,
        metrics,
        detail_for_all,
    });
    let (drain, told) = oneshot::channel();
    let (end, ended) = mpsc::channel::<()>();
    let thread = std::thread::Builder::new()
        .name("endpoints".to_owned())
        .spawn(move || {
            runtime.block_on(connections::serve(socket, site, limits, told));
            drop(runtime);
            drop(end);
        })
        .map_err(Error::Start)?;
    tracing::info!(%address, "endpoints are served");
    Ok(Server {
        address,
        thread,
        drain,
        ended,
    })
}

// === impl Server ===

impl Server {
    /// Where the endpoints are served, with the port that was taken for 0.
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Answers the requests that are under way or knock already, closes every connection, and ends the thread: all
    /// within `limit`, then what is left is cut off. Blocks the caller for that long at most.
    ///
    /// `/readyz` must have said no for a while: [`Progress::draining`] is the caller's to set.
    pub fn drain(self, limit: Duration) {
        if self.drain.send(limit).is_err() {
            tracing::warn!("the endpoints have ended before");
        }
        match self.ended.recv_timeout(limit.saturating_add(OVERTIME)) {
            Err(RecvTimeoutError::Timeout) => {
                tracing::warn!("the endpoints did not end in time");
            }
            Ok(()) | Err(RecvTimeoutError::Disconnected) => {
                // A panic has been told by the hook already.
                let _ = self.thread.join();
            }
        }
    }
}

// === impl Error ===

impl Error {
    /// The exit code.
    pub const fn exit_status(&self) -> ExitStatus {
        match self {
            Self::Listen { .. } => ExitStatus::Usage,
            Self::Start(_) => ExitStatus::Bug,
        }
    }

    /// What to do next, in one line.
    pub fn help(&self) -> String {
        match self {
            Self::Listen { address, source } => listen::help(*address, source),
            Self::Start(_) => "see the limits of the container".to_owned(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen { address, source } => {
                write!(
                    f,
                    "cannot listen at {address}: {}",
                    listen::cause(*address, source)
                )
            }
            Self::Start(source) => write!(f, "the endpoints could not be started: {source}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Listen { source, .. } | Self::Start(source) => Some(source),
        }
    }
}
