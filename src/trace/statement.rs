//! One statement of a trace.

use std::{pin::pin, time::Duration};

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::time::Instant;
use tokio_postgres::{
    SimpleQueryMessage,
    error::{DbError, ErrorPosition, SqlState},
};

use super::{
    End, Error, Next, NotRun, Observed, SAVEPOINTS, Tracer, is_alone,
    look::{LOCKS, STAMP},
    rules::{Rule, rule, touches_rows},
};
use crate::{
    apply::{
        Mode, SqlFailure,
        frame::{SAVEPOINT, Statements},
    },
    connect,
    migration::{Migration, TransactionMode},
    sql::{Kind, Script, Statement, excerpt},
    wire,
};

/// Data of a `COPY` goes in pieces of this size.
const COPY_BYTES: usize = 64 << 10;
/// How many statements that were left out are told of a migration.
const NOT_RUN: usize = 100;
/// A statement that the server's own timer ended ended about then.
const ABOUT: Duration = Duration::from_millis(100);

/// The file under way.
pub(super) struct File<'f> {
    pub(super) migration: &'f Migration,
    pub(super) script: &'f Script,
    pub(super) mode: &'f Mode,
}

// === impl Tracer ===

impl Tracer<'_> {
    /// Runs one statement and looks what it has done; one that is not listed is looked at together with its neighbours.
    pub(super) async fn statement(
        &mut self,
        file: &File<'_>,
        statement: &Statement<'_>,
        listed: bool,
    ) -> Result<Next, Error> {
        if listed {
            self.look_at_the_rest(file).await?;
        }
        let rule = rule(statement.text, &statement.kind());
        if let Rule::Skip(why) = rule {
            self.left_out |= matches!(statement.kind(), Kind::Bare(_));
            self.skip(statement, listed, why);
            return Ok(Next::On);
        }
        if self.is_over() {
            return Ok(Next::Stop(End::Limit));
        }
        let wrapped = rule == Rule::Run && self.savepoints < SAVEPOINTS;
        self.ready(file.migration, wrapped).await?;
        let started = Instant::now();
        let sent = self.send(file.script, statement, &rule).await;
        let mut observed = Observed {
            elapsed: started.elapsed(),
            ..Observed::default()
        };
        match sent {
            Ok(None) => {
                let why = "it does not begin like a statement".to_owned();
                self.skip(statement, listed, why);
            }
            Ok(Some(rows)) => {
                observed.rows = touches_rows(statement.text).then_some(rows);
                self.note(file, statement, listed, wrapped, observed)
                    .await?;
            }
            Err(error) => {
                return self
                    .failed(file, statement, listed, wrapped, observed, error)
                    .await;
            }
        }
        Ok(Next::On)
    }

    /// The limits, and a savepoint where an error is to be survived.
    async fn ready(&mut self, migration: &Migration, wrapped: bool) -> Result<(), Error> {
        let mut sql = Statements::default();
        self.push_limits(&self.limits_of(migration), &mut sql);
        if wrapped {
            self.savepoints += 1;
            sql.push(&format!("SAVEPOINT {SAVEPOINT}"));
        }
        let reply = wire::execute(self.session.client(), &sql.sql).await;
        reply.ok().map_err(Error::of_own)
    }

    /// Sends it alone. `Parse` comes first: the server refuses a text of two statements there, and runs nothing.
    /// `None`: it was only parsed.
    async fn send(
        &self,
        script: &Script,
        statement: &Statement<'_>,
        rule: &Rule,
    ) -> Result<Option<u64>, tokio_postgres::Error> {
        let client = self.session.client();
        if statement.kind() == Kind::CopyFromStdin && *rule == Rule::Run {
            let data = statement.copy_data.clone().unwrap_or_default();
            let data = script.text().as_bytes().get(data).unwrap_or_default();
            // It prepares the statement as well.
            let sink = client.copy_in::<_, Bytes>(statement.text).await?;
            let mut sink = pin!(sink);
            for chunk in data.chunks(COPY_BYTES) {
                sink.send(Bytes::copy_from_slice(chunk)).await?;
            }
            return sink.finish().await.map(Some);
        }
        drop(client.prepare(statement.text).await?);
        if *rule == Rule::Parse {
            return Ok(None);
        }
        let mut rows = 0;
        let mut answer = pin!(client.simple_query_raw(statement.text).await?);
        while let Some(message) = answer.next().await {
            if let SimpleQueryMessage::CommandComplete(count) = message? {
                rows = count;
            }
        }
        Ok(Some(rows))
    }

    async fn note(
        &mut self,
        file: &File<'_>,
        statement: &Statement<'_>,
        listed: bool,
        wrapped: bool,
        mut observed: Observed,
    ) -> Result<(), Error> {
        let place = format!("{}:{}", file.migration.path, statement.line);
        if listed {
            self.look(&place, wrapped, &mut observed).await?;
            self.current().statements.insert(statement.index, observed);
            return Ok(());
        }
        if wrapped {
            self.release(&place).await?;
        }
        self.rest_unseen = true;
        let current = self.current();
        current.rest_count += 1;
        current.rest.elapsed += observed.elapsed;
        if let Some(rows) = observed.rows {
            *current.rest.rows.get_or_insert(0) += rows;
        }
        Ok(())
    }

    /// Asks what the last statement has done, and whether this is still the same transaction.
    async fn look(
        &mut self,
        place: &str,
        wrapped: bool,
        observed: &mut Observed,
    ) -> Result<(), Error> {
        if wrapped {
            self.release(place).await?;
        }
        let sql = format!("{STAMP};{LOCKS}");
        let mut reply = wire::query(self.session.client(), &sql).await;
        let stamp = reply.scalar(0).map_err(Error::of_own)?;
        let locks = reply.rows(1).map_err(Error::of_own)?;
        if stamp != self.stamp {
            return Err(Error::Ended(place.to_owned()));
        }
        self.looker.see(&locks, observed);
        Ok(())
    }

    /// What the statements did that were not looked at one by one.
    pub(super) async fn look_at_the_rest(&mut self, file: &File<'_>) -> Result<(), Error> {
        if !std::mem::take(&mut self.rest_unseen) {
            return Ok(());
        }
        let mut rest = std::mem::take(&mut self.current().rest);
        let looked = self.look(&file.migration.path, false, &mut rest).await;
        self.current().rest = rest;
        looked
    }

    /// A savepoint that is gone went with its transaction.
    async fn release(&self, place: &str) -> Result<(), Error> {
        let sql = format!("RELEASE SAVEPOINT {SAVEPOINT}");
        match wire::execute(self.session.client(), &sql).await.ok() {
            Err(error) if matches!(code(&error), "25P01" | "3B001") => {
                Err(Error::Ended(place.to_owned()))
            }
            outcome => outcome.map_err(Error::of_own),
        }
    }

    fn skip(&mut self, statement: &Statement<'_>, listed: bool, why: String) {
        let current = self.current();
        if listed {
            let observed = Observed {
                skipped: Some(why.clone()),
                ..Observed::default()
            };
            current.statements.insert(statement.index, observed);
        }
        if current.not_run.len() < NOT_RUN {
            current.not_run.push(NotRun {
                line: statement.line,
                excerpt: excerpt(statement.text),
                why,
            });
        }
    }

    async fn failed(
        &mut self,
        file: &File<'_>,
        statement: &Statement<'_>,
        listed: bool,
        wrapped: bool,
        mut observed: Observed,
        error: tokio_postgres::Error,
    ) -> Result<Next, Error> {
        let lost = connect::classify(&error).is_connection_lost();
        let Some(db) = error.as_db_error().filter(|_| !lost) else {
            return Err(Error::of_own(error));
        };
        if db.code() == &SqlState::QUERY_CANCELED
            && (self.stop.cause().is_some() || self.room() < ABOUT)
        {
            return Ok(Next::Stop(End::Limit));
        }
        if wrapped && let Some(why) = self.only_here(file, statement, db) {
            self.left_out = true;
            let sql = format!("ROLLBACK TO SAVEPOINT {SAVEPOINT};RELEASE SAVEPOINT {SAVEPOINT}");
            let reply = wire::execute(self.session.client(), &sql).await;
            reply.ok().map_err(Error::of_own)?;
            self.skip(statement, listed, why);
            return Ok(Next::On);
        }
        let failure = failure(file, statement, db);
        observed.error = Some(failure.headline());
        let current = self.current();
        if listed {
            current.statements.insert(statement.index, observed);
        } else {
            current.rest_count += 1;
            current.rest.error = observed.error;
        }
        Ok(Next::Stop(End::Failed(Box::new(failure))))
    }

    /// Why an error comes in a trace and not in a run.
    fn only_here(
        &self,
        file: &File<'_>,
        statement: &Statement<'_>,
        db: &DbError,
    ) -> Option<String> {
        let in_pieces = matches!(file.mode, Mode::Pieces(_));
        let adds_itself = file.script.summary().new_enum_value.is_some();
        let why = match db.code().code() {
            "25001" | "2D000" if is_alone(file.mode, statement.index) => {
                "PostgreSQL refuses it in a transaction, and migrate runs it outside of one"
            }
            "55P04"
                if self.params.transaction == TransactionMode::Each
                    && (in_pieces || (self.new_enum_value && !adds_itself)) =>
            {
                "it uses a new value of an enum, which a run commits before; a trace does not"
            }
            // An index built with CONCURRENTLY, say, that is to become a constraint.
            "42P01" | "42703" | "42704" | "42883" if self.left_out => {
                return Some(format!(
                    "it may need what was not run before it: {}",
                    db.message()
                ));
            }
            _ => return None,
        };
        Some(why.to_owned())
    }

    /// What a run would meet at its COMMIT: constraints that were deferred. Behind it they are deferred again, as the
    /// next migration would find them.
    pub(super) async fn end_of_file(
        &mut self,
        file: &File<'_>,
        is_last: bool,
    ) -> Result<Next, Error> {
        self.look_at_the_rest(file).await?;
        self.new_enum_value |= file.script.summary().new_enum_value.is_some();
        if self.is_over() {
            return Ok(Next::Stop(End::Limit));
        }
        self.ready(file.migration, false).await?;
        let client = self.session.client();
        let fired = wire::execute(client, "SET CONSTRAINTS ALL IMMEDIATE").await;
        if let Err(error) = fired.ok() {
            let lost = connect::classify(&error).is_connection_lost();
            let Some(db) = error.as_db_error().filter(|_| !lost) else {
                return Err(Error::of_own(error));
            };
            if db.code() == &SqlState::QUERY_CANCELED && self.is_over() {
                return Ok(Next::Stop(End::Limit));
            }
            let mut failure = SqlFailure::new(&file.migration.version, &file.migration.path, db);
            failure.message = format!("at its COMMIT: {}", failure.message);
            ROLLED_BACK.clone_into(&mut failure.rolled_back);
            self.current().rest.error = Some(failure.headline());
            return Ok(Next::Stop(End::Failed(Box::new(failure))));
        }
        if !is_last {
            self.defer_again().await?;
        }
        Ok(Next::On)
    }

    async fn defer_again(&self) -> Result<(), Error> {
        let sql = "SELECT pg_catalog.string_agg(DISTINCT pg_catalog.format('%I.%I', n.nspname, c.conname), ', ') \
             FROM pg_catalog.pg_constraint c \
             JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.connamespace WHERE c.condeferred";
        let client = self.session.client();
        let names = wire::query(client, sql).await.scalar(0);
        let Some(names) = names.map_err(Error::of_own)? else {
            return Ok(());
        };
        let sql = format!("SET CONSTRAINTS {names} DEFERRED");
        let reply = wire::execute(client, &sql).await;
        reply.ok().map_err(Error::of_own)
    }
}

const ROLLED_BACK: &str = "this was a trace, everything was rolled back";

fn failure(file: &File<'_>, statement: &Statement<'_>, db: &DbError) -> SqlFailure {
    let mut failure = SqlFailure::new(&file.migration.version, &file.migration.path, db);
    let sent = statement.start..statement.start + statement.text.len();
    let place = match db.position() {
        Some(ErrorPosition::Original(position)) => file.script.place_of_error(&sent, 0, *position),
        _ => None,
    };
    let place = place.or_else(|| {
        file.script
            .place_at(statement.start)
            .map(|(_, place)| place)
    });
    failure.location = place;
    failure.statement = Some(statement.index + 1);
    failure.excerpt = Some(excerpt(statement.text));
    ROLLED_BACK.clone_into(&mut failure.rolled_back);
    failure
}

fn code(error: &tokio_postgres::Error) -> &str {
    error.code().map_or("", SqlState::code)
}
