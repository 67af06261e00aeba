//! SIGTERM and SIGINT: the first is told to whoever asks, the second ends the process at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::exit::ExitStatus;

/// A handle that knows of the first signal. Clones know the same.
#[derive(Debug, Clone)]
pub struct Shutdown {
    /// Whether a signal ends the process from inside its handler.
    armed: Arc<AtomicBool>,
    /// Written by the signal's handler: the number of the last signal, 0 before any.
    last: Arc<AtomicUsize>,
    /// Wakes whoever waits.
    first: watch::Receiver<Option<Signal>>,
}

/// A signal that asks for the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGTERM: the kubelet, `docker stop`.
    Terminate,
}

// === impl Signal ===

impl Signal {
    /// What a run that it ended exits with.
    pub const fn exit_status(self) -> ExitStatus {
        match self {
            Self::Interrupt => ExitStatus::Interrupted,
            Self::Terminate => ExitStatus::Terminated,
        }
    }

    /// Its name, for messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        }
    }
}

// === impl Shutdown ===

impl Shutdown {
    /// Takes the two signals over, for the rest of the process. To be called once, inside a runtime that has its
    /// I/O driver on.
    ///
    /// From here on the first signal no longer ends the process. The second does, from inside its handler: also when
    /// the runtime is blocked or the main task never yields.
    pub fn install() -> io::Result<Self> {
        let (last, armed) = (Arc::default(), Arc::<AtomicBool>::default());
        for (number, status) in [
            (SIGTERM, ExitStatus::Terminated),
            (SIGINT, ExitStatus::Interrupted),
        ] {
            // Handlers run in the order of their registration: the first signal finds `armed` unset and sets it.
            flag::register_conditional_shutdown(
                number,
                i32::from(status.code()),
                Arc::clone(&armed),
            )?;
            flag::register_usize(
                number,
                Arc::clone(&last),
                usize::try_from(number).unwrap_or_default(),
            )?;
            flag::register(number, Arc::clone(&armed))?;
        }
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let (sender, first) = watch::channel(None);
        tokio::spawn(async move {
            let signal = tokio::select! {
                _ = terminate.recv() => Signal::Terminate,
                _ = interrupt.recv() => Signal::Interrupt,
            };
            let _ = sender.send(Some(signal));
        });
        Ok(Self { armed, last, first })
    }

    /// A handle that no signal ever reaches, for tests: signals are the whole process's.
    #[cfg(test)]
    pub(crate) fn silent() -> Self {
        Self {
            armed: Arc::default(),
            last: Arc::default(),
            first: watch::channel(None).1,
        }
    }

    /// From here on every signal ends the process, as the second always does: for a process that has nothing left to
    /// stop, and that will soon listen no more.
    pub fn end_at_once(&self) {
        self.armed.store(true, Ordering::SeqCst);
    }

    /// Waits for the first signal; answers at once when it has come already. May be called again.
    pub async fn recv(&self) -> Signal {
        let mut first = self.first.clone();
        let told = first.wait_for(Option::is_some).await;
        match told.ok().and_then(|signal| *signal) {
            Some(signal) => signal,
            // The runtime that listened is gone.
            None => std::future::pending().await,
        }
    }

    /// Which signal has come, also when nothing has been awaited since.
    pub fn received(&self) -> Option<Signal> {
        match i32::try_from(self.last.load(Ordering::SeqCst)).ok()? {
            SIGTERM => Some(Signal::Terminate),
            SIGINT => Some(Signal::Interrupt),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Lines, Write};
    use std::process::{Child, ChildStdout, Command, Stdio};
    use std::time::Duration;

    use super::*;

    /// Signals are the whole process's: each case runs in a process of its own, this test binary once more.
    fn start(child: &str) -> (Child, Lines<BufReader<ChildStdout>>) {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture", child])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        expect(&mut lines, "ready");
        (process, lines)
    }

    #[track_caller]
    fn expect(lines: &mut Lines<BufReader<ChildStdout>>, text: &str) {
        let found = lines.any(|line| line.unwrap().ends_with(text));
        assert!(found, "the child ended without saying {text:?}");
    }

    fn send(process: &Child, signal: &str) {
        let kill = Command::new("kill")
            .args(["-s", signal, &process.id().to_string()])
            .status();
        assert!(kill.unwrap().success());
    }

    fn say(text: &str) {
        let mut stdout = io::stdout();
        writeln!(stdout, "\n{text}").unwrap();
        stdout.flush().unwrap();
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .unwrap()
    }

    #[test]
    #[ignore = "the child of others"]
    fn child_that_waits() {
        runtime().block_on(async {
            let shutdown = Shutdown::install().unwrap();
            assert_eq!(shutdown.received(), None);
            let clone = shutdown.clone();
            say("ready");
            let signal = clone.recv().await;
            assert_eq!(shutdown.recv().await, signal);
            assert_eq!(shutdown.received(), Some(signal));
            say(signal.name());
        });
    }

    #[test]
    #[ignore = "the child of others"]
    fn child_that_has_nothing_left() {
        runtime().block_on(async {
            let shutdown = Shutdown::install().unwrap();
            shutdown.end_at_once();
            assert_eq!(shutdown.received(), None);
            say("ready");
            std::thread::sleep(Duration::from_mins(1));
        });
    }

    #[test]
    #[ignore = "the child of others"]
    fn child_that_is_busy() {
        runtime().block_on(async {
            let shutdown = Shutdown::install().unwrap();
            say("ready");
            let signal = loop {
                if let Some(signal) = shutdown.received() {
                    break signal;
                }
            };
            say(signal.name());
            std::thread::sleep(Duration::from_mins(1));
        });
    }

    #[test]
    fn the_first_is_told() {
        for (signal, name) in [("TERM", "SIGTERM"), ("INT", "SIGINT")] {
            let (mut process, mut lines) = start("shutdown::tests::child_that_waits");
            send(&process, signal);
            expect(&mut lines, name);
            assert!(lines.all(|line| line.is_ok()));
            assert_eq!(process.wait().unwrap().code(), Some(0));
        }
    }

    #[test]
    fn the_second_ends_a_busy_process() {
        for (first, name, second, code) in [
            ("TERM", "SIGTERM", "TERM", 143),
            ("INT", "SIGINT", "INT", 130),
            ("INT", "SIGINT", "TERM", 143),
        ] {
            let (mut process, mut lines) = start("shutdown::tests::child_that_is_busy");
            send(&process, first);
            expect(&mut lines, name);
            assert_eq!(process.try_wait().unwrap(), None);
            send(&process, second);
            assert_eq!(process.wait().unwrap().code(), Some(code));
        }
    }

    #[test]
    fn the_first_ends_a_process_that_has_nothing_left() {
        for (signal, code) in [("TERM", 143), ("INT", 130)] {
            let (mut process, _lines) = start("shutdown::tests::child_that_has_nothing_left");
            send(&process, signal);
            assert_eq!(process.wait().unwrap().code(), Some(code));
        }
    }
}
