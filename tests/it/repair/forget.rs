//! `repair --forget`.

use super::{applied, formats, noted, repair, repairs, two, two_of_drizzle};
use crate::harness::{Schemagate, Server};

#[test]
fn a_forgotten_migration_runs_again_in_every_format() {
    let servers = [
        Server::debian(),
        Server::embedded("14"),
        Server::embedded("18"),
    ];
    for ((folder, _, version, checksums), server) in formats().into_iter().zip(servers) {
        let database = server.database();
        applied(&database, &folder);
        let before = database.value(checksums);
        repair(&database, &folder, &["--forget", version])
            .run()
            .assert_code(0)
            .assert_prints(&format!("repaired {version}: its row"))
            .assert_prints(&format!("would run {version}"));
        assert_ne!(database.value(checksums), before);
        let detail = &noted(&database)["detail"];
        assert_eq!(detail["what"], "forget");
        assert!(
            detail["before"]
                .as_object()
                .is_some_and(|row| row.len() >= 3),
            "the row, to be written again by hand: {detail}"
        );
        // Again: nothing to do.
        repair(&database, &folder, &["--forget", version])
            .run()
            .assert_code(0)
            .assert_says("nothing to do");
        assert_eq!(repairs(&database), "1");
        database.query("DROP TABLE b");
        applied(&database, &folder);
        assert!(database.has_table("b"));
        assert_eq!(database.value(checksums), before);
    }
}

#[test]
fn a_row_without_a_file_is_forgotten_by_its_label() {
    let (database, folder) = (Server::debian().database(), two());
    applied(&database, &folder);
    folder.remove("0001_a.sql");
    Schemagate::migrate(&database, &folder)
        .run()
        .assert_code(6)
        .assert_says("schemagate repair --forget");
    repair(&database, &folder, &["--forget", "0001"])
        .run()
        .assert_code(0);
    applied(&database, &folder);

    let (database, folder) = (Server::debian().database(), two_of_drizzle());
    applied(&database, &folder);
    let mut entries = folder.journal();
    let gone = entries.remove(0);
    folder.write_journal(&entries);
    // As `status` names it, by the time of its entry, by its hash, by its place.
    let status = Schemagate::status(&database, &folder).run();
    let label = status
        .stdout
        .lines()
        .find_map(|line| {
            Some(line[..line.find("  ")?].to_owned()).filter(|l| l.starts_with("row "))
        })
        .unwrap_or_else(|| panic!("no label: {status}"));
    let hash =
        database.value("SELECT left(hash, 20) FROM drizzle.__drizzle_migrations WHERE id = 1");
    let when = gone["when"].to_string();
    for name in [label.as_str(), &when, &hash, "row 1"] {
        repair(&database, &folder, &["--forget", name])
            .env("SCHEMAGATE_DRY_RUN", "true")
            .run()
            .assert_code(0)
            .assert_prints("row 1, created_at 1700000000000");
    }
    repair(&database, &folder, &["--forget", &label])
        .run()
        .assert_code(0);
    assert_eq!(
        database.value("SELECT count(*) FROM drizzle.__drizzle_migrations"),
        "1"
    );
}

#[test]
fn of_two_rows_one_is_named() {
    let (database, folder) = (Server::debian().database(), two_of_drizzle());
    applied(&database, &folder);
    let table = "drizzle.__drizzle_migrations";
    database.query(&format!(
        "INSERT INTO {table} (hash, created_at) SELECT hash, created_at FROM {table} WHERE id = 1"
    ));
    repair(&database, &folder, &["--forget", "0000_a"])
        .run()
        .assert_code(2)
        .assert_says("`row 1`, `row 3`");
    repair(&database, &folder, &["--forget", "row 3"])
        .run()
        .assert_code(0)
        .assert_prints("repaired 0000_a");
    assert_eq!(
        database.query(&format!("SELECT id FROM {table} ORDER BY id")),
        [["1"], ["2"]]
    );
    // Rows that nothing tells apart are left alone.
    database.query(&format!(
        "ALTER TABLE {table} DROP CONSTRAINT __drizzle_migrations_pkey;
         INSERT INTO {table} SELECT * FROM {table} WHERE id = 1"
    ));
    repair(&database, &folder, &["--forget", "row 1"])
        .run()
        .assert_code(2);
    assert_eq!(
        database.value(&format!("SELECT count(*) FROM {table}")),
        "3"
    );
}
