//! Runs what a plan says, on one session.
//!
//! A migration runs in one transaction with its history row (`transactional`), so it happens exactly once whatever is
//! killed when. One that PostgreSQL refuses in a transaction, or that ends its own transaction, runs in pieces
//! (`resumable`), each of them journalled, so that a later run knows where to go on.

pub mod failure;
pub mod frame;
mod holder;
mod inspect;
pub mod leaks;
pub mod prepare;
mod prepared;
mod restore;
mod resumable;
pub mod sender;
mod transactional;

use std::{
    cell::RefCell,
    time::{Duration, Instant},
};

use tokio_postgres::Client;

pub use failure::{Failure, SqlFailure};
use frame::Statements;
pub use frame::{Frame, Holding, Limits};
use leaks::Leaks;
pub use prepare::{Job, Mode};
pub use prepared::Prepared;
pub use restore::restore;
use sender::Posted;

use crate::{
    connect::{self, Session},
    formats::{Fence, Shape},
    history::journal::{self, Author, Entry, Kind},
    migration::{Migration, TableName, TransactionMode, quote_literal},
    observe::{self, Sight, Watch},
    source::Source,
    sql::Template,
    stop::Stop,
    wire,
};

/// For fewer migrations, preparing what is said with each of them costs more than it saves.
const WORTH_PREPARING: usize = 10;

/// What is to be done about the statements that the session keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keeping {
    AsIs,
    Forget,
    Prepare,
}

/// Which way the files lead.
#[derive(Debug, Clone, Copy)]
pub enum Direction<'a> {
    /// Each file adds its row to the history.
    Up,
    /// Each file undoes a migration and takes its row out: by the file's position, the row's place in the order.
    Down(&'a [i64]),
}

/// What a session needs to apply migrations.
pub struct Applier<'a> {
    /// The session that works.
    pub session: &'a Session,
    /// For a second session, where a pooler makes one necessary.
    pub connect: &'a connect::Params,
    /// The files.
    pub source: &'a Source,
    /// Which way they lead.
    pub direction: Direction<'a>,
    /// The history table and its columns.
    pub table: &'a TableName,
    /// Its shape.
    pub shape: Shape,
    /// The SQL around a migration.
    pub frame: Frame,
    /// The limits that the settings give; a file's directives win.
    pub limits: Limits,
    /// Who writes the journal.
    pub author: &'a Author,
    /// Whether the journal can be written.
    pub journal: bool,
    /// The session is connected to the server itself, not to a pooler.
    pub direct: bool,
    /// `current_user`, for advice.
    pub user: &'a str,
    /// `current_database()`, for advice.
    pub database: &'a str,
    /// The next migration's message may be sent before the answer to the one before. Not in an attempt that repeats another:
    /// what failed may fail again, and the server would log what was sent behind it each time.
    pub sends_ahead: bool,
    /// Asked before each migration is sent.
    pub stop: &'a Stop,
    /// Told what happens, also by who looks on while a statement runs.
    pub on_event: &'a Listener<'a>,
}

/// Who is told what happens; it tells nobody anything itself.
pub type Listener<'a> = RefCell<&'a mut dyn FnMut(Event<'_>)>;

/// What happens while applying.
#[derive(Debug)]
pub enum Event<'a> {
    /// A migration is about to be sent, or the server is about to come to it.
    Starting(&'a Migration),
    /// A migration was sent behind the one that has started.
    Ahead(&'a Migration),
    /// A migration is in the history; or, where it is undone, no longer.
    Applied {
        /// Which.
        migration: &'a Migration,
        /// From sending, or from the answer to the one before, to the answer.
        elapsed: Duration,
    },
    /// What a second connection sees of a statement that takes long.
    Watching(&'a Sight),
    /// A worth-while remark on the way.
    Note(String),
}

// === impl Applier ===

impl<'a> Applier<'a> {
    /// Runs the jobs in order, up to the first failure.
    pub async fn run(&mut self, jobs: &mut [Job], mode: TransactionMode) -> Result<(), Failure> {
        if mode == TransactionMode::All {
            self.keep_statements_for(jobs).await?;
            let watch = self.watch(&self.limits);
            return self
                .watched(&watch, async |applier| applier.all(jobs).await)
                .await;
        }
        let mut ahead: Option<Posted> = None;
        let mut left = jobs;
        while let Some((job, later)) = std::mem::take(&mut left).split_first_mut() {
            // What has been sent is waited for, whoever asks to stop.
            if ahead.is_none() {
                self.check_stop()?;
            }
            let migration = &self.source.migrations[job.migration];
            self.tell(Event::Starting(migration));
            let started = Instant::now();
            if ahead.is_none() {
                job.load(self.source)?;
                self.keep_statements(job, later.len() + 1).await?;
            }
            let watch = self.watch(&self.limits_of(migration));
            let own = &*job;
            let posted = ahead.take();
            let outcome = self
                .watched(&watch, async |applier| match &own.mode {
                    Mode::Transaction => applier.each(own, posted, later).await,
                    Mode::Pieces(_) => applier.pieces(own).await.map(|()| None),
                })
                .await;
            job.unload();
            ahead = outcome?;
            self.tell(Event::Applied {
                migration,
                elapsed: started.elapsed(),
            });
            left = later;
        }
        Ok(())
    }

    /// Before files that go in one transaction.
    async fn keep_statements_for(&mut self, jobs: &[Job]) -> Result<(), Failure> {
        let may_drop = |job: &Job| {
            job.script()
                .map_or(true, |script| leaks::may_drop(script.text()))
        };
        match jobs.first() {
            Some(first) if !jobs.iter().any(may_drop) => {
                self.keep_statements(first, jobs.len()).await
            }
            _ => Ok(()),
        }
    }

    /// What is to be done about the kept statements before a migration is sent, of so many that are left.
    fn keeping(&self, job: &Job, left: usize) -> Result<Keeping, Failure> {
        let drops = matches!(job.mode, Mode::Pieces(_)) || leaks::may_drop(job.script()?.text());
        let worth = self.frame.holding == Holding::Session && left >= WORTH_PREPARING;
        Ok(match (drops, self.frame.prepared.is_empty()) {
            (true, false) => Keeping::Forget,
            (false, true) if worth => Keeping::Prepare,
            _ => Keeping::AsIs,
        })
    }

    /// Has the session keep what is said with every migration, where enough are to come; or forget it before a file that
    /// may take it away.
    async fn keep_statements(&mut self, job: &Job, left: usize) -> Result<(), Failure> {
        match self.keeping(job, left)? {
            Keeping::AsIs => {}
            Keeping::Forget => {
                self.frame.prepared = Prepared::default();
                // The file may have statements of the same names.
                let _ = wire::execute(self.client(), "DEALLOCATE ALL").await;
            }
            Keeping::Prepare => self.prepare_statements(job).await,
        }
        Ok(())
    }

    async fn prepare_statements(&mut self, job: &Job) {
        let limits = self.limits_of(self.migration(job));
        let mut templates = vec![self.frame.lock(&limits, None)];
        templates.push(self.history_template(job));
        templates.extend(self.record_templates(job, transactional::SINCE_MESSAGE));
        let prepared = Prepared::of(&templates);
        // Names are looked up as who will use them.
        let role = self.frame.set_role();
        let sql = format!("BEGIN;{}{}COMMIT", role.sql, prepared.prepare().sql);
        match wire::execute(self.client(), &sql).await.error {
            None => self.frame.prepared = prepared,
            // Then each is said in full; what is wrong, if anything is, that will tell.
            Some(_) => {
                let _ = wire::execute(self.client(), "ROLLBACK").await;
            }
        }
    }

    fn check_stop(&self) -> Result<(), Failure> {
        self.stop
            .cause()
            .map_or(Ok(()), |_| Err(Failure::Stopped { cancelled: false }))
    }

    fn tell(&self, event: Event<'_>) {
        (self.on_event.borrow_mut())(event);
    }

    /// Who looks on while something runs within these limits.
    fn watch(&self, limits: &Limits) -> Watch<'a> {
        let target = observe::Target {
            pid: self.session.wire_pid().filter(|_| self.direct),
            application_name: &self.frame.application_name,
            server_version: self.frame.server_version,
        };
        Watch::new(self.connect, &target, limits.lock)
    }

    /// Runs something that a second connection looks at when it takes long. Where it ends because of a lock, who was in
    /// the way is part of why.
    async fn watched<T>(
        &mut self,
        watch: &Watch<'_>,
        work: impl AsyncFnOnce(&mut Self) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let on_event = self.on_event;
        let mut tell = |sight: &Sight| (on_event.borrow_mut())(Event::Watching(sight));
        // Boxed: it is large, and would be part of every future around it.
        let work = Box::pin(work(self));
        let mut outcome = watch.beside(work, &mut tell).await;
        if let Err(Failure::Contention(sql)) = &mut outcome {
            sql.blocked_by = observe::list(&watch.blockers());
        }
        outcome
    }

    fn client(&self) -> &Client {
        self.session.client()
    }

    fn migration(&self, job: &Job) -> &Migration {
        &self.source.migrations[job.migration]
    }

    /// The limits of a file: its directives, else the settings.
    fn limits_of(&self, migration: &Migration) -> Limits {
        let directives = &migration.directives;
        Limits {
            lock: directives.lock_timeout.map_or(self.limits.lock, no_zero),
            statement: directives
                .statement_timeout
                .map_or(self.limits.statement, no_zero),
        }
    }

    /// The row of a migration that is undone.
    fn undone_row(&self, job: &Job) -> Option<i64> {
        match self.direction {
            Direction::Up => None,
            Direction::Down(rows) => rows.get(job.migration).copied(),
        }
    }

    /// What says in the tool's table and in the journal that a migration is applied, or undone.
    fn record(&self, job: &Job, duration_ms: &str) -> Statements {
        let mut out = Statements::default();
        for template in self.record_templates(job, duration_ms) {
            out.push(&self.frame.prepared.say(&template));
        }
        out
    }

    fn record_templates(&self, job: &Job, duration_ms: &str) -> Vec<Template> {
        let migration = self.migration(job);
        let (change, kind) = match self.undone_row(job) {
            None => (
                crate::formats::insert(
                    self.source.format,
                    self.table,
                    self.shape,
                    migration,
                    duration_ms,
                ),
                Kind::Applied,
            ),
            Some(row) => (
                Template::new(crate::formats::delete_sql(self.table, row)),
                Kind::Reverted,
            ),
        };
        let mut templates = vec![change];
        if self.journal {
            let mut entry = Entry::about(kind, &migration.version, &migration.checksum);
            entry.duration_ms = Some(duration_ms);
            templates.push(self.author.insert(&entry));
        }
        templates
    }

    /// The check that stands behind the lock: the history still says what the look at it has shown.
    fn history_check(&self, job: &Job) -> String {
        self.frame.prepared.say(&self.history_template(job))
    }

    fn history_template(&self, job: &Job) -> Template {
        if let Some(row) = self.undone_row(job) {
            return Template::new(crate::formats::newest_check_sql(self.table, row));
        }
        let fence = match self.frame.holding {
            Holding::Session => Fence::SinceLook,
            Holding::Transaction | Holding::Elsewhere => Fence::SinceAnything,
        };
        crate::formats::applied_check(
            self.source.format,
            self.table,
            self.shape,
            self.migration(job),
            fence,
        )
    }

    /// Ends a transaction that an error has broken, and notes the failure. A failure of this is not told: the first
    /// error matters, and the connection's end rolls back as well.
    async fn after_failure(&self, failure: &Failure, leaks: Leaks) {
        if matches!(failure, Failure::Connection(_)) {
            return;
        }
        // One message: behind a pooler the next one may meet another server connection.
        let mut sql = Statements::default();
        sql.push("ROLLBACK");
        sql.append(&self.frame.untransactional(leaks));
        let _ = wire::execute(self.client(), &sql.sql).await;
        if let Failure::Sql(sql) = failure
            && self.journal
        {
            let _ = wire::execute(self.client(), &self.failed_sql(sql)).await;
        }
    }

    fn failed_sql(&self, sql: &SqlFailure) -> String {
        let checksum = self
            .source
            .migrations
            .iter()
            .find(|migration| migration.version == sql.version)
            .map(|migration| migration.checksum.as_str());
        let detail = serde_json::json!({
            "message": sql.headline(),
            "sqlstate": sql.code,
            "place": sql.place(),
        });
        let detail = format!("{}::pg_catalog.jsonb", quote_literal(&detail.to_string()));
        let mut entry = Entry::of(Kind::Failed);
        entry.version = Some(&sql.version);
        entry.checksum = checksum;
        entry.statement = sql.statement;
        entry.detail = Some(&detail);
        let role = self.frame.role.as_ref().map_or(String::new(), |role| {
            format!("SET LOCAL ROLE {};", crate::migration::quote_ident(role))
        });
        format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;{role}{};NOTIFY schemagate;COMMIT",
            self.author.insert_sql(&entry)
        )
    }
}

/// `0` means no limit in a directive as in a setting.
fn no_zero(limit: Duration) -> Option<Duration> {
    (!limit.is_zero()).then_some(limit)
}

/// What went wrong when the journal is needed and cannot be had.
pub fn journal_needed(what: &str, database: &str, user: &str) -> Failure {
    Failure::Refused {
        what: format!(
            "{what} runs in pieces, which needs the journal {}, and that cannot be written",
            journal::TABLE
        ),
        next: journal_grant(database, user),
    }
}

/// How to let a role have a journal.
pub fn journal_grant(database: &str, user: &str) -> String {
    let role = crate::migration::quote_ident(user);
    format!(
        "as the database's owner: GRANT CREATE ON DATABASE {} TO {role}; or, where schema schemagate exists: \
         GRANT USAGE, CREATE ON SCHEMA schemagate TO {role}; GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA schemagate TO {role}",
        crate::migration::quote_ident(database)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directive_of_zero_is_no_limit() {
        assert_eq!(no_zero(Duration::ZERO), None);
        assert_eq!(
            no_zero(Duration::from_secs(1)),
            Some(Duration::from_secs(1))
        );
    }
}
