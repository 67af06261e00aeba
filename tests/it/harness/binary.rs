//! The built binary: how it is called, and what came of it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::eventually::becomes_true;
use super::postgres::Database;
use super::process::{memory_kib, signal};

/// A call of `schemagate`, with nothing in its environment but what is set here.
#[derive(Clone)]
pub(crate) struct Schemagate {
    program: String,
    args: Vec<String>,
    env: BTreeMap<String, OsString>,
    timeout: Duration,
}

/// A call that has not ended.
pub(crate) struct Running {
    child: Child,
    call: String,
    started: Instant,
    timeout: Duration,
    stdout: Capture,
    stderr: Capture,
    peak_kib: u64,
}

/// What a call came to.
pub(crate) struct Outcome {
    call: String,
    status: Option<ExitStatus>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) elapsed: Duration,
    /// The most memory that was resident, as last seen before the end.
    pub(crate) peak_kib: u64,
}

struct Capture {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

// === impl Schemagate ===

impl Schemagate {
    /// A command by its words.
    pub(crate) fn new(args: &[&str]) -> Self {
        Self {
            program: env!("CARGO_BIN_EXE_schemagate").to_owned(),
            args: args.iter().map(|&arg| arg.to_owned()).collect(),
            env: BTreeMap::new(),
            timeout: Duration::from_mins(2),
        }
    }

    /// `schemagate migrate` of a folder on a database.
    pub(crate) fn migrate(database: &Database<'_>, folder: impl AsRef<Path>) -> Self {
        Self::new(&["migrate"]).url(&database.url()).folder(folder)
    }

    /// `schemagate status` of a folder on a database.
    pub(crate) fn status(database: &Database<'_>, folder: impl AsRef<Path>) -> Self {
        Self::new(&["status"]).url(&database.url()).folder(folder)
    }

    /// `schemagate sidecar` of a folder on a database. It looks often, so that a test need not wait.
    pub(crate) fn sidecar(database: &Database<'_>, folder: impl AsRef<Path>) -> Self {
        Self::new(&["sidecar"])
            .url(&database.url())
            .folder(folder)
            .env("SCHEMAGATE_POLL_INTERVAL", "200ms")
    }

    /// Another copy of the binary.
    pub(crate) fn program(mut self, path: &Path) -> Self {
        self.program = path.to_string_lossy().into_owned();
        self
    }

    pub(crate) fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.to_owned());
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.env.insert(name.to_owned(), value.as_ref().to_owned());
        self
    }

    pub(crate) fn url(self, url: &str) -> Self {
        self.env("SCHEMAGATE_DATABASE_URL", url)
    }

    pub(crate) fn folder(self, folder: impl AsRef<Path>) -> Self {
        self.env("SCHEMAGATE_DIR", folder.as_ref())
    }

    /// How long it may take before it is killed and the test fails; two minutes unless set.
    pub(crate) fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The bare call, for tests that start it in a way of their own.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args).env_clear().envs(&self.env);
        command.stdin(Stdio::null());
        command
    }

    /// Runs it to its end.
    #[track_caller]
    pub(crate) fn run(&self) -> Outcome {
        self.spawn().wait()
    }

    /// Starts it.
    #[track_caller]
    pub(crate) fn spawn(&self) -> Running {
        let mut child = self
            .command()
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let stdout = Capture::of(child.stdout.take().expect("a pipe"));
        let stderr = Capture::of(child.stderr.take().expect("a pipe"));
        Running {
            child,
            call: self.to_string(),
            started: Instant::now(),
            timeout: self.timeout,
            stdout,
            stderr,
            peak_kib: 0,
        }
    }
}

impl std::fmt::Display for Schemagate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (name, value) in &self.env {
            write!(f, "{name}='{}' ", value.display())?;
        }
        write!(f, "schemagate {}", self.args.join(" "))
    }
}

// === impl Running ===

impl Running {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// What it has written to standard error so far.
    pub(crate) fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.poll().is_none()
    }

    /// Waits for its end, or kills it when its time is over (then [`Outcome::assert_code`] fails). That time begins here: one of
    /// many may have run for long.
    #[track_caller]
    pub(crate) fn wait(mut self) -> Outcome {
        let since = Instant::now();
        let status = loop {
            if let Some(status) = self.poll() {
                break Some(status);
            }
            if since.elapsed() > self.timeout {
                break None;
            }
            thread::sleep(Duration::from_millis(2));
        };
        let elapsed = self.started.elapsed();
        let _ = self.child.kill();
        let _ = self.child.wait();
        Outcome {
            call: self.call.clone(),
            status,
            stdout: self.stdout.finish(),
            stderr: self.stderr.finish(),
            elapsed,
            peak_kib: self.peak_kib,
        }
    }

    fn poll(&mut self) -> Option<ExitStatus> {
        if let Some(peak) = memory_kib(self.pid(), "VmHWM") {
            self.peak_kib = peak;
        }
        self.child.try_wait().expect("the binary's state")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// === impl Outcome ===

impl Outcome {
    /// The exit code; 128 + n where a signal ended it, -1 where it had to be killed for taking too long.
    pub(crate) fn code(&self) -> i32 {
        self.status.map_or(-1, |status| {
            status
                .code()
                .unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
        })
    }

    /// The signal that ended it.
    pub(crate) fn signal(&self) -> Option<i32> {
        self.status?.signal()
    }

    #[track_caller]
    pub(crate) fn assert_code(&self, code: i32) -> &Self {
        assert!(self.code() == code, "expected exit {code}\n{self}");
        self
    }

    /// Standard error contains the text.
    #[track_caller]
    pub(crate) fn assert_says(&self, text: &str) -> &Self {
        assert!(self.stderr.contains(text), "stderr lacks {text:?}\n{self}");
        self
    }

    /// Standard error does not contain the text.
    #[track_caller]
    pub(crate) fn assert_silent_about(&self, text: &str) -> &Self {
        assert!(!self.stderr.contains(text), "stderr has {text:?}\n{self}");
        self
    }

    /// Standard output contains the text.
    #[track_caller]
    pub(crate) fn assert_prints(&self, text: &str) -> &Self {
        assert!(self.stdout.contains(text), "stdout lacks {text:?}\n{self}");
        self
    }

    /// It took no longer than this.
    #[track_caller]
    pub(crate) fn assert_within(&self, limit: Duration) -> &Self {
        assert!(self.elapsed <= limit, "took longer than {limit:?}\n{self}");
        self
    }

    /// The log: the lines of standard error that are JSON (standard error is no terminal here).
    pub(crate) fn logs(&self) -> Vec<Value> {
        self.stderr
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", self.call)?;
        match self.status {
            Some(status) => writeln!(f, "{status} after {:?}", self.elapsed)?,
            None => writeln!(f, "killed after {:?}", self.elapsed)?,
        }
        writeln!(
            f,
            "--- stdout\n{}\n--- stderr\n{}",
            self.stdout, self.stderr
        )
    }
}

// === impl Capture ===

impl Capture {
    fn of(mut pipe: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&bytes);
        let reader = thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(length @ 1..) = pipe.read(&mut buffer) {
                shared.lock().unwrap().extend_from_slice(&buffer[..length]);
            }
        });
        Self {
            bytes,
            reader: Some(reader),
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap()).into_owned()
    }

    /// All of it. A process that outlives ours may still hold the pipe, which then has no end.
    fn finish(&mut self) -> String {
        let Some(reader) = self.reader.take() else {
            return self.text();
        };
        if becomes_true(|| reader.is_finished()) {
            let _ = reader.join();
            return self.text();
        }
        format!("{}\n(another process still holds this pipe)", self.text())
    }
}
