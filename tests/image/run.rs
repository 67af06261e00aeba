//! The image against a server in another container.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use crate::bases;
use crate::container::{Network, Run};
use crate::engine::{ask, docker, new_dir, repository};
use crate::harness::eventually;
use crate::harness::process::must;
use crate::postgres::{PASSWORD, Postgres, URL};

/// Between a signal and the end. `docker stop` would kill after ten seconds.
const SOON: Duration = Duration::from_secs(5);

pub(crate) fn drizzle() -> PathBuf {
    repository("image/examples/app/drizzle")
}

/// A folder of numbered files with this one in it.
pub(crate) fn folder(sql: &str) -> PathBuf {
    let folder = new_dir("migrations");
    fs::write(folder.join("0001_first.sql"), sql).expect("a file");
    folder
}

#[test]
fn it_finds_the_server_by_name_waits_for_it_and_migrates() {
    let network = Network::new();
    let waiting = Run::locked_down(bases::schemagate())
        .network(&network, "schemagate")
        .read_only(&drizzle(), "/migrations")
        .env("DATABASE_URL", URL)
        .start_with_message();
    // Nobody has this name yet.
    eventually!(waiting.logs().contains("db"), "{}", waiting.logs());
    assert!(waiting.is_running(), "{}", waiting.logs());
    let db = Postgres::start_in(network);
    let first = waiting.end();
    first.assert_code(0);
    assert_eq!(first.message, "", "{first}");
    assert!(!first.said.contains(PASSWORD), "{first}");
    assert_eq!(
        db.query("select id, title, pinned from notes"),
        "1|The schema came first.|f"
    );
    assert_eq!(
        db.query("select count(*) from drizzle.__drizzle_migrations"),
        "3"
    );

    // Whoever it runs as: OpenShift chooses the user itself.
    let again = db
        .run(bases::schemagate(), &["migrate"])
        .option("--user=1000660000:0")
        .read_only(&drizzle(), "/migrations")
        .to_end();
    again.assert_code(0).assert_says("\"applied\":[]");
}

#[test]
fn an_image_without_migrations_says_so() {
    let db = Postgres::start();
    let ended = db.run(bases::schemagate(), &[]).to_end();
    ended
        .assert_code(2)
        .assert_says("/migrations")
        .assert_last_words("/migrations");
}

#[test]
fn stopping_it_while_it_waits() {
    let waiting = Run::locked_down(bases::schemagate())
        .read_only(&drizzle(), "/migrations")
        .env("DATABASE_URL", "postgres://nobody@127.0.0.1:9/none")
        .start_with_message();
    eventually!(waiting.logs().contains("refused"), "{}", waiting.logs());
    let started = Instant::now();
    must(&mut docker(&["stop", &waiting.name]));
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    waiting.end().assert_code(143).assert_last_words("SIGTERM");
}

#[test]
fn stopping_it_in_the_middle_of_a_migration() {
    let db = Postgres::start();
    let slow = folder("create table half_way (); select pg_sleep(600);");
    let working = db
        .run(bases::schemagate(), &["migrate"])
        .read_only(&slow, "/migrations")
        .start_with_message();
    let sleeping = "select count(*) from pg_stat_activity where wait_event = 'PgSleep'";
    eventually!(db.query(sleeping) == "1", "{}", working.logs());
    let started = Instant::now();
    must(&mut docker(&["stop", &working.name]));
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    working.end().assert_code(143).assert_last_words("SIGTERM");
    assert_eq!(db.query(sleeping), "0");
    assert_eq!(db.query("select to_regclass('half_way') is null"), "t");
}

#[test]
fn a_sidecar_answers_its_probe_and_ends_with_0() {
    let db = Postgres::start();
    let sidecar = db
        .run(bases::schemagate(), &["sidecar"])
        .read_only(&drizzle(), "/migrations")
        .env("SCHEMAGATE_POLL_INTERVAL", "200ms")
        .start_with_message();
    let probe = |kind: &str| {
        let output = docker(&["exec", &sidecar.name, "/schemagate", "probe", kind]).output();
        output.expect("docker").status.code()
    };
    eventually!(probe("--live") == Some(0), "{}", sidecar.logs());
    assert_eq!(probe("--ready"), Some(1));
    let migrate = db
        .run(bases::schemagate(), &["migrate"])
        .read_only(&drizzle(), "/migrations");
    migrate.to_end().assert_code(0);
    eventually!(probe("--ready") == Some(0), "{}", sidecar.logs());
    let started = Instant::now();
    must(&mut docker(&["stop", &sidecar.name]));
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    sidecar.end().assert_code(0);
}

#[test]
fn many_race_and_one_applies() {
    let db = Postgres::start();
    let run = db
        .run(bases::schemagate(), &["migrate"])
        .read_only(&drizzle(), "/migrations");
    let ended: Vec<_> = thread::scope(|scope| {
        let racers: Vec<_> = (0..6).map(|_| scope.spawn(|| run.to_end())).collect();
        racers
            .into_iter()
            .map(|racer| racer.join().expect("it ended"))
            .collect()
    });
    for ended in &ended {
        ended.assert_code(0);
    }
    let applied = ended
        .iter()
        .filter(|ended| ended.said.contains("\"applied\":[{"))
        .count();
    assert_eq!(applied, 1);
    assert_eq!(
        db.query("select count(*) from drizzle.__drizzle_migrations"),
        "3"
    );
}

#[test]
fn it_says_its_version() {
    let version = ask(&["run", "--rm", bases::schemagate(), "--version"]);
    assert!(version.contains(env!("CARGO_PKG_VERSION")), "{version}");
}
