//! A server of our own, in a temporary folder, that ends with us.

use std::{
    ffi::OsString,
    fs::{self, DirBuilder, File},
    io::Read as _,
    os::unix::{
        fs::{DirBuilderExt as _, MetadataExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    time::Duration,
};

use tokio::{
    net::unix::pipe,
    time::{Instant, sleep},
};

use super::{Error, keeper, leftover, programs};
use crate::{connect, exit::ExitStatus};

/// The longest path of a socket (unix(7)) without the name that PostgreSQL gives it.
const SOCKET_PATH: usize = 107 - "/.s.PGSQL.5432".len();
/// How long the process beside the server may take to stop it and to remove the folder.
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// The server's superuser.
const USER: &str = "schemagate";

/// A running server. When this is dropped the process beside it stops it and removes the folder.
#[derive(Debug)]
pub struct Server {
    folder: PathBuf,
    keeper: Child,
    /// Closed to end it.
    rope: Option<ChildStdin>,
}

// === impl Server ===

impl Server {
    /// Starts the newest PostgreSQL of this machine. `var` looks up a variable of the environment. Also removes what
    /// runs have left that were killed, and names it.
    ///
    /// May be dropped half way.
    ///
    /// # Errors
    ///
    /// No server is installed, or its own words why it does not start.
    pub async fn start(
        var: &dyn Fn(&str) -> Option<OsString>,
    ) -> Result<(Self, Vec<PathBuf>), Error> {
        let bin = programs::find(var("PATH").as_deref())?;
        let temp = var("TMPDIR").filter(|path| !path.is_empty());
        let temp = PathBuf::from(temp.unwrap_or_else(|| "/tmp".into()));
        let user = User::for_server()?;
        let removed = leftover::remove_folders(&temp, &user);
        let (folder, lock) = make_folder(&temp, &user)?;
        let (mut server, said) = Self::spawn(folder, &bin, &user, lock)?;
        match listen(said).await {
            Ok(word) if word.trim() == keeper::READY => Ok((server, removed)),
            Ok(word) => {
                server.wait().await;
                let why = match word.trim() {
                    "" => "it ended at once",
                    why => why,
                };
                Err(not_started(&bin, why))
            }
            Err(error) => Err(not_started(&bin, &error.to_string())),
        }
    }

    fn spawn(
        folder: PathBuf,
        bin: &Path,
        user: &User,
        lock: File,
    ) -> Result<(Self, pipe::Receiver), Error> {
        // Whatever became of the path that we were started by (proc(5)).
        let mut command = Command::new("/proc/self/exe");
        command
            .arg0(keeper::NAME)
            .arg(keeper::ARGUMENT)
            .args([&folder, bin])
            .args(user.switch.map(|(uid, gid)| format!("{uid}:{gid}")))
            .env_clear()
            .current_dir("/")
            // A Ctrl-C is for us: it ends the work, then the server.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // The lock on the folder lives as long as one of us has it open.
            .stderr(lock);
        let failed = |error: std::io::Error| not_started(bin, &error.to_string());
        let mut process = command.spawn().map_err(failed)?;
        let said = process.stdout.take().map(std::os::fd::OwnedFd::from);
        let rope = process.stdin.take();
        let server = Self {
            folder,
            keeper: process,
            rope,
        };
        let missing = || std::io::Error::other("its pipes are missing");
        let said = said
            .ok_or_else(missing)
            .and_then(pipe::Receiver::from_owned_fd)
            .map_err(failed)?;
        Ok((server, said))
    }

    /// How to reach it.
    ///
    /// # Errors
    ///
    /// Never for a folder that [`Server::start`] has made.
    pub fn params(&self, application_name: &str) -> Result<connect::Params, Error> {
        let folder = self.folder.display().to_string();
        let var = |name: &str| match name {
            "PGHOST" => Some(folder.clone()),
            "PGPORT" => Some("5432".to_owned()),
            "PGUSER" => Some(USER.to_owned()),
            "PGDATABASE" => Some("postgres".to_owned()),
            "PGSSLMODE" => Some("disable".to_owned()),
            _ => None,
        };
        let params = connect::Params::from_vars(&var, application_name);
        params.map(|(params, _)| params).map_err(|problems| {
            let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
            Error::new(
                ExitStatus::Usage,
                told.join("; "),
                "set TMPDIR to another folder",
            )
        })
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Stops it and waits until the folder is gone. `false` when that has taken too long: it goes on without us.
    pub async fn stop(mut self) -> bool {
        self.rope = None;
        self.wait().await
    }

    async fn wait(&mut self) -> bool {
        let limit = Instant::now() + STOP_LIMIT;
        while Instant::now() < limit {
            if !matches!(self.keeper.try_wait(), Ok(None)) {
                return true;
            }
            sleep(Duration::from_millis(10)).await;
        }
        false
    }
}

/// The line that the keeper says.
async fn listen(said: pipe::Receiver) -> std::io::Result<String> {
    let mut text = Vec::new();
    loop {
        said.readable().await?;
        let mut piece = [0; 4096];
        match said.try_read(&mut piece) {
            Ok(0) => break,
            Ok(length) => {
                text.extend_from_slice(piece.get(..length).unwrap_or_default());
                if text.contains(&b'\n') {
                    break;
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn not_started(bin: &Path, why: &str) -> Error {
    Error::new(
        ExitStatus::Unreachable,
        format!(
            "--server auto: the server of {} did not start: {why}",
            bin.display()
        ),
        "see what it says; TMPDIR names another folder, PATH another server, and without --server auto the one of the \
         settings is used",
    )
}

/// A new folder under a name of ours, locked, and the server's own. It gets that name only with the lock, so that
/// whoever looks for leftovers never takes it for one.
fn make_folder(temp: &Path, user: &User) -> Result<(PathBuf, File), Error> {
    let id = uuid::Uuid::new_v4().simple().to_string();
    let id = id.get(..12).unwrap_or_default();
    let folder = temp.join(format!("{}{id}", leftover::PREFIX));
    let failed = |error: std::io::Error| {
        Error::new(
            ExitStatus::Usage,
            format!(
                "--server auto: cannot make a folder in {}: {error}",
                temp.display()
            ),
            "set TMPDIR to a folder that this user may write to",
        )
    };
    if folder.as_os_str().len() > SOCKET_PATH {
        return Err(Error::new(
            ExitStatus::Usage,
            format!(
                "--server auto: a socket in {} would have too long a path",
                folder.display()
            ),
            format!(
                "set TMPDIR to a folder with a path of at most {} bytes",
                SOCKET_PATH - leftover::PREFIX.len() - 13
            ),
        ));
    }
    let new = temp.join(format!("schemagate-new-{id}"));
    DirBuilder::new().mode(0o700).create(&new).map_err(failed)?;
    let made = || {
        let lock = File::create_new(new.join(leftover::LOCK))?;
        lock.lock()?;
        if let Some((uid, gid)) = user.switch {
            chown(&new, Some(uid), Some(gid))?;
        }
        fs::rename(&new, &folder)?;
        Ok(lock)
    };
    match made() {
        Ok(lock) => Ok((folder, lock)),
        Err(error) => {
            let _ = fs::remove_dir_all(&new);
            Err(failed(error))
        }
    }
}

/// As whom the server runs.
#[derive(Debug)]
pub(super) struct User {
    /// Ours.
    pub(super) own: u32,
    /// Another, and its group, where ours is root, as whom PostgreSQL refuses to run.
    pub(super) switch: Option<(u32, u32)>,
}

impl User {
    /// `postgres` where there is one, else `nobody`.
    fn for_server() -> Result<Self, Error> {
        let own = fs::metadata("/proc/self").map_err(|error| {
            Error::new(
                ExitStatus::Usage,
                format!("--server auto: /proc cannot be read: {error}"),
                "mount /proc, or name a server",
            )
        })?;
        let own = own.uid();
        if own != 0 {
            return Ok(Self { own, switch: None });
        }
        let mut passwd = String::new();
        // Without the file nobody has a name, `nobody` included.
        let _ = File::open("/etc/passwd").and_then(|mut file| file.read_to_string(&mut passwd));
        let switch = ["postgres", "nobody"]
            .iter()
            .find_map(|name| ids(&passwd, name));
        switch.map_or_else(
            || {
                Err(Error::new(
                    ExitStatus::Usage,
                    "--server auto: PostgreSQL does not run as root, and there is neither a user postgres nor nobody",
                    "run it as another user, or name a server",
                ))
            },
            |switch| Ok(Self { own, switch: Some(switch) }),
        )
    }
}

/// User and group of a name (passwd(5)); never root's.
fn ids(passwd: &str, name: &str) -> Option<(u32, u32)> {
    let found = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then_some(())?;
        let uid = fields.nth(1)?.parse().ok()?;
        Some((uid, fields.next()?.parse().ok()?))
    });
    found.filter(|(uid, _)| *uid != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_name() {
        let passwd = "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65533::/:/x\npostgres:x:101:104:a,b:/:/x\ntoor:x:0:0::/:\n";
        assert_eq!(ids(passwd, "postgres"), Some((101, 104)));
        assert_eq!(ids(passwd, "nobody"), Some((65534, 65533)));
        assert_eq!(ids(passwd, "none"), None);
        assert_eq!(ids(passwd, "toor"), None);
        assert_eq!(ids("postgres:x:7", "postgres"), None);
    }
}
