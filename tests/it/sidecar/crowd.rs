//! Many of them, and one for a long time.

use std::fs;
use std::time::{Duration, Instant};

use super::{migrated, two};
use crate::harness::process::memory_kib;
use crate::harness::{Schemagate, Server, Session, Sidecar, Stop, eventually};

/// A figure of `/metrics`.
fn metric(sidecar: &Sidecar, name: &str) -> f64 {
    let text = sidecar.get("/metrics").body;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let value = line.unwrap_or_else(|| panic!("no {name} in\n{text}"));
    value.trim().parse().expect("a number")
}

#[test]
fn two_hundred_share_twenty_connections() {
    let server = Server::own_with("max_connections = 20");
    let database = server.database();
    let role = database.role("app", "LOGIN");
    let folder = two();
    migrated(&database, &folder);
    database.query(&format!(
        "GRANT USAGE ON SCHEMA schemagate TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA schemagate TO {role};
         DELETE FROM schemagate.history WHERE version = '0002'; DROP TABLE b"
    ));
    // The schedule of the contract.
    let call = Schemagate::new(&["sidecar"])
        .url(&database.url_as(&role))
        .folder(&folder);
    let began = Instant::now();
    let sidecars: Vec<_> = (0..200).map(|_| Sidecar::start(&call)).collect();
    println!("200 serve after {:?}", began.elapsed());
    for sidecar in &sidecars {
        eventually!(sidecar.state() == "pending", "{:#}", sidecar.status());
    }
    migrated(&database, &folder);
    let migrated = Instant::now();
    for sidecar in &sidecars {
        sidecar.becomes("ready", true);
    }
    println!("200 are ready {:?} after the migration", migrated.elapsed());
    let attempts = sidecars
        .iter()
        .map(|sidecar| metric(sidecar, "schemagate_connect_attempts_total"));
    let attempts: Vec<f64> = attempts.collect();
    let most = attempts.iter().copied().fold(0.0, f64::max);
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "{} attempts in {seconds:.0} s, at most {most} by one",
        attempts.iter().sum::<f64>()
    );
    // Two a second for each would be a loop without pauses.
    assert!(most < 10.0 + seconds * 2.0, "{most} in {seconds} s");
}

#[test]
fn who_listens_leaves_room_for_others() {
    let server = Server::own_with("max_connections = 20");
    let database = server.database();
    let role = database.role("app", "LOGIN");
    let folder = two();
    migrated(&database, &folder);
    database.query(&format!(
        "GRANT USAGE ON SCHEMA schemagate TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA schemagate TO {role}"
    ));
    let url = database.url_as(&role);
    let call = Schemagate::sidecar(&database, &folder)
        .url(&url)
        .env("SCHEMAGATE_WATCH", "listen")
        .env("SCHEMAGATE_POLL_INTERVAL", "2s");
    let sidecars: Vec<_> = (0..40).map(|_| Sidecar::start(&call)).collect();
    for sidecar in &sidecars {
        sidecar.becomes("ready", true);
    }
    // The application is let in, and so are the sidecars that look now and then.
    let application = Session::try_connect(&url);
    assert!(application.is_ok(), "{:?}", application.err());
    let listening = "SELECT count(*) FROM pg_stat_activity
        WHERE application_name LIKE 'schemagate/%' AND state = 'idle'";
    eventually!(
        database.value(listening).parse::<u32>().unwrap() > 4,
        "some listen"
    );
    for sidecar in sidecars {
        sidecar.stop().assert_code(0);
    }
}

#[test]
fn memory_and_files_do_not_grow() {
    let database = Server::debian().database();
    let folder = two();
    migrated(&database, &folder);
    let call = Schemagate::sidecar(&database, &folder).env("SCHEMAGATE_POLL_INTERVAL", "10ms");
    let sidecar = Sidecar::start(&call);
    sidecar.becomes("ready", true);
    let pid = sidecar.running.pid();
    let attempts = || metric(&sidecar, "schemagate_connect_attempts_total");
    let files = || {
        fs::read_dir(format!("/proc/{pid}/fd"))
            .expect("its files")
            .count()
    };
    // In each round a hundred looks and a thousand requests.
    let work = |rounds: usize| {
        for _ in 0..rounds {
            let goal = attempts() + 100.0;
            for number in 0..1000 {
                let path = ["/readyz", "/metrics", "/status", "/"][number % 4];
                assert_eq!(sidecar.get(path).status, 200);
            }
            eventually!(attempts() >= goal, "100 looks");
        }
        memory_kib(pid, "VmRSS").expect("its memory")
    };
    let before = work(3);
    // A look and a request come and go.
    let most = || (0..2000).map(|_| files()).max();
    let files_before = most();
    let after = work(10);
    println!("{before} KiB resident, {after} KiB after 1000 looks and 10 000 requests more");
    assert!(after < before + 1024, "{before} KiB, then {after} KiB");
    let files_after = most();
    assert!(
        files_after <= files_before.map(|files| files + 4),
        "{files_before:?} open files, then {files_after:?}"
    );
}

/// It has just become ready, and is still to ask for the details.
#[test]
fn a_server_that_stops_is_not_asked_without_a_pause() {
    let server = Server::own();
    for watch in ["poll", "listen"] {
        let database = server.database();
        let folder = two();
        let call = Schemagate::sidecar(&database, &folder)
            .env("SCHEMAGATE_WATCH", watch)
            .env("SCHEMAGATE_POLL_INTERVAL", "500ms")
            .env("SCHEMAGATE_AUTO_MIGRATE", "true");
        let sidecar = Sidecar::start(&call);
        sidecar.becomes("ready", true);
        server.stop(Stop::Immediate);
        sidecar.sees_database(false);
        let attempts = || metric(&sidecar, "schemagate_connect_attempts_total");
        let (began, before) = (Instant::now(), attempts());
        // The details are asked for within two seconds.
        eventually!(began.elapsed() > Duration::from_secs(3), "three seconds");
        let seconds = began.elapsed().as_secs_f64();
        let many = attempts() - before;
        assert!(many < 20.0 + seconds * 10.0, "{many} in {seconds} s");
        server.start();
        sidecar.sees_database(true);
        assert_eq!(sidecar.stop().code(), 0);
    }
}
