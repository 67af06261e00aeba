//! `baseline --to V`: mark migrations as applied without running them, to adopt a database.

use std::cell::RefCell;

use super::{print, setup};
use crate::{
    cli::Invocation,
    error::Error,
    migration::{OutOfOrder, Phase},
    report::{self, summary::Summary},
    runner::{self, Task},
    stop::Stop,
};

/// Runs the command.
pub async fn run(
    invocation: &Invocation,
    stop: &Stop,
    to: &str,
    summary: &RefCell<Summary>,
) -> Result<(), Error> {
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
        let (snapshot, _) =
            runner::look(&params, stop, &mut |event| report::log::event(&event, None)).await?;
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
        report::log::event(&event, None);
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
