//! The process beside a server of ours: it makes the data, starts the server, and does nothing but read its standard
//! input, which closes when the run is over, however it ended. Then it stops the server and removes the folder.
//!
//! It is the executable itself, started once more with [`ARGUMENT`], in a process group of its own. Its standard error is
//! the lock on the folder, which thereby lives as long as it does.

use std::{
    ffi::OsString,
    fs,
    io::{self, Write as _},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, ExitStatus as Ended, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, Signal, kill_process},
};
use signal_hook::{consts::signal, flag};

use super::leftover::{self, DATA};
use crate::exit::ExitStatus;

/// The first argument of the keeper. It is none for people.
pub const ARGUMENT: &str = "--keep-server-until-eof";
/// What process lists show.
pub(super) const NAME: &str = "validate-server";
/// What it says when the server answers.
pub(super) const READY: &str = "ready";
/// How often it looks at the server and at its input.
const LOOK: Duration = Duration::from_millis(20);
/// How long the server may take to stop.
const STOP_LIMIT: Duration = Duration::from_secs(5);
/// How much of the server's words is passed on.
const WORDS: usize = 2000;

/// What every test database does without: it is gone before a disk could lose it. Nothing listens on the network, and no
/// shared memory stays where the server is killed.
const SETTINGS: [&str; 9] = [
    "listen_addresses=",
    "port=5432",
    "unix_socket_permissions=0700",
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "dynamic_shared_memory_type=mmap",
    "max_wal_senders=0",
    "wal_level=minimal",
];

/// What the keeper was told.
struct Keeper {
    folder: PathBuf,
    bin: PathBuf,
    /// User and group of the server, where ours is root.
    user: Option<(u32, u32)>,
    told: Arc<AtomicBool>,
}

/// Why there is no server.
enum End {
    /// Nobody needs it any more.
    Alone,
    /// In words.
    Failed(String),
}

/// Whether these arguments (the program's name first) are those of the keeper.
pub fn is_asked(mut args: impl Iterator<Item = OsString>) -> bool {
    args.nth(1).is_some_and(|first| first == ARGUMENT)
}

/// The whole life of the keeper.
pub fn run(args: impl Iterator<Item = OsString>) -> ExitCode {
    let usage = ExitCode::from(ExitStatus::Usage.code());
    let Some(keeper) = Keeper::of(args) else {
        return usage;
    };
    for number in [signal::SIGTERM, signal::SIGINT, signal::SIGHUP] {
        if flag::register(number, Arc::clone(&keeper.told)).is_err() {
            return usage;
        }
    }
    let outcome = keeper.keep();
    leftover::remove(&keeper.folder);
    match outcome {
        End::Alone => ExitCode::SUCCESS,
        End::Failed(why) => {
            let _ = writeln!(io::stdout(), "{why}");
            usage
        }
    }
}

// === impl Keeper ===

impl Keeper {
    fn of(args: impl Iterator<Item = OsString>) -> Option<Self> {
        let mut args = args.skip(2);
        let (folder, bin) = (args.next()?.into(), args.next()?.into());
        let user = match args.next() {
            None => None,
            Some(ids) => {
                let (uid, gid) = ids.to_str()?.split_once(':')?;
                Some((uid.parse().ok()?, gid.parse().ok()?))
            }
        };
        Some(Self {
            folder,
            bin,
            user,
            told: Arc::default(),
        })
    }

    fn keep(&self) -> End {
        match self.serve() {
            Ok(end) | Err(end) => end,
        }
    }

    fn serve(&self) -> Result<End, End> {
        self.initdb()?;
        let mut server = self.postgres()?;
        let end = self.attend(&mut server, true);
        stop(&mut server);
        Ok(match end {
            None => End::Alone,
            Some(ended) => End::Failed(self.words(&format!("postgres ended with {ended}"))),
        })
    }

    fn initdb(&self) -> Result<(), End> {
        let mut command = self.program("initdb");
        command
            .args(["--username=schemagate", "--auth=trust", "--encoding=UTF8"])
            .args(["--locale=C", "--no-sync", "-D"])
            .arg(self.folder.join(DATA));
        let mut process = self.start(command)?;
        match self.attend(&mut process, false) {
            None => {
                let _ = process.kill();
                let _ = process.wait();
                Err(End::Alone)
            }
            Some(ended) if ended.success() => Ok(()),
            Some(ended) => Err(End::Failed(
                self.words(&format!("initdb ended with {ended}")),
            )),
        }
    }

    fn postgres(&self) -> Result<Child, End> {
        let mut command = self.program("postgres");
        command.arg("-D").arg(self.folder.join(DATA));
        let mut folder = OsString::from("unix_socket_directories=");
        folder.push(&self.folder);
        for setting in SETTINGS.iter().map(OsString::from).chain([folder]) {
            command.arg("-c").arg(setting);
        }
        self.start(command)
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.bin.join(name));
        command
            .env_clear()
            .env("LC_ALL", "C")
            .env("PATH", &self.bin);
        if let Some((uid, gid)) = self.user {
            command.gid(gid).uid(uid);
        }
        command
    }

    fn start(&self, mut command: Command) -> Result<Child, End> {
        let log = fs::File::create(self.log());
        let started = log.and_then(|log| {
            command
                .current_dir(&self.folder)
                .stdin(Stdio::null())
                .stdout(log.try_clone()?)
                .stderr(log)
                .spawn()
        });
        started.map_err(|error| {
            let program = Path::new(command.get_program()).display().to_string();
            End::Failed(format!("{program}: {error}"))
        })
    }

    fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// Waits for the end of a process; `None` when nobody waits for us any more. Says once that the server answers.
    fn attend(&self, process: &mut Child, serves: bool) -> Option<Ended> {
        let mut silent = serves;
        loop {
            if let Ok(Some(ended)) = process.try_wait() {
                return Some(ended);
            }
            if silent && self.answers() {
                silent = false;
                let mut stdout = io::stdout();
                let _ = writeln!(stdout, "{READY}").and_then(|()| stdout.flush());
            }
            if self.is_alone() {
                return None;
            }
        }
    }

    /// The server writes into its pid file how far it is (`PM_STATUS_READY` in `pidfile.h`).
    fn answers(&self) -> bool {
        let file = self.folder.join(DATA).join("postmaster.pid");
        fs::read_to_string(file).is_ok_and(|text| {
            text.lines()
                .nth(7)
                .is_some_and(|status| status.trim() == READY)
        })
    }

    /// Waits a moment for the end of the input.
    fn is_alone(&self) -> bool {
        let stdin = io::stdin();
        let limit = Timespec::try_from(LOOK).ok();
        let seen = poll(&mut [PollFd::new(&stdin, PollFlags::IN)], limit.as_ref());
        // Nobody ever writes to it, so anything to read is its end.
        matches!(seen, Ok(1..)) || self.told.load(Ordering::Relaxed)
    }

    /// The last words of a program, or how it ended where it said nothing.
    fn words(&self, otherwise: &str) -> String {
        let text = fs::read(self.log()).unwrap_or_default();
        let text = text
            .get(text.len().saturating_sub(WORDS)..)
            .unwrap_or_default();
        let text = String::from_utf8_lossy(text);
        let words: Vec<&str> = telling(&text).split_whitespace().collect();
        if words.is_empty() {
            otherwise.to_owned()
        } else {
            words.join(" ")
        }
    }
}

/// What the programs said from the first line on that tells of a failure; all of it where none does. `LC_ALL` is `C`.
fn telling(text: &str) -> &str {
    let fails = |line: &str| {
        let marks = ["FATAL:", "PANIC:", "ERROR:", "error:"];
        marks.iter().any(|mark| line.contains(mark))
    };
    let mut from = 0;
    for line in text.split_inclusive('\n') {
        if fails(line) {
            return text.get(from..).unwrap_or(text);
        }
        from += line.len();
    }
    text
}

/// An immediate shutdown: what is written is thrown away, but shared memory is given back.
fn stop(server: &mut Child) {
    let pid = Pid::from_child(server);
    let limit = Instant::now() + STOP_LIMIT;
    while matches!(server.try_wait(), Ok(None)) {
        if Instant::now() > limit {
            let _ = server.kill();
            let _ = server.wait();
            return;
        }
        let _ = kill_process(pid, Signal::QUIT);
        std::thread::sleep(LOOK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_not_behind_the_progress() {
        let reason = "FATAL:  could not write: No space left on device\nchild process exited\n";
        assert_eq!(telling(&format!("creating … ok\n{reason}")), reason);
        assert_eq!(telling("creating\nkilled"), "creating\nkilled");
        assert_eq!(telling(""), "");
    }

    #[test]
    fn only_its_own_argument_asks_for_it() {
        let args = |args: &[&str]| args.iter().map(OsString::from).collect::<Vec<_>>();
        assert!(is_asked(args(&["schemagate", ARGUMENT, "x"]).into_iter()));
        assert!(!is_asked(
            args(&["schemagate", "exec", ARGUMENT]).into_iter()
        ));
        let of = |list: &[&str]| Keeper::of(args(list).into_iter());
        assert!(of(&["schemagate", ARGUMENT, "folder"]).is_none());
        assert!(of(&["schemagate", ARGUMENT, "folder", "bin", "1"]).is_none());
        let keeper = of(&["schemagate", ARGUMENT, "folder", "bin", "1:2"]).unwrap();
        assert_eq!(keeper.user, Some((1, 2)));
    }
}
