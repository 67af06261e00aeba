//! `doctor` on encrypted lines.

use super::certificates::Authority;
use super::server::Server;
use crate::harness::{Folder, Schemagate};

fn doctor(url: &str) -> Schemagate {
    Schemagate::new(&["doctor"])
        .url(url)
        .folder(Folder::empty())
        .env("SCHEMAGATE_ALLOW_EMPTY", "true")
        .env("SCHEMAGATE_FORMAT", "sql")
        .env("SCHEMAGATE_WAIT", "false")
}

#[tokio::test]
async fn tls_its_certificate_and_the_login() {
    let (right, wrong) = (Authority::new("right"), Authority::new("wrong"));
    let mut server = Server::prepare();
    right.install(&server, &["localhost"]);
    server.hba("hostssl all scram all scram-sha-256\nhost all all all trust");
    server.start();
    server.sql("CREATE ROLE scram LOGIN PASSWORD 'pw'").await;
    let url = |settings: &str| {
        format!(
            "hostaddr=127.0.0.1 host=localhost port={} dbname=postgres user=scram password=pw {settings}",
            server.port
        )
    };
    doctor(&url(&format!(
        "sslmode=verify-full sslrootcert={}",
        right.ca()
    )))
    .run()
    .assert_code(0)
    .assert_prints("TLSv1.3, TLS_")
    .assert_prints("certificate and name verified")
    .assert_prints("CN=server, signed by ")
    .assert_prints("CN=right, good until ")
    .assert_prints("SCRAM-SHA-256 with channel binding");
    doctor(&url("sslmode=require channel_binding=disable"))
        .run()
        .assert_code(0)
        .assert_prints("the certificate was not verified")
        .assert_prints("SCRAM-SHA-256 without channel binding");
    doctor(&url(&format!(
        "sslmode=verify-full sslrootcert={}",
        wrong.ca()
    )))
    .run()
    .assert_code(9)
    .assert_prints("PROBLEM  TLS")
    .assert_prints("does not lead to a root in");
}
