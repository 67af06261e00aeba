//! `wait --for database`: block until the database answers.

use super::{Context, setup};
use crate::{
    cli::Until,
    connect,
    error::Error,
    runner::{self, Event, stopped},
    wire,
};

/// Runs the command.
pub async fn run(context: &Context<'_>, until: Until) -> Result<(), Error> {
    match until {
        Until::Database => database(context).await,
        Until::Schema => Err(Error::System("comes with this issue".to_owned())),
    }
}

async fn database(context: &Context<'_>) -> Result<(), Error> {
    let (params, wait) = setup::connection(context.invocation)?;
    let mut log = |event: connect::Event<'_>| context.tell(&Event::Connect(event));
    // Behind a pooler a session alone says nothing of the database.
    let waiting = connect::until(&params, &wait, &mut log, async |session| {
        wire::execute(session.client(), "SELECT 1").await.ok()
    });
    let (session, ()) = stopped(&context.stop, waiting)
        .await?
        .map_err(runner::Error::Connect)?;
    tracing::info!(peer = session.peer(), "database answers");
    session.close().await;
    Ok(())
}
