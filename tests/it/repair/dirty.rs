//! `repair --clear-dirty`, for one-shot runs and for a sidecar that waits for a person.

use super::{noted, repair, repairs};
use crate::harness::{Database, Folder, PgBouncer, Schemagate, Server, Sidecar, eventually};

const PIECES: &[u8] =
    b"-- schemagate: transaction=off\nCREATE TABLE b (id int);\nCREATE INDEX CONCURRENTLY b_i ON b (id);";

/// The first piece of `0002` is done, the second failed, and the file was changed since.
#[track_caller]
fn dirty(database: &Database<'_>) -> Folder {
    let folder = Folder::sql(&[
        ("0001_a.sql", "CREATE TABLE a (id int);"),
        (
            "0002_b.sql",
            "-- schemagate: transaction=off\nCREATE TABLE b (id int);\nCREATE INDEX CONCURRENTLY b_i ON b (idd);",
        ),
    ]);
    Schemagate::migrate(database, &folder).run().assert_code(5);
    folder.write("0002_b.sql", PIECES);
    folder
}

#[test]
fn a_cleared_migration_runs_again_from_its_start() {
    let bouncer = PgBouncer::start(Server::debian(), "transaction", 5);
    let database = Server::debian().database();
    let folder = dirty(&database);
    Schemagate::migrate(&database, &folder)
        .run()
        .assert_code(6)
        .assert_says("0002 is dirty")
        .assert_says("`schemagate repair --clear-dirty 0002`");
    repair(&database, &folder, &["--clear-dirty", "0001"])
        .run()
        .assert_code(2)
        .assert_says("0001 is applied");
    database.query("DROP TABLE b");
    // A run that was approved and killed before its first piece.
    database.query(
        "INSERT INTO schemagate.journal (run, history, event, actor, version) SELECT run, history, 'approved', actor, version
         FROM schemagate.journal WHERE event = 'failed'",
    );
    let call = repair(&database, &folder, &["--clear-dirty", "2"]);
    call.clone()
        .env("SCHEMAGATE_DRY_RUN", "true")
        .run()
        .assert_code(0)
        .assert_prints("would repair 0002: what was begun of it");
    assert_eq!(repairs(&database), "0");
    let running: Vec<_> = (0..4)
        .map(|_| call.clone().url(&bouncer.url(&database)).spawn())
        .collect();
    for running in running {
        running.wait().assert_code(0);
    }
    assert_eq!(repairs(&database), "1");
    assert_eq!(noted(&database)["detail"]["before"]["done"], 1);
    Schemagate::migrate(&database, &folder).run().assert_code(0);
    assert_eq!(
        database
            .value("SELECT count(*) FROM pg_index WHERE indrelid = 'b'::regclass AND indisvalid"),
        "1"
    );
}

#[test]
fn a_killed_procedure_is_dirty_until_it_is_cleared() {
    let database = Server::debian().database();
    database.query(
        "CREATE TABLE steps (id int); CREATE TABLE slow (id int);
         CREATE PROCEDURE p() LANGUAGE plpgsql AS $$ BEGIN
             INSERT INTO steps VALUES (1); COMMIT;
             IF to_regclass('slow') IS NOT NULL THEN PERFORM pg_sleep(120); END IF;
             INSERT INTO steps VALUES (2); END $$",
    );
    let folder = Folder::sql(&[("0001_p.sql", "-- schemagate: transaction=off\nCALL p();")]);
    let running = Schemagate::migrate(&database, &folder).spawn();
    let backend = database.schemagate_runs("CALL p");
    eventually!(
        database.value("SELECT count(*) FROM steps") == "1",
        "the first step is committed"
    );
    running.signal("KILL");
    running.wait();
    database.query(&format!("SELECT pg_terminate_backend({backend})"));
    let migrate = Schemagate::migrate(&database, &folder);
    migrate.run().assert_code(6).assert_says("0001 is dirty");
    // Its file may be gone, too.
    let elsewhere = Folder::sql(&[("0007_x.sql", "SELECT 1;")]);
    repair(&database, &elsewhere, &["--clear-dirty", "0003"])
        .run()
        .assert_code(2)
        .assert_says("0001");
    database.query("DROP TABLE slow; TRUNCATE steps");
    repair(&database, &elsewhere, &["--clear-dirty", "0001"])
        .run()
        .assert_code(0);
    migrate.run().assert_code(0);
    assert_eq!(
        database.query("SELECT id FROM steps ORDER BY id"),
        [["1"], ["2"]]
    );
}

#[test]
fn a_sidecar_takes_a_dirty_migration_up_when_it_is_cleared() {
    for watch in ["poll", "listen"] {
        let database = Server::debian().database();
        let folder = dirty(&database);
        let call = Schemagate::sidecar(&database, &folder)
            .env("SCHEMAGATE_AUTO_MIGRATE", "true")
            .env("SCHEMAGATE_WATCH", watch);
        let sidecar = Sidecar::start(&call);
        sidecar.becomes("mismatch", false);
        assert!(
            sidecar.reason().contains("is dirty"),
            "{}",
            sidecar.reason()
        );
        database.query("DROP TABLE b");
        repair(&database, &folder, &["--clear-dirty", "0002"])
            .run()
            .assert_code(0);
        sidecar.becomes("ready", true);
    }
}

#[test]
fn a_sidecar_tries_a_failed_migration_again_when_a_person_says_so() {
    let database = Server::debian().database();
    let folder = Folder::sql(&[(
        "0001_a.sql",
        "CREATE TABLE a AS SELECT 1 / (count(*) - 1) AS id FROM given;",
    )]);
    database.query("CREATE TABLE given (id int); INSERT INTO given VALUES (1)");
    let call = Schemagate::sidecar(&database, &folder).env("SCHEMAGATE_AUTO_MIGRATE", "true");
    let sidecar = Sidecar::start(&call);
    sidecar.becomes("failed", false);
    database.query("INSERT INTO given VALUES (2)");
    repair(&database, &folder, &["--clear-dirty", "0001"])
        .run()
        .assert_code(0)
        .assert_prints("it may run again as it is");
    sidecar.becomes("ready", true);
    assert!(database.has_table("a"));
}
