//! The application's traffic beside a pending `ALTER TABLE`: a long reader has the table, the statement waits for the reader,
//! and everybody who comes later waits for the statement.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::harness::eventually::eventually;
use crate::harness::{Database, Drizzle, Folder, Server, Session, scratch};
use crate::slow::migrate;

const LOCK_TIMEOUT: Duration = Duration::from_millis(500);
/// How long the reader stays after the statement has begun to wait.
const READER: Duration = Duration::from_secs(8);
/// Of the pgbench run; the reader must be gone before its end.
const TRAFFIC_SECONDS: &str = "16";
const ALTER: &str = "ALTER TABLE busy ADD COLUMN more int;";

/// The application: four clients that change a row each, again and again.
struct Traffic {
    child: Child,
    dir: std::path::PathBuf,
}

/// What the clients have seen.
struct Seen {
    transactions: usize,
    longest: Duration,
}

impl Traffic {
    fn start(server: &Server, database: &Database<'_>) -> Self {
        let dir = scratch::new_dir("traffic");
        let script =
            "\\set id random(1, 1000)\nUPDATE busy SET n = n + 1 WHERE id = :id;\n\\sleep 20 ms\n";
        fs::write(dir.join("script"), script).unwrap();
        let program = server.bin().join("pgbench");
        let child = Command::new(&program)
            .args([
                "--no-vacuum",
                "--client=4",
                "--time",
                TRAFFIC_SECONDS,
                "--log",
            ])
            .arg(format!("--log-prefix={}", dir.join("log").display()))
            .arg(format!("--file={}", dir.join("script").display()))
            .arg(database.url())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}: run `make setup`", program.display()));
        eventually!(
            database.value("SELECT coalesce(sum(n), 0) > 20 FROM busy") == "t",
            "there is traffic"
        );
        Self { child, dir }
    }

    fn end(mut self) -> Seen {
        assert!(self.child.wait().unwrap().success(), "pgbench");
        let mut took = Vec::new();
        for file in fs::read_dir(&self.dir).unwrap() {
            let path = file.unwrap().path();
            if path
                .file_name()
                .unwrap()
                .to_string_lossy()
                .starts_with("log.")
            {
                took.extend(latencies(&path));
            }
        }
        Seen {
            transactions: took.len(),
            longest: took.into_iter().max().expect("transactions"),
        }
    }
}

/// The third column of pgbench's log: microseconds of a transaction.
fn latencies(log: &Path) -> Vec<Duration> {
    let text = fs::read_to_string(log).unwrap();
    let micros = text
        .lines()
        .filter_map(|line| line.split(' ').nth(2)?.parse().ok());
    micros.map(Duration::from_micros).collect()
}

fn busy(server: &Server) -> (Database<'_>, Session, String) {
    let database = server.database();
    database.query(
        "CREATE TABLE busy (id int PRIMARY KEY, n int NOT NULL DEFAULT 0);
         INSERT INTO busy SELECT generate_series(1, 1000)",
    );
    let reader = database.session();
    reader.query("SET application_name = 'monthly report'");
    let pid = reader.value("SELECT pg_backend_pid()");
    (database, reader, pid)
}

fn waits_for_its_lock(database: &Database<'_>) -> bool {
    let sql =
        "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE relation = 'busy'::regclass AND NOT granted
               AND mode = 'AccessExclusiveLock')";
    database.value(sql) == "t"
}

fn has_column(database: &Database<'_>) -> bool {
    let sql = "SELECT EXISTS (SELECT 1 FROM pg_attribute WHERE attrelid = 'busy'::regclass AND attname = 'more')";
    database.value(sql) == "t"
}

/// The traffic beside schemagate; what its log says of the reader.
fn beside_schemagate(server: &Server) -> Seen {
    let (database, reader, pid) = busy(server);
    let traffic = Traffic::start(server, &database);
    reader.query("BEGIN; SELECT count(*) FROM busy WHERE n > 4111");
    let folder = Folder::sql(&[("0001_more.sql", ALTER)]);
    let running = migrate(&database.url(), &folder)
        .env("SCHEMAGATE_LOCK_TIMEOUT", "500ms")
        .spawn();
    eventually!(waits_for_its_lock(&database), "the ALTER waits");
    thread::sleep(READER);
    assert!(!has_column(&database), "the reader is still there");
    reader.query("COMMIT");
    let outcome = running.wait();
    let seen = traffic.end();
    outcome.assert_code(0);
    assert!(has_column(&database));
    let logs = outcome.logs();
    let named = logs.iter().filter(|line| {
        let blocked_by = line["blocked_by"].as_str().unwrap_or_default();
        blocked_by.contains(&format!(
            "pid {pid} (monthly report), its transaction open for "
        )) && blocked_by.contains("SELECT count(*) FROM busy WHERE n > …")
    });
    assert!(named.count() >= 1, "the log names the reader\n{outcome}");
    seen
}

/// The same traffic beside drizzle-orm, which waits for the lock as long as it takes.
fn beside_a_peer(server: &Server) -> Seen {
    let (database, reader, _) = busy(server);
    let traffic = Traffic::start(server, &database);
    reader.query("BEGIN; SELECT count(*) FROM busy");
    let folder = Folder::classic(&[("0001_more", 1_700_000_000_000, ALTER)]);
    let url = database.url();
    thread::scope(|scope| {
        // Ends here also when the test fails: the peer would wait for it for ever, and the scope for the peer.
        let reader = reader;
        let peer = scope.spawn(|| Drizzle::Classic.migrate(folder.as_ref(), &url));
        eventually!(waits_for_its_lock(&database), "the ALTER waits");
        thread::sleep(READER);
        reader.query("COMMIT");
        peer.join().expect("drizzle-orm ends well");
    });
    assert!(has_column(&database));
    traffic.end()
}

#[test]
fn traffic_is_not_blocked_for_longer_than_the_lock_timeout() {
    let server = Server::own();
    let ours = beside_schemagate(&server);
    let theirs = beside_a_peer(&server);
    for (name, seen) in [("schemagate", &ours), ("drizzle-orm", &theirs)] {
        println!(
            "a reader stays {READER:?} while an ALTER TABLE waits: beside {name} the longest of {} transactions took {} ms",
            seen.transactions,
            seen.longest.as_millis()
        );
    }
    assert!(
        theirs.longest >= READER,
        "the traffic stops: {:?}",
        theirs.longest
    );
    assert!(ours.longest < LOCK_TIMEOUT * 6, "{:?}", ours.longest);
    assert!(ours.transactions > theirs.transactions);
}
