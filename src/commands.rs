//! What each command does, in order. Nothing below this sees the whole configuration.

pub mod baseline;
pub mod install;
pub mod migrate;
pub mod setup;
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
    report::{self, summary::Summary, termination},
    shutdown::Shutdown,
    stop::Stop,
};

/// Runs a command to its end: its output, the sum of the run, and the reason where it does not end with 0.
pub fn run(invocation: &Invocation) -> ExitStatus {
    let started = Instant::now();
    for note in &invocation.config.notes {
        tracing::warn!("{note}");
    }
    let summary = RefCell::new(Summary::new(
        name(&invocation.command),
        invocation.config.dry_run,
    ));
    let outcome = block_on(dispatch(invocation, &summary));
    let mut summary = summary.into_inner();
    let status = summary.ended(&outcome, started.elapsed());
    if let Err(error) = &outcome {
        if let Some(detail) = error.detail() {
            tracing::info!(detail, "detail of the server");
        }
        termination::print(error, invocation.config.log.is_json());
        termination::write(&termination::message(error));
    }
    report::summary::print(&summary);
    status
}

/// Runs a future to its end and leaves behind what still hangs: a name look-up runs on a thread that nobody can stop,
/// and dropping the runtime would wait for it.
fn block_on(work: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::System(format!("the runtime could not be started: {error}")))?;
    let outcome = runtime.block_on(work);
    runtime.shutdown_background();
    outcome
}

async fn dispatch(invocation: &Invocation, summary: &RefCell<Summary>) -> Result<(), Error> {
    if let Command::Install { path } = &invocation.command {
        return install::run(path, invocation.config.dry_run);
    }
    let shutdown = Shutdown::install()
        .map_err(|error| Error::System(format!("signals cannot be handled: {error}")))?;
    let stop = Stop::new(shutdown, invocation.config.deadline);
    match &invocation.command {
        Command::Migrate => migrate::run(invocation, &stop, summary).await,
        Command::Status { format, exit_code } => {
            status::run(invocation, &stop, *format, *exit_code).await
        }
        Command::Wait => wait::run(invocation, &stop).await,
        Command::Baseline { to } => baseline::run(invocation, &stop, to, summary).await,
        Command::Install { .. } => Ok(()),
    }
}

const fn name(command: &Command) -> &'static str {
    match command {
        Command::Migrate => "migrate",
        Command::Status { .. } => "status",
        Command::Wait => "wait",
        Command::Baseline { .. } => "baseline",
        Command::Install { .. } => "install",
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
