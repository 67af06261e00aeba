//! One statement outside a transaction: intent, the statement, done; and what to do after an interruption.

use serde_json::Value;

use super::{Piece, dirty};
use crate::{
    apply::{
        Applier, Event, Failure, Limits, SqlFailure,
        frame::{Leaks, RESETS, SAVEPOINT, Statements, milliseconds, set_configs},
        holder::HolderSession,
        inspect::{self, Verdict},
        transactional::locate,
    },
    connect,
    history::journal::Kind,
    lock::Holder,
    migration::{Migration, quote_ident},
    sql::Bare,
    wire,
};

// === impl Applier ===

impl Applier<'_> {
    /// A statement outside a transaction, between its intent and its done row. `known` is what the text told of it.
    pub(super) async fn bare(
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
        let clean = self.frame.clean(Leaks::default());
        let commit = self.frame.commit();
        let text = format!("{}{}{}", sql.sql, clean.sql, commit.sql);
        let mut reply = wire::query(self.client(), &text).await;
        let detail = reply.scalar(returning);
        let outcome = match (detail, reply.error) {
            (Ok(detail), None) => return Ok(parse(detail.as_deref())),
            (Err(error), _) | (Ok(_), Some(error)) => Failure::of_own(error),
        };
        self.after_failure(&outcome, Leaks::default()).await;
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
    pub(super) async fn regain(&self) -> Result<(), Failure> {
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
        self.after_failure(&failure, Leaks::default()).await;
        Err(failure)
    }

    async fn done(&self, piece: &Piece<'_>, migration: &Migration) -> Result<(), Failure> {
        let mut sql = self.frame.begin(&self.limits_of(migration));
        sql.push(&self.undone_check(piece, migration));
        sql.push(&self.piece_row(Kind::StatementDone, piece, migration, None, None));
        self.send_own(&sql).await
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
        self.user.clone_into(&mut sql.user);
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
pub(super) fn statement_text<'a>(piece: &Piece<'a>) -> &'a str {
    piece.script.text()[piece.unit.range.clone()].trim_end_matches(';')
}

fn parse(json: Option<&str>) -> Value {
    json.and_then(|json| serde_json::from_str(json).ok())
        .unwrap_or(Value::Null)
}
