//! `status --history`: what the journal says of this history. Looks only.

use super::{Context, print, setup};
use crate::{
    cli::StatusFormat,
    error::Error,
    history::{self, Journal, journal},
    report::journal::Notes,
    runner,
};

/// Runs the command.
pub async fn run(context: &Context<'_>, format: StatusFormat) -> Result<(), Error> {
    let Context {
        invocation, stop, ..
    } = context;
    let source = setup::load(&invocation.config)?;
    let (connect, wait) = setup::connection(invocation)?;
    let params = setup::params(invocation, &source, connect, wait);
    let (snapshot, session) =
        runner::look(&params, stop, &mut |event| context.tell(&event)).await?;
    let history = &params.history;
    let rows = match snapshot.journal {
        Journal::Usable => {
            let question = journal::notes_sql(&history.table);
            let asking = history::ask(session.client(), history.role.as_deref(), &question);
            runner::stopped(stop, asking)
                .await?
                .map_err(|error| runner::Error::History(history::Error::Database(error)))?
        }
        Journal::NoSchema | Journal::NoTable => Vec::new(),
        Journal::Denied => {
            return Err(Error::NoJournal);
        }
    };
    session.close().await;
    let notes = Notes::from_rows(&history.table.to_string(), &rows);
    print(&match format {
        StatusFormat::Table => notes.table(),
        StatusFormat::Json => notes.json(),
    })
}
