//! What each command does, in order.

use crate::cli::{Command, Invocation};
use crate::exit::ExitStatus;

pub mod install;

/// Runs a command to its end.
pub fn run(invocation: &Invocation) -> ExitStatus {
    match &invocation.command {
        Command::Install { path } => install(path),
        other => {
            tracing::error!(command = ?other, "this command is not wired");
            ExitStatus::Bug
        }
    }
}

fn install(path: &std::path::Path) -> ExitStatus {
    match install::install(path) {
        Ok(installed) => {
            tracing::info!(path = %installed.display(), "installed");
            ExitStatus::Done
        }
        Err(error) => {
            tracing::error!(help = error.help(), "{error}");
            error.exit_status()
        }
    }
}
