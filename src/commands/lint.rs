//! `lint`: what migrations risk, without a database.

use crate::{
    cli::{Invocation, LintArgs},
    error::Error,
};

/// Runs the command.
pub fn run(invocation: &Invocation, args: &LintArgs) -> Result<(), Error> {
    let _ = (invocation, args);
    Err(Error::System("not there yet".to_owned()))
}
