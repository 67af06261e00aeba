//! What the rounds have found, each made again without chance.

use crate::harness::{Folder, Schemagate, Server, eventually};

/// A rebuild of a table's indexes rebuilds those of its partitions and of their TOAST tables too.
#[test]
fn an_interrupted_rebuild_leaves_no_invalid_index_anywhere() {
    let invalid = "SELECT count(*) FROM pg_index WHERE NOT indisvalid";
    for table in [
        "CREATE TABLE t (id int PRIMARY KEY, note text);",
        "CREATE TABLE t (id int PRIMARY KEY, note text) PARTITION BY RANGE (id);
         CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (10);",
    ] {
        let database = Server::debian().database();
        let folder = Folder::sql(&[
            ("0001_t.sql", table),
            ("0002_rebuild.sql", "REINDEX TABLE CONCURRENTLY t;"),
        ]);
        let migrate = Schemagate::migrate(&database, &folder);
        migrate
            .clone()
            .env("SCHEMAGATE_TARGET", "0001")
            .run()
            .assert_code(0);
        // The rebuild waits for this snapshot when both new indexes are there.
        let reader = database.session();
        reader.query("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1");
        let running = migrate.spawn();
        let backend = database.schemagate_runs("REINDEX TABLE");
        eventually!(database.value(invalid) == "2", "the new indexes are there");
        running.signal("KILL");
        running.wait();
        database.query(&format!("SELECT pg_terminate_backend({backend})"));
        drop(reader);
        migrate
            .run()
            .assert_code(0)
            .assert_says("invalid leftover of an interrupted REINDEX CONCURRENTLY");
        assert_eq!(database.value(invalid), "0", "{table}");
    }
}
