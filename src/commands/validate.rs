//! `validate`: everything from nothing, in a throwaway database.

use super::Context;
use crate::{cli::ValidateArgs, error::Error};

/// Runs the command.
pub async fn run(context: &Context<'_>, args: &ValidateArgs) -> Result<(), Error> {
    let _ = (args, context);
    std::future::ready(()).await;
    Err(Error::System("not there yet".to_owned()))
}
