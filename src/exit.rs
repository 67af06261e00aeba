//! The exit codes, the only place with their numbers.
//!
//! A Job's `podFailurePolicy` is written against these numbers, so they never change meaning.

/// What a run ends with. [`ExitStatus::code`] is the process's exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ExitStatus {
    /// Done, or nothing to do.
    Done,
    /// A bug in schemagate.
    Bug,
    /// Bad usage or settings; unreadable, malformed or unsupported migrations; a refused command.
    Usage,
    /// The database could not be reached in time.
    Unreachable,
    /// Another pod held the lock without progress, or table locks were not obtained.
    Locked,
    /// A migration failed in SQL.
    Sql,
    /// The history does not match the files.
    History,
    /// Held by a gate.
    Held,
    /// Migrations are pending where the command was asked to be current.
    Pending,
    /// Credentials or privileges refused, TLS not trusted.
    Refused,
    /// The deadline passed, or a lost connection's work could not be taken up again in time.
    Deadline,
    /// SIGINT.
    Interrupted,
    /// SIGTERM.
    Terminated,
    /// Not one of ours: what the command behind `run` or `exec` ended with, or the 1 of `probe`, which may end with
    /// nothing else.
    Other(u8),
}

// === impl ExitStatus ===

impl ExitStatus {
    /// All of ours, in the order of their codes.
    pub const ALL: [Self; 13] = [
        Self::Done,
        Self::Bug,
        Self::Usage,
        Self::Unreachable,
        Self::Locked,
        Self::Sql,
        Self::History,
        Self::Held,
        Self::Pending,
        Self::Refused,
        Self::Deadline,
        Self::Interrupted,
        Self::Terminated,
    ];

    /// The number that the process ends with.
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Bug => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
            Self::Locked => 4,
            Self::Sql => 5,
            Self::History => 6,
            Self::Held => 7,
            Self::Pending => 8,
            Self::Refused => 9,
            Self::Deadline => 10,
            Self::Interrupted => 130,
            Self::Terminated => 143,
            Self::Other(code) => code,
        }
    }

    /// One line for tables and `--help`.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done, or nothing to do",
            Self::Bug => "a bug in schemagate",
            Self::Usage => {
                "bad usage or settings; unreadable, malformed or unsupported migrations; a refused command"
            }
            Self::Unreachable => "the database could not be reached in time",
            Self::Locked => {
                "another pod held the lock without progress, or table locks were not obtained"
            }
            Self::Sql => "a migration failed in SQL",
            Self::History => {
                "history does not match the files: changed, missing, out of order, dirty, another tool's; drift"
            }
            Self::Held => "held by a gate, or findings of lint that it was to fail on",
            Self::Pending => "pending, where the command was asked to be current",
            Self::Refused => "credentials or privileges refused, TLS not trusted",
            Self::Deadline => {
                "the deadline passed, or a lost connection could not be taken up again in time"
            }
            Self::Interrupted => "SIGINT: the statement was cancelled, the lock released",
            Self::Terminated => "SIGTERM: the statement was cancelled, the lock released",
            Self::Other(_) => "the command's own",
        }
    }
}
