//! Certificates for the TLS tests.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    IsCa, KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber, date_time_ymd,
};
use tempfile::TempDir;

use super::server::{Server, append, folder, own, run};

/// A certificate authority, and a folder with what it made.
pub(super) struct Authority {
    pub(super) dir: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub(super) fn new(name: &str) -> Self {
        let mut params = named(name, &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let dir = folder();
        fs::write(dir.path().join("ca.crt"), issuer.pem()).unwrap();
        Self { dir, issuer }
    }

    pub(super) fn ca(&self) -> String {
        self.path("ca.crt").display().to_string()
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A certificate and its key as `NAME.crt` and `NAME.key`.
    pub(super) fn issue(&self, file: &str, names: &[&str]) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = named(file, names);
        params.serial_number = Some(SerialNumber::from(serial(file)));
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let paths = (
            self.path(&format!("{file}.crt")),
            self.path(&format!("{file}.key")),
        );
        fs::write(&paths.0, certificate.pem()).unwrap();
        fs::write(&paths.1, key.serialize_pem()).unwrap();
        (paths.0.display().to_string(), paths.1.display().to_string())
    }

    /// A list that revokes what was issued under these names; the file.
    pub(super) fn revoke(&self, names: &[&str]) -> String {
        let revoked = |name: &&str| RevokedCertParams {
            serial_number: SerialNumber::from(serial(name)),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(2090, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: names.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let path = self.path(&format!("{}.crl", names.len()));
        fs::write(&path, list.signed_by(&self.issuer).unwrap().pem().unwrap()).unwrap();
        path.display().to_string()
    }

    /// Gives the server a certificate for these names, and lets it accept clients of this authority.
    pub(super) fn install(&self, server: &Server, names: &[&str]) {
        let (certificate, key) = self.issue("server", names);
        install(
            server,
            &fs::read_to_string(certificate).unwrap(),
            &fs::read_to_string(key).unwrap(),
        );
        fs::copy(self.ca(), server.data().join("ca.crt")).unwrap();
        own(&server.data().join("ca.crt"));
        append(
            &server.data().join("postgresql.conf"),
            "ssl_ca_file = 'ca.crt'\n",
        );
    }
}

/// A number for each name.
fn serial(name: &str) -> u64 {
    name.bytes()
        .fold(1, |number, byte| number * 31 + u64::from(byte))
}

fn named(name: &str, alternative: &[&str]) -> CertificateParams {
    let names: Vec<String> = alternative.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// A certificate that is its own authority and says so, as `openssl req -x509` makes it.
pub(super) fn self_signed(names: &[&str]) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = named("localhost", names);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

/// A certificate of X.509 version 1, which no library here makes.
pub(super) fn version_1() -> (String, String) {
    let dir = folder();
    let path = |name: &str| dir.path().join(name).display().to_string();
    run(Command::new("openssl")
        .args([
            "req",
            "-new",
            "-nodes",
            "-newkey",
            "rsa:2048",
            "-subj",
            "/CN=localhost",
            "-keyout",
        ])
        .arg(path("key"))
        .arg("-out")
        .arg(path("csr")));
    run(Command::new("openssl")
        .args(["x509", "-req", "-days", "9", "-in"])
        .arg(path("csr"))
        .arg("-signkey")
        .arg(path("key"))
        .arg("-out")
        .arg(path("crt")));
    (
        fs::read_to_string(path("crt")).unwrap(),
        fs::read_to_string(path("key")).unwrap(),
    )
}

/// Turns TLS on with this certificate.
pub(super) fn install(server: &Server, certificate: &str, key: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    let (crt, private) = (
        server.data().join("server.crt"),
        server.data().join("server.key"),
    );
    fs::write(&crt, certificate).unwrap();
    fs::write(&private, key).unwrap();
    fs::set_permissions(&private, fs::Permissions::from_mode(0o600)).unwrap();
    own(&crt);
    own(&private);
    server.configure("ssl = on\n");
}
