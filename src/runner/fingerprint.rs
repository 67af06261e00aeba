//! The schema as a run leaves it, journalled for `verify` to compare.

use tokio_postgres::Client;

use super::{Error, Event, Runner};
use crate::{
    apply::{Failure, Job},
    bootstrap,
    connect::{self, Session},
    drift,
    history::{
        Journal, Snapshot,
        journal::{Author, Entry, Kind},
    },
};

/// Journals what the schema is now; the journal must exist. One round trip, in a transaction of its own. What was done
/// before is committed, so that a failure is a warning, which is the answer: an unexplained difference in `verify` is all
/// that follows from it.
pub async fn note_fingerprint(
    client: &Client,
    role: Option<&str>,
    author: &Author,
) -> Option<String> {
    let detail = drift::detail_sql();
    let mut entry = Entry::of(Kind::Fingerprint);
    entry.detail = Some(&detail);
    let sql = format!("{}{}", drift::SETTINGS, author.insert_sql(&entry));
    let noted = bootstrap::in_transaction(client, role, &sql).await;
    noted.err().map(|error| {
        format!(
            "the schema could not be journalled, so that verify may tell this run's work as drift: {}",
            connect::describe(&error)
        )
    })
}

// === impl Runner ===

impl Runner<'_> {
    /// Notes the schema as this run leaves it.
    pub(super) async fn note_fingerprint(&mut self, session: &Session) {
        let role = self.params.history.role.as_deref();
        let author = &self.params.author;
        if let Some(warning) = note_fingerprint(session.client(), role, author).await {
            (self.on_event)(Event::Warning(&warning));
        }
    }

    /// Where a look shows that all is done in a run that has written before: the connection was lost behind its last commit.
    pub(super) async fn note_end_after_loss(&mut self, session: &Session, snapshot: &Snapshot) {
        if self.started && snapshot.journal == Journal::Usable && !snapshot.in_recovery {
            self.note_fingerprint(session).await;
        }
    }

    /// Whether the schema is what the history says: not while a migration is half there. A failed one that was rolled back
    /// leaves what was applied before it; a signal leaves no time to look.
    pub(super) fn is_whole(&self, outcome: &Result<(), Error>, jobs: &[Job]) -> bool {
        match outcome {
            Ok(()) | Err(Error::Held(_)) => true,
            Err(Error::Apply(Failure::Sql(sql))) => {
                let in_pieces = jobs.iter().any(|job| {
                    let migration = self.source.migrations.get(job.migration);
                    job.needs_journal() && migration.is_some_and(|one| one.version == sql.version)
                });
                !in_pieces && !self.done.borrow().is_empty()
            }
            Err(_) => false,
        }
    }
}
