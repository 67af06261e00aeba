//! Waiting for a database that is not there yet.

use std::fs;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use schemagate::connect::{Class, Event, Wait, connect, connect_once};

use super::server::{Server, folder, free_port, params};

fn wait(timeout_ms: u64, grace_ms: u64) -> Wait {
    Wait {
        enabled: true,
        timeout: Some(Duration::from_millis(timeout_ms)),
        auth_grace: Duration::from_millis(grace_ms),
    }
}

#[tokio::test]
async fn the_server_comes_up_later() {
    let mut server = Server::prepare();
    let params = params(&[("DATABASE_URL", &server.url("super", "postgres"))]);
    let starting = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(700));
        server.start();
        server
    });
    let mut failed = 0;
    let mut connected = None;
    let session = connect(&params, &wait(30_000, 0), &mut |event| match event {
        Event::Failed {
            attempt,
            error,
            next_in,
        } => {
            failed += 1;
            assert_eq!(attempt, failed);
            assert!(next_in <= Duration::from_secs(5));
            assert!(!matches!(error.class(), Class::Permanent(_)), "{error}");
        }
        Event::Connected {
            attempt, elapsed, ..
        } => connected = Some((attempt, elapsed)),
        _ => {}
    })
    .await
    .unwrap();
    let (attempt, elapsed) = connected.unwrap();
    assert_eq!(attempt, failed + 1);
    assert!(
        failed >= 2 && elapsed >= Duration::from_millis(700),
        "{failed} {elapsed:?}"
    );
    session.client().batch_execute("SELECT 1").await.unwrap();
    starting.join().unwrap();
}

#[tokio::test]
async fn nobody_ever_listens() {
    let url = format!("postgres://u@127.0.0.1:{}/d", free_port());
    let params = params(&[("DATABASE_URL", &url)]);
    let began = Instant::now();
    let error = connect(&params, &wait(600, 0), &mut |_| {})
        .await
        .unwrap_err();
    let took = began.elapsed();
    assert!(
        took >= Duration::from_millis(600) && took < Duration::from_secs(3),
        "{took:?}"
    );
    assert_eq!(error.exit_status().code(), 3);
    let text = error.to_string();
    assert!(
        text.starts_with("no session after ") && text.contains("Connection refused"),
        "{text}"
    );
    assert!(error.help().is_some());

    // Without waiting there is one attempt.
    let once = Wait {
        enabled: false,
        ..wait(60_000, 60_000)
    };
    let error = connect(&params, &once, &mut |_| panic!("no event"))
        .await
        .unwrap_err();
    assert_eq!(error.exit_status().code(), 3);
}

#[tokio::test]
async fn a_name_that_is_not_found_may_appear() {
    let params = params(&[("DATABASE_URL", "postgres://u@no-such-host.invalid/d")]);
    let error = connect_once(&params).await.unwrap_err();
    assert_eq!(error.class(), Class::ConnectionLost);
    assert!(
        error.to_string().contains("the host's name was not found"),
        "{error}"
    );
}

/// A server that accepts and says nothing does not eat the whole wait, nor does a dead one stop the list.
#[tokio::test]
async fn several_hosts() {
    let server = Server::started();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_port = silent.local_addr().unwrap().port();
    let url = format!(
        "postgres://super@127.0.0.1:{},127.0.0.1:{silent_port},127.0.0.1:{}/postgres?connect_timeout=2",
        free_port(),
        server.port
    );
    let began = Instant::now();
    let session = connect_once(&params(&[("DATABASE_URL", &url)]))
        .await
        .unwrap();
    assert_eq!(session.peer(), format!("127.0.0.1:{}", server.port));
    assert!(began.elapsed() >= Duration::from_secs(2));
    assert!(began.elapsed() < Duration::from_secs(5));

    let url = format!(
        "postgres://u@127.0.0.1:{silent_port},127.0.0.1:{}/d?connect_timeout=2",
        free_port()
    );
    let error = connect_once(&params(&[("DATABASE_URL", &url)]))
        .await
        .unwrap_err();
    let text = error.to_string();
    let silent = "connected, but no session within 2s; 127.0.0.1:";
    assert!(text.contains(silent), "{text}");

    // The deadline of the whole wait cuts an attempt short.
    let url = format!("postgres://u@127.0.0.1:{silent_port}/d");
    let began = Instant::now();
    let error = connect(
        &params(&[("DATABASE_URL", &url)]),
        &wait(500, 0),
        &mut |_| {},
    )
    .await;
    assert_eq!(error.unwrap_err().exit_status().code(), 3);
    assert!(began.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn hosts_in_random_order() {
    let (one, two) = (Server::started(), Server::started());
    let url = format!(
        "postgres://super@127.0.0.1:{},127.0.0.1:{}/postgres?load_balance_hosts=random",
        one.port, two.port
    );
    let params = params(&[("DATABASE_URL", &url)]);
    let mut peers = std::collections::BTreeSet::new();
    for _ in 0..40 {
        let session = connect_once(&params).await.unwrap();
        peers.insert(session.peer().to_owned());
        session.close().await;
    }
    assert_eq!(peers.len(), 2);
}

#[tokio::test]
async fn too_many_clients_pass() {
    let mut server = Server::prepare();
    server.configure("max_connections = 6\nsuperuser_reserved_connections = 3\n");
    server.start();
    server.sql("CREATE ROLE app LOGIN").await;
    let params = params(&[("DATABASE_URL", &server.url("app", "postgres"))]);
    let mut held = Vec::new();
    let full = loop {
        match connect_once(&params).await {
            Ok(session) => held.push(session),
            Err(error) => break error,
        }
        assert!(held.len() < 20);
    };
    assert_eq!(full.class(), Class::Transient, "{full}");
    assert_eq!(full.exit_status().code(), 3);
    assert!(full.to_string().contains("SQLSTATE 53300"), "{full}");

    // Once somebody leaves, the waiting one gets in, though there is no grace for refusals.
    let mut failed = 0;
    connect(&params, &wait(20_000, 0), &mut |event| {
        if matches!(event, Event::Failed { .. }) {
            failed += 1;
            held.clear();
        }
    })
    .await
    .unwrap();
    assert!(failed >= 1);
}

#[tokio::test]
async fn a_password_is_rotated_while_waiting() {
    let mut server = Server::prepare();
    server.hba("host all all all scram-sha-256");
    server.start();
    server.sql("CREATE ROLE app LOGIN PASSWORD 'new'").await;
    let dir = folder();
    let password = dir.path().join("password");
    let url = dir.path().join("url");
    fs::write(&password, "old\n").unwrap();
    fs::write(&url, server.url("app", "postgres\n")).unwrap();
    let params = params(&[
        ("DATABASE_URL_FILE", url.to_str().unwrap()),
        ("PGPASSWORD_FILE", password.to_str().unwrap()),
    ]);
    let mut failed = 0;
    connect(&params, &wait(30_000, 20_000), &mut |event| {
        if let Event::Failed { error, .. } = event {
            failed += 1;
            assert!(error.to_string().contains("28P01"), "{error}");
            fs::write(&password, "new\n").unwrap();
        }
    })
    .await
    .unwrap();
    assert_eq!(failed, 1);
}
