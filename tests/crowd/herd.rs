//! A thousand pods and a hundred connections.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::harness::{Database, Folder, Schemagate, Server, Session, Sidecar, eventually};
use crate::pod::Pods;
use crate::tell;

const PODS: usize = 1000;
const SIDECARS: usize = 200;
const WAITERS: usize = 200;
pub(crate) const MIGRATIONS: usize = 30;
const CONNECTIONS: usize = 100;

/// Which of the thirty is the slow one.
const SLOW: usize = 15;

/// How long everybody waits for the slow migration once all of them do.
const QUEUED: Duration = Duration::from_secs(16);

/// The longest pause between two looks (design: 100 ms doubling to 5 s).
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The same of who only watches the schema (design: 1 s doubling to 15 s).
const LONGEST_PAUSE_OF_A_WATCHER: Duration = Duration::from_secs(15);

/// For a thousand processes and as many server processes that want two processors at once, beside whatever else runs there.
const SLACK: Duration = Duration::from_secs(25);

/// Thirty migrations that each leave a trace; the slow one goes on when somebody writes into `gate`.
pub(crate) fn thirty(slow: &str) -> Folder {
    let folder = Folder::empty();
    for number in 1..=MIGRATIONS {
        let wait = if number == SLOW { slow } else { "" };
        let text = format!(
            "CREATE TABLE t{number:02} (id int);\n{wait}\nINSERT INTO ran VALUES ({number});\n"
        );
        folder.write(&format!("{number:04}_step.sql"), text.as_bytes());
    }
    folder
}

const UNTIL_THE_GATE_OPENS: &str = "DO $$ BEGIN
    WHILE NOT EXISTS (SELECT FROM gate) LOOP PERFORM pg_sleep(0.05); END LOOP;
END $$;";

/// A server with a hundred connections, of which three are the superuser's: the recorder always gets one.
pub(crate) fn server() -> Server {
    Server::own_with(&format!(
        "max_connections = {CONNECTIONS}\ntrack_commit_timestamp = on"
    ))
}

/// A role of the pods' own, which owns the database.
pub(crate) fn role(database: &Database<'_>) -> String {
    let role = database.role("app", "LOGIN");
    let name = &database.name;
    database.query(&format!(
        "ALTER DATABASE {name} OWNER TO {role};
         CREATE TABLE ran (number int); CREATE TABLE gate (open bool);
         ALTER TABLE ran OWNER TO {role}; ALTER TABLE gate OWNER TO {role}"
    ));
    role
}

/// Every migration once.
#[track_caller]
fn assert_each_once(database: &Database<'_>) {
    let ran = database.query("SELECT number FROM ran ORDER BY number");
    let ran: Vec<usize> = ran.iter().map(|row| row[0].parse().unwrap()).collect();
    assert_eq!(ran, (1..=MIGRATIONS).collect::<Vec<_>>());
    let rows = database.value("SELECT count(*) FROM schemagate.history");
    assert_eq!(rows, MIGRATIONS.to_string());
    assert!(database.has_no_advisory_lock());
}

fn last_commit(database: &Database<'_>) -> SystemTime {
    let seconds: f64 = database
        .value(
            "SELECT extract(epoch FROM max(pg_xact_commit_timestamp(xmin)))::float8 FROM schemagate.history",
        )
        .parse()
        .expect("a time");
    SystemTime::UNIX_EPOCH + Duration::from_secs_f64(seconds)
}

// === The recorder ===

/// What the server said of the pods' connections at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    at: Duration,
    /// Connections of the pods.
    connections: usize,
    /// Seconds since the oldest one began that neither holds the lock nor looks on for the one that does.
    oldest_waiter: f64,
    /// Connections that idle with a snapshot, which would hold back a concurrent build. The view reads the two one after the
    /// other, so a session that wakes up in between looks like one for a moment.
    idle_snapshots: usize,
}

/// Asks while `work` runs.
pub(crate) fn recorded<T>(database: &Database<'_>, work: impl FnOnce() -> T) -> (T, Vec<Sample>) {
    let session = database.session();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let recorder = scope.spawn(|| record(&session, &database.name, &done));
        let ends = Ends(&done);
        let outcome = work();
        drop(ends);
        (outcome, recorder.join().expect("the recorder"))
    })
}

/// Ends the recorder, also when the work panics: the scope waits for it before it lets the panic on.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn record(session: &Session, database: &str, done: &AtomicBool) -> Vec<Sample> {
    let sql = format!(
        "SELECT count(*), COALESCE(max(extract(epoch FROM clock_timestamp() - backend_start))
                FILTER (WHERE NOT EXISTS (SELECT FROM pg_locks l
                        WHERE l.pid = a.pid AND l.locktype = 'advisory' AND l.granted)
                    AND query NOT LIKE '/* schemagate looks on */%'), 0)::float8,
                count(*) FILTER (WHERE state <> 'active' AND backend_xmin IS NOT NULL
                    AND state_change < clock_timestamp() - interval '1 s')
         FROM pg_stat_activity a WHERE datname = '{database}' AND usename LIKE '%\\_app'"
    );
    let began = Instant::now();
    let mut samples = Vec::new();
    while !done.load(Ordering::Relaxed) {
        let row = session.query(&sql).remove(0);
        samples.push(Sample {
            at: began.elapsed(),
            connections: row[0].parse().expect("a number"),
            oldest_waiter: row[1].parse().expect("seconds"),
            idle_snapshots: row[2].parse().expect("a number"),
        });
        thread::sleep(Duration::from_millis(50));
    }
    samples
}

/// The most connections in each second.
pub(crate) fn over_time(samples: &[Sample]) -> String {
    let mut seconds: BTreeMap<u64, usize> = BTreeMap::new();
    for sample in samples {
        let most = seconds.entry(sample.at.as_secs()).or_default();
        *most = sample.connections.max(*most);
    }
    let numbers: Vec<_> = seconds.values().map(usize::to_string).collect();
    numbers.join(" ")
}

fn between(samples: &[Sample], from: Duration, to: Duration) -> Vec<Sample> {
    let inside = |sample: &&Sample| sample.at >= from && sample.at <= to;
    samples.iter().filter(inside).copied().collect()
}

/// Nobody but the worker stays, and nobody idles with a snapshot.
#[track_caller]
fn assert_waiters_hold_nothing(samples: &[Sample]) {
    assert!(samples.len() > 20, "{} samples", samples.len());
    let oldest = samples.iter().map(|sample| sample.oldest_waiter);
    let oldest = oldest.fold(0.0, f64::max);
    let seconds = QUEUED.as_secs_f64();
    assert!(
        oldest < seconds / 2.0,
        "a waiter kept a connection for {oldest:.1} s of {seconds} s"
    );
    let idle: usize = samples.iter().map(|sample| sample.idle_snapshots).sum();
    assert_eq!(idle, 0, "waiters idled with a snapshot");
    let most = samples.iter().map(|sample| sample.connections).max();
    tell!("  while all wait: at most {most:?} connections, none older than {oldest:.1} s");
}

// === The tests ===

#[test]
fn a_thousand_migrate_through_a_hundred_connections() {
    let _alone = alone();
    let server = server();
    let database = server.database();
    let role = role(&database);
    let folder = thirty(UNTIL_THE_GATE_OPENS);
    let call = Schemagate::migrate(&database, &folder)
        .url(&database.url_as(&role))
        // It tells every pause.
        .env("SCHEMAGATE_LOG", "debug");
    let began = Instant::now();
    let ((pods, queued, opened), samples) = recorded(&database, || {
        let mut pods = Pods::start(PODS, || call.command());
        let waits = "lock is held elsewhere";
        assert_grows_to(PODS - 1, Duration::from_mins(3), || pods.that_say(waits));
        let queued = began.elapsed();
        thread::sleep(QUEUED);
        let opened = began.elapsed();
        database.query("INSERT INTO gate VALUES (true)");
        pods.wait(Duration::from_mins(2));
        (pods, queued, opened)
    });
    let last_commit = last_commit(&database);
    let behind = pods.last_end().duration_since(last_commit);
    let behind = behind.unwrap_or_default();
    let paused = pods.iter().map(|pod| {
        let pauses = pod.pauses().into_iter();
        pauses.map(|pause| pause.behind(last_commit)).sum()
    });
    let paused: Duration = paused.max().expect("pods");
    tell!(
        "herd: {PODS} migrate, max_connections = {CONNECTIONS}: {} ended with 0; all waited after {queued:.1?}, \
         the last one ended {behind:.1?} after the last commit ({paused:.1?} of it paused)\n  \
         connections each second: {}",
        pods.ended_with(0),
        over_time(&samples)
    );
    pods.assert_all_ended_well();
    assert_each_once(&database);
    assert_waiters_hold_nothing(&between(&samples, queued, opened));
    assert!(paused <= 2 * LONGEST_PAUSE, "two backoff steps");
    assert!(
        behind <= 2 * LONGEST_PAUSE + SLACK,
        "two backoff steps and slack"
    );
}

#[test]
fn two_hundred_sidecars_migrate_and_two_hundred_wait_for_the_schema() {
    let _alone = alone();
    let server = server();
    let database = server.database();
    let role = role(&database);
    let folder = thirty(UNTIL_THE_GATE_OPENS);
    let url = database.url_as(&role);
    // The schedule of the contract, not that of the other tests.
    let sidecar = Schemagate::new(&["sidecar"])
        .url(&url)
        .folder(&folder)
        .env("SCHEMAGATE_AUTO_MIGRATE", "true");
    let wait = Schemagate::new(&["wait", "--for", "schema"])
        .url(&url)
        .folder(&folder);
    let began = Instant::now();
    let ((sidecars, waiters, queued, opened, ready), samples) = recorded(&database, || {
        let sidecars: Vec<_> = (0..SIDECARS).map(|_| Sidecar::start(&sidecar)).collect();
        let mut waiters = Pods::start(WAITERS, || wait.command());
        let limit = Duration::from_mins(2);
        assert_grows_to(WAITERS, limit, || {
            waiters.that_say("waiting for the schema")
        });
        let waits =
            |sidecar: &&Sidecar| ["waiting_for_lock", "migrating"].contains(&&*sidecar.state());
        assert_grows_to(SIDECARS, limit, || sidecars.iter().filter(waits).count());
        let queued = began.elapsed();
        thread::sleep(QUEUED);
        let opened = began.elapsed();
        database.query("INSERT INTO gate VALUES (true)");
        waiters.wait(Duration::from_mins(1));
        for sidecar in &sidecars {
            eventually!(sidecar.is_ready(), "ready: {:#}", sidecar.status());
        }
        (sidecars, waiters, queued, opened, began.elapsed())
    });
    let behind = waiters.last_end().duration_since(last_commit(&database));
    let behind = behind.unwrap_or_default();
    tell!(
        "herd: {SIDECARS} migrating sidecars and {WAITERS} wait --for schema, max_connections = {CONNECTIONS}: {} waiters \
         ended with 0, the last {behind:.1?} after the last commit; all sidecars ready {:.1?} after the slow migration was let go\n  \
         connections each second: {}",
        waiters.ended_with(0),
        ready.saturating_sub(opened),
        over_time(&samples)
    );
    waiters.assert_all_ended_well();
    assert!(
        behind <= 2 * LONGEST_PAUSE_OF_A_WATCHER + SLACK,
        "two backoff steps and slack"
    );
    assert_each_once(&database);
    assert_waiters_hold_nothing(&between(&samples, queued, opened));
    for sidecar in &sidecars {
        sidecar.running.signal("TERM");
    }
    for sidecar in sidecars {
        sidecar.running.wait().assert_code(0);
    }
}

/// How long the number of those who wait may stand still.
const STANDSTILL: Duration = Duration::from_mins(1);

/// Like `eventually!` for the number of those who wait: within the limit, and without standing still. The question must not keep
/// the processors busy.
#[track_caller]
fn assert_grows_to(goal: usize, limit: Duration, mut waiting: impl FnMut() -> usize) {
    let began = Instant::now();
    let (mut most, mut grown) = (0, began);
    while most < goal {
        let now = waiting();
        if now > most {
            (most, grown) = (now, Instant::now());
        }
        assert!(
            began.elapsed() < limit && grown.elapsed() < STANDSTILL,
            "{most} of {goal} wait after {:?}, and no more since {:?}",
            began.elapsed(),
            grown.elapsed()
        );
        thread::sleep(Duration::from_millis(250));
    }
}

/// Two herds at once would measure each other.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}
