//! What a TLS failure means, and what to do about it.

use std::error::Error as StdError;
use std::io;

use rustls::{AlertDescription, CertificateError};

use super::verify::CA_AS_SERVER;
use super::{Root, TlsSettings};
use crate::connect::error::Error;

/// The error in plain words, if rustls is behind it; `None` for an ordinary one of the socket.
pub(crate) fn explain(
    error: &(dyn StdError + 'static),
    settings: &TlsSettings,
    peer: &str,
) -> Option<Error> {
    let (reason, help) = words(rustls_error(error)?, settings);
    Some(Error::Tls {
        peer: peer.to_owned(),
        reason,
        help: help.to_owned(),
    })
}

/// The error of rustls inside others. `io::Error::source` skips the error that it carries.
fn rustls_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        let carried = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        next = match carried {
            Some(carried) => Some(carried as &(dyn StdError + 'static)),
            None => error.source(),
        };
    }
    None
}

fn words(error: &rustls::Error, settings: &TlsSettings) -> (String, &'static str) {
    match error {
        rustls::Error::InvalidCertificate(error) => certificate(error, settings),
        rustls::Error::AlertReceived(alert) => refused(*alert),
        other => (
            format!("the TLS handshake failed: {other}"),
            "is this the port of PostgreSQL, and does it speak TLS 1.2 or later?",
        ),
    }
}

fn certificate(error: &CertificateError, settings: &TlsSettings) -> (String, &'static str) {
    match error {
        CertificateError::UnknownIssuer => (
            format!(
                "the server's certificate does not lead to {}",
                root(settings)
            ),
            "give the certificate of the CA that signed it as sslrootcert (PGSSLROOTCERT)",
        ),
        CertificateError::NotValidForNameContext { presented, .. } if presented.is_empty() => (
            format!("{error}"),
            "a name in the CN alone does not count: reissue it with a subjectAltName, or use sslmode=verify-ca",
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => (
            format!("{error}"),
            "connect by a name in the certificate (hostaddr can give the address), reissue it with this name, or use \
             sslmode=verify-ca",
        ),
        CertificateError::Revoked => (
            "the server's certificate is revoked".to_owned(),
            "reissue it, or correct the list in sslcrl",
        ),
        CertificateError::UnknownRevocationStatus => (
            "no revocation list covers the server's certificate".to_owned(),
            "add the list of the CA that signed it to sslcrl",
        ),
        CertificateError::Other(other) => not_supported(&other.to_string()),
        other => (
            format!("the server's certificate: {other}"),
            "reissue the server's certificate",
        ),
    }
}

/// What OpenSSL takes and rustls does not.
fn not_supported(name: &str) -> (String, &'static str) {
    let reason = match name {
        CA_AS_SERVER => "the server shows a certificate that is marked as a CA",
        "UnsupportedCertVersion" => "the server's certificate is X.509 version 1",
        other => {
            return (
                format!("the server's certificate: {other}"),
                "reissue the server's certificate",
            );
        }
    };
    let help = match name {
        CA_AS_SERVER => {
            "reissue it with basicConstraints=CA:FALSE, or give exactly this certificate as sslrootcert (PGSSLROOTCERT)"
        }
        _ => "reissue it as version 3, with a subjectAltName",
    };
    (reason.to_owned(), help)
}

fn root(settings: &TlsSettings) -> String {
    match (&settings.root, &settings.folder) {
        (Root::System, _) => "a public CA".to_owned(),
        (Root::File(path), _) => format!("a root in {}", path.display()),
        (Root::Default, Some(folder)) => format!("a root in {}", folder.join("root.crt").display()),
        (Root::Default, None) => "a known root".to_owned(),
    }
}

fn refused(alert: AlertDescription) -> (String, &'static str) {
    let help = match alert {
        AlertDescription::CertificateRequired
        | AlertDescription::BadCertificate
        | AlertDescription::UnknownCA
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateUnknown
        | AlertDescription::DecryptError => {
            "give a client certificate that the server trusts: sslcert and sslkey (PGSSLCERT, PGSSLKEY)"
        }
        AlertDescription::ProtocolVersion | AlertDescription::HandshakeFailure => {
            "the server must speak TLS 1.2 or later with a modern cipher"
        }
        AlertDescription::NoApplicationProtocol => "sslnegotiation=direct needs PostgreSQL 17",
        _ => "look into the server's log",
    };
    (
        format!("the server ended the TLS handshake: {alert:?}"),
        help,
    )
}
