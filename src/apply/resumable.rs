//! A migration in pieces: what PostgreSQL refuses in a transaction, or what ends its own.
//!
//! Exactly once is impossible for a statement outside a transaction: it and its journal row cannot commit together.
//! So a committed *intent* row stands before it and a *done* row behind it, and after an interruption the catalog is
//! asked what became of it ([`super::inspect`]); where it cannot tell, the migration is dirty and a person decides.
//! Every piece that may run in a transaction has its own, together with its *done* row: those happen exactly once.

mod bare;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    Applier, Event, Failure, Mode, SqlFailure,
    frame::{ALREADY_APPLIED, SAVEPOINT, Statements},
    leaks::Leaks,
    prepare::Job,
    sender::Sender,
    transactional::{SINCE_BEGIN, SendOrOwn, send_chunks},
};
use crate::{
    history::{
        self,
        journal::{self, Entry, Kind},
    },
    lock::label,
    migration::{Migration, quote_literal},
    sql::{Script, Unit, UnitKind, Units, excerpt},
    wire,
};

/// What earlier runs of a migration left in the journal.
#[derive(Debug, Default)]
struct Progress {
    /// The pieces that are done.
    done: BTreeSet<usize>,
    /// The pieces that were begun, with what the catalog said before.
    begun: BTreeMap<usize, Value>,
    /// Rows up to this one belong to an earlier life of the migration.
    after: i64,
}

/// One piece and what it runs with.
struct Piece<'a> {
    job: &'a Job,
    script: &'a Script,
    units: &'a Units,
    unit: &'a Unit,
    /// From 1.
    number: usize,
    after: i64,
}

// === impl Applier ===

impl Applier<'_> {
    /// Runs the pieces that are not done yet, then writes the history row.
    pub(super) async fn pieces(&mut self, job: &Job) -> Result<(), Failure> {
        let Mode::Pieces(units) = &job.mode else {
            return self.each(job, None, &mut []).await.map(|_| ());
        };
        let migration = self.migration(job).clone();
        let progress = self.progress(&migration).await?;
        if !progress.done.is_empty() || !progress.begun.is_empty() {
            self.tell(Event::Note(format!(
                "{} was interrupted before: {} of its {} pieces are done",
                migration.version,
                progress.done.len(),
                units.list.len()
            )));
        }
        for (index, unit) in units.list.iter().enumerate() {
            let number = index + 1;
            if progress.done.contains(&number) {
                continue;
            }
            self.check_stop()?;
            let piece = Piece {
                job,
                script: job.script()?,
                units,
                unit,
                number,
                after: progress.after,
            };
            self.piece(&piece, &migration, progress.begun.get(&number))
                .await?;
        }
        self.record_whole(job, &migration).await
    }

    async fn piece(
        &mut self,
        piece: &Piece<'_>,
        migration: &Migration,
        begun: Option<&Value>,
    ) -> Result<(), Failure> {
        match (&piece.unit.kind, begun) {
            (UnitKind::Bare(bare), begun) => self.bare(piece, Some(bare), begun).await,
            (UnitKind::Transaction, Some(_)) => Err(dirty(
                piece,
                migration,
                "the catalog does not show how far it came",
            )),
            (UnitKind::Transaction, None) => match self.in_transaction(piece).await {
                // Only the server knew that it must run outside a transaction.
                Err(Failure::Sql(sql)) if piece.unit.statements == 1 && refused_in_block(&sql) => {
                    self.bare(piece, None, None).await
                }
                outcome => outcome,
            },
        }
    }

    async fn progress(&self, migration: &Migration) -> Result<Progress, Failure> {
        let question = journal::pieces_sql(self.table, &migration.version);
        let rows = history::ask(self.client(), self.frame.role.as_deref(), &question)
            .await
            .map_err(Failure::of_own)?;
        let mut progress = Progress::default();
        // The checksum that each piece was run with.
        let mut run_with: BTreeMap<usize, String> = BTreeMap::new();
        for row in &rows {
            let text = |column: usize| row.get(column).and_then(Option::as_deref);
            let number = text(1).and_then(|number| number.parse().ok()).unwrap_or(0);
            let detail: Value = text(3)
                .and_then(|json| serde_json::from_str(json).ok())
                .unwrap_or_default();
            let checksum = text(2).unwrap_or_default().to_owned();
            match text(0) {
                Some("whole") => {
                    progress.after = text(4).and_then(|id| id.parse().ok()).unwrap_or(0);
                }
                Some("statement_done") => {
                    progress.begun.remove(&number);
                    progress.done.insert(number);
                    run_with.insert(number, checksum);
                }
                Some("intent") => {
                    progress.begun.entry(number).or_insert(detail);
                    run_with.insert(number, checksum);
                }
                // The server refused the statement, and the catalog shows that nothing of it is left.
                Some("failed") if detail["undone"] == Value::Bool(true) => {
                    progress.begun.remove(&number);
                    run_with.remove(&number);
                }
                _ => {}
            }
        }
        match run_with
            .iter()
            .find(|(_, checksum)| **checksum != migration.checksum)
        {
            Some((number, _)) => Err(Failure::Dirty {
                version: migration.version.clone(),
                what: format!(
                    "{} was partly run with other content (piece {number}), and the file has changed since; restore the \
                     file as it was, and put the change into a new migration",
                    migration.path
                ),
                undoing: false,
            }),
            None => Ok(progress),
        }
    }

    /// A piece with its journal row in one transaction.
    async fn in_transaction(&mut self, piece: &Piece<'_>) -> Result<(), Failure> {
        let sent = self.send_piece(piece).await;
        let job = std::slice::from_ref(piece.job);
        self.settle(
            sent,
            job,
            Some(&what_stays(piece, self.migration(piece.job))),
        )
        .await
    }

    async fn send_piece(&self, piece: &Piece<'_>) -> Result<(), SendOrOwn> {
        let migration = self.migration(piece.job);
        let mut sender = Sender::new(self.client());
        sender.own(&label(&migration.version), 0);
        let before = self.open_piece(piece, migration);
        sender.own(&before.sql, before.count);
        let chunks = piece
            .script
            .chunks_in(piece.unit, super::sender::MESSAGE_BYTES);
        send_chunks(&mut sender, piece.script, chunks, 0).await?;
        let mut after = Statements::default();
        after.push(&format!("RELEASE SAVEPOINT {SAVEPOINT}"));
        sender.own(&after.sql, after.count);
        let clean = self
            .frame
            .clean(Leaks::of(&piece.script.text()[piece.unit.range.clone()]));
        sender.own(&clean.sql, clean.count);
        let row = self.piece_row(
            Kind::StatementDone,
            piece,
            migration,
            Some(SINCE_BEGIN),
            None,
        );
        sender.own(&format!("{row};"), 1);
        let commit = self.frame.commit();
        sender.own(&commit.sql, commit.count);
        Ok(sender.flush().await?)
    }

    /// The fence of a piece, up to what the file has set before it.
    fn open_piece(&self, piece: &Piece<'_>, migration: &Migration) -> Statements {
        let mut out = self.frame.begin(&self.limits_of(migration), true, None);
        // Another pod may have run it whole since the last look, which begins a new life of its pieces.
        out.push(&self.history_check(piece.job));
        out.push(&self.undone_check(piece, migration));
        out.push(&format!("SAVEPOINT {SAVEPOINT}"));
        for range in piece.units.settings(piece.unit) {
            out.push(piece.script.text()[range.clone()].trim_end_matches(';'));
        }
        out
    }

    /// Fails when the piece is done already: see [`Applier::history_check`].
    fn undone_check(&self, piece: &Piece<'_>, migration: &Migration) -> String {
        format!(
            "SELECT ('{ALREADY_APPLIED}, journal row ' OPERATOR(pg_catalog.||) id::pg_catalog.text)::pg_catalog.int4 \
             FROM {} WHERE history = {} AND version = {} AND event = 'statement_done' AND statement = {} AND id > {} LIMIT 1",
            journal::TABLE,
            quote_literal(&self.table.to_string()),
            quote_literal(&migration.version),
            piece.number,
            piece.after
        )
    }

    fn piece_row(
        &self,
        kind: Kind,
        piece: &Piece<'_>,
        migration: &Migration,
        duration_ms: Option<&str>,
        detail: Option<&str>,
    ) -> String {
        let mut entry = Entry::about(kind, &migration.version, &migration.checksum);
        entry.statement = Some(piece.number);
        entry.duration_ms = duration_ms;
        entry.detail = detail;
        self.author.insert_sql(&entry)
    }

    /// The last transaction: the history row. A later run that finds all pieces done comes straight here.
    async fn record_whole(&self, job: &Job, migration: &Migration) -> Result<(), Failure> {
        let mut sql = self
            .frame
            .begin(&self.limits_of(self.migration(job)), false, None);
        sql.push(&self.history_check(job));
        let since = format!(
            "(SELECT COALESCE((EXTRACT(EPOCH FROM pg_catalog.clock_timestamp() - pg_catalog.min(at)) * 1000)::pg_catalog.int8, 0) \
             FROM {} WHERE run = '{}' AND version = {})",
            journal::TABLE,
            self.author.run,
            quote_literal(&migration.version)
        );
        let record = self.record(job, &since);
        sql.sql.push_str(&record.sql);
        sql.count += record.count;
        self.send_own(&sql).await
    }

    async fn send_own(&self, sql: &Statements) -> Result<(), Failure> {
        let commit = self.frame.commit();
        let text = format!("{}{}", sql.sql, commit.sql);
        let outcome = wire::execute(self.client(), &text)
            .await
            .ok()
            .map_err(Failure::of_own);
        if let Err(failure) = &outcome {
            self.after_failure(failure, Leaks::default()).await;
        }
        outcome
    }
}

/// What became of the work when a piece fails.
fn what_stays(piece: &Piece<'_>, migration: &Migration) -> String {
    match piece.number {
        1 => format!("nothing of {} stays", migration.version),
        2 => format!(
            "piece 1 of {} stays, the next run goes on with piece 2",
            migration.version
        ),
        number => format!(
            "pieces 1 to {} of {} stay, the next run goes on with piece {number}",
            number - 1,
            migration.version
        ),
    }
}

fn refused_in_block(sql: &SqlFailure) -> bool {
    matches!(sql.code.as_str(), "25001" | "2D000")
}

fn dirty(piece: &Piece<'_>, migration: &Migration, why: &str) -> Failure {
    Failure::Dirty {
        version: migration.version.clone(),
        what: format!(
            "{}: line {} ran outside a transaction and was interrupted, and {why}: {}",
            migration.path,
            piece.unit.line,
            excerpt(bare::statement_text(piece))
        ),
        undoing: false,
    }
}
