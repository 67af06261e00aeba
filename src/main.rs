//! Arguments and environment in, an exit code out.

use std::process::ExitCode;

use schemagate::{cli, commands, telemetry};

fn main() -> ExitCode {
    let status = match cli::parse(std::env::args_os(), std::env::vars_os()) {
        Ok(invocation) => {
            telemetry::install(&invocation.config.log);
            commands::run(&invocation)
        }
        Err(exit) => {
            exit.print();
            exit.status
        }
    };
    ExitCode::from(status.code())
}
