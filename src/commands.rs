//! What each command does, in order. Nothing below this sees the whole configuration.

pub mod baseline;
pub mod exec;
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
    ffi::OsString,
    io::{ErrorKind, Write as _},
    time::Instant,
};

use crate::{
    child::{Env, Program},
    cli::{Command, Invocation},
    config::names,
    error::Error,
    exit::ExitStatus,
    metrics::Metrics,
    report::{self, summary::Summary, termination},
    runner::Event,
    shutdown::Shutdown,
    stop::Stop,
};

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

/// What follows when a command has done its work, the sum of the run is printed and the runtime is gone.
#[derive(Debug)]
pub enum Then {
    /// Nothing.
    End,
    /// This process becomes the program.
    Replace(Box<Program>),
}

/// Runs a command to its end: its output, the sum of the run, and the reason where it does not end with 0.
pub fn run(invocation: &Invocation) -> ExitStatus {
    match &invocation.command {
        Command::Install { path } => whole(invocation, |_| {
            install::run(path, invocation.config.dry_run).map(|()| Then::End)
        }),
        Command::Probe { endpoint } => probe::run(invocation.config.serving.listen, *endpoint),
        _ => whole(invocation, |summary| {
            block_on(connecting(invocation, summary))
        }),
    }
}

/// Notes before, the sum after.
fn whole(
    invocation: &Invocation,
    work: impl FnOnce(&mut Summary) -> Result<Then, Error>,
) -> ExitStatus {
    let started = Instant::now();
    for note in &invocation.config.notes {
        tracing::warn!("{note}");
    }
    let mut summary = Summary::new(invocation.command.name(), invocation.config.dry_run);
    let (outcome, then) = match work(&mut summary) {
        Ok(then) => (Ok(()), then),
        Err(error) => (Err(error), Then::End),
    };
    let status = summary.ended(&outcome, started.elapsed());
    if let Err(error) = &outcome {
        if let Some(detail) = error.detail() {
            tracing::info!(detail, "detail of the server");
        }
        tell(invocation, error);
    }
    report::summary::print(&summary);
    match then {
        Then::End => status,
        Then::Replace(program) => replace(invocation, &program),
    }
}

/// Becomes the program; what could not be is the end. The secrets of ours are not for it.
fn replace(invocation: &Invocation, program: &Program) -> ExitStatus {
    let mut env = Env::default();
    env.remove.extend(names::secrets().map(OsString::from));
    let error = Error::Program(program.replace(&env));
    tell(invocation, &error);
    error.exit_status()
}

/// Why the end is not 0, on standard error and where the kubelet looks.
fn tell(invocation: &Invocation, error: &Error) {
    termination::print(error, invocation.config.log.is_json());
    termination::write(&termination::message(error));
}

/// Runs a future to its end and leaves behind what still hangs: a name look-up runs on a thread that nobody can stop,
/// and dropping the runtime would wait for it.
fn block_on<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::System(format!("the runtime could not be started: {error}")))?;
    let outcome = runtime.block_on(work);
    runtime.shutdown_background();
    outcome
}

/// The commands that speak with a database.
async fn connecting(invocation: &Invocation, summary: &mut Summary) -> Result<Then, Error> {
    let shutdown = Shutdown::install()
        .map_err(|error| Error::System(format!("signals cannot be handled: {error}")))?;
    let metrics = Metrics::new()
        .map_err(|error| Error::System(format!("metrics cannot be registered: {error}")))?;
    let context = Context {
        invocation,
        stop: Stop::new(shutdown, invocation.config.deadline),
        summary: RefCell::new(std::mem::take(summary)),
        metrics,
    };
    let outcome = dispatch(&context).await;
    *summary = context.summary.into_inner();
    outcome
}

async fn dispatch(context: &Context<'_>) -> Result<Then, Error> {
    match &context.invocation.command {
        Command::Run { argv } => return run::run(context, argv).await,
        Command::Migrate => migrate::run(context).await?,
        Command::Sidecar => sidecar::run(context).await?,
        Command::Exec { argv } => exec::run(context, argv).await?,
        Command::Wait { until } => wait::run(context, *until).await?,
        Command::Status { format, exit_code } => status::run(context, *format, *exit_code).await?,
        Command::Journal { format } => journal::run(context, *format).await?,
        Command::Baseline { to } => baseline::run(context, to).await?,
        Command::Probe { .. } | Command::Install { .. } => {}
    }
    Ok(Then::End)
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
