//! `validate`: everything from nothing, in a throwaway database.

mod steps;

use super::{Context, print, setup};
use crate::{
    cli::ValidateArgs,
    connect::{self, Wait},
    error::Error,
    runner::{self, Event, Interrupted, stopped},
    source::Source,
    stop::Guarded,
    throwaway::{Database, Server, dump::Dump},
};

use steps::{Steps, Took};

/// Runs the command.
pub async fn run(context: &Context<'_>, args: &ValidateArgs) -> Result<(), Error> {
    let Context {
        invocation,
        summary,
        stop,
        ..
    } = context;
    let source = setup::load(&invocation.config)?;
    summary.borrow_mut().format = Some(source.format.label());
    let dump = args.from_dump.as_deref().map(Dump::read).transpose()?;
    if invocation.config.dry_run {
        return print(&format!(
            "would apply {} migrations in a throwaway database",
            source.migrations.len()
        ));
    }
    if !args.own_server {
        let (connect, wait) = setup::connection(invocation)?;
        return on_server(context, &source, dump.as_ref(), connect, wait, false).await;
    }
    let took = Took::start();
    let var = |name: &str| invocation.vars.os(name).map(std::ffi::OsStr::to_owned);
    let (server, removed) = stopped(stop, Server::start(&var)).await??;
    for folder in removed {
        print(&format!(
            "removed   {}, left by a run that was killed",
            folder.display()
        ))?;
    }
    let outcome = async {
        took.tell(
            "server",
            &format!("started in {}", server.folder().display()),
        )?;
        let connect = server.params(&invocation.config.application_name)?;
        on_server(
            context,
            &source,
            dump.as_ref(),
            connect,
            setup::wait(&invocation.config),
            true,
        )
        .await
    }
    .await;
    let folder = server.folder().to_owned();
    if !server.stop().await {
        tracing::warn!(folder = %folder.display(), "the server still stops; the process beside it removes the folder");
    }
    outcome
}

/// Makes the database, works on it, and drops it whatever came of that.
async fn on_server(
    context: &Context<'_>,
    source: &Source,
    dump: Option<&Dump>,
    outside: connect::Params,
    wait: Wait,
    own_server: bool,
) -> Result<(), Error> {
    let Context {
        invocation, stop, ..
    } = context;
    let role = invocation.config.role.as_deref();
    let took = Took::start();
    let mut on_event = |event: connect::Event<'_>| context.tell(&Event::Connect(event));
    let connecting = Database::connect(&outside, &wait, &mut on_event);
    let session = stopped(stop, connecting).await??;
    if let (Some(role), true) = (role, own_server) {
        Database::create_role(&session, role).await?;
    }
    let canceller = session.canceller();
    let making = Database::create(outside, session, role);
    let interrupted = |cause, statement| Err(runner::Error::Stopped { cause, statement }.into());
    let database = match stop.guard(making, || Some(canceller.cancel())).await {
        Guarded::Ended(made) => made?,
        Guarded::Told(made, cause) => {
            // It was too late to cancel it.
            if let Ok(database) = made
                && let Err(left) = database.drop().await
            {
                tracing::warn!(next = left.next, "{left}");
            }
            return interrupted(cause, Interrupted::Cancelled);
        }
        Guarded::Dropped { cause, .. } => return interrupted(cause, Interrupted::Unconfirmed),
    };
    let outcome = async {
        for name in stopped(stop, database.drop_leftovers()).await?? {
            print(&format!("removed   {name}, left by a run that was killed"))?;
        }
        took.tell(
            "database",
            &format!("{} on PostgreSQL {}", database.name(), database.server()),
        )?;
        let mut params = setup::params(invocation, source, database.params(), wait);
        context.summary.borrow_mut().history = Some(params.history.table.to_string());
        params.gate.off = true;
        let mut steps = Steps::new(context, source, params, &database, own_server).await?;
        steps.run(dump).await
    }
    .await;
    // Nobody goes back to a state of what is thrown away.
    context.summary.borrow_mut().restore = None;
    let took = Took::start();
    let name = database.name().to_owned();
    match (outcome, database.drop().await) {
        (Ok(()), Ok(())) => took.tell("dropped", &name),
        (Ok(()), Err(error)) => Err(error.into()),
        (Err(error), dropped) => {
            // On a server of our own it goes with the server.
            if let (Err(left), false) = (dropped, own_server) {
                tracing::warn!(next = left.next, "{left}");
            }
            Err(error)
        }
    }
}
