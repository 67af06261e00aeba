//! One attempt: every host in turn, every address of it, with TLS and without as the mode says.
//!
//! As in libpq, a server that cannot be reached, or has the wrong role, sends the attempt on to the next; one that
//! refuses ends it. <https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-MULTIPLE-HOSTS>

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::config::{ChannelBinding as RawBinding, SslMode, SslNegotiation};
use tokio_postgres::{Config, SimpleQueryMessage};

use super::classify::Class;
use super::error::Error;
use super::params::DatabaseLabel;
use super::passfile::{self, Wanted};
use super::secret::Secret;
use super::session::Session;
use super::socket::{self, Address};
use super::target::{ChannelBinding, Endpoint, Host, SessionAttrs, Target};
use super::tls::{self, Mode, Tls};
use super::wire::{AlreadySecured, CancelKey, Login, Transport, Wire};

/// How a session was reached; enough to reach the same server again for a cancel.
#[derive(Clone)]
pub(super) struct Way {
    /// For messages.
    pub(super) peer: String,
    pub(super) tls: Option<Tls>,
    pub(super) login: Login,
    target: Arc<Target>,
    host: String,
    address: Address,
}

/// What to do about TLS in one try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encryption {
    Never,
    IfOffered,
    Always,
}

/// How far the tries at one address came.
#[derive(Debug, Default)]
struct Reached {
    /// Something has taken the connection.
    opened: Cell<bool>,
    /// The last one went on without TLS.
    plain: Cell<bool>,
}

/// Every host, until one gives a session with the wanted role.
pub(super) async fn attempt(target: &Arc<Target>) -> Result<Session, Error> {
    if target.session == SessionAttrs::PreferStandby {
        match every_host(target, SessionAttrs::Standby).await {
            Err(error) if !is_refusal(&error) => {}
            result => return result,
        }
        return every_host(target, SessionAttrs::Any).await;
    }
    every_host(target, target.session).await
}

async fn every_host(target: &Arc<Target>, wanted: SessionAttrs) -> Result<Session, Error> {
    let mut endpoints: Vec<&Endpoint> = target.endpoints.iter().collect();
    if target.load_balance {
        socket::shuffle(&mut endpoints);
    }
    let mut errors = Vec::new();
    for endpoint in endpoints {
        match every_address(target, endpoint, wanted).await {
            Ok(session) => return Ok(session),
            Err(mut more) => {
                let stop = more.last().is_some_and(is_refusal);
                errors.append(&mut more);
                if stop {
                    break;
                }
            }
        }
    }
    Err(Error::several(errors))
}

async fn every_address(
    target: &Arc<Target>,
    endpoint: &Endpoint,
    wanted: SessionAttrs,
) -> Result<Session, Vec<Error>> {
    let mut addresses = look_up(target, endpoint)
        .await
        .map_err(|error| vec![error])?;
    if target.load_balance {
        socket::shuffle(&mut addresses);
    }
    let mut errors = Vec::new();
    for address in addresses {
        let way = Way::new(target, endpoint, address);
        let peer = way.peer.clone();
        let reached = Reached::default();
        let trying = one_address(&way, endpoint, wanted, &reached);
        match limited(target.connect_timeout, &peer, &reached.opened, trying).await {
            Ok(session) => return Ok(session),
            Err(error) => {
                // Another address of the same name is the same server in another role.
                let stop = is_refusal(&error) || matches!(error, Error::Role { .. });
                errors.push(error);
                if stop {
                    break;
                }
            }
        }
    }
    Err(errors)
}

fn is_refusal(error: &Error) -> bool {
    matches!(error.class(), Class::Permanent(_))
}

async fn look_up(target: &Target, endpoint: &Endpoint) -> Result<Vec<Address>, Error> {
    let host = endpoint.to_string();
    limited(target.connect_timeout, &host, &Cell::new(false), async {
        if let Some(addresses) = target.ahead.addresses(endpoint).await {
            return Ok(addresses);
        }
        socket::addresses(endpoint)
            .await
            .map_err(|source| Error::Lookup {
                host: host.clone(),
                source,
            })
    })
    .await
}

async fn limited<T>(
    limit: Option<Duration>,
    peer: &str,
    opened: &Cell<bool>,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let Some(limit) = limit else {
        return work.await;
    };
    timeout(limit, work).await.unwrap_or_else(|_| {
        Err(Error::Timeout {
            peer: peer.to_owned(),
            limit,
            opened: Some(opened.get()),
        })
    })
}

/// The tries that the sslmode asks for.
async fn one_address(
    way: &Way,
    endpoint: &Endpoint,
    wanted: SessionAttrs,
    reached: &Reached,
) -> Result<Session, Error> {
    let (first, second) = tries(way.target.tls.mode, &way.address);
    let error = match one_try(way, endpoint, first, wanted, reached).await {
        Err(error) => error,
        session => return session,
    };
    // A server that did not offer TLS was tried without it already.
    let other = second.filter(|second| *second != Encryption::Never || !reached.plain.get());
    match other {
        // libpq tries the other way after any refusal. A wrong password stays wrong, and counting it twice could lock
        // the role, so it is done here only where the way can be the reason.
        Some(other) if error.is_refusal_of_this_way() => {
            one_try(way, endpoint, other, wanted, reached)
                .await
                .map_err(|second| Error::several(vec![error, second]))
        }
        _ => Err(error),
    }
}

/// TLS is for TCP only: libpq ignores the sslmode on a Unix socket.
fn tries(mode: Mode, address: &Address) -> (Encryption, Option<Encryption>) {
    match (mode, address) {
        (_, Address::Unix(_)) | (Mode::Disable, _) => (Encryption::Never, None),
        (Mode::Allow, _) => (Encryption::Never, Some(Encryption::Always)),
        (Mode::Prefer, _) => (Encryption::IfOffered, Some(Encryption::Never)),
        (Mode::Require | Mode::VerifyCa | Mode::VerifyFull, _) => (Encryption::Always, None),
    }
}

async fn one_try(
    way: &Way,
    endpoint: &Endpoint,
    encryption: Encryption,
    wanted: SessionAttrs,
    reached: &Reached,
) -> Result<Session, Error> {
    let opened = open(way).await?;
    reached.opened.set(true);
    let (transport, tls) = secure(way, opened, encryption).await?;
    reached.plain.set(tls.is_none());
    let target = &way.target;
    let password = password(target, endpoint);
    let config = config(target, password.as_ref());
    let (wire, seen) = Wire::new(transport, target.require_auth);
    let started = config.connect_raw(wire, AlreadySecured).await;
    let (client, connection) = started.map_err(|source| {
        let refused = seen.refused.get();
        start_error(way, source, refused, password.is_none())
    })?;
    let key: Option<CancelKey> = seen.key.get().copied();
    let way = Way {
        tls,
        login: seen.login(),
        ..way.clone()
    };
    let session = Session::start(client, connection, way, key);
    match check_role(&session, wanted).await {
        Ok(()) => Ok(session),
        Err(error) => {
            session.close().await;
            Err(error)
        }
    }
}

async fn open(way: &Way) -> Result<Transport, Error> {
    if let Some(opened) = way.target.ahead.socket(&way.address) {
        return Ok(opened);
    }
    let opened = way.address.open(&way.target.socket).await;
    opened.map_err(|source| Error::io(&way.peer, source))
}

async fn secure(
    way: &Way,
    opened: Transport,
    encryption: Encryption,
) -> Result<(Transport, Option<Tls>), Error> {
    let peer = &way.peer;
    match (opened, encryption) {
        (Transport::Tcp(stream), Encryption::IfOffered | Encryption::Always) => {
            match tls::negotiate(stream, &way.target.tls, &way.host, peer).await? {
                Ok((stream, tls)) => Ok((Transport::Tls(Box::new(stream)), Some(tls))),
                Err(_) if encryption == Encryption::Always => {
                    Err(Error::TlsNotOffered { peer: peer.clone() })
                }
                Err(stream) => Ok((Transport::Tcp(stream), None)),
            }
        }
        (plain, _) => Ok((plain, None)),
    }
}

/// A second connection to the same server, secured like the first.
pub(super) async fn transport_for_cancel(way: &Way) -> Result<Transport, Error> {
    let encryption = match way.tls {
        Some(_) => Encryption::Always,
        None => Encryption::Never,
    };
    let opened = open(way).await?;
    let (transport, _) = secure(way, opened, encryption).await?;
    Ok(transport)
}

fn config(target: &Target, password: Option<&Secret>) -> Config {
    let mut config = Config::new();
    config
        .user(&target.user)
        .dbname(&target.database)
        .application_name(&target.application_name)
        .channel_binding(match target.channel_binding {
            ChannelBinding::Disable => RawBinding::Disable,
            ChannelBinding::Prefer => RawBinding::Prefer,
            ChannelBinding::Require => RawBinding::Require,
        })
        // The stream is ready (see `AlreadySecured`); this pair makes the library take it as it is.
        .ssl_mode(SslMode::Require)
        .ssl_negotiation(SslNegotiation::Direct);
    if let Some(options) = &target.options {
        config.options(options);
    }
    if let Some(password) = password {
        config.password(password.expose());
    }
    config
}

/// The password for this host: the one that was given, else from the password file.
fn password(target: &Target, endpoint: &Endpoint) -> Option<Secret> {
    if target.password.is_some() {
        return target.password.clone();
    }
    let address = endpoint.address.map(|address| address.to_string());
    let host = match &endpoint.host {
        Host::Name(host) | Host::Unix(host) => host,
        Host::Default => address.as_deref().unwrap_or("localhost"),
    };
    let wanted = Wanted {
        host,
        port: endpoint.port,
        database: target
            .password_database
            .as_ref()
            .unwrap_or(&target.database),
        user: &target.user,
    };
    let (password, warning) = passfile::look(target.passfile.as_deref()?, wanted);
    if let Some(warning) = warning {
        target.once.warn(&warning);
    }
    password
}

/// Why the session did not start, in better words than the library's where there are any.
fn start_error(
    way: &Way,
    source: tokio_postgres::Error,
    refused: Option<&String>,
    no_password: bool,
) -> Error {
    let peer = way.peer.clone();
    if let Some(why) = refused {
        return Error::AuthRefused {
            peer,
            why: why.clone(),
        };
    }
    if no_password && source.to_string() == "invalid configuration" {
        let user = way.target.user.clone();
        return Error::PasswordMissing { peer, user };
    }
    // With TLS 1.3 a server complains of the client's certificate after the handshake.
    match tls::explain(&source, &way.target.tls, &peer) {
        Some(error) => error,
        None => Error::Server { peer, source },
    }
}

/// Is the server what `target_session_attrs` wants? Asks only where it did not say by itself, or said no: a pooler may
/// repeat what it learnt before a failover.
async fn check_role(session: &Session, wanted: SessionAttrs) -> Result<(), Error> {
    const RECOVERY: &str = "SELECT pg_catalog.pg_is_in_recovery()";
    const READ_ONLY: &str = "SHOW transaction_read_only";
    let standby = || session.facts().in_hot_standby;
    let read_only = || Some(session.facts().read_only? || standby()?);
    let (told, question, yes, found) = match wanted {
        SessionAttrs::Any | SessionAttrs::PreferStandby => return Ok(()),
        SessionAttrs::Primary => (
            standby().map(|standby| !standby),
            RECOVERY,
            "f",
            "a standby",
        ),
        SessionAttrs::Standby => (standby(), RECOVERY, "t", "a primary"),
        SessionAttrs::ReadWrite => (read_only().map(|only| !only), READ_ONLY, "off", "read-only"),
        SessionAttrs::ReadOnly => (read_only(), READ_ONLY, "on", "read-write"),
    };
    if told == Some(true) || ask(session, question).await?.starts_with(yes) {
        return Ok(());
    }
    Err(Error::Role {
        peer: session.peer().to_owned(),
        wanted: wanted.word(),
        found,
    })
}

/// The first value of a simple query, which works behind every pooler.
async fn ask(session: &Session, question: &str) -> Result<String, Error> {
    let answer = session.client().simple_query(question).await;
    let messages = answer.map_err(|source| Error::Server {
        peer: session.peer().to_owned(),
        source,
    })?;
    let value = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    Ok(value.unwrap_or_default().to_owned())
}

// === impl Way ===

impl Way {
    fn new(target: &Arc<Target>, endpoint: &Endpoint, address: Address) -> Self {
        let host = match (&endpoint.host, &address) {
            (Host::Name(name), _) => name.clone(),
            (_, Address::Tcp(address)) => address.ip().to_string(),
            (_, Address::Unix(_)) => String::new(),
        };
        Self {
            peer: peer(endpoint, &address),
            tls: None,
            login: Login::Nothing,
            target: Arc::clone(target),
            host,
            address,
        }
    }
}

impl Way {
    pub(super) fn label(&self) -> DatabaseLabel {
        DatabaseLabel::of(&self.target)
    }
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Way")
            .field("peer", &self.peer)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

/// `host:port`, with the address where that is not the same, or the socket's path.
fn peer(endpoint: &Endpoint, address: &Address) -> String {
    let named = endpoint.to_string();
    match address {
        Address::Unix(path) => path.replace('\0', "@"),
        Address::Tcp(address) if named == address.to_string() => named,
        Address::Tcp(address) => format!("{named} ({})", address.ip()),
    }
}
