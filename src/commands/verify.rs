//! `verify`: history, drift, unfinished indexes and constraints, and the user's assertions; changes nothing.

mod assert;
mod schema;

use std::cell::RefCell;

use super::{
    Context,
    needed::{Folder, Marked, Needed, Seen},
    print,
};
use crate::{
    cli::Output,
    connect::{Canceller, Session},
    error::Error,
    history::{self, Journal, journal},
    plan::{Conflict, Plan},
    report::verify::{Finding, Report},
    runner::{self, Event, Interrupted},
    source::{self, Assertion, Source},
    stop::Guarded,
};

/// Runs the command.
pub async fn run(context: &Context<'_>, output: Output) -> Result<(), Error> {
    let config = &context.invocation.config;
    let assertions = match &config.verify_dir {
        Some(dir) => source::assertions(dir, config.allow_empty)?,
        None => Vec::new(),
    };
    for assertion in assertions.iter().filter(|one| one.is_empty()) {
        tracing::warn!(
            "{}: no statement, so it holds whatever the schema is",
            assertion.name
        );
    }
    let needed = Needed::load(context)?;
    let cancellable: RefCell<Option<Canceller>> = RefCell::new(None);
    let cancel = || {
        let canceller = cancellable.borrow().clone();
        canceller.map(|canceller| async move { canceller.cancel().await })
    };
    let looking = look(context, &needed, &assertions, &cancellable);
    let (report, seen) = match context.stop.guard(looking, cancel).await {
        Guarded::Ended(looked) => looked?,
        Guarded::Told(_, cause) | Guarded::Dropped { cause, .. } => {
            let statement = Interrupted::Nothing;
            return Err(runner::Error::Stopped { cause, statement }.into());
        }
    };
    print(&match output {
        Output::Json => report.json(),
        _ => report.text(),
    })?;
    if let Some(first) = report.findings.first() {
        return Err(Error::Mismatch {
            what: report.headline(),
            next: first.next.clone(),
        });
    }
    if seen.pending.is_empty() {
        Ok(())
    } else {
        Err(needed.behind(&seen))
    }
}

async fn look(
    context: &Context<'_>,
    needed: &Needed,
    assertions: &[Assertion],
    cancellable: &RefCell<Option<Canceller>>,
) -> Result<(Report, Seen), Error> {
    let (session, mut report, seen, role) = match needed {
        Needed::Folder(folder) => of_folder(context, folder).await?,
        Needed::Marker(marked) => of_marker(context, marked).await?,
    };
    *cancellable.borrow_mut() = Some(session.canceller());
    report.pending.clone_from(&seen.pending);
    let config = &context.invocation.config;
    schema::look(&session, role, &config.drift_ignore, &mut report).await?;
    assert::run(&session, role, config, assertions, &mut report).await?;
    *cancellable.borrow_mut() = None;
    session.close().await;
    report.judge();
    Ok((report, seen))
}

type Looked<'a> = (Session, Report, Seen, Option<&'a str>);

async fn of_folder<'a>(context: &Context<'_>, folder: &'a Folder) -> Result<Looked<'a>, Error> {
    let Folder { source, params } = folder;
    let (snapshot, session) =
        runner::look(params, &context.stop, &mut |event| context.tell(&event)).await?;
    let plan = runner::plan_of(source, &snapshot, &params.policy)?;
    context
        .summary
        .borrow_mut()
        .planned(&source.migrations, &plan);
    let mut report = Report::new(snapshot.database.clone(), params.history.table.to_string());
    report.warnings.clone_from(&plan.warnings);
    let conflicts = plan.conflicts.iter().map(of_conflict);
    report.findings.extend(conflicts);
    let role = params.history.role.as_deref();
    if snapshot.journal == Journal::Usable {
        let question = journal::unfinished_sql(&params.history.table);
        let rows = history::ask(session.client(), role, &question).await;
        let rows = rows.map_err(of_database)?;
        let versions = rows.into_iter().filter_map(|row| row.into_iter().next()?);
        report
            .findings
            .extend(versions.map(|version| half_there(&version)));
    }
    let mut seen = Seen {
        pending: versions(source, &plan),
        ..Seen::default()
    };
    if !seen.pending.is_empty() && snapshot.journal == Journal::Usable {
        let mut failures = runner::failures(&session, params, source).await?;
        let mut failed = seen.pending.iter().filter_map(|version| {
            let message = failures.remove(version)?;
            Some(format!("the last attempt at {version} failed: {message}"))
        });
        seen.failure = failed.next();
        report.warnings.extend(seen.failure.clone());
    }
    Ok((session, report, seen, role))
}

fn versions(source: &Source, plan: &Plan) -> Vec<String> {
    let migrations = plan
        .run
        .iter()
        .filter_map(|&index| source.migrations.get(index));
    migrations
        .map(|migration| migration.version.clone())
        .collect()
}

fn of_conflict(conflict: &Conflict) -> Finding {
    let (name, what) = match conflict {
        Conflict::Changed { version, .. } => (version, "changed"),
        Conflict::OutOfOrder { version, .. } => (version, "out of order"),
        Conflict::Missing { row } => (row, "missing"),
        Conflict::Ahead { row } => (row, "ahead"),
    };
    let (message, next) = (conflict.to_string(), conflict.help());
    Finding::of("history", "migration", name, what, message, next)
}

fn half_there(version: &str) -> Finding {
    Finding::of(
        "history",
        "migration",
        version,
        "dirty",
        format!("{version} is half there: it runs piece by piece, and not all of them are done"),
        format!(
            "run `schemagate migrate`, which goes on where it ended; after a look at the database, `schemagate repair \
             --clear-dirty {version}`"
        ),
    )
}

async fn of_marker<'a>(context: &Context<'_>, marked: &'a Marked) -> Result<Looked<'a>, Error> {
    let mut on_event = |event: Event<'_>| context.tell(&event);
    let (state, session) = marked.look(&marked.wait, &mut on_event).await?;
    let seen = marked.seen(&state);
    let mut report = Report::new(session.label().database, marked.marker.history.clone());
    report.warnings.extend(seen.failure.clone());
    context
        .summary
        .borrow_mut()
        .pending
        .clone_from(&seen.pending);
    Ok((session, report, seen, marked.role.as_deref()))
}

/// An error of a question that is the same for every schema.
fn of_database(error: tokio_postgres::Error) -> Error {
    runner::Error::History(history::Error::Database(error)).into()
}
