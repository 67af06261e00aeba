//! `status`: every migration, its state, when, how long. Looks only.

use std::collections::HashMap;

use super::{Context, print, setup};
use crate::{
    cli::StatusFormat,
    connect::Session,
    error::Error,
    history::{self, Journal, journal},
    report::status::{Noted, Status},
    runner::{self, Params},
    source::Source,
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
        Journal::Usable => noted(&session, &params, &source).await?,
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

/// What the journal knows of each migration.
async fn noted(
    session: &Session,
    params: &Params,
    source: &Source,
) -> Result<HashMap<String, Noted>, Error> {
    let role = params.history.role.as_deref();
    let table = &params.history.table;
    let ask = |question: String| async move {
        history::ask(session.client(), role, &question)
            .await
            .map_err(|error| runner::Error::History(history::Error::Database(error)))
    };
    let mut noted: HashMap<String, Noted> = HashMap::new();
    for row in ask(journal::applied_sql(table)).await? {
        let mut row = row.into_iter();
        let version = row.next().flatten().unwrap_or_default();
        let entry = noted.entry(version).or_default();
        entry.at = row.next().flatten();
        entry.duration_ms = row.next().flatten().and_then(|ms| ms.parse().ok());
    }
    for row in ask(journal::failed_sql(table)).await? {
        let mut row = row.into_iter();
        let version = row.next().flatten().unwrap_or_default();
        let checksum = row.next().flatten();
        let same = source.migrations.iter().any(|migration| {
            migration.version == version && Some(&migration.checksum) == checksum.as_ref()
        });
        // A file that was corrected since has not failed.
        if same {
            noted.entry(version).or_default().failure =
                Some(row.next().flatten().unwrap_or_else(|| "failed".to_owned()));
        }
    }
    Ok(noted)
}
