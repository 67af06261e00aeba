//! TLS for `https`: the public certificate authorities, which are built in, and nobody else.

use std::{io, net::SocketAddr, sync::Arc};

use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::error::{Error, chain};

/// Why nothing else is trusted: there is no setting that names a file.
const PUBLIC_ONLY: &str = "only public certificate authorities are trusted here: for a private one use http, or a proxy \
                           that has a public certificate";

/// The roots that are built in, as for `sslrootcert=system`.
pub(super) fn public_roots() -> RootCertStore {
    RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    }
}

/// Encrypts a connection to a server that has a certificate for `host`.
pub(super) async fn encrypt(
    stream: TcpStream,
    host: &str,
    peer: SocketAddr,
    roots: RootCertStore,
) -> Result<TlsStream<TcpStream>, Error> {
    let refused = |reason: String| Error::Tls { peer, reason };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .map_err(|error| refused(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let name = ServerName::try_from(host.to_owned()).map_err(|error| refused(error.to_string()))?;
    let connecting = TlsConnector::from(Arc::new(config)).connect(name, stream);
    connecting.await.map_err(|error| refused(explain(&error)))
}

fn explain(error: &io::Error) -> String {
    let rustls = error
        .get_ref()
        .and_then(|carried| carried.downcast_ref::<rustls::Error>());
    let text = chain(error);
    match rustls {
        Some(rustls::Error::InvalidCertificate(_)) => format!("{text}; {PUBLIC_ONLY}"),
        Some(rustls::Error::InvalidMessage(_)) => {
            format!("the server does not speak TLS ({text}): is it an address for http?")
        }
        _ => format!("no TLS: {text}"),
    }
}
