//! One migration and its history row in one transaction; or all that is pending in one.

use std::time::Instant;

use tokio_postgres::error::SqlState;

use super::{
    Applier, Direction, Event, Failure, Keeping, Leaks, Mode, Prepared, SqlFailure,
    frame::{ALREADY_APPLIED, LOCK_NOT_HELD, MOVED_ON, SAVEPOINT, SENT_AHEAD, Statements},
    prepare::Job,
    sender::{MESSAGE_BYTES, Piece, Posted, SendError, Sender},
};
use crate::{
    connect,
    lock::label,
    migration::Migration,
    sql::{Chunk, Chunks, Script},
    wire,
};

/// In one transaction for all, so much goes in one message; a round trip for each file would be most of the time.
const BATCH_BYTES: usize = 64 << 10;

/// Files up to this size are sent while the one before runs. The server reads nothing meanwhile, so the message has to fit into
/// what its socket takes before anybody reads it, ten segments at least: what stays in our socket for 20 s ends the connection
/// (`TCP_USER_TIMEOUT` in tcp(7)), and would in every attempt. A larger file takes longer than an answer does anyway.
const AHEAD_BYTES: u64 = 8 << 10;

/// Milliseconds since the message was received: one message is one migration, unless all go in one transaction, where
/// the files of one message share it and the time is that since the first of them.
pub(super) const SINCE_MESSAGE: &str = "(EXTRACT(EPOCH FROM pg_catalog.clock_timestamp() - pg_catalog.statement_timestamp()) * 1000)::pg_catalog.int8";
/// Milliseconds since the transaction began, for a file of several messages.
pub(super) const SINCE_BEGIN: &str = "(EXTRACT(EPOCH FROM pg_catalog.clock_timestamp() - pg_catalog.transaction_timestamp()) * 1000)::pg_catalog.int8";

// === impl Applier ===

impl Applier<'_> {
    /// One migration: one message, or several for a big file. `posted` is its message where that was sent already.
    ///
    /// The message of the first of the `later` ones is sent before the answer to this one is awaited, where that can be. It
    /// does nothing unless this one is committed, and spares the server the wait for us, which for a small migration is as
    /// long as the migration itself.
    pub(super) async fn each(
        &mut self,
        job: &Job,
        posted: Option<Posted>,
        later: &mut [Job],
    ) -> Result<Option<Posted>, Failure> {
        let was_ahead = posted.is_some();
        let posted = match posted {
            Some(posted) => Ok(posted),
            None => self.post_each(job, None).await,
        };
        let ahead = match &posted {
            Ok(_) => self.post_ahead(job, later).await,
            Err(_) => None,
        };
        let mut sent = answer(posted).await;
        let Err(error) = &sent else {
            return Ok(ahead);
        };
        if let Some(ahead) = ahead {
            // It has found that this one is not committed.
            let _ = ahead.answer().await;
        }
        // Nothing of the file stays: a function that it calls has taken our statements or our word away.
        let lacks_statement = !self.frame.prepared.is_empty() && lacks_statement(error);
        if lacks_statement || was_ahead && lacks_word(error) {
            let _ = wire::execute(self.client(), "ROLLBACK").await;
            if lacks_statement {
                self.frame.prepared = Prepared::default();
            }
            sent = answer(self.post_each(job, None).await).await;
        }
        self.settle(sent, std::slice::from_ref(job), None).await?;
        Ok(None)
    }

    /// Sends a migration up to its last message.
    async fn post_each(&self, job: &Job, after: Option<&Job>) -> Result<Posted, SendOrOwn> {
        let migration = self.migration(job);
        let script = job.script()?;
        let idles = script.text().len() > MESSAGE_BYTES || script.summary().copies > 0;
        let after = after.map(|job| self.migration(job).version.as_str());
        let begin = self.frame.begin(&self.limits_of(migration), idles, after);
        let mut sender = Sender::new(self.client());
        sender.own(&label(&migration.version), 0);
        sender.own(&begin.sql, begin.count);
        self.send_file(&mut sender, job, 0).await?;
        let committed = self.frame.committed(&migration.version);
        sender.own(&committed.sql, committed.count);
        let commit = self.frame.commit();
        sender.own(&commit.sql, commit.count);
        Ok(sender.post().await?)
    }

    /// Sends the next migration's message, if it is one and nothing has to be done or asked before.
    async fn post_ahead(&self, job: &Job, later: &mut [Job]) -> Option<Posted> {
        let left = later.len();
        let next = later.first_mut()?;
        let is_asked_to_stop = self.stop.cause().is_some();
        if is_asked_to_stop
            || !self.sends_ahead
            || !self.frame.can_send_ahead()
            || !matches!(next.mode, Mode::Transaction)
            || self.migration(next).size > AHEAD_BYTES
        {
            return None;
        }
        // What cannot be read is told in its turn.
        next.load(self.source).ok()?;
        let keeping = self.keeping(next, left).ok()?;
        if next.script().ok()?.summary().copies > 0 || keeping != Keeping::AsIs {
            return None;
        }
        let posted = self.post_each(next, Some(job)).await.ok()?;
        self.tell(Event::Ahead(self.migration(next)));
        Some(posted)
    }

    /// All of them: the lock once, each file in its own savepoint and message, one commit.
    pub(super) async fn all(&mut self, jobs: &mut [Job]) -> Result<(), Failure> {
        let started = Instant::now();
        let mut sent = self.send_all(jobs).await;
        if !self.frame.prepared.is_empty() && sent.as_ref().is_err_and(lacks_statement) {
            // A function that a file calls has taken them away; nothing of any file stays.
            let _ = wire::execute(self.client(), "ROLLBACK").await;
            self.frame.prepared = Prepared::default();
            sent = self.send_all(jobs).await;
        }
        self.settle(sent, jobs, None).await?;
        for job in jobs {
            let migration = &self.source.migrations[job.migration];
            self.tell(Event::Applied {
                migration,
                elapsed: started.elapsed(),
            });
        }
        Ok(())
    }

    async fn send_all(&mut self, jobs: &mut [Job]) -> Result<(), SendOrOwn> {
        let mut sender = Sender::new(self.session.client());
        // The files below the first mark are done; those below the second are at least sent.
        let (mut done, mut sent) = (0, 0);
        for index in 0..jobs.len() {
            self.check_stop()?;
            let job = &mut jobs[index];
            job.load(self.source)?;
            let migration = &self.source.migrations[job.migration];
            self.tell(Event::Starting(migration));
            let limits = self.limits_of(migration);
            let before = if index == 0 {
                sender.own(&label(&migration.version), 0);
                self.frame.begin(&limits, true, None)
            } else {
                // The settings were undone behind the file before.
                self.frame.go_on(&limits)
            };
            sender.own(&before.sql, before.count);
            self.send_file(&mut sender, &jobs[index], index).await?;
            if sender.pending_bytes() >= BATCH_BYTES {
                sender.turn().await?;
                jobs[done..sent].iter_mut().for_each(Job::unload);
                (done, sent) = (sent, index + 1);
            }
        }
        let commit = self.frame.commit();
        sender.own(&commit.sql, commit.count);
        Ok(sender.flush().await?)
    }

    /// The look at the history, the file in its savepoint, the cleaning and the rows.
    async fn send_file(
        &self,
        sender: &mut Sender<'_>,
        job: &Job,
        index: usize,
    ) -> Result<(), SendOrOwn> {
        let script = job.script()?;
        let mut before = Statements::default();
        before.push(&self.history_check(job));
        before.push(&format!("SAVEPOINT {SAVEPOINT}"));
        sender.own(&before.sql, before.count);
        let chunks = script.chunks(MESSAGE_BYTES);
        let one_message = send_chunks(sender, script, chunks, index).await?;
        let mut after = Statements::default();
        after.push(&format!("RELEASE SAVEPOINT {SAVEPOINT}"));
        sender.own(&after.sql, after.count);
        let clean = self.frame.clean(Leaks::of(script.text()));
        sender.own(&clean.sql, clean.count);
        let duration = if one_message {
            SINCE_MESSAGE
        } else {
            SINCE_BEGIN
        };
        let record = self.record(job, duration);
        sender.own(&record.sql, record.count);
        Ok(())
    }

    /// Turns what was sent into an end: after an error the transaction is ended and the error is given its place.
    pub(super) async fn settle(
        &self,
        sent: Result<(), SendOrOwn>,
        jobs: &[Job],
        what_stays: Option<&str>,
    ) -> Result<(), Failure> {
        let mut failure = match sent {
            Ok(()) => return Ok(()),
            Err(SendOrOwn::Own(failure)) => failure,
            Err(SendOrOwn::Send(error)) => self.failure(error, jobs),
        };
        if let (Failure::Sql(sql) | Failure::Contention(sql), Some(what_stays)) =
            (&mut failure, what_stays)
        {
            what_stays.clone_into(&mut sql.rolled_back);
        }
        let scripts = jobs.iter().filter_map(|job| job.script().ok());
        let leaks = scripts
            .map(|script| Leaks::of(script.text()))
            .fold(Leaks::default(), Leaks::or);
        self.after_failure(&failure, leaks).await;
        Err(failure)
    }

    /// Gives an error its file, line and advice.
    pub(super) fn failure(&self, error: SendError, jobs: &[Job]) -> Failure {
        if connect::classify(&error.error).is_connection_lost() {
            return Failure::Connection(error.error);
        }
        let Some(db) = error.error.as_db_error() else {
            return Failure::Connection(error.error);
        };
        let cancelled = db.code() == &SqlState::QUERY_CANCELED;
        if cancelled && self.stop.cause().is_some() {
            return Failure::Stopped { cancelled: true };
        }
        let place = error.place;
        let job = place.and_then(|place| jobs.get(place.job));
        let Some(job) = job.or_else(|| only(jobs).filter(|_| !is_fence(db))) else {
            return Failure::of_own(error.error);
        };
        let migration = self.migration(job);
        let mut sql = SqlFailure::new(&migration.version, &migration.path, db);
        self.user.clone_into(&mut sql.user);
        self.rolled_back(&mut sql, jobs.len());
        match (place, job.script()) {
            (Some(place), Ok(script)) => locate(&mut sql, script, place.statement, place.offset),
            _ => explain_frame(&mut sql, migration),
        }
        Failure::of_sql(sql)
    }

    fn rolled_back(&self, sql: &mut SqlFailure, jobs: usize) {
        let version = &sql.version;
        sql.rolled_back = match self.direction {
            Direction::Up if jobs > 1 => {
                format!(
                    "all {jobs} migrations of this run were rolled back, nothing is half applied"
                )
            }
            Direction::Up => {
                format!("{version} was rolled back whole; what was applied before it stays")
            }
            Direction::Down(_) if jobs > 1 => {
                format!("all {jobs} down files of this run were rolled back: nothing was undone")
            }
            Direction::Down(_) => format!(
                "{version} stays applied, its down file was rolled back whole; what was undone before it stays undone"
            ),
        };
    }
}

async fn answer(posted: Result<Posted, SendOrOwn>) -> Result<(), SendOrOwn> {
    Ok(posted?.answer().await?)
}

/// The session does not know any more that the migration before was committed.
fn lacks_word(sent: &SendOrOwn) -> bool {
    matches!(sent, SendOrOwn::Send(error) if error.place.is_none()
        && error.error.as_db_error().is_some_and(|db| db.message().contains(SENT_AHEAD)))
}

/// Our own text named a prepared statement that the session no longer has.
fn lacks_statement(sent: &SendOrOwn) -> bool {
    matches!(sent, SendOrOwn::Send(error) if error.place.is_none()
        && error.error.code() == Some(&SqlState::INVALID_SQL_STATEMENT_NAME))
}

/// An error of the text around a file that is not the fence's own word: it still belongs to the file (a deferred
/// constraint fails at COMMIT).
fn only(jobs: &[Job]) -> Option<&Job> {
    match jobs {
        [job] => Some(job),
        _ => None,
    }
}

fn is_fence(error: &tokio_postgres::error::DbError) -> bool {
    let message = error.message();
    [LOCK_NOT_HELD, SENT_AHEAD, ALREADY_APPLIED, MOVED_ON]
        .iter()
        .any(|word| message.contains(word))
}

/// Where in the file: by the server's position, else by the count of completed statements.
pub(super) fn locate(
    sql: &mut SqlFailure,
    script: &Script,
    statement: usize,
    offset: Option<usize>,
) {
    let place = match offset {
        Some(offset) => script.place_at(offset),
        None => script
            .place_of_statement(statement)
            .map(|place| (statement, place)),
    };
    let Some((statement, place)) = place else {
        return;
    };
    sql.statement = Some(statement + 1);
    sql.excerpt = script
        .statements()
        .nth(statement)
        .map(|found| crate::sql::excerpt(found.text));
    sql.location = Some(place);
}

fn explain_frame(sql: &mut SqlFailure, migration: &Migration) {
    if matches!(sql.code.as_str(), "25P01" | "3B001") {
        sql.message = format!(
            "{} ended the transaction that schemagate opened for it ({})",
            migration.path, sql.message
        );
    }
}

/// Sends chunks of a script. True if they went in the first message.
pub(super) async fn send_chunks(
    sender: &mut Sender<'_>,
    script: &Script,
    chunks: Chunks<'_>,
    job: usize,
) -> Result<bool, SendError> {
    let text = script.text();
    let mut alone = true;
    for (index, chunk) in chunks.enumerate() {
        alone &= index == 0;
        match chunk {
            Chunk::Sql {
                range,
                first_statement,
                statements,
            } => {
                let piece = Piece {
                    job,
                    offset: range.start,
                    first_statement,
                };
                sender.file(&text[range], statements, piece).await?;
            }
            Chunk::Copy {
                range,
                statement,
                data,
            } => {
                alone = false;
                let piece = Piece {
                    job,
                    offset: range.start,
                    first_statement: statement,
                };
                let data = &text.as_bytes()[data];
                sender.copy(&text[range], data, piece).await?;
            }
        }
    }
    Ok(alone)
}

/// An error of sending, or a reason of our own not to send.
#[derive(Debug)]
pub(super) enum SendOrOwn {
    /// What the server said.
    Send(SendError),
    /// What we found ourselves.
    Own(Failure),
}

impl From<SendError> for SendOrOwn {
    fn from(error: SendError) -> Self {
        Self::Send(error)
    }
}

impl From<Failure> for SendOrOwn {
    fn from(failure: Failure) -> Self {
        Self::Own(failure)
    }
}
