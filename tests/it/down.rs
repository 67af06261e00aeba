//! `down --to V`: newest first, behind the lock, and nothing without a down file.

use crate::harness::{Database, Folder, PgBouncer, Schemagate, Server, eventually, fixture};

/// Three tables, each with its down file.
fn tables() -> Folder {
    Folder::sql(&[
        ("0001_a.up.sql", "CREATE TABLE a (id int);"),
        ("0001_a.down.sql", "DROP TABLE a;"),
        ("0002_b.up.sql", "CREATE TABLE b (id int);"),
        ("0002_b.down.sql", "DROP TABLE b;"),
        ("0003_c.up.sql", "CREATE TABLE c (id int);"),
        ("0003_c.down.sql", "DROP TABLE c;"),
    ])
}

fn down(database: &Database<'_>, folder: &Folder, to: &str) -> Schemagate {
    Schemagate::new(&["down", "--to", to, "--yes"])
        .url(&database.url())
        .folder(folder)
}

fn migrated(folder: &Folder) -> Database<'static> {
    let database = Server::debian().database();
    Schemagate::migrate(&database, folder).run().assert_code(0);
    database
}

/// The history in the order in which it was written.
fn versions(database: &Database<'_>) -> String {
    database.value(
        "SELECT coalesce(string_agg(version, ',' ORDER BY serial), '') FROM schemagate.history",
    )
}

/// What the journal notes, without the beginning and end of runs.
fn notes(database: &Database<'_>) -> String {
    database.value(
        "SELECT string_agg(event || coalesce(' ' || version, ''), ', ' ORDER BY id) FROM schemagate.journal
         WHERE event NOT IN ('bootstrap', 'fingerprint', 'run_started')",
    )
}

#[test]
fn newest_first_and_up_again() {
    let folder = tables();
    let database = migrated(&folder);
    let outcome = down(&database, &folder, "1").run();
    outcome.assert_code(0);
    let sum = outcome.logs().pop().unwrap();
    let reverted = sum["reverted"].as_array().unwrap();
    assert_eq!(
        (&reverted[0]["version"], &reverted[1]["version"]),
        (&"0003".into(), &"0002".into())
    );
    assert_eq!(versions(&database), "0001");
    assert!(database.has_table("a") && !database.has_table("b") && !database.has_table("c"));
    assert_eq!(
        notes(&database),
        "applied 0001, applied 0002, applied 0003, run_finished, reverted 0003, reverted 0002, run_finished"
    );
    Schemagate::status(&database, &folder)
        .arg("--exit-code")
        .run()
        .assert_code(8)
        .assert_prints("0002     pending");
    Schemagate::migrate(&database, &folder).run().assert_code(0);
    assert_eq!(versions(&database), "0001,0002,0003");
    assert!(database.has_table("c"));
    down(&database, &folder, "0").run().assert_code(0);
    assert_eq!(versions(&database), "");
    down(&database, &folder, "0")
        .run()
        .assert_code(0)
        .assert_says("nothing to undo");
    Schemagate::new(&["status", "--history"])
        .url(&database.url())
        .folder(&folder)
        .run()
        .assert_code(0)
        .assert_prints("reverted");
}

#[test]
fn without_yes_it_only_tells() {
    let folder = tables();
    let database = migrated(&folder);
    let call = Schemagate::new(&["down", "--to", "0001"])
        .url(&database.url())
        .folder(&folder);
    call.run()
        .assert_code(2)
        .assert_prints("would undo 0003 (0003_c.down.sql)\n  line 1: DROP TABLE c  [destructive]")
        .assert_says("2 migrations would be undone, and --yes is missing")
        .assert_says("down --to 0001 --yes");
    down(&database, &folder, "0001")
        .env("SCHEMAGATE_DRY_RUN", "true")
        .run()
        .assert_code(0)
        .assert_prints("would undo 0002");
    assert_eq!(versions(&database), "0001,0002,0003");
    let nothing = Schemagate::new(&["down", "--to", "0003"]);
    nothing
        .url(&database.url())
        .folder(&folder)
        .run()
        .assert_code(0);
}

#[test]
fn what_it_refuses() {
    let folder = tables();
    let database = migrated(&folder);
    let refused = |folder: &Folder, to: &str, code: i32, why: &str| {
        for call in [
            down(&database, folder, to),
            Schemagate::new(&["down", "--to", to])
                .url(&database.url())
                .folder(folder),
        ] {
            call.run().assert_code(code).assert_says(why);
        }
        assert_eq!(versions(&database), "0001,0002,0003");
        assert!(database.has_table("c"));
    };
    refused(&folder, "0009", 2, "names no migration");
    folder.remove("0002_b.down.sql");
    refused(&folder, "0001", 2, "no down file for 0002_b.up.sql");
    folder.write(
        "0002_b.down.sql",
        b"-- schemagate: phase=contract\nDROP TABLE b;",
    );
    refused(&folder, "0001", 2, "0002_b.down.sql: in a down file only");
    folder.write("0002_b.down.sql", b"DROP TABLE b; ROLLBACK;");
    refused(&folder, "0001", 2, "0002_b.down.sql:1:15");
    folder.write("0002_b.down.sql", b"DROP TABLE b;");
    folder.write("0003_c.up.sql", b"CREATE TABLE c (id bigint);");
    refused(
        &folder,
        "0001",
        6,
        "0003_c.up.sql has changed since it was applied",
    );
    folder.remove("0003_c.up.sql").remove("0003_c.down.sql");
    // For this image 0003 is ahead, which `migrate` allows.
    Schemagate::migrate(&database, &folder).run().assert_code(0);
    refused(&folder, "0001", 6, "0003");
    Schemagate::new(&["down", "--to", "0", "--yes"])
        .url(&database.url())
        .folder(fixture("drizzle/classic/shop"))
        .run()
        .assert_code(2)
        .assert_says("has no down files");
}

#[test]
fn a_down_file_that_fails_leaves_its_migration_applied() {
    let folder = tables();
    folder.write(
        "0002_b.down.sql",
        b"DELETE FROM b;\nDROP TABLE no_such_table;",
    );
    let database = migrated(&folder);
    database.query("INSERT INTO b VALUES (1)");
    down(&database, &folder, "0")
        .run()
        .assert_code(5)
        .assert_says("0002_b.down.sql:2:")
        .assert_says("0002 stays applied");
    assert_eq!(versions(&database), "0001,0002");
    assert_eq!(database.value("SELECT count(*) FROM b"), "1");
    let status = Schemagate::status(&database, &folder).run();
    status.assert_code(0).assert_prints("0002     applied");
    folder.write("0002_b.down.sql", b"DROP TABLE b;");
    down(&database, &folder, "0").run().assert_code(0);
    assert_eq!(versions(&database), "");
}

#[test]
fn all_in_one_transaction_where_that_is_asked_for() {
    let folder = tables();
    folder.write("0001_a.down.sql", b"DROP TABLE no_such_table;");
    let database = migrated(&folder);
    let call = down(&database, &folder, "0").env("SCHEMAGATE_TRANSACTION", "all");
    call.run()
        .assert_code(5)
        .assert_says("0001_a.down.sql:1:")
        .assert_says("nothing was undone");
    assert_eq!(versions(&database), "0001,0002,0003");
    assert!(database.has_table("c"));
    folder.write("0001_a.down.sql", b"DROP TABLE a;");
    call.run().assert_code(0);
    assert_eq!(versions(&database), "");
}

#[test]
fn a_file_may_set_what_it_likes_and_names_may_be_odd() {
    let folder = Folder::sql(&[
        ("0001_it's 🐘.up.sql", "CREATE TABLE \"o'd d 🐘\" ();\r\n"),
        (
            "0001_it's 🐘.down.sql",
            "SET search_path = nowhere; SET ROLE pg_monitor; RESET ROLE;\r\nSET statement_timeout = 60000;\r\nDROP TABLE public.\"o'd d 🐘\";\r\nSET ROLE pg_monitor;",
        ),
    ]);
    let database = Server::debian().database();
    let call = |args: &[&str]| {
        Schemagate::new(args)
            .url(&database.url())
            .folder(&folder)
            .env("SCHEMAGATE_HISTORY_TABLE", "\"odd's\".\"h 🐘\"")
    };
    call(&["migrate"]).run().assert_code(0);
    call(&["down", "--to", "0", "--yes"]).run().assert_code(0);
    assert_eq!(
        database.value("SELECT count(*) FROM \"odd's\".\"h 🐘\""),
        "0"
    );
}

#[test]
fn a_role_that_may_not_delete_is_told_the_grant() {
    let folder = tables();
    let database = migrated(&folder);
    let role = database.role("weak", "LOGIN");
    database.query(&format!(
        "GRANT USAGE ON SCHEMA schemagate TO {role}; GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA schemagate TO {role}"
    ));
    let call = down(&database, &folder, "2").url(&database.url_as(&role));
    let grant = format!("GRANT DELETE ON TABLE \"schemagate\".\"history\" TO \"{role}\"");
    call.run()
        .assert_code(9)
        .assert_says(&grant.replace('"', "\\\""));
    database.query(&format!("{grant}; ALTER TABLE c OWNER TO {role}"));
    call.run().assert_code(0);
    assert_eq!(versions(&database), "0001,0002");
}

#[test]
fn as_the_role_that_owns_everything() {
    let database = Server::debian().database();
    let owner = database.role("owner", "");
    let login = database.role("login", &format!("LOGIN NOINHERIT IN ROLE {owner}"));
    database.query(&format!(
        "GRANT CREATE ON DATABASE {0} TO {owner}; GRANT CREATE ON SCHEMA public TO {owner}",
        database.name
    ));
    let folder = tables();
    let as_owner = |call: Schemagate| {
        call.url(&database.url_as(&login))
            .env("SCHEMAGATE_ROLE", &owner)
    };
    as_owner(Schemagate::migrate(&database, &folder))
        .run()
        .assert_code(0);
    as_owner(down(&database, &folder, "0")).run().assert_code(0);
    assert_eq!(versions(&database), "");
}

#[test]
fn behind_a_transaction_pooler() {
    let folder = tables();
    let database = migrated(&folder);
    let pooler = PgBouncer::start(Server::debian(), "transaction", 4);
    down(&database, &folder, "0")
        .url(&pooler.url(&database))
        .run()
        .assert_code(0);
    assert_eq!(versions(&database), "");
    assert!(!database.has_table("a"));
}

#[test]
fn two_at_once_undo_each_once() {
    let folder = tables();
    let database = migrated(&folder);
    let pooler = PgBouncer::start(Server::debian(), "transaction", 4);
    for url in [database.url(), pooler.url(&database)] {
        let call = down(&database, &folder, "0").url(&url);
        let runs = [call.spawn(), call.spawn(), call.spawn()];
        for run in runs {
            run.wait().assert_code(0);
        }
        assert_eq!(versions(&database), "");
        Schemagate::migrate(&database, &folder).run().assert_code(0);
    }
    let twice = "SELECT count(*) FROM schemagate.journal WHERE event = 'reverted'";
    assert_eq!(database.value(twice), "6");
}

/// Whoever comes first, each ends well, and history and tables agree.
#[test]
fn beside_a_migrate() {
    let folder = tables();
    let database = migrated(&folder);
    for _ in 0..5 {
        let downwards = down(&database, &folder, "1").spawn();
        let upwards = Schemagate::migrate(&database, &folder).spawn();
        downwards.wait().assert_code(0);
        upwards.wait().assert_code(0);
        let all = versions(&database);
        for (version, table) in [("0001", "a"), ("0002", "b"), ("0003", "c")] {
            assert_eq!(all.contains(version), database.has_table(table), "{all}");
        }
        Schemagate::migrate(&database, &folder).run().assert_code(0);
    }
}

#[test]
fn a_busy_table_is_tried_again() {
    let folder = tables();
    let database = migrated(&folder);
    let holder = database.session();
    holder.query("BEGIN; SELECT * FROM c");
    let run = down(&database, &folder, "2")
        .env("SCHEMAGATE_LOCK_TIMEOUT", "50ms")
        .spawn();
    eventually!(run.stderr().contains("trying again"), "{}", run.stderr());
    holder.query("COMMIT");
    run.wait().assert_code(0);
    assert_eq!(versions(&database), "0001,0002");
    // A down file has limits of its own.
    folder.write(
        "0002_b.down.sql",
        b"-- schemagate: lock-timeout=30ms\nDROP TABLE b;",
    );
    holder.query("BEGIN; SELECT * FROM b");
    down(&database, &folder, "1")
        .env("SCHEMAGATE_LOCK_RETRIES", "0")
        .run()
        .assert_code(4)
        .assert_says("0002_b.down.sql:2:");
    assert_eq!(versions(&database), "0001,0002");
}

#[test]
fn killed_or_told_to_stop_in_the_middle() {
    let folder = tables();
    folder.write("0002_b.down.sql", b"DROP TABLE b; SELECT pg_sleep(60);");
    let database = migrated(&folder);
    for (signal, code) in [("KILL", 137), ("TERM", 143)] {
        let run = down(&database, &folder, "0").spawn();
        database.schemagate_runs("pg_sleep");
        run.signal(signal);
        run.wait().assert_code(code);
        eventually!(database.has_no_advisory_lock(), "the lock is free");
        assert_eq!(versions(&database), "0001,0002");
        assert!(database.has_table("b"));
    }
    down(&database, &folder, "0")
        .env("SCHEMAGATE_DEADLINE", "2s")
        .run()
        .assert_code(10);
    folder.write("0002_b.down.sql", b"DROP TABLE b;");
    down(&database, &folder, "0").run().assert_code(0);
    assert_eq!(versions(&database), "");
}

#[test]
fn a_lost_connection_is_taken_up_again() {
    let folder = tables();
    folder.write("0002_b.down.sql", b"DROP TABLE b; SELECT pg_sleep(2);");
    let database = migrated(&folder);
    let run = down(&database, &folder, "0").spawn();
    let pid = database.schemagate_runs("pg_sleep");
    database.query(&format!("SELECT pg_terminate_backend({pid})"));
    let outcome = run.wait();
    outcome
        .assert_code(0)
        .assert_says("the connection was lost during 0002, which was rolled back");
    assert_eq!(versions(&database), "");
}

mod pieces;
