//! A PostgreSQL of this test's own.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio_postgres::{Client, NoTls};

/// A server in a temporary folder, gone with this value.
pub(super) struct Server {
    folder: tempfile::TempDir,
    postmaster: Child,
    databases: AtomicU32,
}

impl Server {
    /// Initialises and starts one; fails the test if it cannot.
    pub(super) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        if is_root() {
            run(Command::new("chown").arg("postgres").arg(folder.path()));
        }
        let data = folder.path().join("data");
        run(tool("initdb")
            .args([
                "--auth=trust",
                "--username=postgres",
                "--no-sync",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "-D",
            ])
            .arg(&data));
        let postmaster = tool("postgres")
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(folder.path())
            .args([
                "-c",
                "listen_addresses=",
                "-c",
                "fsync=off",
                "-c",
                "wal_level=logical",
            ])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self {
            folder,
            postmaster,
            databases: AtomicU32::new(0),
        };
        server.wait().await;
        server
    }

    async fn wait(&self) {
        let limit = Instant::now() + Duration::from_secs(30);
        while self.try_connect("postgres").await.is_err() {
            assert!(Instant::now() < limit, "PostgreSQL did not start");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn try_connect(&self, database: &str) -> Result<Client, tokio_postgres::Error> {
        let (client, connection) = tokio_postgres::Config::new()
            .host_path(self.folder.path())
            .user("postgres")
            .dbname(database)
            .connect(NoTls)
            .await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// A new, empty database and a connection to it.
    pub(super) async fn database(&self) -> (String, Client) {
        let name = format!("d{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let admin = self.try_connect("postgres").await.unwrap();
        admin
            .batch_execute(&format!("CREATE DATABASE {name}"))
            .await
            .unwrap();
        let client = self.try_connect(&name).await.unwrap();
        (name, client)
    }

    /// What `pg_dump` writes of a database.
    pub(super) fn dump(&self, database: &str) -> String {
        let output = tool("pg_dump")
            .args(["-U", "postgres", "-h"])
            .arg(self.folder.path())
            .arg(database)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = self.postmaster.id().to_string();
        drop(Command::new("kill").args(["-QUIT", &pid]).status());
        drop(self.postmaster.wait());
    }
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// One of PostgreSQL's programs, which refuse to run as root.
fn tool(name: &str) -> Command {
    let path = programs().join(name);
    if !is_root() {
        return Command::new(path);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
    command.arg(path);
    command
}

/// `PG_BIN`, or the newest of Debian's folders.
fn programs() -> PathBuf {
    if let Ok(folder) = std::env::var("PG_BIN") {
        return folder.into();
    }
    let versions = std::fs::read_dir("/usr/lib/postgresql").expect("no PostgreSQL: set PG_BIN");
    let mut versions: Vec<PathBuf> = versions.map(|entry| entry.unwrap().path()).collect();
    versions.sort_by_key(|path| version(path));
    versions
        .pop()
        .expect("no PostgreSQL: set PG_BIN")
        .join("bin")
}

fn version(path: &Path) -> Option<u32> {
    path.file_name()?.to_str()?.parse().ok()
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
