//! Going back to a restore point, with the very lines that the runbook has.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::document;
use crate::harness::postgres::free_port;
use crate::harness::process::{as_server_user, give_to_server_user, must};
use crate::harness::session::Session;
use crate::harness::{Folder, Schemagate, Server, eventually, scratch};

/// A server that a script has started.
struct Restored<'a> {
    bin: &'a Path,
    data: PathBuf,
}

impl Drop for Restored<'_> {
    fn drop(&mut self) {
        let stop = ["stop", "-m", "immediate", "-D"];
        let mut command = as_server_user(&self.bin.join("pg_ctl"));
        let _ = command.args(stop).arg(&self.data).output();
    }
}

/// The statement and the script, as they stand in the runbook.
fn from_the_runbook() -> (String, String) {
    let runbook = document("k8s/runbook.md");
    let with = |words: &str| {
        let block = runbook
            .blocks
            .iter()
            .find(|block| block.text.contains(words));
        block
            .unwrap_or_else(|| panic!("no block with {words}"))
            .text
            .clone()
    };
    (with("AS recovery_target_name"), with("recovery.signal"))
}

#[test]
fn a_restore_point_is_gone_back_to_as_the_runbook_says() {
    let archive = scratch::new_dir("archive");
    give_to_server_user(&archive);
    let server = Server::own_with(&format!(
        "archive_mode = on\narchive_command = 'cp %p {}/%f'",
        archive.display()
    ));
    let database = server.database();
    let folder = Folder::sql(&[(
        "0001_a.sql",
        "CREATE TABLE t (id int, note text); INSERT INTO t VALUES (1, 'kept');",
    )]);
    Schemagate::migrate(&database, &folder).run().assert_code(0);
    let base = scratch::new_dir("base");
    give_to_server_user(&base);
    let data = base.join("data");
    must(
        as_server_user(&server.bin().join("pg_basebackup"))
            .args(["-h", "127.0.0.1", "-U", "postgres", "-c", "fast"])
            .args(["-p", &server.port().to_string(), "-D"])
            .arg(&data),
    );
    folder.write(
        "0002_b.sql",
        b"-- schemagate: approve=destructive reason=\"a test\"\nALTER TABLE t DROP COLUMN note;",
    );
    Schemagate::migrate(&database, &folder).run().assert_code(0);

    let (ask, script) = from_the_runbook();
    let row = &database.query(&ask)[0];
    let name = row[1].clone();
    assert!(name.starts_with("schemagate_0002_"), "{row:?}");
    let wal = database.value("SELECT pg_walfile_name(pg_switch_wal())");
    eventually!(archive.join(&wal).exists(), "the log is archived");

    let port = free_port();
    let settings = format!(
        "\nport = {port}\nunix_socket_directories = '{}'\narchive_mode = off\n",
        base.display()
    );
    let conf = data.join("postgresql.conf");
    let before = std::fs::read_to_string(&conf).expect("the settings of the base backup");
    std::fs::write(&conf, before + &settings).expect("the settings");
    let script = script
        .replace("/archive/", &format!("{}/", archive.display()))
        .replace("schemagate_0002_20260801T120000Z_1a2b3c4d", &name);
    let restored = Restored {
        bin: server.bin(),
        data: data.clone(),
    };
    let mut command = as_server_user(Path::new("bash"));
    command
        .args(["-euc", &script])
        .env("PGDATA", &data)
        .env("PATH", format!("{}:/usr/bin:/bin", server.bin().display()));
    // A server that is started keeps the pipes of whoever started it: a file is none.
    let said = File::create(base.join("said")).expect("a file");
    let status = command
        .stdin(Stdio::null())
        .stdout(said.try_clone().expect("the file"))
        .stderr(said)
        .status()
        .expect("a shell");
    let said = std::fs::read_to_string(base.join("said")).expect("what it said");
    assert!(status.success(), "{script}\n{said}");

    let url = format!("postgres://postgres@127.0.0.1:{port}/{}", database.name);
    eventually!(
        Session::try_connect(&url)
            .is_ok_and(|session| session.query("SELECT pg_is_in_recovery()") == [["f"]]),
        "the restored server takes writes"
    );
    assert_eq!(
        Session::connect(&url).query("SELECT note FROM t"),
        [["kept"]]
    );
    let look = |command: &str| Schemagate::new(&[command]).url(&url).folder(&folder).run();
    look("status")
        .assert_code(0)
        .assert_prints("1 of 2 applied");
    look("verify").assert_code(8);
    drop(restored);
}
