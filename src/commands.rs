//! What each command does, in order. Nothing below this sees the whole configuration.

pub mod baseline;
pub mod exec;
pub mod finish;
pub mod install;
pub mod journal;
pub mod migrate;
pub mod needed;
pub mod probe;
pub mod run;
pub mod setup;
pub mod sidecar;
pub mod status;
pub mod wait;

use std::{
    cell::RefCell,
    io::{ErrorKind, Write as _},
    time::Instant,
};

use crate::{
    cli::{Command, Invocation},
    error::Error,
    exit::ExitStatus,
    metrics::Metrics,
    report::{self, summary::Summary, termination},
    runner::Event,
    stop::Stop,
};

use finish::{Ended, Rest};

/// What every command is given.
pub struct Context<'a> {
    /// The command and its settings.
    pub invocation: &'a Invocation,
    /// Signals and the deadline.
    pub stop: Stop,
    /// What the run has done so far.
    pub summary: RefCell<Summary>,
    /// What it counts.
    pub metrics: Metrics,
}

/// Runs a command to its end: its output, the sum of the run, and the reason where it does not end with 0.
pub fn run(invocation: &Invocation) -> ExitStatus {
    match &invocation.command {
        Command::Install { path } => whole(invocation, |_| {
            (install::run(path, invocation.config.dry_run), None)
        }),
        Command::Probe { endpoint } => probe::run(invocation.config.serving.listen, *endpoint),
        _ => whole(invocation, |summary| connecting(invocation, summary)),
    }
}

/// Notes before; after the work its end is told to people, then to those who wait for it, and the sum comes last.
fn whole(
    invocation: &Invocation,
    work: impl FnOnce(&mut Summary) -> (Result<(), Error>, Option<Rest>),
) -> ExitStatus {
    let started = Instant::now();
    for note in &invocation.config.notes {
        tracing::warn!("{note}");
    }
    let mut summary = Summary::new(invocation.command.name(), invocation.config.dry_run);
    let (outcome, rest) = work(&mut summary);
    let elapsed = started.elapsed();
    let status = summary.ended(&outcome, elapsed);
    if let Err(error) = &outcome {
        if let Some(detail) = error.detail() {
            tracing::info!(detail, "detail of the server");
        }
        termination::print(error, invocation.config.log.is_json());
        termination::write(&termination::message(error));
    }
    if let Some(rest) = rest {
        let ended = Ended {
            outcome: &outcome,
            status,
            summary: &mut summary,
            elapsed,
        };
        rest.finish(invocation, ended);
    }
    report::summary::print(&summary);
    status
}

/// The commands that speak with a database, and what is left of them.
fn connecting(invocation: &Invocation, summary: &mut Summary) -> (Result<(), Error>, Option<Rest>) {
    let rest = match Rest::new() {
        Ok(rest) => rest,
        Err(error) => return (Err(error), None),
    };
    let context = Context {
        invocation,
        stop: rest.stop(invocation.config.deadline),
        summary: RefCell::new(std::mem::take(summary)),
        metrics: rest.metrics.clone(),
    };
    let outcome = rest.runtime.block_on(command(&context));
    *summary = context.summary.into_inner();
    (outcome, Some(rest))
}

async fn command(context: &Context<'_>) -> Result<(), Error> {
    match &context.invocation.command {
        Command::Migrate => migrate::run(context).await,
        Command::Sidecar => sidecar::run(context).await,
        Command::Run { argv } => run::run(context, argv).await,
        Command::Exec { argv } => exec::run(context, argv).await,
        Command::Wait { until } => wait::run(context, *until).await,
        Command::Status { format, exit_code } => status::run(context, *format, *exit_code).await,
        Command::Journal { format } => journal::run(context, *format).await,
        Command::Baseline { to } => baseline::run(context, to).await,
        Command::Probe { .. } | Command::Install { .. } => Ok(()),
    }
}

// === impl Context ===

impl Context<'_> {
    /// Logs and counts what happens during a run.
    fn tell(&self, event: &Event<'_>) {
        let slow = self.invocation.config.slow_threshold;
        report::log::event(event, slow);
        self.metrics.event(event, slow);
    }
}

/// Prints a command's own output. A reader that went away (`| head`) has seen what it wanted; a full disk is told.
fn print(text: &str) -> Result<(), Error> {
    let written = std::io::stdout().write_all(format!("{}\n", text.trim_end()).as_bytes());
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Error::Refused {
            what: format!("the output cannot be written: {error}"),
            next: "see where standard output goes".to_owned(),
        }),
        _ => Ok(()),
    }
}
