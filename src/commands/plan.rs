//! `plan`: what would run, statement by statement, with risk and locks.

use super::Context;
use crate::{cli::PlanArgs, error::Error};

/// Runs the command.
pub async fn run(context: &Context<'_>, args: &PlanArgs) -> Result<(), Error> {
    let _ = (args, context);
    std::future::ready(()).await;
    Err(Error::System("not there yet".to_owned()))
}
