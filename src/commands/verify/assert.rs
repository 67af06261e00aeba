//! The user's assertions: each file in a read-only transaction that is rolled back.

use std::time::Duration;

use super::of_database;
use crate::{
    config::Config,
    connect::{self, Session},
    error::Error,
    migration::quote_ident,
    report::verify::{Finding, Report},
    source::Assertion,
    wire,
};

/// Runs them one after the other; what fails is a finding, and the others run all the same.
pub(super) async fn run(
    session: &Session,
    role: Option<&str>,
    config: &Config,
    assertions: &[Assertion],
    report: &mut Report,
) -> Result<(), Error> {
    let begin = begin(role, config);
    for assertion in assertions {
        match failure(session, &begin, assertion).await? {
            None => report.assertions_passed.push(assertion.name.clone()),
            Some(message) => report.findings.push(Finding::of(
                "assertion",
                "file",
                &assertion.name,
                "failed",
                message,
                format!(
                    "run the statement by hand to see what it finds; correct the data, the schema, or {}",
                    assertion.name
                ),
            )),
        }
    }
    Ok(())
}

/// The query at the end is what makes `READ ONLY` final: PostgreSQL refuses to change it after the first one.
///
/// <https://www.postgresql.org/docs/current/sql-set-transaction.html>
fn begin(role: Option<&str>, config: &Config) -> String {
    let as_role = role.map_or_else(String::new, |role| {
        format!("SET LOCAL ROLE {};", quote_ident(role))
    });
    let milliseconds = |limit: Option<Duration>| limit.map_or(0, |limit| limit.as_millis());
    format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY;SET LOCAL standard_conforming_strings = on;\
         SET LOCAL statement_timeout = {};SET LOCAL lock_timeout = {};{as_role}SELECT 1",
        milliseconds(config.statement_timeout),
        milliseconds(config.lock_timeout)
    )
}

/// How it failed; `None` where it holds.
async fn failure(
    session: &Session,
    begin: &str,
    assertion: &Assertion,
) -> Result<Option<String>, Error> {
    let client = session.client();
    wire::execute(client, begin)
        .await
        .ok()
        .map_err(of_database)?;
    let text = assertion.script.text();
    let reply = wire::execute(client, text).await;
    let found = match reply.error {
        Some(error) if connect::classify(&error).is_connection_lost() => {
            return Err(of_database(error));
        }
        Some(error) => Some(raised(assertion, reply.completed, &error)),
        None => reply.counts.iter().enumerate().find_map(|(index, &rows)| {
            let place = place(assertion, index, None);
            let plural = if rows == 1 { "row" } else { "rows" };
            (rows > 0).then(|| format!("{place} returned {rows} {plural}"))
        }),
    };
    wire::execute(client, "ROLLBACK")
        .await
        .ok()
        .map_err(of_database)?;
    Ok(found)
}

fn raised(assertion: &Assertion, completed: usize, error: &tokio_postgres::Error) -> String {
    let position = match error.as_db_error().and_then(|db| db.position()) {
        Some(tokio_postgres::error::ErrorPosition::Original(position)) => Some(*position),
        _ => None,
    };
    format!(
        "{} failed: {}",
        place(assertion, completed, position),
        connect::describe(error)
    )
}

/// `file:line:column` of an error, or of a statement.
fn place(assertion: &Assertion, statement: usize, position: Option<u32>) -> String {
    let script = &assertion.script;
    let all = 0..script.text().len();
    let exact = position.and_then(|position| script.place_of_error(&all, 0, position));
    match exact.or_else(|| script.place_of_statement(statement)) {
        Some(place) => format!("{}:{}:{}", assertion.name, place.line, place.column),
        None => assertion.name.clone(),
    }
}
