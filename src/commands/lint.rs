//! `lint`: what migrations risk, without a database.

mod check;
mod input;

use std::panic;

use check::{Checker, Settings};

use super::print;
use crate::{
    cli::{Invocation, LintArgs, Output},
    error::Error,
    exit::ExitStatus,
    report::{github, lint::Report, sarif},
    sql::{lint::Rules, risk::Risk},
};

/// The oldest major version that PostgreSQL still cared for when this was released: its locks are the strictest.
const OLDEST_MAJOR: &str = "14";

/// Runs the command.
pub fn run(invocation: &Invocation, args: &LintArgs) -> Result<(), Error> {
    if args.output == Output::Markdown {
        return Err(refused(
            "--format markdown: `lint` prints text, json, github or sarif",
            "name one of those; `schemagate plan --format markdown` prints a comment for a pull request",
        ));
    }
    let rules = Rules::new(&args.rules, &args.exclude).map_err(|unknown| {
        let unknown: Vec<String> = unknown.iter().map(ToString::to_string).collect();
        refused(
            unknown.join("; "),
            "the rules are those of https://squawkhq.com/docs/rules; the risk classes are always looked at",
        )
    })?;
    let pg_version = args.pg_version.as_deref().unwrap_or(OLDEST_MAJOR);
    let version_num = version_num(pg_version).ok_or_else(|| {
        refused(
            format!("--pg-version {pg_version}: no version of PostgreSQL that is supported"),
            "write 12 or newer, such as 15 or 16.4",
        )
    })?;
    let inputs = input::find(&invocation.config, args)?;
    let mut checker = Checker::new(Settings {
        rules,
        pg_version: pg_version.to_owned(),
        version_num,
        fail_on: args.fail_on.unwrap_or(Risk::Destructive),
    });
    let mut problems = Vec::new();
    for file in inputs.files() {
        // squawk's parser may meet what it did not expect; the file's name is what helps then.
        name_in_panics(&file.path);
        match file.read() {
            Ok(script) => checker.file(&file.path, &file.directives, &script, file.past),
            Err(more) => problems.extend(more),
        }
    }
    drop(panic::take_hook());
    if !problems.is_empty() {
        let more = problems.len().saturating_sub(LISTED);
        problems.truncate(LISTED);
        if more > 0 {
            problems.push(format!("and {more} more"));
        }
        return Err(refused(
            problems.join("; "),
            "correct the files: `schemagate migrate` would refuse them too",
        ));
    }
    let report = checker.finish(inputs.one_release);
    print(&rendered(&report, args.output))?;
    ended(&report)
}

/// As many problems as one message lists.
const LISTED: usize = 20;

fn refused(what: impl Into<String>, next: &str) -> Error {
    Error::Refused {
        what: what.into(),
        next: next.to_owned(),
    }
}

fn rendered(report: &Report, output: Output) -> String {
    match output {
        Output::Json => report.json(),
        Output::Github => github::render(&report.findings()),
        Output::Sarif => sarif::render(&report.findings()),
        Output::Text | Output::Markdown => report.text(),
    }
}

fn ended(report: &Report) -> Result<(), Error> {
    let failing = report.failing();
    let Some(first) = failing.first() else {
        return Ok(());
    };
    Err(Error::Findings {
        what: format!(
            "{} of {} findings at or above {}; the first: {}:{}: {}",
            failing.len(),
            report.entries.len(),
            report.fail_on,
            first.path,
            first.line,
            first.rule
        ),
        next: "change the migration, or, when it is meant, approve it at the head of its file: -- schemagate: approve=destructive reason=\"…\""
            .to_owned(),
    })
}

/// `server_version_num` of a version as its users write it.
fn version_num(text: &str) -> Option<u32> {
    let mut parts = text.split('.').map(|part| part.parse::<u32>().ok());
    let major = parts.next()??;
    let minor = parts.next().map_or(Some(0), |minor| minor)?;
    let supported = (12..100).contains(&major) && minor < 100 && parts.next().is_none();
    supported.then_some(major * 10_000 + minor)
}

/// A panic inside a rule would abort the process, and nothing would say which file it was.
fn name_in_panics(path: &str) {
    let path = path.to_owned();
    panic::set_hook(Box::new(move |info| {
        tracing::error!(
            "{path}: the rules of squawk gave up ({info}); leave them out with --rules none, and tell us"
        );
        std::process::exit(i32::from(ExitStatus::Bug.code()));
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_as_people_write_them() {
        for (text, expected) in [
            ("14", Some(140_000)),
            ("16.4", Some(160_004)),
            ("9.6", None),
            ("11", None),
            ("latest", None),
            ("16.4.1", None),
            ("", None),
            ("16.", None),
            ("99999999999", None),
        ] {
            assert_eq!(version_num(text), expected, "{text}");
        }
    }
}
