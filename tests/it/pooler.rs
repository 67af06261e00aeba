//! Through PgBouncer in transaction mode, where no session survives a transaction.

use crate::harness::{Database, PgBouncer, Schemagate, Server};
use crate::lock;

fn through(
    bouncer: &PgBouncer,
    database: &Database<'_>,
    folder: impl AsRef<std::path::Path>,
) -> Schemagate {
    Schemagate::new(&["migrate"])
        .url(&bouncer.url(database))
        .folder(folder)
}

#[test]
fn twenty_at_once() {
    let bouncer = PgBouncer::start(Server::debian(), "transaction", 5);
    for folder in [lock::traced_sql(), lock::traced_classic()] {
        for _ in 0..5 {
            let database = Server::debian().database();
            lock::race(20, &database, &through(&bouncer, &database, &folder));
            assert!(
                database.has_no_advisory_lock(),
                "nothing stays on a pooled server"
            );
        }
    }
}

#[test]
fn one_server_connection_is_enough_for_transactions() {
    let bouncer = PgBouncer::start(Server::debian(), "transaction", 1);
    let database = Server::debian().database();
    let folder = lock::traced_sql();
    lock::race(5, &database, &through(&bouncer, &database, &folder));
}

#[test]
fn a_concurrent_index_build_while_ten_others_wait() {
    let bouncer = PgBouncer::start(Server::debian(), "transaction", 5);
    let database = Server::debian().database();
    let folder = lock::slow_index();
    let call = through(&bouncer, &database, &folder);
    let worker = call.spawn();
    database.schemagate_runs("CREATE INDEX CONCURRENTLY");
    let waiters: Vec<_> = (0..10).map(|_| call.spawn()).collect();
    worker.wait().assert_code(0);
    for outcome in lock::wait_for_all(waiters) {
        outcome.assert_code(0);
    }
    lock::assert_index_is_valid(&database);
    assert!(database.has_no_advisory_lock());
}

#[test]
fn what_a_pooler_cannot_carry_is_refused() {
    let bouncer = PgBouncer::start(Server::debian(), "transaction", 5);
    let database = Server::debian().database();
    let owner = database.role("owner", "");
    let folder = lock::slow_index();
    Schemagate::migrate(&database, &folder)
        .env("SCHEMAGATE_TARGET", "0001")
        .run()
        .assert_code(0);
    database.query(&format!(
        "GRANT ALL ON SCHEMA schemagate TO {owner}; GRANT ALL ON ALL TABLES IN SCHEMA schemagate TO {owner}"
    ));
    through(&bouncer, &database, &folder)
        .env("SCHEMAGATE_ROLE", &owner)
        .run()
        .assert_code(2)
        .assert_says("SCHEMAGATE_DATABASE_URL");
}

#[test]
fn session_mode() {
    let bouncer = PgBouncer::start(Server::debian(), "session", 30);
    let database = Server::debian().database();
    let folder = lock::traced_sql();
    lock::race(20, &database, &through(&bouncer, &database, &folder));
    assert!(database.has_no_advisory_lock());
}

#[test]
fn an_unknown_database_is_told_by_its_text() {
    // PgBouncer 1.18 answers 08P01, which is otherwise a passing trouble.
    let bouncer = PgBouncer::start(Server::debian(), "transaction", 1);
    let database = Server::debian().database();
    let url = bouncer.url(&database).replace(&database.name, "nowhere");
    Schemagate::new(&["migrate"])
        .url(&url)
        .folder(lock::traced_sql())
        .env("SCHEMAGATE_AUTH_GRACE", "1s")
        .run()
        .assert_code(9)
        .assert_says("nowhere");
}
