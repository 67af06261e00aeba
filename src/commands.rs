//! What each command does, in order. Nothing below this sees the whole configuration.

pub mod baseline;
pub mod doctor;
pub mod down;
pub mod exec;
pub mod finish;
pub mod install;
pub mod journal;
pub mod lint;
pub mod migrate;
pub mod needed;
pub mod next;
pub mod plan;
pub mod probe;
pub mod repair;
pub mod run;
pub mod setup;
pub mod sidecar;
pub mod status;
pub mod validate;
pub mod verify;
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
    observe::{Step, rough},
    report::{self, summary::Summary, termination},
    runner::Event,
    stop::Stop,
    telemetry::bar::{self, Picture},
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
            let done = install::run(path, invocation.config.dry_run);
            (done.map(|()| Then::End), None)
        }),
        Command::Lint(args) => whole(invocation, |_| {
            (lint::run(invocation, args).map(|()| Then::End), None)
        }),
        Command::Probe { endpoint } => probe::run(invocation.config.serving.listen, *endpoint),
        _ => whole(invocation, |summary| connecting(invocation, summary)),
    }
}

/// Notes before; after the work its end is told to people, then to those who wait for it, and the sum comes last.
fn whole(
    invocation: &Invocation,
    work: impl FnOnce(&mut Summary) -> (Result<Then, Error>, Option<Rest>),
) -> ExitStatus {
    let started = Instant::now();
    let mut summary = Summary::new(invocation.command.name(), invocation.config.dry_run);
    let (worked, rest) = work(&mut summary);
    let elapsed = started.elapsed();
    let (outcome, then) = match worked {
        Ok(then) => (Ok(()), then),
        Err(error) => (Err(error), Then::End),
    };
    let status = summary.ended(&outcome, elapsed);
    if let Err(error) = &outcome {
        if let Some(detail) = error.detail() {
            tracing::info!(detail, "detail of the server");
        }
        tell(invocation, error, summary.way_back(error).as_deref());
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
    tell(invocation, &error, None);
    error.exit_status()
}

/// Why the end is not 0, on standard error and where the kubelet looks; `back` is what a person could go back to.
fn tell(invocation: &Invocation, error: &Error, back: Option<&str>) {
    // The file first: nobody may read standard error for a while.
    termination::write(&termination::message(error, back));
    termination::print(error, back, invocation.config.log.is_json());
}

/// The commands that speak with a database, and what is left of them.
fn connecting(
    invocation: &Invocation,
    summary: &mut Summary,
) -> (Result<Then, Error>, Option<Rest>) {
    let rest = match Rest::new(invocation) {
        Ok(rest) => rest,
        Err(error) => return (Err(error), None),
    };
    let context = Context {
        invocation,
        stop: rest.stop(invocation.config.deadline),
        summary: RefCell::new(std::mem::take(summary)),
        metrics: rest.metrics.clone(),
    };
    let outcome = rest.runtime.block_on(dispatch(&context));
    // A signal ends a run without another word.
    bar::clear();
    *summary = context.summary.into_inner();
    (outcome, Some(rest))
}

async fn dispatch(context: &Context<'_>) -> Result<Then, Error> {
    match &context.invocation.command {
        Command::Run { argv } => return run::run(context, argv).await,
        Command::Migrate => migrate::run(context).await?,
        Command::Sidecar => sidecar::run(context).await?,
        Command::Exec { argv } => exec::run(context, argv).await?,
        Command::Wait { until } => wait::run(context, *until).await?,
        Command::Status { format, exit_code } => status::run(context, *format, *exit_code).await?,
        Command::Journal { format, limit } => journal::run(context, *format, *limit).await?,
        Command::Plan(args) => plan::run(context, args).await?,
        Command::Verify { output } => verify::run(context, *output).await?,
        Command::Validate(args) => validate::run(context, args).await?,
        Command::Repair(repair) => repair::run(context, repair).await?,
        Command::Down { to, yes } => down::run(context, to, *yes).await?,
        Command::Doctor { output } => doctor::run(context, *output).await?,
        Command::Baseline { to } => baseline::run(context, to).await?,
        Command::Probe { .. } | Command::Install { .. } | Command::Lint(_) => {}
    }
    Ok(Then::End)
}

// === impl Context ===

impl Context<'_> {
    /// Logs and counts what happens during a run.
    fn tell(&self, event: &Event<'_>) {
        let slow = self.invocation.config.slow_threshold;
        if !show(event) {
            report::log::event(event, slow);
        }
        self.metrics.event(event, slow);
        if matches!(event, Event::RunStarted { .. } | Event::Repaired(_)) {
            self.summary.borrow_mut().began(event);
        }
    }
}

/// Draws the progress of a long statement on a terminal, until the next thing happens. False where there is none.
fn show(event: &Event<'_>) -> bool {
    let Event::Watching { version, sight } = event else {
        bar::clear();
        return false;
    };
    bar::draw(&Picture {
        label: version,
        elapsed: &rough(sight.elapsed),
        percent: sight.step.as_ref().and_then(Step::percent),
        text: &sight.sentence(),
    })
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
