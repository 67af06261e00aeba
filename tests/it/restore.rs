//! What a run leaves to go back to: the position in the write-ahead log, and a restore point with a name.

use std::process::Command;

use serde_json::Value;

use crate::harness::{Database, Folder, Outcome, PgBouncer, Schemagate, Server};

/// `0001` is applied, `0002` drops a table. The gates are open: what they do is not the matter here.
#[track_caller]
fn destructive(database: &Database<'_>) -> Folder {
    let folder = Folder::sql(&[("0001_a.sql", "CREATE TABLE a (id int);")]);
    Schemagate::migrate(database, &folder).run().assert_code(0);
    folder.write("0002_drop.sql", b"DROP TABLE a;");
    folder
}

fn migrate(database: &Database<'_>, folder: &Folder) -> Schemagate {
    Schemagate::migrate(database, folder).env("SCHEMAGATE_ALLOW", "all")
}

/// The line that sums the run up.
fn summary(outcome: &Outcome) -> Value {
    outcome.logs().pop().expect("a last line")
}

/// What the last run noted of its start.
fn start(database: &Database<'_>) -> Value {
    let row = database.value(
        "SELECT to_jsonb(j) FROM schemagate.journal j WHERE event = 'run_started' ORDER BY id DESC LIMIT 1",
    );
    serde_json::from_str(&row).expect("a row of the journal")
}

/// A restore point of this name ends at the position, which is behind that of the start.
#[track_caller]
fn stands(database: &Database<'_>, start: &Value) {
    let detail = &start["detail"];
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let (before, at) = (text(&start["wal"]), text(&detail["restore_point_wal"]));
    let named = text(&detail["restore_point"]);
    let found = database.value(&format!(
        "SELECT '{at}'::pg_lsn - '{before}'::pg_lsn BETWEEN -1000 AND 100000 AND '{at}'::pg_lsn <= pg_current_wal_insert_lsn()"
    ));
    assert_eq!(found, "t", "{start}");
    assert!(
        named.starts_with("schemagate_0002_") && named.len() <= 63,
        "{named}"
    );
}

#[test]
fn a_superuser_has_a_named_point_before_what_destroys() {
    for setting in [None, Some("true")] {
        let server = Server::own();
        let database = server.database();
        let folder = destructive(&database);
        assert_eq!(start(&database)["detail"]["restore_point"], Value::Null);
        let mut call = migrate(&database, &folder);
        if let Some(setting) = setting {
            call = call.env("SCHEMAGATE_RESTORE_POINT", setting);
        }
        let outcome = call.run();
        outcome.assert_code(0);
        let start = start(&database);
        stands(&database, &start);
        let name = start["detail"]["restore_point"].as_str().unwrap();
        assert_eq!(summary(&outcome)["restore"]["name"], name);
        assert!(
            outcome
                .logs()
                .iter()
                .any(|line| line["message"] == "run started" && line["restore_point"] == name),
            "{outcome}"
        );
        // The log itself has it, at the position that the journal has.
        database.query("SELECT pg_switch_wal()");
        let dump = Command::new(server.bin().join("pg_waldump"))
            .arg("--path")
            .arg(server.data().join("pg_wal"))
            .args(["--rmgr", "XLOG", "--start"])
            .arg(summary(&outcome)["restore"]["wal"].as_str().unwrap())
            .output()
            .expect("pg_waldump starts");
        let dump = String::from_utf8_lossy(&dump.stdout).into_owned();
        assert!(dump.contains(&format!("RESTORE_POINT {name}")), "{dump}");
    }
}

#[test]
fn a_role_without_the_privilege_goes_on_or_is_refused() {
    let database = Server::debian().database();
    let owner = database.role("owner", "LOGIN");
    database.query(&format!(
        "GRANT CREATE ON DATABASE {} TO {owner}; GRANT CREATE ON SCHEMA public TO {owner}",
        database.name
    ));
    let folder = Folder::sql(&[("0001_a.sql", "CREATE TABLE a (id int);")]);
    let call = || migrate(&database, &folder).url(&database.url_as(&owner));
    call().run().assert_code(0);
    folder.write("0002_drop.sql", b"DROP TABLE a;");
    let rows = "SELECT count(*) FROM schemagate.journal";
    let before = database.value(rows);
    call()
        .env("SCHEMAGATE_RESTORE_POINT", "true")
        .run()
        .assert_code(9)
        .assert_says("0002_drop.sql")
        .assert_says("GRANT EXECUTE ON FUNCTION pg_catalog.pg_create_restore_point(text) TO")
        .assert_says(&owner);
    assert_eq!(database.value(rows), before, "before anything is written");
    // Who asks beforehand is told the same.
    Schemagate::new(&["doctor"])
        .url(&database.url_as(&owner))
        .folder(&folder)
        .env("SCHEMAGATE_ALLOW", "all")
        .env("SCHEMAGATE_RESTORE_POINT", "true")
        .run()
        .assert_code(9)
        .assert_says("0002_drop.sql");
    // Quiet, but for who looks closely.
    let outcome = call().env("SCHEMAGATE_LOG", "debug").run();
    outcome
        .assert_code(0)
        .assert_says("no named restore point: role");
    assert_eq!(start(&database)["detail"]["restore_point"], Value::Null);
    assert_eq!(summary(&outcome)["restore"]["name"], Value::Null);
    assert!(summary(&outcome)["restore"]["wal"].is_string());
}

#[test]
fn the_one_who_logs_in_may_have_the_privilege_that_the_role_has_not() {
    let bouncer = PgBouncer::start(Server::debian(), "transaction", 5);
    for (granted, through_a_pooler) in [("login", false), ("owner", false), ("owner", true)] {
        let database = Server::debian().database();
        let owner = database.role("owner", "");
        let login = database.role("login", &format!("LOGIN NOINHERIT IN ROLE {owner}"));
        let to = if granted == "login" { &login } else { &owner };
        database.query(&format!(
            "GRANT CREATE ON DATABASE {} TO {owner}; GRANT CREATE ON SCHEMA public TO {owner};
             GRANT EXECUTE ON FUNCTION pg_create_restore_point(text) TO {to}",
            database.name
        ));
        let url = if through_a_pooler {
            bouncer.url(&database)
        } else {
            database.url_as(&login)
        };
        let folder = Folder::sql(&[("0001_a.sql", "CREATE TABLE a (id int);")]);
        let call = || {
            migrate(&database, &folder)
                .url(&url)
                .env("SCHEMAGATE_ROLE", &owner)
                .env("SCHEMAGATE_RESTORE_POINT", "true")
        };
        call().run().assert_code(0);
        folder.write("0002_drop.sql", b"DROP TABLE a;");
        call().run().assert_code(0);
        stands(&database, &start(&database));
        assert_eq!(
            database.value("SELECT tableowner FROM pg_tables WHERE tablename = 'journal'"),
            owner
        );
        database.query(&format!(
            "REVOKE EXECUTE ON FUNCTION pg_create_restore_point(text) FROM {to}"
        ));
    }
}

#[test]
fn it_is_created_only_where_there_is_something_to_lose() {
    let database = Server::debian().database();
    let folder = Folder::sql(&[(
        "0001_a.sql",
        "CREATE TABLE a (id int); DROP TABLE a;\nDROP TABLE IF EXISTS b;",
    )]);
    let drop = Folder::sql(&[("0001_a.sql", "DROP TABLE IF EXISTS b;")]);
    migrate(&database, &folder).run().assert_code(0);
    assert_eq!(start(&database)["detail"]["restore_point"], Value::Null);
    for (setting, named) in [("false", false), ("auto", true)] {
        let database = Server::debian().database();
        let folder = destructive(&database);
        migrate(&database, &folder)
            .env("SCHEMAGATE_RESTORE_POINT", setting)
            .run()
            .assert_code(0);
        assert_eq!(
            start(&database)["detail"]["restore_point"].is_string(),
            named
        );
    }
    // From nothing: a superuser who insists has one.
    let database = Server::debian().database();
    migrate(&database, &drop)
        .env("SCHEMAGATE_RESTORE_POINT", "true")
        .run()
        .assert_code(0);
    assert!(start(&database)["detail"]["restore_point"].is_string());
}

#[test]
fn a_run_that_failed_after_it_wrote_says_where_to_go_back_to() {
    let database = Server::debian().database();
    let folder = destructive(&database);
    folder.write("0003_typo.sql", b"CREATE TABLE t (id nonsense);");
    let scratch = Folder::empty();
    scratch.write("random", b"").write("urandom", b"");
    // A `/dev` of its own in a mount namespace: the machine's is not touched.
    let script = r#"for file in random urandom; do mount --bind /dev/$file "$1/$file"; done
        mount -t tmpfs none /dev && : >/dev/termination-log
        for file in random urandom; do : >/dev/$file; mount --bind "$1/$file" /dev/$file; done
        "$0" migrate; code=$?; cat /dev/termination-log; exit $code"#;
    let call = || {
        Command::new("unshare")
            .args(["--mount", "--map-root-user", "sh", "-c", script])
            .arg(env!("CARGO_BIN_EXE_schemagate"))
            .arg(scratch.path())
            .env_clear()
            .env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin")
            .env("SCHEMAGATE_DATABASE_URL", database.url())
            .env("SCHEMAGATE_DIR", folder.path())
            .env("SCHEMAGATE_ALLOW", "all")
            .output()
            .expect("unshare (util-linux) starts")
    };
    let first = call();
    let (said, logged) = (
        String::from_utf8_lossy(&first.stderr),
        String::from_utf8_lossy(&first.stdout),
    );
    assert_eq!(first.status.code(), Some(5), "{said}");
    let start = start(&database);
    let name = start["detail"]["restore_point"].as_str().unwrap();
    let line = format!("to go back: recovery_target_name = '{name}', or recovery_target_lsn = '");
    assert!(logged.contains(&line), "{logged}");
    assert!(said.contains(&line), "{said}");
    // The second time nothing was written that one could want to go back behind.
    let second = call();
    assert_eq!(second.status.code(), Some(5));
    let logged = String::from_utf8_lossy(&second.stdout);
    assert!(!logged.contains("to go back"), "{logged}");
}

#[test]
fn pieces_that_stay_are_something_to_go_back_behind() {
    let database = Server::debian().database();
    let folder = Folder::sql(&[(
        "0001_a.sql",
        "-- schemagate: transaction=off\nCREATE TABLE a (id int);\nCREATE INDEX CONCURRENTLY i ON a (idd);",
    )]);
    let outcome = Schemagate::migrate(&database, &folder).run();
    outcome
        .assert_code(5)
        .assert_says("to go back: recovery_target_lsn = '");
    assert!(summary(&outcome)["restore"]["at"].is_string());
}

#[test]
fn a_server_whose_log_is_minimal_cannot_have_one() {
    let server = Server::own_with("wal_level = minimal\nmax_wal_senders = 0\n");
    let database = server.database();
    let folder = destructive(&database);
    migrate(&database, &folder)
        .env("SCHEMAGATE_RESTORE_POINT", "true")
        .run()
        .assert_code(9)
        .assert_says("wal_level = replica");
    migrate(&database, &folder)
        .run()
        .assert_code(0)
        .assert_silent_about("restore point");
    assert_eq!(start(&database)["detail"]["restore_point"], Value::Null);
}
