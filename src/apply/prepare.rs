//! Reads and divides the pending files before anything runs, so that a file that cannot be run stops the run while
//! nothing has happened.

use std::fmt;

use super::Failure;
use crate::{
    exit::ExitStatus,
    migration::{Migration, TransactionMode},
    source::{self, Source},
    sql::{
        Issue, Options, Script, Units,
        need::{Need, needs},
        risk::{FileRisk, Release},
    },
};

/// Scripts up to this size together are kept between the check and the run; others are read again.
const KEPT_BYTES: usize = 4 << 20;
/// How many issues are told.
const MAX_ISSUES: usize = 20;

/// A pending migration, divided.
#[derive(Debug)]
pub struct Job {
    /// Its place in [`Source::migrations`].
    pub migration: usize,
    /// How it runs.
    pub mode: Mode,
    script: Option<Script>,
    /// What it risks.
    pub risk: FileRisk,
    /// What its statements need of the database.
    pub needs: Vec<Need>,
}

/// How a migration runs.
#[derive(Debug)]
pub enum Mode {
    /// In one transaction with its history row.
    Transaction,
    /// Piece by piece, each journalled.
    Pieces(Units),
}

/// Files that cannot be run as they are.
#[derive(Debug)]
pub struct Error {
    /// One sentence each, with file and line.
    pub issues: Vec<String>,
    /// What to do.
    pub next: String,
}

/// Reads every pending file once. Warnings are told through `warn`; `release` reads what the statements risk.
pub fn prepare(
    source: &Source,
    run: &[usize],
    mode: TransactionMode,
    release: &mut Release,
    warn: &mut dyn FnMut(&str),
) -> Result<Vec<Job>, Error> {
    let mut jobs = Vec::with_capacity(run.len());
    let mut issues = Vec::new();
    let mut kept = 0;
    for &index in run {
        let migration = &source.migrations[index];
        match job(source, index, mode, release) {
            Ok(mut job) => {
                if mode == TransactionMode::All && run.len() > 1 {
                    job.warn_of_enum(migration, warn);
                }
                kept += job.script.as_ref().map_or(0, |script| script.text().len());
                if kept > KEPT_BYTES {
                    job.script = None;
                }
                jobs.push(job);
            }
            Err(found) => issues.extend(found),
        }
    }
    if issues.is_empty() {
        return Ok(jobs);
    }
    issues.truncate(MAX_ISSUES);
    Err(Error {
        issues,
        next: "nothing was run; correct the file and release again".to_owned(),
    })
}

fn job(
    source: &Source,
    index: usize,
    mode: TransactionMode,
    release: &mut Release,
) -> Result<Job, Vec<String>> {
    let migration = &source.migrations[index];
    let script = script(source, migration)?;
    let told = |issues: Vec<Issue>| told(migration, &issues);
    let summary = script.summary();
    let mode = if summary.in_pieces() {
        let units = script.units().map_err(told)?;
        if mode == TransactionMode::All {
            return Err(vec![needs_pieces(migration, &script)]);
        }
        Mode::Pieces(units)
    } else if summary.refused.is_empty() {
        Mode::Transaction
    } else {
        return Err(told(summary.refused.clone()));
    };
    Ok(Job {
        migration: index,
        mode,
        risk: release.file(&script),
        needs: needs(&script),
        script: Some(script),
    })
}

/// Reads and prepares one file; else one sentence for each problem, with file and line.
pub fn script(source: &Source, migration: &Migration) -> Result<Script, Vec<String>> {
    let text = source
        .read(migration)
        .map_err(|error: source::Error| vec![error.to_string()])?;
    let options = Options {
        marker: source.format.statement_marker(),
        in_transaction: !migration.directives.transaction_off,
    };
    Script::prepare(text, options).map_err(|issues| told(migration, &issues))
}

fn told(migration: &Migration, issues: &[Issue]) -> Vec<String> {
    issues
        .iter()
        .map(|issue| {
            format!(
                "{}:{}:{}: {}",
                migration.path, issue.line, issue.column, issue.message
            )
        })
        .collect()
}

fn needs_pieces(migration: &Migration, script: &Script) -> String {
    let summary = script.summary();
    let why = summary
        .bare
        .as_ref()
        .or(summary.boundary.as_ref())
        .map_or_else(
            || "transaction=off at its head".to_owned(),
            |mark| format!("{} in line {}", mark.what, mark.line),
        );
    format!(
        "{}: cannot run in one transaction with the others (SCHEMAGATE_TRANSACTION=all) because of {why}",
        migration.path
    )
}

// === impl Job ===

impl Job {
    /// Whether it runs in pieces.
    pub const fn needs_journal(&self) -> bool {
        matches!(self.mode, Mode::Pieces(_))
    }

    /// Reads the script again, if it was not kept.
    pub fn load(&mut self, source: &Source) -> Result<(), Failure> {
        if self.script.is_none() {
            let migration = &source.migrations[self.migration];
            let script = script(source, migration).map_err(|issues| Failure::Unsupported {
                what: issues.join("; "),
                next: "the file was replaced while it was being run; start again".to_owned(),
            })?;
            self.script = Some(script);
        }
        Ok(())
    }

    /// Lets go of the script.
    pub fn unload(&mut self) {
        self.script = None;
    }

    /// The script, loaded.
    pub fn script(&self) -> Result<&Script, Failure> {
        self.script.as_ref().ok_or_else(|| Failure::Unsupported {
            what: "a file was not read before it was run".to_owned(),
            next: "this is a bug in schemagate; please report it".to_owned(),
        })
    }

    fn warn_of_enum(&self, migration: &Migration, warn: &mut dyn FnMut(&str)) {
        let script = self.script.as_ref();
        if let Some(mark) = script.and_then(|script| script.summary().new_enum_value.as_ref()) {
            warn(&format!(
                "{}: line {} adds a value to an enum; in one transaction (SCHEMAGATE_TRANSACTION=all) no later file \
                 of this run can use it",
                migration.path, mark.line
            ));
        }
    }
}

// === impl Error ===

impl Error {
    /// [`ExitStatus::Usage`].
    pub const fn exit_status(&self) -> ExitStatus {
        ExitStatus::Usage
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.issues.join("; "))
    }
}
