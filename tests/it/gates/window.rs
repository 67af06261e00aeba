//! Maintenance windows, by the server's clock.

use super::{applied, current, dropping};
use crate::harness::{Database, Schemagate};

/// A window that is closed for more than an hour to come.
fn closed(database: &Database<'_>) -> String {
    database.value(
        "SELECT 'daily ' || to_char(now() AT TIME ZONE 'UTC' + interval '2h', 'HH24:MI') || '-'
         || to_char(now() AT TIME ZONE 'UTC' + interval '3h', 'HH24:MI') || ' UTC'",
    )
}

#[test]
fn what_is_above_safe_waits_for_the_window() {
    let (database, folder) = dropping();
    let migrate = Schemagate::migrate(&database, &folder).env("SCHEMAGATE_ALLOW", "all");
    let closed = closed(&database);
    let start = closed.split([' ', '-']).nth(1).expect("a start");
    migrate
        .clone()
        .env("SCHEMAGATE_WINDOW", &closed)
        .run()
        .assert_code(7)
        .assert_says(&format!("is held: the window {closed} is closed"))
        .assert_says(&format!("T{start}:00+00:00; or change SCHEMAGATE_WINDOW"))
        .assert_says("wait until the window opens at ");
    assert_eq!(applied(&database), ["0001", "0002"]);
    migrate
        .env(
            "SCHEMAGATE_WINDOW",
            format!("{closed}; 00:00-24:00 Pacific/Chatham"),
        )
        .run()
        .assert_code(0);
}

#[test]
fn a_file_s_own_window_holds_it_whatever_it_risks_and_wins() {
    let (database, folder) = current();
    let closed = closed(&database);
    folder.write(
        "0002_a.sql",
        format!("-- schemagate: window=\"{closed}\"\nCREATE TABLE a (id int);\n").as_bytes(),
    );
    let migrate = Schemagate::migrate(&database, &folder);
    migrate
        .clone()
        .env("SCHEMAGATE_WINDOW", "00:00-24:00 UTC")
        .run()
        .assert_code(7)
        .assert_says("or change window in 0002_a.sql");
    folder.write(
        "0002_a.sql",
        b"-- schemagate: window=\"00:00-24:00 UTC\"\nDROP TABLE users;\n",
    );
    migrate
        .env("SCHEMAGATE_WINDOW", closed)
        .env("SCHEMAGATE_ALLOW", "all")
        .run()
        .assert_code(0);
}
