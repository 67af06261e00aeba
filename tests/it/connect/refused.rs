//! What no waiting mends.

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use schemagate::connect::{Event, Wait, connect, connect_once};

use super::server::{Server, folder, params};

async fn server() -> Server {
    let mut server = Server::prepare();
    server.hba("host all trusted all trust\nhost all clear all password\nhost all md5 all md5\nhost all app all scram-sha-256");
    server.start();
    server
        .sql(
            "CREATE ROLE app LOGIN PASSWORD 'right'; CREATE ROLE trusted LOGIN; CREATE ROLE clear LOGIN PASSWORD 'right'; \
             SET password_encryption = 'md5'; CREATE ROLE md5 LOGIN PASSWORD 'right'; ",
        )
        .await;
    server.sql("CREATE DATABASE closed").await;
    server
        .sql("REVOKE CONNECT ON DATABASE closed FROM PUBLIC")
        .await;
    server
}

#[tokio::test]
async fn refusals_end_after_the_grace() {
    let server = server().await;
    let wait = Wait {
        enabled: true,
        timeout: Some(Duration::from_mins(1)),
        auth_grace: Duration::from_millis(700),
    };
    for (who, database, expected) in [
        ("app:wrong", "postgres", "SQLSTATE 28P01"),
        ("app:right", "nowhere", "SQLSTATE 3D000"),
        ("trusted", "closed", "SQLSTATE 42501"),
        ("nobody", "postgres", "SQLSTATE 28000"),
        (
            "app",
            "postgres",
            "the password of user \"app\", and none is given",
        ),
        (
            "trusted",
            "postgres?options=-c%20nonsense%3D1",
            "SQLSTATE 42704",
        ),
    ] {
        let params = params(&[("DATABASE_URL", &server.url(who, database))]);
        let mut attempts = 0;
        let began = Instant::now();
        let error = connect(&params, &wait, &mut |event| {
            if let Event::Failed { attempt, .. } = event {
                attempts = attempt;
            }
        })
        .await
        .unwrap_err();
        let took = began.elapsed();
        assert!(
            took >= Duration::from_millis(700) && took < Duration::from_secs(6),
            "{took:?}"
        );
        assert!(attempts >= 2, "{attempts}");
        let text = error.to_string();
        assert!(text.contains(expected) && !text.contains("wrong"), "{text}");
        assert!(
            text.starts_with(&format!("127.0.0.1:{}: ", server.port)),
            "{text}"
        );
        let code = if expected.contains("42704") { 2 } else { 9 };
        assert_eq!(error.exit_status().code(), code, "{text}");
        assert!(code == 2 || error.help().is_some(), "{text}");
    }
}

#[tokio::test]
async fn every_kind_of_password() {
    let server = server().await;
    for who in [
        "app:right",
        "clear:right",
        "md5:right",
        "trusted",
        "trusted:unused",
    ] {
        connect_once(&params(&[("DATABASE_URL", &server.url(who, "postgres"))]))
            .await
            .unwrap();
    }
    // From the variable, and from libpq's password file.
    let url = server.url("app", "postgres");
    connect_once(&params(&[("DATABASE_URL", &url), ("PGPASSWORD", "right")]))
        .await
        .unwrap();
    let home = folder();
    let passfile = home.path().join(".pgpass");
    std::fs::write(
        &passfile,
        format!("127.0.0.1:{}:*:app:right\n", server.port),
    )
    .unwrap();
    std::fs::set_permissions(&passfile, std::fs::Permissions::from_mode(0o600)).unwrap();
    connect_once(&params(&[
        ("DATABASE_URL", &url),
        ("HOME", home.path().to_str().unwrap()),
    ]))
    .await
    .unwrap();
    connect_once(&params(&[
        ("DATABASE_URL", &url),
        ("PGPASSFILE", passfile.to_str().unwrap()),
    ]))
    .await
    .unwrap();
}

#[tokio::test]
async fn every_printable_character_in_a_password() {
    let server = server().await;
    let password: String = (' '..='~').collect();
    server
        .sql(&format!(
            "ALTER ROLE app PASSWORD '{}'",
            password.replace('\'', "''")
        ))
        .await;
    let encoded: String = password
        .bytes()
        .fold(String::new(), |text, byte| format!("{text}%{byte:02x}"));
    connect_once(&params(&[(
        "DATABASE_URL",
        &server.url(&format!("app:{encoded}"), "postgres"),
    )]))
    .await
    .unwrap();
    let raw = password.replace('%', "%25");
    connect_once(&params(&[(
        "DATABASE_URL",
        &server.url(&format!("app:{raw}"), "postgres"),
    )]))
    .await
    .unwrap();
}

/// The password must not leave for a server that asks in a way the user ruled out.
#[tokio::test]
async fn require_auth() {
    let server = server().await;
    for (who, methods, allowed) in [
        ("app:right", "scram-sha-256", true),
        ("app:right", "md5,scram-sha-256", true),
        ("app:right", "!password", true),
        ("clear:right", "scram-sha-256", false),
        ("clear:right", "!password", false),
        ("md5:right", "scram-sha-256", false),
        ("md5:right", "md5", true),
        ("trusted", "scram-sha-256", false),
        ("trusted", "none", true),
    ] {
        let url = server.url(who, "postgres");
        let result = connect_once(&params(&[
            ("DATABASE_URL", &url),
            ("PGREQUIREAUTH", methods),
        ]))
        .await;
        match result {
            Ok(_) => assert!(allowed, "{who} {methods}"),
            Err(error) => {
                assert!(!allowed, "{who} {methods}: {error}");
                assert_eq!(error.exit_status().code(), 9);
                assert!(
                    error.to_string().contains("require_auth does not allow"),
                    "{error}"
                );
            }
        }
    }
}
