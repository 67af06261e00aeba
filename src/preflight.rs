//! What can be known to fail before anything is written: privileges, extensions, objects that exist, the server.
//!
//! The rule is never to refuse what would have run. What a statement needs is read from its first words
//! ([`crate::sql::need`]) and held against the catalog, seen with the eyes of the role that will work. What an earlier
//! statement of the same run may change (a block, a call, a grant, another role, another search path, a name that was
//! given away) is at most a finding in doubt, which is told and refuses nothing.

mod ask;
mod judge;

use std::fmt;

use tokio_postgres::Client;

pub use ask::{Extension, Facts, Installed, Offered, Relation, Schema, Type};
pub use judge::judge;

use crate::{
    apply::Job, connect, connect::Class, exit::ExitStatus, history, history::Snapshot,
    migration::Migration,
};

/// Something that stands in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Where: `0004_x.sql:3`, or what the run itself needs (`the history table`).
    pub place: String,
    /// The migration, where it is one's.
    pub version: Option<String>,
    /// It fails for sure. Otherwise something before it may still change that.
    pub certain: bool,
    /// What the run would end with: [`ExitStatus::Refused`] for a privilege, [`ExitStatus::Sql`] else.
    pub status: ExitStatus,
    /// What is wrong, as the server would say it.
    pub message: String,
    /// The statement that helps, or another way out.
    pub help: String,
}

/// What is about to run, and where.
#[derive(Debug, Clone, Copy)]
pub struct Pending<'a> {
    /// All migrations of the folder.
    pub migrations: &'a [Migration],
    /// Those that are pending, read.
    pub jobs: &'a [Job],
    /// Where the history is, and as whom to work.
    pub history: &'a history::Params,
    /// The look that said what is pending.
    pub snapshot: &'a Snapshot,
    /// `server_version_num`; 0 where it is not known.
    pub server_version: u32,
}

/// Asks the server, in one round trip, or two where extensions are concerned. Findings are in the order in which the
/// run would meet them.
///
/// # Errors
///
/// The connection's. A server that does not understand the questions (there are others than PostgreSQL that speak its
/// protocol) has no findings.
pub async fn check(
    client: &Client,
    pending: &Pending<'_>,
) -> Result<Vec<Finding>, tokio_postgres::Error> {
    match ask::facts(client, pending).await {
        Ok(facts) => Ok(judge(pending, &facts)),
        Err(error) if connect::classify(&error) == Class::Statement => {
            tracing::debug!(
                error = connect::describe(&error),
                "nothing was checked before the run"
            );
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    }
}

/// Findings that a message tells.
const TOLD: usize = 20;

/// What a run ends with that met these: what it would have ended with at the first of them.
pub fn exit_status(findings: &[Finding]) -> ExitStatus {
    findings
        .first()
        .map_or(ExitStatus::Sql, |finding| finding.status)
}

/// The findings in one line.
pub fn what(findings: &[Finding]) -> String {
    format!(
        "nothing was run: {}",
        joined(findings.iter().map(Finding::to_string))
    )
}

/// What helps against them, each once.
pub fn next_step(findings: &[Finding]) -> String {
    let mut ways: Vec<&str> = Vec::new();
    for finding in findings {
        if !ways.contains(&finding.help.as_str()) {
            ways.push(&finding.help);
        }
    }
    joined(ways.into_iter().map(str::to_owned))
}

fn joined(sentences: impl Iterator<Item = String>) -> String {
    let sentences: Vec<String> = sentences.collect();
    let more = match sentences.len().saturating_sub(TOLD) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    let told: Vec<&str> = sentences.iter().take(TOLD).map(String::as_str).collect();
    format!("{}{more}", told.join("; "))
}

// === impl Finding ===

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}
