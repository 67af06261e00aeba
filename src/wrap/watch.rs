//! The command, the lock and the wishes to stop: whichever comes first decides.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::End;
use crate::{
    child::Child,
    hold::{self, Hold, Waiter},
    shutdown::Signal,
    stop::{Cause, Stop},
};

/// How long a command may take to end after a signal that was forwarded. It may finish the migration that it is at; and
/// there must be time left to tell of the end before the kubelet ends everything, after 30 s unless the pod says otherwise.
///
/// <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination>
const SIGNAL_GRACE: Duration = Duration::from_secs(25);

/// How long it may take after the deadline.
const DEADLINE_GRACE: Duration = Duration::from_secs(5);

/// What became of the command.
pub(super) struct Watched {
    pub(super) end: End,
    /// From its start to its end.
    pub(super) elapsed: Duration,
}

/// Waits for the end of the command, and brings it about when the lock is lost or the deadline passes.
///
/// A lost lock leaves [`hold::GRACE`]: by then the server, which has heard nothing, still keeps the lock.
pub(super) async fn watch(
    child: &mut Child,
    hold: &Hold,
    stop: &Stop,
    name: &str,
    warn: &mut dyn FnMut(&str),
) -> End {
    let mut told: Option<(Signal, Instant)> = None;
    let mut warned = false;
    let mut known = None;
    loop {
        let patience = async {
            match told {
                Some((_, at)) => sleep_until(at + SIGNAL_GRACE).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            ended = child.wait() => {
                if child.has_outlived() {
                    let why = "schemagate stood still and could not keep it; its guard ended the command".to_owned();
                    return End::LockLost { ended: Some(ended), why };
                }
                warn_of_rest(child, name, warn);
                return End::Itself { ended, told: told.map(|(signal, _)| signal) };
            }
            lost = hold.lost() => {
                // Before it is told: nobody may read what we write.
                child.forward(Signal::Terminate);
                warn(&format!("the lock is lost ({}): ending {name}", lost.why));
                let grace = lost.until.saturating_duration_since(Instant::now());
                let ended = child.end_told(grace.min(hold::GRACE)).await;
                return End::LockLost { ended, why: lost.why };
            }
            (sign, until) = hold.sign(known) => {
                known = Some(sign);
                child.vouch(until);
            }
            cause = stop.wait(), if told.is_none() => match cause {
                Cause::Signal(signal) => {
                    child.forward(signal);
                    told = Some((signal, Instant::now()));
                    warn(&format!("{cause}: passing it on to {name}"));
                }
                Cause::Deadline => {
                    child.forward(Signal::Terminate);
                    warn(&format!("{cause}: ending {name}"));
                    let ended = child.end_told(DEADLINE_GRACE).await;
                    return End::Deadline { ended };
                }
            },
            () = patience => {
                let signal = told.map_or(Signal::Terminate, |(signal, _)| signal);
                let ended = child.end(signal, Duration::ZERO).await;
                return End::Stubborn { ended, signal, grace: SIGNAL_GRACE };
            }
            waiter = hold.waiter(), if !warned => {
                warn(&of_waiter(&waiter, name));
                warned = true;
            }
        }
    }
}

/// A tool that takes the key in the server would wait for us, and we for it.
fn of_waiter(waiter: &Waiter, name: &str) -> String {
    format!(
        "{waiter} waits in pg_advisory_lock for the lock under which {name} runs; if that is {name} itself, it waits for \
         ever: choose another SCHEMAGATE_LOCK_KEY, or switch off the tool's own lock"
    )
}

/// What a command leaves running goes on without the lock.
fn warn_of_rest(child: &Child, name: &str, warn: &mut dyn FnMut(&str)) {
    let rest = child.remaining();
    if rest > 0 {
        warn(&format!(
            "{name} has ended and left {rest} running: what that writes from now on is under no lock"
        ));
    }
}
