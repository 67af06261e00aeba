//! The commands and their own arguments.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::ArgMatches;

use super::CliExit;
use crate::config::Vars;
use crate::sql::risk::Risk;

/// A command of this release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Wait, lock, apply.
    Migrate,
    /// Every migration and its state.
    Status {
        /// How to print it.
        format: StatusFormat,
        /// Exit 8 while anything needed is pending.
        exit_code: bool,
    },
    /// What the journal says of the history: `status --history`.
    Journal {
        /// How to print it.
        format: StatusFormat,
        /// No more than the newest so many.
        limit: Option<u32>,
    },
    /// Serve the endpoints and watch the schema.
    Sidecar,
    /// Wait, then become another program.
    Run {
        /// The program and its arguments.
        argv: Vec<OsString>,
    },
    /// Run another tool under the lock.
    Exec {
        /// The tool and its arguments.
        argv: Vec<OsString>,
    },
    /// Block until the database answers, or until the schema is what this image needs.
    Wait {
        /// What to wait for.
        until: Until,
    },
    /// Ask a sidecar on this host.
    Probe {
        /// Which question.
        endpoint: Endpoint,
    },
    /// What would run, statement by statement.
    Plan(PlanArgs),
    /// The risk check alone, offline.
    Lint(LintArgs),
    /// History, checksums, drift, invalid indexes, assertions.
    Verify {
        /// How to print it.
        output: Output,
    },
    /// Everything from nothing, in a throwaway database.
    Validate(ValidateArgs),
    /// Put the history right after a person has looked.
    Repair(Repair),
    /// Undo migrations by their down files.
    Down {
        /// The version that stays the newest applied; `0` undoes all.
        to: String,
        /// A person has thought about it.
        yes: bool,
    },
    /// What this connection really is.
    Doctor {
        /// How to print it.
        output: Output,
    },
    /// Mark migrations as applied without running them.
    Baseline {
        /// Up to this version, inclusive.
        to: String,
    },
    /// Copy the executable.
    Install {
        /// Where to; a folder, or a file's name.
        path: PathBuf,
    },
}

/// The arguments of `plan`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanArgs {
    /// How to print it.
    pub output: Output,
    /// Exit 8 while anything needed is pending.
    pub exit_code: bool,
    /// `--trace`: run it in a transaction that is rolled back.
    pub trace: Option<TraceArgs>,
}

/// The arguments of `plan --trace`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceArgs {
    /// `--force`: also beside other active clients.
    pub force: bool,
    /// `--trace-limit`: how long locks may be held in all.
    pub limit: Duration,
}

/// The arguments of `lint`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LintArgs {
    /// Files and folders; none is `SCHEMAGATE_DIR`.
    pub paths: Vec<PathBuf>,
    /// How to print it.
    pub output: Output,
    /// Findings of this class or above end with 7.
    pub fail_on: Option<Risk>,
    /// `--pg-version`: the server's version, as its users write it.
    pub pg_version: Option<String>,
    /// `--rules`: only these of the linter's rules, and the risk classes.
    pub rules: Vec<String>,
    /// `--exclude`: without these.
    pub exclude: Vec<String>,
    /// `--since`: the version up to which everything is applied.
    pub since: Option<String>,
}

/// The arguments of `validate`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ValidateArgs {
    /// `--server auto`: start a server of our own; else the one of the settings.
    pub own_server: bool,
    /// `--from-dump`: what the database holds before the first migration.
    pub from_dump: Option<PathBuf>,
}

/// What `repair` is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Repair {
    /// `--clear-dirty V`: a person has seen to it that nothing is left of it, or all of it is there.
    ClearDirty(String),
    /// `--accept-checksum V`: the applied file may look as it does now.
    AcceptChecksum(String),
    /// `--forget V`: take its row away.
    Forget(String),
}

/// How a command prints its answer; which of them it takes, its grammar says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Output {
    /// For people.
    #[default]
    Text,
    /// For machines.
    Json,
    /// For a comment on a pull request.
    Markdown,
    /// Annotations of a workflow.
    Github,
    /// For code scanning.
    Sarif,
}

/// `wait --for`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Until {
    /// The database answers.
    #[default]
    Database,
    /// Every migration that this image needs is applied.
    Schema,
}

/// What `probe` asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Endpoint {
    /// `/readyz`.
    #[default]
    Ready,
    /// `/livez`.
    Live,
    /// `/startupz`.
    Startup,
}

/// `status --format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StatusFormat {
    /// For people.
    #[default]
    Table,
    /// For machines.
    Json,
}

/// The command with its own arguments.
pub(super) fn read(name: &str, sub: &ArgMatches, vars: &mut Vars) -> Result<Command, CliExit> {
    match name {
        "migrate" => Ok(Command::Migrate),
        "status" => Ok(status(sub, vars)),
        "sidecar" => Ok(Command::Sidecar),
        "run" => Ok(Command::Run { argv: argv(sub) }),
        "exec" => Ok(Command::Exec { argv: argv(sub) }),
        "wait" => Ok(Command::Wait {
            until: match text(sub, "for").as_deref() {
                Some("schema") => Until::Schema,
                _ => Until::Database,
            },
        }),
        "probe" => Ok(Command::Probe {
            endpoint: if sub.get_flag("live") {
                Endpoint::Live
            } else if sub.get_flag("startup") {
                Endpoint::Startup
            } else {
                Endpoint::Ready
            },
        }),
        "plan" => Ok(Command::Plan(PlanArgs {
            output: output(sub, vars),
            exit_code: sub.get_flag("exit-code"),
            trace: sub.get_flag("trace").then(|| TraceArgs {
                force: sub.get_flag("force"),
                limit: sub
                    .get_one("trace-limit")
                    .copied()
                    .unwrap_or(Duration::from_secs(30)),
            }),
        })),
        "lint" => Ok(Command::Lint(LintArgs {
            paths: many(sub, "path"),
            output: output(sub, vars),
            fail_on: sub
                .get_one::<String>("fail-on")
                .and_then(|word| Risk::ALL.into_iter().find(|risk| risk.word() == word)),
            pg_version: text(sub, "pg-version"),
            rules: many(sub, "rules"),
            exclude: many(sub, "exclude"),
            since: text(sub, "since"),
        })),
        "verify" => Ok(Command::Verify {
            output: output(sub, vars),
        }),
        "validate" => Ok(Command::Validate(ValidateArgs {
            own_server: text(sub, "server").is_some(),
            from_dump: sub.get_one("from-dump").cloned(),
        })),
        "repair" => Ok(Command::Repair(repair(sub))),
        "down" => Ok(Command::Down {
            to: text(sub, "to").unwrap_or_default(),
            yes: sub.get_flag("yes"),
        }),
        "doctor" => Ok(Command::Doctor {
            output: output(sub, vars),
        }),
        "baseline" => Ok(Command::Baseline {
            to: text(sub, "to").unwrap_or_default(),
        }),
        "install" => Ok(Command::Install {
            path: sub.get_one("path").cloned().unwrap_or_default(),
        }),
        other => Err(CliExit::usage(&format!("there is no command {other}"))),
    }
}

fn argv(sub: &ArgMatches) -> Vec<OsString> {
    let words = sub.get_many::<OsString>("command");
    words.into_iter().flatten().cloned().collect()
}

/// `status --format` has two meanings with different words: how to print, and `SCHEMAGATE_FORMAT`.
fn status(sub: &ArgMatches, vars: &mut Vars) -> Command {
    let mut format = StatusFormat::default();
    for value in sub.get_many::<OsString>("format").into_iter().flatten() {
        match value.to_str() {
            Some("table") => format = StatusFormat::Table,
            Some("json") => format = StatusFormat::Json,
            _ => vars.set_flag("SCHEMAGATE_FORMAT", "format", value.clone()),
        }
    }
    if sub.get_flag("history") {
        return Command::Journal {
            format,
            limit: sub.get_one("limit").copied(),
        };
    }
    Command::Status {
        format,
        exit_code: sub.get_flag("exit-code"),
    }
}

/// `--format` has two meanings with different words: how to print, and `SCHEMAGATE_FORMAT`.
fn output(sub: &ArgMatches, vars: &mut Vars) -> Output {
    let mut output = Output::default();
    for value in sub.get_many::<OsString>("format").into_iter().flatten() {
        match value.to_str().and_then(Output::from_word) {
            Some(known) => output = known,
            None => vars.set_flag("SCHEMAGATE_FORMAT", "format", value.clone()),
        }
    }
    output
}

fn repair(sub: &ArgMatches) -> Repair {
    let to = |name: &str| text(sub, name);
    // The grammar asks for exactly one.
    to("clear-dirty")
        .map(Repair::ClearDirty)
        .or_else(|| to("accept-checksum").map(Repair::AcceptChecksum))
        .unwrap_or_else(|| Repair::Forget(to("forget").unwrap_or_default()))
}

fn many<T: Clone + Send + Sync + 'static>(matches: &ArgMatches, name: &str) -> Vec<T> {
    matches
        .get_many::<T>(name)
        .into_iter()
        .flatten()
        .cloned()
        .collect()
}

fn text(matches: &ArgMatches, name: &str) -> Option<String> {
    matches.get_one::<String>(name).cloned()
}

// === impl Command ===

impl Command {
    /// Its name.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Migrate => "migrate",
            Self::Status { .. } | Self::Journal { .. } => "status",
            Self::Sidecar => "sidecar",
            Self::Run { .. } => "run",
            Self::Exec { .. } => "exec",
            Self::Wait { .. } => "wait",
            Self::Probe { .. } => "probe",
            Self::Plan(_) => "plan",
            Self::Lint(_) => "lint",
            Self::Verify { .. } => "verify",
            Self::Validate(_) => "validate",
            Self::Repair(_) => "repair",
            Self::Down { .. } => "down",
            Self::Doctor { .. } => "doctor",
            Self::Baseline { .. } => "baseline",
            Self::Install { .. } => "install",
        }
    }

    /// Whether it needs a database.
    pub(super) const fn connects(&self) -> bool {
        match self {
            Self::Install { .. } | Self::Probe { .. } | Self::Lint(_) => false,
            Self::Validate(validate) => !validate.own_server,
            _ => true,
        }
    }
}

// === impl Output ===

impl Output {
    /// All of them with their words.
    pub const ALL: [(&'static str, Self); 5] = [
        ("text", Self::Text),
        ("json", Self::Json),
        ("markdown", Self::Markdown),
        ("github", Self::Github),
        ("sarif", Self::Sarif),
    ];

    fn from_word(word: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|(known, _)| *known == word)
            .map(|(_, output)| output)
    }
}

// === impl Endpoint ===

impl Endpoint {
    /// The path that is asked.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Ready => "/readyz",
            Self::Live => "/livez",
            Self::Startup => "/startupz",
        }
    }
}
