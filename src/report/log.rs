//! Events of a run as lines of the log: a short phrase, the data in fields.

use std::time::Duration;

use tracing::{debug, info, warn};

use crate::{
    apply::SqlFailure,
    connect, duration,
    lock::Holder,
    observe::{Sight, Step, Waiting},
    runner::Event,
};

/// Logs one event. `slow` is `SCHEMAGATE_SLOW_THRESHOLD`.
pub fn event(event: &Event<'_>, slow: Option<Duration>) {
    match event {
        // What is worth telling follows by itself.
        Event::Planned(_) => {}
        Event::Connect(event) => connecting(event),
        Event::LockElsewhere {
            holder,
            next_in,
            told,
        } => {
            let holder = holder.map_or_else(|| "unknown".to_owned(), Holder::to_string);
            let next_look_ms = millis(*next_in);
            if *told {
                debug!(%holder, next_look_ms, "lock is still held elsewhere");
            } else {
                info!(%holder, next_look_ms, "lock is held elsewhere");
            }
        }
        Event::LockTaken { key } => debug!(key, "lock taken"),
        Event::RunStarted {
            wal,
            at,
            restore_point,
        } => info!(wal, at, restore_point, "run started"),
        Event::Repaired(mend) => {
            info!(version = %mend.version, what = mend.kind.word(), "repaired: {}", mend.sentence);
        }
        Event::Aside(text) => debug!("{text}"),
        Event::Starting(migration) => {
            debug!(version = %migration.version, path = %migration.path, "applying");
        }
        Event::Applied { migration, elapsed } => {
            info!(version = %migration.version, elapsed_ms = millis(*elapsed), "applied");
            if slow.is_some_and(|slow| *elapsed > slow) {
                warn!(
                    version = %migration.version,
                    elapsed_ms = millis(*elapsed),
                    "slow migration: above SCHEMAGATE_SLOW_THRESHOLD"
                );
            }
        }
        Event::Reverted { migration, elapsed } => {
            info!(version = %migration.version, elapsed_ms = millis(*elapsed), "undone");
        }
        Event::Watching { version, sight } => watching(version, sight),
        Event::Retry {
            failure,
            attempt,
            next_in,
        } => warn!(
            version = %failure.version,
            attempt,
            next_ms = millis(*next_in),
            blocked_by = failure.blocked_by,
            error = %failure.headline(),
            "{}; trying again",
            why_again(failure)
        ),
        Event::Lost { error, version } => warn!(
            error,
            version, "connection lost; connecting again to learn what became of it"
        ),
        Event::Warning(text) => warn!("{text}"),
        Event::Note(text) => info!("{text}"),
    }
}

fn why_again(failure: &SqlFailure) -> &'static str {
    match failure.code.as_str() {
        _ if failure.is_exhaustion() => {
            "rolled back, the server has run out of disk space or memory"
        }
        "40P01" => "rolled back to end a deadlock with another session",
        "40001" => "rolled back because another transaction came in between",
        _ => "rolled back so that the application does not queue behind it",
    }
}

/// How far a long statement is. Without a bar a line now and then has to do.
fn watching(version: &str, sight: &Sight) {
    if !sight.is_line {
        return;
    }
    let waiting = sight.waiting.as_ref();
    let step = sight.step.as_ref();
    info!(
        version,
        elapsed_ms = millis(sight.elapsed),
        command = step.map(|step| step.command.as_str()),
        phase = step
            .map(|step| step.phase.as_str())
            .filter(|phase| !phase.is_empty()),
        relation = step.and_then(|step| step.relation.as_deref()),
        done = step.and_then(|step| step.done),
        total = step.and_then(|step| step.total),
        unit = step
            .filter(|step| step.done.is_some())
            .map(|step| step.unit),
        percent = step.and_then(Step::percent),
        waits_for = waiting.map(|waiting| waiting.what.as_str()),
        waits_ms = waiting.and_then(|waiting| waiting.since).map(millis),
        blocked_by = waiting.and_then(Waiting::blocked_by),
        "{}",
        if waiting.is_some() {
            "waiting for a lock"
        } else {
            "still running"
        }
    );
}

/// Waiting is worth a line a second at most: the backoff sees to that.
pub fn connecting(event: &connect::Event<'_>) {
    match event {
        connect::Event::Failed {
            attempt,
            error,
            next_in,
        } => info!(attempt, next_ms = millis(*next_in), %error, "waiting for the database"),
        connect::Event::Connected {
            attempt,
            elapsed,
            peer,
        } => debug!(attempt, elapsed_ms = millis(*elapsed), peer, "connected"),
    }
}

/// Milliseconds for a field.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A duration for people.
pub fn short(milliseconds: i64) -> String {
    match u64::try_from(milliseconds) {
        Ok(0) => "<1ms".to_owned(),
        Ok(milliseconds) => duration::print(Duration::from_millis(milliseconds)),
        Err(_) => String::new(),
    }
}
