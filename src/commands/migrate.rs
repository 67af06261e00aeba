//! `migrate`: wait, look, lock if anything is pending, apply.

use std::cell::RefCell;

use super::{Context, print, setup};
use crate::{
    apply::{self, Job},
    bootstrap,
    error::Error,
    gate::{self, Facts, Held, Verdict},
    migration::TransactionMode,
    runner::{self, Event, Params, stopped},
    source::Source,
};

/// Runs the command.
pub async fn run(context: &Context<'_>) -> Result<(), Error> {
    let Context {
        invocation,
        summary,
        ..
    } = context;
    let (connect, wait) = setup::connection(invocation)?;
    connect.begin().await;
    let source = setup::load(&invocation.config)?;
    let mut params = setup::params(invocation, &source, connect, wait);
    summary.borrow_mut().format = Some(source.format.label());
    summary.borrow_mut().history = Some(params.history.table.to_string());
    if invocation.config.dry_run {
        return dry_run(context, &source, &params).await;
    }
    apply(context, &source, &mut params).await
}

/// Applies what is pending, or finds that another pod did.
pub(super) async fn apply(
    context: &Context<'_>,
    source: &Source,
    params: &mut Params,
) -> Result<(), Error> {
    let Context { stop, summary, .. } = context;
    let done = RefCell::new(Vec::new());
    let outcome = runner::run(params, source, stop, &done, &mut |event| {
        if let Event::Planned(plan) = &event {
            summary.borrow_mut().planned(&source.migrations, plan);
        }
        context.tell(&event);
    })
    .await;
    let mut summary = summary.borrow_mut();
    if let Ok(outcome) = &outcome {
        for warning in &outcome.plan.warnings {
            tracing::warn!("{warning}");
        }
    }
    summary.done(&done.borrow());
    if let Err(runner::Error::Held(held)) = &outcome {
        summary.held(held);
    }
    let applied = summary.applied.len();
    if outcome.is_ok() && applied == 0 {
        tracing::info!("nothing to apply");
    }
    outcome.map(|_| ()).map_err(Error::Run)
}

/// Prints what would run, or refuses what a run would refuse; writes nothing and takes no lock.
pub(super) async fn dry_run(
    context: &Context<'_>,
    source: &Source,
    params: &Params,
) -> Result<(), Error> {
    let Context { stop, summary, .. } = context;
    let (snapshot, session) = runner::look(params, stop, &mut |event| context.tell(&event)).await?;
    let plan = runner::plan_of(source, &snapshot, &params.policy)?;
    summary.borrow_mut().planned(&source.migrations, &plan);
    if !plan.conflicts.is_empty() {
        return Err(runner::Error::Conflicts(plan.conflicts).into());
    }
    for warning in &plan.warnings {
        tracing::warn!("{warning}");
    }
    let mut held = None;
    if runner::needs_writing(&plan, &snapshot, source) {
        let mut warn = |warning: &str| tracing::warn!("{warning}");
        let mut release = runner::release(&session, &snapshot);
        let jobs = apply::prepare::prepare(
            source,
            &plan.run,
            params.transaction,
            &mut release,
            &mut warn,
        )
        .map_err(runner::Error::Prepare)?;
        let refusing = bootstrap::refuse_foreign(session.client(), &params.history, &snapshot);
        stopped(stop, refusing)
            .await?
            .map_err(runner::Error::from)?;
        let asking = runner::facts_for(session.client(), params, source, &snapshot, &jobs);
        let facts = stopped(stop, asking).await??;
        held = first_held(params, source, &jobs, &facts);
    }
    session.close().await;
    let together = params.transaction == TransactionMode::All;
    let runs = match &held {
        None => plan.run.len(),
        Some(_) if together => 0,
        Some((place, _)) => *place,
    };
    let shown = |index: &usize| {
        let migration = &source.migrations[*index];
        format!("{} ({})", migration.version, migration.path)
    };
    for index in plan.run.iter().take(runs) {
        print(&format!("would apply {}", shown(index)))?;
    }
    let Some((place, held)) = held else {
        return Ok(());
    };
    print(&format!("would end there with exit 7: {held}"))?;
    print(&format!("  to let it through: {}", held.let_through))?;
    for (at, index) in plan.run.iter().enumerate().skip(runs) {
        if at != place {
            print(&format!("would not apply {} either", shown(index)))?;
        }
    }
    summary.borrow_mut().held(&held);
    Ok(())
}

/// The first of the jobs that a gate holds, with its place among them.
fn first_held(
    params: &Params,
    source: &Source,
    jobs: &[Job],
    facts: &Facts,
) -> Option<(usize, Held)> {
    jobs.iter().enumerate().find_map(|(place, job)| {
        match gate::judge(runner::candidate(source, job), &params.gate, facts) {
            Verdict::Held(held) => Some((place, held)),
            Verdict::Open(_) => None,
        }
    })
}
