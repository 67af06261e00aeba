//! One of very many processes: no thread of the test's own for each, its log in a file.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use crate::harness::scratch;

/// A process that may still run.
pub(crate) struct Pod {
    child: Child,
    log: PathBuf,
    /// It has written what it was to write.
    said: bool,
    /// Its code and when it was seen to have ended.
    ended: Option<(i32, SystemTime)>,
}

/// Processes of one kind.
pub(crate) struct Pods(Vec<Pod>);

/// A pause that a waiter has told: when it began, and how long it was to be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pause {
    began: SystemTime,
    length: Duration,
}

// === impl Pods ===

impl Pods {
    /// Starts so many; `command` makes each call.
    pub(crate) fn start(count: usize, command: impl Fn() -> Command) -> Self {
        let dir = scratch::new_dir("pods");
        let start = |number: usize| Pod::start(command(), dir.join(number.to_string()));
        Self((0..count).map(start).collect())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Pod> {
        self.0.iter()
    }

    /// How many have written this to their log, or have ended.
    pub(crate) fn that_say(&mut self, text: &str) -> usize {
        for pod in &mut self.0 {
            pod.said = pod.said || pod.poll() || pod.log().contains(text);
        }
        self.iter().filter(|pod| pod.said).count()
    }

    /// Waits for the end of all; what still runs at the limit is killed, and has no code.
    pub(crate) fn wait(&mut self, limit: Duration) {
        let end = Instant::now() + limit;
        while self.0.iter_mut().any(|pod| !pod.poll()) && Instant::now() < end {
            thread::sleep(Duration::from_millis(20));
        }
        for pod in &mut self.0 {
            pod.end();
        }
    }

    /// How many ended with this code; 128 + n for a signal, -1 for what was killed at the limit.
    pub(crate) fn ended_with(&self, code: i32) -> usize {
        self.iter().filter(|pod| pod.code() == code).count()
    }

    /// All have ended with 0, or the first few others are shown.
    #[track_caller]
    pub(crate) fn assert_all_ended_well(&self) {
        let others: Vec<_> = self.iter().filter(|pod| pod.code() != 0).collect();
        let shown: Vec<_> = others.iter().take(3).map(ToString::to_string).collect();
        assert!(
            others.is_empty(),
            "{} of {} did not end with 0:\n{}",
            others.len(),
            self.0.len(),
            shown.join("\n")
        );
    }

    /// When the last one had ended.
    pub(crate) fn last_end(&self) -> SystemTime {
        let ends = self.iter().filter_map(|pod| Some(pod.ended?.1));
        ends.max().expect("somebody has ended")
    }
}

// === impl Pod ===

impl Pod {
    fn start(mut command: Command, log: PathBuf) -> Self {
        let file = || File::options().create(true).append(true).open(&log);
        let child = command
            .stdin(Stdio::null())
            .stdout(file().expect("a log"))
            .stderr(file().expect("a log"))
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}; run `make setup`"));
        Self {
            child,
            log,
            said: false,
            ended: None,
        }
    }

    /// Whether it has ended.
    fn poll(&mut self) -> bool {
        if self.ended.is_none()
            && let Some(status) = self.child.try_wait().expect("its state")
        {
            use std::os::unix::process::ExitStatusExt;
            let signal = || 128 + status.signal().unwrap_or_default();
            let code = status.code().unwrap_or_else(signal);
            self.ended = Some((code, SystemTime::now()));
        }
        self.ended.is_some()
    }

    fn end(&mut self) {
        if !self.poll() {
            let _ = self.child.kill();
            let _ = self.child.wait();
            self.ended = Some((-1, SystemTime::now()));
        }
    }

    fn code(&self) -> i32 {
        self.ended.map_or(-1, |(code, _)| code)
    }

    /// All that it has written.
    pub(crate) fn log(&self) -> String {
        read(&self.log)
    }

    /// Its pauses: while the lock was elsewhere, and between attempts to connect.
    pub(crate) fn pauses(&self) -> Vec<Pause> {
        let log = self.log();
        let lines = log.lines();
        let logged = lines.filter_map(|line| serde_json::from_str(line).ok());
        logged.filter_map(|line: Value| Pause::of(&line)).collect()
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.end();
    }
}

impl std::fmt::Display for Pod {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "exit {}\n{}", self.code(), self.log())
    }
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

// === impl Pause ===

impl Pause {
    fn of(line: &Value) -> Option<Self> {
        let length = line["next_ms"].as_u64().or(line["next_look_ms"].as_u64())?;
        let began: jiff::Timestamp = line["timestamp"].as_str()?.parse().ok()?;
        Some(Self {
            began: began.into(),
            length: Duration::from_millis(length),
        })
    }

    /// How much of it lay behind a moment.
    pub(crate) fn behind(&self, moment: SystemTime) -> Duration {
        let end = self.began + self.length;
        let from = self.began.max(moment);
        end.duration_since(from).unwrap_or_default()
    }
}
