//! The command line: what to do, and the settings, from arguments and environment that are passed in.

use std::ffi::OsString;
use std::fmt::{self, Write as _};
use std::io::{self, Write as _};

use clap::ArgMatches;

use crate::config::names::{CONNECTIONS, LATER_COMMANDS, SETTINGS};
use crate::config::{Config, Vars};
use crate::connect;
use crate::exit::ExitStatus;
use crate::http;
use crate::problem::Problem;

mod build;
mod command;
mod help;
mod refused;

pub use command::{
    Command, Endpoint, LintArgs, Output, PlanArgs, Repair, StatusFormat, TraceArgs, Until,
    ValidateArgs,
};
pub use refused::asks_probe;

/// What was asked for.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// The command.
    pub command: Command,
    /// Its settings.
    pub config: Config,
    /// The environment with the flags laid over it, for what reads variables itself (the connection).
    pub vars: Vars,
    /// Where the database is; `None` for a command that needs none.
    pub connection: Option<Connection>,
}

/// Where the database is, and what the log should say of the settings.
#[derive(Debug, Clone)]
pub struct Connection {
    /// How to connect.
    pub params: connect::Params,
    /// What was ignored.
    pub warnings: Vec<String>,
}

/// The end of the program before any command runs: help, the version, or a mistake in the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CliExit {
    /// What to print, with its last line break.
    pub text: String,
    /// Where to.
    pub stream: Stream,
    /// What to end with.
    pub status: ExitStatus,
    /// Where to say that it has ended, where a one-shot command was called with a mistake: a proxy beside it waits for
    /// that.
    pub quit: Option<Box<http::Target>>,
}

/// A standard stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Reads arguments (the program's name first) and environment.
pub fn parse(
    args: impl Iterator<Item = OsString>,
    env: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Invocation, CliExit> {
    let args: Vec<OsString> = args.collect();
    let mut vars = Vars::new(env);
    // The call of most manifests needs no grammar, which costs as much as reading fifty files.
    let outcome = if args.len() == 2 && args[1] == "migrate" {
        invocation(Command::Migrate, &mut vars)
    } else {
        parse_args(&args, &mut vars)
    };
    outcome.map_err(|exit| refused::adapt(exit, &args, &vars))
}

fn parse_args(args: &[OsString], vars: &mut Vars) -> Result<Invocation, CliExit> {
    let matches = build::root()
        .try_get_matches_from(args)
        .map_err(|error| CliExit::from_clap(&error, args))?;
    let Some((name, sub)) = matches.subcommand() else {
        return Err(CliExit::usage("no command is given"));
    };
    if LATER_COMMANDS.contains(&name) {
        return Err(CliExit::usage(&format!(
            "the command {name} comes in a later release"
        )));
    }
    lay_over(vars, &matches);
    lay_over(vars, sub);
    let command = command::read(name, sub, vars)?;
    invocation(command, vars)
}

/// The settings of a command, or every mistake in them.
fn invocation(command: Command, vars: &mut Vars) -> Result<Invocation, CliExit> {
    let config = Config::from_vars(vars);
    let connection = match &config {
        _ if !command.connects() => Ok(None),
        Ok(config) => connection(vars, &config.application_name).map(Some),
        Err(_) => connection(vars, "").map(Some),
    };
    match (config, connection) {
        (Ok(config), Ok(connection)) => Ok(Invocation {
            command,
            config,
            vars: std::mem::take(vars),
            connection,
        }),
        (config, connection) => {
            let mut problems = config.err().unwrap_or_default();
            problems.extend(connection.err().unwrap_or_default());
            Err(CliExit::from_problems(&problems))
        }
    }
}

fn connection(vars: &Vars, application_name: &str) -> Result<Connection, Vec<Problem>> {
    let (params, warnings) = connect::Params::from_vars(&|name| vars.get(name), application_name)?;
    Ok(Connection { params, warnings })
}

/// Lays the settings among the flags over the environment.
fn lay_over(vars: &mut Vars, matches: &ArgMatches) {
    let settings = SETTINGS.iter().map(|setting| (setting.name, setting.flag));
    let connections = CONNECTIONS
        .iter()
        .filter_map(|connection| Some((connection.name, connection.flag?)));
    for (name, flag) in settings.chain(connections) {
        // Not there, or of another shape: `status` reads its own `--format`.
        if let Ok(Some(value)) = matches.try_get_one::<build::Setting>(flag) {
            vars.set_flag(name, flag, value.0.clone());
        }
    }
}

// === impl CliExit ===

impl CliExit {
    /// Prints it. What cannot be printed (a closed pipe) is dropped: the exit code still tells.
    pub fn print(&self) {
        let text = self.text.as_bytes();
        let _ = match self.stream {
            Stream::Stdout => io::stdout().write_all(text),
            Stream::Stderr => io::stderr().write_all(text),
        };
    }

    /// Bad usage in one line; the next says where to look.
    fn usage(message: &str) -> Self {
        Self {
            text: format!("error: {message}\nwhat to do: see schemagate --help\n"),
            stream: Stream::Stderr,
            status: ExitStatus::Usage,
            quit: None,
        }
    }

    fn from_problems(problems: &[Problem]) -> Self {
        let count = match problems.len() {
            1 => "a mistake".to_owned(),
            many => format!("{many} mistakes"),
        };
        let list = problems.iter().fold(String::new(), |mut list, problem| {
            // Writing to a string cannot fail.
            let _ = writeln!(list, "  {problem}");
            list
        });
        Self {
            text: format!(
                "error: {count} in the settings\n{list}what to do: correct what is listed; nothing has been done yet\n"
            ),
            stream: Stream::Stderr,
            status: ExitStatus::Usage,
            quit: None,
        }
    }

    /// Help and version are answers and go to standard output, everything else is a mistake.
    fn from_clap(error: &clap::Error, args: &[OsString]) -> Self {
        let (stream, status) = if error.use_stderr() {
            (Stream::Stderr, ExitStatus::Usage)
        } else {
            (Stream::Stdout, ExitStatus::Done)
        };
        Self {
            text: without_addresses(error.render().to_string(), args),
            stream,
            status,
            quit: None,
        }
    }
}

impl fmt::Display for CliExit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A connection string given where none is taken is quoted by the parser's message; it may hold a password.
fn without_addresses(text: String, args: &[OsString]) -> String {
    args.iter()
        .map(|arg| arg.to_string_lossy())
        .filter(|arg| arg.contains("://") || arg.contains("password="))
        .flat_map(|arg| {
            let value = arg.split_once('=').map(|(_, value)| value.to_owned());
            [Some(arg.into_owned()), value]
        })
        .flatten()
        .filter(|secret| !secret.is_empty())
        .fold(text, |text, secret| text.replace(&secret, "[not shown]"))
}

#[cfg(test)]
mod tests;
