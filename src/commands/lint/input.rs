//! What is to be looked at: the migrations of folders, and files as they are.

use std::{
    env,
    path::{Path, PathBuf},
    rc::Rc,
};

use crate::{
    cli::LintArgs,
    config::Config,
    error::Error,
    migration::{Directives, Migration},
    plan, runner,
    source::{self, Source},
    sql::{Issue, Options, Script, directive},
};

/// Everything to look at, in order.
pub(super) struct Inputs {
    files: Vec<File>,
    /// A whole folder was given, and nothing of it is said to be applied.
    pub(super) one_release: bool,
}

/// A file to look at. Its text is read when it is looked at, and not kept.
pub(super) struct File {
    /// As messages name it: relative to the working directory, with `/`.
    pub(super) path: String,
    pub(super) directives: Directives,
    /// It is applied already.
    pub(super) past: bool,
    from: From,
}

enum From {
    Source(Rc<Source>, Box<Migration>),
    Alone(PathBuf),
}

/// The marker of both generations of Drizzle.
const BREAKPOINT: &str = "--> statement-breakpoint";

/// Finds what the arguments name; without any, `SCHEMAGATE_DIR`.
pub(super) fn find(config: &Config, args: &LintArgs) -> Result<Inputs, Error> {
    let here = env::current_dir().unwrap_or_default();
    let mut inputs = Inputs {
        files: Vec::new(),
        one_release: false,
    };
    let paths = if args.paths.is_empty() {
        std::slice::from_ref(&config.dir)
    } else {
        &args.paths
    };
    for path in paths {
        let archive = path
            .extension()
            .is_some_and(|end| end == "gz" || end == "tgz");
        if path.is_file() && !archive {
            inputs.files.push(alone(path, &here)?);
        } else {
            folder(config, path, args.since.as_deref(), &here, &mut inputs)?;
        }
    }
    if args.since.is_some()
        && inputs
            .files
            .iter()
            .all(|file| matches!(file.from, From::Alone(_)))
    {
        return Err(Error::Refused {
            what: "--since names a migration of a folder, and only files are given".to_owned(),
            next: "give the folder: schemagate lint --since VERSION FOLDER".to_owned(),
        });
    }
    Ok(inputs)
}

fn folder(
    config: &Config,
    path: &Path,
    since: Option<&str>,
    here: &Path,
    inputs: &mut Inputs,
) -> Result<(), Error> {
    let params = source::Params {
        dir: path.to_owned(),
        format: config.format,
        allow_empty: config.allow_empty,
    };
    let source = Rc::new(source::load(&params).map_err(Error::Source)?);
    for warning in &source.warnings {
        tracing::warn!("{warning}");
    }
    let past = if let Some(since) = since {
        let found = plan::resolve_target(&source.migrations, since);
        found.map_err(runner::Error::Target)? + 1
    } else {
        inputs.one_release |= source.migrations.len() > 1;
        0
    };
    let place = shown(path, here);
    for (index, migration) in source.migrations.iter().enumerate() {
        inputs.files.push(File {
            path: join(&place, &migration.path),
            directives: migration.directives.clone(),
            past: index < past,
            from: From::Source(Rc::clone(&source), Box::new(migration.clone())),
        });
    }
    Ok(())
}

fn alone(path: &Path, here: &Path) -> Result<File, Error> {
    let shown = shown(path, here);
    let text = source::read_alone(path).map_err(Error::Source)?;
    let directives = directive::parse(&text).map_err(|issues| Error::Refused {
        what: told(&shown, &issues).join("; "),
        next: "correct the file".to_owned(),
    })?;
    Ok(File {
        path: shown,
        directives,
        past: false,
        from: From::Alone(path.to_owned()),
    })
}

/// Below the working directory without it: that is what code scanning and editors find.
fn shown(path: &Path, here: &Path) -> String {
    let path = path.strip_prefix(here).unwrap_or(path);
    let path = path.strip_prefix(".").unwrap_or(path);
    path.to_string_lossy().into_owned()
}

fn join(folder: &str, file: &str) -> String {
    match folder.trim_end_matches('/') {
        "" if folder.is_empty() => file.to_owned(),
        folder => format!("{folder}/{file}"),
    }
}

fn told(path: &str, issues: &[Issue]) -> Vec<String> {
    let told = |issue: &Issue| format!("{path}:{}:{}: {}", issue.line, issue.column, issue.message);
    issues.iter().map(told).collect()
}

// === impl Inputs ===

impl Inputs {
    /// In the order in which they run.
    pub(super) fn files(&self) -> &[File] {
        &self.files
    }
}

// === impl File ===

impl File {
    /// Its statements, or everything for which a migrating run would refuse it.
    pub(super) fn read(&self) -> Result<Script, Vec<String>> {
        let (text, marker) = match &self.from {
            From::Source(source, migration) => {
                let text = source
                    .read(migration)
                    .map_err(|error| vec![error.to_string()])?;
                (text, source.format.statement_marker())
            }
            From::Alone(path) => {
                let text = source::read_alone(path).map_err(|error| vec![error.to_string()])?;
                let marker = text.contains(BREAKPOINT).then_some(BREAKPOINT);
                (text, marker)
            }
        };
        let options = Options {
            marker,
            in_transaction: !self.directives.transaction_off,
        };
        let told = |issues: Vec<Issue>| told(&self.path, &issues);
        let script = Script::prepare(text, options).map_err(told)?;
        if script.summary().in_pieces() {
            script.units().map_err(told)?;
        } else if !script.summary().refused.is_empty() {
            return Err(told(script.summary().refused.clone()));
        }
        Ok(script)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_from_here() {
        for (path, expected) in [
            ("/srv/app/drizzle", "drizzle"),
            ("./drizzle", "drizzle"),
            ("drizzle/", "drizzle/"),
            ("/elsewhere", "/elsewhere"),
            ("../x", "../x"),
            (".", ""),
        ] {
            let shown = shown(Path::new(path), Path::new("/srv/app"));
            assert_eq!(shown.trim_end_matches('/'), expected.trim_end_matches('/'));
        }
        assert_eq!(join("", "a.sql"), "a.sql");
        assert_eq!(join("d/", "a.sql"), "d/a.sql");
        assert_eq!(join("/", "a.sql"), "/a.sql");
    }
}
