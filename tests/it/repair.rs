//! `repair`: the history put right by hand, for every format, and what the next run makes of it.

mod dirty;
mod forget;

use serde_json::Value;

use crate::harness::{Database, Folder, PgBouncer, Schemagate, Server};

/// `schemagate repair` with its words.
fn repair(database: &Database<'_>, folder: &Folder, words: &[&str]) -> Schemagate {
    let mut call = Schemagate::new(&["repair"])
        .url(&database.url())
        .folder(folder);
    for word in words {
        call = call.arg(word);
    }
    call
}

fn two() -> Folder {
    Folder::sql(&[
        ("0001_a.sql", "CREATE TABLE a (id int);"),
        ("0002_b.sql", "CREATE TABLE b (id int);"),
    ])
}

fn two_of_drizzle() -> Folder {
    Folder::classic(&[
        ("0000_a", 1_700_000_000_000, "CREATE TABLE a (id int);"),
        ("0001_b", 1_700_000_001_000, "CREATE TABLE b (id int);"),
    ])
}

fn two_of_v1() -> Folder {
    let folder = Folder::empty();
    for (name, text) in [
        ("20231114221320_a", "CREATE TABLE a (id int);"),
        ("20231114221321_b", "CREATE TABLE b (id int);"),
    ] {
        folder.write(&format!("{name}/migration.sql"), text.as_bytes());
        folder.write(&format!("{name}/snapshot.json"), b"{}");
    }
    folder
}

/// Applied from a folder.
#[track_caller]
fn applied(database: &Database<'_>, folder: &Folder) {
    Schemagate::migrate(database, folder).run().assert_code(0);
}

/// What the last repair noted.
#[track_caller]
fn noted(database: &Database<'_>) -> Value {
    let row = database.value(
        "SELECT to_jsonb(j) FROM schemagate.journal j WHERE event = 'repaired' ORDER BY id DESC LIMIT 1",
    );
    serde_json::from_str(&row).expect("a row of the journal")
}

fn repairs(database: &Database<'_>) -> String {
    database.value("SELECT count(*) FROM schemagate.journal WHERE event = 'repaired'")
}

/// Folder, the file of its second migration, that migration's name, and the history's checksums in order.
fn formats() -> [(Folder, &'static str, &'static str, &'static str); 3] {
    let drizzle = "SELECT string_agg(hash, ',' ORDER BY id) FROM drizzle.__drizzle_migrations";
    [
        (
            two(),
            "0002_b.sql",
            "0002",
            "SELECT string_agg(checksum, ',' ORDER BY serial) FROM schemagate.history",
        ),
        (two_of_drizzle(), "0001_b.sql", "0001_b", drizzle),
        (
            two_of_v1(),
            "20231114221321_b/migration.sql",
            "20231114221321_b",
            drizzle,
        ),
    ]
}

#[test]
fn an_accepted_checksum_is_the_files_in_every_format() {
    let servers = [
        Server::embedded("14"),
        Server::embedded("18"),
        Server::debian(),
    ];
    for ((folder, file, version, checksums), server) in formats().into_iter().zip(servers) {
        let database = server.database();
        applied(&database, &folder);
        let before = database.value(checksums);
        folder.write(file, b"CREATE TABLE b (id bigint);");
        let status = || {
            Schemagate::status(&database, &folder)
                .env("SCHEMAGATE_CHECKSUM", "fail")
                .arg("--exit-code")
                .run()
        };
        status().assert_code(6).assert_says("--accept-checksum");
        let call = repair(&database, &folder, &["--accept-checksum", version]);
        call.clone()
            .env("SCHEMAGATE_DRY_RUN", "true")
            .run()
            .assert_code(0)
            .assert_prints(&format!("would repair {version}"));
        assert_eq!(
            database.value(checksums),
            before,
            "a dry run writes nothing"
        );
        call.clone()
            .env("HOSTNAME", "a-pod")
            .run()
            .assert_code(0)
            .assert_prints(&format!("repaired {version}: the history takes over"))
            .assert_prints("has nothing to run")
            .assert_says("\"repaired\":{\"what\":\"accept-checksum\"");
        let after = database.value(checksums);
        assert_ne!(after, before);
        assert_eq!(
            after.split(',').next(),
            before.split(',').next(),
            "that row alone"
        );
        status().assert_code(0);
        let noted = noted(&database);
        assert_eq!(noted["version"], version);
        assert_eq!(noted["actor"], "postgres@a-pod");
        assert_eq!(noted["detail"]["what"], "accept-checksum");
        assert_eq!(noted["detail"]["before"], before.split(',').nth(1).unwrap());
        assert_eq!(noted["detail"]["after"], after.split(',').nth(1).unwrap());
        // A Job that is run again has nothing to do; somebody who mistook the version is told.
        call.run().assert_code(0).assert_says("nothing to do");
        assert_eq!(repairs(&database), "1");
        let first = if version == "0002" { "0001" } else { "row 1" };
        repair(&database, &folder, &["--accept-checksum", first])
            .run()
            .assert_code(2)
            .assert_says("has not changed");
        applied(&database, &folder);
    }
}

#[test]
fn what_does_not_apply_is_refused_with_what_is_near() {
    let (database, folder) = (Server::debian().database(), two());
    for what in ["--clear-dirty", "--accept-checksum", "--forget"] {
        repair(&database, &folder, &[what, "0002"])
            .run()
            .assert_code(2);
    }
    assert_eq!(
        database.value("SELECT count(*) FROM pg_namespace WHERE nspname = 'schemagate'"),
        "0",
        "nothing was written"
    );
    applied(&database, &folder);
    for (words, said) in [
        (["--clear-dirty", "0002"], "is applied"),
        (["--clear-dirty", "0022"], "the nearest are 0002"),
        (["--accept-checksum", "0002"], "has not changed"),
        (["--forget", "nowhere"], "the nearest are"),
        (["--forget", ""], "a value is required"),
    ] {
        for dry in ["false", "true"] {
            repair(&database, &folder, &words)
                .env("SCHEMAGATE_DRY_RUN", dry)
                .run()
                .assert_code(2)
                .assert_says(said);
        }
    }
    let ambiguous = Folder::classic(&[
        ("0004_users", 1_700_000_000_000, "SELECT 1;"),
        ("0004_users_2", 1_700_000_001_000, "SELECT 2;"),
    ]);
    let database = Server::debian().database();
    applied(&database, &ambiguous);
    repair(&database, &ambiguous, &["--forget", "0004"])
        .run()
        .assert_code(2)
        .assert_says("0004_users, 0004_users_2");
    repair(&database, &ambiguous, &["--forget", "0004_users"])
        .run()
        .assert_code(0);
    assert_eq!(repairs(&database), "1");
}

#[test]
fn it_waits_for_a_run_that_holds_the_lock() {
    let database = Server::debian().database();
    let folder = Folder::sql(&[
        ("0001_a.sql", "CREATE TABLE a (id int);"),
        (
            "0002_slow.sql",
            "DO $$ BEGIN WHILE EXISTS (SELECT 1 FROM pg_class WHERE relname = 'slow') LOOP
                PERFORM pg_sleep(0.05); END LOOP; END $$;",
        ),
    ]);
    Schemagate::migrate(&database, &folder)
        .env("SCHEMAGATE_TARGET", "0001")
        .run()
        .assert_code(0);
    database.query("CREATE TABLE slow (id int)");
    let migrating = Schemagate::migrate(&database, &folder).spawn();
    database.schemagate_runs("pg_sleep");
    let forget = repair(&database, &folder, &["--forget", "0001"]);
    forget
        .clone()
        .env("SCHEMAGATE_LOCK_WAIT_TIMEOUT", "off")
        .run()
        .assert_code(4)
        .assert_says("the lock is held by");
    let repairing = forget.spawn();
    crate::harness::eventually!(
        repairing.stderr().contains("lock is held elsewhere"),
        "{}",
        repairing.stderr()
    );
    assert_eq!(
        database.value("SELECT count(*) FROM schemagate.history"),
        "1"
    );
    database.query("DROP TABLE slow");
    migrating.wait().assert_code(0);
    repairing.wait().assert_code(0);
    assert_eq!(
        database.query("SELECT version FROM schemagate.history"),
        [["0002"]]
    );
    assert!(database.has_no_advisory_lock());
}

#[test]
fn through_a_pooler_and_by_many_at_once_it_is_done_once() {
    let bouncer = PgBouncer::start(Server::debian(), "transaction", 5);
    let (database, folder) = (Server::debian().database(), two());
    applied(&database, &folder);
    folder.write("0001_a.sql", b"CREATE TABLE a (id bigint);");
    for words in [["--accept-checksum", "0001"], ["--forget", "0002"]] {
        let call = repair(&database, &folder, &words).url(&bouncer.url(&database));
        let running: Vec<_> = (0..5).map(|_| call.spawn()).collect();
        for running in running {
            running.wait().assert_code(0);
        }
    }
    assert_eq!(repairs(&database), "2");
    assert_eq!(
        database.query("SELECT version FROM schemagate.history"),
        [["0001"]]
    );
    assert!(database.has_no_advisory_lock());
}

#[test]
fn without_a_journal_or_a_privilege_the_grant_is_named() {
    let (database, folder) = (Server::debian().database(), two());
    applied(&database, &folder);
    let role = database.role("ops", "LOGIN");
    let call = repair(&database, &folder, &["--forget", "0002"]).url(&database.url_as(&role));
    database.query(&format!(
        "GRANT USAGE ON SCHEMA schemagate TO {role}; GRANT SELECT ON schemagate.history TO {role}"
    ));
    call.run()
        .assert_code(9)
        .assert_says("schemagate.journal")
        .assert_says("GRANT");
    database.query(&format!(
        "GRANT SELECT, INSERT ON schemagate.journal TO {role}"
    ));
    call.run()
        .assert_code(9)
        .assert_says("permission denied for table history");
    assert_eq!(repairs(&database), "0", "the note goes with the change");
    database.query(&format!("GRANT DELETE ON schemagate.history TO {role}"));
    call.run().assert_code(0);
    assert_eq!(repairs(&database), "1");
}

#[test]
fn as_another_role_with_an_odd_table_and_a_hostile_path() {
    let (database, folder) = (Server::debian().database(), two());
    let owner = database.role("owner", "");
    let login = database.role("login", &format!("LOGIN NOINHERIT IN ROLE {owner}"));
    database.query(&format!(
        "GRANT CREATE ON DATABASE {0} TO {owner}; GRANT CREATE ON SCHEMA public TO {owner};
         CREATE FUNCTION public.ours(bigint, bigint) RETURNS boolean LANGUAGE sql AS 'SELECT true';
         CREATE OPERATOR public.= (leftarg = bigint, rightarg = bigint, function = public.ours);
         ALTER DATABASE {0} SET search_path = public, pg_catalog",
        database.name
    ));
    let with = |call: Schemagate| {
        call.url(&database.url_as(&login))
            .env("SCHEMAGATE_ROLE", &owner)
            .env("SCHEMAGATE_HISTORY_TABLE", "\"My Schema\".\"it's 🐘\"")
    };
    with(Schemagate::migrate(&database, &folder))
        .run()
        .assert_code(0);
    folder.write("0001_a.sql", b"CREATE TABLE a (id bigint);");
    with(repair(&database, &folder, &["--accept-checksum", "1"]))
        .run()
        .assert_code(0);
    with(repair(&database, &folder, &["--forget", "2"]))
        .run()
        .assert_code(0)
        .assert_prints("would run 0002");
    assert_eq!(
        database.query("SELECT version FROM \"My Schema\".\"it's 🐘\""),
        [["0001"]]
    );
}
