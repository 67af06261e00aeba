//! A run that undoes: `down --to V`.

use super::{Error, Event, Runner, of_own};
use crate::{
    apply::{self, Failure, Job},
    connect::Session,
    history::{self, Journal, Snapshot, journal},
    migration::quote_literal,
    plan::{Plan, State},
    source::Source,
    sql::risk::Release,
    undo::{self, Refusal, Target},
};

/// The files that undo, with the rows that go with them.
#[derive(Debug)]
pub(super) struct Downs {
    /// The down files, newest first.
    pub(super) source: Source,
    /// For each its row's place in the order of the history.
    pub(super) rows: Vec<i64>,
}

/// What is to be undone, newest first, by the positions of the migrations.
pub fn order(
    source: &Source,
    snapshot: &Snapshot,
    plan: &Plan,
    target: Target,
) -> Result<Vec<usize>, Error> {
    Ok(undo::order(
        &source.migrations,
        &snapshot.rows,
        plan,
        target,
    )?)
}

/// The down files of these migrations, or what is wrong with them.
pub fn down_files(source: &Source, run: &[usize]) -> Result<Source, Error> {
    source.undoing(run).map_err(|error| {
        Error::Prepare(apply::prepare::Error {
            next: "nothing was undone; correct the down files".to_owned(),
            issues: error.problems,
        })
    })
}

// === impl Runner ===

impl Runner<'_> {
    /// Reads the down files, and refuses what cannot end well before anything is written.
    pub(super) async fn downs(
        &mut self,
        session: &Session,
        snapshot: &Snapshot,
        plan: &Plan,
    ) -> Result<Downs, Error> {
        let source = down_files(self.source, &plan.run)?;
        let rows = plan.run.iter().filter_map(|position| {
            let Some(State::Applied { row, .. }) = plan.states.get(*position) else {
                return None;
            };
            Some(snapshot.rows.get(*row)?.order)
        });
        let rows = rows.collect();
        self.refuse_unfinished(session, snapshot, plan).await?;
        self.refuse_without_delete(session, snapshot).await?;
        if let Some(warning) = undo::warning(&self.source.migrations, plan, &plan.run) {
            (self.on_event)(Event::Warning(&warning));
        }
        Ok(Downs { source, rows })
    }

    /// Divides the down files.
    pub(super) fn prepare_downs(
        &mut self,
        session: &Session,
        downs: &Downs,
    ) -> Result<Vec<Job>, Error> {
        let all: Vec<usize> = (0..downs.source.migrations.len()).collect();
        apply::prepare::prepare(
            &downs.source,
            &all,
            self.params.transaction,
            &mut Release::new(session.server_version()),
            &mut |warning| (self.on_event)(Event::Warning(warning)),
        )
        .map_err(Error::Prepare)
    }

    /// Refuses to go the one way while a migration is half way on the other: pending ones above one that is half undone,
    /// and what lies beneath one that is half applied.
    pub(super) async fn refuse_unfinished(
        &self,
        session: &Session,
        snapshot: &Snapshot,
        plan: &Plan,
    ) -> Result<(), Error> {
        if snapshot.journal != Journal::Usable {
            return Ok(());
        }
        let history = &self.params.history;
        let question = journal::unfinished_sql(&history.table);
        let rows = history::ask(session.client(), history.role.as_deref(), &question)
            .await
            .map_err(of_own)?;
        let unfinished: Vec<String> = rows
            .into_iter()
            .filter_map(|row| row.into_iter().next()?)
            .collect();
        let is_down = matches!(self.params.task, super::Task::Down(_));
        let migrations = self.source.migrations.iter().zip(&plan.states);
        let halves =
            migrations.filter(|(_, state)| matches!(state, State::Applied { .. }) != is_down);
        for (migration, _) in halves {
            if unfinished.contains(&migration.version) {
                let (half, next) = if is_down {
                    ("half applied", "run `schemagate migrate` to its end first")
                } else {
                    ("half undone", "run `schemagate down` to its end first")
                };
                let version = migration.version.clone();
                let what =
                    format!("some of its pieces were run and others not, it is {half}; {next}");
                return Err(Error::Apply(Failure::Dirty {
                    version,
                    what,
                    undoing: !is_down,
                }));
            }
        }
        Ok(())
    }

    /// Applying only inserts; whoever may do that need not be permitted to delete.
    async fn refuse_without_delete(
        &self,
        session: &Session,
        snapshot: &Snapshot,
    ) -> Result<(), Error> {
        let history = &self.params.history;
        let table = history.table.quoted();
        let question = format!(
            "SELECT pg_catalog.has_table_privilege({}, 'DELETE')",
            quote_literal(&table)
        );
        let rows = history::ask(session.client(), history.role.as_deref(), &question)
            .await
            .map_err(of_own)?;
        if rows.first().and_then(|row| row.first()?.as_deref()) == Some("t") {
            return Ok(());
        }
        let user = crate::migration::quote_ident(&snapshot.user);
        Err(Error::Apply(Failure::Refused {
            what: format!("role {user} may not take rows out of the history {table}"),
            next: format!("as its owner: GRANT DELETE ON TABLE {table} TO {user}"),
        }))
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Conflicts(conflicts) => Self::Conflicts(conflicts),
            Refusal::Usage { what, next } => Self::Prepare(apply::prepare::Error {
                issues: vec![what],
                next,
            }),
        }
    }
}
