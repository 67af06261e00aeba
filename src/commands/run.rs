//! `run -- CMD`: wait, migrate when asked (else tell what is pending), then become the command.

use std::ffi::OsString;

use super::{
    Context, Then,
    exec::without_secrets,
    migrate,
    needed::{Needed, Seen},
    print,
};
use crate::{
    child::Program,
    error::Error,
    runner::{self, Interrupted, stopped},
};

/// Runs the command up to the moment at which it becomes the other.
pub async fn run(context: &Context<'_>, argv: &[OsString]) -> Result<Then, Error> {
    let Context {
        invocation, stop, ..
    } = context;
    let config = &invocation.config;
    if config.auto_migrate && config.exec_once.is_some() {
        return Err(Error::Refused {
            what: "SCHEMAGATE_AUTO_MIGRATE=true and SCHEMAGATE_EXEC_ONCE exclude each other: with a marker the folder \
                   is not read, and `run` does not know the tool"
                .to_owned(),
            next: "take one of them away; `schemagate exec` runs the tool".to_owned(),
        });
    }
    // First of all: a typo in the command must not be found out after a migration.
    let program = Program::find(argv, invocation.vars.os("PATH")).map_err(Error::Program)?;
    match Needed::load(context)? {
        Needed::Folder(mut folder) if config.auto_migrate => {
            if config.dry_run {
                migrate::dry_run(context, &folder.source, &folder.params).await?;
            } else {
                migrate::apply(context, &folder.source, &mut folder.params).await?;
            }
        }
        needed => look(context, &needed).await?,
    }
    if config.dry_run {
        print(&format!(
            "would run {}",
            line(&without_secrets(program.argv()))
        ))?;
        return Ok(Then::End);
    }
    if let Some(cause) = stop.last_cause() {
        let statement = Interrupted::Nothing;
        return Err(runner::Error::Stopped { cause, statement }.into());
    }
    tracing::info!(program = %program.path().display(), "starting the command");
    Ok(Then::Replace(Box::new(program)))
}

/// Tells what is pending, and refuses to go on where the schema must be current.
async fn look(context: &Context<'_>, needed: &Needed) -> Result<(), Error> {
    let looking = needed.look(context, needed.wait());
    let seen = stopped(&context.stop, looking).await??;
    for warning in &seen.warnings {
        tracing::warn!("{warning}");
    }
    let Some(error) = reason(needed, &seen) else {
        return Ok(());
    };
    if context.invocation.config.require_current {
        return Err(error);
    }
    tracing::warn!(
        next = error.next_step(),
        "the schema is not what this image needs: {}",
        error.what()
    );
    Ok(())
}

/// Why the schema is not what this image needs.
fn reason(needed: &Needed, seen: &Seen) -> Option<Error> {
    if !seen.conflicts.is_empty() {
        return Some(runner::Error::Conflicts(seen.conflicts.clone()).into());
    }
    (!seen.is_current()).then(|| needed.behind(seen))
}

/// The command as one would type it.
pub(super) fn line(argv: &[OsString]) -> String {
    let words = argv.iter().map(|word| {
        let word = word.to_string_lossy();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@%+".contains(c);
        if !word.is_empty() && word.chars().all(plain) {
            word.into_owned()
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_can_be_typed() {
        for (argv, expected) in [
            (&["./app", "--port=80"][..], "./app --port=80"),
            (&["sh", "-c", "echo \"$X\""], "sh -c 'echo \"$X\"'"),
            (&["echo", "", "it's", "é"], r"echo '' 'it'\''s' 'é'"),
        ] {
            let argv: Vec<OsString> = argv.iter().map(Into::into).collect();
            assert_eq!(line(&argv), expected);
        }
    }
}
