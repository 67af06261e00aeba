//! A socket that is opened while something else is done: the server starts a process for it as soon as it is there, which
//! takes as long as reading a folder of fifty files.
//!
//! Nothing is sent on it, and whoever goes away without using it leaves no line in the server's log.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::JoinHandle;

use super::socket::{self, Address};
use super::target::{Endpoint, SocketSettings};
use super::wire::Transport;

/// What was begun; clones share it.
#[derive(Clone, Default)]
pub(super) struct Ahead(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    begun: Option<(Endpoint, JoinHandle<io::Result<Found>>)>,
    opened: Option<(Address, Transport)>,
}

/// Every address of the endpoint, and the first one's socket, if there is one.
struct Found {
    addresses: Vec<Address>,
    socket: Option<Transport>,
}

// === impl Ahead ===

impl Ahead {
    /// Begins to look up an endpoint and to reach its first address.
    pub(super) fn begin(&self, endpoint: Endpoint, settings: SocketSettings) {
        let to = endpoint.clone();
        let work = tokio::spawn(async move {
            let addresses = socket::addresses(&to).await?;
            let socket = match addresses.first() {
                Some(address) => address.open(&settings).await.ok(),
                None => None,
            };
            Ok(Found { addresses, socket })
        });
        self.state().begun = Some((endpoint, work));
    }

    /// The addresses of an endpoint that was begun with, once. An error is left to those who look again.
    pub(super) async fn addresses(&self, endpoint: &Endpoint) -> Option<Vec<Address>> {
        let (begun, work) = self.state().begun.take()?;
        if begun != *endpoint {
            work.abort();
            return None;
        }
        let found = work.await.ok()?.ok()?;
        let first = found.addresses.first().cloned();
        self.state().opened = first.zip(found.socket);
        Some(found.addresses)
    }

    /// The socket to this address, once.
    pub(super) fn socket(&self, address: &Address) -> Option<Transport> {
        let (opened, socket) = self.state().opened.take()?;
        (opened == *address).then_some(socket)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Ahead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ahead")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connect::target::Host;

    const SETTINGS: SocketSettings = SocketSettings {
        keepalives: false,
        idle: None,
        interval: None,
        count: None,
        user_timeout: None,
    };

    fn endpoint(port: u16) -> Endpoint {
        Endpoint {
            host: Host::Name("127.0.0.1".to_owned()),
            address: None,
            port,
        }
    }

    #[tokio::test]
    async fn the_socket_is_used_once_and_only_for_its_address() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let to = endpoint(listener.local_addr().unwrap().port());
        let ahead = Ahead::default();
        ahead.begin(to.clone(), SETTINGS);
        let addresses = ahead.clone().addresses(&to).await.unwrap();
        assert!(ahead.socket(&addresses[0]).is_some());
        assert!(ahead.socket(&addresses[0]).is_none());
        assert!(ahead.addresses(&to).await.is_none());

        ahead.begin(to.clone(), SETTINGS);
        assert!(ahead.addresses(&endpoint(1)).await.is_none());
        assert!(ahead.addresses(&to).await.is_none());
    }

    #[tokio::test]
    async fn a_port_that_nobody_listens_at_has_an_address_and_no_socket() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let to = endpoint(listener.local_addr().unwrap().port());
        drop(listener);
        let ahead = Ahead::default();
        ahead.begin(to.clone(), SETTINGS);
        let addresses = ahead.addresses(&to).await.unwrap();
        assert!(ahead.socket(&addresses[0]).is_none());
    }
}
