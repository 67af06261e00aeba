//! `baseline --to V`: mark migrations as applied without running them, to adopt a database.

use std::cell::RefCell;

use super::{Context, next, print, setup};
use crate::{
    bootstrap,
    error::Error,
    migration::{OutOfOrder, Phase},
    plan::{Conflict, Plan, State},
    runner::{self, Params, Task, stopped},
    source::Source,
};

/// How many versions a line lists.
const LISTED: usize = 10;

/// Runs the command.
pub async fn run(context: &Context<'_>, to: &str) -> Result<(), Error> {
    let Context {
        invocation,
        stop,
        summary,
        ..
    } = context;
    let source = setup::load(&invocation.config)?;
    let (connect, wait) = setup::connection(invocation)?;
    let params = setup::params(invocation, &source, connect, wait);
    summary.borrow_mut().format = Some(source.format.label());
    summary.borrow_mut().history = Some(params.history.table.to_string());
    let mut marking = marking(&params, to);
    let plan = look(context, &source, &marking).await?;
    if invocation.config.dry_run {
        for version in versions(&source, &plan.run) {
            print(&format!("would mark {version} as applied"))?;
        }
        return Ok(());
    }
    let done = RefCell::new(Vec::new());
    let outcome = runner::run(&mut marking, &source, stop, &done, &mut |event| {
        context.tell(&event);
    })
    .await;
    let marked: Vec<String> = done.take().into_iter().map(|done| done.version).collect();
    summary.borrow_mut().baselined.clone_from(&marked);
    outcome.map_err(|error| refused(error, to))?;
    for version in &marked {
        print(&format!("marked {version} as applied"))?;
    }
    if marked.is_empty() {
        print(&format!(
            "nothing to mark: every migration up to {to} is in the history already"
        ))?;
    }
    next::tell(context, &source, &params).await
}

/// What is marked is up to the person who asks, not to phase or policy. But what is older than the newest applied was
/// not there when that ran: it takes the word that would let it run, too.
fn marking(params: &Params, to: &str) -> Params {
    let mut params = params.clone();
    params.policy.target = Some(to.to_owned());
    params.policy.phase = Phase::All;
    if params.policy.out_of_order == OutOfOrder::Ignore {
        params.policy.out_of_order = OutOfOrder::Fail;
    }
    params.task = Task::Baseline;
    params
}

/// What would be marked, with what a person should know before.
async fn look(context: &Context<'_>, source: &Source, params: &Params) -> Result<Plan, Error> {
    let Context { stop, .. } = context;
    let to = params.policy.target.as_deref().unwrap_or_default();
    let (snapshot, session) = runner::look(params, stop, &mut |event| context.tell(&event)).await?;
    let plan = runner::plan_of(source, &snapshot, &params.policy)?;
    if !plan.conflicts.is_empty() {
        return Err(refused(runner::Error::Conflicts(plan.conflicts), to));
    }
    let applied = plan.states.iter().enumerate();
    let applied: Vec<usize> = applied
        .filter(|(_, state)| matches!(state, State::Applied { .. }))
        .map(|(index, _)| index)
        .collect();
    if !applied.is_empty() {
        let listed: Vec<&str> = versions(source, &applied).take(LISTED).collect();
        tracing::info!(
            count = applied.len(),
            versions = listed.join(", "),
            "in the history already, left as they are"
        );
    }
    if !plan.run.is_empty() {
        let client = session.client();
        let foreign = bootstrap::refuse_foreign(client, &params.history, &snapshot);
        match stopped(stop, foreign).await? {
            Ok(()) => {}
            Err(bootstrap::Error::Foreign(foreign)) => {
                tracing::info!("{foreign}; adopting the database from it");
            }
            Err(error) => return Err(runner::Error::from(error).into()),
        }
        let asking = bootstrap::has_relations(client, &params.history);
        if !stopped(stop, asking).await?.map_err(runner::Error::from)? {
            tracing::warn!(
                "database {} has no table of anybody: what is marked as applied now will never be created by schemagate; \
                 if that was a mistake, `schemagate repair --forget` takes each mark away",
                snapshot.database
            );
        }
    }
    session.close().await;
    Ok(plan)
}

fn versions<'a>(source: &'a Source, places: &'a [usize]) -> impl Iterator<Item = &'a str> {
    let migrations = places
        .iter()
        .filter_map(|&place| source.migrations.get(place));
    migrations.map(|migration| migration.version.as_str())
}

/// What is out of order is no mismatch of the history, but a baseline that goes back.
fn refused(error: runner::Error, to: &str) -> Error {
    let runner::Error::Conflicts(conflicts) = &error else {
        return error.into();
    };
    let older: Option<Vec<&str>> = conflicts
        .iter()
        .map(|conflict| match conflict {
            Conflict::OutOfOrder { version, .. } => Some(version.as_str()),
            _ => None,
        })
        .collect();
    let Some(older) = older else {
        return error.into();
    };
    Error::Refused {
        what: format!(
            "baseline --to {to} would go back: older than the newest applied and not in the history: {}",
            older.join(", ")
        ),
        next: "if they were applied all the same, set SCHEMAGATE_OUT_OF_ORDER=apply to mark them; else let \
               `schemagate migrate` run them"
            .to_owned(),
    }
}
