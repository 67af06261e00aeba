//! `exec -- CMD…`: another migration tool under the wait, the lock and the deadline.

use std::ffi::OsString;

use super::{Context, print, run::line, setup};
use crate::{
    child::{Ended, Program},
    config::names,
    error::Error,
    history::marker::{HISTORY, Marker, MarkerState},
    report::{log::millis, summary::ExecLine},
    wrap::{self, Outcome, Params},
};

/// Runs the command.
pub async fn run(context: &Context<'_>, argv: &[OsString]) -> Result<(), Error> {
    let Context {
        invocation,
        stop,
        summary,
        ..
    } = context;
    let config = &invocation.config;
    // A typo ends here, before anything is waited for.
    let program = Program::find(argv, invocation.vars.os("PATH")).map_err(wrap::Error::Program)?;
    let (connect, wait) = setup::connection(invocation)?;
    let table = config.history_table.as_ref();
    let history = table.map_or_else(|| HISTORY.to_owned(), ToString::to_string);
    let mut params = Params {
        connect,
        wait,
        marker: config
            .exec_once
            .as_ref()
            .map(|name| Marker::new(name, table)),
        lock_key: config.lock_key,
        lock_wait: setup::lock_wait(config),
        role: config.role.clone(),
        author: setup::author(invocation, history.clone()),
        application_name: config.application_name.clone(),
        program,
        remove: names::secrets().map(OsString::from).collect(),
        history,
    };
    let mut line = ExecLine {
        command: params.name(),
        marker: config.exec_once.clone(),
        ..ExecLine::default()
    };
    summary.borrow_mut().exec = Some(line.clone());
    if config.dry_run {
        return dry_run(context, &params).await;
    }
    let outcome = wrap::run(&mut params, stop, &mut |event| context.tell(&event)).await;
    match &outcome {
        Ok(Outcome::Skipped { at }) => {
            let marker = line.marker.as_deref().unwrap_or_default();
            tracing::info!(marker, at, "skipped: the marker is done");
            line.skipped = true;
        }
        Ok(Outcome::Done { elapsed }) => {
            line.exit_code = Some(0);
            line.duration_ms = Some(millis(*elapsed));
        }
        Err(wrap::Error::Command { end, elapsed, .. }) => {
            line.exit_code = end.ended().map(Ended::exit_code);
            line.duration_ms = Some(millis(*elapsed));
        }
        Err(wrap::Error::Unmarked { .. }) => line.exit_code = Some(0),
        Err(wrap::Error::Run(_) | wrap::Error::Program(_)) => {}
    }
    summary.borrow_mut().exec = Some(line);
    outcome.map(|_| ()).map_err(Error::from)
}

/// Prints what would run; takes no lock.
async fn dry_run(context: &Context<'_>, params: &Params) -> Result<(), Error> {
    let mut tell = |event: crate::runner::Event<'_>| context.tell(&event);
    let state = wrap::look(params, &context.stop, &mut tell).await?;
    let command = line(&without_secrets(params.program.argv()));
    print(&match state {
        MarkerState::Done { at } => format!("would skip {command}: done at {at}"),
        MarkerState::Absent | MarkerState::Failed { .. } => format!("would run {command}"),
    })
}

/// The words of a command without those that may hold a password.
pub(super) fn without_secrets(argv: &[OsString]) -> Vec<OsString> {
    let words = argv.iter().map(|word| {
        let text = word.to_string_lossy();
        if text.contains("://") || text.to_ascii_lowercase().contains("passw") {
            OsString::from("[not shown]")
        } else {
            word.clone()
        }
    });
    words.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_printed_command_shows_no_password() {
        let argv = ["x", "--url=postgres://a:b@c/d", "--Password=e", "-c", "f g"];
        let shown = without_secrets(&argv.map(OsString::from));
        let expected = ["x", "[not shown]", "[not shown]", "-c", "f g"];
        assert_eq!(shown, expected.map(OsString::from));
    }
}
