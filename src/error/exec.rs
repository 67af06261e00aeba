//! How `exec` ended, in words.

use crate::{
    child::Ended,
    exit::ExitStatus,
    wrap::{End, Error, Unmarked},
};

pub(super) fn exit_status(error: &Error) -> ExitStatus {
    match error {
        Error::Run(error) => super::of_run(error),
        Error::Program(error) => error.exit_status(),
        Error::Command { end, .. } => end.exit_status(),
        Error::Unmarked { why, .. } => match why {
            Unmarked::Told(signal) => signal.exit_status(),
            Unmarked::Run(error) => match super::of_run(error) {
                status @ (ExitStatus::Refused
                | ExitStatus::Terminated
                | ExitStatus::Interrupted) => status,
                // Whatever it was, the work could not be taken up again in time.
                _ => ExitStatus::Deadline,
            },
        },
    }
}

pub(super) fn what(error: &Error) -> String {
    match error {
        Error::Run(error) => super::what(error),
        Error::Program(error) => error.what(),
        Error::Command { name, end, .. } => end.sentence(name),
        Error::Unmarked { name, marker, why } => match why {
            Unmarked::Told(signal) => format!(
                "{} received and passed on; {name} ended with 0, which then does not tell that its work is done, so the \
                 marker {marker} was not written",
                signal.name()
            ),
            Unmarked::Run(error) => format!(
                "{name} ended with 0, but its marker {marker} could not be written: {}",
                super::what(error)
            ),
        },
    }
}

pub(super) fn next(error: &Error) -> String {
    match error {
        Error::Run(error) => super::next(error),
        Error::Program(error) => error.help().to_owned(),
        Error::Command { end, .. } => match end {
            End::Itself {
                ended: Ended::Signal(9),
                told: None,
            } => "schemagate did not kill it: see `kubectl describe pod` for OOMKilled, and the container's memory limit"
                .to_owned(),
            End::Itself { told: None, .. } => "its output above says why".to_owned(),
            End::Itself { .. } | End::Stubborn { .. } => {
                "start again: the command is run again".to_owned()
            }
            End::LockLost { .. } => {
                "look at the server's log, then start again: the command is run again under the lock"
                    .to_owned()
            }
            End::Deadline { .. } => {
                "see in its output how far it came; start again, or raise SCHEMAGATE_DEADLINE"
                    .to_owned()
            }
        },
        Error::Unmarked { why, .. } => match why {
            Unmarked::Run(error) if super::of_run(error) == ExitStatus::Refused => {
                format!("{}; then start again", super::next(error))
            }
            Unmarked::Told(_) | Unmarked::Run(_) => {
                "start again: the command is skipped where its marker is there after all, and run again where not"
                    .to_owned()
            }
        },
    }
}
