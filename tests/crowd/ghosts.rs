//! Pods that died or were paused while they had the lock: it is free within thirty seconds with the default settings, what they
//! began is taken up, and nothing happens twice when one wakes up again.
//!
//! Each test is about one way to become a ghost, in several situations at once: nearly all of their time is waiting.

use std::thread;
use std::time::{Duration, Instant};

use crate::harness::process::{is_alive, signal};
use crate::harness::{Database, Folder, PgBouncer, Running, Schemagate, Server, eventually};
use crate::tell;

/// How long a ghost may keep the lock (design, section 5).
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// For the poll and for other work on the machine.
const SLACK: Duration = Duration::from_secs(5);

/// What a test strikes a pod with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strike {
    Kill,
    Stop,
}

/// How the pods reach the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Direct,
    Pooled,
}

/// A table whose index takes at least as many seconds as asked.
pub(crate) fn slow_index(seconds: u32) -> Folder {
    let text = format!(
        "CREATE TABLE slow (id int);
         INSERT INTO slow SELECT generate_series(1, 50);
         CREATE FUNCTION slowly(x int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS
         $$ BEGIN PERFORM pg_sleep({seconds} / 50.0); RETURN x; END $$;"
    );
    Folder::sql(&[
        ("0001_slow.sql", &text),
        (
            "0002_index.sql",
            "CREATE INDEX CONCURRENTLY slow_idx ON slow (slowly(id));",
        ),
        ("0003_next.sql", "CREATE TABLE next (id int);"),
    ])
}

/// A migration of so many seconds between two quick ones; while there is a table `brief` it takes none.
pub(crate) fn slow_transaction(seconds: u32) -> Folder {
    let text = format!(
        "CREATE TABLE half (id int);
         DO $$ BEGIN IF to_regclass('public.brief') IS NULL THEN PERFORM pg_sleep({seconds}); END IF; END $$;
         CREATE TABLE whole (id int);"
    );
    Folder::sql(&[
        ("0001_first.sql", "CREATE TABLE first (id int);"),
        ("0002_slow.sql", &text),
        ("0003_next.sql", "CREATE TABLE next (id int);"),
    ])
}

/// A file of several messages, with a pause in the first: one that stops then leaves the server idle in the middle of its
/// transaction.
fn several_messages() -> Folder {
    let filler = format!("INSERT INTO half VALUES (1); -- {}\n", "x".repeat(200));
    let text = format!(
        "CREATE TABLE half (id int);
         DO $$ BEGIN IF to_regclass('public.brief') IS NULL THEN PERFORM pg_sleep(2); END IF; END $$;
         {}CREATE TABLE whole (id int);",
        filler.repeat(12_000)
    );
    Folder::sql(&[
        ("0001_first.sql", "CREATE TABLE first (id int);"),
        ("0002_slow.sql", &text),
        ("0003_next.sql", "CREATE TABLE next (id int);"),
    ])
}

/// Data for one statement that takes some seconds to send: a megabyte a row, and a trigger that takes its time.
pub(crate) fn copied() -> Folder {
    let row = "x".repeat(1 << 20) + "\n";
    let text = format!(
        "CREATE TABLE half (t text);
         CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF to_regclass('public.brief') IS NULL THEN PERFORM pg_sleep(0.1); END IF; RETURN NULL; END $$;
         CREATE TRIGGER slowly BEFORE INSERT ON half FOR EACH ROW EXECUTE FUNCTION slowly();
         COPY half FROM stdin;\n{}\\.\nCREATE TABLE whole (id int);",
        row.repeat(60)
    );
    Folder::sql(&[
        ("0001_first.sql", "CREATE TABLE first (id int);"),
        ("0002_slow.sql", &text),
        ("0003_next.sql", "CREATE TABLE next (id int);"),
    ])
}

/// Backends of this database that hold an advisory lock.
pub(crate) fn holders(database: &Database<'_>) -> Vec<String> {
    let rows = database.query(
        "SELECT DISTINCT pid FROM pg_locks WHERE locktype = 'advisory' AND granted
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
    );
    rows.into_iter().map(|mut row| row.remove(0)).collect()
}

/// Waits until none of these backends holds the lock; how long that took.
#[track_caller]
pub(crate) fn assert_freed(database: &Database<'_>, what: &str, ghosts: &[String]) -> Duration {
    let struck = Instant::now();
    let session = database.session();
    let held = format!(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid IN ({})",
        ghosts.join(", ")
    );
    while session.value(&held) != "0" {
        assert!(
            struck.elapsed() < LIMIT + SLACK,
            "{what}: the ghost keeps the lock"
        );
        thread::sleep(Duration::from_millis(50));
    }
    struck.elapsed()
}

/// Every file once, whoever ran it.
#[track_caller]
pub(crate) fn assert_each_once(database: &Database<'_>, what: &str) {
    assert_eq!(
        database.value("SELECT string_agg(version, ' ' ORDER BY serial) FROM schemagate.history"),
        "0001 0002 0003",
        "{what}"
    );
    // Each row has one `applied` in the journal: nothing was committed twice, by whomever.
    assert_eq!(
        database.value(
            "SELECT string_agg(version, ' ' ORDER BY version) FROM schemagate.journal WHERE event = 'applied'"
        ),
        "0001 0002 0003",
        "{what}"
    );
    assert!(database.has_table("next"), "{what}");
    assert_eq!(
        database.value("SELECT count(*) FROM pg_index WHERE NOT indisvalid"),
        "0",
        "{what}"
    );
    eventually!(database.has_no_advisory_lock(), "{what}: a lock stays");
}

struct Scene {
    what: &'static str,
    line: Line,
    strike: Strike,
    folder: Folder,
    /// What the worker runs when it is struck.
    runs: &'static str,
    /// It is struck only once that has ended and the server waits for it.
    idles: bool,
}

impl Scene {
    fn new(what: &'static str, line: Line, strike: Strike, folder: Folder) -> Self {
        let runs = if what.contains("index") {
            "CREATE INDEX CONCURRENTLY"
        } else if what.contains("COPY") {
            "COPY half"
        } else {
            "pg_sleep"
        };
        Self {
            what,
            line,
            strike,
            folder,
            runs,
            idles: false,
        }
    }

    /// The worker stops first, and is struck when its session idles with the lock.
    fn idling(mut self) -> Self {
        self.idles = true;
        self
    }

    fn play(&self, bouncer: &PgBouncer) {
        let database = Server::debian().database();
        let what = format!("{}, {:?}, {:?}", self.what, self.line, self.strike);
        let call = Schemagate::migrate(&database, &self.folder).timeout(Duration::from_mins(3));
        let call = match self.line {
            Line::Direct => call,
            Line::Pooled => call.url(&bouncer.url(&database)),
        };
        let ghost = call.spawn();
        let backend = database.schemagate_runs(self.runs);
        if self.idles || self.strike == Strike::Stop {
            ghost.signal("STOP");
        }
        if self.idles {
            let idle = format!(
                "SELECT count(*) FROM pg_stat_activity WHERE pid = {backend} AND state LIKE 'idle%'"
            );
            eventually!(database.value(&idle) == "1", "{what}: it idles");
        }
        let ghosts = holders(&database);
        assert!(!ghosts.is_empty(), "{what}: nobody has the lock");
        if self.strike == Strike::Kill {
            ghost.signal("KILL");
        }
        let next = call.spawn();
        // What the successor has to run again must not take as long.
        database.query("CREATE TABLE brief ()");
        let freed = assert_freed(&database, &what, &ghosts);
        next.wait().assert_code(0);
        assert_each_once(&database, &what);
        tell!("ghost: {what}: the lock was free after {freed:.1?}");
        assert_wakes_well(ghost, self.strike, &what);
        assert_each_once(&database, &what);
    }
}

/// It finds that the work is done, and says so with 0; or that its connection is gone, with 10.
#[track_caller]
fn assert_wakes_well(ghost: Running, strike: Strike, what: &str) {
    if strike == Strike::Stop {
        ghost.signal("CONT");
        let late = ghost.wait();
        assert!([0, 10].contains(&late.code()), "{what}: {late}");
    } else {
        ghost.wait().assert_code(137);
    }
}

fn play(scenes: &[Scene]) {
    let bouncer = PgBouncer::start(Server::debian(), "transaction", 10);
    thread::scope(|scope| {
        for scene in scenes {
            scope.spawn(|| scene.play(&bouncer));
        }
    });
}

#[test]
fn a_killed_worker() {
    use Line::{Direct, Pooled};
    use Strike::Kill;
    play(&[
        Scene::new("between migrations", Direct, Kill, slow_transaction(1)).idling(),
        Scene::new("in a transaction", Direct, Kill, slow_transaction(60)),
        Scene::new("in a transaction", Pooled, Kill, slow_transaction(60)),
        Scene::new("between two messages", Direct, Kill, several_messages()).idling(),
        Scene::new("between two messages", Pooled, Kill, several_messages()).idling(),
        Scene::new("in an index build", Direct, Kill, slow_index(10)),
        Scene::new("in an index build", Pooled, Kill, slow_index(10)),
    ]);
}

#[test]
fn a_paused_worker() {
    use Line::{Direct, Pooled};
    use Strike::Stop;
    play(&[
        Scene::new("between migrations", Direct, Stop, slow_transaction(1)).idling(),
        // The message ends with its commit, whoever listens; what follows is the next pod's.
        Scene::new("in a transaction", Direct, Stop, slow_transaction(3)),
        Scene::new("in a transaction", Pooled, Stop, slow_transaction(3)),
        Scene::new("between two messages", Direct, Stop, several_messages()).idling(),
        Scene::new("between two messages", Pooled, Stop, several_messages()).idling(),
        // The server waits for data in the middle of a statement, where no timeout of an idle session counts.
        Scene::new("in a COPY", Direct, Stop, copied()),
        Scene::new("in a COPY", Pooled, Stop, copied()),
        Scene::new("in an index build", Direct, Stop, slow_index(2)),
        // The build outlives the lock, which a second connection holds: the next pod must not take it for a leftover.
        Scene::new("in an index build", Pooled, Stop, slow_index(30)),
    ]);
}

// === exec ===

/// Notes its pid and goes on until it is told to end.
const COMMAND: &str = "echo $$ >\"$DIR/new\" && mv \"$DIR/new\" \"$DIR/pid\"\n\
    until [ -e \"$DIR/go\" ]; do sleep 0.1; done; exit 0";

/// `exec` of a command that goes on until it is told to end.
pub(crate) const EXEC: [&str; 5] = ["exec", "--", "sh", "-c", COMMAND];

/// The call.
pub(crate) fn exec(url: &str, folder: &Folder) -> Schemagate {
    Schemagate::new(&EXEC)
        .url(url)
        .env("PATH", "/usr/bin:/bin")
        .env("DIR", folder.path())
        .timeout(Duration::from_mins(3))
}

/// The pid that the command of the next to have the lock has noted.
#[track_caller]
pub(crate) fn command_of(folder: &Folder) -> u32 {
    let file = folder.path().join("pid");
    eventually!(file.exists(), "the command begins");
    let text = std::fs::read_to_string(&file).expect("a pid");
    folder.remove("pid");
    text.trim().parse().expect("a pid")
}

/// Killed, and paused together with its command, as a frozen container is.
#[test]
fn a_ghost_of_exec() {
    let bouncer = PgBouncer::start(Server::debian(), "transaction", 10);
    thread::scope(|scope| {
        for line in [Line::Direct, Line::Pooled] {
            for strike in [Strike::Kill, Strike::Stop] {
                let bouncer = &bouncer;
                scope.spawn(move || ghost_of_exec(bouncer, line, strike));
            }
        }
    });
}

fn ghost_of_exec(bouncer: &PgBouncer, line: Line, strike: Strike) {
    let what = format!("exec, {line:?}, {strike:?}");
    let database = Server::debian().database();
    let url = match line {
        Line::Direct => database.url(),
        Line::Pooled => bouncer.url(&database),
    };
    let folder = Folder::empty();
    let call = exec(&url, &folder);
    let ghost = call.spawn();
    let command = command_of(&folder);
    let ghosts = holders(&database);
    match strike {
        Strike::Kill => ghost.signal("KILL"),
        Strike::Stop => {
            ghost.signal("STOP");
            signal(command, "STOP");
        }
    }
    let next = call.spawn();
    let freed = assert_freed(&database, &what, &ghosts);
    tell!("ghost: {what}: the lock was free after {freed:.1?}");
    assert_ne!(command_of(&folder), command, "{what}");
    if strike == Strike::Stop {
        ghost.signal("CONT");
        ghost
            .wait()
            .assert_code(10)
            .assert_says("the lock was lost");
    }
    eventually!(!is_alive(command), "{what}: its command is ended");
    folder.write("go", b"");
    next.wait().assert_code(0);
    eventually!(database.has_no_advisory_lock(), "{what}: a lock stays");
}
