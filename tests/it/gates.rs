//! The gates: what is held, what lets it through, and what the journal says of it.

mod backup;
mod bootstrap;
mod contract;
mod sidecar;
mod window;

use serde_json::Value;

use crate::harness::{Database, Folder, Outcome, PgBouncer, Schemagate, Server, eventually};

/// A database that this folder's one migration has made, so that there is something to guard.
fn current() -> (Database<'static>, Folder) {
    let database = Server::debian().database();
    let folder = Folder::sql(&[("0001_users.sql", "CREATE TABLE users (id int, old text);\n")]);
    Schemagate::migrate(&database, &folder).run().assert_code(0);
    (database, folder)
}

/// With two more, of which the second loses data.
fn dropping() -> (Database<'static>, Folder) {
    let (database, folder) = current();
    folder
        .write("0002_posts.sql", b"CREATE TABLE posts (id int);\n")
        .write("0003_drop.sql", b"\nALTER TABLE users DROP COLUMN old;\n")
        .write("0004_last.sql", b"CREATE TABLE last (id int);\n");
    (database, folder)
}

/// The versions that have a row.
fn applied(database: &Database<'_>) -> Vec<String> {
    let rows = database.query("SELECT version FROM schemagate.history ORDER BY serial");
    rows.into_iter().flatten().collect()
}

/// What the journal says of approvals: version, the beginning of the checksum, what, by, reason.
fn approvals(database: &Database<'_>) -> Vec<Vec<String>> {
    database.query(
        "SELECT version, left(checksum, 12), detail->>'what', detail->>'by', detail->>'reason'
         FROM schemagate.journal WHERE event = 'approved' ORDER BY id",
    )
}

/// The first twelve digits of a file's SHA-256.
fn short(folder: &Folder, name: &str) -> String {
    let path = folder.path().join(name);
    let out = std::process::Command::new("sha256sum").arg(path).output();
    let out = String::from_utf8(out.expect("sha256sum").stdout).expect("text");
    out[..12].to_owned()
}

/// The line that sums up the run.
fn summary(outcome: &Outcome) -> Value {
    let line = outcome.stderr.lines().last().unwrap_or_default();
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {outcome}"))
}

#[test]
fn a_destructive_statement_is_held_and_what_stands_before_it_is_not() {
    let (database, folder) = dropping();
    let hash = short(&folder, "0003_drop.sql");
    let migrate = Schemagate::migrate(&database, &folder);
    let outcome = migrate.run();
    outcome
        .assert_code(7)
        .assert_says("0003 (0003_drop.sql:2: ALTER TABLE users DROP COLUMN old) is held")
        .assert_says("a destructive statement needs an approval")
        .assert_says(&format!("SCHEMAGATE_APPROVE=0003@{hash}"))
        .assert_says("-- schemagate: approve=destructive reason=");
    assert_eq!(applied(&database), ["0001", "0002"]);
    let summary = summary(&outcome);
    assert_eq!(summary["exit_code"], 7);
    assert_eq!(summary["applied"][0]["version"], "0002");
    assert_eq!(summary["pending"], serde_json::json!(["0003", "0004"]));
    assert_eq!(summary["held"]["version"], "0003");
    assert_eq!(summary["held"]["line"], 2);
    assert_eq!(
        summary["held"]["statement"],
        "ALTER TABLE users DROP COLUMN old"
    );
    let end = "SELECT detail->>'outcome' FROM schemagate.journal WHERE event = 'run_finished' ORDER BY id DESC LIMIT 1";
    assert_eq!(database.value(end), "held");
    // Again: nothing is written, nothing hangs, and the lock is free.
    let rows = "SELECT count(*) FROM schemagate.journal";
    let before = database.value(rows);
    migrate.run().assert_code(7);
    assert_eq!(database.value(rows), before);
    eventually!(database.has_no_advisory_lock(), "the lock is free");
    // The same as the entry point of a container.
    Schemagate::new(&["run", "--", "/bin/true"])
        .url(&database.url())
        .folder(&folder)
        .env("SCHEMAGATE_AUTO_MIGRATE", "true")
        .run()
        .assert_code(7);
    migrate.env("SCHEMAGATE_ALLOW", "all").run().assert_code(0);
    assert_eq!(applied(&database), ["0001", "0002", "0003", "0004"]);
    assert!(approvals(&database).is_empty());
}

#[test]
fn it_is_approved_in_the_file() {
    let (database, folder) = dropping();
    folder.write(
        "0003_drop.sql",
        b"-- schemagate: approve=destructive reason=\"unused since O'Brien's 1.3\"\r\nALTER TABLE users DROP COLUMN old;\r\n",
    );
    let migrate = Schemagate::migrate(&database, &folder).env("HOSTNAME", "pod-7");
    let by = [
        "0003".to_owned(),
        short(&folder, "0003_drop.sql"),
        "destructive".to_owned(),
        "approve in 0003_drop.sql".to_owned(),
        "unused since O'Brien's 1.3".to_owned(),
    ];
    migrate.run().assert_code(0).assert_says("let through by");
    assert_eq!(approvals(&database), [by]);
    let actor = "SELECT actor LIKE '%@pod-7' FROM schemagate.journal WHERE event = 'approved'";
    assert_eq!(database.value(actor), "t");
    migrate.run().assert_code(0);
    assert_eq!(approvals(&database).len(), 1);
}

#[test]
fn it_is_approved_by_version_for_one_content() {
    let (database, folder) = dropping();
    folder.write("0003_drop.sql", b"ALTER TABLE users DROP COLUMN wrong;\n");
    let hash = short(&folder, "0003_drop.sql");
    let migrate = Schemagate::migrate(&database, &folder);
    let bare = migrate.clone().env("SCHEMAGATE_APPROVE", "3,0099");
    bare.run()
        .assert_code(5)
        .assert_says("SCHEMAGATE_APPROVE approves nothing with 0099");
    let by = "SCHEMAGATE_APPROVE=0003";
    assert_eq!(
        approvals(&database),
        [["0003", &hash, "destructive", by, "NULL"]]
    );
    // An edited file needs a new one.
    folder.write("0003_drop.sql", b"ALTER TABLE users DROP COLUMN old;\n");
    let edited = short(&folder, "0003_drop.sql");
    bare.run()
        .assert_code(7)
        .assert_says(&format!(
            "{by} was used for the content {hash}, and the file's is {edited} now"
        ))
        .assert_says(&format!("SCHEMAGATE_APPROVE=0003@{edited}"));
    migrate
        .clone()
        .env("SCHEMAGATE_APPROVE", format!("0003@{hash}"))
        .run()
        .assert_code(7)
        .assert_says(&format!("the content {hash}, and the file's is {edited}"));
    migrate
        .env("SCHEMAGATE_APPROVE", format!("0003@{edited}"))
        .run()
        .assert_code(0);
    assert_eq!(approvals(&database)[1][1], edited);
}

#[test]
fn an_approval_is_noted_once_though_a_run_begins_again() {
    let (database, folder) = dropping();
    let reader = database.session();
    reader.query("BEGIN; SELECT * FROM users");
    let running = Schemagate::migrate(&database, &folder)
        .env("SCHEMAGATE_APPROVE", "0003")
        .env("SCHEMAGATE_LOCK_TIMEOUT", "100ms")
        .spawn();
    eventually!(
        running.stderr().contains("trying again"),
        "{}",
        running.stderr()
    );
    drop(reader);
    running.wait().assert_code(0);
    assert_eq!(approvals(&database).len(), 1);
}

#[test]
fn in_one_transaction_nothing_runs_where_something_is_held() {
    let (database, folder) = dropping();
    let migrate = Schemagate::migrate(&database, &folder).env("SCHEMAGATE_TRANSACTION", "all");
    migrate
        .run()
        .assert_code(7)
        .assert_says("with SCHEMAGATE_TRANSACTION=all what stands before it does not run either");
    assert_eq!(applied(&database), ["0001"]);
    migrate
        .env("SCHEMAGATE_APPROVE", "0003")
        .run()
        .assert_code(0);
    assert_eq!(applied(&database), ["0001", "0002", "0003", "0004"]);
    assert_eq!(approvals(&database).len(), 1);
}

#[test]
fn a_dry_run_tells_what_is_held_and_writes_nothing() {
    let (database, folder) = dropping();
    let rows = "SELECT count(*) FROM schemagate.journal";
    let before = database.value(rows);
    let call = Schemagate::migrate(&database, &folder).env("SCHEMAGATE_DRY_RUN", "true");
    let outcome = call.run();
    outcome.assert_code(0);
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    assert_eq!(lines[0], "would apply 0002 (0002_posts.sql)");
    assert!(
        lines[1].starts_with("would end there with exit 7: 0003 (0003_drop.sql:2: "),
        "{outcome}"
    );
    assert!(
        lines[2].starts_with("  to let it through: SCHEMAGATE_APPROVE=0003@"),
        "{outcome}"
    );
    assert_eq!(lines[3], "would not apply 0004 (0004_last.sql) either");
    assert_eq!(summary(&outcome)["held"]["version"], "0003");
    assert_eq!(database.value(rows), before);
    let outcome = call.env("SCHEMAGATE_APPROVE", "0003").run();
    assert!(
        !outcome.assert_code(0).stdout.contains("exit 7"),
        "{outcome}"
    );
    assert!(approvals(&database).is_empty());
}

#[test]
fn many_pods_at_a_held_migration_all_end() {
    let (database, folder) = dropping();
    let call = Schemagate::migrate(&database, &folder).env("SCHEMAGATE_LOCK_WAIT_TIMEOUT", "0");
    let pods: Vec<_> = (0..6).map(|_| call.spawn()).collect();
    for pod in pods {
        pod.wait().assert_code(7);
    }
    assert_eq!(applied(&database), ["0001", "0002"]);
}

#[test]
fn the_application_s_version() {
    let (database, folder) = current();
    folder.write(
        "0002_needs.sql",
        b"-- schemagate: requires-app=\">=1.4\"\nCREATE TABLE needs (id int);\n",
    );
    let migrate = Schemagate::migrate(&database, &folder);
    migrate
        .run()
        .assert_code(7)
        .assert_says("0002 (0002_needs.sql) is held: it requires the application >=1.4")
        .assert_says("SCHEMAGATE_APP_VERSION");
    for (version, said) in [("1.3.9", "is 1.3.9"), ("main", "is no semantic version")] {
        let call = migrate.clone().env("SCHEMAGATE_APP_VERSION", version);
        call.run().assert_code(7).assert_says(said);
    }
    migrate
        .env("SCHEMAGATE_APP_VERSION", "v1.4.0")
        .run()
        .assert_code(0);
}

/// The questions are put to the catalogs of all of them.
#[test]
fn on_other_major_versions() {
    for major in ["14", "18"] {
        let database = Server::embedded(major).database();
        let folder = Folder::sql(&[("0001_a.sql", "CREATE TABLE a (id int); DROP TABLE a;\n")]);
        let migrate = Schemagate::migrate(&database, &folder)
            .env("SCHEMAGATE_PHASE", "contract")
            .env("SCHEMAGATE_APPROVE", "0002")
            .env("SCHEMAGATE_REQUIRE_GONE", "myapp/<2.0")
            .env("SCHEMAGATE_REQUIRE_BACKUP", "1h");
        migrate.run().assert_code(0);
        folder.write(
            "0002_b.sql",
            b"-- schemagate: phase=contract\nDROP TABLE IF EXISTS a;\n",
        );
        let old = database.session();
        old.query("SET application_name = 'myapp/1.9.3'");
        migrate
            .run()
            .assert_code(7)
            .assert_says("needs a backup")
            .assert_says("still connected: myapp/1.9.3 (1 session");
        database.query(&backup::note(&migrate.run()));
        old.query("SET application_name = 'myapp/2.0.0'");
        migrate.run().assert_code(0);
        assert_eq!(approvals(&database).len(), 1, "{major}");
    }
}

#[test]
fn through_a_pooler_as_another_role_and_with_odd_names() {
    let server = Server::debian();
    let database = server.database();
    let owner = database.role("owner", "NOLOGIN");
    database.query(&format!(
        "GRANT ALL ON DATABASE \"{}\" TO {owner}",
        database.name
    ));
    let folder = Folder::sql(&[(
        "0001_a.sql",
        "CREATE SCHEMA \"app's\"; CREATE TABLE \"app's\".\"t 🦀\" (id int);",
    )]);
    let pooler = PgBouncer::start(server, "transaction", 3);
    let migrate = Schemagate::new(&["migrate"])
        .url(&pooler.url(&database))
        .folder(&folder)
        .env("SCHEMAGATE_ROLE", &owner)
        .env("SCHEMAGATE_REQUIRE_GONE", "myapp/<2.0");
    migrate.run().assert_code(0);
    folder.write(
        "0002_b.sql",
        "-- schemagate: phase=contract\nDROP TABLE \"app's\".\"t 🦀\";".as_bytes(),
    );
    let migrate = migrate.env("SCHEMAGATE_PHASE", "contract");
    migrate
        .run()
        .assert_code(7)
        .assert_says("needs an approval");
    migrate
        .env("SCHEMAGATE_APPROVE", "0002")
        .run()
        .assert_code(0);
    assert_eq!(approvals(&database).len(), 1);
}
