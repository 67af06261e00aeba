//! The end of a one-shot command: its metrics go to the Pushgateway, then the proxy of a mesh is told to end.
//!
//! Both are bounded in time, and neither changes the exit code: a failure is a warning in the log. `run` and `sidecar`
//! are no one-shots. After a panic nothing of this happens: the hook ends the process where it stands.

use std::time::Duration;

use tokio::{
    runtime::Runtime,
    time::{Instant, sleep},
};

use crate::{
    cli::{Command, Invocation, Until},
    config::names::{QUIT_URL, is_one_shot},
    error::Error,
    exit::ExitStatus,
    http::{self, Body, Method, Target},
    metrics::{Facts, Metrics, RunEnd},
    progress::State,
    push::{self, Before, Group},
    report::summary::Summary,
    shutdown::Shutdown,
    stop::Stop,
    telemetry,
};

/// How long each of the two may take.
const LIMIT: Duration = Duration::from_secs(5);
/// How long each may go on after a signal, which leaves five seconds in all, four of them for the cancelled statement.
const AFTER_SIGNAL: Duration = Duration::from_millis(500);
/// The pause before a proxy is asked again that does not listen yet.
const PAUSE: Duration = Duration::from_millis(200);

/// What a command's work needs, and what is still there when it is done.
pub(super) struct Rest {
    /// Where everything runs. It must outlive the work: signals are listened for on it.
    pub(super) runtime: Runtime,
    shutdown: Shutdown,
    /// What is counted.
    pub(super) metrics: Metrics,
}

/// How a command's work ended.
pub(super) struct Ended<'a> {
    /// As the command told it.
    pub(super) outcome: &'a Result<(), Error>,
    /// The exit code.
    pub(super) status: ExitStatus,
    /// What it has done.
    pub(super) summary: &'a mut Summary,
    /// How long it took.
    pub(super) elapsed: Duration,
}

// === impl Rest ===

impl Rest {
    /// From here on signals are told instead of ending the process.
    pub(super) fn new(invocation: &Invocation) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Error::System(format!("the runtime could not be started: {error}")))?;
        let shutdown = runtime
            .block_on(async { Shutdown::install() })
            .map_err(|error| Error::System(format!("signals cannot be handled: {error}")))?;
        let metrics = if is_counted(invocation) {
            Metrics::new()
                .map_err(|error| Error::System(format!("metrics cannot be registered: {error}")))?
        } else {
            Metrics::none()
        };
        Ok(Self {
            runtime,
            shutdown,
            metrics,
        })
    }

    /// A watch for signals and the deadline, which begins now.
    pub(super) fn stop(&self, deadline: Option<Duration>) -> Stop {
        Stop::new(self.shutdown.clone(), deadline)
    }

    /// Tells others of the end.
    pub(super) fn finish(self, invocation: &Invocation, ended: Ended<'_>) {
        if is_one_shot(invocation.command.name()) {
            let telling = tell(invocation, &self.metrics, &self.shutdown, ended);
            self.runtime.block_on(telling);
        }
        // A name look-up runs on a thread that nobody can stop, and dropping the runtime would wait for it.
        self.runtime.shutdown_background();
    }
}

async fn tell(invocation: &Invocation, metrics: &Metrics, shutdown: &Shutdown, ended: Ended<'_>) {
    let config = &invocation.config;
    // A dry run writes nothing: what the last real one has left at the gateway stays.
    if let Some(url) = &config.pushgateway_url
        && !config.dry_run
    {
        let pushing = push(invocation, url, metrics, ended);
        match unless_signalled(shutdown, pushing).await {
            Ok(()) => tracing::debug!(gateway = %url, "metrics pushed"),
            Err(error) => tracing::warn!(
                gateway = %url,
                error,
                "the metrics were not pushed (SCHEMAGATE_PUSHGATEWAY_URL)"
            ),
        }
    }
    if let Some(url) = &config.quit_url {
        told(url, unless_signalled(shutdown, quit(url)).await);
    }
}

/// Whether anybody will see what is counted.
fn is_counted(invocation: &Invocation) -> bool {
    match invocation.command {
        Command::Sidecar => true,
        _ => invocation.config.pushgateway_url.is_some(),
    }
}

/// Tells the proxy that a call has ended which was refused for a mistake in it.
pub fn after_refusal(url: &Target) {
    telemetry::install(&telemetry::Params::default());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else {
        tracing::warn!("the runtime could not be started: {QUIT_URL} is not told");
        return;
    };
    let outcome = runtime.block_on(async {
        match Shutdown::install() {
            Ok(shutdown) => unless_signalled(&shutdown, quit(url)).await,
            Err(_) => quit(url).await,
        }
    });
    told(url, outcome);
    runtime.shutdown_background();
}

fn told(url: &Target, outcome: Result<(), String>) {
    match outcome {
        Ok(()) => tracing::debug!(proxy = %url, "told to quit"),
        Err(error) => {
            tracing::warn!(proxy = %url, error, "it was not told to quit ({QUIT_URL})");
        }
    }
}

/// The work, cut short [`AFTER_SIGNAL`], be the signal's time before or during it.
async fn unless_signalled(
    shutdown: &Shutdown,
    work: impl Future<Output = Result<(), String>>,
) -> Result<(), String> {
    let hurry = async {
        let signal = shutdown.recv().await;
        sleep(AFTER_SIGNAL).await;
        signal
    };
    tokio::select! {
        biased;
        outcome = work => outcome,
        signal = hurry => Err(format!(
            "not done {:.1} s after {}",
            AFTER_SIGNAL.as_secs_f64(),
            signal.name()
        )),
    }
}

/// Asks until somebody listens: the proxy may be starting still.
async fn quit(url: &Target) -> Result<(), String> {
    let end = Instant::now() + LIMIT;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let error = match http::send(url, Method::POST, Body::default(), left).await {
            Ok(answer) if answer.status.is_success() => return Ok(()),
            Ok(answer) => return Err(format!("it answered {}", answer.reason())),
            Err(error) => error,
        };
        if !error.is_refused() || left <= PAUSE {
            return Err(error.to_string());
        }
        sleep(PAUSE).await;
    }
}

async fn push(
    invocation: &Invocation,
    url: &Target,
    metrics: &Metrics,
    ended: Ended<'_>,
) -> Result<(), String> {
    let Ended {
        outcome,
        status,
        summary,
        elapsed,
    } = ended;
    // Of the attempt that ends a wait for the database there is no event.
    let unreached = matches!(status, ExitStatus::Unreachable | ExitStatus::Refused);
    if unreached && !metrics.database_answered() {
        metrics.connect_attempt();
    }
    let failed = outcome.as_ref().err().and_then(Error::failed_version);
    let end = match status {
        ExitStatus::Done => RunEnd::Well,
        // The code of the tool under `exec`.
        ExitStatus::Other(_) => RunEnd::MigrationFailed,
        _ if failed.is_some_and(|version| summary.failed(version)) => RunEnd::MigrationFailed,
        _ => RunEnd::Otherwise,
    };
    metrics.run_ended(end, elapsed);
    let facts = schema_is_asked_for(invocation).then(|| {
        facts(
            invocation,
            summary,
            status,
            end,
            metrics.database_answered(),
        )
    });
    let text = metrics.render_for_push(facts.as_ref());
    let connection = invocation.connection.as_ref();
    let database = connection.and_then(|connection| connection.params.database_name());
    let history = invocation.config.history_table.as_ref();
    let history = history.map(ToString::to_string);
    let group = Group {
        command: invocation.command.name(),
        database: database.as_deref(),
        history: history.as_deref(),
    };
    let before = if status == ExitStatus::Done {
        Before::Replaced
    } else {
        Before::Kept
    };
    let pushed = push::push(url, group, before, text, LIMIT).await;
    pushed.map_err(|error| error.to_string())
}

/// Whether the command's end says something of the schema. `baseline` marks what it is told to, and looks no further.
const fn schema_is_asked_for(invocation: &Invocation) -> bool {
    match invocation.command {
        Command::Migrate
        | Command::Wait {
            until: Until::Schema,
        } => true,
        Command::Exec { .. } => invocation.config.exec_once.is_some(),
        _ => false,
    }
}

fn facts<'a>(
    invocation: &'a Invocation,
    summary: &'a Summary,
    status: ExitStatus,
    end: RunEnd,
    database_up: bool,
) -> Facts<'a> {
    let seen = summary.seen.as_ref();
    let counts = seen.map(|seen| seen.counts.iter().map(|(word, count)| (*word, *count)));
    let newest = seen.and_then(|seen| seen.newest.as_deref());
    // For a tool under `exec` its marker stands for the schema, once it is there.
    let by_marker = !matches!(invocation.command, Command::Migrate);
    let marker = invocation.config.exec_once.as_deref();
    Facts {
        database_up,
        ready: status == ExitStatus::Done && summary.pending.is_empty(),
        state: match end {
            RunEnd::MigrationFailed => Some(State::Failed),
            RunEnd::Well | RunEnd::Otherwise => state(status, summary, database_up),
        },
        migrations: counts.map(Iterator::collect).unwrap_or_default(),
        version: newest.or(marker.filter(|_| by_marker && status == ExitStatus::Done)),
    }
}

/// The state of the contract that an end amounts to in which no migration failed; `None` where it says nothing of the
/// schema.
fn state(status: ExitStatus, summary: &Summary, database_up: bool) -> Option<State> {
    match status {
        ExitStatus::Done if summary.pending.is_empty() => Some(if summary.ahead == 0 {
            State::Ready
        } else {
            State::Ahead
        }),
        ExitStatus::Sql => Some(State::Failed),
        ExitStatus::History => Some(State::Mismatch),
        ExitStatus::Locked => Some(State::WaitingForLock),
        ExitStatus::Held | ExitStatus::Pending => Some(State::Pending),
        ExitStatus::Bug | ExitStatus::Usage => None,
        _ if !summary.pending.is_empty() => Some(State::Pending),
        _ if !database_up => Some(State::Connecting),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states() {
        use ExitStatus as E;
        let looked = |pending: &[&str], ahead| Summary {
            pending: pending.iter().map(ToString::to_string).collect(),
            ahead,
            ..Summary::default()
        };
        for (status, pending, ahead, up, expected) in [
            (E::Done, &[][..], 0, true, Some(State::Ready)),
            (E::Done, &[], 2, true, Some(State::Ahead)),
            (E::Done, &["1"], 0, true, Some(State::Pending)),
            (E::Sql, &["1"], 0, true, Some(State::Failed)),
            (E::History, &[], 0, true, Some(State::Mismatch)),
            (E::Locked, &["1"], 0, true, Some(State::WaitingForLock)),
            (E::Pending, &["1"], 0, true, Some(State::Pending)),
            (E::Unreachable, &[], 0, false, Some(State::Connecting)),
            (E::Refused, &[], 0, false, Some(State::Connecting)),
            (E::Refused, &["1"], 0, true, Some(State::Pending)),
            (E::Deadline, &["1"], 0, false, Some(State::Pending)),
            (E::Terminated, &[], 0, false, Some(State::Connecting)),
            (E::Terminated, &[], 0, true, None),
            (E::Usage, &[], 0, false, None),
        ] {
            let found = state(status, &looked(pending, ahead), up);
            assert_eq!(found, expected, "{status:?}, {pending:?}, {ahead}, {up}");
        }
    }
}
