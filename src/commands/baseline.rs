//! `baseline --to V`: mark migrations as applied without running them, to adopt a database.

use std::cell::RefCell;

use super::{Context, print, setup};
use crate::{
    error::Error,
    migration::{OutOfOrder, Phase},
    runner::{self, Task},
};

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
    let mut params = setup::params(invocation, &source, connect, wait);
    // What is marked is up to the person who asks, not to phase or policy.
    params.policy.target = Some(to.to_owned());
    params.policy.phase = Phase::All;
    params.policy.out_of_order = OutOfOrder::Apply;
    params.task = Task::Baseline;
    summary.borrow_mut().format = Some(source.format.label());
    summary.borrow_mut().history = Some(params.history.table.to_string());
    if invocation.config.dry_run {
        let (snapshot, _) = runner::look(&params, stop, &mut |event| context.tell(&event)).await?;
        let plan = runner::plan_of(&source, &snapshot, &params.policy)?;
        if !plan.conflicts.is_empty() {
            return Err(runner::Error::Conflicts(plan.conflicts).into());
        }
        for &index in &plan.run {
            print(&format!(
                "would mark {} as applied",
                source.migrations[index].version
            ))?;
        }
        return Ok(());
    }
    let done = RefCell::new(Vec::new());
    let outcome = runner::run(&mut params, &source, stop, &done, &mut |event| {
        context.tell(&event);
    })
    .await;
    summary.borrow_mut().done(&done.borrow());
    if outcome.is_ok() && done.borrow().is_empty() {
        tracing::info!(
            to,
            "nothing to mark: every migration up to it is in the history"
        );
    }
    outcome.map(|_| ()).map_err(Error::Run)
}
