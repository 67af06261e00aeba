//! `wait --for database`: block until the database answers.

use super::setup;
use crate::{
    cli::Invocation,
    connect,
    error::Error,
    report,
    runner::{self, stopped},
    stop::Stop,
};

/// Runs the command.
pub async fn run(invocation: &Invocation, stop: &Stop) -> Result<(), Error> {
    let (params, wait) = setup::connection(invocation)?;
    let mut log = |event: connect::Event<'_>| report::log::connecting(&event);
    let waiting = connect::connect(&params, &wait, &mut log);
    let session = stopped(stop, waiting)
        .await?
        .map_err(runner::Error::Connect)?;
    tracing::info!(peer = session.peer(), "database answers");
    session.close().await;
    Ok(())
}
