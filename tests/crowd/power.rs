//! Nodes that lose their power: from one moment to the next nothing comes from them any more, no answer and no end of a
//! connection.
//!
//! The test runs again inside a network namespace of its own, so that no interface of the machine is touched. Each node is a
//! further namespace behind a pair of virtual interfaces, and what loses its power drops all packets.

use std::env;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::ghosts::{
    EXEC, assert_each_once, assert_freed, command_of, copied, exec, holders, slow_index,
    slow_transaction,
};
use crate::harness::process::{is_root, must};
use crate::harness::{Database, Folder, PgBouncer, Schemagate, Server};
use crate::tell;

const INSIDE: &str = "SCHEMAGATE_TEST_INSIDE_A_NAMESPACE";

/// A namespace with one link to the server's.
struct Node {
    /// Keeps the namespace alive.
    keeper: Child,
    subnet: u8,
}

/// What becomes of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// The link comes back after the work was done by another.
    Returns,
    /// It keeps its power; only schemagate stands still, and goes on afterwards.
    Paused,
    /// Nothing is heard of it again, and what runs there hears nothing either.
    Stays,
}

// === impl Node ===

impl Node {
    fn new(subnet: u8) -> Self {
        let mut keeper = Command::new("unshare")
            .args(["--net", "sh", "-c", "echo there; exec sleep 1000"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("no unshare: run `make setup`");
        let mut word = [0; 5];
        let said = keeper.stdout.as_mut().expect("a pipe");
        said.read_exact(&mut word).expect("a namespace");
        let node = Self { keeper, subnet };
        let (near, far, pid) = (node.near(), node.far(), node.keeper.id().to_string());
        let ip = |words: &str| must(ip().args(words.split(' ')));
        ip(&format!("link add {near} type veth peer name {far}"));
        ip(&format!("link set {far} netns {pid}"));
        ip(&format!("addr add {}/24 dev {near}", node.server_address()));
        ip(&format!("link set {near} up"));
        let inside = |words: &str| must(node.inside("ip").args(words.split(' ')));
        inside(&format!("addr add 10.99.{subnet}.2/24 dev {far}"));
        inside(&format!("link set {far} up"));
        inside("link set lo up");
        node
    }

    fn near(&self) -> String {
        format!("near{}", self.subnet)
    }

    fn far(&self) -> String {
        format!("far{}", self.subnet)
    }

    /// Where the server is, seen from the node.
    fn server_address(&self) -> String {
        format!("10.99.{}.1", self.subnet)
    }

    fn namespace(&self) -> String {
        format!("--net=/proc/{}/ns/net", self.keeper.id())
    }

    fn inside(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(self.namespace()).arg(program);
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command
    }

    /// A call that runs there, of a server at one of its addresses.
    fn call(&self, database: &Database<'_>, port: u16, words: &[&str]) -> Schemagate {
        let namespace = self.namespace();
        let mut all = vec![namespace.as_str(), env!("CARGO_BIN_EXE_schemagate")];
        all.extend(words);
        let url = database.url_at(port);
        Schemagate::new(&all)
            .program(Path::new("/usr/bin/nsenter"))
            .url(&url.replace("127.0.0.1", &self.server_address()))
            .timeout(Duration::from_mins(3))
    }

    fn lose_power(&self) {
        for chain in ["INPUT", "OUTPUT"] {
            must(self.inside("iptables").args(["-A", chain, "-j", "DROP"]));
        }
    }

    fn return_to_life(&self) {
        must(self.inside("iptables").arg("-F"));
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

fn ip() -> Command {
    let mut command = Command::new("ip");
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command
}

/// Runs the test of this name in a namespace of its own.
fn in_a_namespace(test: &str) {
    let mut command = Command::new("unshare");
    if !is_root() {
        command.args(["--user", "--map-current-user", "--keep-caps"]);
    }
    let own = env::current_exe().expect("this program");
    command.arg("--net").arg(own);
    command
        .args([test, "--exact", "--nocapture"])
        .env(INSIDE, "yes");
    let status = command.status().expect("no unshare: run `make setup`");
    assert!(status.success(), "in a network namespace: {status}");
}

/// A server that the nodes can reach.
fn server() -> Server {
    must(ip().args(["link", "set", "lo", "up"]));
    let server = Server::own_with("listen_addresses = '0.0.0.0'");
    let file = server.data().join("pg_hba.conf");
    let lines = fs::read_to_string(&file).expect("pg_hba.conf");
    fs::write(&file, lines + "host all all 10.99.0.0/16 trust\n").expect("pg_hba.conf");
    server.session("postgres").query("SELECT pg_reload_conf()");
    server
}

/// A statement that answers more than any buffer takes, until somebody has made a table `brief`.
fn big_answer() -> Folder {
    Folder::sql(&[
        ("0001_first.sql", "CREATE TABLE first (id int);"),
        (
            "0002_slow.sql",
            "SELECT repeat('x', 1000000) FROM generate_series(1, 1000000) WHERE to_regclass('public.brief') IS NULL;",
        ),
        ("0003_next.sql", "CREATE TABLE next (id int);"),
    ])
}

struct Scene {
    what: &'static str,
    folder: Folder,
    runs: &'static str,
    pooled: bool,
    fate: Fate,
}

impl Scene {
    fn play(&self, server: &Server, bouncer: &PgBouncer, subnet: u8) {
        let what = self.what;
        let database = server.database();
        let node = Node::new(subnet);
        let port = if self.pooled {
            bouncer.port()
        } else {
            server.port()
        };
        let ghost = node
            .call(&database, port, &["migrate"])
            .folder(&self.folder);
        let ghost = match self.fate {
            Fate::Stays => ghost.env("SCHEMAGATE_WAIT_TIMEOUT", "20s"),
            _ => ghost,
        };
        let ghost = ghost.spawn();
        database.schemagate_runs(self.runs);
        let ghosts = holders(&database);
        assert!(!ghosts.is_empty(), "{what}: nobody has the lock");
        if self.fate == Fate::Paused {
            ghost.signal("STOP");
        } else {
            node.lose_power();
        }
        let next = Schemagate::migrate(&database, &self.folder)
            .timeout(Duration::from_mins(3))
            .spawn();
        database.query("CREATE TABLE brief ()");
        let freed = assert_freed(&database, what, &ghosts);
        tell!(
            "ghost: {:?}, {what}: the lock was free after {freed:.1?}",
            self.fate
        );
        next.wait().assert_code(0);
        assert_each_once(&database, what);
        match self.fate {
            Fate::Returns => node.return_to_life(),
            Fate::Paused => ghost.signal("CONT"),
            Fate::Stays => {}
        }
        let outcome = ghost.wait();
        if self.fate == Fate::Stays {
            outcome.assert_code(10).assert_says("0002");
            tell!(
                "  and schemagate behind the dead link ended after {:.1?}",
                outcome.elapsed
            );
        } else {
            outcome.assert_code(0);
        }
        assert_each_once(&database, what);
    }
}

fn ghost_of_exec(server: &Server, bouncer: &PgBouncer, pooled: bool, subnet: u8) {
    let database = server.database();
    let node = Node::new(subnet);
    let (port, what) = if pooled {
        (bouncer.port(), "of exec, pooled")
    } else {
        (server.port(), "of exec")
    };
    let folder = Folder::empty();
    let here = exec(&database.url(), &folder);
    let ghost = node
        .call(&database, port, &EXEC)
        .env("PATH", "/usr/bin:/bin")
        .env("DIR", folder.path())
        .spawn();
    let command = command_of(&folder);
    let ghosts = holders(&database);
    node.lose_power();
    let next = here.spawn();
    let freed = assert_freed(&database, what, &ghosts);
    tell!("ghost: power loss {what}: the lock was free after {freed:.1?}");
    assert_ne!(command_of(&folder), command, "{what}");
    ghost
        .wait()
        .assert_code(10)
        .assert_says("the lock was lost");
    folder.write("go", b"");
    next.wait().assert_code(0);
}

#[test]
fn a_node_without_power() {
    if env::var_os(INSIDE).is_none() {
        return in_a_namespace("power::a_node_without_power");
    }
    let server = server();
    let bouncer =
        PgBouncer::start_with(server.port(), "transaction", 10, "listen_addr = 0.0.0.0\n");
    let scene = |what, folder, runs, pooled, fate| Scene {
        what,
        folder,
        runs,
        pooled,
        fate,
    };
    let build = "CREATE INDEX CONCURRENTLY";
    let scenes = [
        scene(
            "in a transaction",
            slow_transaction(60),
            "pg_sleep",
            false,
            Fate::Returns,
        ),
        scene(
            "in a transaction",
            slow_transaction(60),
            "pg_sleep",
            false,
            Fate::Stays,
        ),
        scene(
            "in an index build",
            slow_index(30),
            build,
            false,
            Fate::Returns,
        ),
        scene("in an answer", big_answer(), "repeat", false, Fate::Returns),
        scene("in an answer", big_answer(), "repeat", false, Fate::Paused),
        scene("in a COPY", copied(), "COPY half", false, Fate::Stays),
        scene(
            "in an index build, pooled",
            slow_index(30),
            build,
            true,
            Fate::Returns,
        ),
    ];
    thread::scope(|scope| {
        for (scene, subnet) in scenes.iter().zip(1..) {
            let (server, bouncer) = (&server, &bouncer);
            scope.spawn(move || scene.play(server, bouncer, subnet));
        }
        for (pooled, subnet) in [(false, 11), (true, 12)] {
            let (server, bouncer) = (&server, &bouncer);
            scope.spawn(move || ghost_of_exec(server, bouncer, pooled, subnet));
        }
    });
}
