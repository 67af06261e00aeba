//! The backup of the manifests: the script as it stands in them, on a real server with the roles of `k8s/sql/roles.sql`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use crate::documents::Documents;
use crate::harness::postgres::debian_bin;
use crate::harness::{Folder, Server};
use crate::roles::Roles;
use crate::tools::{Said, repository, run};

/// The script of the ConfigMap, with the variables of the Job beside it.
struct Backup {
    script: PathBuf,
    volume: Folder,
    url: String,
    role: String,
}

impl Backup {
    fn of(roles: &Roles<'_>) -> Self {
        let documents = Documents::read(&[repository("k8s/manifests/argocd-waves.yaml")]);
        let script = documents.get("ConfigMap/app-backup")["data"]["backup.sh"]
            .as_str()
            .unwrap();
        let folder = Folder::empty();
        folder.write("backup.sh", script.as_bytes());
        Self {
            script: folder.path().join("backup.sh"),
            volume: Folder::empty(),
            url: roles.migrator_url(),
            role: roles.owner.clone(),
        }
    }

    fn run(&self) -> Said {
        let path = format!("{}:/usr/bin:/bin", debian_bin().display());
        let mut sh = Command::new("/bin/sh");
        sh.env_clear()
            .env("PATH", path)
            .env("DATABASE_URL", &self.url)
            .env("DATABASE_ROLE", &self.role)
            .env("BACKUP_DIR", self.volume.path())
            .env("BACKUP_DAYS", "14");
        run(sh.arg(&self.script), "")
    }
}

#[test]
fn it_opens_the_gate_of_a_destructive_step() {
    let database = Server::debian().database();
    let roles = Roles::create(&database, &[]);
    let folder = Folder::sql(&[(
        "0001_a.sql",
        "CREATE TABLE a (n int); INSERT INTO a VALUES (7);",
    )]);
    roles.migrator(&["migrate"], &folder).run().assert_code(0);

    folder.write("0002_drop.sql", b"DROP TABLE a;");
    let migrate = roles
        .migrator(&["migrate"], &folder)
        .env("SCHEMAGATE_ALLOW", "all")
        .env("SCHEMAGATE_REQUIRE_BACKUP", "2h");
    migrate
        .run()
        .assert_code(7)
        .assert_says("needs a backup no older than 2h");

    let backup = Backup::of(&roles);
    let said = backup.run();
    assert!(
        said.stdout.contains("backup: ") && said.stderr.is_empty(),
        "{said}"
    );
    said.must();
    let noted = database.query(
        "SELECT at <= clock_timestamp(), actor, detail->>'file', detail->>'bytes' FROM schemagate.journal WHERE event = 'backup'",
    );
    let file = backup.volume.path().join(&backup.volume.names()[0]);
    let bytes = fs::metadata(&file).unwrap().len().to_string();
    assert_eq!(
        noted,
        [[
            "t",
            &format!("{}_app_migrator", database.name),
            file.to_str().unwrap(),
            &bytes
        ]]
    );
    roles
        .migrator(&["status", "--history"], &folder)
        .run()
        .assert_code(0)
        .assert_prints("backup");

    migrate.run().assert_code(0);
    assert!(!database.has_table("a"));

    // What is on the volume brings it back.
    let restored = Server::debian().database();
    let mut restore = Command::new(debian_bin().join("pg_restore"));
    run(
        restore
            .args(["--no-owner", "--no-privileges", "-d", &restored.url()])
            .arg(&file),
        "",
    )
    .must();
    assert_eq!(restored.value("SELECT n FROM a"), "7");
    // Nobody but the job's own user reads it.
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o077, 0);
}

#[test]
fn before_the_first_run_there_is_nothing_to_note_it_in() {
    let database = Server::debian().database();
    let roles = Roles::create(&database, &[]);
    let backup = Backup::of(&roles);
    let said = backup.run();
    assert!(
        said.stdout
            .contains("not noted, for schemagate has not run here yet"),
        "{said}"
    );
    said.must();
    assert_eq!(backup.volume.names().len(), 1);
    roles
        .migrator(
            &["migrate"],
            &Folder::sql(&[("0001_a.sql", "CREATE TABLE a (n int)")]),
        )
        .env("SCHEMAGATE_REQUIRE_BACKUP", "2h")
        .run()
        .assert_code(0);
}

#[test]
fn a_dump_that_failed_is_neither_kept_nor_noted() {
    let database = Server::debian().database();
    let roles = Roles::create(&database, &[]);
    let folder = Folder::sql(&[("0001_a.sql", "CREATE TABLE a (n int)")]);
    roles.migrator(&["migrate"], &folder).run().assert_code(0);
    // A table of somebody else's, which the owner may not read.
    database.query("CREATE TABLE foreign_to_it (n int); REVOKE ALL ON foreign_to_it FROM PUBLIC");
    let backup = Backup::of(&roles);
    let said = backup.run();
    assert!(
        !said.success && said.stderr.contains("foreign_to_it"),
        "{said}"
    );
    let left = backup.volume.names();
    assert!(left.iter().all(|name| !name.ends_with(".dump")), "{left:?}");
    assert_eq!(
        database.value("SELECT count(*) FROM schemagate.journal WHERE event = 'backup'"),
        "0"
    );
}

#[test]
fn old_dumps_go() {
    let database = Server::debian().database();
    let roles = Roles::create(&database, &[]);
    let backup = Backup::of(&roles);
    backup
        .volume
        .write("old.dump", b"")
        .write("young.dump", b"")
        .write("other.txt", b"")
        .write("cut.dump.part", b"");
    for (file, days) in [
        ("old.dump", 16),
        ("young.dump", 13),
        ("other.txt", 99),
        ("cut.dump.part", 3),
    ] {
        let mut touch = Command::new("touch");
        run(
            touch
                .args(["-d", &format!("{days} days ago")])
                .arg(backup.volume.path().join(file)),
            "",
        )
        .must();
    }
    backup.run().must();
    let left = backup.volume.names();
    assert_eq!(left.len(), 3, "{left:?}");
    assert!(left[1..] == ["other.txt", "young.dump"], "{left:?}");
}

#[test]
fn the_chart_and_the_component_have_the_same_script() {
    let script = |file: &str| {
        let documents = Documents::read(&[repository(file)]);
        documents.get("ConfigMap/app-backup")["data"]["backup.sh"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let manifest = script("k8s/manifests/argocd-waves.yaml");
    assert_eq!(
        script("k8s/kustomize/components/argocd-waves/hooks.yaml"),
        manifest
    );
    assert_eq!(
        fs::read_to_string(repository("k8s/chart/files/backup.sh")).unwrap(),
        manifest
    );
}
