//! `--server auto`: a server of its own, in a folder that is gone afterwards.

use std::{fs, path::Path, process::Command};

use super::tables;
use crate::harness::{
    Folder, Schemagate, eventually, fixture,
    process::{give_to_server_user, is_alive, is_root, must, signal},
};

/// A call that finds Debian's server, with a folder for temporary files of its own.
fn auto(folder: impl AsRef<Path>, temp: &Folder) -> Schemagate {
    Schemagate::new(&["validate", "--server", "auto"])
        .folder(folder)
        .env("TMPDIR", temp.path())
}

/// The process of the server in a folder, and of the keeper beside it.
fn processes(folder: &Path) -> Option<(u32, u32)> {
    let text = fs::read_to_string(folder.join("data/postmaster.pid")).ok()?;
    let server: u32 = text.lines().next()?.parse().ok()?;
    let stat = fs::read_to_string(format!("/proc/{server}/stat")).ok()?;
    let keeper = stat.rsplit(") ").next()?.split(' ').nth(1)?.parse().ok()?;
    Some((server, keeper))
}

fn slow() -> Folder {
    let folder = tables();
    folder.write("0002_b.up.sql", b"SELECT pg_sleep(60);");
    folder
}

/// The one folder below `temp`, once its server runs.
fn started(temp: &Folder) -> std::path::PathBuf {
    let folder = || Some(temp.path().join(temp.names().first()?));
    eventually!(
        folder().is_some_and(|folder| processes(&folder).is_some()),
        "a server"
    );
    folder().unwrap()
}

#[test]
fn everything_passes_and_nothing_stays() {
    let temp = Folder::empty();
    for folder in [
        fixture("drizzle/classic/shop"),
        fixture("drizzle/v1/shop"),
        tables().path().to_owned(),
    ] {
        auto(folder, &temp)
            .env("SCHEMAGATE_ROLE", "the \"owner\"")
            .run()
            .assert_code(0)
            .assert_prints("server    started in ")
            .assert_prints("on PostgreSQL 15.")
            .assert_prints("dropped ");
        assert_eq!(temp.names(), [""; 0]);
    }
    let broken = tables();
    broken.write("0002_b.up.sql", b"nonsense");
    auto(&broken, &temp)
        .run()
        .assert_code(5)
        .assert_says("0002_b.up.sql:1:1");
    assert_eq!(temp.names(), [""; 0]);
}

#[test]
fn as_an_ordinary_user() {
    if !is_root() {
        return everything_passes_and_nothing_stays();
    }
    let temp = Folder::empty();
    give_to_server_user(temp.path());
    let program = Folder::empty().path().join("schemagate");
    must(
        Command::new("cp")
            .arg(env!("CARGO_BIN_EXE_schemagate"))
            .arg(&program),
    );
    let folder = tables();
    let output = must(
        Command::new("setpriv")
            .args([
                "--reuid=postgres",
                "--regid=postgres",
                "--clear-groups",
                "--",
            ])
            .arg(&program)
            .args(["validate", "--server", "auto", "--dir"])
            .arg(folder.path())
            .env_clear()
            .env("TMPDIR", temp.path())
            .current_dir("/"),
    );
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("up again  2 migrations applied"), "{text}");
    assert_eq!(temp.names(), [""; 0]);
}

#[test]
fn killed_its_server_ends_and_the_folder_goes_by_itself() {
    let temp = Folder::empty();
    let run = auto(slow(), &temp).spawn();
    let folder = started(&temp);
    let (server, keeper) = processes(&folder).unwrap();
    eventually!(run.stderr().contains("applied"), "{}", run.stderr());
    run.signal("KILL");
    run.wait().assert_code(137);
    eventually!(!is_alive(server) && !is_alive(keeper), "they end");
    eventually!(temp.names().is_empty(), "{:?}", temp.names());
}

#[test]
fn killed_with_its_keeper_the_next_run_ends_the_server() {
    let temp = Folder::empty();
    let run = auto(slow(), &temp).spawn();
    let folder = started(&temp);
    let (server, keeper) = processes(&folder).unwrap();
    // A run beside it.
    let other = auto(slow(), &temp).spawn();
    eventually!(temp.names().len() == 2, "{:?}", temp.names());
    eventually!(other.stderr().contains("applied"), "{}", other.stderr());
    signal(keeper, "KILL");
    run.signal("KILL");
    run.wait().assert_code(137);
    assert!(is_alive(server));
    auto(tables(), &temp)
        .run()
        .assert_code(0)
        .assert_prints(&format!("removed   {}", folder.display()));
    eventually!(!is_alive(server), "the server ends");
    assert_eq!(temp.names().len(), 1, "the other is left alone");
    other.signal("TERM");
    other.wait().assert_code(143);
    assert_eq!(temp.names(), [""; 0]);
}

#[test]
fn told_to_stop_while_it_starts() {
    for _ in 0..3 {
        let temp = Folder::empty();
        let run = auto(tables(), &temp).spawn();
        eventually!(!temp.names().is_empty(), "a folder");
        run.signal("TERM");
        run.wait().assert_code(143);
        eventually!(temp.names().is_empty(), "{:?}", temp.names());
    }
}

#[test]
fn what_it_needs_of_the_machine() {
    let temp = Folder::empty();
    temp.write("no-server/initdb", b"");
    let long = temp.path().join("x".repeat(90));
    auto(tables(), &temp)
        .env("TMPDIR", &long)
        .run()
        .assert_code(2)
        .assert_says("too long a path");
    auto(tables(), &temp)
        .env("TMPDIR", temp.path().join("nowhere"))
        .run()
        .assert_code(2)
        .assert_says("set TMPDIR");
    // Something that is called so and is none.
    temp.write(
        "bin/initdb",
        b"#!/bin/sh\necho no such locale >&2\nexit 1\n",
    );
    temp.write("bin/postgres", b"#!/bin/sh\nexit 1\n");
    must(Command::new("chmod").args(["-R", "755"]).arg(temp.path()));
    auto(tables(), &temp)
        .env("PATH", temp.path().join("bin"))
        .run()
        .assert_code(3)
        .assert_says("did not start: no such locale");
    assert_eq!(temp.names(), ["bin", "no-server"]);
}
