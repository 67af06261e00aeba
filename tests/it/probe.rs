//! `probe`: 0 or 1 and nothing else, and why in one line.

use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use crate::harness::postgres::free_port;
use crate::harness::{Folder, Outcome, Receiver, Reply, Schemagate, Server, Sidecar, eventually};

fn probe(listen: &str) -> Schemagate {
    Schemagate::new(&["probe"]).env("SCHEMAGATE_LISTEN", listen)
}

fn probe_at(receiver: &Receiver) -> Schemagate {
    probe(&format!("127.0.0.1:{}", receiver.port()))
}

#[track_caller]
fn assert_ready(outcome: &Outcome) {
    outcome.assert_code(0);
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("", ""));
}

/// It ends with 1, and says why in one line.
#[track_caller]
fn assert_not_ready(outcome: &Outcome, reason: &str) {
    outcome.assert_code(1).assert_says(reason);
    assert_eq!(outcome.stdout, "", "{outcome}");
    assert_eq!(outcome.stderr.trim_end().lines().count(), 1, "{outcome}");
}

#[test]
fn each_question_has_its_path() {
    for (args, path) in [
        (&["probe"][..], "/readyz"),
        (&["probe", "--ready"], "/readyz"),
        (&["probe", "--live"], "/livez"),
        (&["probe", "--startup"], "/startupz"),
    ] {
        let sidecar = Receiver::start(Reply::Says("200 OK", "ready\n"));
        let listen = format!("127.0.0.1:{}", sidecar.port());
        let outcome = Schemagate::new(args).env("SCHEMAGATE_LISTEN", listen).run();
        assert_ready(&outcome);
        assert_eq!(sidecar.only().line, format!("GET {path}?verbose"));
    }
}

#[test]
fn the_reason_of_the_sidecar_is_told() {
    let sidecar = Receiver::start(Reply::Says(
        "503 Service Unavailable",
        "pending: 2 migrations\nnext: 0004_orders\n",
    ));
    assert_not_ready(
        &probe_at(&sidecar).run(),
        "503 Service Unavailable: pending: 2 migrations next: 0004_orders",
    );
}

#[test]
fn what_is_no_sidecar_is_1() {
    for (reply, reason) in [
        (Reply::Raw(b"SSH-2.0-OpenSSH_9.2p1\r\n\r\n"), "127.0.0.1:"),
        (Reply::Closes, "connection closed"),
        (Reply::Says("204 No Content", ""), "204"),
        (Reply::Says("404 Not Found", ""), "404"),
        (Reply::Says("302 Found", ""), "302"),
    ] {
        assert_not_ready(&probe_at(&Receiver::start(reply)).run(), reason);
    }
}

/// One that hangs has no more than a second, in which it is connected or not.
#[test]
fn a_hanging_sidecar_is_1_in_time() {
    let sidecar = Receiver::start(Reply::Nothing);
    let outcome = probe_at(&sidecar).run();
    assert_not_ready(&outcome, "took longer than");
    outcome.assert_within(Duration::from_secs(10));

    // A listener whose queue is full swallows connections.
    let full = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = full.local_addr().expect("its address");
    let waiting = (0..300)
        .map_while(|_| TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok());
    let waiting: Vec<TcpStream> = waiting.collect();
    let outcome = probe(&address.to_string()).run();
    assert_not_ready(&outcome, "timed out");
    outcome.assert_within(Duration::from_secs(10));
    drop(waiting);
}

#[test]
fn nobody_there_is_1() {
    assert_not_ready(&probe("127.0.0.1:1").run(), "is the sidecar running?");
    let outcome = probe("[::]:1").run();
    assert_not_ready(&outcome, "127.0.0.1:1");
    outcome.assert_says("[::1]:1");
}

/// A sidecar that listens everywhere is asked on this host, by whichever family it has.
#[test]
fn every_address_means_this_host() {
    let sidecar = Receiver::start_at("127.0.0.1:0", Reply::Says("200 OK", ""));
    for listen in ["0.0.0.0", "[::]"] {
        assert_ready(&probe(&format!("{listen}:{}", sidecar.port())).run());
    }
    assert_eq!(sidecar.requests().len(), 2);
    let sidecar = Receiver::start_at("[::1]:0", Reply::Says("503 x", "pending"));
    let port = sidecar.port();
    assert_not_ready(&probe(&format!("[::]:{port}")).run(), "pending");
    assert_not_ready(&probe(&format!("0.0.0.0:{port}")).run(), "127.0.0.1");
    sidecar.only().assert_header(&format!("host: [::1]:{port}"));
}

#[test]
fn a_real_sidecar_is_asked() {
    let database = Server::debian().database();
    let folder = Folder::sql(&[("0001_a.sql", "CREATE TABLE a (id int);")]);
    let sidecar = Sidecar::start(&Schemagate::sidecar(&database, &folder));
    sidecar.becomes("pending", false);
    let ask = |question: &str| probe(&sidecar.address().to_string()).arg(question).run();
    assert_ready(&ask("--live"));
    assert_not_ready(&ask("--ready"), "pending");
    assert_not_ready(&ask("--startup"), "0001");
    Schemagate::migrate(&database, &folder).run().assert_code(0);
    sidecar.becomes("ready", true);
    for question in ["--live", "--ready", "--startup"] {
        assert_ready(&ask(question));
    }
    sidecar.stop().assert_code(0);
}

/// Both are given the same address, as in one pod.
#[test]
fn a_real_sidecar_that_listens_everywhere_is_found() {
    let database = Server::debian().database();
    let folder = Folder::sql(&[("0001_a.sql", "CREATE TABLE a (id int);")]);
    for host in ["[::]", "0.0.0.0", "[::1]"] {
        let listen = format!("{host}:{}", free_port());
        let running = Schemagate::sidecar(&database, &folder)
            .env("SCHEMAGATE_LISTEN", &listen)
            .spawn();
        let alive = || probe(&listen).arg("--live").run().code() == 0;
        eventually!(alive(), "{listen}\n{}", running.stderr());
    }
}

#[test]
fn a_mistake_in_the_settings_is_1() {
    Schemagate::new(&["probe"])
        .env("SCHEMAGATE_LISTEN", "nowhere")
        .run()
        .assert_code(1)
        .assert_says("SCHEMAGATE_LISTEN");
    Schemagate::new(&["probe", "--nonsense"])
        .run()
        .assert_code(1)
        .assert_says("--nonsense");
}

/// `/dev/termination-log` belongs to the container's process, beside which a probe runs. In a mount namespace of its
/// own: the machine's `/dev` is not touched.
#[test]
fn the_termination_message_of_the_pod_is_left_alone() {
    let script = "mount -t tmpfs none /dev && echo kept >/dev/termination-log; code=
        for args in probe 'probe --nonsense' 'probe --live'; do
            \"$0\" $args; code=$code$?
        done
        SCHEMAGATE_LOG=loud \"$0\" probe; code=$code$?
        cat /dev/termination-log; echo $code";
    let output = Command::new("unshare")
        .args(["--mount", "--map-root-user", "sh", "-c", script])
        .arg(env!("CARGO_BIN_EXE_schemagate"))
        .env("SCHEMAGATE_LISTEN", "127.0.0.1:1")
        .output()
        .expect("unshare (util-linux) starts");
    let (said, found) = (
        String::from_utf8_lossy(&output.stderr),
        String::from_utf8_lossy(&output.stdout),
    );
    assert_eq!(
        found, "kept\n1111\n",
        "mount namespaces are needed (root, or unprivileged user namespaces): {said}"
    );
}
