//! `exec`: another tool under the lock.

mod ends;
mod handed;
mod lost;
mod marker;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::harness::postgres::debian_bin;
use crate::harness::{Database, Folder, PgBouncer, Schemagate, Server, eventually};
use crate::lock::{traced_sql, wait_for_all};

/// What a script finds: the shell's own tools and psql.
fn path() -> String {
    format!("{}:/usr/bin:/bin", debian_bin().display())
}

/// `schemagate exec -- sh -c SCRIPT`, with a folder of the test's own in `$DIR`.
fn exec(url: &str, folder: &Folder, script: &str) -> Schemagate {
    Schemagate::new(&["exec", "--", "sh", "-c", script])
        .url(url)
        .env("PATH", path())
        .env("DIR", folder.path())
}

/// A tool that takes a moment and notes its start and its end.
const TRACED: &str = r#"
note() { psql -qX -v ON_ERROR_STOP=1 "$DATABASE_URL" -c "INSERT INTO ran (who, what) VALUES ($$, '$1')"; }
note start && sleep 0.1 && note end
"#;

fn traced_table(database: &Database<'_>) {
    database.query("CREATE TABLE ran (id serial, who int, what text)");
}

/// So many runs of [`TRACED`], one after the other.
#[track_caller]
fn assert_never_two(database: &Database<'_>, runs: usize) {
    let rows = database.query("SELECT who, what FROM ran ORDER BY id");
    assert_eq!(rows.len(), 2 * runs, "{rows:?}");
    for pair in rows.chunks(2) {
        assert_eq!((&*pair[0][1], &*pair[1][1]), ("start", "end"), "{rows:?}");
        assert_eq!(pair[0][0], pair[1][0], "{rows:?}");
    }
}

/// Says that it has begun, and waits to be told to go on.
const WAITING: &str = r#"
echo $$ >"$DIR/pid.new" && mv "$DIR/pid.new" "$DIR/pid"
until [ -e "$DIR/go" ]; do sleep 0.05; done
exit 0 # whatever became of the last sleep
"#;

/// The process of [`WAITING`].
#[track_caller]
fn pid_of(folder: &Folder) -> u32 {
    let file = folder.path().join("pid");
    eventually!(file.exists(), "the command begins");
    let pid = read(&file).trim().parse();
    fs::remove_file(&file).expect("the file with the pid");
    pid.expect("a pid")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn let_go(folder: &Folder) {
    folder.write("go", b"");
}

/// The backend that holds an advisory lock in this database.
#[track_caller]
fn lock_backend(database: &Database<'_>) -> String {
    database.value(
        "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
    )
}

/// Two databases with the table of [`TRACED`]: one to be reached directly, one behind a transaction pooler.
fn direct_and_pooled(mut test: impl FnMut(&Database<'_>, &str)) {
    let bouncer = PgBouncer::start(Server::debian(), "transaction", 5);
    for pooled in [false, true] {
        let database = Server::debian().database();
        traced_table(&database);
        let url = if pooled {
            bouncer.url(&database)
        } else {
            database.url()
        };
        test(&database, &url);
    }
}

#[test]
fn ten_at_once_and_never_two_at_a_time() {
    direct_and_pooled(|database, url| {
        let call = exec(url, &Folder::empty(), TRACED);
        for outcome in wait_for_all((0..10).map(|_| call.spawn()).collect()) {
            outcome.assert_code(0);
        }
        assert_never_two(database, 10);
        assert!(
            !database.has_table("schemagate.journal"),
            "without a marker nothing is written"
        );
        eventually!(
            database.has_no_advisory_lock(),
            "nothing stays on a pooled server"
        );
    });
}

#[test]
fn on_other_versions() {
    for major in ["14", "18"] {
        let database = Server::embedded(major).database();
        traced_table(&database);
        let call = exec(&database.url(), &Folder::empty(), TRACED).env("SCHEMAGATE_EXEC_ONCE", "1");
        for outcome in wait_for_all((0..4).map(|_| call.spawn()).collect()) {
            outcome.assert_code(0);
        }
        assert_never_two(&database, 1);
    }
}

#[test]
fn a_waiter_names_the_command_and_holds_no_connection() {
    let database = Server::debian().database();
    let folder = Folder::empty();
    let call = exec(&database.url(), &folder, WAITING);
    let holder = call.spawn();
    pid_of(&folder);
    let waiter = call.spawn();
    eventually!(
        waiter.stderr().contains("command sh"),
        "it tells what runs under the lock: {}",
        waiter.stderr()
    );
    let session = database.session();
    let connections = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND application_name LIKE 'schemagate/%'",
        database.name
    );
    eventually!(
        session.value(&connections) == "1",
        "only the holder is connected"
    );
    call.clone()
        .env("SCHEMAGATE_LOCK_WAIT_TIMEOUT", "off")
        .run()
        .assert_code(4)
        .assert_says("command sh")
        .assert_says("SCHEMAGATE_LOCK_WAIT_TIMEOUT is off");
    let_go(&folder);
    holder.wait().assert_code(0);
    waiter.wait().assert_code(0);
}

/// A heartbeat is progress, whatever the session is called: the holder is waited for however long it takes.
#[test]
fn a_holder_that_beats_is_waited_for() {
    let database = Server::debian().database();
    let folder = Folder::empty();
    let call = exec(&database.url(), &folder, WAITING).env("SCHEMAGATE_LOCK_WAIT_TIMEOUT", "1s");
    let url = format!("{}?application_name=mine", database.url());
    let holder = call.clone().url(&url).spawn();
    pid_of(&folder);
    let mut waiter = call.spawn();
    let patience_is_over = Instant::now() + Duration::from_secs(4);
    eventually!(
        !waiter.is_running() || Instant::now() > patience_is_over,
        "time goes by"
    );
    assert!(waiter.is_running(), "{}", waiter.stderr());
    let_go(&folder);
    holder.wait().assert_code(0);
    waiter.wait().assert_code(0);
}

/// An idle transaction that holds only the lock has no snapshot.
#[test]
fn a_concurrent_index_build_goes_on_beside_the_lock() {
    let database = Server::debian().database();
    database.query("CREATE TABLE t (id int)");
    let script = r#"psql -qX "$DATABASE_URL" -c "CREATE INDEX CONCURRENTLY i ON t (id)""#;
    exec(&database.url(), &Folder::empty(), script)
        .env("SCHEMAGATE_EXEC_ONCE", "1")
        .env("SCHEMAGATE_DEADLINE", "20s")
        .run()
        .assert_code(0);
}

#[test]
fn sigterm_while_waiting_for_the_lock() {
    let database = Server::debian().database();
    let folder = Folder::empty();
    let call = exec(&database.url(), &folder, WAITING);
    let holder = call.spawn();
    pid_of(&folder);
    let waiter = call.spawn();
    eventually!(waiter.stderr().contains("command sh"), "it waits");
    waiter.signal("TERM");
    waiter.wait().assert_code(143);
    let_go(&folder);
    holder.wait().assert_code(0);
    assert!(!folder.path().join("pid").exists(), "it ran nothing");
}

#[test]
fn a_migrate_with_the_same_key_excludes_it_and_is_excluded() {
    let database = Server::debian().database();
    let folder = Folder::empty();
    let held = exec(&database.url(), &folder, WAITING)
        .env("SCHEMAGATE_LOCK_KEY", "-4713")
        .spawn();
    pid_of(&folder);
    let migrate = Schemagate::migrate(&database, traced_sql()).env("SCHEMAGATE_LOCK_KEY", "-4713");
    migrate
        .clone()
        .env("SCHEMAGATE_LOCK_WAIT_TIMEOUT", "off")
        .run()
        .assert_code(4)
        .assert_says("command sh");
    let waiter = migrate.spawn();
    eventually!(waiter.stderr().contains("command sh"), "migrate waits");
    let_go(&folder);
    held.wait().assert_code(0);
    waiter.wait().assert_code(0);

    let other = database.session();
    other.query("SELECT pg_advisory_lock(-4713)");
    exec(&database.url(), &folder, "exit 0")
        .env("SCHEMAGATE_LOCK_KEY", "-4713")
        .env("SCHEMAGATE_LOCK_WAIT_TIMEOUT", "off")
        .run()
        .assert_code(4);
}

/// The key of the contract, computed here once more by the server.
#[test]
fn the_key_is_the_documented_one() {
    let database = Server::debian().database();
    let folder = Folder::empty();
    for (table, last) in [
        (None, "exec"),
        (Some("ops.alembic_version"), "ops.alembic_version"),
    ] {
        let mut call = exec(&database.url(), &folder, WAITING);
        if let Some(table) = table {
            call = call.env("SCHEMAGATE_HISTORY_TABLE", table);
        }
        let held = call.spawn();
        pid_of(&folder);
        let holds = database.value(&format!(
            "SELECT ((classid::bigint << 32) | objid::bigint) =
                    ('x' || left(encode(sha256('schemagate'::bytea || '\\x00'::bytea || current_database()::bytea
                     || '\\x00'::bytea || '{last}'::bytea), 'hex'), 16))::bit(64)::bigint
             FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        ));
        assert_eq!(holds, "t", "{last}");
        let_go(&folder);
        held.wait().assert_code(0);
        folder.remove("go");
    }
}

#[test]
fn a_tool_that_waits_for_our_own_key_is_told_of() {
    let database = Server::debian().database();
    let script = r#"psql -qX "$DATABASE_URL" -c "SELECT pg_advisory_lock(4714)""#;
    let running = exec(&database.url(), &Folder::empty(), script)
        .env("SCHEMAGATE_LOCK_KEY", "4714")
        .env("PGAPPNAME", "the tool")
        .spawn();
    eventually!(
        running.stderr().contains("another SCHEMAGATE_LOCK_KEY"),
        "the way out is told: {}",
        running.stderr()
    );
    assert!(
        running.stderr().contains("(the tool)"),
        "{}",
        running.stderr()
    );
    running.signal("TERM");
    running.wait().assert_code(143);
}

#[test]
fn a_dry_run_prints_the_command() {
    let database = Server::debian().database();
    let folder = Folder::empty();
    let call =
        exec(&database.url(), &folder, "touch \"$DIR/ran\"").env("SCHEMAGATE_DRY_RUN", "true");
    call.run().assert_code(0).assert_prints("would run sh -c");
    call.env("SCHEMAGATE_EXEC_ONCE", "1")
        .run()
        .assert_code(0)
        .assert_prints("would run sh -c");
    assert!(!folder.path().join("ran").exists());
    assert!(!database.has_table("schemagate.journal"));
}

#[test]
fn a_program_that_is_not_there_is_told_before_anything_is_waited_for() {
    Schemagate::new(&["exec", "--", "alembik", "upgrade", "head"])
        .url("postgres://app@127.0.0.1:1/app")
        .env("PATH", path())
        .run()
        .assert_code(2)
        .assert_says("alembik")
        .assert_within(Duration::from_secs(20));
}
