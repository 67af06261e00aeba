//! What is kept of a round that failed.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::harness::process::must;

/// What happened, with the time since the round began, and what the workers said.
pub(crate) struct Kept {
    started: Instant,
    events: String,
    logs: Vec<String>,
}

impl Kept {
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            events: String::new(),
            logs: Vec::new(),
        }
    }

    pub(crate) fn elapsed(&self) -> std::time::Duration {
        self.started.elapsed()
    }

    /// A line of the round's story.
    pub(crate) fn event(&mut self, text: &str) {
        let seconds = self.started.elapsed().as_secs_f64();
        let _ = writeln!(self.events, "{seconds:9.3}  {text}");
    }

    /// What a worker said until its end.
    pub(crate) fn log(&mut self, text: String) {
        self.logs.push(text);
    }

    /// Writes it all below `target`, and names the folder.
    pub(crate) fn write(&self, seed: u64, migrations: &Path, files: &[(&str, String)]) -> PathBuf {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("chaos/{seed}"));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).expect("a folder to keep the round in");
        must(
            Command::new("cp")
                .arg("-r")
                .arg(migrations)
                .arg(dir.join("migrations")),
        );
        let put = |name: &str, text: &str| fs::write(dir.join(name), text).expect("a kept file");
        put("events", &self.events);
        for (number, text) in self.logs.iter().enumerate() {
            put(&format!("worker-{number:03}"), text);
        }
        for (name, text) in files {
            put(name, text);
        }
        dir
    }
}
