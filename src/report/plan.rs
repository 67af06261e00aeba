//! `plan`: what would run, statement by statement; one model, and its forms for people, machines and reviewers.

mod findings;
mod json;
mod markdown;
mod text;

use std::{fmt::Display, time::Duration};

use serde::{Serialize, Serializer};

pub use findings::findings;
pub use json::json;
pub use markdown::markdown;
pub use text::text;

use crate::{
    gate::Approval,
    migration::Migration,
    sql::{
        Name,
        risk::{Assessment, Effect, Lock, Risk},
    },
};

/// The version of the JSON form; additions do not change it.
pub const SCHEMA_VERSION: u32 = 1;

/// How much of the checksum an approval takes.
pub const APPROVAL_DIGITS: usize = 12;

/// What a rollback leaves behind.
///
/// <https://www.postgresql.org/docs/current/functions-sequence.html>
pub const NOT_UNDONE: [&str; 4] = [
    "sequences that moved stay where they are",
    "tables and indexes that grew stay as large until VACUUM",
    "the write-ahead log was written, archived and sent to standbys",
    "what functions did outside of this database stays (dblink, files, programs, other servers)",
];

/// Everything that `plan` shows.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// The version of this form.
    pub schema_version: u32,
    /// The database.
    pub database: String,
    /// The server's version in its own words.
    pub server: String,
    /// The format of the folder.
    pub format: &'static str,
    /// The history table.
    pub history: String,
    /// The folder as messages name it, for the places of findings.
    #[serde(skip)]
    pub folder: String,
    /// The worst of everything that would run.
    #[serde(serialize_with = "word")]
    pub risk: Risk,
    /// How many migrations are needed and not applied, conflicts or not.
    pub pending: usize,
    /// What would run, in order; empty while there are conflicts.
    pub migrations: Vec<Step>,
    /// What is not for now.
    pub deferred: Vec<Deferred>,
    /// What forbids to run anything.
    pub conflicts: Vec<String>,
    /// What a person should know.
    pub warnings: Vec<String>,
    /// What `--trace` has seen as a whole.
    pub trace: Option<TraceReport>,
    /// What was looked at besides, for the checklist.
    #[serde(skip)]
    pub surroundings: Surroundings,
}

/// What a reviewer need not ask for, because it was looked at.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// The database is being built from nothing, so there is no data to guard.
    pub bootstrap: bool,
    /// `SCHEMAGATE_REQUIRE_BACKUP` is set.
    pub asks_backup: bool,
    /// The backup with which the gate that asks for one is content: when, and how old it may be.
    pub backup: Option<String>,
    /// Whether a restore point would be created, or why none; `None` where the settings want none.
    pub restore_point: Option<Result<(), String>>,
    /// `SCHEMAGATE_SLOW_THRESHOLD`.
    pub slow: Option<Duration>,
}

/// A migration that would run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Step {
    /// What identifies it.
    pub version: String,
    /// Its file.
    pub path: String,
    /// The file's checksum.
    pub checksum: String,
    /// What `SCHEMAGATE_APPROVE` takes to approve this content.
    pub approve: String,
    /// `transaction` or `pieces`.
    pub mode: &'static str,
    /// The worst of its statements.
    #[serde(serialize_with = "word")]
    pub risk: Risk,
    /// Whether a gate holds it.
    pub held: Option<HeldStep>,
    /// The approvals that let it through.
    #[serde(skip)]
    pub approvals: Vec<Approval>,
    /// It is marked `phase=contract`.
    #[serde(skip)]
    pub is_contract: bool,
    /// There is a file that undoes it.
    #[serde(skip)]
    pub has_down: bool,
    /// How many statements it has.
    pub statement_count: usize,
    /// The first of them, and all that are worth a look as far as there is room.
    pub statements: Vec<Line>,
    /// What the statements did that are not listed.
    pub rest: Option<TraceLine>,
}

/// Why a migration is held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HeldStep {
    /// Why.
    pub reason: String,
    /// The line of the statement, where it is one.
    pub line: Option<u32>,
    /// The exact line or variable that lets it through.
    pub let_through: String,
}

/// A statement.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Line {
    /// How many statements come before it in its file.
    pub index: usize,
    /// Its line, from 1.
    pub line: u32,
    /// Its text for people: literals replaced, cut.
    pub text: String,
    /// The worst of its effects.
    #[serde(serialize_with = "word")]
    pub risk: Risk,
    /// Nobody can tell before it runs.
    pub opaque: bool,
    /// The piece it belongs to, from 1, in a file that runs in pieces.
    pub piece: Option<usize>,
    /// It runs outside any transaction.
    pub bare: bool,
    /// What it does.
    pub effects: Vec<EffectLine>,
    /// What it did in a trace.
    pub trace: Option<TraceLine>,
    /// The place in a list of statements that set the `search_path` before it.
    #[serde(skip)]
    pub search_path: Option<usize>,
}

/// What a statement does to a relation.
#[derive(Debug, Clone, Serialize)]
pub struct EffectLine {
    /// The relation: as the catalog has it where it exists, else as it is written.
    pub relation: Option<String>,
    /// As it is written.
    #[serde(skip)]
    pub object: Option<Name>,
    /// The lock on it.
    #[serde(serialize_with = "optional_word")]
    pub lock: Option<Lock>,
    /// Every row of it is written again.
    pub rewrite: bool,
    /// What would run has made the relation itself, so nobody waits for it.
    pub made_here: bool,
    /// The risk of this effect alone.
    #[serde(serialize_with = "word")]
    pub risk: Risk,
    /// What it does.
    pub why: String,
    /// The safer way, where there is one.
    pub safer: Option<String>,
    /// The relation's size with indexes and TOAST; `null` where it does not exist.
    pub bytes: Option<u64>,
    /// Its rows, as the statistics say.
    pub rows: Option<u64>,
}

/// A migration that is not for now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Deferred {
    /// Which.
    pub version: String,
    /// Its file.
    pub path: String,
    /// Why.
    pub why: String,
    /// It waits for the contract phase, itself or behind one that does.
    #[serde(skip)]
    pub for_contract: bool,
}

/// What a statement did in a trace.
#[derive(Debug, Clone, Default, Serialize)]
pub struct TraceLine {
    /// From sending to the answer.
    pub duration_ms: f64,
    /// The rows that it touched.
    pub rows: Option<u64>,
    /// The locks that it took and that were not held already.
    pub locks: Vec<TakenLine>,
    /// The relations that have another file now.
    pub rewritten: Vec<String>,
    /// Where, SQLSTATE and message.
    pub error: Option<String>,
    /// Why it was not run.
    pub skipped: Option<String>,
}

/// A lock that was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TakenLine {
    /// `schema.name`.
    pub relation: String,
    /// The manual's name of the mode.
    #[serde(serialize_with = "word")]
    pub mode: Lock,
}

/// A trace as a whole.
#[derive(Debug, Clone, Default, Serialize)]
pub struct TraceReport {
    /// `whole`, `failed` or `limit`.
    pub end: &'static str,
    /// How long locks were held.
    pub held_ms: u64,
    /// How many statements ran.
    pub ran: usize,
    /// What was left out, with the reason: `0004_x.sql:3: CREATE INDEX …: why`.
    pub not_run: Vec<String>,
    /// The error at which it ended.
    pub error: Option<String>,
    /// What the rollback left behind.
    pub not_undone: Vec<&'static str>,
}

// === impl Report ===

impl Report {
    /// Warns of what is seen only when the locks of a whole transaction are put side by side.
    pub fn warn_of_locks(&mut self, all_in_one: bool) {
        let mut together: Vec<(String, Vec<String>)> = Vec::new();
        for step in &self.migrations {
            for line in step.statements.iter().filter(|line| !line.bare) {
                let transaction = match (all_in_one, line.piece) {
                    (true, _) => "the run (SCHEMAGATE_TRANSACTION=all)".to_owned(),
                    (false, None) => step.version.clone(),
                    (false, Some(piece)) => format!("piece {piece} of {}", step.version),
                };
                if together.last().is_none_or(|(last, _)| *last != transaction) {
                    together.push((transaction, Vec::new()));
                }
                let Some((_, relations)) = together.last_mut() else {
                    continue;
                };
                for relation in line.effects.iter().filter_map(EffectLine::locked_out) {
                    if !relations.contains(relation) {
                        relations.push(relation.clone());
                    }
                }
            }
        }
        for (transaction, relations) in together {
            if relations.len() > 1 {
                self.warnings.push(format!(
                    "{transaction} locks {} in one transaction: locks already held stay held while the next is waited \
                     for, up to SCHEMAGATE_LOCK_TIMEOUT each; divide it into one migration a table",
                    list(&relations)
                ));
            }
        }
    }

    /// The first migration that is held.
    pub fn held(&self) -> Option<&Step> {
        self.migrations.iter().find(|step| step.held.is_some())
    }
}

// === impl Step ===

impl Step {
    /// A migration, still without its statements.
    pub fn new(migration: &Migration) -> Self {
        let digits: String = migration.checksum.chars().take(APPROVAL_DIGITS).collect();
        Self {
            version: migration.version.clone(),
            path: migration.path.clone(),
            checksum: migration.checksum.clone(),
            approve: format!("{}@{digits}", migration.version),
            is_contract: migration.directives.contract,
            has_down: migration.down.is_some(),
            ..Self::default()
        }
    }

    /// How many statements are not listed.
    pub fn unlisted(&self) -> usize {
        self.statement_count.saturating_sub(self.statements.len())
    }
}

// === impl Line ===

impl Line {
    /// From what the classifier says.
    pub fn new(assessment: Assessment) -> Self {
        Self {
            index: assessment.index,
            line: assessment.line,
            text: assessment.excerpt,
            risk: assessment.risk,
            opaque: assessment.opaque,
            effects: assessment
                .effects
                .into_iter()
                .map(EffectLine::new)
                .collect(),
            ..Self::default()
        }
    }

    /// The effects that a person is told about, once where two relations have the same.
    fn remarks(&self) -> impl Iterator<Item = &EffectLine> {
        let effects = self.effects.iter().enumerate();
        effects.filter_map(|(index, effect)| {
            let before = self.effects.get(..index)?;
            let is_told = before
                .iter()
                .any(|other| other.risk > Risk::Safe && other.why == effect.why);
            (effect.risk > Risk::Safe && !is_told).then_some(effect)
        })
    }
}

// === impl EffectLine ===

impl EffectLine {
    fn new(effect: Effect) -> Self {
        Self {
            relation: effect.object.as_ref().map(ToString::to_string),
            object: effect.object,
            lock: effect.lock,
            rewrite: effect.rewrite,
            made_here: effect.made_here,
            risk: effect.risk,
            why: effect.why,
            safer: effect.safer,
            bytes: None,
            rows: None,
        }
    }

    /// The relation, if it exists and this locks out who writes to it.
    fn locked_out(&self) -> Option<&String> {
        let is_strong = self.lock.is_some_and(|lock| lock >= Lock::Share);
        self.relation
            .as_ref()
            .filter(|_| is_strong && self.bytes.is_some())
    }
}

/// How many names a sentence lists.
const LISTED: usize = 5;

fn list(names: &[String]) -> String {
    let more = names.len().saturating_sub(LISTED);
    let listed = names.get(..LISTED).unwrap_or(names).join(", ");
    if more == 0 {
        listed
    } else {
        format!("{listed} and {more} more")
    }
}

/// Bytes for people.
fn size(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut rest = bytes;
    let mut tenths = 0;
    while rest >= 1024 && unit + 1 < units.len() {
        tenths = rest % 1024 * 10 / 1024;
        rest /= 1024;
        unit += 1;
    }
    let unit = units.get(unit).unwrap_or(&"");
    if rest < 10 && tenths > 0 {
        format!("{rest}.{tenths} {unit}")
    } else {
        format!("{rest} {unit}")
    }
}

/// A count of rows for people: it is an estimate, and shown as one.
fn count(rows: u64) -> String {
    match rows {
        0..10_000 => rows.to_string(),
        10_000..10_000_000 => format!("{} k", rows / 1000),
        _ => format!("{} M", rows / 1_000_000),
    }
}

/// How large a relation is, or that it will be new.
fn how_large(effect: &EffectLine) -> Option<String> {
    if effect.made_here {
        return Some("new".to_owned());
    }
    let bytes = effect.bytes?;
    Some(match effect.rows {
        Some(rows) => format!("{}, ~{} rows", size(bytes), count(rows)),
        None => size(bytes),
    })
}

fn took(milliseconds: f64) -> String {
    if milliseconds < 10.0 {
        format!("{milliseconds:.1} ms")
    } else if milliseconds < 10_000.0 {
        format!("{milliseconds:.0} ms")
    } else {
        format!("{:.1} s", milliseconds / 1000.0)
    }
}

/// How many statements are not listed, in words.
fn unlisted(step: &Step) -> Option<String> {
    let more = step.unlisted();
    (more > 0).then(|| format!("and {more} more statements, not listed"))
}

fn plural(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn word<S: Serializer>(value: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

#[allow(
    clippy::ref_option,
    clippy::trivially_copy_pass_by_ref,
    reason = "serde gives a reference"
)]
fn optional_word<S: Serializer>(lock: &Option<Lock>, serializer: S) -> Result<S::Ok, S::Error> {
    lock.map(Lock::word).serialize(serializer)
}

#[cfg(test)]
mod tests;
