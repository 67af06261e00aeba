//! What is tried in the throwaway database.

use std::{cell::RefCell, time::Instant};

use tokio_postgres::error::SqlState;

use crate::{
    apply,
    commands::{Context, print},
    connect::{self, Session},
    duration,
    error::Error,
    exit::ExitStatus,
    formats::Format,
    history,
    migration::{AheadPolicy, Phase},
    plan::resolve_target,
    runner::{self, Done, Interrupted, Params, Task, stopped},
    source::Source,
    stop::Guarded,
    throwaway::{self, Database, Listing, difference, dump::Dump},
    undo::Target,
};

/// So many migrations, the newest, go down and up one by one, each with a look at the whole schema; older ones together.
const STEPS: usize = 200;
/// How many differences a sentence lists.
const LISTED: usize = 10;

/// The steps, and what they share.
pub(super) struct Steps<'a> {
    context: &'a Context<'a>,
    source: &'a Source,
    params: Params,
    database: &'a Database,
    own_server: bool,
    /// What looks between the runs.
    eyes: Session,
    /// What the first way up has applied, for the sum of the run.
    applied: Vec<Done>,
}

/// Since when a step takes.
pub(super) struct Took(Instant);

/// What a run leaves in the tables of schemagate: rows of the history and of the journal.
#[derive(Debug, PartialEq, Eq, Default)]
struct Written(Vec<Option<String>>);

/// What the server says of a history that nothing was ever written to.
const NO_TABLE: [SqlState; 2] = [SqlState::UNDEFINED_TABLE, SqlState::INVALID_SCHEMA_NAME];

// === impl Took ===

impl Took {
    /// A step begins.
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    /// A step is done.
    pub(super) fn tell(&self, step: &str, what: &str) -> Result<(), Error> {
        let elapsed = self.0.elapsed();
        let millis = elapsed.as_millis().clamp(1, u128::from(u64::MAX));
        let millis = u64::try_from(millis).unwrap_or(u64::MAX);
        let took = duration::print(std::time::Duration::from_millis(millis));
        print(&format!("{step:<9} {what} ({took})"))
    }
}

// === impl Steps ===

impl<'a> Steps<'a> {
    pub(super) async fn new(
        context: &'a Context<'a>,
        source: &'a Source,
        mut params: Params,
        database: &'a Database,
        own_server: bool,
    ) -> Result<Self, Error> {
        params.policy.phase = Phase::All;
        let connecting = connect::connect_once(&params.connect);
        let eyes = stopped(&context.stop, connecting).await??;
        Ok(Self {
            context,
            source,
            params,
            database,
            own_server,
            eyes,
            applied: Vec::new(),
        })
    }

    pub(super) async fn run(&mut self, dump: Option<&Dump>) -> Result<(), Error> {
        let roles = self.database.roles().await?;
        if let Some(dump) = dump {
            self.restore(dump).await?;
        }
        let last = self.last()?;
        // Up to the newest that cannot be undone; what stands behind it goes down and up again.
        let took = Took::start();
        let mut applied = 0;
        if let Some(fixed) = self.fixed(last) {
            self.params.policy.target = self.version(fixed);
            applied = self.first_up().await?;
        }
        let floor = self.rows().await?;
        let before = self.listing().await?;
        self.params.policy.target = last.and_then(|last| self.version(last));
        let again = self.first_up().await?;
        applied += again;
        took.tell("up", &format!("{} applied", migrations(applied)))?;
        let after = self.listing().await?;
        self.second_run().await?;
        if self.source.format == Format::Sql && again > 0 {
            self.round_trip(floor, again, &before, &after).await?;
        } else {
            print(&format!("down      {}", self.no_way_down(applied)))?;
        }
        self.tell_roles(&roles).await
    }

    /// The position of the last migration to apply.
    fn last(&self) -> Result<Option<usize>, Error> {
        let migrations = &self.source.migrations;
        match &self.params.policy.target {
            Some(target) => {
                let found = resolve_target(migrations, target);
                found
                    .map(Some)
                    .map_err(|error| runner::Error::Target(error).into())
            }
            None => Ok(migrations.len().checked_sub(1)),
        }
    }

    /// The newest migration without a down file.
    fn fixed(&self, last: Option<usize>) -> Option<usize> {
        let migrations = self.source.migrations.get(..=last?)?;
        migrations
            .iter()
            .rposition(|migration| migration.down.is_none())
    }

    fn version(&self, position: usize) -> Option<String> {
        let migration = self.source.migrations.get(position)?;
        Some(migration.version.clone())
    }

    fn no_way_down(&self, applied: usize) -> String {
        match (self.source.format, applied) {
            (_, 0) => "nothing was applied".to_owned(),
            (Format::Sql, _) => format!(
                "not tried: the newest of the {} has no down file",
                migrations(applied)
            ),
            (format, _) => format!("not tried: the format {} has no down files", format.label()),
        }
    }

    async fn restore(&self, dump: &Dump) -> Result<(), Error> {
        let took = Took::start();
        let session = self.connect().await?;
        let role = self.params.history.role.as_deref();
        let canceller = session.canceller();
        let work = apply::restore(&session, role, &dump.script, &dump.path);
        let cancel = || Some(canceller.cancel());
        let stopped = |cause, statement| Err(runner::Error::Stopped { cause, statement }.into());
        let outcome = match self.context.stop.guard(work, cancel).await {
            Guarded::Ended(outcome) => outcome,
            Guarded::Told(_, cause) => return stopped(cause, Interrupted::Cancelled),
            Guarded::Dropped { cause, .. } => return stopped(cause, Interrupted::Unconfirmed),
        };
        outcome.map_err(runner::Error::Apply)?;
        session.close().await;
        let statements = dump.script.summary().statements;
        took.tell(
            "dump",
            &format!("{} restored: {statements} statements", dump.path),
        )
    }

    /// Applies what is pending; how many that were.
    async fn up(&mut self) -> Result<usize, Error> {
        self.params.task = Task::Migrate;
        let (done, outcome) = self.go().await;
        outcome.map(|()| done.len())
    }

    /// The same for the first time, which the sum of the run tells.
    async fn first_up(&mut self) -> Result<usize, Error> {
        self.params.task = Task::Migrate;
        let (done, outcome) = self.go().await;
        let count = done.len();
        self.applied.extend(done);
        self.context.summary.borrow_mut().done(&self.applied);
        outcome.map(|()| count)
    }

    async fn go(&mut self) -> (Vec<Done>, Result<(), Error>) {
        let done = RefCell::new(Vec::new());
        let context = self.context;
        let outcome = runner::run(
            &mut self.params,
            self.source,
            &context.stop,
            &done,
            &mut |event| context.tell(&event),
        )
        .await;
        let told = |outcome: runner::Outcome| {
            for warning in outcome.plan.warnings {
                tracing::warn!("{warning}");
            }
        };
        (done.into_inner(), outcome.map(told).map_err(Error::Run))
    }

    /// Once everything is applied a run finds nothing to do and writes nothing.
    async fn second_run(&mut self) -> Result<(), Error> {
        let took = Took::start();
        let before = (self.written().await?, self.listing().await?);
        let again = self.up().await?;
        let after = (self.written().await?, self.listing().await?);
        if again > 0 || before.0 != after.0 {
            return Err(finding(
                format!(
                    "a second run was not a no-op: {} applied again",
                    migrations(again)
                ),
                "see which migration changes the history table",
            ));
        }
        changed("a second run has changed the schema", &before.1, &after.1)?;
        took.tell("again", "nothing to do, nothing written")
    }

    /// Down to `floor` rows and up again, one by one, so that a down file that forgets something is found also where an
    /// older one takes the whole table away: before each migration the schema must be the same on both ways.
    async fn round_trip(
        &mut self,
        floor: usize,
        count: usize,
        before: &Listing,
        after: &Listing,
    ) -> Result<(), Error> {
        let took = Took::start();
        let target = self.params.policy.target.take();
        let versions: Vec<String> = self
            .applied
            .iter()
            .map(|done| done.version.clone())
            .collect();
        let rows = self.rows().await?;
        if rows != floor + count || count > versions.len() {
            return Err(strange(count, rows, floor));
        }
        let undone = versions.get(versions.len() - count..).unwrap_or_default();
        let single = count.min(STEPS);
        let mut states = Vec::with_capacity(single);
        for stay in (count - single..count).rev() {
            self.down(floor + stay).await?;
            states.push(self.listing().await?);
        }
        if single < count {
            self.down(floor).await?;
        }
        changed(
            "the down files do not lead back",
            before,
            &self.listing().await?,
        )?;
        let how_many = if count == versions.len() {
            format!("{} undone", migrations(count))
        } else {
            format!(
                "{count} of {} undone, down to the newest without a down file",
                migrations(versions.len())
            )
        };
        took.tell(
            "down",
            &format!("{how_many}; the schema is as it was before"),
        )?;
        let took = Took::start();
        let (older, newer) = undone.split_at(count - single);
        if let Some(version) = older.last() {
            self.params.policy.target = Some(version.clone());
            self.up().await?;
        }
        // What a down file has forgotten is also there after all that are older: the newest is the one to name.
        let mut forgotten = Ok(());
        for version in newer {
            if let Some(undone) = states.pop() {
                let what = format!("the down file of {version} does not undo it");
                let found = changed(&what, &self.listing().await?, &undone);
                forgotten = found.and(forgotten);
            }
            self.params.policy.target = Some(version.clone());
            self.up().await?;
        }
        forgotten?;
        self.params.policy.target = target;
        let again = self.up().await?;
        let rows = self.rows().await?;
        if again > 0 || rows != floor + count {
            return Err(strange(count, rows, floor));
        }
        changed(
            "after down and up the schema is another",
            after,
            &self.listing().await?,
        )?;
        took.tell(
            "up again",
            &format!(
                "{} applied; the schema is as it was after the first time",
                migrations(count)
            ),
        )
    }

    /// Undoes what was applied after the first so many rows.
    async fn down(&mut self, rows: usize) -> Result<(), Error> {
        let ahead = std::mem::replace(&mut self.params.policy.ahead, AheadPolicy::Allow);
        self.params.task = Task::Down(Target::Rows(rows));
        let (_, outcome) = self.go().await;
        self.params.policy.ahead = ahead;
        outcome
    }

    /// Roles belong to the whole server and are not dropped with the database.
    async fn tell_roles(&self, before: &[String]) -> Result<(), Error> {
        if self.own_server {
            return Ok(());
        }
        let now = self.database.roles().await?;
        let new: Vec<&str> = now
            .iter()
            .filter(|role| !before.contains(role))
            .map(String::as_str)
            .collect();
        if new.is_empty() {
            return Ok(());
        }
        tracing::warn!(
            next = "drop them by hand, or validate with `--server auto`",
            "roles belong to the whole server, these were made and stay: {}",
            new.join(", ")
        );
        Ok(())
    }

    async fn connect(&self) -> Result<Session, Error> {
        let connecting = connect::connect_once(&self.params.connect);
        Ok(stopped(&self.context.stop, connecting).await??)
    }

    async fn ask<T>(
        &self,
        what: &str,
        question: impl AsyncFn(&Session) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, Error> {
        let answer = stopped(&self.context.stop, question(&self.eyes)).await?;
        answer.map_err(|error| throwaway::Error::of_server(what, &error).into())
    }

    async fn listing(&self) -> Result<Listing, Error> {
        self.ask("list the schema", async |session| {
            Listing::of(session, &self.params.history.table).await
        })
        .await
    }

    /// How many rows the history has.
    async fn rows(&self) -> Result<usize, Error> {
        let mut on_event = |_: runner::Event<'_>| {};
        let looking = runner::look(&self.params, &self.context.stop, &mut on_event);
        let (snapshot, session) = looking.await?;
        session.close().await;
        Ok(snapshot.rows.len())
    }

    /// What stands in the tables of ours: the rows of the history with their places, and how large the journal is.
    async fn written(&self) -> Result<Written, Error> {
        let history = &self.params.history;
        let sql = format!(
            "SELECT pg_catalog.md5(pg_catalog.string_agg(pg_catalog.concat(t.ctid, t), ',')) FROM {} t UNION ALL \
             SELECT pg_catalog.pg_relation_size(pg_catalog.to_regclass('schemagate.journal'))::pg_catalog.text",
            history.table.quoted()
        );
        self.ask("read the history", async |session| {
            let asked = history::ask(session.client(), history.role.as_deref(), &sql).await;
            match asked {
                // Without a migration there is no table.
                Err(error) if NO_TABLE.iter().any(|state| error.code() == Some(state)) => {
                    Ok(Written::default())
                }
                asked => Ok(Written(asked?.into_iter().flatten().collect())),
            }
        })
        .await
    }
}

fn migrations(count: usize) -> String {
    format!("{count} migration{}", if count == 1 { "" } else { "s" })
}

fn changed(what: &str, before: &Listing, now: &Listing) -> Result<(), Error> {
    let found = difference(before, now);
    if found.is_empty() {
        return Ok(());
    }
    let mut listed = found
        .iter()
        .take(LISTED)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    if found.len() > LISTED {
        listed = format!("{listed} and {} more", found.len() - LISTED);
    }
    Err(finding(
        format!("{what}: {listed}"),
        "correct the down files",
    ))
}

fn strange(count: usize, rows: usize, floor: usize) -> Error {
    finding(
        format!(
            "{} were applied behind {floor}, and the history has {rows} rows",
            migrations(count)
        ),
        "see what else writes into the history",
    )
}

/// What the files are wrong about: the history that they lead to is not the one they came from.
fn finding(what: String, next: &str) -> Error {
    throwaway::Error::new(ExitStatus::History, what, next).into()
}
