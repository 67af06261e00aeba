//! Who the server is: `require`, `verify-ca` and `verify-full` in terms of rustls.

use std::fmt::Write as _;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use sha2::{Digest as _, Sha256};

use super::{Seen, certificate};

/// The verifier of one handshake.
#[derive(Debug)]
pub(super) struct Verifier {
    /// Verifies chain and name; `None` verifies nothing.
    pub(super) chain: Option<Arc<WebPkiServerVerifier>>,
    /// Certificates that are trusted as they are.
    pub(super) pinned: Vec<CertificateDer<'static>>,
    /// Must the name be right (`verify-full`)?
    pub(super) with_name: bool,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
    pub(super) seen: Arc<Seen>,
}

/// The name of webpki's error for a server that shows a certificate marked as a CA.
pub(super) const CA_AS_SERVER: &str = "CaUsedAsEndEntity";

// === impl Verifier ===

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let _ = self.seen.fingerprint.set(hex(&Sha256::digest(leaf)));
        if let Some(read) = certificate::read(leaf) {
            let _ = self.seen.certificate.set(read);
        }
        let Some(chain) = &self.chain else {
            return Ok(ServerCertVerified::assertion());
        };
        match chain.verify_server_cert(leaf, intermediates, name, ocsp, now) {
            Err(error) if self.is_pinned(leaf, &error) => self.verify_name(leaf, name),
            Err(error) if !self.with_name && is_name_error(&error) => {
                Ok(ServerCertVerified::assertion())
            }
            result => result,
        }
    }

    // The server must prove that it owns the key even where its certificate is not verified: without that, channel
    // binding would prove nothing.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let _ = self.seen.version.set("TLSv1.2");
        verify_tls12_signature(message, leaf, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let _ = self.seen.version.set("TLSv1.3");
        verify_tls13_signature(message, leaf, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl Verifier {
    /// A leaf equal byte for byte to a given root, refused for nothing but its place in the chain. webpki looks at
    /// the dates first (`check_issuer_independent_properties` in rustls-webpki 0.103), so they are right by then.
    fn is_pinned(&self, leaf: &CertificateDer<'_>, error: &Error) -> bool {
        let place = match error {
            Error::InvalidCertificate(CertificateError::UnknownIssuer) => true,
            Error::InvalidCertificate(CertificateError::Other(other)) => {
                other.to_string() == CA_AS_SERVER
            }
            _ => false,
        };
        place
            && self
                .pinned
                .iter()
                .any(|root| root.as_ref() == leaf.as_ref())
    }

    fn verify_name(
        &self,
        leaf: &CertificateDer<'_>,
        name: &ServerName<'_>,
    ) -> Result<ServerCertVerified, Error> {
        if self.with_name {
            rustls::client::verify_server_name(&ParsedCertificate::try_from(leaf)?, name)?;
        }
        Ok(ServerCertVerified::assertion())
    }
}

/// rustls looks at the name last: everything else was right.
fn is_name_error(error: &Error) -> bool {
    matches!(
        error,
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
        )
    )
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
