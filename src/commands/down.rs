//! `down`: undoes migrations by their down files.

use super::Context;
use crate::error::Error;

/// Runs the command.
pub async fn run(context: &Context<'_>, to: &str, yes: bool) -> Result<(), Error> {
    let _ = (to, yes, context);
    std::future::ready(()).await;
    Err(Error::System("not there yet".to_owned()))
}
