//! The words: every block is what it says it is, every command and name in them exists, every link leads somewhere.

mod blocks;
mod commands;
mod markdown;
mod names;
mod restoring;
mod runbook;
mod sql;

use std::fs;
use std::path::{Path, PathBuf};

use markdown::Document;

use crate::tools::repository;

/// What people read.
fn documents() -> Vec<Document> {
    let mut files: Vec<PathBuf> = ["README.md", "CHANGELOG.md", "tests/bench/README.md"]
        .map(repository)
        .to_vec();
    files.extend(files_of("md"));
    let documents: Vec<Document> = files.iter().map(|file| Document::read(file)).collect();
    for needed in [
        "README.md",
        "k8s/README.md",
        "k8s/runbook.md",
        "k8s/adopt.md",
        "k8s/chart/README.md",
    ] {
        assert!(
            documents.iter().any(|document| document.path == needed),
            "no {needed}"
        );
    }
    documents
}

/// One of them.
fn document(path: &str) -> Document {
    Document::read(&repository(path))
}

/// The files of what is installed, with this extension.
fn files_of(extension: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for folder in ["k8s", "image", ".github"] {
        walk(&repository(folder), &mut files);
    }
    files.retain(|file| file.extension().is_some_and(|found| found == extension));
    files.sort();
    files
}

/// All of them that are text.
fn text_files() -> Vec<(String, String)> {
    let mut files = Vec::new();
    for folder in ["k8s", "image", ".github"] {
        walk(&repository(folder), &mut files);
    }
    files.sort();
    let text = files.iter().filter_map(|file| {
        let text = fs::read_to_string(file).ok()?;
        Some((relative(file), text))
    });
    text.collect()
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries {
        let path = entry.expect("an entry of a folder").path();
        // What helm fetches is no file of ours.
        let is_fetched = path.extension().is_some_and(|found| found == "tgz");
        if path.is_dir() && !path.is_symlink() {
            walk(&path, files);
        } else if !is_fetched {
            files.push(path);
        }
    }
}

/// As the repository names it.
fn relative(path: &Path) -> String {
    let root = repository("");
    path.strip_prefix(&root)
        .unwrap_or(path)
        .to_string_lossy()
        .into_owned()
}
