//! `status --history`: what the journal says of this history. Looks only.

use tokio_postgres::error::SqlState;

use super::{
    Context,
    needed::{Folder, Marked, Needed},
    print,
};
use crate::{
    cli::StatusFormat,
    connect::Session,
    error::Error,
    history::{self, Journal, journal},
    report::journal::Notes,
    runner::{self, Event, stopped},
    wire::Row,
};

/// Runs the command.
pub async fn run(
    context: &Context<'_>,
    format: StatusFormat,
    limit: Option<u32>,
) -> Result<(), Error> {
    let (history, rows) = match Needed::load(context)? {
        Needed::Folder(folder) => of_folder(context, &folder, limit).await?,
        Needed::Marker(marked) => of_markers(context, &marked, limit).await?,
    };
    let notes = Notes::from_rows(&history, &rows);
    print(&match format {
        StatusFormat::Table => notes.table(),
        StatusFormat::Json => notes.json(),
    })
}

async fn of_folder(
    context: &Context<'_>,
    folder: &Folder,
    limit: Option<u32>,
) -> Result<(String, Vec<Row>), Error> {
    let Folder { params, .. } = folder;
    let (snapshot, session) =
        runner::look(params, &context.stop, &mut |event| context.tell(&event)).await?;
    let name = params.history.table.to_string();
    let rows = match snapshot.journal {
        Journal::Usable => {
            let role = params.history.role.as_deref();
            notes(context, &session, role, &name, limit)
                .await?
                .map_err(|error| runner::Error::History(history::Error::Database(error)))?
        }
        Journal::NoSchema | Journal::NoTable => Vec::new(),
        Journal::Denied => {
            return Err(Error::NoJournal);
        }
    };
    session.close().await;
    Ok((name, rows))
}

/// All markers of the history: what a tool under `exec` left, whose image has no folder of migrations.
async fn of_markers(
    context: &Context<'_>,
    marked: &Marked,
    limit: Option<u32>,
) -> Result<(String, Vec<Row>), Error> {
    let mut on_event = |event: Event<'_>| context.tell(&event);
    let looking = marked.look(&marked.wait, &mut on_event);
    // A journal that may not be read ends it here.
    let (_, session) = stopped(&context.stop, looking).await??;
    let name = marked.marker.history.clone();
    let role = marked.role.as_deref();
    let asked = notes(context, &session, role, &name, limit).await?;
    session.close().await;
    match asked {
        Ok(rows) => Ok((name, rows)),
        Err(error)
            if [SqlState::UNDEFINED_TABLE, SqlState::INVALID_SCHEMA_NAME]
                .iter()
                .any(|state| error.code() == Some(state)) =>
        {
            Ok((name, Vec::new()))
        }
        Err(error) => Err(runner::Error::History(history::Error::Database(error)).into()),
    }
}

async fn notes(
    context: &Context<'_>,
    session: &Session,
    role: Option<&str>,
    history: &str,
    limit: Option<u32>,
) -> Result<Result<Vec<Row>, tokio_postgres::Error>, Error> {
    let question = journal::notes_sql(history, limit);
    // It may have grown for years.
    let asking = history::ask_patiently(session.client(), role, &question);
    Ok(stopped(&context.stop, asking).await?)
}
