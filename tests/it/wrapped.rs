//! Real migration tools under `exec`, and the same tools alone in the same race.
//!
//! Who comes first is not left to the processes' starts: a transaction of the test's own has created one of the tables and
//! not committed, so the first to create it waits for the test, with all that it has read and locked by then. When the
//! transaction is rolled back, it goes on.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::harness::process::must;
use crate::harness::{Database, Outcome, Running, Schemagate, Server, Session, eventually};

const POOL: usize = 10;

/// A tool as a team calls it: a program, its arguments, what it needs in its environment.
struct Tool {
    program: PathBuf,
    args: Vec<String>,
    /// The table that its first migration creates first.
    first_table: &'static str,
    /// One row for all that was migrated once; what each figure counts is in the query.
    result: &'static str,
}

// === impl Tool ===

impl Tool {
    /// Five revisions in one transaction.
    fn alembic() -> Self {
        let project = project("alembic");
        Self {
            program: existing(project.join(".venv/bin/alembic")),
            args: vec![
                "-c".to_owned(),
                project.join("alembic.ini").display().to_string(),
                "upgrade".to_owned(),
                "head".to_owned(),
            ],
            first_table: "plans",
            result: "SELECT (SELECT string_agg(version_num, ' ') FROM alembic_version), (SELECT sum(fee_cents) FROM plans),
                     (SELECT count(*) FROM entries)",
        }
    }

    /// Five migrations, each in a transaction of its own but one, which builds an index concurrently.
    fn knex() -> Self {
        let project = project("knex");
        Self {
            program: existing(project.join("node_modules/.bin/knex")),
            args: vec![
                "--knexfile".to_owned(),
                project.join("knexfile.js").display().to_string(),
                "migrate:latest".to_owned(),
            ],
            first_table: "depots",
            result:
                "SELECT (SELECT count(*) FROM knex_migrations), (SELECT sum(fee_cents) FROM depots),
                     (SELECT count(*) FROM entries)",
        }
    }

    /// Under schemagate.
    fn wrapped(&self, url: &str) -> Schemagate {
        let program = self.program.display().to_string();
        let call = Schemagate::new(&["exec", "--", &program])
            .env("PATH", env::var_os("PATH").expect("a PATH"))
            .url(url);
        self.args.iter().fold(call, |call, arg| call.arg(arg))
    }

    /// Without.
    fn alone(&self, url: &str) -> Child {
        Command::new(&self.program)
            .args(&self.args)
            .env("DATABASE_URL", url)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the tool starts")
    }

    fn close_gate(&self, database: &Database<'_>) -> Gate {
        let gate = database.session();
        gate.query(&format!("BEGIN; CREATE TABLE {} ()", self.first_table));
        Gate {
            gate,
            // Within a transaction the view would not change.
            view: database.session(),
        }
    }
}

/// Lets nobody create the first table.
struct Gate {
    gate: Session,
    view: Session,
}

// === impl Gate ===

impl Gate {
    fn open(&self) {
        self.gate.query("ROLLBACK");
    }

    /// How many stand at the gate, or behind one who does.
    fn waiting(&self) -> usize {
        self.count("wait_event_type = 'Lock' AND state = 'active'")
    }

    fn connections_of_ours(&self) -> usize {
        self.count("application_name LIKE 'schemagate/%'")
    }

    fn count(&self, which: &str) -> usize {
        let count = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND {which}"
        );
        self.view.value(&count).parse().expect("a number")
    }
}

fn project(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/peers")
        .join(name)
}

fn existing(program: PathBuf) -> PathBuf {
    assert!(
        program.exists(),
        "no {}: run `make setup`",
        program.display()
    );
    program
}

/// Ten at once under schemagate: one stands at the gate, nine wait for the lock without a connection; all end with 0.
#[track_caller]
fn ten_wrapped(tool: &Tool, database: &Database<'_>, call: &Schemagate) -> Vec<Outcome> {
    let gate = tool.close_gate(database);
    let racers: Vec<Running> = (0..POOL).map(|_| call.spawn()).collect();
    let wait = |racer: &&Running| racer.stderr().contains("lock is held elsewhere");
    eventually!(
        racers.iter().filter(wait).count() == POOL - 1,
        "nine wait for the tenth"
    );
    eventually!(gate.waiting() == 1, "the tenth is at work");
    eventually!(
        gate.connections_of_ours() == 1,
        "who waits has no connection"
    );
    gate.open();
    let outcomes: Vec<Outcome> = racers.into_iter().map(Running::wait).collect();
    for outcome in &outcomes {
        outcome.assert_code(0);
    }
    assert!(database.has_no_advisory_lock());
    outcomes
}

#[test]
fn alembic_ten_at_once_is_applied_once() {
    let (tool, database) = (Tool::alembic(), Server::debian().database());
    let outcomes = ten_wrapped(&tool, &database, &tool.wrapped(&database.url()));
    assert_eq!(database.query(tool.result), [["e2786c0b4df5", "6440", "3"]]);
    let upgraded = |outcome: &&Outcome| outcome.stderr.contains("Running upgrade");
    assert_eq!(outcomes.iter().filter(upgraded).count(), 1);
}

#[test]
fn alembic_with_a_marker_is_started_once() {
    let (tool, database) = (Tool::alembic(), Server::debian().database());
    let call = tool
        .wrapped(&database.url())
        .env("SCHEMAGATE_EXEC_ONCE", "shop:1.4.2");
    let outcomes = ten_wrapped(&tool, &database, &call);
    assert_eq!(database.query(tool.result), [["e2786c0b4df5", "6440", "3"]]);
    let started = |outcome: &&Outcome| outcome.stderr.contains("alembic.runtime");
    assert_eq!(outcomes.iter().filter(started).count(), 1);
}

/// schemagate is killed with the tool in the middle of its transaction; the tool dies too, and the next pod begins anew.
#[test]
fn alembic_killed_half_way_is_taken_over() {
    let (tool, database) = (Tool::alembic(), Server::debian().database());
    let call = tool.wrapped(&database.url());
    let gate = tool.close_gate(&database);
    let first = call.spawn();
    eventually!(gate.waiting() == 1, "the first is at work");
    let second = call.spawn();
    eventually!(
        second.stderr().contains("command alembic"),
        "the second waits for it"
    );
    first.signal("KILL");
    first.wait().assert_code(137);
    eventually!(gate.waiting() == 2, "the second is at work");
    gate.open();
    second.wait().assert_code(0);
    assert_eq!(database.query(tool.result), [["e2786c0b4df5", "6440", "3"]]);
}

/// The same race without us: all have seen an empty database, and only one can create what it lacks.
#[test]
fn alembic_ten_at_once_alone_fails() {
    let (tool, database) = (Tool::alembic(), Server::debian().database());
    let url = database.url();
    let gate = tool.close_gate(&database);
    let racers: Vec<Child> = (0..POOL).map(|_| tool.alone(&url)).collect();
    eventually!(gate.waiting() == POOL, "all are at work");
    gate.open();
    assert_eq!(succeeded(racers), 1);
    assert_eq!(database.query(tool.result), [["e2786c0b4df5", "6440", "3"]]);
}

#[test]
fn knex_ten_at_once_is_applied_once() {
    let (tool, database) = (Tool::knex(), Server::debian().database());
    let outcomes = ten_wrapped(&tool, &database, &tool.wrapped(&database.url()));
    assert_eq!(database.query(tool.result), [["5", "5170", "3"]]);
    let idle = |outcome: &&Outcome| outcome.stdout.contains("Already up to date");
    assert_eq!(outcomes.iter().filter(idle).count(), POOL - 1);
}

/// knex has a lock of its own, and whoever does not get it gives up.
#[test]
fn knex_ten_at_once_alone_fails() {
    let (tool, database) = (Tool::knex(), Server::debian().database());
    let url = database.url();
    // It does not survive its own tables being created twice at once either.
    let mut list = Command::new(&tool.program);
    must(
        list.args(&tool.args[..2])
            .arg("migrate:list")
            .env("DATABASE_URL", &url),
    );
    let gate = tool.close_gate(&database);
    let mut racers: Vec<Child> = (0..POOL).map(|_| tool.alone(&url)).collect();
    eventually!(gate.waiting() == 1, "one is at work");
    let ended = |racer: &mut Child| racer.try_wait().expect("its state").is_some();
    eventually!(
        racers
            .iter_mut()
            .filter_map(|racer| ended(racer).then_some(()))
            .count()
            == POOL - 1,
        "nine give up"
    );
    gate.open();
    assert_eq!(succeeded(racers), 1);
    assert_eq!(database.query(tool.result), [["5", "5170", "3"]]);
}

/// How many ended with 0.
fn succeeded(racers: Vec<Child>) -> usize {
    let outcomes = racers.into_iter().map(|mut racer| racer.wait());
    outcomes
        .filter(|status| status.as_ref().expect("its end").success())
        .count()
}
