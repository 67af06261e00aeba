//! A database that is only half there, and what is told of it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Database, Folder, PgBouncer, Schemagate, Server, Session, Stop, eventually};

fn one() -> Folder {
    Folder::sql(&[("0001_a.sql", "CREATE TABLE a (id int);")])
}

/// A pooler that has had a session with its server accepts clients without asking it again.
fn warmed(server: &Server, database: &Database<'_>) -> PgBouncer {
    let bouncer = PgBouncer::start(server, "transaction", 2);
    let warm = Schemagate::new(&["wait"]).url(&bouncer.url(database)).run();
    warm.assert_code(0);
    bouncer
}

/// The three commands, through a pooler.
fn calls(url: &str) -> [Schemagate; 3] {
    [
        &["wait", "--for", "database"][..],
        &["migrate"],
        &["status"],
    ]
    .map(|words| {
        Schemagate::new(words)
            .url(url)
            .folder(one())
            .env("SCHEMAGATE_WAIT_TIMEOUT", "2s")
            .timeout(Duration::from_secs(30))
    })
}

#[test]
fn a_pooler_whose_server_is_down_is_3() {
    let server = Server::own();
    let database = server.database();
    let bouncer = warmed(&server, &database);
    server.stop(Stop::Fast);
    for call in calls(&bouncer.url(&database)) {
        let outcome = call.run();
        outcome.assert_code(3).assert_within(Duration::from_secs(5));
        assert!(outcome.elapsed >= Duration::from_secs(2), "{outcome}");
    }
}

#[test]
fn a_server_that_comes_up_behind_its_pooler_is_0() {
    let server = Server::own();
    let database = server.database();
    let bouncer = warmed(&server, &database);
    server.stop(Stop::Fast);
    let running = calls(&bouncer.url(&database)).map(|call| {
        call.env("SCHEMAGATE_WAIT_TIMEOUT", "1m")
            .timeout(Duration::from_mins(1))
            .spawn()
    });
    eventually!(
        bouncer.log().contains("connect failed"),
        "the pooler tries to reach its server"
    );
    server.start();
    for running in running {
        running.wait().assert_code(0);
    }
}

#[test]
fn a_pooler_without_a_free_connection_is_3_in_time() {
    let database = Server::debian().database();
    let bouncer = PgBouncer::start(Server::debian(), "transaction", 1);
    let holder = Session::connect(&bouncer.url(&database));
    holder.query("BEGIN; SELECT 1");
    for call in calls(&bouncer.url(&database)) {
        call.run()
            .assert_code(3)
            .assert_says("the first query had no answer")
            .assert_within(Duration::from_secs(5));
    }
}

/// Severity, SQLSTATE and message of a pooler that greets every client and then cannot log in at its server.
#[test]
fn what_a_pooler_says_to_the_first_query_counts_as_a_failed_attempt() {
    for (severity, code, message, exit) in [
        (
            "FATAL",
            "08P01",
            "server login failed: FATAL password authentication failed for user \"app\"",
            9,
        ),
        ("FATAL", "08P01", "database \"app\" does not exist", 9),
        ("FATAL", "3D000", "database \"app\" does not exist", 9),
        ("ERROR", "28P01", "password authentication failed", 9),
        ("FATAL", "08P01", "server conn crashed?", 3),
        ("ERROR", "53300", "sorry, too many clients already", 3),
        ("FATAL", "57P03", "the database system is starting up", 3),
    ] {
        let url = Greeter::start(severity, code, message);
        for call in calls(&url) {
            let outcome = call.env("SCHEMAGATE_AUTH_GRACE", "300ms").run();
            outcome
                .assert_code(exit)
                .assert_says("waiting for the database")
                .assert_says(message.split('"').next().unwrap_or_default())
                .assert_within(Duration::from_secs(5));
        }
    }
}

/// Once refused, a pooler that then only hangs does not turn the grace into the whole wait.
#[test]
fn a_refusal_is_not_forgotten_when_the_pooler_then_hangs() {
    let greeter = Greeter {
        refusal: refusal("FATAL", "08P01", "password authentication failed"),
        answers: 1,
    };
    let url = greeter.listen();
    Schemagate::new(&["wait"])
        .url(&url)
        .env("SCHEMAGATE_AUTH_GRACE", "1s")
        .env("SCHEMAGATE_WAIT_TIMEOUT", "1m")
        .run()
        .assert_code(9)
        .assert_within(Duration::from_secs(15));
}

/// Speaks as much of the protocol as a client needs to believe in a session, and answers queries with an error.
struct Greeter {
    refusal: Vec<u8>,
    /// How many queries are answered; later ones get nothing.
    answers: usize,
}

impl Greeter {
    fn start(severity: &str, code: &str, message: &str) -> String {
        let greeter = Self {
            refusal: refusal(severity, code, message),
            answers: usize::MAX,
        };
        greeter.listen()
    }

    /// Listens until the test process ends; the URL.
    fn listen(self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        thread::spawn(move || {
            let mut answered = 0;
            let mut silent = Vec::new();
            for mut client in listener.incoming().flatten() {
                // An end in the middle is a client that gave up.
                if greet(&mut client).is_err() {
                    continue;
                }
                if answered < self.answers {
                    answered += 1;
                    let _ = client.write_all(&self.refusal);
                } else {
                    silent.push(client);
                }
            }
        });
        format!("postgres://app@127.0.0.1:{port}/app?sslmode=disable")
    }
}

/// Up to the first query.
fn greet(client: &mut TcpStream) -> std::io::Result<()> {
    let mut length = [0; 4];
    client.read_exact(&mut length)?;
    let mut startup = vec![0; u32::from_be_bytes(length) as usize - 4];
    client.read_exact(&mut startup)?;
    let mut greeting = Vec::new();
    greeting.extend(message(b'R', &0_u32.to_be_bytes()));
    greeting.extend(message(b'S', b"server_version\x0015.1\0"));
    greeting.extend(message(b'K', &[0, 0, 0, 1, 0, 0, 0, 2]));
    greeting.extend(message(b'Z', b"I"));
    client.write_all(&greeting)?;
    let mut head = [0; 5];
    client.read_exact(&mut head)?;
    let mut query = vec![0; u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize - 4];
    client.read_exact(&mut query)
}

fn refusal(severity: &str, code: &str, text: &str) -> Vec<u8> {
    let fields = format!("S{severity}\0V{severity}\0C{code}\0M{text}\0\0");
    let mut bytes = message(b'E', fields.as_bytes());
    if severity == "ERROR" {
        bytes.extend(message(b'Z', b"I"));
    }
    bytes
}

/// <https://www.postgresql.org/docs/current/protocol-message-formats.html>
fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).expect("a short message");
    [&[kind][..], &length.to_be_bytes(), body].concat()
}

/// `HOSTALIASES` (resolver(3)) names a pipe that nobody writes: the look-up hangs in a thread of the system's library.
#[test]
fn a_hanging_name_look_up_does_not_hold_the_end() {
    let folder = Folder::empty();
    let pipe = folder.path().join("aliases");
    let made = Command::new("mkfifo").arg(&pipe).status();
    assert!(made.is_ok_and(|status| status.success()), "a pipe");
    let wait = Schemagate::new(&["wait"])
        .url("postgres://app@database/app")
        .env("HOSTALIASES", &pipe)
        .timeout(Duration::from_secs(20));
    let limit = Duration::from_secs(5);
    wait.clone()
        .env("SCHEMAGATE_DEADLINE", "1s")
        .run()
        .assert_code(10)
        .assert_silent_about("waiting for the database")
        .assert_within(limit);
    wait.clone()
        .env("SCHEMAGATE_WAIT_TIMEOUT", "1s")
        .run()
        .assert_code(3)
        .assert_within(limit);
    let running = wait.spawn();
    thread::sleep(Duration::from_millis(500));
    let signalled = Instant::now();
    running.signal("TERM");
    running.wait().assert_code(143);
    assert!(signalled.elapsed() < limit);
}
