//! A migration in pieces: what PostgreSQL refuses in a transaction, or what ends its own.
//!
//! Exactly once is impossible for a statement outside a transaction: it and its journal row cannot commit together.
//! So a committed *intent* row stands before it and a *done* row behind it, and after an interruption the catalog is
//! asked what became of it ([`super::inspect`]); where it cannot tell, the migration is dirty and a person decides.
//! Every piece that may run in a transaction has its own, together with its *done* row: those happen exactly once.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    Applier, Event, Failure, Frame, Holding, Limits, Mode, SqlFailure,
    frame::{ALREADY_APPLIED, RESETS, SAVEPOINT, Statements, milliseconds, set_configs},
    holder::HolderSession,
    inspect::{self, Verdict},
    prepare::Job,
    prepares,
    sender::Sender,
    transactional::{SINCE_BEGIN, SendOrOwn, locate, send_chunks},
};
use crate::{
    connect,
    history::{
        self,
        journal::{self, Entry, Kind},
    },
    lock::Holder,
    migration::{Migration, quote_ident, quote_literal},
    sql::{Bare, Script, Unit, UnitKind, Units, excerpt},
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
            return self.each(job).await;
        };
        let bare = units
            .list
            .iter()
            .any(|unit| matches!(unit.kind, UnitKind::Bare(_)));
        let frame = self.frame.clone();
        let holder = if bare { self.hold().await? } else { None };
        let outcome = self.run_pieces(job, units, holder.as_ref()).await;
        if let Some(holder) = holder {
            holder.release().await;
        }
        self.release_session_lock(&frame).await;
        self.frame = frame;
        outcome
    }

    /// Makes the lock cover statements outside a transaction: on this session where it is direct, by a second one
    /// behind a pooler.
    async fn hold(&mut self) -> Result<Option<HolderSession>, Failure> {
        if self.frame.holding == Holding::Session {
            return Ok(None);
        }
        if self.direct {
            self.frame.holding = Holding::Session;
            self.regain().await?;
            return Ok(None);
        }
        let holder = HolderSession::open(self.connect, &self.frame).await?;
        self.frame.holding = Holding::Elsewhere;
        Ok(Some(holder))
    }

    /// Gives back a session-level lock that was taken for the pieces only.
    async fn release_session_lock(&self, before: &Frame) {
        if self.frame.holding == Holding::Session && before.holding != Holding::Session {
            let sql = format!(
                "SELECT pg_catalog.pg_advisory_unlock_all();{}",
                before.session_settings()
            );
            // The end of the session releases it as well.
            let _ = wire::execute(self.client(), &sql).await;
        }
    }

    async fn run_pieces(
        &mut self,
        job: &Job,
        units: &Units,
        holder: Option<&HolderSession>,
    ) -> Result<(), Failure> {
        let migration = self.migration(job).clone();
        let progress = self.progress(&migration).await?;
        if !progress.done.is_empty() || !progress.begun.is_empty() {
            (self.on_event)(Event::Note(format!(
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
            let begun = progress.begun.get(&number);
            match (&unit.kind, begun) {
                (UnitKind::Transaction, None) => match self.in_transaction(&piece).await {
                    // Only the server knew that it must run outside a transaction.
                    Err(Failure::Sql(sql)) if unit.statements == 1 && refused_in_block(&sql) => {
                        self.bare(&piece, None, None, holder).await?;
                    }
                    outcome => outcome?,
                },
                (UnitKind::Transaction, Some(_)) => {
                    return Err(dirty(
                        &piece,
                        &migration,
                        "the catalog does not show how far it came",
                    ));
                }
                (UnitKind::Bare(bare), begun) => {
                    self.bare(&piece, Some(bare), begun, holder).await?
                }
            }
        }
        self.record_whole(job, &migration).await
    }

    async fn progress(&self, migration: &Migration) -> Result<Progress, Failure> {
        let question = journal::pieces_sql(self.table, &migration.version);
        let rows = history::ask(self.client(), self.frame.role.as_deref(), &question)
            .await
            .map_err(Failure::of_own)?;
        let mut progress = Progress::default();
        for row in &rows {
            let text = |column: usize| row.get(column).and_then(Option::as_deref);
            let number = text(1).and_then(|number| number.parse().ok()).unwrap_or(0);
            let id = text(4).and_then(|id| id.parse::<i64>().ok()).unwrap_or(0);
            if progress.after == 0 {
                progress.after = id - 1;
            }
            if text(0) == Some("failed") {
                continue;
            }
            if text(2) != Some(migration.checksum.as_str()) {
                return Err(Failure::Dirty {
                    version: migration.version.clone(),
                    what: format!(
                        "{} was partly run with other content (piece {number}); the file has changed since",
                        migration.path
                    ),
                });
            }
            if text(0) == Some("statement_done") {
                progress.begun.remove(&number);
                progress.done.insert(number);
            } else {
                let before = text(3)
                    .and_then(|json| serde_json::from_str(json).ok())
                    .unwrap_or(Value::Null);
                progress.begun.entry(number).or_insert(before);
            }
        }
        Ok(progress)
    }

    /// A piece with its journal row in one transaction.
    async fn in_transaction(&mut self, piece: &Piece<'_>) -> Result<(), Failure> {
        let sent = self.send_piece(piece).await;
        self.settle(sent, std::slice::from_ref(piece.job)).await
    }

    async fn send_piece(&self, piece: &Piece<'_>) -> Result<(), SendOrOwn> {
        let migration = self.migration(piece.job);
        let mut sender = Sender::new(self.client());
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
            .clean(prepares(&piece.script.text()[piece.unit.range.clone()]));
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
        let mut out = self.frame.begin(&self.limits_of(migration));
        out.push(&self.undone_check(piece, migration));
        out.push(&format!("SAVEPOINT {SAVEPOINT}"));
        for range in piece.units.settings(piece.unit) {
            out.push(piece.script.text()[range.clone()].trim_end_matches(';'));
        }
        out
    }

    /// Fails when the piece is done already: see [`Applier::unapplied_check`].
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

    /// A statement outside a transaction, between its intent and its done row. `known` is what the text told of it.
    async fn bare(
        &mut self,
        piece: &Piece<'_>,
        known: Option<&Bare>,
        begun: Option<&Value>,
        holder: Option<&HolderSession>,
    ) -> Result<(), Failure> {
        let migration = self.migration(piece.job).clone();
        if !self.direct {
            self.refuse_what_a_pooler_cannot_carry(piece, &migration)?;
        }
        let before = match begun {
            Some(before) => before.clone(),
            None => self.intend(piece, known, &migration).await?,
        };
        if begun.is_some() && self.take_up(piece, known, &before, &migration).await? {
            return self.done(piece, &migration).await;
        }
        let text = statement_text(piece);
        if let Err(failure) = self.run_bare(piece, text, &migration, holder).await {
            self.clear_after_failure(&failure, known, &before).await;
            return Err(failure);
        }
        self.refuse_invalid(piece, known, &migration).await?;
        self.done(piece, &migration).await
    }

    fn refuse_what_a_pooler_cannot_carry(
        &self,
        piece: &Piece<'_>,
        migration: &Migration,
    ) -> Result<(), Failure> {
        let what = if self.frame.role.is_some() {
            "SCHEMAGATE_ROLE"
        } else if piece.units.settings(piece.unit).is_empty() {
            return Ok(());
        } else {
            "a setting of the file (SET …)"
        };
        Err(Failure::Unsupported {
            what: format!(
                "{}: line {} runs outside a transaction, and a transaction pooler cannot carry {what} to it",
                migration.path, piece.unit.line
            ),
            next: "give schemagate a URL of its own (SCHEMAGATE_DATABASE_URL) that goes to the server, not to the pooler"
                .to_owned(),
        })
    }

    /// Commits the intent, with what the catalog says now.
    async fn intend(
        &self,
        piece: &Piece<'_>,
        known: Option<&Bare>,
        migration: &Migration,
    ) -> Result<Value, Failure> {
        let before = known.map_or_else(|| "'{}'".to_owned(), inspect::before_sql);
        let mut sql = self.open_piece(piece, migration);
        // The question needs the file's search_path, the row needs our own role: a setting carries it across.
        sql.push(&format!(
            "SELECT pg_catalog.set_config('schemagate.before', ({before})::pg_catalog.text, true)"
        ));
        sql.push(&format!("RELEASE SAVEPOINT {SAVEPOINT}"));
        sql.push("RESET SESSION AUTHORIZATION");
        sql.push("RESET ROLE");
        if let Some(role) = &self.frame.role {
            sql.push(&format!("SET LOCAL ROLE {}", quote_ident(role)));
        }
        let detail = "pg_catalog.current_setting('schemagate.before')::pg_catalog.jsonb";
        sql.push(&format!(
            "{} RETURNING detail::pg_catalog.text",
            self.piece_row(Kind::Intent, piece, migration, None, Some(detail))
        ));
        let returning = sql.count - 1;
        let clean = self.frame.clean(false);
        let commit = self.frame.commit();
        let text = format!("{}{}{}", sql.sql, clean.sql, commit.sql);
        let mut reply = wire::query(self.client(), &text).await;
        let detail = reply.scalar(returning);
        let outcome = match (detail, reply.error) {
            (Ok(detail), None) => return Ok(parse(detail.as_deref())),
            (Err(error), _) | (Ok(_), Some(error)) => Failure::of_own(error),
        };
        self.after_failure(&outcome).await;
        Err(outcome)
    }

    /// After an interruption. True if the statement turns out to be done.
    async fn take_up(
        &mut self,
        piece: &Piece<'_>,
        known: Option<&Bare>,
        before: &Value,
        migration: &Migration,
    ) -> Result<bool, Failure> {
        let Some(bare) = known else {
            return Err(dirty(
                piece,
                migration,
                "the catalog does not show how far it came",
            ));
        };
        match self.verdict(bare, before).await? {
            Verdict::Run => Ok(false),
            Verdict::Done => Ok(true),
            Verdict::Clear(_) => {
                self.clear(bare, before).await?;
                Ok(false)
            }
            Verdict::Finish(sql) => {
                wire::execute(self.client(), &sql)
                    .await
                    .ok()
                    .map_err(|error| self.bare_failure(error, piece, migration))?;
                Ok(true)
            }
            Verdict::Busy(what) => Err(self.busy(piece, migration, &what)),
            Verdict::Unknown(what) => Err(dirty(piece, migration, &what)),
        }
    }

    async fn verdict(&self, bare: &Bare, before: &Value) -> Result<Verdict, Failure> {
        let Some(question) = inspect::after_sql(bare, before) else {
            return Ok(inspect::verdict(bare, before, &[]));
        };
        let mut reply = wire::query(self.client(), &question).await;
        let rows = reply.rows(0).map_err(Failure::of_own)?;
        Ok(inspect::verdict(bare, before, &rows))
    }

    /// Removes the invalid indexes that an interrupted statement left. Asked again right before: an index that is
    /// being built now is invalid too, and dropping it would wait for its builder and then drop the finished index.
    async fn clear(&mut self, bare: &Bare, before: &Value) -> Result<(), Failure> {
        while let Verdict::Clear(indexes) = self.verdict(bare, before).await? {
            let Some(index) = indexes.first() else {
                return Ok(());
            };
            (self.on_event)(Event::Note(format!(
                "index {index} is an invalid leftover of an interrupted {}: dropping it",
                bare.what()
            )));
            let sql = format!("DROP INDEX CONCURRENTLY IF EXISTS {}", index.quoted());
            wire::execute(self.client(), &sql)
                .await
                .ok()
                .map_err(Failure::of_own)?;
        }
        Ok(())
    }

    /// A failed build leaves an invalid index that slows every write and, if unique, refuses some. Best effort: the
    /// next run looks again.
    async fn clear_after_failure(
        &mut self,
        failure: &Failure,
        known: Option<&Bare>,
        before: &Value,
    ) {
        if let (Failure::Sql(_) | Failure::Contention(_), Some(bare)) = (failure, known) {
            let _ = self.clear(bare, before).await;
        }
    }

    /// Sends the statement alone: it refuses company.
    async fn run_bare(
        &mut self,
        piece: &Piece<'_>,
        text: &str,
        migration: &Migration,
        holder: Option<&HolderSession>,
    ) -> Result<(), Failure> {
        let limits = self.limits_of(migration);
        let Some(holder) = holder else {
            self.set_up(piece, &limits).await?;
            let error = wire::execute(self.client(), text).await.error;
            let tidied = self.tidy().await;
            return match error {
                None => tidied,
                Some(error) => Err(self.explain_deadlock(error, piece, migration).await),
            };
        };
        let statement = wire::execute(self.client(), text);
        let cancel = self.session.canceller();
        let reply = holder
            .beside(statement, limits.statement, &cancel)
            .await
            .inspect_err(|_| {
                (self.on_event)(Event::Note(
                    "the connection that held the lock was lost; the statement was cancelled"
                        .to_owned(),
                ));
            })?;
        for note in holder.notes() {
            (self.on_event)(Event::Note(note));
        }
        match reply.error {
            None => Ok(()),
            Some(error) => Err(self.bare_failure(error, piece, migration)),
        }
    }

    /// Role, settings and limits of the statement, on a session of our own. `lock_timeout` stays 0: it would cancel a
    /// concurrent build half way, for waiting that stops nobody.
    async fn set_up(&self, piece: &Piece<'_>, limits: &Limits) -> Result<(), Failure> {
        let mut sql = Statements::default();
        sql.push(&set_configs(
            &[("statement_timeout", milliseconds(limits.statement))],
            false,
        ));
        if let Some(role) = &self.frame.role {
            sql.push(&format!("SET ROLE {}", quote_ident(role)));
        }
        for range in piece.units.settings(piece.unit) {
            sql.push(piece.script.text()[range.clone()].trim_end_matches(';'));
        }
        sql.push("SET lock_timeout = 0");
        wire::execute(self.client(), &sql.sql)
            .await
            .ok()
            .map_err(Failure::of_own)?;
        self.regain().await
    }

    /// The session-level lock again: the file may have run `DISCARD ALL` or `pg_advisory_unlock_all()`.
    async fn regain(&self) -> Result<(), Failure> {
        let sql = format!(
            "SELECT pg_catalog.pg_try_advisory_lock({})",
            self.frame.keys.main
        );
        let mut reply = wire::query(self.client(), &sql).await;
        match reply.scalar(0).map_err(Failure::of_own)?.as_deref() {
            Some("t") => Ok(()),
            _ => Err(Failure::LockHeld),
        }
    }

    /// Nothing that the statement or its settings left stays on the session.
    async fn tidy(&self) -> Result<(), Failure> {
        let sql = format!("{};{}", RESETS.join(";"), self.frame.session_settings());
        wire::execute(self.client(), &sql)
            .await
            .ok()
            .map_err(Failure::of_own)
    }

    /// `IF NOT EXISTS` is content with an index of that name, be it invalid.
    async fn refuse_invalid(
        &self,
        piece: &Piece<'_>,
        known: Option<&Bare>,
        migration: &Migration,
    ) -> Result<(), Failure> {
        let Some(question) = known.and_then(inspect::invalid_index_sql) else {
            return Ok(());
        };
        let mut reply = wire::query(self.client(), &question).await;
        let Some(index) = reply.scalar(0).map_err(Failure::of_own)? else {
            return Ok(());
        };
        let mut sql = self.failure_of(piece, migration, "55000");
        sql.message = format!("index {index} exists but is invalid, and IF NOT EXISTS left it so");
        sql.hint = Some(format!(
            "DROP INDEX CONCURRENTLY {}; then start again",
            quote_ident(&index)
        ));
        let failure = Failure::Sql(Box::new(sql));
        self.after_failure(&failure).await;
        Err(failure)
    }

    async fn done(&self, piece: &Piece<'_>, migration: &Migration) -> Result<(), Failure> {
        let mut sql = self.frame.begin(&self.limits_of(migration));
        sql.push(&self.undone_check(piece, migration));
        sql.push(&self.piece_row(Kind::StatementDone, piece, migration, None, None));
        self.send_own(&sql).await
    }

    /// The last transaction: the history row. A later run that finds all pieces done comes straight here.
    async fn record_whole(&self, job: &Job, migration: &Migration) -> Result<(), Failure> {
        let mut sql = self.frame.begin(&self.limits_of(self.migration(job)));
        sql.push(&self.unapplied_check(migration));
        let since = format!(
            "(SELECT COALESCE((EXTRACT(EPOCH FROM pg_catalog.clock_timestamp() - pg_catalog.min(at)) * 1000)::pg_catalog.int8, 0) \
             FROM {} WHERE run = '{}' AND version = {})",
            journal::TABLE,
            self.author.run,
            quote_literal(&migration.version)
        );
        let record = self.record(migration, &since);
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
            self.after_failure(failure).await;
        }
        outcome
    }

    /// A foreign tool that blocks in `pg_advisory_lock` on our key holds a snapshot, and our own build waits for it:
    /// the server ends one of the two. Who it is stands in the note.
    async fn explain_deadlock(
        &mut self,
        error: tokio_postgres::Error,
        piece: &Piece<'_>,
        migration: &Migration,
    ) -> Failure {
        let failure = self.bare_failure(error, piece, migration);
        if matches!(failure, Failure::Contention(_)) {
            let mut reply =
                wire::query(self.client(), &Holder::waiters_sql(&self.frame.keys)).await;
            for row in reply.rows(0).unwrap_or_default() {
                let text = |column: usize| row.get(column).cloned().flatten().unwrap_or_default();
                (self.on_event)(Event::Note(format!(
                    "pid {} ({}) blocks in pg_advisory_lock on the same key and holds a snapshot that a concurrent \
                     build has to wait for; the lock is given up so that it can go on",
                    text(0),
                    text(1)
                )));
            }
        }
        failure
    }

    fn bare_failure(
        &self,
        error: tokio_postgres::Error,
        piece: &Piece<'_>,
        migration: &Migration,
    ) -> Failure {
        if connect::classify(&error).is_connection_lost() {
            return Failure::Connection(error);
        }
        let Some(db) = error.as_db_error() else {
            return Failure::Connection(error);
        };
        if db.code().code() == "57014" && self.stop.cause().is_some() {
            return Failure::Stopped;
        }
        let mut sql = self.failure_of(piece, migration, db.code().code());
        let told = SqlFailure::new(&migration.version, &migration.path, db);
        sql = SqlFailure {
            location: sql.location,
            statement: sql.statement,
            excerpt: sql.excerpt,
            rolled_back: sql.rolled_back,
            user: sql.user,
            ..told
        };
        match sql.code.as_str() {
            "55P03" | "40P01" | "40001" => Failure::Contention(Box::new(sql)),
            _ => Failure::Sql(Box::new(sql)),
        }
    }

    /// A failure at the beginning of a piece.
    fn failure_of(&self, piece: &Piece<'_>, migration: &Migration, code: &str) -> SqlFailure {
        let mut sql = SqlFailure::at(&migration.version, &migration.path, code);
        sql.user = self.user.to_owned();
        sql.rolled_back = format!(
            "pieces 1 to {} of {} stay, the next run goes on with piece {}",
            piece.number - 1,
            migration.version,
            piece.number
        );
        locate(&mut sql, piece.script, piece.unit.first_statement, None);
        sql
    }

    fn busy(&self, piece: &Piece<'_>, migration: &Migration, what: &str) -> Failure {
        let mut sql = self.failure_of(piece, migration, "55006");
        what.clone_into(&mut sql.message);
        Failure::Contention(Box::new(sql))
    }
}

/// What a statement's text is when it goes alone.
fn statement_text<'a>(piece: &Piece<'a>) -> &'a str {
    piece.script.text()[piece.unit.range.clone()].trim_end_matches(';')
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
            excerpt(statement_text(piece))
        ),
    }
}

fn parse(json: Option<&str>) -> Value {
    json.and_then(|json| serde_json::from_str(json).ok())
        .unwrap_or(Value::Null)
}
