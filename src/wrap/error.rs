//! How `exec` ends otherwise than well.

use std::time::Duration;

use crate::{
    child::{self, Ended},
    exit::ExitStatus,
    runner,
    shutdown::Signal,
};

/// Why `exec` ended otherwise than with 0.
#[derive(Debug)]
pub enum Error {
    /// Before the command ran: what every run may end with.
    Run(runner::Error),
    /// The program cannot be run.
    Program(child::Error),
    /// The command ended otherwise than with 0, or was ended.
    Command {
        /// Its name.
        name: String,
        /// How it ended.
        end: End,
        /// How long it ran.
        elapsed: Duration,
    },
    /// The command ended with 0, and its marker is not known to be in the journal.
    Unmarked {
        /// Its name.
        name: String,
        /// `SCHEMAGATE_EXEC_ONCE`.
        marker: String,
        /// Why.
        why: Unmarked,
    },
}

/// Why a command that ended with 0 has no marker.
#[derive(Debug)]
pub enum Unmarked {
    /// It had been told to end. Many programs end with 0 then, wherever they are.
    Told(Signal),
    /// The row could not be written.
    Run(runner::Error),
}

/// The end of a command, and who decided it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// It ended by itself, perhaps after a signal that was passed on.
    Itself {
        /// How.
        ended: Ended,
        /// The signal.
        told: Option<Signal>,
    },
    /// The lock was lost.
    LockLost {
        /// How it ended then; `None` when the kernel did not end it.
        ended: Option<Ended>,
        /// What became of the lock's connection.
        why: String,
    },
    /// The deadline passed.
    Deadline {
        /// How it ended then.
        ended: Option<Ended>,
    },
    /// It did not heed a signal that was passed on.
    Stubborn {
        /// How it ended then.
        ended: Option<Ended>,
        /// The signal.
        signal: Signal,
        /// How long it was waited for.
        grace: Duration,
    },
}

// === impl Error ===

impl From<runner::Error> for Error {
    fn from(error: runner::Error) -> Self {
        Self::Run(error)
    }
}

// === impl End ===

impl End {
    /// The command's own code where it ended by itself, 10 where it was ended.
    pub fn exit_status(&self) -> ExitStatus {
        match self {
            Self::Itself { ended, .. } => ExitStatus::Other(ended.exit_code()),
            Self::LockLost { .. } | Self::Deadline { .. } | Self::Stubborn { .. } => {
                ExitStatus::Deadline
            }
        }
    }

    /// How the process ended, where it did.
    pub fn ended(&self) -> Option<Ended> {
        match self {
            Self::Itself { ended, .. } => Some(*ended),
            Self::LockLost { ended, .. }
            | Self::Deadline { ended }
            | Self::Stubborn { ended, .. } => *ended,
        }
    }

    /// The end of the command `name` as a sentence.
    pub fn sentence(&self, name: &str) -> String {
        let ended = self.ended().map_or_else(
            || format!("{name} could not be ended"),
            |ended| sentence(name, ended),
        );
        match self {
            Self::Itself { told: None, .. } => ended,
            Self::Itself {
                told: Some(signal), ..
            } => format!("{} received and passed on; {ended}", signal.name()),
            Self::LockLost { why, .. } => {
                format!("the lock was lost while {name} ran under it ({why}); told to end, {ended}")
            }
            Self::Deadline { .. } => {
                format!("the deadline passed (SCHEMAGATE_DEADLINE); told to end, {ended}")
            }
            Self::Stubborn { signal, grace, .. } => format!(
                "{} received and passed on; {name} did not end within {} s; {ended}",
                signal.name(),
                grace.as_secs()
            ),
        }
    }
}

fn sentence(name: &str, ended: Ended) -> String {
    match ended {
        Ended::Code(code) => format!("{name} ended with {code}"),
        Ended::Signal(_) => format!("{name} was ended by {ended}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_sentences() {
        let check = |end: End, code: u8, expected: &str| {
            assert_eq!(end.exit_status().code(), code, "{end:?}");
            assert_eq!(end.sentence("rake"), expected);
        };
        let itself = |ended, told| End::Itself { ended, told };
        let killed = Some(Ended::Signal(9));
        check(itself(Ended::Code(3), None), 3, "rake ended with 3");
        check(
            itself(Ended::Signal(9), None),
            137,
            "rake was ended by signal 9 (SIGKILL)",
        );
        check(
            itself(Ended::Signal(15), Some(Signal::Terminate)),
            143,
            "SIGTERM received and passed on; rake was ended by signal 15 (SIGTERM)",
        );
        check(
            End::LockLost {
                ended: Some(Ended::Code(0)),
                why: "gone".into(),
            },
            10,
            "the lock was lost while rake ran under it (gone); told to end, rake ended with 0",
        );
        check(
            End::Deadline { ended: killed },
            10,
            "the deadline passed (SCHEMAGATE_DEADLINE); told to end, rake was ended by signal 9 (SIGKILL)",
        );
        check(
            End::Stubborn {
                ended: None,
                signal: Signal::Interrupt,
                grace: Duration::from_secs(25),
            },
            10,
            "SIGINT received and passed on; rake did not end within 25 s; rake could not be ended",
        );
    }
}
