//! `install PATH`: the executable copies itself.

use std::path::Path;

use crate::{error::Error, install};

/// Runs the command; with `SCHEMAGATE_DRY_RUN` it only says what it would do.
pub fn run(path: &Path, dry_run: bool) -> Result<(), Error> {
    if dry_run {
        tracing::info!(path = %install::target(path).display(), "would install");
        return Ok(());
    }
    let installed = install::install(path).map_err(Error::Install)?;
    tracing::info!(path = %installed.display(), "installed");
    Ok(())
}
