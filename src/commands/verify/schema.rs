//! The schema as it is, beside what the last run noted of it, and what the catalog itself calls unfinished.

use tokio_postgres::error::SqlState;

use super::of_database;
use crate::{
    connect::Session,
    drift::{
        self, Fingerprint, Malformed, Patterns,
        health::{self, Unfinished},
    },
    error::Error,
    history::{self, journal},
    migration::quote_ident,
    report::verify::{ComparedWith, Finding, Report},
    runner,
    wire::{self, Reply},
};

/// The newest fingerprint in the journal.
struct Noted {
    with: ComparedWith,
    fingerprint: Fingerprint,
    /// Migrations that were noted after it.
    later: bool,
}

/// Adds what is found.
pub(super) async fn look(
    session: &Session,
    role: Option<&str>,
    ignore: &Patterns,
    report: &mut Report,
) -> Result<(), Error> {
    let noted = noted(session, role, report).await?;
    let mut questions = format!("{};{}", health::INDEXES_SQL, health::CONSTRAINTS_SQL);
    if noted.is_some() {
        questions = format!("{questions};{}", drift::objects_sql());
    }
    let (mut reply, first) = ask(session, role, &questions).await?;
    let mut rows = |index: usize| reply.rows(first + index).map_err(of_database);
    let (indexes, constraints) = (rows(0)?, rows(1)?);
    if let Some(noted) = noted {
        let objects = rows(2)?.into_iter().next();
        let objects = objects.and_then(|row| row.into_iter().next());
        // NULL where the database has no object at all.
        let objects = objects.flatten().unwrap_or_else(|| "null".to_owned());
        let now = Fingerprint::of_objects(session.server_version(), &objects)
            .map_err(|_| unreadable())?;
        compare(noted, &now, ignore, report);
    }
    let unfinished = health::invalid_indexes(&indexes, ignore);
    report.findings.extend(unfinished.into_iter().map(|index| {
        let message = format!(
            "index {} is invalid: a build of it was interrupted, and no query uses it",
            index.name
        );
        Finding::of(
            "index",
            index.kind,
            &index.name,
            "invalid",
            message,
            index.finish,
        )
    }));
    let unfinished = health::unvalidated(&constraints, ignore);
    report
        .findings
        .extend(unfinished.into_iter().map(|constraint| {
            let message = format!(
                "constraint {} is not validated: rows from before it may break it",
                constraint.name
            );
            let Unfinished { kind, name, finish } = constraint;
            Finding::of("constraint", kind, &name, "not validated", message, finish)
        }));
    Ok(())
}

fn unreadable() -> Error {
    let error = history::Error::Answer("a schema that cannot be read");
    runner::Error::History(error).into()
}

fn compare(noted: Noted, now: &Fingerprint, ignore: &Patterns, report: &mut Report) {
    let Noted {
        mut with,
        fingerprint,
        later,
    } = noted;
    with.exact &= fingerprint.server == now.server;
    let drift = drift::compare(&fingerprint, now, with.exact, ignore);
    if later && !drift.is_empty() {
        report.warnings.push(format!(
            "migrations were noted after the fingerprint of {}: their run could not note the schema, or is under way; what \
             is told as drift may be theirs",
            with.at
        ));
    }
    if fingerprint.major() != now.major() {
        report.warnings.push(format!(
            "the fingerprint was taken on PostgreSQL {}, this is {}: printed expressions are compared without casts, \
             qualifiers and needless parentheses",
            fingerprint.major(),
            now.major()
        ));
    }
    report
        .findings
        .extend(drift.into_iter().map(Finding::of_drift));
    report.compared_with = Some(with);
}

/// The newest fingerprint; why there is none is a warning.
async fn noted(
    session: &Session,
    role: Option<&str>,
    report: &mut Report,
) -> Result<Option<Noted>, Error> {
    let none = "drift cannot be compared: no run has noted the schema yet; the next one does";
    let (mut reply, first) = match ask(session, role, &journal::fingerprint_sql()).await {
        Ok(answer) => answer,
        Err(Error::Run(runner::Error::History(history::Error::Database(error)))) => {
            let is = |state: SqlState| error.code() == Some(&state);
            if is(SqlState::UNDEFINED_TABLE) || is(SqlState::INVALID_SCHEMA_NAME) {
                report.warnings.push(none.to_owned());
                return Ok(None);
            }
            if is(SqlState::INSUFFICIENT_PRIVILEGE) {
                return Err(Error::NoJournal);
            }
            return Err(of_database(error));
        }
        Err(error) => return Err(error),
    };
    let rows = reply.rows(first).map_err(of_database)?;
    let Some(row) = rows.first() else {
        report.warnings.push(none.to_owned());
        return Ok(None);
    };
    let text = |column: usize| row.get(column).cloned().flatten().unwrap_or_default();
    match Fingerprint::of_detail(&text(2)) {
        Ok(fingerprint) => Ok(Some(Noted {
            with: ComparedWith {
                at: text(0),
                history: text(1),
                server_version: fingerprint.server,
                exact: text(3) == "t",
                objects: fingerprint.len(),
            },
            fingerprint,
            later: text(4) != "0",
        })),
        Err(why) => {
            let why = match why {
                Malformed::Newer => "was taken by a newer release",
                Malformed::Unreadable => "cannot be read",
            };
            report.warnings.push(format!(
                "drift cannot be compared: the fingerprint of {} {why}",
                text(0)
            ));
            Ok(None)
        }
    }
}

/// Asks in a transaction of its own; the answer, and which result is the first question's.
async fn ask(
    session: &Session,
    role: Option<&str>,
    questions: &str,
) -> Result<(Reply, usize), Error> {
    let as_role = role.map_or_else(String::new, |role| {
        format!("SET LOCAL ROLE {};", quote_ident(role))
    });
    let sql = format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY;{as_role}{}{questions};COMMIT",
        drift::SETTINGS
    );
    let mut reply = wire::query(session.client(), &sql).await;
    if let Some(error) = reply.error.take() {
        // The first error matters.
        let _ = wire::execute(session.client(), "ROLLBACK").await;
        return Err(of_database(error));
    }
    let first = 1 + usize::from(role.is_some()) + drift::SETTINGS_COUNT;
    Ok((reply, first))
}
