//! A server whose clock jumps. Ours can only be changed for the whole machine; what is measured on our side is measured with a
//! clock that never jumps.

use std::{fs, path::PathBuf, time::Duration};

use crate::harness::{
    Folder, Schemagate, Server, Session, Sidecar, Stop, eventually, process::give_to_server_user,
    scratch,
};

const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

/// Debian's libfaketime, told by a file that can be written again at any time.
struct Clock(PathBuf);

impl Clock {
    fn of(server: &Server) -> Self {
        assert!(
            PathBuf::from(LIBRARY).exists(),
            "no {LIBRARY}: run `make setup` (or apt-get install faketime)"
        );
        let folder = scratch::new_dir("clock");
        give_to_server_user(&folder);
        let clock = Self(folder.join("offset"));
        clock.set("+0");
        server.stop(Stop::Fast);
        let file = format!("FAKETIME_TIMESTAMP_FILE={}", clock.0.display());
        server.start_under(&[
            "env",
            &format!("LD_PRELOAD={LIBRARY}"),
            &file,
            "FAKETIME_NO_CACHE=1",
            "FAKETIME_DONT_FAKE_MONOTONIC=1",
        ]);
        clock
    }

    fn set(&self, offset: &str) {
        fs::write(&self.0, format!("{offset}\n")).expect("the clock's file");
    }
}

/// The clock goes back a day and then forward a month while one pod migrates and others wait: each is applied once, in order,
/// nobody gives up, and what was noted with a time in the future stands in nobody's way.
#[test]
fn a_server_whose_clock_jumps() {
    let server = Server::own();
    let database = server.database();
    let clock = Clock::of(&server);
    eventually!(
        Session::try_connect(&database.url()).is_ok(),
        "the server starts with a clock of its own:\n{}",
        server.log()
    );
    let files: Vec<(String, String)> = (1..=6)
        .map(|number| {
            (
                format!("{number:04}_step.sql"),
                // `pg_sleep` ends at a time of day: after a jump back it would go on for a day.
                format!("CREATE TABLE step_{number} AS SELECT count(*) FROM generate_series(1, 3000000) a;"),
            )
        })
        .collect();
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(name, sql)| (name.as_str(), sql.as_str()))
        .collect();
    let folder = Folder::sql(&files);
    let call = Schemagate::migrate(&database, &folder)
        .env("SCHEMAGATE_LOCK_WAIT_TIMEOUT", "20s")
        .timeout(Duration::from_mins(2));
    let pods: Vec<_> = (0..4).map(|_| call.spawn()).collect();
    for (table, offset) in [("step_1", "-1d"), ("step_3", "+30d"), ("step_5", "-2d")] {
        eventually!(database.has_table(table), "it goes on after a jump");
        clock.set(offset);
    }
    for pod in pods {
        pod.wait().assert_code(0);
    }
    assert_eq!(
        database.value("SELECT string_agg(version, ',' ORDER BY serial) FROM schemagate.history"),
        "0001,0002,0003,0004,0005,0006"
    );
    assert!(database.has_no_advisory_lock());
    Schemagate::status(&database, &folder).run().assert_code(0);
    // Rows of the future are in the journal now; the next release goes on all the same.
    folder.write("0007_next.sql", b"CREATE TABLE step_7 (id int);");
    call.run().assert_code(0);
    let sidecar = Sidecar::start(&Schemagate::sidecar(&database, &folder));
    sidecar.becomes("ready", true);
    sidecar.stop().assert_code(0);
}
