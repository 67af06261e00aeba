//! `doctor`: what this connection really is.

use super::Context;
use crate::{cli::Output, error::Error};

/// Runs the command.
pub async fn run(context: &Context<'_>, output: Output) -> Result<(), Error> {
    let _ = (output, context);
    std::future::ready(()).await;
    Err(Error::System("not there yet".to_owned()))
}
