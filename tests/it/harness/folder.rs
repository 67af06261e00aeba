//! Folders of migrations: made in a test, or taken from the fixtures.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::process::must;
use super::scratch;

/// A folder that a test may change. It lives as long as the test process: a call may outlive the value.
pub(crate) struct Folder {
    path: PathBuf,
}

/// A folder below `tests/fixtures`, not to be written to.
pub(crate) fn fixture(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name);
    assert!(path.is_dir(), "no fixture {}", path.display());
    path
}

// === impl Folder ===

impl Folder {
    /// An empty folder.
    pub(crate) fn empty() -> Self {
        Self {
            path: scratch::new_dir("folder"),
        }
    }

    /// Plain SQL files by name.
    pub(crate) fn sql(files: &[(&str, &str)]) -> Self {
        let folder = Self::empty();
        for (name, text) in files {
            folder.write(name, text.as_bytes());
        }
        folder
    }

    /// A classic Drizzle folder with one entry a tag. `when` is the entry's time in milliseconds.
    pub(crate) fn classic(entries: &[(&str, i64, &str)]) -> Self {
        let folder = Self::empty();
        for (tag, _, text) in entries {
            folder.write(&format!("{tag}.sql"), text.as_bytes());
        }
        let entries: Vec<_> = entries
            .iter()
            .enumerate()
            .map(|(idx, (tag, when, _))| {
                json!({"idx": idx, "version": "7", "when": when, "tag": tag, "breakpoints": true})
            })
            .collect();
        folder.write_journal(&entries);
        folder
    }

    /// The first `count` migrations of a Drizzle fixture, classic or v1.
    pub(crate) fn first_of(fixture: &Path, count: usize) -> Self {
        let folder = Self::empty();
        must(
            Command::new("cp")
                .arg("-r")
                .arg(fixture.join("."))
                .arg(&folder.path),
        );
        if folder.path.join("meta").is_dir() {
            let mut entries = folder.journal();
            entries.truncate(count);
            folder.write_journal(&entries);
        } else {
            for name in folder.names().iter().skip(count) {
                fs::remove_dir_all(folder.path.join(name)).expect("a migration's folder");
            }
        }
        folder
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file; folders in its name are made.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> &Self {
        let path = self.path.join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("the file's folder");
        fs::write(path, bytes).expect("a file");
        self
    }

    pub(crate) fn remove(&self, name: &str) -> &Self {
        fs::remove_file(self.path.join(name)).expect("a file to remove");
        self
    }

    /// The entries of a classic journal.
    pub(crate) fn journal(&self) -> Vec<Value> {
        let text = fs::read(self.path.join("meta/_journal.json")).expect("the journal");
        let journal: Value = serde_json::from_slice(&text).expect("a journal in JSON");
        journal["entries"].as_array().expect("entries").clone()
    }

    pub(crate) fn write_journal(&self, entries: &[Value]) {
        let journal = json!({"version": "7", "dialect": "postgresql", "entries": entries});
        self.write("meta/_journal.json", journal.to_string().as_bytes());
    }

    /// The names of what lies in it, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(&self.path)
            .expect("the folder")
            .map(|entry| entry.expect("an entry").file_name())
            .map(|name| name.to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

impl AsRef<Path> for Folder {
    fn as_ref(&self) -> &Path {
        &self.path
    }
}
