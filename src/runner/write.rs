//! The part of a run that writes: the ground, the migrations, the notes in the journal.

use std::{cell::RefCell, time::Duration};

use super::{Done, Error, Event, Runner, Task, gates::Gated, of_own, undo::Downs};
use crate::{
    apply::{self, Applier, Direction, Failure, Frame, Job},
    bootstrap::{self, Ground},
    connect::{self, Session},
    formats,
    history::{
        Snapshot,
        journal::{Entry, Kind},
    },
    migration::TransactionMode,
    plan::Plan,
};

/// Where a run works, and on what ground.
pub(super) struct Work<'a> {
    pub(super) session: &'a Session,
    pub(super) snapshot: &'a Snapshot,
    pub(super) frame: &'a Frame,
    pub(super) ground: &'a Ground,
}

// === impl Runner ===

impl Runner<'_> {
    /// Everything that writes.
    pub(super) async fn write(
        &mut self,
        session: &Session,
        snapshot: &Snapshot,
        plan: &Plan,
        frame: Frame,
    ) -> Result<(), Error> {
        let mut jobs = Vec::new();
        let mut gated = Gated::default();
        let mut downs = None;
        if let Task::Down(_) = self.params.task {
            let found = self.downs(session, snapshot, plan).await?;
            jobs = self.prepare_downs(session, &found)?;
            downs = Some(found);
        }
        if self.params.task == Task::Migrate {
            self.refuse_unfinished(session, snapshot, plan).await?;
            let mut release = super::release(session, snapshot);
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
            self.preflight(session, snapshot, &jobs, &frame).await?;
        }
        let building = gated.facts.as_ref().map(|facts| facts.bootstrap);
        let point = self
            .restore_point(session, snapshot, &jobs, building)
            .await?;
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
            self.note_start(
                session,
                snapshot,
                &frame,
                ground.journal,
                building,
                point.as_ref(),
            )
            .await?;
        }
        if !ground.journal && jobs.iter().any(Job::needs_journal) {
            return Err(Error::Apply(apply::journal_needed(
                "a pending migration",
                &snapshot.database,
                &snapshot.user,
            )));
        }
        let work = Work {
            session,
            snapshot,
            frame: &frame,
            ground: &ground,
        };
        let outcome = match self.params.task {
            Task::Migrate => {
                let outcome = self.pass_and_apply(&work, &mut jobs, &mut gated).await;
                match gated.held {
                    Some(held) if outcome.is_ok() => Err(Error::Held(held)),
                    _ => outcome,
                }
            }
            Task::Down(_) => self.apply(&work, &mut jobs, downs.as_ref()).await,
            Task::Baseline => self.mark(session, plan, &frame, &ground).await,
            // Has its own way: see `repair`.
            Task::Repair(_) => Ok(()),
        };
        if let Some(word) = end_of(&outcome).filter(|_| ground.journal) {
            if self.is_whole(&outcome, &jobs) {
                self.note_fingerprint(session).await;
            }
            self.note_end(session, word).await;
        }
        outcome
    }

    /// Applies the jobs in order. Each goes through the gates when its turn comes, unless all go in one transaction:
    /// then they go through together.
    async fn pass_and_apply(
        &mut self,
        work: &Work<'_>,
        jobs: &mut [Job],
        gated: &mut Gated,
    ) -> Result<(), Error> {
        let together = self.params.transaction == TransactionMode::All;
        let mut start = 0;
        while start < jobs.len() {
            let mut end = start;
            while end < jobs.len() && (end == start || together || !self.is_gated(&jobs[end])) {
                if end == start || together {
                    self.pass_gates(work, &jobs[end], gated, start == 0).await?;
                }
                end += 1;
            }
            let jobs = &mut jobs[start..end];
            self.apply(work, jobs, None).await?;
            start = end;
        }
        Ok(())
    }

    async fn apply(
        &mut self,
        work: &Work<'_>,
        jobs: &mut [Job],
        downs: Option<&Downs>,
    ) -> Result<(), Error> {
        let (source, direction) = downs.map_or((self.source, Direction::Up), |downs| {
            (&downs.source, Direction::Down(&downs.rows))
        });

        let sends_ahead = self.lost == 0 && self.retries == 0;
        let Self {
            params,
            stop,
            on_event,
            done,
            under_way,
            ahead,
            lost,
            retries,
            pause,
            ..
        } = self;
        let mut listen = |event: apply::Event<'_>| match event {
            apply::Event::Starting(migration) => {
                *under_way = Some(migration.clone());
                *ahead = None;
                on_event(Event::Starting(migration));
            }
            apply::Event::Ahead(migration) => *ahead = Some(migration.version.clone()),
            apply::Event::Applied { migration, elapsed } => {
                *under_way = None;
                (*lost, *retries) = (0, 0);
                pause.reset();
                done.borrow_mut().push(Done {
                    version: migration.version.clone(),
                    elapsed,
                });
                on_event(match direction {
                    Direction::Up => Event::Applied { migration, elapsed },
                    Direction::Down(_) => Event::Reverted { migration, elapsed },
                });
            }
            apply::Event::Watching(sight) => on_event(Event::Watching {
                version: under_way
                    .as_ref()
                    .map_or("", |migration| &migration.version),
                sight,
            }),
            apply::Event::Note(note) => on_event(Event::Note(&note)),
        };
        let mut applier = Applier {
            session: work.session,
            connect: &params.connect,
            source,
            direction,
            table: &params.history.table,
            shape: work.ground.shape,
            frame: work.frame.clone(),
            limits: params.limits,
            author: &params.author,
            journal: work.ground.journal,
            direct: work.frame.direct,
            sends_ahead,
            user: &work.snapshot.user,
            database: &work.snapshot.database,
            stop,
            on_event: &RefCell::new(&mut listen),
        };
        // The biggest of all futures: on the heap it is not part of every one that leads here.
        let outcome = Box::pin(applier.run(jobs, params.transaction)).await;
        if !matches!(outcome, Err(Failure::Connection(_))) {
            (*under_way, *ahead) = (None, None);
        }
        outcome.map_err(Error::Apply)
    }

    /// Marks what is pending as applied, in one transaction.
    async fn mark(
        &mut self,
        session: &Session,
        plan: &Plan,
        frame: &Frame,
        ground: &Ground,
    ) -> Result<(), Error> {
        let history = &self.params.history;
        let mut sql = String::new();
        for &index in &plan.run {
            let migration = &self.source.migrations[index];
            // The look was before the lock.
            let check = formats::applied_check(
                history.format,
                &history.table,
                ground.shape,
                migration,
                formats::Fence::SinceAnything,
            );
            let row = formats::insert(history.format, &history.table, ground.shape, migration, "0");
            sql.push_str(&check.inline());
            sql.push(';');
            sql.push_str(&row.inline());
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
        Err(Error::Apply(Failure::Stopped { .. })) => Some("stopped"),
        Err(Error::Apply(
            Failure::Sql(_)
            | Failure::Dirty { .. }
            | Failure::Refused { .. }
            | Failure::Unsupported { .. },
        )) => Some("failed"),
        Err(_) => None,
    }
}
