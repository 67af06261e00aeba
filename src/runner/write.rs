//! The part of a run that writes: the ground, the migrations, the notes in the journal.

use std::time::Duration;

use super::{Done, Error, Event, Runner, Task, gates::Gated, of_own};
use crate::{
    apply::{self, Applier, Failure, Frame, Job},
    bootstrap::{self, Ground},
    connect::{self, Session},
    formats,
    history::{
        Snapshot,
        journal::{Entry, Kind},
    },
    plan::Plan,
    sql::risk::Release,
    wire,
};

/// Where the server stands in its log, and when.
///
/// <https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-ADMIN-BACKUP>
const WHERE_IN_WAL: &str = "SELECT pg_catalog.pg_current_wal_insert_lsn()::pg_catalog.text, pg_catalog.clock_timestamp()::pg_catalog.text";

// === impl Runner ===

impl Runner<'_> {
    /// Everything that writes.
    pub(super) async fn write(
        &mut self,
        session: &Session,
        snapshot: &Snapshot,
        plan: &Plan,
        frame: Frame,
        direct: bool,
    ) -> Result<(), Error> {
        let mut jobs = Vec::new();
        let mut gated = Gated::default();
        if self.params.task == Task::Migrate {
            let mut release = Release::new(session.server_version());
            jobs = apply::prepare::prepare(
                self.source,
                &plan.run,
                self.params.transaction,
                &mut release,
                &mut |warning| (self.on_event)(Event::Warning(warning)),
            )
            .map_err(Error::Prepare)?;
            bootstrap::refuse_foreign(session.client(), &self.params.history, snapshot).await?;
            gated = self.ask_gates(session, snapshot, &mut jobs).await?;
            self.preflight(session, snapshot, &jobs).await?;
        }
        let ground = bootstrap::lay(
            session.client(),
            self.source,
            &self.params.history,
            snapshot,
            &frame,
            &self.params.limits,
            &mut |warning| (self.on_event)(Event::Warning(warning)),
        )
        .await?;
        if !self.started {
            self.note_start(session, snapshot, &frame, ground.journal)
                .await?;
        }
        if ground.journal {
            self.note_approvals(session, &frame, &gated).await?;
        }
        if !ground.journal && jobs.iter().any(Job::needs_journal) {
            return Err(Error::Apply(apply::journal_needed(
                "a pending migration",
                &snapshot.database,
                &snapshot.user,
            )));
        }
        let outcome = match self.params.task {
            Task::Migrate => {
                let outcome = self
                    .apply(session, snapshot, &mut jobs, frame, direct, &ground)
                    .await;
                match gated.held {
                    Some(held) if outcome.is_ok() => Err(Error::Held(held)),
                    _ => outcome,
                }
            }
            Task::Baseline => self.mark(session, plan, &frame, ground).await,
        };
        if let Some(word) = end_of(&outcome).filter(|_| ground.journal) {
            if self.is_whole(&outcome, &jobs) {
                self.note_fingerprint(session).await;
            }
            self.note_end(session, word).await;
        }
        outcome
    }

    async fn apply(
        &mut self,
        session: &Session,
        snapshot: &Snapshot,
        jobs: &mut [Job],
        frame: Frame,
        direct: bool,
        ground: &Ground,
    ) -> Result<(), Error> {
        let Self {
            params,
            source,
            stop,
            on_event,
            done,
            under_way,
            lost,
            retries,
            pause,
            ..
        } = self;
        let mut applier = Applier {
            session,
            connect: &params.connect,
            source,
            table: &params.history.table,
            shape: ground.shape,
            frame,
            limits: params.limits,
            author: &params.author,
            journal: ground.journal,
            direct,
            user: &snapshot.user,
            database: &snapshot.database,
            stop,
            on_event: &mut |event| match event {
                apply::Event::Starting(migration) => {
                    *under_way = Some(migration.clone());
                    on_event(Event::Starting(migration));
                }
                apply::Event::Applied { migration, elapsed } => {
                    *under_way = None;
                    (*lost, *retries) = (0, 0);
                    pause.reset();
                    done.borrow_mut().push(Done {
                        version: migration.version.clone(),
                        elapsed,
                    });
                    on_event(Event::Applied { migration, elapsed });
                }
                apply::Event::Note(note) => on_event(Event::Note(&note)),
            },
        };
        let outcome = applier.run(jobs, params.transaction).await;
        if !matches!(outcome, Err(Failure::Connection(_))) {
            *under_way = None;
        }
        outcome.map_err(Error::Apply)
    }

    /// Marks what is pending as applied, in one transaction.
    async fn mark(
        &mut self,
        session: &Session,
        plan: &Plan,
        frame: &Frame,
        ground: Ground,
    ) -> Result<(), Error> {
        let history = &self.params.history;
        let mut sql = String::new();
        for &index in &plan.run {
            let migration = &self.source.migrations[index];
            // The look was before the lock.
            let check = formats::applied_check_sql(
                history.format,
                &history.table,
                ground.shape,
                migration,
                formats::Fence::SinceAnything,
            );
            let row =
                formats::insert_sql(history.format, &history.table, ground.shape, migration, "0");
            sql.push_str(&check);
            sql.push(';');
            sql.push_str(&row);
            sql.push(';');
            if ground.journal {
                let entry = Entry::about(Kind::Baselined, &migration.version, &migration.checksum);
                sql.push_str(&self.params.author.insert_sql(&entry));
                sql.push(';');
            }
        }
        bootstrap::fenced(session.client(), frame, &self.params.limits, &sql)
            .await
            .map_err(of_own)?;
        for &index in &plan.run {
            let version = &self.source.migrations[index].version;
            (self.on_event)(Event::Note(&format!("marked {version} as applied")));
            self.done.borrow_mut().push(Done {
                version: version.clone(),
                elapsed: Duration::ZERO,
            });
        }
        Ok(())
    }

    /// The start of the run, once, with the WAL position to go back to.
    async fn note_start(
        &mut self,
        session: &Session,
        snapshot: &Snapshot,
        frame: &Frame,
        journal: bool,
    ) -> Result<(), Error> {
        let mut reply = wire::query(session.client(), WHERE_IN_WAL).await;
        let rows = reply.rows(0).map_err(of_own)?;
        let text = |column: usize| rows.first()?.get(column)?.as_deref();
        (self.on_event)(Event::RunStarted {
            wal: text(0).unwrap_or_default(),
            at: text(1).unwrap_or_default(),
        });
        if journal {
            let author = &self.params.author;
            let mut sql = author.insert_sql(&Entry::of(Kind::RunStarted));
            if snapshot.rows.is_empty() && self.params.task == Task::Migrate {
                sql = format!("{sql};{}", author.insert_sql(&Entry::of(Kind::Bootstrap)));
            }
            bootstrap::fenced(session.client(), frame, &self.params.limits, &sql)
                .await
                .map_err(of_own)?;
        }
        self.started = true;
        Ok(())
    }

    /// The end of the run. The work is committed: a failure to note its end is a warning.
    async fn note_end(&mut self, session: &Session, word: &str) {
        let detail = format!("'{{\"outcome\": \"{word}\"}}'");
        let mut entry = Entry::of(Kind::RunFinished);
        entry.detail = Some(&detail);
        let role = self.params.history.role.as_deref();
        let sql = self.params.author.insert_sql(&entry);
        if let Err(error) = bootstrap::in_transaction(session.client(), role, &sql).await {
            let warning = format!(
                "the end of the run could not be journalled: {}",
                connect::describe(&error)
            );
            (self.on_event)(Event::Warning(&warning));
        }
    }
}

/// How the journal calls the end of a run; `None` for one that goes on, here or in another pod.
fn end_of(outcome: &Result<(), Error>) -> Option<&'static str> {
    match outcome {
        Ok(()) => Some("done"),
        Err(Error::Held(_)) => Some("held"),
        Err(Error::Apply(Failure::Stopped)) => Some("stopped"),
        Err(Error::Apply(
            Failure::Sql(_)
            | Failure::Dirty { .. }
            | Failure::Refused { .. }
            | Failure::Unsupported { .. },
        )) => Some("failed"),
        Err(_) => None,
    }
}
