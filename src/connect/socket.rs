//! From an endpoint to an open socket: look-up, connect, keepalives.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, UnixStream, lookup_host};

use super::target::{Endpoint, Host, SocketSettings};
use super::wire::Transport;

/// Where a server listens, looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    Tcp(SocketAddr),
    /// The socket's path; one that begins with NUL is in the abstract namespace.
    Unix(String),
}

/// Folders in which a server's socket is looked for when no host is given: Debian's and PostgreSQL's own default.
const SOCKET_FOLDERS: [&str; 2] = ["/var/run/postgresql", "/tmp"];

// === impl Address ===

impl Address {
    pub(super) async fn open(&self, settings: &SocketSettings) -> io::Result<Transport> {
        match self {
            Self::Unix(path) => UnixStream::connect(path).await.map(Transport::Unix),
            Self::Tcp(address) => tcp(*address, settings).await.map(Transport::Tcp),
        }
    }
}

async fn tcp(address: SocketAddr, settings: &SocketSettings) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let socket = SockRef::from(&stream);
    if settings.keepalives {
        socket.set_tcp_keepalive(&keepalive(settings))?;
    }
    if settings.user_timeout.is_some() {
        socket.set_tcp_user_timeout(settings.user_timeout)?;
    }
    Ok(stream)
}

fn keepalive(settings: &SocketSettings) -> TcpKeepalive {
    let mut keepalive = TcpKeepalive::new();
    if let Some(idle) = settings.idle {
        keepalive = keepalive.with_time(idle);
    }
    if let Some(interval) = settings.interval {
        keepalive = keepalive.with_interval(interval);
    }
    if let Some(count) = settings.count {
        keepalive = keepalive.with_retries(count);
    }
    keepalive
}

/// Every address of an endpoint, in the order in which they are to be tried.
pub(super) async fn addresses(endpoint: &Endpoint) -> io::Result<Vec<Address>> {
    let port = endpoint.port;
    match (&endpoint.host, endpoint.address) {
        (Host::Unix(folder), _) => Ok(vec![Address::Unix(socket_path(folder, port))]),
        (_, Some(address)) => Ok(vec![Address::Tcp(SocketAddr::new(address, port))]),
        (Host::Default, None) => match default_socket(port) {
            Some(path) => Ok(vec![Address::Unix(path)]),
            None => look_up("localhost", port).await,
        },
        (Host::Name(name), None) => look_up(name, port).await,
    }
}

async fn look_up(name: &str, port: u16) -> io::Result<Vec<Address>> {
    let found: Vec<Address> = lookup_host((name, port)).await?.map(Address::Tcp).collect();
    if found.is_empty() {
        return Err(io::Error::other("the name has no address"));
    }
    Ok(found)
}

fn socket_path(folder: &str, port: u16) -> String {
    match folder.strip_prefix('@') {
        Some(name) => format!("\0{name}/.s.PGSQL.{port}"),
        None => format!("{folder}/.s.PGSQL.{port}"),
    }
}

/// libpq has one such folder built in; an image from scratch cannot know which, so it looks.
fn default_socket(port: u16) -> Option<String> {
    SOCKET_FOLDERS
        .iter()
        .map(|folder| socket_path(folder, port))
        .find(|path| Path::new(path).exists())
}

/// Puts the items into a random order (`load_balance_hosts=random`).
pub(super) fn shuffle<T>(items: &mut [T]) {
    for last in (1..items.len()).rev() {
        items.swap(last, random(last + 1));
    }
}

/// A number below `bound`. The keys of the standard library's hasher are random, which is good enough to spread load.
fn random(bound: usize) -> usize {
    use std::hash::{BuildHasher as _, Hasher as _};
    let number = std::hash::RandomState::new().build_hasher().finish();
    usize::try_from(number % (bound.max(1) as u64)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        assert_eq!(socket_path("/run/x", 5), "/run/x/.s.PGSQL.5");
        assert_eq!(socket_path("@x", 5), "\0x/.s.PGSQL.5");
    }

    #[test]
    fn every_order_comes_up() {
        let mut orders = std::collections::BTreeSet::new();
        for _ in 0..300 {
            let mut items = [1, 2, 3];
            shuffle(&mut items);
            orders.insert(items);
        }
        assert_eq!(orders.len(), 6);
    }
}
