//! Contract steps, and who must be gone before them.

use super::{applied, current};
use crate::harness::{Database, Folder, Schemagate, Session, eventually};

/// An expand step behind a contract step.
fn contracting() -> (Database<'static>, Folder) {
    let (database, folder) = current();
    folder
        .write("0002_posts.sql", b"CREATE TABLE posts (id int);\n")
        .write(
            "0003_old.sql",
            b"-- schemagate: phase=contract approve=destructive reason=\"read by nobody\"\nALTER TABLE users DROP COLUMN old;\n",
        )
        .write("0004_last.sql", b"CREATE TABLE last (id int);\n");
    (database, folder)
}

/// A session of an application.
fn app(database: &Database<'_>, name: &str) -> Session {
    let session = database.session();
    session.query(&format!("SET application_name = '{name}'"));
    session
}

#[test]
fn expand_stops_before_it_and_contract_goes_on() {
    let (database, folder) = contracting();
    let migrate = Schemagate::migrate(&database, &folder);
    migrate
        .run()
        .assert_code(0)
        .assert_says("0004 waits behind the contract migration 0003")
        .assert_says("SCHEMAGATE_PHASE=contract");
    assert_eq!(applied(&database), ["0001", "0002"]);
    migrate.run().assert_code(0);
    let _old = app(&database, "myapp/1.9.3");
    let _psql = app(&database, "psql");
    migrate
        .env("SCHEMAGATE_PHASE", "contract")
        .run()
        .assert_code(0)
        .assert_says(
            "before contract step 0003: connected to this database: myapp/1.9.3 (1 session, pid ",
        );
    assert_eq!(applied(&database), ["0001", "0002", "0003", "0004"]);
}

#[test]
fn it_is_held_while_an_old_version_is_connected() {
    let (database, folder) = contracting();
    let migrate = Schemagate::migrate(&database, &folder)
        .env("SCHEMAGATE_PHASE", "contract")
        .env("SCHEMAGATE_REQUIRE_GONE", "worker,myapp/<2.0");
    let old = app(&database, "myapp/1.9.3");
    let pid = old.value("SELECT pg_backend_pid()");
    let _new = app(&database, "myapp/2.0.0");
    migrate
        .run()
        .assert_code(7)
        .assert_says(&format!(
            "0003 (0003_old.sql) is held: a contract step, and still connected: myapp/1.9.3 (1 session, pid {pid})"
        ))
        .assert_says("SCHEMAGATE_REQUIRE_GONE=worker,myapp/<2.0");
    assert_eq!(applied(&database), ["0001", "0002"]);
    drop(old);
    gone(&database, "myapp/1.9.3");
    migrate.run().assert_code(0);
    assert_eq!(applied(&database).len(), 4);
}

fn gone(database: &Database<'_>, name: &str) {
    let count = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = '{name}' AND datname = current_database()"
    );
    eventually!(database.value(&count) == "0", "{name} is still connected");
}

/// What a role may see of the sessions of others is enough.
#[test]
fn it_is_seen_without_privileges() {
    let (database, folder) = contracting();
    let app_role = database.role("app", "LOGIN");
    database.query(&format!(
        "ALTER TABLE users OWNER TO \"{app_role}\"; GRANT ALL ON SCHEMA public, schemagate TO \"{app_role}\";
         GRANT ALL ON ALL TABLES IN SCHEMA schemagate TO \"{app_role}\""
    ));
    let migrate = Schemagate::new(&["migrate"])
        .url(&database.url_as(&app_role))
        .folder(&folder)
        .env("SCHEMAGATE_PHASE", "contract")
        .env("SCHEMAGATE_REQUIRE_GONE", "myapp/<2.0");
    let old = app(&database, "myapp/1.9.3");
    migrate
        .run()
        .assert_code(7)
        .assert_says("myapp/1.9.3 (1 session");
    drop(old);
    gone(&database, "myapp/1.9.3");
    migrate.run().assert_code(0);
}

/// Who connects while a migration runs is seen before the next one.
#[test]
fn it_is_asked_again_before_each_migration() {
    let (database, folder) = contracting();
    folder.write(
        "0002_posts.sql",
        // In this database: the server has those of other tests too.
        b"DO $$ BEGIN LOOP PERFORM pg_sleep(0.01); PERFORM pg_stat_clear_snapshot();
          EXIT WHEN EXISTS (SELECT 1 FROM pg_stat_activity WHERE application_name = 'myapp/1.9.3'
              AND datname = current_database()); END LOOP; END $$;\n",
    );
    let running = Schemagate::migrate(&database, &folder)
        .env("SCHEMAGATE_PHASE", "contract")
        .env("SCHEMAGATE_REQUIRE_GONE", "myapp/<2.0")
        .spawn();
    database.schemagate_runs("pg_stat_clear_snapshot");
    let _old = app(&database, "myapp/1.9.3");
    running
        .wait()
        .assert_code(7)
        .assert_says("still connected: myapp/1.9.3");
    assert_eq!(applied(&database), ["0001", "0002"]);
    let end = "SELECT detail->>'outcome' FROM schemagate.journal WHERE event = 'run_finished' ORDER BY id DESC LIMIT 1";
    assert_eq!(database.value(end), "held");
}
