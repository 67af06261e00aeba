//! A throwaway PgBouncer in transaction mode.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Mutex;

use super::eventually::becomes_true;
use super::postgres::{Database, Server, free_port};
use super::process::{as_server_user, give_to_server_user, signal};
use super::scratch;
use super::session::Session;

/// A pooler in front of a server, for every database and for the superuser.
pub(crate) struct PgBouncer {
    child: Mutex<Child>,
    dir: PathBuf,
    port: u16,
}

// === impl PgBouncer ===

impl PgBouncer {
    /// `mode` is `transaction` or `session`; `pool_size` the number of server connections for a database.
    pub(crate) fn start(server: &Server, mode: &str, pool_size: u32) -> Self {
        Self::start_with(server.port(), mode, pool_size, "")
    }

    /// The same in front of any port, with further lines of configuration.
    pub(crate) fn start_with(server: u16, mode: &str, pool_size: u32, settings: &str) -> Self {
        let dir = scratch::new_dir("bouncer");
        let port = free_port();
        fs::write(dir.join("users"), "\"postgres\" \"\"\n").expect("users");
        fs::write(
            dir.join("ini"),
            configuration(&dir, port, server, mode, pool_size) + settings,
        )
        .expect("ini");
        give_to_server_user(&dir);
        let child = Mutex::new(launch(&dir));
        let bouncer = Self { child, dir, port };
        let url = format!("postgres://postgres@127.0.0.1:{port}/postgres");
        assert!(
            becomes_true(|| Session::try_connect(&url).is_ok()),
            "PgBouncer does not start:\n{}",
            bouncer.log()
        );
        bouncer
    }

    pub(crate) fn url(&self, database: &Database<'_>) -> String {
        database.url_at(self.port)
    }

    /// Ends it at once, as a crash does.
    pub(crate) fn kill(&self) {
        let mut child = self.child.lock().unwrap();
        if matches!(child.try_wait(), Ok(None)) {
            // SIGQUIT would be ignored in a test run that a shell has put into the background, and newer releases wait
            // for their clients on SIGTERM.
            signal(child.id(), "KILL");
            let _ = child.wait();
        }
    }

    /// Starts it again where it has ended. Whether it had.
    pub(crate) fn revive(&self) -> bool {
        let mut child = self.child.lock().unwrap();
        let ended = !matches!(child.try_wait(), Ok(None));
        if ended {
            let _ = fs::remove_file(self.dir.join("pgbouncer.pid"));
            *child = launch(&self.dir);
        }
        ended
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn launch(dir: &Path) -> Child {
    let program = Path::new("/usr/sbin/pgbouncer");
    assert!(program.exists(), "no PgBouncer: run `make setup`");
    as_server_user(program)
        .arg("-q")
        .arg(dir.join("ini"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("PgBouncer starts")
}

fn configuration(dir: &Path, port: u16, server_port: u16, mode: &str, pool_size: u32) -> String {
    let dir = dir.display();
    format!(
        "[databases]
* = host=127.0.0.1 port={server_port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {dir}/users
logfile = {dir}/log
pidfile = {dir}/pgbouncer.pid
pool_mode = {mode}
default_pool_size = {pool_size}
max_client_conn = 500
"
    )
}
