//! Throwaway PostgreSQL servers: one shared by all tests of a process, more for tests that stop or freeze theirs.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};
use std::thread;

use super::eventually::{becomes_true, eventually};
use super::process::{as_server_user, give_to_server_user, is_root, must, signal};
use super::scratch;
use super::session::Session;

/// Writes to the disk cost time and a test needs none. Commits stay synchronous: they must survive a stopped server.
const SETTINGS: &str = "
fsync = off
full_page_writes = off
listen_addresses = '127.0.0.1'
max_connections = 200
log_line_prefix = '%m [%p] %a '
";

/// Members of `needs_password` are asked for one, everybody else is trusted.
const HBA: &str = "
local all all trust
host all +needs_password 127.0.0.1/32 scram-sha-256
host all all 127.0.0.1/32 trust
local replication all trust
host replication all 127.0.0.1/32 trust
";

/// How a server is stopped.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stop {
    /// Ends the sessions, writes a checkpoint.
    Fast,
    /// Like a crash: no checkpoint, recovery at the next start.
    Immediate,
}

/// A server with its own data folder and port.
pub(crate) struct Server {
    bin: PathBuf,
    dir: PathBuf,
    port: u16,
    postmaster: Mutex<Option<Child>>,
}

/// A fresh database, dropped at the end of the test (kept when it failed, until the server goes).
pub(crate) struct Database<'server> {
    server: &'server Server,
    pub(crate) name: String,
}

/// Debian's programs of PostgreSQL 15 (not the wrappers in `/usr/bin`).
pub(crate) fn debian_bin() -> PathBuf {
    existing(PathBuf::from("/usr/lib/postgresql/15/bin"), "postgres")
}

/// The programs of an npm package with another major version.
fn embedded_bin(major: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/servers/node_modules");
    let native = root.join(format!("postgresql-{major}/native"));
    existing(native.join("bin"), "postgres");
    if !is_root() {
        return native.join("bin");
    }
    // The checkout may lie where the user postgres may not look (/root).
    let copy = scratch::new_dir("bin");
    must(Command::new("cp").arg("-r").arg(&native).arg(&copy));
    copy.join("native/bin")
}

fn existing(bin: PathBuf, program: &str) -> PathBuf {
    assert!(
        bin.join(program).exists(),
        "no {program} in {}: run `make setup`",
        bin.display()
    );
    bin
}

// === impl Server ===

impl Server {
    /// Debian's PostgreSQL 15, shared by the tests of this process.
    pub(crate) fn debian() -> &'static Self {
        static SHARED: OnceLock<Server> = OnceLock::new();
        SHARED.get_or_init(Self::own)
    }

    /// Another major version (`"14"`, `"18"`), shared by the tests of this process.
    pub(crate) fn embedded(major: &str) -> &'static Self {
        static OLDER: OnceLock<Server> = OnceLock::new();
        static NEWER: OnceLock<Server> = OnceLock::new();
        let shared = match major {
            "14" => &OLDER,
            "18" => &NEWER,
            _ => panic!("no server of major version {major} in tests/peers/servers"),
        };
        shared.get_or_init(|| Self::create(embedded_bin(major), ""))
    }

    /// A server of Debian's for one test, which may stop it.
    pub(crate) fn own() -> Self {
        Self::own_with("")
    }

    /// The same with further lines of `postgresql.conf`.
    pub(crate) fn own_with(settings: &str) -> Self {
        Self::create(debian_bin(), settings)
    }

    /// A hot standby of a running server, streaming from it.
    pub(crate) fn standby_of(primary: &Self) -> Self {
        let server = Self::unstarted_standby(primary, "");
        server.start();
        server
    }

    /// A standby with further lines of `postgresql.conf`, started but perhaps not answering.
    pub(crate) fn standby_with(primary: &Self, settings: &str) -> Self {
        let server = Self::unstarted_standby(primary, settings);
        server.start_unready();
        server
    }

    fn unstarted_standby(primary: &Self, settings: &str) -> Self {
        let server = Self::unstarted(primary.bin.clone());
        must(
            as_server_user(&server.bin.join("pg_basebackup"))
                .args(["-h", "127.0.0.1", "-U", "postgres", "-R", "-c", "fast"])
                .args(["-p", &primary.port.to_string(), "-D"])
                .arg(server.data()),
        );
        let lines = format!("{}{settings}\n", server.place());
        server.append("postgresql.conf", &lines);
        server
    }

    fn create(bin: PathBuf, settings: &str) -> Self {
        let server = Self::unstarted(bin);
        must(
            as_server_user(&server.bin.join("initdb"))
                .args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "-N"])
                .args(["--locale=C", "-D"])
                .arg(server.data()),
        );
        server.append(
            "postgresql.conf",
            &format!("{SETTINGS}{}{settings}\n", server.place()),
        );
        fs::write(server.data().join("pg_hba.conf"), HBA).expect("pg_hba.conf");
        server.start();
        server
            .session("postgres")
            .query("CREATE ROLE needs_password");
        server
    }

    fn unstarted(bin: PathBuf) -> Self {
        let dir = scratch::new_dir("pg");
        give_to_server_user(&dir);
        Self {
            bin,
            dir,
            port: free_port(),
            postmaster: Mutex::new(None),
        }
    }

    fn place(&self) -> String {
        format!(
            "port = {}\nunix_socket_directories = '{}'\n",
            self.port,
            self.dir.display()
        )
    }

    fn append(&self, file: &str, text: &str) {
        let path = self.data().join(file);
        let before = fs::read_to_string(&path).expect("a file of the server");
        fs::write(&path, before + text).expect("a file of the server");
    }

    /// The folder of its programs.
    pub(crate) fn bin(&self) -> &Path {
        &self.bin
    }

    /// Its data folder.
    pub(crate) fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// The folder of the server's unix socket.
    pub(crate) fn socket_dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Starts it and waits until it answers.
    pub(crate) fn start(&self) {
        self.start_unready();
        let url = self.url("postgres");
        assert!(
            becomes_true(|| Session::try_connect(&url).is_ok()),
            "the server does not start:\n{}",
            self.log()
        );
    }

    /// Starts it and does not wait.
    pub(crate) fn start_unready(&self) {
        self.start_under(&[]);
    }

    /// The same behind words such as `env NAME=VALUE`, which end in running what follows them.
    pub(crate) fn start_under(&self, words: &[&str]) {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.dir.join("log"))
            .expect("the server's log");
        let postgres = self.bin.join("postgres");
        let mut command = match words.split_first() {
            None => as_server_user(&postgres),
            Some((first, rest)) => {
                let mut command = as_server_user(Path::new(first));
                command.args(rest).arg(&postgres);
                command
            }
        };
        let child = command
            .arg("-D")
            .arg(self.data())
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the server starts");
        *self.postmaster.lock().unwrap() = Some(child);
    }

    /// Stops it and waits until it is gone. Nothing happens when it does not run.
    pub(crate) fn stop(&self, how: Stop) {
        let Some(mut child) = self.postmaster.lock().unwrap().take() else {
            return;
        };
        let name = match how {
            Stop::Fast => "INT",
            Stop::Immediate => "QUIT",
        };
        if child.try_wait().expect("the postmaster's state").is_none() {
            signal(child.id(), name);
            child.wait().expect("the postmaster ends");
        }
    }

    /// Makes a standby a primary, and waits until it is one.
    pub(crate) fn promote(&self) {
        must(
            as_server_user(&self.bin.join("pg_ctl"))
                .args(["promote", "-w", "-D"])
                .arg(self.data()),
        );
    }

    /// All that the server has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// A connection URL of the superuser for a database.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// A session of the superuser.
    #[track_caller]
    pub(crate) fn session(&self, database: &str) -> Session {
        Session::connect(&self.url(database))
    }

    /// A fresh database.
    pub(crate) fn database(&self) -> Database<'_> {
        self.create_database("")
    }

    /// A copy of a database, file by file; nobody may be connected to it.
    pub(crate) fn copy(&self, database: &Database<'_>) -> Database<'_> {
        self.create_database(&format!("TEMPLATE {}", database.name))
    }

    fn create_database(&self, options: &str) -> Database<'_> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test{}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.session("postgres")
            .query(&format!("CREATE DATABASE {name} {options}"));
        Database { server: self, name }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop(Stop::Immediate);
        // What cannot be removed now is removed by the watcher.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn dump(program: &str, args: &[&str], url: &str) -> PathBuf {
    let mut command = Command::new(debian_bin().join(program));
    let dumped = must(command.args(args).arg("-d").arg(url)).stdout;
    let file = scratch::new_dir("dump").join("dump.sql");
    fs::write(&file, dumped).expect("a dump");
    file
}

fn load(file: &Path, url: &str, variable: &str) {
    let mut psql = Command::new(debian_bin().join("psql"));
    psql.args(["-X", "-q", "-v", variable, "-o", "/dev/null"]);
    must(psql.args(["-d", url, "-f"]).arg(file));
}

/// A port for a server, below the range from which the kernel takes the ports of outgoing connections.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    (0..500)
        .map(|_| NEXT.fetch_add(1, Ordering::Relaxed) + std::process::id() * 97)
        .map(|number| 20_000 + u16::try_from(number % 12_000).expect("less than 12000"))
        .find(is_free)
        .expect("a free port between 20000 and 32000")
}

// === impl Database ===

impl Database<'_> {
    /// A connection URL of the superuser.
    pub(crate) fn url(&self) -> String {
        self.server.url(&self.name)
    }

    /// A connection URL with other credentials (`user` or `user:password`).
    pub(crate) fn url_as(&self, credentials: &str) -> String {
        format!(
            "postgres://{credentials}@127.0.0.1:{}/{}",
            self.server.port, self.name
        )
    }

    /// The same database behind another port: a proxy or a pooler.
    pub(crate) fn url_at(&self, port: u16) -> String {
        format!("postgres://postgres@127.0.0.1:{port}/{}", self.name)
    }

    #[track_caller]
    pub(crate) fn session(&self) -> Session {
        self.server.session(&self.name)
    }

    #[track_caller]
    pub(crate) fn query(&self, sql: &str) -> Vec<Vec<String>> {
        self.session().query(sql)
    }

    /// The first column of the first row.
    #[track_caller]
    pub(crate) fn value(&self, sql: &str) -> String {
        self.session().value(sql)
    }

    /// A role that exists for this test alone (roles belong to the whole server). `options` as in `CREATE ROLE`.
    pub(crate) fn role(&self, name: &str, options: &str) -> String {
        let role = format!("{}_{name}", self.name);
        self.query(&format!("CREATE ROLE {role} {options}"));
        role
    }

    /// Whether a table exists.
    pub(crate) fn has_table(&self, name: &str) -> bool {
        self.value(&format!("SELECT to_regclass('{name}') IS NOT NULL")) == "t"
    }

    /// Moves everything into a fresh database of another server, which may be a newer one, as a person would: the roles
    /// first, then the database, read by `psql`.
    pub(crate) fn restore_into<'other>(&self, other: &'other Server) -> Database<'other> {
        let moved = other.database();
        let roles = dump("pg_dumpall", &["--roles-only"], &self.url());
        // Roles that are there already are no reason to stop.
        load(&roles, &other.url("postgres"), "ON_ERROR_STOP=0");
        load(
            &dump("pg_dump", &[], &self.url()),
            &moved.url(),
            "ON_ERROR_STOP=1",
        );
        moved
    }

    /// What `pg_dump --schema-only` says, without the schema `schemagate` and without the random words of `\restrict`.
    pub(crate) fn schema_dump(&self) -> String {
        let output = must(
            Command::new(self.server.bin.join("pg_dump"))
                .args(["--schema-only", "--exclude-schema=schemagate", "-d"])
                .arg(self.url()),
        );
        let text = String::from_utf8(output.stdout).expect("a dump in UTF-8");
        text.lines()
            .filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict"))
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// Waits until a session of schemagate runs a statement that contains `text`; its backend's pid.
    pub(crate) fn schemagate_runs(&self, text: &str) -> u32 {
        let session = self.session();
        let sql = format!(
            "SELECT pid FROM pg_stat_activity WHERE datname = '{}' AND state = 'active'
             AND pid <> pg_backend_pid() AND query LIKE '%{text}%'",
            self.name
        );
        let mut pid = None;
        eventually!(
            {
                pid = session.query(&sql).first().map(|row| row[0].clone());
                pid.is_some()
            },
            "nobody runs {text}"
        );
        pid.expect("a row").parse().expect("a pid")
    }

    /// Whether nobody holds or waits for an advisory lock in this database.
    pub(crate) fn has_no_advisory_lock(&self) -> bool {
        self.value(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        ) == "0"
    }
}

impl Drop for Database<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            return;
        }
        if let Ok(session) = Session::try_connect(&self.server.url("postgres")) {
            let _ = session.try_query(&format!("DROP DATABASE {} WITH (FORCE)", self.name));
        }
    }
}
