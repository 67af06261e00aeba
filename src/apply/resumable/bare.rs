//! One statement outside a transaction: intent, the statement, done; and what to do after an interruption.

use serde_json::Value;

use super::{Piece, dirty, what_stays};
use crate::{
    apply::{
        Applier, Event, Failure, Holding, Limits, SqlFailure,
        frame::{RESETS, SAVEPOINT, Statements, milliseconds, set},
        holder::{Ended, HolderSession, within_reach},
        inspect::{self, Verdict},
        leaks::Leaks,
        transactional::locate,
    },
    connect,
    history::journal::Kind,
    lock::Holder,
    migration::{Migration, quote_ident, quote_literal},
    sql::Bare,
    wire,
};

/// A bare statement and what it runs with.
struct Alone<'a> {
    piece: &'a Piece<'a>,
    migration: &'a Migration,
    /// What the text told of the statement; `None` where only the server knew that it cannot run in a transaction.
    known: Option<&'a Bare>,
    /// The second connection that holds the lock, where this session does not.
    holder: Option<HolderSession>,
}

// === impl Applier ===

impl Applier<'_> {
    /// A statement outside a transaction, between its intent and its done row.
    pub(super) async fn bare(
        &mut self,
        piece: &Piece<'_>,
        known: Option<&Bare>,
        begun: Option<&Value>,
    ) -> Result<(), Failure> {
        let migration = self.migration(piece.job).clone();
        if !self.direct {
            self.refuse_what_a_pooler_cannot_carry(piece, known, &migration)?;
        }
        let before = self.frame.holding;
        let holder = match before {
            Holding::Session => None,
            Holding::Transaction | Holding::Elsewhere => {
                Some(HolderSession::open(self.connect, &self.frame).await?)
            }
        };
        if holder.is_some() {
            self.frame.holding = Holding::Elsewhere;
        }
        let alone = Alone {
            piece,
            migration: &migration,
            known,
            holder,
        };
        let outcome = self.under_the_lock(&alone, begun).await;
        self.frame.holding = before;
        if let Some(holder) = alone.holder {
            holder.release().await;
        }
        outcome
    }

    async fn under_the_lock(
        &mut self,
        alone: &Alone<'_>,
        begun: Option<&Value>,
    ) -> Result<(), Failure> {
        let number = alone.piece.number;
        let mut begun = begun.cloned();
        if alone.holder.is_some() {
            // The lock may have been elsewhere since the last look.
            let progress = within_reach(self.progress(alone.migration)).await?;
            if progress.done.contains(&number) {
                return Ok(());
            }
            begun = progress.begun.get(&number).cloned();
        }
        let resumed = begun.is_some();
        let before = match begun {
            Some(before) => before,
            None => self.intend(alone).await?,
        };
        if resumed && self.take_up(alone, &before).await? {
            return self.done(alone).await;
        }
        if let Err(failure) = self.run_alone(alone, statement_text(alone.piece)).await {
            let failure = self.explain_deadlock(failure).await;
            self.after_bare_failure(alone, &failure, &before).await;
            return Err(failure);
        }
        self.refuse_invalid(alone, &before).await?;
        self.done(alone).await
    }

    fn refuse_what_a_pooler_cannot_carry(
        &self,
        piece: &Piece<'_>,
        known: Option<&Bare>,
        migration: &Migration,
    ) -> Result<(), Failure> {
        let committing = matches!(known, Some(Bare::CommittingBlock | Bare::DiscardAll) | None);
        let what = if self.frame.role.is_some() {
            "SCHEMAGATE_ROLE"
        } else if !piece.units.settings(piece.unit).is_empty() {
            "a setting of the file (SET …)"
        } else if committing {
            "whatever it leaves on the session away"
        } else {
            return Ok(());
        };
        Err(Failure::Unsupported {
            what: format!(
                "{}: line {} runs outside a transaction, and a transaction pooler cannot carry {what}",
                migration.path, piece.unit.line
            ),
            next: "give schemagate a URL of its own (SCHEMAGATE_DATABASE_URL) that goes to the server, not to the pooler"
                .to_owned(),
        })
    }

    /// Commits the intent, with what the catalog says now.
    async fn intend(&self, alone: &Alone<'_>) -> Result<Value, Failure> {
        let before = alone
            .known
            .map_or_else(|| "'{}'".to_owned(), inspect::before_sql);
        let mut sql = self.open_piece(alone.piece, alone.migration);
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
            self.piece_row(
                Kind::Intent,
                alone.piece,
                alone.migration,
                None,
                Some(detail)
            )
        ));
        let returning = sql.count - 1;
        sql.append(&self.frame.clean(Leaks::default()));
        sql.append(&self.frame.commit());
        let mut reply = wire::query(self.client(), &sql.sql).await;
        let detail = reply.scalar(returning);
        let failure = match (detail, reply.error) {
            (Ok(detail), None) => return Ok(parse(detail.as_deref())),
            (Err(error), _) | (Ok(_), Some(error)) => Failure::of_own(error),
        };
        self.after_failure(&failure, Leaks::default()).await;
        Err(failure)
    }

    /// After an interruption. True if the statement turns out to be done.
    async fn take_up(&mut self, alone: &Alone<'_>, before: &Value) -> Result<bool, Failure> {
        let Some(bare) = alone.known else {
            let why = "the catalog does not show how far it came";
            return Err(dirty(alone.piece, alone.migration, why));
        };
        match self.verdict(bare, before).await? {
            Verdict::Run => Ok(false),
            Verdict::Done => Ok(true),
            Verdict::Clear(_) => {
                self.clear(alone, bare, before).await?;
                Ok(false)
            }
            Verdict::Finish(sql) => {
                self.run_alone(alone, &sql).await?;
                Ok(true)
            }
            Verdict::Busy(what) => Err(self.busy(alone, &what)),
            Verdict::Unknown(what) => Err(dirty(alone.piece, alone.migration, &what)),
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
    async fn clear(
        &mut self,
        alone: &Alone<'_>,
        bare: &Bare,
        before: &Value,
    ) -> Result<(), Failure> {
        loop {
            let index = match self.verdict(bare, before).await? {
                Verdict::Clear(indexes) => indexes.into_iter().next(),
                Verdict::Busy(what) => return Err(self.busy(alone, &what)),
                _ => None,
            };
            let Some(index) = index else {
                return Ok(());
            };
            self.check_stop()?;
            self.tell(Event::Note(format!(
                "index {index} is an invalid leftover of an interrupted {}: dropping it",
                bare.what()
            )));
            let sql = format!("DROP INDEX CONCURRENTLY IF EXISTS {}", index.quoted());
            self.run_alone(alone, &sql).await?;
        }
    }

    /// A failed build leaves an invalid index that slows every write and, if unique, refuses some: it goes now. Then the
    /// failure is noted, with whether anything of the statement is left.
    async fn after_bare_failure(&mut self, alone: &Alone<'_>, failure: &Failure, before: &Value) {
        let (Failure::Sql(sql) | Failure::Contention(sql)) = failure else {
            return;
        };
        if self.stop.cause().is_some() {
            return;
        }
        let mut undone = false;
        if let Some(bare) = alone.known {
            match self.clear(alone, bare, before).await {
                Ok(()) => {
                    undone = matches!(self.verdict(bare, before).await, Ok(Verdict::Run));
                }
                Err(failure) => self.tell(Event::Note(format!(
                    "what the failed statement left could not be removed; the next run tries again: {failure:?}"
                ))),
            }
        }
        let detail = serde_json::json!({
            "message": sql.headline(),
            "sqlstate": sql.code,
            "undone": undone,
        });
        let detail = format!("{}::pg_catalog.jsonb", quote_literal(&detail.to_string()));
        let row = self.piece_row(
            Kind::Failed,
            alone.piece,
            alone.migration,
            None,
            Some(&detail),
        );
        let mut note = self
            .frame
            .begin(&self.limits_of(alone.migration), false, None);
        note.push(&row);
        if self.send_own(&note).await.is_err() {
            self.tell(Event::Note(
                "the failure could not be journalled".to_owned(),
            ));
        }
    }

    /// Sends a statement alone, under the lock, with the file's settings and limits, and leaves nothing of them.
    async fn run_alone(&mut self, alone: &Alone<'_>, text: &str) -> Result<(), Failure> {
        let session = self.session;
        let limits = self.limits_of(alone.migration);
        if self.direct {
            self.set_up(alone.piece, &limits).await?;
        }
        let statement = wire::execute(session.client(), text);
        let ended = match &alone.holder {
            None => {
                self.regain().await?;
                Ended::Itself(statement.await)
            }
            Some(holder) => {
                holder.confirm().await?;
                // Where the session is ours the server bounds the time itself.
                let limit = limits.statement.filter(|_| !self.direct);
                holder.beside(statement, limit, &session.canceller()).await
            }
        };
        let tidied = if self.direct {
            self.tidy().await
        } else {
            Ok(())
        };
        match ended {
            Ended::Itself(reply) => match reply.error {
                None => tidied,
                Some(error) => Err(self.bare_failure(error, alone)),
            },
            Ended::LockLost => Err(Failure::LockHeld),
            Ended::WaitedFor(reply, waiter) => {
                self.tell(Event::Note(format!(
                    "{waiter}: the statement was cancelled"
                )));
                match reply.error {
                    None => tidied,
                    Some(_) => Err(self.busy(alone, &waiter)),
                }
            }
        }
    }

    /// Role, settings and limits of the statement, on a session of our own. `lock_timeout` stays 0: it would cancel a
    /// concurrent build half way, for waiting that stops nobody.
    async fn set_up(&self, piece: &Piece<'_>, limits: &Limits) -> Result<(), Failure> {
        let mut sql = Statements::default();
        sql.push(&set(
            "",
            "statement_timeout",
            &milliseconds(limits.statement),
        ));
        sql.push("SET default_transaction_read_only = off");
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
            .map_err(Failure::of_own)
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
        let mut sql = Statements::default();
        for reset in RESETS {
            sql.push(reset);
        }
        sql.append(&self.frame.session_settings());
        wire::execute(self.client(), &sql.sql)
            .await
            .ok()
            .map_err(Failure::of_own)
    }

    /// `IF NOT EXISTS` is content with an index of that name, be it invalid.
    async fn refuse_invalid(&self, alone: &Alone<'_>, before: &Value) -> Result<(), Failure> {
        let question = alone
            .known
            .and_then(|bare| inspect::invalid_index_sql(bare, before));
        let Some(question) = question else {
            return Ok(());
        };
        let mut reply = wire::query(self.client(), &question).await;
        let Some(index) = reply.scalar(0).map_err(Failure::of_own)? else {
            return Ok(());
        };
        let mut sql = self.failure_of(alone, "55000", None);
        sql.message = format!("index {index} exists but is invalid, and IF NOT EXISTS left it so");
        sql.hint = Some(format!("DROP INDEX CONCURRENTLY {index}; then start again"));
        let failure = Failure::Sql(Box::new(sql));
        self.after_failure(&failure, Leaks::default()).await;
        Err(failure)
    }

    async fn done(&self, alone: &Alone<'_>) -> Result<(), Failure> {
        let mut sql = self
            .frame
            .begin(&self.limits_of(alone.migration), false, None);
        sql.push(&self.undone_check(alone.piece, alone.migration));
        sql.push(&self.piece_row(
            Kind::StatementDone,
            alone.piece,
            alone.migration,
            None,
            None,
        ));
        self.send_own(&sql).await
    }

    /// A foreign tool that blocks in `pg_advisory_lock` on our key holds a snapshot, and our own build waits for it:
    /// the server ends one of the two. Who it is stands in the note.
    async fn explain_deadlock(&mut self, failure: Failure) -> Failure {
        if matches!(failure, Failure::Contention(_)) {
            let mut reply =
                wire::query(self.client(), &Holder::waiters_sql(&self.frame.keys)).await;
            for row in reply.rows(0).unwrap_or_default() {
                let text = |column: usize| row.get(column).cloned().flatten().unwrap_or_default();
                self.tell(Event::Note(format!(
                    "pid {} ({}) blocks in pg_advisory_lock on the same key and holds a snapshot that a concurrent \
                     build has to wait for; the lock is given up so that it can go on",
                    text(0),
                    text(1)
                )));
            }
        }
        failure
    }

    fn bare_failure(&self, error: tokio_postgres::Error, alone: &Alone<'_>) -> Failure {
        if connect::classify(&error).is_connection_lost() {
            return Failure::Connection(error);
        }
        let Some(db) = error.as_db_error() else {
            return Failure::Connection(error);
        };
        if db.code().code() == "57014" && self.stop.cause().is_some() {
            return Failure::Stopped { cancelled: true };
        }
        let position = match db.position() {
            Some(tokio_postgres::error::ErrorPosition::Original(position)) => Some(*position),
            _ => None,
        };
        let found = self.failure_of(alone, db.code().code(), position);
        Failure::of_sql(SqlFailure {
            location: found.location,
            statement: found.statement,
            excerpt: found.excerpt,
            rolled_back: found.rolled_back,
            user: found.user,
            ..SqlFailure::new(&alone.migration.version, &alone.migration.path, db)
        })
    }

    /// A failure of a statement that went alone, at PostgreSQL's position in it.
    fn failure_of(&self, alone: &Alone<'_>, code: &str, position: Option<u32>) -> SqlFailure {
        let Alone {
            piece, migration, ..
        } = alone;
        let mut sql = SqlFailure::at(&migration.version, &migration.path, code);
        self.user.clone_into(&mut sql.user);
        sql.rolled_back = what_stays(piece, migration);
        let start = piece.unit.range.start;
        let offset = position.map(|position| {
            let before = statement_text(piece).char_indices();
            let chars = (position as usize).saturating_sub(1);
            start + before.map(|(byte, _)| byte).nth(chars).unwrap_or(0)
        });
        locate(&mut sql, piece.script, piece.unit.first_statement, offset);
        sql
    }

    fn busy(&self, alone: &Alone<'_>, what: &str) -> Failure {
        let mut sql = self.failure_of(alone, "55006", None);
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
