//! `down`: undoes migrations by their down files.

use std::{cell::RefCell, fmt::Write as _};

use super::{Context, print, setup};
use crate::{
    apply::prepare,
    error::Error,
    formats::Format,
    migration::{AheadPolicy, OutOfOrder, Phase},
    runner::{self, Params, Task},
    source::Source,
    sql::risk::{Release, Risk},
    undo,
};

/// Runs the command.
pub async fn run(context: &Context<'_>, to: &str, yes: bool) -> Result<(), Error> {
    let Context {
        invocation,
        summary,
        ..
    } = context;
    let source = setup::load(&invocation.config)?;
    if source.format != Format::Sql {
        return Err(Error::Refused {
            what: format!("the format {} has no down files", source.format.label()),
            next: "write a new migration that undoes what an older one did".to_owned(),
        });
    }
    let (connect, wait) = setup::connection(invocation)?;
    let mut params = setup::params(invocation, &source, connect, wait);
    summary.borrow_mut().format = Some(source.format.label());
    summary.borrow_mut().history = Some(params.history.table.to_string());
    turn(&mut params, &source, to)?;
    if invocation.config.dry_run || !yes {
        return preview(context, &source, &params, to).await;
    }
    undo(context, &source, &mut params).await.map(|count| {
        if count == 0 {
            tracing::info!(to, "nothing to undo: nothing newer is applied");
        }
    })
}

/// Sets a run to undo. What is undone is up to the person who asks, not to target, phase or policy; rows that this image
/// does not know are refused whatever the settings say, where they are newer.
pub(super) fn turn(params: &mut Params, source: &Source, to: &str) -> Result<(), Error> {
    params.policy.target = None;
    params.policy.phase = Phase::All;
    params.policy.out_of_order = OutOfOrder::Apply;
    params.policy.ahead = AheadPolicy::Allow;
    let target = undo::target(&source.migrations, to).map_err(runner::Error::Target)?;
    params.task = Task::Down(target);
    Ok(())
}

/// Undoes, and tells how many.
pub(super) async fn undo(
    context: &Context<'_>,
    source: &Source,
    params: &mut Params,
) -> Result<usize, Error> {
    let done = RefCell::new(Vec::new());
    let outcome = runner::run(params, source, &context.stop, &done, &mut |event| {
        context.tell(&event);
    })
    .await;
    context.summary.borrow_mut().reverted(&done.borrow());
    outcome.map_err(Error::Run)?;
    Ok(done.into_inner().len())
}

/// Prints what would be undone. Without `--yes` that is a refusal, unless there is nothing to undo.
async fn preview(
    context: &Context<'_>,
    source: &Source,
    params: &Params,
    to: &str,
) -> Result<(), Error> {
    let Context {
        invocation, stop, ..
    } = context;
    let (snapshot, session) = runner::look(params, stop, &mut |event| context.tell(&event)).await?;
    let server_version = session.server_version();
    session.close().await;
    let plan = runner::plan_of(source, &snapshot, &params.policy)?;
    let Task::Down(target) = params.task else {
        return Ok(());
    };
    let run = runner::order_down(source, &snapshot, &plan, target)?;
    if run.is_empty() {
        tracing::info!(to, "nothing to undo: nothing newer is applied");
        return Ok(());
    }
    if let Some(warning) = undo::warning(&source.migrations, &plan, &run) {
        tracing::warn!("{warning}");
    }
    let downs = runner::down_files(source, &run)?;
    let all: Vec<usize> = (0..run.len()).collect();
    let mut warn = |warning: &str| tracing::warn!("{warning}");
    let mut release = Release::new(server_version);
    prepare::prepare(&downs, &all, params.transaction, &mut release, &mut warn)
        .map_err(runner::Error::Prepare)?;
    print(&listing(&downs, server_version)?)?;
    if invocation.config.dry_run {
        return Ok(());
    }
    let many = if run.len() == 1 {
        "migration"
    } else {
        "migrations"
    };
    Err(Error::Refused {
        what: format!(
            "{} {many} would be undone, and --yes is missing; nothing was done",
            run.len()
        ),
        next: format!(
            "look at the statements above, take a backup, then `schemagate down --to {to} --yes`"
        ),
    })
}

/// Every down file with its statements, each with what it risks.
fn listing(downs: &Source, server_version: u32) -> Result<String, Error> {
    let mut text = String::new();
    let mut release = Release::new(server_version);
    for migration in &downs.migrations {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "would undo {} ({})",
            migration.version, migration.path
        );
        let script = prepare::script(downs, migration).map_err(|issues| {
            runner::Error::Prepare(prepare::Error {
                issues,
                next: "nothing was undone; correct the file".to_owned(),
            })
        })?;
        for statement in script.statements() {
            let assessment = release.assess(&statement);
            let risk = match assessment.risk {
                Risk::Safe => String::new(),
                risk => format!("  [{risk}]"),
            };
            let _ = writeln!(
                text,
                "  line {}: {}{risk}",
                assessment.line, assessment.excerpt
            );
        }
    }
    Ok(text)
}
