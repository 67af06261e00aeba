//! From the settings to rustls' configuration: roots, revocation lists, client certificate.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

use super::verify::Verifier;
use super::{Mode, Root, Seen, TlsSettings, Verification, Versions};
use crate::connect::error::Error;

/// The configuration, and what it verifies.
pub(super) fn build(
    settings: &TlsSettings,
    seen: Arc<Seen>,
) -> Result<(ClientConfig, Verification), Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let roots = roots(settings)?;
    let verification = verification(settings, roots.is_some());
    let verifier = verifier(settings, roots, verification, &provider, seen)?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions(settings.versions))
        .map_err(|error| Error::tls_setup(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match client_certificate(settings)? {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(|error| {
            Error::tls_setup(format!("the client certificate and its key: {error}"))
        })?,
        None => builder.with_no_client_auth(),
    };
    config.enable_sni = settings.sni;
    // A resumed session would not show the server's certificate again.
    config.resumption = Resumption::disabled();
    if settings.direct {
        config.alpn_protocols = vec![b"postgresql".to_vec()];
    }
    Ok((config, verification))
}

fn versions(versions: Versions) -> &'static [&'static SupportedProtocolVersion] {
    static ONLY_TLS12: [&SupportedProtocolVersion; 1] = [&rustls::version::TLS12];
    static ONLY_TLS13: [&SupportedProtocolVersion; 1] = [&rustls::version::TLS13];
    match versions {
        Versions::Both => rustls::ALL_VERSIONS,
        Versions::OnlyTls12 => &ONLY_TLS12,
        Versions::OnlyTls13 => &ONLY_TLS13,
    }
}

/// libpq verifies the chain in every mode as soon as there is a root file.
fn verification(settings: &TlsSettings, have_roots: bool) -> Verification {
    match settings.mode {
        Mode::VerifyFull => Verification::ChainAndName,
        _ if have_roots => Verification::Chain,
        _ => Verification::None,
    }
}

fn verifier(
    settings: &TlsSettings,
    roots: Option<Roots>,
    verification: Verification,
    provider: &Arc<CryptoProvider>,
    seen: Arc<Seen>,
) -> Result<Verifier, Error> {
    let Roots { store, pinned } = roots.unwrap_or_else(Roots::none);
    let chain = match verification {
        Verification::None => None,
        Verification::Chain | Verification::ChainAndName => {
            let builder =
                WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(provider))
                    .with_crls(revocation_lists(settings)?)
                    .enforce_revocation_expiration();
            let built = builder.build();
            Some(built.map_err(|error| {
                Error::tls_setup(format!("roots and revocation lists: {error}"))
            })?)
        }
    };
    Ok(Verifier {
        chain,
        pinned,
        with_name: verification == Verification::ChainAndName,
        algorithms: provider.signature_verification_algorithms,
        seen,
    })
}

struct Roots {
    store: RootCertStore,
    /// The same certificates as they are, for a server that shows exactly one of them.
    pinned: Vec<CertificateDer<'static>>,
}

// === impl Roots ===

impl Roots {
    fn none() -> Self {
        Self {
            store: RootCertStore::empty(),
            pinned: Vec::new(),
        }
    }
}

/// The trusted roots; `None` where nobody named any and the default file is not there.
fn roots(settings: &TlsSettings) -> Result<Option<Roots>, Error> {
    let path = match &settings.root {
        Root::System => return Ok(Some(built_in())),
        Root::File(path) => Some(path.clone()),
        Root::Default => default_file(settings, "root.crt"),
    };
    let bytes = match &path {
        Some(path) => read_if_there("root certificates", path)?,
        None => None,
    };
    match (path, bytes) {
        (Some(path), Some(bytes)) => parse_roots(&path, &bytes).map(Some),
        (Some(path), None) if must_be_there(settings) => Err(missing_roots(&path, settings.mode)),
        (None, _) if settings.mode >= Mode::VerifyCa => Err(missing_roots(
            Path::new("~/.postgresql/root.crt"),
            settings.mode,
        )),
        _ => Ok(None),
    }
}

/// Under `require` libpq goes on without the file that `sslrootcert` names; here a wrong mount is told.
fn must_be_there(settings: &TlsSettings) -> bool {
    settings.mode >= Mode::VerifyCa
        || (settings.mode == Mode::Require && matches!(settings.root, Root::File(_)))
}

fn missing_roots(path: &Path, mode: Mode) -> Error {
    let why = if mode >= Mode::VerifyCa {
        "not found, and the sslmode verifies the server: mount it, or use sslrootcert=system"
    } else {
        "not found"
    };
    Error::file("root certificates", path, why)
}

fn built_in() -> Roots {
    let mut roots = Roots::none();
    roots
        .store
        .extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    roots
}

fn parse_roots(path: &Path, bytes: &[u8]) -> Result<Roots, Error> {
    let pinned = certificates("root certificates", path, bytes)?;
    let mut store = RootCertStore::empty();
    // A bundle may hold some that rustls cannot read; as with libpq, one that can be is enough.
    store.add_parsable_certificates(pinned.iter().cloned());
    if store.is_empty() {
        return Err(Error::file(
            "root certificates",
            path,
            "no certificate in it can be used",
        ));
    }
    Ok(Roots { store, pinned })
}

fn certificates(
    what: &'static str,
    path: &Path,
    bytes: &[u8],
) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    match found {
        Ok(certificates) if certificates.is_empty() => {
            Err(Error::file(what, path, "holds no certificate in PEM form"))
        }
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(Error::file(what, path, &error.to_string())),
    }
}

fn revocation_lists(
    settings: &TlsSettings,
) -> Result<Vec<CertificateRevocationListDer<'static>>, Error> {
    const WHAT: &str = "revocation list";
    let mut lists = Vec::new();
    for (path, must) in revocation_files(settings)? {
        let Some(bytes) = read_if_there(WHAT, &path)? else {
            if must {
                return Err(Error::file(WHAT, &path, "not found"));
            }
            continue;
        };
        for list in CertificateRevocationListDer::pem_slice_iter(&bytes) {
            lists.push(list.map_err(|error| Error::file(WHAT, &path, &error.to_string()))?);
        }
    }
    Ok(lists)
}

/// Files with revocation lists, and whether each must be there.
fn revocation_files(settings: &TlsSettings) -> Result<Vec<(PathBuf, bool)>, Error> {
    let mut files: Vec<(PathBuf, bool)> = settings
        .crl
        .iter()
        .map(|path| (path.clone(), true))
        .collect();
    if let Some(folder) = &settings.crl_folder {
        let unreadable = |error: io::Error| {
            Error::file("folder of revocation lists", folder, &error.to_string())
        };
        for entry in std::fs::read_dir(folder).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if path.is_file() {
                files.push((path, true));
            }
        }
    }
    if files.is_empty() {
        files.extend(default_file(settings, "root.crl").map(|path| (path, false)));
    }
    Ok(files)
}

type CertificateAndKey = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn client_certificate(settings: &TlsSettings) -> Result<Option<CertificateAndKey>, Error> {
    const WHAT: &str = "client certificate";
    if !settings.send_certificate {
        return Ok(None);
    }
    let path = settings
        .certificate
        .clone()
        .or_else(|| default_file(settings, "postgresql.crt"));
    let Some(path) = path else { return Ok(None) };
    match read_if_there(WHAT, &path)? {
        Some(bytes) => Ok(Some((
            certificates(WHAT, &path, &bytes)?,
            private_key(settings)?,
        ))),
        None if settings.certificate.is_some() => Err(Error::file(WHAT, &path, "not found")),
        None => Ok(None),
    }
}

fn private_key(settings: &TlsSettings) -> Result<PrivateKeyDer<'static>, Error> {
    const WHAT: &str = "client key";
    let path = settings
        .key
        .clone()
        .or_else(|| default_file(settings, "postgresql.key"));
    let path = path.unwrap_or_else(|| "~/.postgresql/postgresql.key".into());
    let bytes = read_if_there(WHAT, &path)?.ok_or_else(|| {
        Error::file(
            WHAT,
            &path,
            "not found, though there is a client certificate",
        )
    })?;
    if is_encrypted(&bytes) {
        return Err(Error::file(
            WHAT,
            &path,
            "is encrypted, which is not supported (nor is sslpassword): decrypt it with `openssl pkey -in KEY -out PLAIN`",
        ));
    }
    // JDBC's keys are DER.
    PrivateKeyDer::from_pem_slice(&bytes)
        .or_else(|error| PrivateKeyDer::try_from(bytes).map_err(|_| error))
        .map_err(|error| Error::file(WHAT, &path, &format!("holds no private key: {error}")))
}

/// PKCS #8 and the older form of OpenSSL.
fn is_encrypted(pem: &[u8]) -> bool {
    let text = String::from_utf8_lossy(pem);
    text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED")
}

fn default_file(settings: &TlsSettings, name: &str) -> Option<PathBuf> {
    settings.folder.as_ref().map(|folder| folder.join(name))
}

fn read_if_there(what: &'static str, path: &Path) -> Result<Option<Vec<u8>>, Error> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(Error::file(what, path, &error.to_string())),
    }
}
