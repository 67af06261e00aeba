//! Looking: what every command asks of a database before it does anything, and how the wait for an answer ends.

use std::collections::HashMap;

use super::{Error, Event, Interrupted, Params};
use crate::{
    connect::{self, Class, Session, Wait},
    formats::{self, Format, Shape},
    history::{self, Journal, Snapshot},
    lock::{Holder, LockKeys},
    migration::{Applied, TableName},
    plan::{self, Plan, Policy},
    source::Source,
    sql::risk::Release,
    stop::{Guarded, Stop},
    wire,
};

/// What the first look has shown.
pub(super) enum First {
    /// The rows alone tell that nothing is to be done.
    Current(Plan),
    /// The lock that was waited for is still elsewhere.
    Elsewhere {
        /// What is still to be done, by whoever has the lock.
        plan: Plan,
        keys: LockKeys,
        holder: Holder,
        rows: usize,
    },
    /// Everything, or why the history cannot be read.
    Looked(Result<Box<Snapshot>, history::Error>),
}

/// What a look shows to a command that writes nothing.
#[derive(Debug)]
pub struct Looked {
    /// What would run, and what forbids it.
    pub plan: Plan,
    /// See [`failures`]; not asked for where nothing is pending.
    pub failures: HashMap<String, String>,
}

/// Connects, looks and goes, for commands that look again and again: as little as it takes to say that nothing is to be
/// done, else everything. `wait` stands in for that of `params`.
pub async fn look_and_go(
    params: &Params,
    source: &Source,
    wait: &Wait,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<Looked, Error> {
    let (session, first) = first_look(params, wait, Some(source), None, on_event)
        .await
        .map_err(Error::Connect)?;
    let looked = match first {
        First::Current(plan) => Ok(Looked {
            plan,
            failures: HashMap::new(),
        }),
        // Nobody waits for a lock here.
        First::Elsewhere { .. } => Err(Error::Inconsistent),
        First::Looked(Ok(snapshot)) => whole(&session, params, source, &snapshot).await,
        First::Looked(Err(error)) => Err(Error::History(error)),
    };
    session.close().await;
    looked
}

async fn whole(
    session: &Session,
    params: &Params,
    source: &Source,
    snapshot: &Snapshot,
) -> Result<Looked, Error> {
    let plan = plan_of(source, snapshot, &params.policy)?;
    let failures = if plan.run.is_empty() || snapshot.journal != Journal::Usable {
        HashMap::new()
    } else {
        failures(session, params, source).await?
    };
    Ok(Looked { plan, failures })
}

/// What reads the risk of the files on this server. Behind a pooler nobody knows where names without a schema go: the
/// `search_path` may be one that another client has left, and a run begins with the server's own.
pub fn release(session: &Session, snapshot: &Snapshot) -> Release {
    let mut release = Release::new(session.server_version());
    if session.wire_pid() == Some(snapshot.pid)
        && let Some((schema, search_path)) = &snapshot.schema
    {
        release.set_current_schema(schema, search_path, &snapshot.user);
    }
    release
}

/// The migrations whose last event in the journal is a failure, by version, with what was noted of it. One whose file
/// was corrected since is not among them.
pub async fn failures(
    session: &Session,
    params: &Params,
    source: &Source,
) -> Result<HashMap<String, String>, Error> {
    let noted = history::noted(session.client(), &params.history, &source.migrations)
        .await
        .map_err(Error::History)?;
    let failures = noted.into_iter();
    let failures = failures.filter_map(|(version, noted)| Some((version, noted.failure?)));
    Ok(failures.collect())
}

/// Connects and looks, for commands that write nothing.
pub async fn look(
    params: &Params,
    stop: &Stop,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<(Snapshot, Session), Error> {
    let looking = first_look(params, &params.wait, None, None, on_event);
    match stopped(stop, looking).await?.map_err(Error::Connect)? {
        (session, First::Looked(snapshot)) => Ok((*snapshot.map_err(Error::History)?, session)),
        (_, First::Current(_) | First::Elsewhere { .. }) => Err(Error::Inconsistent),
    }
}

/// Waits for the database until it has answered the first look: behind a pooler a session alone says nothing.
///
/// With a source the rows are glanced at first; if they show that nothing is to be done, that was all. For who waits for a
/// lock it is all as well if somebody still has it: a whole look, and trying the lock, cost the server twice as much, and
/// very many may be waiting.
pub(super) async fn first_look(
    params: &Params,
    wait: &Wait,
    source: Option<&Source>,
    awaited: Option<LockKeys>,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<(Session, First), connect::Error> {
    let Params {
        connect,
        history,
        policy,
        ..
    } = params;
    let mut on_event = |event: connect::Event<'_>| on_event(Event::Connect(event));
    connect::until(connect, wait, &mut on_event, async |session| {
        if let Some(source) = source
            && let Some((shape, rows)) = history::glance(session.client(), history).await?
        {
            let known = rows.len();
            match glanced(source, shape, rows, policy) {
                Some(plan) if plan.run.is_empty() && known > 0 => return Ok(First::Current(plan)),
                Some(plan) => {
                    if let Some(keys) = awaited
                        && let Some(holder) = seen_holder(session, &keys).await?
                    {
                        return Ok(First::Elsewhere {
                            plan,
                            keys,
                            holder,
                            rows: known,
                        });
                    }
                }
                None => {}
            }
        }
        let looked = Snapshot::first(session.client(), history).await?;
        Ok(First::Looked(looked.map(Box::new)))
    })
    .await
}

/// The plan, if these rows mean that nothing is wrong.
fn glanced(source: &Source, shape: Shape, rows: Vec<Applied>, policy: &Policy) -> Option<Plan> {
    let plan = plan_of_rows(source, Some(shape), rows, policy).ok()?;
    let well = plan.conflicts.is_empty() && !formats::needs_upgrade(source.format, shape);
    well.then_some(plan)
}

/// Who holds the lock, for who can go on without knowing it; nobody where the server does not say so. The error is the
/// connection's.
pub async fn seen_holder(
    session: &Session,
    keys: &LockKeys,
) -> Result<Option<Holder>, tokio_postgres::Error> {
    match holder(session, keys).await {
        Err(error) if connect::classify(&error) == Class::Statement => Ok(None),
        seen => seen,
    }
}

/// Who holds the lock.
pub(super) async fn holder(
    session: &Session,
    keys: &LockKeys,
) -> Result<Option<Holder>, tokio_postgres::Error> {
    let mut reply = wire::query(session.client(), &Holder::select_sql(keys)).await;
    let rows = reply.rows(0)?;
    Ok(rows.first().and_then(Holder::from_row))
}

/// Waits for work that has nothing to cancel: a signal or the deadline drops it.
pub async fn stopped<T>(stop: &Stop, work: impl Future<Output = T>) -> Result<T, Error> {
    let nothing = || None::<std::future::Ready<()>>;
    match stop.guard(work, nothing).await {
        Guarded::Ended(outcome) | Guarded::Told(outcome, _) => Ok(outcome),
        Guarded::Dropped { cause, .. } => Err(Error::Stopped {
            cause,
            statement: Interrupted::Nothing,
        }),
    }
}

/// What a look at the database means for the files; every command that asks it asks it here.
pub fn plan_of(source: &Source, snapshot: &Snapshot, policy: &Policy) -> Result<Plan, Error> {
    plan_of_rows(source, snapshot.shape, snapshot.rows.clone(), policy)
}

/// The same for rows alone, as a glance brings them.
pub fn plan_of_rows(
    source: &Source,
    shape: Option<Shape>,
    rows: Vec<Applied>,
    policy: &Policy,
) -> Result<Plan, Error> {
    if source.needs_history_proof && shape.is_none() {
        return Err(Error::Unproved(source.unproved()));
    }
    let matched = formats::reconcile(source.format, &source.migrations, rows, shape)
        .map_err(Error::Format)?;
    plan::plan(&source.migrations, &matched, policy).map_err(Error::Target)
}

/// Something is to be run, or Drizzle's table is to be brought to the form that its folder needs.
pub fn needs_writing(plan: &Plan, snapshot: &Snapshot, source: &Source) -> bool {
    !plan.run.is_empty()
        || snapshot
            .shape
            .is_some_and(|shape| formats::needs_upgrade(source.format, shape))
}

/// The table of a history that the settings do not name.
pub fn history_table(setting: Option<&TableName>, format: Format) -> TableName {
    setting
        .cloned()
        .unwrap_or_else(|| format.default_history_table())
}
