//! The primary goes away while migrations run, and a standby takes its place. schemagate knows both hosts and asks for the one
//! that can be written to.
//!
//! Row and work of a migration travel together: what an asynchronous standby had not received is gone, row and work, and is
//! done again.

use std::collections::BTreeMap;
use std::process::Command;
use std::thread;

use crate::harness::postgres::debian_bin;
use crate::harness::process::must;
use crate::harness::{Folder, Outcome, Schemagate, Server, Session, Stop, eventually};
use crate::tell;

const MIGRATIONS: usize = 16;
/// A concurrent index build; the others are transactions.
const BUILD: usize = 8;

/// How the primary goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// A switch-over: it sends all it has, and ends its sessions.
    Fast,
    /// A crash; the standby follows asynchronously.
    Crash,
    /// A crash; each commit was confirmed by the standby.
    CrashSynchronous,
    /// The standby is promoted while the old primary still takes commits, which are lost with it.
    Late,
}

/// While what runs it happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum During {
    Transaction,
    Build,
}

fn folder() -> Folder {
    let folder = Folder::empty();
    for number in 1..=MIGRATIONS {
        let text = match number {
            1 => "CREATE TABLE ran (number int);
                  CREATE FUNCTION slowly(x int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS
                  $$ BEGIN PERFORM pg_sleep(0.3); RETURN x; END $$;
                  INSERT INTO ran VALUES (1);"
                .to_owned(),
            BUILD => "CREATE INDEX CONCURRENTLY ran_idx ON ran (slowly(number));".to_owned(),
            _ => format!(
                "CREATE TABLE t{number:02} (id int);\nSELECT pg_sleep(0.2);\nINSERT INTO ran VALUES ({number});\n"
            ),
        };
        folder.write(&format!("{number:04}_step.sql"), text.as_bytes());
    }
    folder
}

fn dump(url: &str) -> String {
    let mut command = Command::new(debian_bin().join("pg_dump"));
    command.args(["--schema-only", "--exclude-schema=schemagate", "-d", url]);
    let text = String::from_utf8(must(&mut command).stdout).expect("a dump in UTF-8");
    // The random words of `\restrict` are no part of a schema.
    let lines = text.lines().filter(|line| !line.starts_with('\\'));
    lines.collect::<Vec<_>>().join("\n")
}

/// How often each version was told as applied.
fn told(outcome: &Outcome) -> BTreeMap<String, usize> {
    let mut told = BTreeMap::new();
    for line in outcome.logs() {
        if line["message"] == "applied" {
            let version = line["version"].as_str().expect("a version").to_owned();
            *told.entry(version).or_default() += 1;
        }
    }
    told
}

fn fail_over(end: End, during: During, folder: &Folder, expected: &str) {
    let what = format!("{end:?} during a {during:?}");
    let primary = Server::own();
    let database = primary.database();
    let standby = Server::standby_of(&primary);
    if end == End::CrashSynchronous {
        primary
            .session("postgres")
            .query("ALTER SYSTEM SET synchronous_standby_names = '*'");
        primary.session("postgres").query("SELECT pg_reload_conf()");
    }
    let state = match end {
        End::CrashSynchronous => "sync",
        _ => "async",
    };
    let follows = format!(
        "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = '{state}'"
    );
    eventually!(
        database.value(&follows) == "1",
        "{what}: the standby follows"
    );

    let url = format!(
        "postgres://postgres@127.0.0.1:{},127.0.0.1:{}/{}?target_session_attrs=read-write",
        primary.port(),
        standby.port(),
        database.name
    );
    let worker = Schemagate::migrate(&database, folder).url(&url).spawn();
    database.schemagate_runs(match during {
        During::Transaction => "schemagate: 0004",
        During::Build => "CREATE INDEX CONCURRENTLY",
    });
    match end {
        End::Fast => primary.stop(Stop::Fast),
        End::Crash | End::CrashSynchronous => primary.stop(Stop::Immediate),
        End::Late => {
            standby.promote();
            let applied = "SELECT count(*) FROM schemagate.history WHERE version = '0006'";
            eventually!(
                database.value(applied) == "1",
                "{what}: the old one goes on"
            );
            primary.stop(Stop::Immediate);
        }
    }
    if end != End::Late {
        standby.promote();
    }
    let outcome = worker.wait();
    outcome.assert_code(0);

    let url = standby.url(&database.name);
    let session = Session::connect(&url);
    let numbers: Vec<_> = (1..=MIGRATIONS)
        .map(|number| format!("{number:04}"))
        .collect();
    assert_eq!(
        session.value("SELECT string_agg(version, ' ' ORDER BY serial) FROM schemagate.history"),
        numbers.join(" "),
        "{what}\n{outcome}"
    );
    let ran = session.query("SELECT number FROM ran ORDER BY number");
    let ran: Vec<usize> = ran.iter().map(|row| row[0].parse().unwrap()).collect();
    let expected_ran: Vec<_> = (1..=MIGRATIONS).filter(|number| *number != BUILD).collect();
    assert_eq!(ran, expected_ran, "{what}\n{outcome}");
    let invalid = "SELECT count(*) FROM pg_index WHERE NOT indisvalid";
    assert_eq!(session.value(invalid), "0", "{what}\n{outcome}");
    assert_eq!(dump(&url), expected, "{what}\n{outcome}");

    let told = told(&outcome);
    let again: Vec<_> = told.iter().filter(|(_, times)| **times > 1).collect();
    tell!(
        "failover: {what}: exit 0 after {:.1?}, applied once more because the new primary had not received it: {again:?}",
        outcome.elapsed
    );
    match end {
        // What was confirmed is there.
        End::Fast | End::CrashSynchronous => assert!(again.is_empty(), "{what}\n{outcome}"),
        End::Late => assert!(!again.is_empty(), "{what}: nothing was lost\n{outcome}"),
        End::Crash => {}
    }
}

#[test]
fn a_standby_takes_over_while_migrations_run() {
    let folder = folder();
    let undisturbed = Server::debian().database();
    Schemagate::migrate(&undisturbed, &folder)
        .run()
        .assert_code(0);
    let expected = dump(&undisturbed.url());
    let scenes = [
        (End::Fast, During::Transaction),
        (End::Fast, During::Build),
        (End::Crash, During::Transaction),
        (End::Crash, During::Build),
        (End::CrashSynchronous, During::Transaction),
        (End::CrashSynchronous, During::Build),
        (End::Late, During::Transaction),
    ];
    // A few at a time: each has two servers.
    for some in scenes.chunks(3) {
        thread::scope(|scope| {
            for (end, during) in some {
                let (folder, expected) = (&folder, &expected);
                scope.spawn(move || fail_over(*end, *during, folder, expected));
            }
        });
    }
}
