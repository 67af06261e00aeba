//! Arguments and environment in, an exit code out.

use std::{io::Write as _, process::ExitCode};

use schemagate::{
    child::guard, cli, commands, exit::ExitStatus, report::termination, telemetry,
    throwaway::keeper,
};

fn main() -> ExitCode {
    if guard::is_asked(std::env::args_os()) {
        return guard::run();
    }
    if keeper::is_asked(std::env::args_os()) {
        return keeper::run(std::env::args_os());
    }
    std::panic::set_hook(Box::new(|panic| {
        let message = format!(
            "schemagate: exit {}: a bug: {panic}\nwhat to do: please report it with this message; the database rolls \
             back what was not committed\n",
            ExitStatus::Bug.code()
        );
        // Nobody is left to tell that standard error is closed.
        let _ = std::io::stderr().write_all(message.as_bytes());
        // What a health check says is no reason for the container's end.
        if !cli::asks_probe(&std::env::args_os().collect::<Vec<_>>()) {
            termination::write(&message);
        }
        std::process::exit(ExitStatus::Bug.code().into());
    }));
    let status = match cli::parse(std::env::args_os(), std::env::vars_os()) {
        Ok(invocation) => {
            telemetry::install(&invocation.config.log);
            commands::run(&invocation)
        }
        Err(exit) => {
            exit.print();
            // `Other` is the end of `probe`.
            if !matches!(exit.status, ExitStatus::Done | ExitStatus::Other(_)) {
                termination::write(&exit.text);
            }
            if let Some(url) = &exit.quit {
                commands::finish::after_refusal(url);
            }
            exit.status
        }
    };
    ExitCode::from(status.code())
}
