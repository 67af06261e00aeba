//! TLS as libpq does it, on rustls.
//!
//! <https://www.postgresql.org/docs/current/libpq-ssl.html>. One deliberate difference: the permissions of the private
//! key's file are not checked, because a mounted Secret is readable for its group.

mod certificate;
mod config;
mod explain;
mod verify;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect as _};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::Error;
use super::read::Reader;

pub use certificate::Certificate;
pub(super) use explain::explain;

/// The encrypted stream of `tokio-postgres-rustls`, whose own name is private.
pub(super) type TlsStream = <MakeRustlsConnect as MakeTlsConnect<TcpStream>>::Stream;

/// `sslmode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mode {
    Disable,
    Allow,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

/// Everything about TLS that can be set. Files are read when a server has agreed to TLS, at every attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TlsSettings {
    pub(super) mode: Mode,
    direct: bool,
    sni: bool,
    versions: Versions,
    root: Root,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    send_certificate: bool,
    crl: Option<PathBuf>,
    crl_folder: Option<PathBuf>,
    /// `~/.postgresql`, with libpq's default names in it.
    folder: Option<PathBuf>,
}

/// What a server's certificate must lead to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Root {
    /// The public certificate authorities that are built in.
    System,
    /// A file that somebody named.
    File(PathBuf),
    /// `~/.postgresql/root.crt`, if it is there.
    Default,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Versions {
    Both,
    OnlyTls12,
    OnlyTls13,
}

/// How much was verified of the server's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verification {
    /// Nothing: the line is encrypted, to whomever.
    None,
    /// It leads to a trusted root.
    Chain,
    /// It leads to a trusted root and names the host.
    ChainAndName,
}

/// What is known of an encrypted session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// What was verified.
    pub verification: Verification,
    /// SHA-256 of the server's certificate, lowercase hexadecimal.
    pub fingerprint: String,
    /// What the server's certificate says of itself, where it can be read.
    pub certificate: Option<Certificate>,
}

/// What the verifier noticed during the handshake.
#[derive(Debug, Default)]
struct Seen {
    version: OnceLock<&'static str>,
    fingerprint: OnceLock<String>,
    certificate: OnceLock<Certificate>,
}

const MODES: &[(&str, Mode)] = &[
    ("disable", Mode::Disable),
    ("allow", Mode::Allow),
    ("prefer", Mode::Prefer),
    ("require", Mode::Require),
    ("verify-ca", Mode::VerifyCa),
    ("verify-full", Mode::VerifyFull),
];

// === impl TlsSettings ===

impl TlsSettings {
    pub(super) fn new(reader: &mut Reader<'_>, home: Option<&str>) -> Self {
        let root = match reader.value("sslrootcert") {
            None => Root::Default,
            Some("system") => Root::System,
            Some(path) => Root::File(path.into()),
        };
        let path = |keyword| reader.value(keyword).map(PathBuf::from);
        Self {
            certificate: path("sslcert"),
            key: path("sslkey"),
            crl: path("sslcrl"),
            crl_folder: path("sslcrldir"),
            folder: home.map(|home| PathBuf::from(home).join(".postgresql")),
            mode: mode(reader, &root),
            direct: reader.word(
                "sslnegotiation",
                &[("postgres", false), ("direct", true)],
                false,
            ),
            sni: reader.word("sslsni", &[("1", true), ("0", false)], true),
            versions: versions(reader),
            send_certificate: send_certificate(reader),
            root,
        }
        .checked(reader)
    }

    /// Combinations that libpq refuses, and what rustls does not have.
    fn checked(self, reader: &mut Reader<'_>) -> Self {
        if self.direct && self.mode < Mode::Require {
            reader.problem("sslnegotiation", "direct needs sslmode=require or stricter");
        }
        if self.root == Root::System && self.mode < Mode::VerifyFull && self.mode > Mode::Disable {
            reader.problem("sslmode", "sslrootcert=system goes with verify-full only");
        }
        if reader
            .value("sslkey")
            .is_some_and(|key| key.starts_with("engine:"))
        {
            reader.problem("sslkey", "OpenSSL engines are not supported: name a file");
        }
        self
    }
}

fn mode(reader: &mut Reader<'_>, root: &Root) -> Mode {
    let default = match root {
        Root::System => Mode::VerifyFull,
        _ if reader.value("requiressl") == Some("1") => Mode::Require,
        _ => Mode::Prefer,
    };
    reader.word("sslmode", MODES, default)
}

fn versions(reader: &mut Reader<'_>) -> Versions {
    // rustls speaks 1.2 and 1.3; a lower minimum is met by both.
    const MINIMUM: &[(&str, bool)] = &[
        ("TLSv1", false),
        ("TLSv1.1", false),
        ("TLSv1.2", false),
        ("TLSv1.3", true),
    ];
    const MAXIMUM: &[(&str, bool)] = &[("TLSv1.2", true), ("TLSv1.3", false)];
    let only_new = reader.word("ssl_min_protocol_version", MINIMUM, false);
    let only_old = reader.word("ssl_max_protocol_version", MAXIMUM, false);
    match (only_new, only_old) {
        (true, true) => {
            reader.problem(
                "ssl_max_protocol_version",
                "lower than ssl_min_protocol_version",
            );
            Versions::Both
        }
        (true, false) => Versions::OnlyTls13,
        (false, true) => Versions::OnlyTls12,
        (false, false) => Versions::Both,
    }
}

fn send_certificate(reader: &mut Reader<'_>) -> bool {
    if reader.value("sslcertmode") == Some("require") {
        reader.problem(
            "sslcertmode",
            "require cannot be checked: expected allow or disable",
        );
        return true;
    }
    reader.word("sslcertmode", &[("allow", true), ("disable", false)], true)
}

/// Asks the server for TLS on a new connection. `None`: it does not offer any, and the stream can be used as it is.
pub(super) async fn negotiate(
    mut stream: TcpStream,
    settings: &TlsSettings,
    host: &str,
    peer: &str,
) -> Result<Result<(TlsStream, Tls), TcpStream>, Error> {
    if !settings.direct {
        match ask(&mut stream).await {
            Ok(b'S') => {}
            Ok(b'N') => return Ok(Err(stream)),
            Ok(_) => {
                let source = std::io::Error::other(
                    "the answer to the request for TLS is an error, or no PostgreSQL",
                );
                return Err(Error::io(peer, source));
            }
            Err(source) => return Err(Error::io(peer, source)),
        }
    }
    handshake(stream, settings, host, peer).await.map(Ok)
}

/// `SSLRequest`, and the one byte that answers it.
/// <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SSL>
async fn ask(stream: &mut TcpStream) -> std::io::Result<u8> {
    stream.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).await?;
    // No more than one byte: what follows it must go through the handshake (CVE-2021-23222).
    stream.read_u8().await
}

async fn handshake(
    stream: TcpStream,
    settings: &TlsSettings,
    host: &str,
    peer: &str,
) -> Result<(TlsStream, Tls), Error> {
    let seen = Arc::new(Seen::default());
    let (config, verification) = config::build(settings, Arc::clone(&seen))?;
    let mut maker = MakeRustlsConnect::new(config);
    let name = server_name(host, verification);
    let connector = match MakeTlsConnect::<TcpStream>::make_tls_connect(&mut maker, name) {
        Ok(connector) => connector,
        Err(never) => match never {},
    };
    let stream = connector.connect(stream).await.map_err(|error| {
        explain(&error, settings, peer).unwrap_or_else(|| Error::io(peer, error))
    })?;
    let tls = Tls {
        version: seen.version.get().copied().unwrap_or("TLS"),
        verification,
        fingerprint: seen.fingerprint.get().cloned().unwrap_or_default(),
        certificate: seen.certificate.get().cloned(),
    };
    Ok((stream, tls))
}

/// The name to verify and to send. Where none is verified, one that rustls cannot take is left out: for an address
/// it sends none.
fn server_name(host: &str, verification: Verification) -> &str {
    if verification != Verification::ChainAndName && ServerName::try_from(host).is_err() {
        "0.0.0.0"
    } else {
        host
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connect::settings::Settings;
    use crate::problem::Problem;

    fn read(vars: &[(&str, &str)]) -> Result<TlsSettings, Vec<Problem>> {
        let settings = Settings::from_variables(&|name| {
            vars.iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| (*value).to_owned())
        });
        let mut reader = Reader::new(&settings);
        let tls = TlsSettings::new(&mut reader, Some("/home/x"));
        reader.finish(tls)
    }

    #[test]
    fn modes() {
        assert_eq!(read(&[]).unwrap().mode, Mode::Prefer);
        assert_eq!(read(&[("PGREQUIRESSL", "1")]).unwrap().mode, Mode::Require);
        assert_eq!(
            read(&[("PGSSLMODE", "verify-ca")]).unwrap().mode,
            Mode::VerifyCa
        );
        let system = read(&[("PGSSLROOTCERT", "system")]).unwrap();
        assert_eq!((system.mode, system.root), (Mode::VerifyFull, Root::System));
    }

    #[test]
    fn versions_in_either_direction() {
        let versions = |vars| read(vars).map(|tls| tls.versions).ok();
        assert_eq!(versions(&[]), Some(Versions::Both));
        assert_eq!(
            versions(&[("PGSSLMINPROTOCOLVERSION", "TLSv1.1")]),
            Some(Versions::Both)
        );
        assert_eq!(
            versions(&[("PGSSLMINPROTOCOLVERSION", "TLSv1.3")]),
            Some(Versions::OnlyTls13)
        );
        assert_eq!(
            versions(&[("PGSSLMAXPROTOCOLVERSION", "TLSv1.2")]),
            Some(Versions::OnlyTls12)
        );
        assert_eq!(versions(&[("PGSSLMAXPROTOCOLVERSION", "TLSv1.1")]), None);
    }

    #[test]
    fn combinations_that_are_refused() {
        for vars in [
            &[("PGSSLMODE", "on")][..],
            &[("PGSSLNEGOTIATION", "direct")],
            &[("PGSSLROOTCERT", "system"), ("PGSSLMODE", "require")],
            &[("PGSSLCERTMODE", "require")],
            &[("PGSSLKEY", "engine:x")],
            &[
                ("PGSSLMINPROTOCOLVERSION", "TLSv1.3"),
                ("PGSSLMAXPROTOCOLVERSION", "TLSv1.2"),
            ],
        ] {
            assert_eq!(
                read(vars).map_err(|problems| problems.len()),
                Err(1),
                "{vars:?}"
            );
        }
    }

    #[test]
    fn names_that_rustls_cannot_take() {
        assert_eq!(server_name("db", Verification::ChainAndName), "db");
        assert_eq!(server_name("a b", Verification::ChainAndName), "a b");
        assert_eq!(server_name("a b", Verification::Chain), "0.0.0.0");
    }
}
