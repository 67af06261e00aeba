//! A PostgreSQL server of a test's own, and a `PgBouncer` before it.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use schemagate::connect::{Params, Session, Wait, connect};
use tempfile::TempDir;

/// A server in a folder of its own; stopped and removed when dropped.
pub(super) struct Server {
    pub(super) dir: TempDir,
    pub(super) port: u16,
    child: Option<Child>,
}

/// A pooler in a folder of its own.
pub(super) struct Pooler {
    _dir: TempDir,
    pub(super) port: u16,
    child: Child,
}

/// An unprivileged folder, because neither program runs as root.
pub(super) fn folder() -> TempDir {
    let dir = tempfile::Builder::new()
        .prefix("schemagate-connect-")
        .tempdir()
        .unwrap();
    own(dir.path());
    dir
}

/// Gives a file or folder to the user that the servers run as.
pub(super) fn own(path: &Path) {
    if is_root() {
        run(Command::new("chown")
            .arg("-R")
            .arg("postgres:postgres")
            .arg(path));
    }
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata("/proc/self").unwrap().uid() == 0
}

fn as_user(program: &Path) -> Command {
    if is_root() {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=postgres", "--regid=postgres", "--clear-groups"])
            .arg(program);
        command
    } else {
        Command::new(program)
    }
}

#[track_caller]
pub(super) fn run(command: &mut Command) {
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {error}");
}

/// The newest server programs on this machine, or those in `SCHEMAGATE_TEST_PG_BIN`.
fn program(name: &str) -> PathBuf {
    if let Some(folder) = std::env::var_os("SCHEMAGATE_TEST_PG_BIN") {
        return Path::new(&folder).join(name);
    }
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .unwrap()
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let major = path.file_name()?.to_str()?.parse().ok()?;
            Some((major, path.join("bin").join(name)))
        })
        .filter(|(_, path)| path.exists())
        .collect();
    found.sort();
    found.pop().unwrap().1
}

pub(super) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// One `initdb` for all tests and runs; each server gets a copy.
fn template() -> &'static Path {
    static TEMPLATE: OnceLock<PathBuf> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let initdb = program("initdb");
        let version = Command::new(&initdb)
            .arg("--version")
            .output()
            .unwrap()
            .stdout;
        let digits = version.iter().filter(|byte| byte.is_ascii_digit());
        let name: String = digits.map(|byte| char::from(*byte)).collect();
        let template = std::env::temp_dir().join(format!("schemagate-connect-template-{name}"));
        if !template.exists() {
            let dir = folder();
            run(as_user(&initdb)
                .args([
                    "--no-sync",
                    "--auth=trust",
                    "--username=super",
                    "--encoding=UTF8",
                    "-D",
                ])
                .arg(dir.path().join("data"))
                .current_dir("/"));
            // Another run may have been faster, then its template serves as well.
            let _ = fs::rename(dir.path().join("data"), &template);
        }
        template
    })
}

impl Server {
    /// A server that is not running yet.
    pub(super) fn prepare() -> Self {
        let dir = folder();
        run(Command::new("cp")
            .arg("-a")
            .arg(template())
            .arg(dir.path().join("data")));
        Self::of(dir)
    }

    fn of(dir: TempDir) -> Self {
        let server = Self {
            dir,
            port: free_port(),
            child: None,
        };
        server.configure(&format!(
            "fsync = off\nlisten_addresses = '127.0.0.1'\nport = {}\nunix_socket_directories = '{}'\n\
             shared_buffers = '1MB'\nmax_wal_senders = 3\n",
            server.port,
            server.dir.path().display()
        ));
        server
    }

    pub(super) fn started() -> Self {
        let mut server = Self::prepare();
        server.start();
        server
    }

    /// A streaming standby of this server.
    pub(super) fn standby(&self) -> Self {
        let dir = folder();
        run(as_user(&program("pg_basebackup"))
            .args([
                "-R",
                "--no-sync",
                "--checkpoint=fast",
                "-X",
                "stream",
                "-U",
                "super",
                "-h",
            ])
            .arg(self.dir.path())
            .arg("-p")
            .arg(self.port.to_string())
            .arg("-D")
            .arg(dir.path().join("data"))
            .current_dir("/"));
        let mut standby = Self::of(dir);
        standby.start();
        standby
    }

    pub(super) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub(super) fn configure(&self, lines: &str) {
        append(&self.data().join("postgresql.conf"), lines);
    }

    /// Replaces `pg_hba.conf`; the test itself gets in through the socket as `super`.
    pub(super) fn hba(&self, lines: &str) {
        let text = format!("local all super trust\n{lines}\n");
        fs::write(self.data().join("pg_hba.conf"), text).unwrap();
    }

    pub(super) fn start(&mut self) {
        let log = fs::File::create(self.dir.path().join("log")).unwrap();
        let child = as_user(&program("postgres"))
            .arg("-D")
            .arg(self.data())
            .current_dir("/")
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        self.child = Some(child.unwrap());
        let began = Instant::now();
        while !fs::read_to_string(self.dir.path().join("log"))
            .unwrap()
            .contains("is ready to accept")
        {
            assert!(began.elapsed() < Duration::from_mins(1), "{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// A session as the superuser, through the socket.
    pub(super) async fn session(&self) -> Session {
        let url = format!(
            "host={} port={} user=super dbname=postgres",
            self.dir.path().display(),
            self.port
        );
        session(&[("DATABASE_URL", &url)]).await
    }

    pub(super) async fn sql(&self, sql: &str) {
        let session = self.session().await;
        session.client().batch_execute(sql).await.unwrap();
        session.close().await;
    }

    /// A URL for TCP.
    pub(super) fn url(&self, who: &str, rest: &str) -> String {
        format!("postgres://{who}@127.0.0.1:{}/{rest}", self.port)
    }

    pub(super) fn pooler(&self, mode: &str, extra: &str) -> Pooler {
        Pooler::start(self, mode, extra)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            end(child, "-INT");
        }
    }
}

impl Pooler {
    fn start(server: &Server, mode: &str, extra: &str) -> Self {
        let dir = folder();
        let port = free_port();
        let ini = dir.path().join("pgbouncer.ini");
        let users = dir.path().join("users");
        fs::write(&users, "\"super\" \"\"\n\"app\" \"pw\"\n").unwrap();
        let text = format!(
            "[databases]\npostgres = host=127.0.0.1 port={} user=super\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {}\npool_mode = {mode}\n{extra}\n",
            server.port,
            users.display(),
        );
        fs::write(&ini, text).unwrap();
        own(dir.path());
        let child = as_user(Path::new("/usr/sbin/pgbouncer"))
            .arg("-q")
            .arg(&ini)
            .current_dir("/")
            .stderr(fs::File::create(dir.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        Self {
            _dir: dir,
            port,
            child,
        }
    }

    pub(super) fn url(&self, rest: &str) -> String {
        format!("postgres://super@127.0.0.1:{}/{rest}", self.port)
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        end(&mut self.child, "-TERM");
    }
}

fn end(child: &mut Child, signal: &str) {
    let _ = Command::new("kill")
        .arg(signal)
        .arg(child.id().to_string())
        .status();
    let _ = child.wait();
}

pub(super) fn append(path: &Path, text: &str) {
    use std::io::Write as _;
    let mut file = fs::OpenOptions::new().append(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

#[track_caller]
pub(super) fn params(vars: &[(&str, &str)]) -> Params {
    let var = |name: &str| {
        vars.iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| (*value).to_owned())
    };
    Params::from_vars(&var, "schemagate/test").unwrap().0
}

/// Patience for a server that is just starting.
pub(super) const PATIENT: Wait = Wait {
    enabled: true,
    timeout: Some(Duration::from_secs(30)),
    auth_grace: Duration::from_secs(0),
};

pub(super) async fn session(vars: &[(&str, &str)]) -> Session {
    connect(&params(vars), &PATIENT, &mut |_| {}).await.unwrap()
}

/// The first value of a query, as text.
pub(super) async fn value(session: &Session, sql: &str) -> String {
    let messages = session.client().simple_query(sql).await.unwrap();
    let value = messages.iter().find_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    value.unwrap_or_default().to_owned()
}

/// Asks again until the answer is right.
pub(super) async fn eventually(session: &Session, sql: &str, expected: &str) {
    let began = Instant::now();
    loop {
        let found = value(session, sql).await;
        if found == expected {
            return;
        }
        assert!(
            began.elapsed() < Duration::from_secs(15),
            "{sql}: {found}, expected {expected}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
