//! Why a request got no answer.

use std::{error::Error as StdError, fmt, io, net::SocketAddr, time::Duration};

/// How a request failed before there was an answer. Names hosts and addresses, never what stands in a URL beside them.
#[derive(Debug)]
pub enum Error {
    /// The name could not be looked up.
    Lookup {
        /// The host.
        host: String,
        /// Why.
        source: io::Error,
    },
    /// No address took the connection; with the reason of each.
    Connect(Vec<(SocketAddr, io::Error)>),
    /// No TLS with this server.
    Tls {
        /// Its address.
        peer: SocketAddr,
        /// Why, and what would help.
        reason: String,
    },
    /// The request could not be sent, or what came back is no answer.
    Exchange {
        /// Its address.
        peer: SocketAddr,
        /// Why.
        reason: String,
    },
    /// The time was over.
    Timeout {
        /// The time that was given for all.
        limit: Duration,
        /// What was waited for.
        step: Step,
    },
}

/// How far a request has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The host's name is looked up.
    LookUp,
    /// A connection is opened.
    Connect(SocketAddr),
    /// The handshake of TLS.
    Handshake(SocketAddr),
    /// The request is sent, and its answer waited for.
    Answer(SocketAddr),
}

// === impl Error ===

impl Error {
    /// Whether nobody listens there: a server that is starting, or none at all.
    pub fn is_refused(&self) -> bool {
        let refused = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
        matches!(self, Self::Connect(tried) if tried.iter().all(|(_, error)| refused(error)))
    }

    /// Whether no connection was made, so that nothing was asked.
    pub fn is_unconnected(&self) -> bool {
        matches!(self, Self::Lookup { .. } | Self::Connect(_))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lookup { host, source } => {
                write!(f, "the name {host} could not be looked up: {source}")
            }
            Self::Connect(tried) => {
                for (index, (peer, error)) in tried.iter().enumerate() {
                    let gap = if index == 0 { "" } else { "; " };
                    write!(f, "{gap}{peer}: {error}")?;
                }
                Ok(())
            }
            Self::Tls { peer, reason } | Self::Exchange { peer, reason } => {
                write!(f, "{peer}: {reason}")
            }
            Self::Timeout { limit, step } => {
                write!(f, "{step} took longer than {:.1} s", limit.as_secs_f64())
            }
        }
    }
}

impl StdError for Error {}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LookUp => f.write_str("looking up the name"),
            Self::Connect(peer) => write!(f, "connecting to {peer}"),
            Self::Handshake(peer) => write!(f, "the TLS handshake with {peer}"),
            Self::Answer(peer) => write!(f, "the answer of {peer}"),
        }
    }
}

/// An error with those behind it: hyper's own text says little. Each is told once.
pub(super) fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        next = error.source();
    }
    text
}
