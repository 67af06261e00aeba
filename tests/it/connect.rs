//! `schemagate::connect` against real servers.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy excuses test functions by itself, but not the helpers that they call"
)]

mod cancel;
mod certificates;
mod doctor;
mod refused;
mod server;
mod tls;
mod waiting;

use std::time::Duration;

use schemagate::connect::{Class, classify, connect_once, describe};

use server::{Server, eventually, params, session, value};

#[tokio::test]
async fn a_session_knows_its_server() {
    let server = Server::started();
    let session = session(&[("DATABASE_URL", &server.url("super", "postgres"))]).await;
    let number = value(&session, "SHOW server_version_num").await;
    assert_eq!(session.server_version().to_string(), number);
    assert!(
        session
            .server_version_text()
            .starts_with(&(session.server_version() / 10_000).to_string())
    );
    assert_eq!(session.peer(), format!("127.0.0.1:{}", server.port));
    assert_eq!(session.tls(), None);
    // A direct line: the pid on the wire is the backend's.
    let pid = value(&session, "SELECT pg_backend_pid()").await;
    assert_eq!(
        session.wire_pid().map(|pid| pid.to_string()),
        Some(pid.clone())
    );
    assert_eq!(
        value(&session, "SHOW application_name").await,
        "schemagate/test"
    );
    assert_eq!(value(&session, "SHOW client_encoding").await, "UTF8");

    // Closing is seen by the server at once.
    let other = server.session().await;
    session.close().await;
    let gone = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}");
    eventually(&other, &gone, "0").await;
}

#[tokio::test]
async fn unix_sockets() {
    let server = Server::started();
    let (folder, port) = (server.dir.path().display().to_string(), server.port);
    let encoded = folder.replace('/', "%2F");
    for url in [
        format!("postgres://super@{encoded}:{port}/postgres"),
        format!("postgres://super@/postgres?host={folder}&port={port}"),
        format!("host='{folder}' port={port} user=super dbname=postgres"),
        // libpq does not look at the sslmode there.
        format!("host='{folder}' port={port} user=super dbname=postgres sslmode=verify-full"),
    ] {
        let session = session(&[("DATABASE_URL", &url)]).await;
        assert_eq!(session.peer(), format!("{folder}/.s.PGSQL.{port}"));
        assert_eq!(
            value(&session, "SELECT inet_client_addr() IS NULL").await,
            "t"
        );
        assert!(session.wire_pid().is_some());
    }
}

#[tokio::test]
async fn settings_reach_the_server() {
    let server = Server::started();
    let url = server.url("super", "postgres?application_name=mine");
    let vars = [
        ("DATABASE_URL", url.as_str()),
        ("PGOPTIONS", "-c work_mem=5MB"),
        ("PGTZ", "Europe/Berlin"),
    ];
    let session = session(&vars).await;
    assert_eq!(value(&session, "SHOW application_name").await, "mine");
    assert_eq!(value(&session, "SHOW work_mem").await, "5MB");
    assert_eq!(value(&session, "SHOW TimeZone").await, "Europe/Berlin");
}

/// The end of a session is told whoever ends it, and a query in flight fails with what counts as a lost connection,
/// though the library calls it an ordinary error.
#[tokio::test]
async fn a_session_that_is_ended() {
    let server = Server::started();
    let url = server.url("super", "postgres");
    let victim = session(&[("DATABASE_URL", &url)]).await;
    let pid = victim.wire_pid().unwrap();
    let killer = server.session().await;
    let query = victim.client().batch_execute("SELECT pg_sleep(60)");
    let kill = async {
        let running =
            format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid} AND state = 'active'");
        eventually(&killer, &running, "1").await;
        value(&killer, &format!("SELECT pg_terminate_backend({pid})")).await
    };
    let (error, _) = tokio::join!(query, kill);
    let error = error.unwrap_err();
    assert!(!error.is_closed());
    assert_eq!(classify(&error), Class::ConnectionLost);
    assert_eq!(
        describe(&error),
        "terminating connection due to administrator command (SQLSTATE 57P01)"
    );
    tokio::time::timeout(Duration::from_secs(5), victim.closed())
        .await
        .unwrap();
    // And once more.
    victim.closed().await;
    let error = victim.client().batch_execute("SELECT 1").await.unwrap_err();
    assert_eq!(classify(&error), Class::ConnectionLost);
}

#[tokio::test]
async fn ordinary_errors_are_told_apart() {
    let server = Server::started();
    let session = server.session().await;
    let error = session
        .client()
        .batch_execute("SELECT * FROM nowhere")
        .await
        .unwrap_err();
    assert_eq!(classify(&error), Class::Statement);
    assert_eq!(
        describe(&error),
        "relation \"nowhere\" does not exist (SQLSTATE 42P01)"
    );
    // A DETAIL can hold values of rows and stays out.
    let sql = "CREATE TEMP TABLE t (a text UNIQUE); INSERT INTO t VALUES ('hidden'), ('hidden')";
    let error = session.client().batch_execute(sql).await.unwrap_err();
    assert!(!describe(&error).contains("hidden"), "{}", describe(&error));
}

#[tokio::test]
async fn notifications_wake() {
    let server = Server::started();
    let listener = server.session().await;
    listener
        .client()
        .batch_execute("LISTEN schemagate")
        .await
        .unwrap();
    let silence = tokio::time::timeout(Duration::from_millis(100), listener.notified()).await;
    assert!(silence.is_err());
    server.sql("NOTIFY schemagate").await;
    tokio::time::timeout(Duration::from_secs(5), listener.notified())
        .await
        .unwrap();
}

#[tokio::test]
async fn the_role_of_a_server() {
    let primary = Server::started();
    let standby = primary.standby();
    let url = |attrs: &str| {
        let hosts = format!("127.0.0.1:{},127.0.0.1:{}", standby.port, primary.port);
        format!("postgres://super@{hosts}/postgres?target_session_attrs={attrs}")
    };
    let port_of = async |url: &str| {
        let session = session(&[("DATABASE_URL", url)]).await;
        value(&session, "SHOW port").await.parse::<u16>().unwrap()
    };
    assert_eq!(port_of(&url("any")).await, standby.port);
    assert_eq!(port_of(&url("primary")).await, primary.port);
    assert_eq!(port_of(&url("read-write")).await, primary.port);
    assert_eq!(port_of(&url("standby")).await, standby.port);
    assert_eq!(port_of(&url("read-only")).await, standby.port);
    assert_eq!(port_of(&url("prefer-standby")).await, standby.port);
    let only_primary = primary.url("super", "postgres?target_session_attrs=prefer-standby");
    assert_eq!(port_of(&only_primary).await, primary.port);

    // Alone, a standby is a server that is not there yet.
    let mut alone = params(&[("DATABASE_URL", &standby.url("super", "postgres"))]);
    let session = connect_once(&alone).await.unwrap();
    assert_eq!(session.in_hot_standby(), Some(true));
    alone.require_primary().unwrap();
    let error = connect_once(&alone).await.unwrap_err();
    assert_eq!(error.class(), Class::Transient);
    assert!(
        error.to_string().contains("the server is a standby"),
        "{error}"
    );

    // A role that is read-only by default can migrate: transactions begin READ WRITE.
    primary
        .sql("CREATE ROLE reader LOGIN; ALTER ROLE reader SET default_transaction_read_only = on")
        .await;
    let mut reader = params(&[("DATABASE_URL", &primary.url("reader", "postgres"))]);
    reader.require_primary().unwrap();
    connect_once(&reader).await.unwrap();
    let strict = primary.url("reader", "postgres?target_session_attrs=read-write");
    let error = connect_once(&params(&[("DATABASE_URL", &strict)]))
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("the server is read-only"),
        "{error}"
    );
}

#[tokio::test]
async fn poolers() {
    let server = Server::started();
    for mode in ["session", "transaction"] {
        let pooler = server.pooler(mode, "");
        let url = pooler.url("postgres");
        let behind = session(&[("DATABASE_URL", &url)]).await;
        let pid = value(&behind, "SELECT pg_backend_pid()").await;
        // A number of the pooler's own: no direct line.
        assert_ne!(behind.wire_pid().map(|pid| pid.to_string()), Some(pid));
        assert_eq!(
            behind.server_version(),
            server.session().await.server_version()
        );
        assert_eq!(
            value(&behind, "SHOW application_name").await,
            "schemagate/test"
        );

        let mut writing = params(&[("DATABASE_URL", &url)]);
        writing.require_primary().unwrap();
        connect_once(&writing).await.unwrap();

        let unknown = params(&[("DATABASE_URL", &pooler.url("nowhere"))]);
        let error = connect_once(&unknown).await.unwrap_err();
        assert_eq!(error.exit_status().code(), 9, "{error}");
        let options = params(&[("DATABASE_URL", &url), ("PGOPTIONS", "-c work_mem=5MB")]);
        let error = connect_once(&options).await.unwrap_err();
        assert_eq!(error.exit_status().code(), 2, "{error}");
        assert!(error.help().unwrap().contains("PGOPTIONS"), "{error}");
    }
}
