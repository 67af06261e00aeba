//! `sidecar`: serve the endpoints at once, watch the schema, and migrate where it is asked to.
//!
//! `SCHEMAGATE_DEADLINE` bounds each migrating run, as it would bound the `migrate` that the run stands for; the process
//! itself lives as long as its pod. `SCHEMAGATE_WAIT`, `SCHEMAGATE_WAIT_TIMEOUT` and `SCHEMAGATE_AUTH_GRACE` say when a
//! command gives up, which a sidecar does not.

use std::time::Duration;

use super::{Context, needed::Needed};
use crate::{
    config::{Config, OnFailure, Watch},
    connect,
    error::Error,
    exit::ExitStatus,
    plan,
    report::{self, log::millis, summary::AppliedLine},
    runner::{self, Event},
    serve,
    watch::{self, Audience, Migrate, Need},
};

/// How long the answers that are under way may take at the end.
const DRAIN: Duration = Duration::from_secs(2);

/// Runs the command.
pub async fn run(context: &Context<'_>) -> Result<(), Error> {
    let config = &context.invocation.config;
    refuse(config)?;
    let need = need(context)?;
    let listener = serve::bind(&serve::Params {
        listen: config.serving.listen,
        detail_for_all: config.serving.detail_for_all,
    })
    .map_err(|error| of_serving(&error))?;
    let progress = watch::beginning();
    let server = serve::start(listener, progress.subscribe(), context.metrics.clone())
        .map_err(|error| of_serving(&error))?;
    let params = watch::Params {
        listen: config.serving.watch == Watch::Listen,
        interval: config.serving.poll_interval,
        migrate: migrate(config),
    };
    let audience = Audience {
        progress: &progress,
        metrics: &context.metrics,
        tell: &|event| tell(context, event),
    };
    // The process has no deadline, its runs have.
    let stop = context.stop.again(None);
    let outcome = watch::watch(&need, params, &stop, audience).await;
    server.drain(DRAIN);
    outcome
}

/// What contradicts itself.
fn refuse(config: &Config) -> Result<(), Error> {
    if config.auto_migrate && config.exec_once.is_some() {
        return Err(Error::Refused {
            what: "SCHEMAGATE_AUTO_MIGRATE=true and SCHEMAGATE_EXEC_ONCE are both set: with a marker another tool \
                   migrates, under `schemagate exec`"
                .to_owned(),
            next: "take one of them away".to_owned(),
        });
    }
    Ok(())
}

/// What to look for. A broken folder or a target that it does not have ends here, before anything is served.
fn need(context: &Context<'_>) -> Result<Need, Error> {
    Ok(match Needed::load(context)? {
        Needed::Folder(folder) => {
            if let Some(target) = &folder.params.policy.target {
                plan::resolve_target(&folder.source.migrations, target)
                    .map_err(runner::Error::Target)?;
            }
            Need::Folder {
                source: folder.source,
                params: Box::new(folder.params),
            }
        }
        Needed::Marker(marked) => Need::Marker {
            marker: marked.marker,
            connect: Box::new(marked.connect),
            role: marked.role,
        },
    })
}

/// Whether to migrate. With `SCHEMAGATE_DRY_RUN` nothing is written.
fn migrate(config: &Config) -> Option<Migrate> {
    if config.auto_migrate && config.dry_run {
        tracing::warn!(
            "SCHEMAGATE_DRY_RUN=true: watching only, SCHEMAGATE_AUTO_MIGRATE has no effect"
        );
    }
    (config.auto_migrate && !config.dry_run).then_some(Migrate {
        deadline: config.deadline,
        exit_on_failure: config.serving.on_failure == OnFailure::Exit,
    })
}

fn of_serving(error: &serve::Error) -> Error {
    match error.exit_status() {
        ExitStatus::Usage => Error::Refused {
            what: error.to_string(),
            next: error.help(),
        },
        _ => Error::System(error.to_string()),
    }
}

/// Logs and counts. What the log would repeat every few seconds, for as long as it lasts, is counted only: the change
/// of the state has its line.
fn tell(context: &Context<'_>, event: &Event<'_>) {
    let slow = context.invocation.config.slow_threshold;
    context.metrics.event(event, slow);
    if matches!(event, Event::RunStarted { .. }) {
        context.summary.borrow_mut().began(event);
    }
    if let Event::Applied { migration, elapsed } = event {
        context.summary.borrow_mut().applied.push(AppliedLine {
            version: migration.version.clone(),
            duration_ms: millis(*elapsed),
        });
    }
    let lasts = matches!(
        event,
        Event::LockElsewhere { .. } | Event::Connect(connect::Event::Failed { .. })
    );
    if !lasts {
        report::log::event(event, slow);
    }
}
