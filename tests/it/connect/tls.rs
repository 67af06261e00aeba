//! Every sslmode against every sort of server.

use std::fs;
use std::process::Command;

use schemagate::connect::{Verification, connect_once};

use super::certificates::{Authority, install, self_signed, version_1};
use super::server::{Server, folder, params, run, value};

/// What is to come of an attempt.
#[derive(Clone, Copy)]
enum Outcome {
    Plain,
    Tls(Verification),
    /// Exit code 9, a message with this text, and advice.
    Refused(&'static str),
}

use Outcome::{Plain, Refused, Tls};

/// `settings` in libpq's keyword form; the host's name is `localhost` unless they say otherwise.
async fn check(server: &Server, settings: &str, expected: Outcome) {
    let url = format!(
        "hostaddr=127.0.0.1 port={} dbname=postgres host=localhost {settings}",
        server.port
    );
    let result = connect_once(&params(&[("DATABASE_URL", &url)])).await;
    match (result, expected) {
        (Ok(session), Plain | Tls(_)) => {
            let encrypted = value(
                &session,
                "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
            )
            .await;
            let verification = session.tls().map(|tls| tls.verification);
            assert_eq!(encrypted == "t", verification.is_some(), "{settings}");
            let wanted = match expected {
                Tls(verification) => Some(verification),
                _ => None,
            };
            assert_eq!(verification, wanted, "{settings}");
            if let Some(tls) = session.tls() {
                let version = value(
                    &session,
                    "SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
                )
                .await;
                assert_eq!(tls.version, version);
                assert_eq!(tls.fingerprint.len(), 64);
            }
        }
        (Ok(session), Refused(text)) => {
            panic!("{settings}: {:?}, expected {text:?}", session.tls())
        }
        (Err(error), Refused(text)) => {
            let shown = error.to_string();
            assert!(shown.contains(text), "{settings}: {shown}");
            assert_eq!(error.exit_status().code(), 9, "{settings}: {shown}");
            assert!(error.help().is_some(), "{settings}: {shown}");
        }
        (Err(error), _) => panic!("{settings}: {error}\n{}", server.log()),
    }
}

const HBA: &str = "hostssl all tls_only all trust
hostnossl all plain_only all trust
hostssl all certified all trust clientcert=verify-ca
hostssl all scram all scram-sha-256
hostnossl all scram all scram-sha-256
host all either all trust";

const ROLES: &str = "CREATE ROLE tls_only LOGIN; CREATE ROLE plain_only LOGIN; CREATE ROLE certified LOGIN; \
                     CREATE ROLE either LOGIN; CREATE ROLE scram LOGIN PASSWORD 'pw'";

async fn started(server: &mut Server) {
    server.hba(HBA);
    server.start();
    server.sql(ROLES).await;
}

#[tokio::test]
async fn a_server_with_a_good_certificate() {
    let (right, wrong) = (Authority::new("right"), Authority::new("wrong"));
    let mut server = Server::prepare();
    right.install(&server, &["localhost"]);
    started(&mut server).await;
    let (ca, other) = (
        format!("sslrootcert={}", right.ca()),
        format!("sslrootcert={}", wrong.ca()),
    );
    let (none, chain, name) = (
        Verification::None,
        Verification::Chain,
        Verification::ChainAndName,
    );
    let cases = [
        ("sslmode=disable user=either".to_owned(), Plain),
        (
            "sslmode=disable user=tls_only".to_owned(),
            Refused("SQLSTATE 28000"),
        ),
        ("sslmode=allow user=either".to_owned(), Plain),
        ("sslmode=allow user=tls_only".to_owned(), Tls(none)),
        ("sslmode=prefer user=either".to_owned(), Tls(none)),
        ("user=either".to_owned(), Tls(none)),
        ("sslmode=prefer user=plain_only".to_owned(), Plain),
        (format!("sslmode=prefer user=either {ca}"), Tls(chain)),
        // A root that does not fit: without TLS, if that is allowed.
        (format!("sslmode=prefer user=either {other}"), Plain),
        (
            format!("sslmode=prefer user=tls_only {other}"),
            Refused("SQLSTATE 28000"),
        ),
        ("sslmode=require user=either".to_owned(), Tls(none)),
        (
            "sslmode=require user=plain_only".to_owned(),
            Refused("SQLSTATE 28000"),
        ),
        (format!("sslmode=require user=either {ca}"), Tls(chain)),
        (
            format!("sslmode=require user=either {other}"),
            Refused("does not lead to a root in"),
        ),
        (format!("sslmode=verify-ca user=either {ca}"), Tls(chain)),
        (
            format!("sslmode=verify-ca user=either {ca} host=elsewhere"),
            Tls(chain),
        ),
        (
            format!("sslmode=verify-ca user=either {other}"),
            Refused("does not lead to a root in"),
        ),
        (format!("sslmode=verify-full user=either {ca}"), Tls(name)),
        (
            format!("sslmode=verify-full user=either {ca} host=elsewhere"),
            Refused("not valid for name \"elsewhere\""),
        ),
        (
            format!("sslmode=verify-full user=either {ca} host=127.0.0.1"),
            Refused("not valid for name \"127.0.0.1\""),
        ),
        (
            format!("sslmode=verify-full user=either {other}"),
            Refused("does not lead to a root in"),
        ),
        (
            "sslrootcert=system user=either".to_owned(),
            Refused("does not lead to a public CA"),
        ),
        // Names that no certificate can have.
        (
            "sslmode=require user=either host=my_db".to_owned(),
            Tls(none),
        ),
        (
            "sslmode=require user=either host='-.-'".to_owned(),
            Tls(none),
        ),
        ("sslmode=require user=either sslsni=0".to_owned(), Tls(none)),
        (
            "sslmode=require user=either ssl_max_protocol_version=TLSv1.2".to_owned(),
            Tls(none),
        ),
        (
            "sslmode=require user=either ssl_min_protocol_version=TLSv1.3".to_owned(),
            Tls(none),
        ),
    ];
    for (settings, expected) in cases {
        check(&server, &settings, expected).await;
    }
}

/// `~/.postgresql/root.crt` makes `require` verify, as in libpq.
#[tokio::test]
async fn the_default_root_file() {
    let (right, wrong) = (Authority::new("right"), Authority::new("wrong"));
    let mut server = Server::prepare();
    right.install(&server, &["localhost"]);
    started(&mut server).await;
    for (authority, trusted) in [(&right, true), (&wrong, false)] {
        let home = folder();
        fs::create_dir(home.path().join(".postgresql")).unwrap();
        fs::copy(authority.ca(), home.path().join(".postgresql/root.crt")).unwrap();
        let url = server.url("either", "postgres?sslmode=require");
        let vars = [
            ("DATABASE_URL", url.as_str()),
            ("HOME", home.path().to_str().unwrap()),
        ];
        match connect_once(&params(&vars)).await {
            Ok(session) => {
                assert!(trusted);
                assert_eq!(session.tls().unwrap().verification, Verification::Chain);
            }
            Err(error) => assert!(
                !trusted && error.to_string().contains("does not lead to"),
                "{error}"
            ),
        }
    }
    // Verifying without any root is a mistake in the settings.
    let url = server.url("either", "postgres?sslmode=verify-full");
    let error = connect_once(&params(&[("DATABASE_URL", &url)]))
        .await
        .unwrap_err();
    assert_eq!(error.exit_status().code(), 2);
    assert!(error.to_string().contains("root.crt"), "{error}");
}

#[tokio::test]
async fn a_server_without_tls() {
    let mut server = Server::prepare();
    started(&mut server).await;
    let cases = [
        ("sslmode=disable user=either", Plain),
        ("sslmode=allow user=either", Plain),
        ("sslmode=prefer user=either", Plain),
        ("sslmode=require user=either", Refused("offers no TLS")),
        (
            "sslmode=verify-full sslrootcert=system user=either",
            Refused("offers no TLS"),
        ),
    ];
    for (settings, expected) in cases {
        check(&server, settings, expected).await;
    }
}

/// What OpenSSL takes and rustls does not: accepted where it is exactly the given root, explained elsewhere.
#[tokio::test]
async fn odd_certificates() {
    let dir = folder();
    let path = |name: &str| dir.path().join(name).display().to_string();

    let (certificate, key) = self_signed(&["localhost"]);
    fs::write(path("self.crt"), &certificate).unwrap();
    let mut server = Server::prepare();
    install(&server, &certificate, &key);
    started(&mut server).await;
    let itself = format!("sslrootcert={} user=either", path("self.crt"));
    check(
        &server,
        &format!("sslmode=verify-full {itself}"),
        Tls(Verification::ChainAndName),
    )
    .await;
    check(
        &server,
        &format!("sslmode=verify-ca {itself}"),
        Tls(Verification::Chain),
    )
    .await;
    check(
        &server,
        &format!("sslmode=verify-full {itself} host=elsewhere"),
        Refused("not valid for name"),
    )
    .await;
    check(
        &server,
        &format!("sslmode=verify-ca {itself} host=elsewhere"),
        Tls(Verification::Chain),
    )
    .await;
    check(
        &server,
        "sslmode=require user=either",
        Tls(Verification::None),
    )
    .await;
    let other = Authority::new("other");
    let other = format!("sslmode=verify-ca sslrootcert={} user=either", other.ca());
    check(&server, &other, Refused("marked as a CA")).await;

    // Only a CN: fine for verify-ca, explained for verify-full.
    let authority = Authority::new("right");
    let mut server = Server::prepare();
    authority.install(&server, &[]);
    started(&mut server).await;
    let ca = format!("sslrootcert={} user=either", authority.ca());
    check(
        &server,
        &format!("sslmode=verify-ca {ca}"),
        Tls(Verification::Chain),
    )
    .await;
    check(
        &server,
        &format!("sslmode=verify-full {ca}"),
        Refused("not valid for any names"),
    )
    .await;

    let (certificate, key) = version_1();
    fs::write(path("v1.crt"), &certificate).unwrap();
    let mut server = Server::prepare();
    install(&server, &certificate, &key);
    started(&mut server).await;
    let itself = format!(
        "sslmode=verify-ca sslrootcert={} user=either",
        path("v1.crt")
    );
    check(&server, &itself, Refused("X.509 version 1")).await;
}

#[tokio::test]
async fn client_certificates() {
    let (right, wrong) = (Authority::new("right"), Authority::new("wrong"));
    let mut server = Server::prepare();
    right.install(&server, &["localhost"]);
    started(&mut server).await;
    let (certificate, key) = right.issue("client", &[]);
    let base = "sslmode=require user=certified";
    check(&server, base, Refused("SQLSTATE 28000")).await;
    let with = format!("{base} sslcert={certificate} sslkey={key}");
    check(&server, &with, Tls(Verification::None)).await;
    let old = format!("{with} ssl_max_protocol_version=TLSv1.2");
    check(&server, &old, Tls(Verification::None)).await;
    check(
        &server,
        &format!("{with} sslcertmode=disable"),
        Refused("SQLSTATE 28000"),
    )
    .await;
    // One that the server does not trust: with TLS 1.3 it says so after the handshake.
    let (bad_certificate, bad_key) = wrong.issue("client", &[]);
    for version in ["1.2", "1.3"] {
        let bad = format!(
            "{base} sslcert={bad_certificate} sslkey={bad_key} ssl_max_protocol_version=TLSv{version}"
        );
        check(
            &server,
            &bad,
            Refused("the server ended the TLS handshake: UnknownCA"),
        )
        .await;
    }

    // An encrypted key is explained, and a key that does not fit.
    let encrypted = right.path("encrypted.key").display().to_string();
    run(Command::new("openssl").args([
        "pkcs8", "-topk8", "-v2", "aes256", "-passout", "pass:x", "-in", &key, "-out", &encrypted,
    ]));
    for (key, text) in [
        (encrypted.as_str(), "is encrypted"),
        (bad_key.as_str(), "the client certificate and its key"),
    ] {
        let url = server.url(
            "certified",
            &format!("postgres?sslmode=require&sslcert={certificate}&sslkey={key}"),
        );
        let error = connect_once(&params(&[("DATABASE_URL", &url)]))
            .await
            .unwrap_err();
        assert!(error.to_string().contains(text), "{error}");
        assert_eq!(error.exit_status().code(), 2);
    }
}

#[tokio::test]
async fn channel_binding() {
    let authority = Authority::new("right");
    let mut server = Server::prepare();
    authority.install(&server, &["localhost"]);
    started(&mut server).await;
    let bound = "user=scram password=pw channel_binding=require";
    check(
        &server,
        &format!("{bound} sslmode=require"),
        Tls(Verification::None),
    )
    .await;
    check(
        &server,
        &format!("{bound} sslmode=disable"),
        Refused("server did not use channel binding"),
    )
    .await;
    check(
        &server,
        "user=either channel_binding=require sslmode=require",
        Refused("channel binding"),
    )
    .await;
    check(
        &server,
        "user=scram password=pw channel_binding=disable sslmode=require",
        Tls(Verification::None),
    )
    .await;
}

/// Revoked certificates, with a list of one that is and one that is not.
#[tokio::test]
async fn revocation() {
    let authority = Authority::new("right");
    let mut server = Server::prepare();
    authority.install(&server, &["localhost"]);
    started(&mut server).await;
    let base = format!(
        "sslmode=verify-full user=either sslrootcert={}",
        authority.ca()
    );
    let nothing = authority.revoke(&[]);
    check(
        &server,
        &format!("{base} sslcrl={nothing}"),
        Tls(Verification::ChainAndName),
    )
    .await;
    let revoked = authority.revoke(&["server"]);
    check(
        &server,
        &format!("{base} sslcrl={revoked}"),
        Refused("is revoked"),
    )
    .await;
    let foreign = Authority::new("wrong");
    let list = foreign.revoke(&[]);
    check(
        &server,
        &format!("{base} sslcrl={list}"),
        Refused("no revocation list covers"),
    )
    .await;
}
