//! A second process of ours that takes the command down with us.
//!
//! When schemagate is killed outright (`kill -9`, the out-of-memory killer, a bug), the server notices at once that its
//! connection has closed and gives the lock to the next pod, while the command goes on. Only where schemagate is the
//! container's process 1 does the kernel end everything; below `sh -c` it does not.
//!
//! `PR_SET_PDEATHSIG` is made for this, and falls short of it: it reaches the child alone, not the `node` below an
//! `npm` or the tool below a script (and it is set between fork and exec, which no safe code reaches). So before the
//! command is started, the executable is started once more with [`ARGUMENT`], as the leader of a new process group, with
//! a pipe to us as its standard input. The command joins that group. The guard does nothing but read: the pipe closes
//! when we are gone, however that came about, and then it kills its own group, itself included. One byte, `RELEASE`,
//! sends it away instead.
//!
//! A schemagate that stands still is no better than a dead one: stopped (SIGSTOP, a debugger), starved, or stuck in a
//! write to a log that nobody reads, it sends no heartbeat, the server gives the lock away, and the command would go on
//! beside the next pod's. So the guard is told after every sign of life how long the lock is safe (`Guard::vouch`), and
//! kills the group when that time is over.
//!
//! The leader of a group also keeps the group's number from being given to strangers for as long as it lives, so a
//! signal to the group cannot go astray. Its name, in `ps` and for `pkill`, is not schemagate's: a rash
//! `pkill -9 schemagate` shall not take it along.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{ChildStdin, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitOptions, getpgid, getpgrp, getpid, getppid, kill_current_process_group,
    kill_process, waitpid,
};
use rustix::termios::{tcgetpgrp, tcsetpgrp};
use signal_hook::{consts::signal, flag};

use crate::exit::ExitStatus;

/// The only argument of the guard. It is none for people.
pub const ARGUMENT: &str = "--end-this-process-group-at-eof";

/// What process lists show.
const NAME: &str = "exec-guard";
/// What the guard says when no signal ends it any more.
const READY: &str = "ready";
/// What sends it away.
const RELEASE: u8 = u8::MAX;
/// What each other byte counts: from when it is read, so long is the group left alone.
const UNIT: Duration = Duration::from_millis(100);

/// What is sent to a whole group, by us, by a terminal or by one of the group (`kill 0`).
const CATCHABLE: [i32; 14] = [
    signal::SIGHUP,
    signal::SIGINT,
    signal::SIGQUIT,
    signal::SIGTERM,
    signal::SIGUSR1,
    signal::SIGUSR2,
    signal::SIGALRM,
    signal::SIGPIPE,
    signal::SIGVTALRM,
    signal::SIGPROF,
    signal::SIGABRT,
    signal::SIGTSTP,
    signal::SIGTTIN,
    signal::SIGTTOU,
];

/// The running guard. When this is dropped, the group is killed.
#[derive(Debug)]
pub(super) struct Guard {
    pid: Pid,
    pipe: ChildStdin,
}

// === impl Guard ===

impl Guard {
    /// Starts it, and waits the millisecond or two until it is ready.
    pub(super) fn start() -> io::Result<Self> {
        let mut process = command()
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        let pid = Pid::from_child(&process);
        let missing = || io::Error::other("its pipes are missing");
        let pipe = process.stdin.take().ok_or_else(missing)?;
        let said = process.stdout.take().ok_or_else(missing)?;
        for line in BufReader::new(said).lines() {
            if line? == READY {
                return Ok(Self { pid, pipe });
            }
        }
        Err(io::Error::other("it ended at once"))
    }

    /// Its process, which leads the group.
    pub(super) const fn pid(&self) -> Pid {
        self.pid
    }

    /// The group may live for so long from now, at most 25 s; without another word it is killed then.
    pub(super) fn vouch(&mut self, time: Duration) {
        let units = time.as_millis() / UNIT.as_millis();
        let byte = u8::try_from(units).map_or(RELEASE - 1, |units| units.min(RELEASE - 1));
        // It can have been killed with its group.
        let _ = self.pipe.write_all(&[byte]);
    }

    /// Sends it away: the group lives on without it, and the terminal comes back to us. Its process must not have been
    /// reaped.
    pub(super) fn release(mut self) {
        // It can have been killed with its group, or stopped with it.
        let _ = self.pipe.write_all(&[RELEASE]);
        let _ = kill_process(self.pid, Signal::CONT);
        // Until it has given the terminal back.
        let _ = waitpid(Some(self.pid), WaitOptions::empty());
    }
}

#[cfg(not(test))]
fn command() -> Command {
    // Whatever became of the path that we were started by (proc(5)).
    let mut command = Command::new("/proc/self/exe");
    command.arg0(NAME).arg(ARGUMENT);
    command
}

/// The test binary has a `main` of its own.
#[cfg(test)]
fn command() -> Command {
    let mut command = Command::new("/proc/self/exe");
    let test = "child::guard::tests::the_guard_itself";
    command.args(["--ignored", "--exact", "--nocapture", test]);
    command
}

/// Whether these arguments (the program's name first) are those of the guard.
pub fn is_asked(mut args: impl Iterator<Item = std::ffi::OsString>) -> bool {
    args.nth(1).is_some_and(|first| first == ARGUMENT) && args.next().is_none()
}

/// The whole life of the guard.
pub fn run() -> ExitCode {
    let usage = ExitCode::from(ExitStatus::Usage.code());
    if getpgrp() != getpid() {
        // Called by hand from a script: its group is not ours to kill.
        let _ = writeln!(io::stderr(), "{ARGUMENT} is for `schemagate exec` alone");
        return usage;
    }
    let noticed = Arc::default();
    for number in CATCHABLE {
        if flag::register(number, Arc::clone(&noticed)).is_err() {
            return usage;
        }
    }
    // A name is a help, no more.
    let _ = fs::write("/proc/self/comm", NAME);
    let mut stdout = io::stdout();
    if writeln!(stdout, "\n{READY}")
        .and_then(|()| stdout.flush())
        .is_err()
    {
        return usage;
    }
    let mut until = None;
    while let Some(word) = next_word(until) {
        if word == RELEASE {
            give_terminal_back();
            return ExitCode::SUCCESS;
        }
        until = Some(Instant::now() + UNIT * u32::from(word));
    }
    let _ = kill_current_process_group(Signal::KILL);
    usage
}

/// The next byte; `None` when nobody is left to send one, or none has come in time.
fn next_word(until: Option<Instant>) -> Option<u8> {
    let stdin = io::stdin();
    // The signals above interrupt `poll`.
    loop {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut [PollFd::new(&stdin, PollFlags::IN)], left.as_ref()) {
            Ok(0) => return None,
            Err(Errno::INTR) => {}
            // Where it cannot be asked for, reading waits without a limit, and goes on after a signal.
            Ok(_) | Err(_) => break,
        }
    }
    let mut byte = [0];
    // Unbuffered: `poll` would not see what is kept here.
    File::from(stdin.as_fd().try_clone_to_owned().ok()?)
        .read_exact(&mut byte)
        .ok()?;
    Some(byte[0])
}

/// A process in the background may not take the terminal; one in the foreground may give it away.
fn give_terminal_back() {
    let parent = getppid().and_then(|parent| getpgid(Some(parent)).ok());
    let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty");
    if let (Some(parent), Ok(terminal)) = (parent, terminal)
        && tcgetpgrp(&terminal).is_ok_and(|group| group == getpgrp())
    {
        let _ = tcsetpgrp(&terminal, parent);
    }
}

/// Gives the terminal to the guard's group, when there is one to give; answers what the command's standard input is.
///
/// Only where all three streams are that terminal and we are in its foreground: a person, and no pipeline. Elsewhere the
/// command is in the background, where reading from the terminal would stop it for ever: it reads nothing instead.
pub(super) fn lend_terminal(guard: &Guard) -> Stdio {
    let stdin = io::stdin();
    let Ok(group) = tcgetpgrp(&stdin) else {
        return Stdio::inherit();
    };
    let all = tcgetpgrp(io::stdout()).is_ok() && tcgetpgrp(io::stderr()).is_ok();
    if group == getpgrp() && all && tcsetpgrp(&stdin, guard.pid()).is_ok() {
        return Stdio::inherit();
    }
    Stdio::null()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Child;

    use super::*;

    #[test]
    #[ignore = "the child of others"]
    fn the_guard_itself() {
        run();
    }

    /// A guard, and a process in its group.
    fn start() -> (Guard, Child) {
        let guard = Guard::start().unwrap();
        let member = Command::new("sleep")
            .arg("1000")
            .process_group(guard.pid().as_raw_nonzero().get())
            .spawn()
            .unwrap();
        (guard, member)
    }

    fn signal(guard: &Guard, signal: Signal) {
        kill_process(guard.pid(), signal).unwrap();
    }

    #[test]
    fn its_end_is_the_end_of_the_group() {
        let (guard, mut member) = start();
        drop(guard);
        assert_eq!(member.wait().unwrap().signal(), Some(9));
    }

    #[test]
    fn without_a_word_in_time_it_kills_the_group() {
        let (mut guard, mut member) = start();
        guard.vouch(Duration::from_mins(1));
        assert_eq!(member.try_wait().unwrap(), None);
        // What is said last counts.
        guard.vouch(Duration::from_millis(300));
        let said = Instant::now();
        signal(&guard, Signal::USR1);
        assert_eq!(member.wait().unwrap().signal(), Some(9));
        assert!(said.elapsed() >= Duration::from_millis(200));
    }

    #[test]
    fn released_it_leaves_the_group_alone() {
        let (guard, mut member) = start();
        guard.release();
        assert_eq!(member.try_wait().unwrap(), None);
        member.kill().unwrap();
        member.wait().unwrap();
    }

    #[test]
    fn what_is_sent_to_the_group_does_not_end_it() {
        let (guard, mut member) = start();
        for number in CATCHABLE {
            signal(&guard, Signal::from_named_raw(number).unwrap());
        }
        assert_eq!(member.try_wait().unwrap(), None);
        drop(guard);
        assert_eq!(member.wait().unwrap().signal(), Some(9));
    }

    #[test]
    fn only_its_own_argument_asks_for_it() {
        for (args, asked) in [
            (&["schemagate"][..], false),
            (&["schemagate", ARGUMENT], true),
            (&["schemagate", ARGUMENT, "x"], false),
            (&["schemagate", "exec", "--", ARGUMENT], false),
        ] {
            assert_eq!(is_asked(args.iter().map(OsString::from)), asked, "{args:?}");
        }
    }
}
