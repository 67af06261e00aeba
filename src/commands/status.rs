//! `status`: every migration, its state, when, how long. Looks only.

use std::collections::HashMap;

use super::{
    Context,
    needed::{Folder, Marked, Needed},
    print,
};
use crate::{
    cli::StatusFormat,
    error::Error,
    history::{self, Journal},
    report::{marker::MarkerStatus, status::Status},
    runner::{self, Event, stopped},
};

/// Runs the command.
pub async fn run(
    context: &Context<'_>,
    format: StatusFormat,
    exit_code: bool,
) -> Result<(), Error> {
    match Needed::load(context)? {
        Needed::Folder(folder) => migrations(context, &folder, format, exit_code).await,
        Needed::Marker(marked) => marker(context, *marked, format, exit_code).await,
    }
}

async fn migrations(
    context: &Context<'_>,
    folder: &Folder,
    format: StatusFormat,
    exit_code: bool,
) -> Result<(), Error> {
    let Folder { source, params } = folder;
    let (snapshot, session) =
        runner::look(params, &context.stop, &mut |event| context.tell(&event)).await?;
    let noted = match snapshot.journal {
        Journal::Usable => history::noted(session.client(), &params.history, &source.migrations)
            .await
            .map_err(runner::Error::History)?,
        Journal::NoSchema | Journal::NoTable | Journal::Denied => HashMap::new(),
    };
    session.close().await;
    let plan = runner::plan_of(source, &snapshot, &params.policy)?;
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

/// The marker that stands for the schema.
async fn marker(
    context: &Context<'_>,
    marked: Marked,
    format: StatusFormat,
    exit_code: bool,
) -> Result<(), Error> {
    let mut on_event = |event: Event<'_>| context.tell(&event);
    let looking = marked.look(&marked.wait, &mut on_event);
    let (found, session) = stopped(&context.stop, looking).await??;
    let database = session.label().database;
    session.close().await;
    let seen = marked.seen(&found);
    let status = MarkerStatus::new(&marked.marker, found, database);
    print(&match format {
        StatusFormat::Table => status.table(),
        StatusFormat::Json => status.json(),
    })?;
    if exit_code && !seen.is_current() {
        return Err(Needed::Marker(Box::new(marked)).behind(&seen));
    }
    Ok(())
}
