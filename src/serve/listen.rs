//! The socket that the endpoints listen at: opened before the database is contacted, so that a probe finds somebody.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
};

use socket2::{Domain, Protocol, Socket, Type};

use super::{Error, Params};

/// A socket that listens already: who knocks before [`super::start`] is answered after it.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    detail_for_all: bool,
}

/// How many connections may knock before they are let in. The kernel cuts it at `net.core.somaxconn`.
const BACKLOG: i32 = 1024;

/// Bytes that wait in the kernel for each connection and direction; it takes twice of it. Connections have it from the
/// socket that they came in by.
const BUFFER: usize = 64 * 1024;

/// Listens at the address of the settings.
///
/// `[::]` is for both families; where IPv6 is switched off, `0.0.0.0` takes its place.
pub fn bind(params: &Params) -> Result<Listener, Error> {
    let listen = |socket: TcpListener| {
        let address = socket.local_addr()?;
        Ok(Listener {
            socket,
            address,
            detail_for_all: params.detail_for_all,
        })
    };
    with_fallback(params.listen, open)
        .and_then(listen)
        .map_err(|source| Error::Listen {
            address: params.listen,
            source,
        })
}

/// Opens the address, or its counterpart of IPv4 where the kernel has no IPv6.
fn with_fallback<T>(
    address: SocketAddr,
    open: impl Fn(SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    let every = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
    match open(address) {
        Err(error) if address.is_ipv6() && address.ip().is_unspecified() && no_ipv6(&error) => {
            tracing::debug!(%address, instead = %every, "IPv6 is switched off here");
            open(every)
        }
        outcome => outcome,
    }
}

/// The errors of a kernel without IPv6: of `socket` where it is left out, of `bind` where it is switched off.
fn no_ipv6(error: &io::Error) -> bool {
    // EAFNOSUPPORT has no kind of its own in the standard library.
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(EAFNOSUPPORT)
}

/// "Address family not supported by protocol", as Linux numbers it on every architecture but MIPS and SPARC.
const EAFNOSUPPORT: i32 = 97;

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM.nonblocking().cloexec(),
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        // The kernel's default is the administrator's (`net.ipv6.bindv6only`).
        socket.set_only_v6(false)?;
    }
    // A container that was restarted finds the connections of its predecessor in TIME_WAIT.
    socket.set_reuse_address(true)?;
    // The kernel would give a connection megabytes, which count as the container's memory.
    socket.set_send_buffer_size(BUFFER)?;
    socket.set_recv_buffer_size(BUFFER)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Why the address cannot be listened at, in words.
pub(super) fn cause(address: SocketAddr, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => format!("port {} is in use", address.port()),
        io::ErrorKind::AddrNotAvailable => format!("{} is no address of this host", address.ip()),
        io::ErrorKind::PermissionDenied => {
            format!("port {} is not permitted to this user", address.port())
        }
        _ if no_ipv6(error) => "IPv6 is switched off on this host".to_owned(),
        _ => error.to_string(),
    }
}

/// What to do about it.
pub(super) fn help(address: SocketAddr, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "set SCHEMAGATE_LISTEN to a free port, or end what listens there; the containers of a pod share their ports"
        }
        io::ErrorKind::AddrNotAvailable => {
            "set SCHEMAGATE_LISTEN to an address of this host, or to a port alone (`:9911`) for every address"
        }
        io::ErrorKind::PermissionDenied if address.port() < 1024 => {
            "set SCHEMAGATE_LISTEN to a port of 1024 or above, or give the container CAP_NET_BIND_SERVICE"
        }
        _ if no_ipv6(error) => "set SCHEMAGATE_LISTEN to an address of IPv4",
        _ => "set SCHEMAGATE_LISTEN to an address and a port where this container may listen",
    }
    .to_owned()
}

// === impl Listener ===

impl Listener {
    /// Where it listens, with the port that was taken for 0.
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn into_parts(self) -> (TcpListener, bool) {
        (self.socket, self.detail_for_all)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    fn params(address: &str) -> Params {
        Params {
            listen: address.parse().unwrap(),
            detail_for_all: false,
        }
    }

    #[test]
    fn every_address_of_both_families() {
        let listener = bind(&params("[::]:0")).unwrap();
        let port = listener.local_addr().port();
        assert_ne!(port, 0);
        for host in ["127.0.0.1", "::1"] {
            TcpStream::connect((host, port)).unwrap_or_else(|error| panic!("{host}: {error}"));
        }
    }

    #[test]
    fn one_family_only() {
        for (address, other) in [("127.0.0.1:0", "::1"), ("[::1]:0", "127.0.0.1")] {
            let listener = bind(&params(address)).unwrap();
            let at = listener.local_addr();
            TcpStream::connect(at).unwrap();
            assert!(
                TcpStream::connect((other, at.port())).is_err(),
                "{address} answers at {other}"
            );
        }
    }

    #[test]
    fn without_ipv6_ipv4_takes_its_place() {
        const EADDRINUSE: i32 = 98;
        const EADDRNOTAVAIL: i32 = 99;
        let refuse = |code: i32| {
            move |address: SocketAddr| {
                if address.is_ipv6() {
                    Err(io::Error::from_raw_os_error(code))
                } else {
                    Ok(address.to_string())
                }
            }
        };
        for (address, code, expected) in [
            ("[::]:9911", EAFNOSUPPORT, Some("0.0.0.0:9911")),
            ("[::]:9911", EADDRNOTAVAIL, Some("0.0.0.0:9911")),
            ("[::]:9911", EADDRINUSE, None),
            ("[::1]:9911", EAFNOSUPPORT, None),
            ("0.0.0.0:9911", EAFNOSUPPORT, Some("0.0.0.0:9911")),
        ] {
            let found = with_fallback(address.parse().unwrap(), refuse(code));
            assert_eq!(found.ok().as_deref(), expected, "{address} {code}");
        }
    }

    #[test]
    fn errors_say_what_to_do() {
        let taken = bind(&params("127.0.0.1:0")).unwrap();
        let at = taken.local_addr().to_string();
        let in_use = format!(
            "cannot listen at {at}: port {} is in use",
            taken.address.port()
        );
        for (address, what, help) in [
            (at.as_str(), in_use.as_str(), "share their ports"),
            (
                "192.0.2.1:9911",
                "cannot listen at 192.0.2.1:9911: 192.0.2.1 is no address of this host",
                "an address of this host",
            ),
            (
                "[2001:db8::1]:9911",
                "cannot listen at [2001:db8::1]:9911: 2001:db8::1 is no address of this host",
                "an address of this host",
            ),
        ] {
            let error = bind(&params(address)).unwrap_err();
            assert_eq!(error.to_string(), what);
            assert!(error.help().contains(help), "{}", error.help());
            assert_eq!(error.exit_status(), crate::exit::ExitStatus::Usage);
        }
    }

    #[test]
    fn a_port_below_1024() {
        let (address, error) = (
            "0.0.0.0:80".parse().unwrap(),
            io::Error::from(io::ErrorKind::PermissionDenied),
        );
        assert_eq!(
            cause(address, &error),
            "port 80 is not permitted to this user"
        );
        assert!(help(address, &error).contains("CAP_NET_BIND_SERVICE"));
    }
}
