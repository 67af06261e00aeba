//! The backup Job's script, as it is rendered, against a real server: `SCHEMAGATE_REQUIRE_BACKUP` sees what it notes.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::{EVERYTHING, job, template};
use crate::documents::Documents;
use crate::harness::postgres::debian_bin;
use crate::harness::{Folder, Schemagate, Server};
use crate::tools::{Said, run};

/// Runs the container's command as the kubelet would, its folder in place of the volume.
fn back_up(container: &Value, url: &str, role: &str, volume: &Path) -> Said {
    let words = |list: &str| {
        container[list]
            .as_array()
            .unwrap()
            .iter()
            .map(|word| word.as_str().unwrap().to_owned())
    };
    let all: Vec<String> = words("command").chain(words("args")).collect();
    let mut command = Command::new(&all[0]);
    command.args(&all[1..]).env_clear();
    let path = format!("{}:{}", debian_bin().display(), env::var("PATH").unwrap());
    for variable in container["env"].as_array().unwrap() {
        let name = variable["name"].as_str().unwrap();
        let value = match name {
            "DATABASE_URL" => url,
            "DATABASE_ROLE" => role,
            "BACKUP_DIR" => volume.to_str().unwrap(),
            _ => variable["value"].as_str().unwrap(),
        };
        command.env(name, value);
    }
    run(command.env("PATH", path), "")
}

#[test]
fn what_it_notes_lets_a_destructive_step_through() {
    let documents = Documents::parse(&template(&["--set-json", EVERYTHING]).must());
    let container = &job(&documents, "backup")["spec"]["template"]["spec"]["containers"][0];
    let database = Server::debian().database();
    let volume = tempfile::tempdir().unwrap();

    let first = back_up(container, &database.url(), "", volume.path()).must();
    assert!(first.contains("not noted"), "{first}");

    let folder = Folder::sql(&[("0001_users.sql", "CREATE TABLE users (id int, old text);")]);
    Schemagate::migrate(&database, &folder).run().assert_code(0);
    folder.write("0002_drop.sql", b"ALTER TABLE users DROP COLUMN old;");
    let migrate = Schemagate::migrate(&database, &folder)
        .env("SCHEMAGATE_ALLOW", "all")
        .env("SCHEMAGATE_REQUIRE_BACKUP", "2h");
    migrate.run().assert_code(7);

    // A dump that fails is not noted, and its remains are not taken for one.
    let role = database.role("backup", "NOLOGIN");
    assert!(!back_up(container, &database.url(), &role, volume.path()).success);
    migrate.run().assert_code(7);

    let old = volume.path().join("20200101T000000Z.dump");
    fs::write(&old, "").unwrap();
    run(
        Command::new("touch").args(["-d", "2020-01-01"]).arg(&old),
        "",
    )
    .must();
    let said = back_up(container, &database.url(), "postgres", volume.path()).must();
    migrate.run().assert_code(0);
    assert!(!old.exists(), "older than its days");
    let file =
        database.value("SELECT detail ->> 'file' FROM schemagate.journal WHERE event = 'backup'");
    assert!(said.contains(&file), "{said}");
    assert_eq!(fs::read(&file).unwrap()[..5], *b"PGDMP");
}
