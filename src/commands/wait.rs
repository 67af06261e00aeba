//! `wait --for database`: block until the database answers.

use super::setup;
use crate::{
    cli::Invocation,
    connect,
    error::Error,
    report,
    runner::{self, stopped},
    stop::Stop,
    wire,
};

/// Runs the command.
pub async fn run(invocation: &Invocation, stop: &Stop) -> Result<(), Error> {
    let (params, wait) = setup::connection(invocation)?;
    let mut log = |event: connect::Event<'_>| report::log::connecting(&event);
    // Behind a pooler a session alone says nothing of the database.
    let waiting = connect::until(&params, &wait, &mut log, async |session| {
        wire::execute(session.client(), "SELECT 1").await.ok()
    });
    let (session, ()) = stopped(stop, waiting)
        .await?
        .map_err(runner::Error::Connect)?;
    tracing::info!(peer = session.peer(), "database answers");
    session.close().await;
    Ok(())
}
