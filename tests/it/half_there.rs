//! A database that is only half there, and what is told of it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{
    Database, Folder, Outcome, PgBouncer, Proxy, Schemagate, Server, Session, Stop, eventually,
};

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

/// The versions that a list of the summary holds.
fn versions(outcome: &Outcome, list: &str) -> Vec<String> {
    let logs = outcome.logs();
    let summary = logs.last().expect("a summary");
    let entries = summary[list].as_array().expect("a list");
    let version = |entry: &Value| {
        entry["version"]
            .as_str()
            .or(entry.as_str())
            .map(str::to_owned)
    };
    entries.iter().filter_map(version).collect()
}

#[test]
fn a_failed_run_tells_what_is_left() {
    let database = Server::debian().database();
    let folder = Folder::sql(&[
        ("0001_a.sql", "CREATE TABLE a (id int);"),
        ("0002_b.sql", "SELECT 1 / 0;"),
        ("0003_c.sql", "CREATE TABLE c (id int);"),
    ]);
    let failed = Schemagate::migrate(&database, &folder).run();
    failed.assert_code(5);
    assert_eq!(versions(&failed, "applied"), ["0001"]);
    assert_eq!(versions(&failed, "pending"), ["0002", "0003"]);

    // Nothing is applied, and a conflict forbids all that is pending.
    folder.write("0001_a.sql", b"CREATE TABLE other (id int);");
    let refused = Schemagate::migrate(&database, &folder).run();
    refused.assert_code(6);
    assert_eq!(versions(&refused, "pending"), ["0002", "0003"]);
}

#[test]
fn all_migrations_of_a_commit_without_an_answer_are_told() {
    let database = Server::debian().database();
    // The trigger waits at the commit, after both files have been answered.
    let folder = Folder::sql(&[
        (
            "0001_a.sql",
            "CREATE TABLE a (id int);
             CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN PERFORM pg_sleep(1); RETURN NULL; END $$;
             CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON a DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW EXECUTE FUNCTION slow();
             INSERT INTO a VALUES (1);",
        ),
        ("0002_b.sql", "CREATE TABLE b (id int);"),
    ]);
    let proxy = Proxy::to(Server::debian().port());
    let running = Schemagate::migrate(&database, &folder)
        .url(&database.url_at(proxy.port()))
        .env("SCHEMAGATE_TRANSACTION", "all")
        .spawn();
    let sleeping = "SELECT 1 FROM pg_stat_activity
                    WHERE datname = current_database() AND wait_event = 'PgSleep'";
    eventually!(!database.query(sleeping).is_empty(), "it commits");
    proxy.hold();
    eventually!(database.has_table("b"), "it has committed");
    proxy.cut();
    let outcome = running.wait();
    outcome
        .assert_code(0)
        .assert_says("lost during 0002, which was committed");
    assert_eq!(versions(&outcome, "applied"), ["0001", "0002"]);
    assert!(versions(&outcome, "pending").is_empty());
}

#[test]
fn a_dry_run_refuses_what_a_run_would_refuse() {
    let database = Server::debian().database();
    let dry =
        |folder: &Folder| Schemagate::migrate(&database, folder).env("SCHEMAGATE_DRY_RUN", "true");
    let bare = Folder::sql(&[(
        "0001_a.sql",
        "CREATE INDEX CONCURRENTLY i ON pg_class (oid);",
    )]);
    let outcome = dry(&bare).env("SCHEMAGATE_TRANSACTION", "all").run();
    outcome
        .assert_code(2)
        .assert_says("0001_a.sql")
        .assert_says("SCHEMAGATE_TRANSACTION=all");
    assert_eq!(versions(&outcome, "pending"), ["0001"]);
    dry(&one())
        .run()
        .assert_code(0)
        .assert_prints("would apply 0001");

    database.query("CREATE TABLE schema_migrations (version bigint, dirty boolean); INSERT INTO schema_migrations VALUES (1, false)");
    let run = Schemagate::migrate(&database, one()).run();
    run.assert_code(6).assert_says("schema_migrations");
    dry(&one())
        .run()
        .assert_code(6)
        .assert_says("schema_migrations");
    assert!(!database.has_table("schemagate.history"));
}

#[test]
fn a_dry_run_of_baseline_refuses_what_baseline_would_refuse() {
    let database = Server::debian().database();
    Schemagate::migrate(&database, one()).run().assert_code(0);
    let changed = Folder::sql(&[
        ("0001_a.sql", "CREATE TABLE other (id int);"),
        ("0002_b.sql", "SELECT 1;"),
    ]);
    let baseline = Schemagate::new(&["baseline", "--to", "0002"])
        .url(&database.url())
        .folder(&changed);
    baseline.run().assert_code(6).assert_says("0001_a.sql");
    baseline
        .env("SCHEMAGATE_DRY_RUN", "true")
        .run()
        .assert_code(6)
        .assert_says("0001_a.sql");
}

#[test]
fn a_history_that_may_not_be_read_is_9_and_one_that_is_locked_4() {
    let database = Server::debian().database();
    Schemagate::migrate(&database, one()).run().assert_code(0);
    let role = database.role("reader", "LOGIN");
    let status = Schemagate::status(&database, one())
        .url(&database.url_as(&role))
        .timeout(Duration::from_secs(30));
    let granted = |grant: &str, advice: &str| {
        status.run().assert_code(9).assert_says(advice);
        database.query(&format!("{grant} TO {role}"));
    };
    granted("GRANT USAGE ON SCHEMA schemagate", "GRANT USAGE ON SCHEMA");
    granted(
        "GRANT SELECT ON TABLE schemagate.history",
        "GRANT SELECT ON TABLE",
    );
    status.run().assert_code(0);

    database.query(&format!("ALTER ROLE {role} SET lock_timeout = '200ms'"));
    let holder = database.session();
    holder.query("BEGIN; LOCK TABLE schemagate.history");
    status.run().assert_code(4).assert_says("55P03");
    drop(holder);
    database.query(&format!("DROP OWNED BY {role}"));
}

/// A value in a CONTEXT goes to the log's line of details and nowhere else.
#[test]
fn the_context_of_a_copy_shows_no_value() {
    let database = Server::debian().database();
    for (text, place) in [
        (
            "CREATE TABLE t (a int, b text);\nCOPY t FROM stdin;\nx4111-1111\tb\n\\.\n",
            "COPY t, line 1, column a",
        ),
        (
            "CREATE TABLE t (a int);\nCREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS \
             $$ BEGIN EXECUTE 'INSERT INTO t SELECT 1 / (length(''x4111-1111'') - 10)'; END $$;\nSELECT f();",
            "PL/pgSQL function f() line 1 at EXECUTE",
        ),
    ] {
        let folder = Folder::sql(&[("0001_t.sql", text)]);
        let outcome = Schemagate::migrate(&database, &folder).run();
        outcome.assert_code(5).assert_says(place);
        let (details, rest): (Vec<&str>, Vec<&str>) = outcome
            .stderr
            .lines()
            .partition(|line| line.contains("detail of the server"));
        assert!(details.concat().contains("context: "), "{outcome}");
        // The message of an error may name a value; here the first one does, and PostgreSQL's message is always shown.
        let rest = rest.join("\n").replace("type integer: \\\"x4111-1111", "");
        assert!(!rest.contains("4111"), "{outcome}");
    }
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
