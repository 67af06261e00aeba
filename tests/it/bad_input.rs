//! Bad input, each kind with its exit code.

use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::process::memory_kib;
use crate::harness::{Folder, Mount, Schemagate, Server, Session, Stop, eventually};

/// A folder is refused with 2 and a word that names the trouble, before anything is written.
#[track_caller]
fn refused(folder: impl AsRef<std::path::Path>, word: &str) {
    let database = Server::debian().database();
    Schemagate::migrate(&database, folder)
        .run()
        .assert_code(2)
        .assert_says(word);
    assert_eq!(
        database
            .value("SELECT count(*) FROM pg_namespace WHERE nspname IN ('schemagate', 'drizzle')"),
        "0"
    );
}

const WHEN: i64 = 1_700_000_000_000;

#[test]
fn a_missing_folder() {
    refused("/nowhere/at/all", "/nowhere/at/all");
}

#[test]
fn a_file_instead_of_a_folder() {
    let folder = Folder::sql(&[("0001_a.sql", "SELECT 1;")]);
    refused(folder.path().join("0001_a.sql"), "0001_a.sql");
}

#[test]
fn an_empty_folder() {
    let folder = Folder::empty();
    refused(&folder, "SCHEMAGATE_ALLOW_EMPTY");
    let database = Server::debian().database();
    Schemagate::migrate(&database, &folder)
        .env("SCHEMAGATE_ALLOW_EMPTY", "true")
        .run()
        .assert_code(0);
}

#[test]
fn a_journal_that_names_a_missing_file() {
    let folder = Folder::classic(&[
        ("0000_a", WHEN, "CREATE TABLE a (id int);"),
        ("0001_gone", WHEN + 1, "SELECT 1;"),
    ]);
    folder.remove("0001_gone.sql");
    refused(&folder, "0001_gone.sql");
}

#[test]
fn a_journal_that_is_no_json() {
    let folder = Folder::classic(&[("0000_a", WHEN, "SELECT 1;")]);
    folder.write("meta/_journal.json", b"{\"entries\": [{\"idx\": 0,");
    refused(&folder, "_journal.json");
}

#[test]
fn a_journal_of_another_dialect() {
    let folder = Folder::classic(&[("0000_a", WHEN, "SELECT 1;")]);
    let journal = json!({"version": "7", "dialect": "mysql", "entries": folder.journal()});
    folder.write("meta/_journal.json", journal.to_string().as_bytes());
    refused(&folder, "mysql");
}

#[test]
fn two_files_of_one_version() {
    let folder = Folder::sql(&[("0001_a.sql", "SELECT 1;"), ("1_b.sql", "SELECT 1;")]);
    refused(&folder, "1_b.sql");
}

#[test]
fn two_entries_of_one_tag() {
    let folder = Folder::classic(&[
        ("0000_a", WHEN, "SELECT 1;"),
        ("0000_a", WHEN + 1, "SELECT 1;"),
    ]);
    refused(&folder, "0000_a");
}

#[test]
fn two_entries_of_one_time() {
    // classic Drizzle knows a migration by its time alone: the second would be taken for applied.
    let folder = Folder::classic(&[("0000_a", WHEN, "SELECT 1;"), ("0001_b", WHEN, "SELECT 1;")]);
    refused(&folder, "0001_b");
}

#[test]
fn an_unknown_directive() {
    let folder = Folder::sql(&[("0001_a.sql", "-- schemagate: transactoin=off\nSELECT 1;")]);
    refused(&folder, "transactoin");
}

#[test]
fn plain_sql_that_is_no_utf8() {
    let folder = Folder::empty();
    folder.write("0001_latin.sql", b"SELECT 'caf\xe9';");
    refused(&folder, "0001_latin.sql");
}

#[test]
fn a_nul_byte() {
    let folder = Folder::empty();
    folder.write("0001_nul.sql", b"SELECT 1;\0SELECT 2;");
    refused(&folder, "0001_nul.sql");
}

/// Malformed before any server sees it: nothing runs, not even the migrations before it.
#[test]
fn an_unterminated_quote() {
    for text in [
        "CREATE TABLE a (id int);\nSELECT 'open;\n",
        "SELECT 1;\nSELECT $tag$ open",
        "SELECT 1;\nSELECT 1 /* open",
        "SELECT 1;\nSELECT \"open",
    ] {
        refused(
            Folder::sql(&[("0001_good.sql", "SELECT 1;"), ("0002_open.sql", text)]),
            "0002_open.sql:2",
        );
    }
}

#[test]
fn numeric_order_wins_over_byte_order() {
    let database = Server::debian().database();
    let folder = Folder::sql(&[
        ("10_second.sql", "INSERT INTO t VALUES (10);"),
        ("9_first.sql", "CREATE TABLE t (id int);"),
    ]);
    Schemagate::migrate(&database, &folder)
        .run()
        .assert_code(0)
        .assert_says("10_second.sql");
    assert_eq!(
        database.query("SELECT version FROM schemagate.history ORDER BY serial"),
        [["9"], ["10"]]
    );
}

#[test]
fn a_byte_order_mark_is_hashed_but_not_sent() {
    let text = "\u{feff}CREATE TABLE bom (id int);";
    let folder = Folder::classic(&[("0000_bom", WHEN, text)]);
    let database = Server::debian().database();
    Schemagate::migrate(&database, &folder).run().assert_code(0);
    assert!(database.has_table("bom"));
    assert_eq!(
        database.value(
            "SELECT hash = encode(sha256('\\xefbbbf'::bytea || convert_to('CREATE TABLE bom (id int);', 'UTF8')), 'hex')
             FROM drizzle.__drizzle_migrations"
        ),
        "t"
    );
}

#[test]
fn carriage_returns() {
    let database = Server::debian().database();
    let folder = Folder::sql(&[(
        "0001_crlf.sql",
        "-- schemagate: lock-timeout=1s\r\nCREATE TABLE crlf (id int);\r\n\r\nINSERT INTO crlf\r\nVALUES (1);\r\n",
    )]);
    Schemagate::migrate(&database, &folder).run().assert_code(0);
    assert_eq!(database.value("SELECT count(*) FROM crlf"), "1");
    folder.write("0002_bad.sql", b"SELECT 1;\r\nSELECT x;\r\n");
    Schemagate::migrate(&database, &folder)
        .run()
        .assert_code(5)
        .assert_says("0002_bad.sql:2:8");
}

#[test]
fn an_empty_file_is_applied() {
    let database = Server::debian().database();
    let folder = Folder::sql(&[
        ("0001_empty.sql", ""),
        ("0002_comment.sql", "-- nothing to do\n"),
    ]);
    Schemagate::migrate(&database, &folder).run().assert_code(0);
    assert_eq!(
        database.value("SELECT count(*) FROM schemagate.history"),
        "2"
    );
}

/// About 200 MB of statements of about a kilobyte.
fn huge_script() -> String {
    let filler = "x".repeat(980);
    let mut text = String::with_capacity(210_000_000);
    text.push_str("CREATE TABLE huge (id int, filler text);\n");
    for id in 0..200_000 {
        writeln!(text, "INSERT INTO huge VALUES ({id}, '{filler}');").expect("a string grows");
    }
    text
}

#[test]
fn a_file_of_200_megabytes() {
    let database = Server::debian().database();
    let text = huge_script();
    let size_kib = text.len() as u64 / 1024;
    assert!(size_kib > 195_000, "{size_kib} KiB");
    let folder = Folder::sql(&[("0001_huge.sql", &text)]);
    drop(text);

    let mut running = Schemagate::migrate(&database, &folder)
        .timeout(Duration::from_mins(10))
        .spawn();
    let backend = database.schemagate_runs("INSERT INTO huge");
    let mut server_kib = 0;
    let began = Instant::now();
    while running.is_running() && began.elapsed() < Duration::from_mins(10) {
        server_kib = server_kib.max(memory_kib(backend, "RssAnon").unwrap_or(0));
        std::thread::sleep(Duration::from_millis(1));
    }
    let outcome = running.wait();
    outcome.assert_code(0);
    folder.remove("0001_huge.sql");
    assert_eq!(database.value("SELECT count(*) FROM huge"), "200000");
    assert!(
        outcome.peak_kib <= size_kib + 50 * 1024,
        "our peak was {} KiB for a file of {size_kib} KiB",
        outcome.peak_kib
    );
    assert!(
        (1..64 * 1024).contains(&server_kib),
        "the server's peak was {server_kib} KiB"
    );
}

#[test]
fn a_huge_file_that_fails_at_its_end_leaves_nothing() {
    let database = Server::debian().database();
    let mut text = String::from("CREATE TABLE big (id int);\n");
    for id in 0..60_000 {
        writeln!(
            text,
            "INSERT INTO big VALUES ({id}); -- some more bytes to cross the chunks"
        )
        .expect("a string grows");
    }
    text.push_str("INSERT INTO big VALUES ('no number');\n");
    let folder = Folder::sql(&[("0001_big.sql", &text)]);
    Schemagate::migrate(&database, &folder)
        .run()
        .assert_code(5)
        .assert_says("0001_big.sql:60002");
    assert!(!database.has_table("big"));
    assert!(database.has_no_advisory_lock());
}

#[test]
fn a_server_that_is_still_starting() {
    // Hot standby off: the server answers 57P03 for as long as it is a standby.
    let primary = Server::own();
    let standby = Server::standby_with(&primary, "hot_standby = off");
    let folder = Folder::sql(&[("0001_a.sql", "CREATE TABLE a (id int);")]);
    let call = Schemagate::new(&["migrate"])
        .url(&standby.url("postgres"))
        .folder(&folder);
    call.clone()
        .env("SCHEMAGATE_WAIT_TIMEOUT", "1s")
        .run()
        .assert_code(3)
        .assert_says("57P03");
    let running = call.spawn();
    eventually!(running.stderr().contains("57P03"), "it says why it waits");
    standby.promote();
    running.wait().assert_code(0);
}

#[test]
fn a_server_that_starts_late() {
    let server = Server::own();
    let database = server.database();
    server.stop(Stop::Fast);
    let folder = Folder::sql(&[("0001_a.sql", "CREATE TABLE a (id int);")]);
    let running = Schemagate::migrate(&database, &folder).spawn();
    eventually!(!running.stderr().is_empty(), "it says that it waits");
    server.start();
    running.wait().assert_code(0);
    assert!(database.has_table("a"));
}

#[test]
fn too_many_clients() {
    let server = Server::own_with(
        "max_connections = 5\nsuperuser_reserved_connections = 0\nmax_wal_senders = 0",
    );
    let database = server.database();
    let mut sessions = Vec::new();
    eventually!(
        {
            let attempt = Session::try_connect(&database.url());
            attempt.map(|session| sessions.push(session)).is_err()
        },
        "the server is full"
    );
    let folder = Folder::sql(&[("0001_a.sql", "CREATE TABLE a (id int);")]);
    let call = Schemagate::migrate(&database, &folder);
    call.clone()
        .env("SCHEMAGATE_WAIT_TIMEOUT", "1s")
        .run()
        .assert_code(3)
        .assert_says("53300");
    let running = call.spawn();
    eventually!(running.stderr().contains("53300"), "it says why it waits");
    sessions.truncate(1);
    running.wait().assert_code(0);
}

#[test]
fn a_standby() {
    let primary = Server::own();
    let standby = Server::standby_of(&primary);
    let folder = Folder::sql(&[("0001_a.sql", "CREATE TABLE a (id int);")]);
    let on = |server: &Server| {
        Schemagate::new(&["migrate"])
            .url(&server.url("postgres"))
            .folder(&folder)
    };
    on(&standby)
        .env("SCHEMAGATE_WAIT_TIMEOUT", "1s")
        .run()
        .assert_code(3)
        .assert_says("standby");

    // Nothing pending: a standby answers that as well as a primary.
    on(&primary).run().assert_code(0);
    eventually!(
        standby
            .session("postgres")
            .value("SELECT to_regclass('a') IS NOT NULL")
            == "t",
        "the standby follows"
    );
    on(&standby).run().assert_code(0);

    folder.write("0002_b.sql", b"CREATE TABLE b (id int);");
    let running = on(&standby).spawn();
    eventually!(running.stderr().contains("standby"), "it says why it waits");
    standby.promote();
    running.wait().assert_code(0);
}

#[test]
fn install_onto_a_full_or_read_only_file_system() {
    for (options, word) in [
        ("size=64k", "No space left"),
        ("ro", "Read-only file system"),
    ] {
        let mount = Mount::tmpfs(options);
        Schemagate::new(&["install"])
            .arg(&mount.path().join("schemagate").to_string_lossy())
            .run()
            .assert_code(2)
            .assert_says(word);
        let left = fs::read_dir(mount.path()).expect("the mount").count();
        assert_eq!(left, 0, "nothing half written stays");
    }
}

#[test]
fn migrations_on_a_read_only_file_system() {
    let mount = Mount::tmpfs("size=64k");
    fs::write(mount.path().join("0001_a.sql"), "CREATE TABLE a (id int);").expect("a file");
    mount.remount("ro");
    let database = Server::debian().database();
    Schemagate::migrate(&database, mount.path())
        .run()
        .assert_code(0);
    assert!(database.has_table("a"));
}
