//! Another program: [`Program::find`] looks it up, [`Program::replace`] becomes it (`schemagate run`), and
//! [`Child::spawn`] runs it below us while we hold a lock for it (`schemagate exec`).
//!
//! # Signals, groups and the terminal
//!
//! The command gets a process group of its own, and a signal goes to the whole group, as the one of a terminal's
//! Ctrl-C does. The container's usual first process, tini, sends it to the child alone; but a shell that runs a script
//! ends at once and leaves the tool that it had started. Under a lock that is worse than a tool that is told twice: we
//! would give the lock away while the tool still writes.
//!
//! A group of its own, because ours may hold others (a pipeline, the script that called us) who are not ours to signal,
//! and because a Ctrl-C would reach the command from the terminal and from us. A command in a group that is not in the
//! foreground is stopped when it reads from the terminal, so the terminal is lent to it, where there is one, and given
//! back at its end. Ctrl-C then reaches the command and not us, and its end tells. Ctrl-Z is undone: a stopped command
//! would hold the lock.
//!
//! # Nobody is left behind
//!
//! - Orphans come to us: as process 1 of a container by themselves, elsewhere by `PR_SET_CHILD_SUBREAPER`. So every
//!   zombie is reaped while the command runs, and [`Child::end`] finds also those who have left the group. The other side
//!   of it: what the command leaves running on purpose is below us until we end.
//! - [`Child::end`] sends a signal to the group and, after a grace, SIGKILL to all below us: when the lock is lost.
//! - A [`Child`] that is dropped before its end is killed with its group.
//! - When we are killed ourselves, or stand still for longer than the lock is safe, the [`guard`] kills the group. What
//!   has left the group then goes on, unless we were the container's process 1.
//!
//! Every child of the process is reaped here while a [`Child`] is waited for: nobody else may start one then.

use std::fmt;
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getpgid, getpid, kill_process, kill_process_group,
    set_child_subreaper, wait,
};
use tokio::signal::unix::{self, SignalKind};
use tokio::time::{Instant, sleep, timeout};

use crate::shutdown;

mod error;
pub mod guard;
mod header;
mod output;
mod program;
mod tree;

pub use error::{Error, Unusable};
pub use header::Machine;
pub use output::Output;
pub use program::{Env, Program};

use guard::Guard;
use output::Pumps;

/// How often one looks whether the processes below us are gone: only the end of our own children is told.
const LOOK: Duration = Duration::from_millis(20);
/// How long the kernel may take to end what was killed: a process in an uninterruptible wait takes longer.
const KILL_LIMIT: Duration = Duration::from_secs(5);

/// A program that runs below us.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    /// Its process group, if it has not left it.
    group: Pid,
    ended: Option<Ended>,
    /// Gone once somebody killed it.
    guard: Option<Guard>,
    /// When the guard kills everything, unless it is told otherwise before.
    vouched: Option<Instant>,
    pumps: Pumps,
    /// SIGCHLD.
    changed: unix::Signal,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this exit code.
    Code(u8),
    /// By the signal of this number.
    Signal(i32),
}

// === impl Ended ===

impl Ended {
    /// The exit code that tells of it: 128 and the signal's number for a signal, as in every shell.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Code(code) => code,
            Self::Signal(number) => u8::try_from(number).map_or(u8::MAX, |n| n.saturating_add(128)),
        }
    }

    fn of(status: WaitStatus) -> Option<Self> {
        let code = status.exit_status();
        // The kernel keeps eight bits.
        code.map(|code| Self::Code(u8::try_from(code).unwrap_or(u8::MAX)))
            .or_else(|| status.terminating_signal().map(Self::Signal))
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(number) => match signal_hook::low_level::signal_name(*number) {
                Some(name) => write!(f, "signal {number} ({name})"),
                None => write!(f, "signal {number}"),
            },
        }
    }
}

// === impl Child ===

impl Child {
    /// Starts a program. It has our standard input (a terminal only where it can be lent), our environment with the
    /// changes of `env`, and no other file of ours; what it says goes to `output`.
    ///
    /// To be called inside a runtime that has its I/O driver and its clock on; one at a time.
    pub fn spawn(program: &Program, env: &Env, output: Output) -> Result<Self, Error> {
        // Before anything can end.
        let changed =
            unix::signal(SignalKind::child()).map_err(Error::system("listen for SIGCHLD"))?;
        // Where it is not known (it is as old as Linux 3.4) orphans go to process 1, as ever.
        let _ = set_child_subreaper(Some(getpid()));
        let guard = Guard::start().map_err(Error::system("start the guard of the command"))?;
        let started = program
            .command(env)
            .stdin(guard::lend_terminal(&guard))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(guard.pid().as_raw_nonzero().get())
            .spawn();
        let mut process = match started {
            Ok(process) => process,
            Err(source) => {
                guard.release();
                return Err(Error::start(program.path(), source));
            }
        };
        let pid = Pid::from_child(&process);
        let (Some(stdout), Some(stderr)) = (process.stdout.take(), process.stderr.take()) else {
            let missing = std::io::Error::other("they are missing");
            return Err(Error::system("open the pipes of the command")(missing));
        };
        let pumps = output
            .pump(stdout, stderr)
            .map_err(Error::system("pass the command's output on"))?;
        Ok(Self {
            pid,
            group: guard.pid(),
            ended: None,
            guard: Some(guard),
            vouched: None,
            pumps,
            changed,
        })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Waits for its end, and until what it said has been passed on. May be dropped and called again, and answers the
    /// same ever after.
    ///
    /// Another process that keeps its output open holds us for 2 s, and a reader of ours that stands still for 2 s more.
    pub async fn wait(&mut self) -> Ended {
        let ended = self.process_end().await;
        self.drain().await;
        ended
    }

    /// Lets it live until then, at most 25 s from now. Once this was said it is killed at the last time that was named,
    /// whatever becomes of us: also when we are stopped.
    pub fn vouch(&mut self, until: Instant) {
        self.vouched = Some(until);
        if let Some(guard) = &mut self.guard {
            guard.vouch(until.saturating_duration_since(Instant::now()));
        }
    }

    /// Whether it was killed because its time was over ([`Child::vouch`]).
    pub fn has_outlived(&self) -> bool {
        let killed = self.ended == Some(Ended::Signal(Signal::KILL.as_raw()));
        killed && self.vouched.is_some_and(|until| until <= Instant::now())
    }

    /// Sends a signal to its whole group, and does not wait.
    pub fn forward(&self, signal: shutdown::Signal) {
        self.signal_group(match signal {
            shutdown::Signal::Interrupt => Signal::INT,
            shutdown::Signal::Terminate => Signal::TERM,
        });
        // One that is stopped would get it only when it is continued.
        self.signal_group(Signal::CONT);
    }

    /// Ends it with all that is below us: the signal, and SIGKILL for what is left after `grace`.
    ///
    /// `None` when the kernel did not end it within 5 s of that, as in an uninterruptible wait for a disk that is gone.
    pub async fn end(&mut self, signal: shutdown::Signal, grace: Duration) -> Option<Ended> {
        self.forward(signal);
        self.end_told(grace).await
    }

    /// As [`Child::end`], where the signal was sent already.
    pub async fn end_told(&mut self, grace: Duration) -> Option<Ended> {
        if timeout(grace, self.all_gone()).await.is_err() {
            self.kill().await;
        }
        if self.ended.is_some() {
            self.drain().await;
        }
        self.ended
    }

    /// How many processes are below us without the guard: after its end, what it has left running.
    pub fn remaining(&self) -> usize {
        let guard = self.guard.as_ref().map(Guard::pid);
        let others = tree::below_us().into_iter();
        others.filter(|pid| Some(*pid) != guard).count()
    }

    async fn process_end(&mut self) -> Ended {
        loop {
            self.reap();
            if let Some(ended) = self.ended {
                return ended;
            }
            self.changed.recv().await;
        }
    }

    async fn drain(&mut self) {
        let (pumps, changed) = (&mut self.pumps, &mut self.changed);
        let finish = pumps.finish();
        tokio::pin!(finish);
        loop {
            tokio::select! {
                () = &mut finish => break,
                // Orphans end meanwhile. The child's own status has been taken.
                _ = changed.recv() => while let Some((pid, _)) = next_status() {
                    self.guard.take_if(|guard| guard.pid() == pid);
                },
            }
        }
    }

    /// Takes the status of every process that has ended: ours, and orphans that came to us.
    fn reap(&mut self) {
        while let Some((pid, status)) = next_status() {
            if status.stopping_signal() == Some(Signal::TSTP.as_raw()) {
                self.signal_group(Signal::CONT);
            } else if pid == self.pid {
                self.ended = self.ended.or_else(|| Ended::of(status));
            } else if Ended::of(status).is_some() {
                self.guard.take_if(|guard| guard.pid() == pid);
            }
        }
    }

    async fn all_gone(&mut self) {
        loop {
            self.reap();
            if self.ended.is_some() && self.remaining() == 0 {
                return;
            }
            tokio::select! {
                _ = self.changed.recv() => {}
                () = sleep(LOOK) => {}
            }
        }
    }

    /// Again and again: what is killed may have started another before.
    async fn kill(&mut self) {
        let limit = Instant::now() + KILL_LIMIT;
        loop {
            self.kill_now();
            if timeout(LOOK, self.all_gone()).await.is_ok() || Instant::now() >= limit {
                return;
            }
        }
    }

    fn kill_now(&self) {
        self.signal_group(Signal::KILL);
        for pid in tree::below_us() {
            let _ = kill_process(pid, Signal::KILL);
        }
    }

    /// The group's number is its own as long as one of its members has not been reaped: the guard, or the child.
    fn signal_group(&self, signal: Signal) {
        let child_is_in = || getpgid(Some(self.pid)).is_ok_and(|group| group == self.group);
        if self.guard.is_some() || (self.ended.is_none() && child_is_in()) {
            let _ = kill_process_group(self.group, signal);
        } else if self.ended.is_none() {
            let _ = kill_process(self.pid, signal);
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.ended.is_none() {
            self.kill_now();
        } else if let Some(guard) = self.guard.take() {
            guard.release();
        }
    }
}

/// The next process that has ended or was stopped. `None` when there is none at the moment, or none at all.
fn next_status() -> Option<(Pid, WaitStatus)> {
    loop {
        match wait(WaitOptions::NOHANG | WaitOptions::UNTRACED) {
            Ok(found) => return found,
            Err(Errno::INTR) => {}
            Err(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests;
