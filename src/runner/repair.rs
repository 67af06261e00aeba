//! `repair`: the history put right after a person has looked, under the lock that migrations run under.

use super::{Error, Event, Runner, Step, of_own};
use crate::{
    apply::{Failure, Frame, Holding, journal_grant},
    bootstrap,
    connect::Session,
    formats,
    history::{
        self, Journal, Snapshot,
        journal::{self, Entry, Kind},
    },
    mend::{self, Change, Facts, Mark, Mend, Refusal, Wish},
    migration::{TableName, quote_literal},
    plan::Plan,
    source::Source,
    wire::Row,
};

/// What is to be done about a wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decided {
    /// This.
    Mend(Mend),
    /// An earlier repair has done it; a sentence that says so.
    Done(String),
}

/// Decides, from a look at the history and a question to the journal.
///
/// # Errors
///
/// [`Error::Mend`] where the wish does not apply; [`Error::Apply`] where the journal is not for this role.
pub async fn decide(
    session: &Session,
    source: &Source,
    history: &history::Params,
    snapshot: &Snapshot,
    wish: &Wish,
) -> Result<Decided, Error> {
    let table = &history.table;
    let marks = match snapshot.journal {
        Journal::Usable => {
            let rows = ask(session, history, &journal::marks_sql(table)).await?;
            rows.iter().filter_map(mark).collect()
        }
        Journal::NoSchema | Journal::NoTable => Vec::new(),
        Journal::Denied => return Err(no_journal(snapshot)),
    };
    let facts = Facts {
        format: source.format,
        migrations: &source.migrations,
        rows: &snapshot.rows,
        shape: snapshot.shape,
        marks: &marks,
    };
    let refusal = match mend::decide(wish, &facts) {
        Ok(mend) => return Ok(Decided::Mend(mend)),
        Err(refusal) => refusal,
    };
    if snapshot.journal == Journal::Usable {
        let names = [wish.named.as_str(), refusal.known_as.as_str()];
        let last = ask(session, history, &journal::last_sql(table, &names)).await?;
        if let Some(done) = last.first().and_then(|row| done(row, wish, &refusal)) {
            return Ok(Decided::Done(done));
        }
    }
    Err(Error::Mend(Box::new(refusal)))
}

async fn ask(
    session: &Session,
    history: &history::Params,
    question: &str,
) -> Result<Vec<Row>, Error> {
    history::ask(session.client(), history.role.as_deref(), question)
        .await
        .map_err(|error| Error::History(history::Error::Database(error)))
}

/// From a row of [`journal::marks_sql`].
fn mark(row: &Row) -> Option<Mark> {
    let text = |column: usize| row.get(column)?.as_deref();
    let count = |column: usize| text(column)?.parse().ok();
    Some(Mark {
        version: text(0)?.to_owned(),
        last: text(1)?.parse().ok()?,
        done: count(2)?,
        begun: count(3)?,
        failed: count(4)?,
    })
}

/// A repair that is repeated, as by a Job that Kubernetes runs again, has nothing to do.
fn done(last: &Row, wish: &Wish, refusal: &Refusal) -> Option<String> {
    let text = |column: usize| last.get(column)?.as_deref();
    if text(0)? != Kind::Repaired.word() || text(1)? != wish.kind.word() {
        return None;
    }
    Some(format!(
        "{}: {} was done at {} by {}; nothing to do",
        refusal.known_as,
        wish.kind.word(),
        text(2)?,
        text(3).unwrap_or("somebody")
    ))
}

fn no_journal(snapshot: &Snapshot) -> Error {
    Error::Apply(Failure::Refused {
        what: format!(
            "a repair is noted in the journal {}, and role {} may not read and write it",
            journal::TABLE,
            snapshot.user
        ),
        next: journal_grant(&snapshot.database, &snapshot.user),
    })
}

// === impl Runner ===

impl Runner<'_> {
    /// Decides and writes, behind the lock.
    pub(super) async fn repair(
        &mut self,
        session: &Session,
        snapshot: Snapshot,
        wish: &Wish,
    ) -> Result<Step, Error> {
        if snapshot.in_recovery {
            return Ok(Step::NeedsPrimary);
        }
        let frame = self.stance(session, &snapshot);
        let snapshot = if frame.holding == Holding::Session {
            let rows = snapshot.rows.len();
            if let Some(elsewhere) = self.take_lock(session, &frame, rows).await? {
                return Ok(elsewhere);
            }
            self.look(session, snapshot.shape.is_some()).await?
        } else {
            snapshot
        };
        *self.cancellable.borrow_mut() = Some(session.canceller());
        let outcome = self.mend(session, &snapshot, &frame, wish).await;
        *self.cancellable.borrow_mut() = None;
        let outcome = outcome.map(|()| Plan::default());
        self.settled(session, &frame.keys, snapshot.rows.len(), outcome)
            .await
    }

    async fn mend(
        &mut self,
        session: &Session,
        snapshot: &Snapshot,
        frame: &Frame,
        wish: &Wish,
    ) -> Result<(), Error> {
        let history = &self.params.history;
        let mend = match decide(session, self.source, history, snapshot, wish).await? {
            Decided::Mend(mend) => mend,
            Decided::Done(sentence) => {
                (self.on_event)(Event::Note(&sentence));
                return Ok(());
            }
        };
        let client = session.client();
        let laid = bootstrap::journal(client, snapshot.journal, history.role.as_deref());
        if !laid.await.map_err(of_own)? {
            return Err(no_journal(snapshot));
        }
        let sql = self.mend_sql(&mend, snapshot);
        bootstrap::fenced(client, frame, &self.params.limits, &sql)
            .await
            .map_err(of_own)?;
        (self.on_event)(Event::Repaired(&mend));
        Ok(())
    }

    /// The note first, because it asks for the row that the change takes away.
    fn mend_sql(&self, mend: &Mend, snapshot: &Snapshot) -> String {
        let history = &self.params.history;
        let (table, shape) = (&history.table, snapshot.shape);
        let shape = shape.unwrap_or_else(|| history.format.new_shape());
        let mut checksum = None;
        let (detail, change) = match &mend.change {
            Change::Clear { mark, migration } => {
                checksum = migration
                    .and_then(|index| self.source.migrations.get(index))
                    .map(|migration| migration.checksum.as_str());
                (
                    format!(
                        "'{{\"before\": {{\"done\": {}, \"begun\": {}, \"failed\": {}}}}}'::pg_catalog.jsonb",
                        mark.done, mark.begun, mark.failed
                    ),
                    self.still_marked_sql(table, shape, snapshot, mark, *migration),
                )
            }
            Change::Accept { row, checksum: now } => {
                checksum = Some(now.as_str());
                let before = row.checksum.as_deref().unwrap_or_default();
                let before_and_after = serde_json::json!({"before": before, "after": now});
                (
                    format!(
                        "{}::pg_catalog.jsonb",
                        quote_literal(&before_and_after.to_string())
                    ),
                    formats::accept_sql(table, shape, row, now),
                )
            }
            Change::Forget { row } => {
                checksum = checksum.or(row.checksum.as_deref());
                (
                    format!(
                        "pg_catalog.jsonb_build_object('before', {})",
                        formats::row_sql(table, shape, row)
                    ),
                    formats::forget_sql(table, shape, row),
                )
            }
        };
        let what = mend.kind.word();
        let detail = format!(
            "pg_catalog.jsonb_build_object('what', '{what}') OPERATOR(pg_catalog.||) {detail}"
        );
        let mut entry = Entry::of(Kind::Repaired);
        entry.version = Some(&mend.version);
        entry.checksum = checksum;
        entry.detail = Some(&detail);
        let note = self.params.author.insert_sql(&entry);
        match mend.change {
            // The note would count as something since.
            Change::Clear { .. } => format!("{change};{note}"),
            Change::Accept { .. } | Change::Forget { .. } => format!("{note};{change}"),
        }
    }

    /// Fails where the migration has moved on since the look, which behind a pooler is older than the lock.
    fn still_marked_sql(
        &self,
        table: &TableName,
        shape: formats::Shape,
        snapshot: &Snapshot,
        mark: &Mark,
        migration: Option<usize>,
    ) -> String {
        let since = journal::nothing_since_sql(table, &mark.version, mark.last);
        let migration = migration.and_then(|index| self.source.migrations.get(index));
        let (Some(migration), Some(_)) = (migration, snapshot.shape) else {
            return since;
        };
        let applied = formats::applied_check(
            self.params.history.format,
            table,
            shape,
            migration,
            formats::Fence::SinceAnything,
        );
        format!("{};{since}", applied.inline())
    }
}
