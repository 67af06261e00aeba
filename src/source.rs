//! From the folder to its migrations: what is there, which tool it belongs to, what it says.
//!
//! Texts are streamed and never kept, so that ten thousand files, or one of hundreds of megabytes, fit in a small pod.
//! Every mistake of a folder is told at once, and all of them are [`ExitStatus::Usage`]: a wrong mount must not open
//! the gate.

mod alone;
mod archive;
mod assertions;
mod checksum;
mod classic;
mod detect;
mod directives;
mod facts;
mod folder;
mod plain;
mod undoing;
mod v1;

pub use alone::read_alone;
pub use assertions::{Assertion, assertions};

use crate::exit::ExitStatus;
use crate::formats::Format;
use crate::migration::{FormatSetting, Migration};
use folder::Tree;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Where the migrations are and what they are said to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Params {
    /// `SCHEMAGATE_DIR`: a folder, or a `.tar.gz` of one.
    pub dir: PathBuf,
    /// `SCHEMAGATE_FORMAT`.
    pub format: FormatSetting,
    /// `SCHEMAGATE_ALLOW_EMPTY`.
    pub allow_empty: bool,
}

/// A folder that has been read.
#[derive(Debug)]
pub struct Source {
    /// Its format.
    pub format: Format,
    /// Its migrations in the order in which they run.
    pub migrations: Vec<Migration>,
    /// What a person should know and what stops nothing.
    pub warnings: Vec<String>,
    /// The folder looks like Drizzle v1's, but Prisma's looks the same: without Drizzle's history table in the
    /// database the command must end with [`Source::unproved`].
    pub needs_history_proof: bool,
    tree: Arc<Tree>,
}

/// What is wrong with the folder. Always [`ExitStatus::Usage`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// Every problem that was found; not empty.
    pub problems: Vec<String>,
    help: String,
}

/// As many problems as one message lists.
const LISTED: usize = 20;

/// Reads the folder.
pub fn load(params: &Params) -> Result<Source, Error> {
    let tree = Tree::open(&params.dir)?;
    let detected = detect::detect(&tree, params)?;
    let loaded = match detected.format {
        Format::DrizzleClassic => classic::load(&tree, &detected.names),
        Format::DrizzleV1 => v1::load(&tree, &detected.names, &detected.folders),
        Format::Sql => plain::load(&tree, &detected.names, params.format),
    }?;
    if loaded.migrations.is_empty() && !params.allow_empty {
        return Err(empty(&tree));
    }
    Ok(Source {
        format: detected.format,
        migrations: loaded.migrations,
        warnings: loaded.warnings,
        needs_history_proof: detected.needs_history_proof,
        tree: Arc::new(tree),
    })
}

/// What a format makes of a folder.
#[derive(Debug, Default)]
struct Loaded {
    migrations: Vec<Migration>,
    warnings: Vec<String>,
}

fn empty(tree: &Tree) -> Error {
    let hint = tree.hint_for_empty();
    let help = hint.unwrap_or_else(|| {
        "check the mount and SCHEMAGATE_DIR; set SCHEMAGATE_ALLOW_EMPTY=true if nothing is meant to be there".to_owned()
    });
    Error::new(
        format!(
            "SCHEMAGATE_DIR={}: there are no migrations in it",
            tree.place()
        ),
        help,
    )
}

// === impl Source ===

impl Source {
    /// The text of a migration, decoded as its tool decodes it and without a byte order mark, which PostgreSQL would
    /// take for a syntax error.
    ///
    /// Refused when the file is no longer what [`load`] saw: it was replaced under us, and what was planned is not
    /// what would run.
    pub fn read(&self, migration: &Migration) -> Result<String, Error> {
        let text = self.text(&migration.path)?;
        if checksum::of_text(&text) != migration.checksum {
            return Err(Error::new(
                format!(
                    "{}: the file has changed since it was planned",
                    migration.path
                ),
                "start again: the folder was replaced while it was in use",
            ));
        }
        Ok(without_bom(text))
    }

    /// The folder as the messages name it.
    pub fn place(&self) -> String {
        self.tree.place()
    }

    /// The refusal where [`Source::needs_history_proof`] is set and the database has no history table of Drizzle.
    pub fn unproved(&self) -> Error {
        Error::new(
            format!(
                "SCHEMAGATE_DIR={}: folders with migration.sql are Drizzle's or Prisma's, and neither a snapshot.json \
                 nor a table __drizzle_migrations tells which",
                self.tree.place()
            ),
            "set SCHEMAGATE_FORMAT=drizzle if they are Drizzle's; Prisma is not supported yet: run it under \
             `schemagate exec`",
        )
    }

    fn text(&self, path: &str) -> Result<String, Error> {
        let bytes = self
            .tree
            .bytes(path)
            .map_err(|error| unreadable(path, &error))?;
        if self.format.is_drizzle() {
            return Ok(match String::from_utf8(bytes) {
                Ok(text) => text,
                Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
            });
        }
        String::from_utf8(bytes).map_err(|error| {
            let offset = error.utf8_error().valid_up_to();
            Error::new(
                format!("{path}: byte {offset} is not valid UTF-8"),
                "save the file as UTF-8",
            )
        })
    }
}

fn without_bom(text: String) -> String {
    match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    }
}

fn unreadable(path: &str, error: &std::io::Error) -> Error {
    Error::new(
        format!("{path}: {error}"),
        "check that the file is there and that the container's user may read it",
    )
}

// === impl Error ===

impl Error {
    fn new(problem: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            problems: vec![problem.into()],
            help: help.into(),
        }
    }

    /// The refusal for these problems, if there are any.
    fn all(problems: Vec<String>) -> Result<(), Self> {
        if problems.is_empty() {
            return Ok(());
        }
        Err(Self {
            problems,
            help: "correct the files and build the image again".to_owned(),
        })
    }

    /// [`ExitStatus::Usage`].
    pub const fn exit_status(&self) -> ExitStatus {
        ExitStatus::Usage
    }

    /// What to do next.
    pub fn help(&self) -> &str {
        &self.help
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listed: Vec<&str> = self
            .problems
            .iter()
            .take(LISTED)
            .map(String::as_str)
            .collect();
        f.write_str(&listed.join("; "))?;
        match self.problems.len().saturating_sub(LISTED) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests;
