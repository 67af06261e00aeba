//! An older and a newer major version of the server than Debian's.

use crate::harness::{Database, Drizzle, Schemagate, Server};
use crate::lock;

fn on_each(check: impl Fn(&Database<'_>)) {
    for major in ["14", "18"] {
        check(&Server::embedded(major).database());
    }
}

#[test]
fn the_shop_is_built() {
    for generation in [Drizzle::Classic, Drizzle::V1] {
        on_each(|database| {
            let call = Schemagate::migrate(database, generation.shop());
            call.run().assert_code(0);
            call.run().assert_code(0);
            assert!(database.has_table("warehouse.stock"));
            assert_eq!(
                database.value("SELECT count(*) FROM drizzle.__drizzle_migrations"),
                "10"
            );
            generation.migrate(&generation.shop(), &database.url());
        });
    }
}

#[test]
fn twenty_at_once() {
    on_each(|database| {
        let folder = lock::traced_sql();
        lock::race(20, database, &Schemagate::migrate(database, &folder));
        assert_eq!(lock::appliers(database), "1");
    });
}

#[test]
fn a_concurrent_index_build_while_others_wait() {
    on_each(|database| {
        let folder = lock::slow_index();
        let call = Schemagate::migrate(database, &folder);
        let racers = (0..5).map(|_| call.spawn()).collect();
        for outcome in lock::wait_for_all(racers) {
            outcome.assert_code(0);
        }
        lock::assert_index_is_valid(database);
    });
}
