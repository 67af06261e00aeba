//! What holds a pending migration back: approvals, classes, windows, the application's version, contract steps, backups.
//! Pure: the migrations, what they risk, the settings and what is known of the surroundings go in, a [`Verdict`] comes
//! out.
//!
//! Gates guard what was there before. None holds on a database that is being built from nothing ([`Facts::bootstrap`]).

mod approval;
mod gone;
mod version;

use std::{fmt, time::Duration};

use jiff::{SignedDuration, Timestamp};

pub use approval::{Given, classes};
pub use gone::{Connected, Gone, listing};

use crate::{
    duration,
    migration::Migration,
    sql::risk::{FileRisk, Risk},
    window::Windows,
};

/// The settings that hold migrations back.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// No gate holds anything: for a database that is thrown away, or a transaction that is rolled back.
    pub off: bool,
    /// `SCHEMAGATE_ALLOW`: the classes that need no approval; [`Risk::Safe`] is always one.
    pub allow: Vec<Risk>,
    /// `SCHEMAGATE_APPROVE`.
    pub approve: Vec<Given>,
    /// `SCHEMAGATE_WINDOW`: when migrations above [`Risk::Safe`] may run. A file's own wins.
    pub window: Option<Windows>,
    /// `SCHEMAGATE_APP_VERSION`.
    pub app_version: Option<String>,
    /// `SCHEMAGATE_REQUIRE_GONE`: the applications that a contract step waits for.
    pub require_gone: Vec<Gone>,
    /// `SCHEMAGATE_REQUIRE_BACKUP`: how old the last backup may be when data is lost.
    pub require_backup: Option<Duration>,
}

/// What is known of the surroundings when the gates are asked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// The database is being built from nothing: there is no data to guard.
    pub bootstrap: bool,
    /// Why it is not, where a person may think that it is.
    pub no_bootstrap: Option<String>,
    /// The time of the database's own clock, which is one for all pods.
    pub now: Timestamp,
    /// The last backup.
    pub backup: Backup,
    /// The other sessions in this database.
    pub connected: Vec<Connected>,
    /// What was let through before by a version without a hash.
    pub earlier: Vec<Earlier>,
}

/// What the journal says of backups.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Backup {
    /// It notes none.
    #[default]
    None,
    /// The last one that it notes.
    At(Timestamp),
    /// The journal cannot be read or written; what helps.
    Unknown(String),
}

/// An approval in the journal that was given by a version without a hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Earlier {
    /// [`Approval::by`].
    pub by: String,
    /// The checksum of the file that it let through.
    pub checksum: String,
}

/// A pending migration at the gates.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// The migration.
    pub migration: &'a Migration,
    /// What it risks.
    pub risk: &'a FileRisk,
}

/// What must be known for a verdict. Where it is nothing, no gate holds the migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Needs {
    /// Whether the database is being built from nothing.
    pub facts: bool,
    /// [`Facts::connected`].
    pub connected: bool,
    /// [`Facts::backup`].
    pub backup: bool,
    /// [`Facts::earlier`].
    pub earlier: bool,
    /// The verdict may change while a run goes on.
    pub changes: bool,
}

/// What the gates say of a pending migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may run; with the approvals that it took, for the journal.
    Open(Vec<Approval>),
    /// It may not run now.
    Held(Held),
}

/// An approval that let a migration through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// What was approved: a class of risk, `backup`.
    pub what: String,
    /// Where it was said: `approve in 0004_x.sql`, `SCHEMAGATE_APPROVE=0004`.
    pub by: String,
    /// Why, where a reason was given.
    pub reason: Option<String>,
}

/// A migration that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Which.
    pub version: String,
    /// Its file.
    pub path: String,
    /// The statement that is held, where it is one: its line and its text for people.
    pub statement: Option<(u32, String)>,
    /// Why, in a sentence without a full stop; every gate that holds it.
    pub reason: String,
    /// The exact line or variable that lets it through.
    pub let_through: String,
}

/// Asks the gates for one migration.
pub fn judge(candidate: Candidate<'_>, settings: &Settings, facts: &Facts) -> Verdict {
    if facts.bootstrap || settings.off {
        return Verdict::Open(Vec::new());
    }
    let mut judge = Judge {
        candidate,
        settings,
        facts,
        approvals: Vec::new(),
        statement: None,
        held: Vec::new(),
    };
    judge.app_version();
    judge.approval();
    judge.backup();
    judge.window();
    judge.gone();
    judge.verdict()
}

/// The gates, one after the other.
struct Judge<'a> {
    candidate: Candidate<'a>,
    settings: &'a Settings,
    facts: &'a Facts,
    approvals: Vec<Approval>,
    /// The first statement that is a reason.
    statement: Option<(u32, String)>,
    /// A reason, and what lets it through.
    held: Vec<(String, String)>,
}

// === impl Judge ===

impl Judge<'_> {
    fn verdict(self) -> Verdict {
        if self.held.is_empty() {
            return Verdict::Open(self.approvals);
        }
        let Migration { version, path, .. } = self.candidate.migration;
        let (mut reasons, ways): (Vec<String>, Vec<String>) = self.held.into_iter().unzip();
        reasons.extend(self.facts.no_bootstrap.clone());
        Verdict::Held(Held {
            version: version.clone(),
            path: path.clone(),
            statement: self.statement,
            reason: reasons.join("; "),
            let_through: ways.join("; and "),
        })
    }

    fn hold(&mut self, reason: String, let_through: String) {
        self.held.push((reason, let_through));
    }

    /// The first statement of a class, or of any above safe.
    fn point_at(&mut self, class: Option<Risk>) {
        let mut notable = self.candidate.risk.notable.iter();
        let found = notable.find(|statement| class.is_none_or(|class| statement.risk == class));
        if let (None, Some(statement)) = (&self.statement, found) {
            self.statement = Some((statement.line, statement.excerpt.clone()));
        }
    }

    fn app_version(&mut self) {
        let Some(required) = &self.candidate.migration.directives.requires_app else {
            return;
        };
        let Some(given) = &self.settings.app_version else {
            return self.hold(
                format!("it requires the application {required}, and its version is not known"),
                format!("SCHEMAGATE_APP_VERSION with the version of the application, {required}"),
            );
        };
        match version::parse(given) {
            None => self.hold(
                format!(
                    "it requires the application {required}, and SCHEMAGATE_APP_VERSION={given} is no semantic version"
                ),
                "SCHEMAGATE_APP_VERSION as MAJOR.MINOR.PATCH, such as 1.4.0".to_owned(),
            ),
            Some(version) if required.matches(&version) => {}
            Some(version) => {
                let mut reason = format!(
                    "it requires the application {required}, and SCHEMAGATE_APP_VERSION is {version}"
                );
                if !version.pre.is_empty() {
                    reason.push_str(
                        ", a pre-release, which fits only a requirement that names one of the same version",
                    );
                }
                self.hold(
                    reason,
                    format!("a release whose SCHEMAGATE_APP_VERSION is {required}"),
                );
            }
        }
    }

    fn backup(&mut self) {
        let Some(limit) = needed_backup(self.candidate, self.settings) else {
            return;
        };
        let Migration {
            path, directives, ..
        } = self.candidate.migration;
        let missing = match &self.facts.backup {
            Backup::At(at) if is_fresh(*at, self.facts.now, limit) => return,
            Backup::At(at) => format!("the last one noted in the journal is of {at:.0}"),
            Backup::None => "the journal notes none".to_owned(),
            Backup::Unknown(_) => "the journal that would note one cannot be used".to_owned(),
        };
        if let Some(reason) = &directives.waive_backup {
            return self.approvals.push(Approval {
                what: "backup".to_owned(),
                by: format!("waive in {path}"),
                reason: Some(reason.clone()),
            });
        }
        self.point_at(Some(Risk::Destructive));
        let note = match &self.facts.backup {
            Backup::Unknown(help) => help.clone(),
            Backup::At(_) | Backup::None => format!("a backup, noted by {NOTE_BACKUP}"),
        };
        self.hold(
            format!(
                "a destructive statement needs a backup no older than {} (SCHEMAGATE_REQUIRE_BACKUP), and {missing}",
                duration::print(limit)
            ),
            format!("{note}, or at the head of {path}: -- schemagate: waive=backup reason=\"…\""),
        );
    }

    fn window(&mut self) {
        let Some((windows, from)) = window(self.candidate, self.settings) else {
            return;
        };
        if windows.is_open(self.facts.now) {
            return;
        }
        self.point_at(None);
        let next = windows.next_opening(self.facts.now);
        let next = next.map_or_else(
            || "the window does not open in the next two weeks".to_owned(),
            |next| format!("wait until the window opens at {next}"),
        );
        self.hold(
            format!("the window {windows} is closed"),
            format!("{next}; or change {from}"),
        );
    }

    fn gone(&mut self) {
        if !self.candidate.migration.directives.contract || self.settings.require_gone.is_empty() {
            return;
        }
        let required = &self.settings.require_gone;
        let found = self.facts.connected.iter().filter(|connected| {
            let mut required = required.iter();
            required.any(|gone| gone.is_still(connected))
        });
        let found: Vec<&Connected> = found.collect();
        if found.is_empty() {
            return;
        }
        let hidden = found.iter().any(|connected| connected.name.is_none());
        let required: Vec<String> = required.iter().map(ToString::to_string).collect();
        let mut way = format!(
            "wait until they have ended, or see pg_stat_activity and end them; SCHEMAGATE_REQUIRE_GONE={}",
            required.join(",")
        );
        if hidden {
            way = format!("GRANT pg_read_all_stats to schemagate's role; {way}");
        }
        self.hold(
            format!("a contract step, and still connected: {}", listing(found)),
            way,
        );
    }
}

/// How a backup job notes a backup. A column that is not named is filled in by the table.
pub const NOTE_BACKUP: &str = "INSERT INTO schemagate.journal (run, history, event, actor) \
    VALUES ('00000000-0000-0000-0000-000000000000', 'backup', 'backup', SESSION_USER)";

fn is_fresh(at: Timestamp, now: Timestamp, limit: Duration) -> bool {
    // One that is yet to come proves nothing.
    let age = now.duration_since(at);
    !age.is_negative() && SignedDuration::try_from(limit).is_ok_and(|limit| age <= limit)
}

/// The age that a backup may have for this migration.
fn needed_backup(candidate: Candidate<'_>, settings: &Settings) -> Option<Duration> {
    settings
        .require_backup
        .filter(|_| candidate.risk.risk == Risk::Destructive)
}

/// The backup with which a migration passes the gate that asks for one, and the age that it may have.
pub fn passing_backup(
    candidate: Candidate<'_>,
    settings: &Settings,
    facts: &Facts,
) -> Option<(Timestamp, Duration)> {
    let limit = needed_backup(candidate, settings)?;
    match facts.backup {
        Backup::At(at) if is_fresh(at, facts.now, limit) => Some((at, limit)),
        _ => None,
    }
}

/// The windows for this migration, and where they are said.
fn window<'a>(candidate: Candidate<'a>, settings: &'a Settings) -> Option<(&'a Windows, String)> {
    let Migration {
        path, directives, ..
    } = candidate.migration;
    match &directives.window {
        Some(windows) => Some((windows, format!("window in {path}"))),
        None => settings
            .window
            .as_ref()
            .filter(|_| candidate.risk.risk > Risk::Safe)
            .map(|windows| (windows, "SCHEMAGATE_WINDOW".to_owned())),
    }
}

// === impl Needs ===

impl Needs {
    /// Of one migration.
    pub fn of(candidate: Candidate<'_>, settings: &Settings) -> Self {
        if settings.off {
            return Self::default();
        }
        let directives = &candidate.migration.directives;
        let unapproved = approval::unallowed(candidate, settings).next().is_some();
        let window = window(candidate, settings).is_some();
        let backup = needed_backup(candidate, settings).is_some();
        // Who is still connected is told also where nobody need be gone.
        let connected = directives.contract;
        Self {
            facts: unapproved || window || backup || connected || directives.requires_app.is_some(),
            connected,
            backup,
            earlier: unapproved && approval::is_bare(candidate, settings),
            changes: window || backup || connected,
        }
    }

    /// Of several.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            facts: self.facts || other.facts,
            connected: self.connected || other.connected,
            backup: self.backup || other.backup,
            earlier: self.earlier || other.earlier,
            changes: self.changes || other.changes,
        }
    }
}

// === impl Held ===

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}", self.version, self.path)?;
        if let Some((line, excerpt)) = &self.statement {
            write!(f, ":{line}: {excerpt}")?;
        }
        write!(f, ") is held: {}", self.reason)
    }
}

#[cfg(test)]
mod tests;
