//! `status`: every migration, its state, when, how long. Looks only.

use std::collections::HashMap;

use super::{Context, print, setup};
use crate::{
    cli::StatusFormat,
    error::Error,
    history::{self, Journal},
    report::status::Status,
    runner,
};

/// Runs the command.
pub async fn run(
    context: &Context<'_>,
    format: StatusFormat,
    exit_code: bool,
) -> Result<(), Error> {
    let Context {
        invocation, stop, ..
    } = context;
    let source = setup::load(&invocation.config)?;
    let (connect, wait) = setup::connection(invocation)?;
    let params = setup::params(invocation, &source, connect, wait);
    let (snapshot, session) =
        runner::look(&params, stop, &mut |event| context.tell(&event)).await?;
    let noted = match snapshot.journal {
        Journal::Usable => history::noted(session.client(), &params.history, &source.migrations)
            .await
            .map_err(runner::Error::History)?,
        Journal::NoSchema | Journal::NoTable | Journal::Denied => HashMap::new(),
    };
    session.close().await;
    let plan = runner::plan_of(&source, &snapshot, &params.policy)?;
    let status = Status::new(
        source.format,
        params.history.table.to_string(),
        snapshot.database.clone(),
        &source.migrations,
        &plan,
        &snapshot.rows,
        &noted,
    );
    print(&match format {
        StatusFormat::Table => status.table(),
        StatusFormat::Json => status.json(),
    })?;
    if !exit_code {
        return Ok(());
    }
    if !plan.conflicts.is_empty() {
        return Err(runner::Error::Conflicts(plan.conflicts).into());
    }
    if plan.run.is_empty() {
        return Ok(());
    }
    let versions = plan.run.iter();
    Err(Error::Pending(
        versions
            .map(|&index| source.migrations[index].version.clone())
            .collect(),
    ))
}
