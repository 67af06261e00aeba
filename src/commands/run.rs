//! `run`.

use std::ffi::OsString;

use super::Context;
use crate::error::Error;

/// Runs the command.
pub async fn run(_context: &Context<'_>, _argv: &[OsString]) -> Result<(), Error> {
    Err(Error::System("comes with this issue".to_owned()))
}
