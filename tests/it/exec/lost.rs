//! The lock is lost: the command must not go on.

use std::time::{Duration, Instant};

use super::{TRACED, WAITING, assert_never_two, exec, let_go, lock_backend, pid_of, traced_table};
use crate::harness::process::{is_alive, signal};
use crate::harness::{Folder, PgBouncer, Proxy, Server, eventually};

#[test]
fn a_killed_holder_takes_the_command_with_it_and_another_takes_over() {
    let database = Server::debian().database();
    let folder = Folder::empty();
    let call = exec(&database.url(), &folder, WAITING);
    let holder = call.spawn();
    let pid = pid_of(&folder);
    let waiter = call.spawn();
    eventually!(waiter.stderr().contains("command sh"), "it waits");
    holder.signal("KILL");
    holder.wait().assert_code(137);
    eventually!(!is_alive(pid), "the command dies with schemagate");
    let next = pid_of(&folder);
    assert_ne!(next, pid);
    let_go(&folder);
    waiter.wait().assert_code(0);
}

#[test]
fn a_terminated_lock_session_ends_the_command() {
    let bouncer = PgBouncer::start(Server::debian(), "transaction", 5);
    let database = Server::debian().database();
    for url in [database.url(), bouncer.url(&database)] {
        let folder = Folder::empty();
        let script = format!("trap 'touch \"$DIR/told\"; exit 0' TERM\n{WAITING}");
        let running = exec(&url, &folder, &script).spawn();
        let pid = pid_of(&folder);
        let backend = lock_backend(&database);
        database.query(&format!("SELECT pg_terminate_backend({backend})"));
        running
            .wait()
            .assert_code(10)
            .assert_says("the lock was lost while sh ran under it")
            .assert_says("57P01");
        assert!(!is_alive(pid));
        assert!(folder.path().join("told").exists(), "it could tidy up");
    }
}

#[test]
fn one_that_ignores_sigterm_is_killed() {
    let database = Server::debian().database();
    let folder = Folder::empty();
    let running = exec(
        &database.url(),
        &folder,
        &format!("trap '' TERM\n{WAITING}"),
    )
    .spawn();
    let pid = pid_of(&folder);
    let backend = lock_backend(&database);
    database.query(&format!("SELECT pg_terminate_backend({backend})"));
    running
        .wait()
        .assert_code(10)
        .assert_says("SIGKILL")
        .assert_within(Duration::from_mins(1));
    assert!(!is_alive(pid));
}

#[test]
fn a_cut_connection_ends_the_command() {
    let database = Server::debian().database();
    let proxy = Proxy::to(Server::debian().port());
    let folder = Folder::empty();
    let running = exec(&database.url_at(proxy.port()), &folder, WAITING).spawn();
    let pid = pid_of(&folder);
    proxy.cut();
    running
        .wait()
        .assert_code(10)
        .assert_says("the lock was lost");
    assert!(!is_alive(pid));
}

/// A cable that is pulled tells nobody. The server keeps the lock until it misses the heartbeat, and by then even a
/// command that ignores SIGTERM is dead: nobody else can have had the lock beside it.
#[test]
fn over_a_dead_link_the_command_is_dead_before_the_lock_is_free() {
    let database = Server::debian().database();
    let proxy = Proxy::to(Server::debian().port());
    let folder = Folder::empty();
    let running = exec(
        &database.url_at(proxy.port()),
        &folder,
        &format!("trap '' TERM\n{WAITING}"),
    )
    .spawn();
    let pid = pid_of(&folder);
    let backend = lock_backend(&database);
    let session = database.session();
    let held =
        format!("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = {backend}");
    proxy.hold();
    let pulled = Instant::now();
    eventually!(!is_alive(pid), "it is killed");
    assert_eq!(
        session.value(&held),
        "1",
        "{:?} after the cut the server still keeps the lock",
        pulled.elapsed()
    );
    running
        .wait()
        .assert_code(10)
        .assert_says("has not answered");
    eventually!(session.value(&held) == "0", "the server gives it away");
}

/// Only what runs can beat: the lock goes to another pod, and the first one ends its command when it comes to itself.
#[test]
fn a_stopped_process_loses_the_lock() {
    let database = Server::debian().database();
    let folder = Folder::empty();
    let call = exec(&database.url(), &folder, WAITING);
    let stopped = call.spawn();
    let pid = pid_of(&folder);
    let other = call.spawn();
    stopped.signal("STOP");
    // The command stands as it would in a frozen container; what it may do meanwhile is nobody's to prevent.
    signal(pid, "STOP");
    let next = pid_of(&folder);
    assert_ne!(next, pid, "another took over");
    stopped.signal("CONT");
    stopped
        .wait()
        .assert_code(10)
        .assert_says("the lock was lost");
    eventually!(!is_alive(pid), "its command is ended");
    let_go(&folder);
    other.wait().assert_code(0);
}

/// Stopped alone, without its command, it can end nothing: its guard does, before the server gives the lock away.
#[test]
fn beside_a_stopped_schemagate_the_command_does_not_run_on() {
    let database = Server::debian().database();
    let folder = Folder::empty();
    let script = format!("trap '' TERM\n{WAITING}");
    let stopped = exec(&database.url(), &folder, &script).spawn();
    let pid = pid_of(&folder);
    let backend = lock_backend(&database);
    let session = database.session();
    let held =
        format!("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = {backend}");
    stopped.signal("STOP");
    eventually!(!is_alive(pid), "it is killed");
    assert_eq!(session.value(&held), "1", "the server still keeps the lock");
    eventually!(session.value(&held) == "0", "the server gives it away");
    stopped.signal("CONT");
    stopped
        .wait()
        .assert_code(10)
        .assert_says("the lock was lost");
}

/// An answer may take a while: only none at all is a lost lock.
#[test]
fn a_slow_link_is_no_lost_lock() {
    let database = Server::debian().database();
    traced_table(&database);
    let proxy = Proxy::to(Server::debian().port());
    proxy.delay(Duration::from_millis(400));
    let folder = Folder::empty();
    let script = format!("sleep 12; DATABASE_URL='{}'; {TRACED}", database.url());
    exec(&database.url_at(proxy.port()), &folder, &script)
        .run()
        .assert_code(0);
    assert_never_two(&database, 1);
}
