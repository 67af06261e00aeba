//! A migrating sidecar at a gate.

use super::{applied, current, dropping};
use crate::harness::{Schemagate, Sidecar, eventually};

#[test]
fn it_is_pending_and_goes_on_when_the_gate_opens() {
    let (database, folder) = current();
    folder
        .write("0002_posts.sql", b"CREATE TABLE posts (id int);\n")
        .write(
            "0003_old.sql",
            b"-- schemagate: phase=contract\nCREATE TABLE more (id int);\n",
        );
    let old = database.session();
    old.query("SET application_name = 'myapp/1.9.3'");
    let sidecar = Sidecar::start(
        &Schemagate::sidecar(&database, &folder)
            .env("SCHEMAGATE_AUTO_MIGRATE", "true")
            .env("SCHEMAGATE_PHASE", "contract")
            .env("SCHEMAGATE_REQUIRE_GONE", "myapp/<2.0")
            .env("SCHEMAGATE_ON_FAILURE", "exit"),
    );
    eventually!(
        sidecar
            .reason()
            .starts_with("held: 0003 (0003_old.sql) is held: a contract step"),
        "{:#}",
        sidecar.status()
    );
    sidecar.becomes("pending", false);
    let status = sidecar.status();
    let next = status["next_step"].as_str().unwrap_or_default();
    assert!(
        next.contains("SCHEMAGATE_REQUIRE_GONE=myapp/<2.0"),
        "{status:#}"
    );
    assert!(sidecar.get("/").body.contains("still connected"));
    assert!(sidecar.get("/readyz?verbose").body.contains("held: 0003"));
    assert_eq!(applied(&database), ["0001", "0002"]);
    drop(old);
    sidecar.becomes("ready", true);
    assert_eq!(applied(&database), ["0001", "0002", "0003"]);
    let outcome = sidecar.stop();
    outcome.assert_code(0);
    let told = outcome.logs();
    let told = told
        .iter()
        .filter(|line| line["message"] == "held by a gate");
    assert_eq!(told.count(), 1, "{outcome}");
}

#[test]
fn somebody_else_s_approval_ends_its_wait() {
    let (database, folder) = dropping();
    let sidecar = Sidecar::start(
        &Schemagate::sidecar(&database, &folder).env("SCHEMAGATE_AUTO_MIGRATE", "true"),
    );
    eventually!(
        sidecar.reason().starts_with("held: 0003"),
        "{:#}",
        sidecar.status()
    );
    assert!(
        sidecar
            .running
            .stderr()
            .contains("SCHEMAGATE_APPROVE=0003@")
    );
    let migrate = Schemagate::migrate(&database, &folder).env("SCHEMAGATE_APPROVE", "0003");
    migrate.run().assert_code(0);
    sidecar.becomes("ready", true);
    sidecar.stop().assert_code(0);
}
