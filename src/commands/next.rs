//! What the next `migrate` would do, told at the end of a command that changed the history.

use super::{Context, print};
use crate::{
    connect::Wait,
    error::Error,
    plan::Conflict,
    runner::{self, Event, Params},
    source::Source,
};

/// How many versions are listed.
const LISTED: usize = 10;

/// Looks once more, and tells. The work is done: a look that fails is no error.
pub async fn tell(context: &Context<'_>, source: &Source, params: &Params) -> Result<(), Error> {
    let params = Params {
        wait: Wait {
            enabled: false,
            ..params.wait
        },
        ..params.clone()
    };
    let mut on_event = |event: Event<'_>| context.tell(&event);
    let looking = runner::look(&params, &context.stop, &mut on_event);
    let (snapshot, session) = match looking.await {
        Ok(looked) => looked,
        Err(error) => {
            let error = Error::Run(error).what();
            tracing::debug!(error, "what comes next could not be looked up");
            return Ok(());
        }
    };
    session.close().await;
    let plan = match runner::plan_of(source, &snapshot, &params.policy) {
        Ok(plan) => plan,
        Err(error) => return refused(&Error::Run(error).what()),
    };
    let mut summary = context.summary.borrow_mut();
    summary.planned(&source.migrations, &plan);
    drop(summary);
    if !plan.conflicts.is_empty() {
        let conflicts: Vec<String> = plan.conflicts.iter().map(Conflict::to_string).collect();
        return refused(&conflicts.join("; "));
    }
    if plan.run.is_empty() {
        return print("the next `schemagate migrate` has nothing to run");
    }
    let versions = plan.run.iter().filter_map(|&index| {
        let migration = source.migrations.get(index)?;
        Some(migration.version.as_str())
    });
    let listed: Vec<&str> = versions.take(LISTED).collect();
    let more = match plan.run.len() - listed.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    print(&format!(
        "the next `schemagate migrate` would run {}{more}",
        listed.join(", ")
    ))
}

fn refused(why: &str) -> Result<(), Error> {
    print(&format!(
        "the next `schemagate migrate` would be refused: {why}"
    ))
}
