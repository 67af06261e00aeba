//! Cancelling, proven by its effect.

use std::time::{Duration, Instant};

use schemagate::connect::{Class, Session, classify, connect_once};

use tokio_postgres::error::SqlState;

use crate::harness::{Folder, Proxy, Schemagate};

use super::certificates::Authority;
use super::server::{Server, eventually, own, params, session};

/// The running statement ends with 57014, soon, and the session can go on.
async fn check(server: &Server, victim: Session) {
    let watcher = server.session().await;
    let canceller = victim.canceller();
    let began = Instant::now();
    let query = victim.client().batch_execute("SELECT pg_sleep(60)");
    let cancel = async {
        let running = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)' AND state = 'active'";
        eventually(&watcher, running, "1").await;
        canceller.cancel().await
    };
    let (result, asked) = tokio::join!(query, cancel);
    asked.unwrap();
    let error = result.unwrap_err();
    assert_eq!(error.code().map(SqlState::code), Some("57014"), "{error:?}");
    assert_eq!(classify(&error), Class::Statement);
    assert!(began.elapsed() < Duration::from_secs(20));
    victim.client().batch_execute("SELECT 1").await.unwrap();
}

#[tokio::test]
async fn directly() {
    let server = Server::started();
    check(
        &server,
        session(&[("DATABASE_URL", &server.url("super", "postgres"))]).await,
    )
    .await;
    check(&server, server.session().await).await;
}

#[tokio::test]
async fn with_tls() {
    let mut server = Server::prepare();
    Authority::new("right").install(&server, &["localhost"]);
    server.hba("hostssl all all all trust");
    server.start();
    let url = server.url("super", "postgres?sslmode=require");
    let session = session(&[("DATABASE_URL", &url)]).await;
    assert!(session.tls().is_some());
    check(&server, session).await;
}

/// A cancel request needs several round trips over TLS before the server reads it.
#[tokio::test]
async fn a_run_over_a_slow_link_with_tls() {
    let mut server = Server::prepare();
    Authority::new("right").install(&server, &["localhost"]);
    server.hba("hostssl all all all trust");
    server.start();
    let proxy = Proxy::to(server.port);
    proxy.delay(Duration::from_millis(90));
    let folder = Folder::sql(&[("0001_slow.sql", "SELECT pg_sleep(60);")]);
    let running = Schemagate::new(&["migrate"])
        .url(&format!(
            "postgres://super@127.0.0.1:{}/postgres?sslmode=require",
            proxy.port()
        ))
        .folder(&folder)
        .spawn();
    let watcher = server.session().await;
    let active = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND state = 'active' \
                  AND pid <> pg_backend_pid()";
    eventually(&watcher, active, "1").await;
    let signalled = Instant::now();
    running.signal("TERM");
    let outcome = running.wait();
    outcome
        .assert_code(143)
        .assert_says("the running statement was cancelled and the lock released");
    assert!(signalled.elapsed() < Duration::from_secs(4), "{outcome}");
    assert!(
        server
            .log()
            .contains("canceling statement due to user request"),
        "{}",
        server.log()
    );
    eventually(&watcher, active, "0").await;
}

/// `PgBouncer` drops the request of a client that closes at once.
#[tokio::test]
async fn through_a_pooler() {
    let server = Server::started();
    for mode in ["session", "transaction"] {
        let pooler = server.pooler(mode, "");
        check(
            &server,
            session(&[("DATABASE_URL", &pooler.url("postgres"))]).await,
        )
        .await;
    }
}

/// A pooler that insists on TLS says so in its own way (08P01), which `allow` understands too.
#[tokio::test]
async fn through_a_pooler_with_tls() {
    let server = Server::started();
    let authority = Authority::new("right");
    let (certificate, key) = authority.issue("pooler", &["localhost"]);
    own(authority.dir.path());
    let tls = format!(
        "client_tls_sslmode = require\nclient_tls_cert_file = {certificate}\nclient_tls_key_file = {key}"
    );
    let pooler = server.pooler("transaction", &tls);
    for mode in ["allow", "require"] {
        let url = pooler.url(&format!("postgres?sslmode={mode}"));
        let session = session(&[("DATABASE_URL", &url)]).await;
        assert!(session.tls().is_some());
        check(&server, session).await;
    }
    let plain = params(&[("DATABASE_URL", &pooler.url("postgres?sslmode=disable"))]);
    let error = connect_once(&plain).await.unwrap_err();
    assert_eq!(error.exit_status().code(), 9, "{error}");
}
