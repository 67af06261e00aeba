//! What an error of the client library means: try again, give up, the session is gone, or an ordinary SQL error.

use std::error::Error as StdError;

use tokio_postgres::Error;
use tokio_postgres::error::{DbError, Severity};

use crate::exit::ExitStatus;

/// The kinds of errors that are treated differently, while connecting and in the middle of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// It may pass by itself: resources, serialization failures, deadlocks, a standby that is to become a primary. If
    /// it happened in the middle of a run, the session is still there.
    Transient,
    /// Somebody must change something first; what to end with if nobody does.
    Permanent(ExitStatus),
    /// The session is gone, or never came to be. Connecting again may work; what became of a commit on its way must be
    /// looked up.
    ConnectionLost,
    /// An ordinary SQL error; the session is still there.
    Statement,
}

// === impl Class ===

impl Class {
    /// The session is over, or will be ended by the server.
    pub const fn is_connection_lost(self) -> bool {
        matches!(self, Self::ConnectionLost)
    }

    /// The same may work a little later, on a new session.
    pub const fn may_pass(self) -> bool {
        matches!(self, Self::ConnectionLost | Self::Transient)
    }
}

/// Classifies by SQLSTATE and severity.
///
/// After `pg_terminate_backend` the error is an ordinary one with 57P01 and `is_closed()` is false, so the code decides.
/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
pub fn classify(error: &Error) -> Class {
    match error.as_db_error() {
        Some(error) => classify_server(error.code().code(), is_fatal(error), error.message()),
        None if is_authentication(error) => Class::Permanent(ExitStatus::Refused),
        None if is_about_the_connection(error) => Class::ConnectionLost,
        None => Class::Statement,
    }
}

/// A pooler that logs in at the server only when something is asked may pass its refusal on as an ordinary error.
pub fn is_refused_login(error: &Error) -> bool {
    let code = error.code().map_or("", |code| code.code());
    code.starts_with("28") || code == "3D000"
}

/// One line for people: `message (SQLSTATE 42P01)`, or the chain of causes. Never the DETAIL, which can hold values
/// of rows.
pub fn describe(error: &Error) -> String {
    match error.as_db_error() {
        Some(error) => format!("{} (SQLSTATE {})", error.message(), error.code().code()),
        None => chain(error),
    }
}

/// An error and what is behind it, each once.
pub(super) fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let part = error.to_string();
        // `io::Error` shows the error that it carries as its own.
        if !text.ends_with(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        next = error.source();
    }
    text
}

fn is_fatal(error: &DbError) -> bool {
    match error.parsed_severity() {
        Some(severity) => matches!(severity, Severity::Fatal | Severity::Panic),
        // Poolers leave the untranslated field out.
        None => matches!(error.severity(), "FATAL" | "PANIC"),
    }
}

/// The rule for what a server, or a pooler in its place, says.
fn classify_server(code: &str, fatal: bool, message: &str) -> Class {
    match code {
        "08P01" => pooler(message),
        // shutdowns, crash, starting up, database dropped, and the timeouts that end an idle session or transaction
        "57P01" | "57P02" | "57P03" | "57P04" | "57P05" | "25P03" | "25P04" => {
            Class::ConnectionLost
        }
        // serialization failure, deadlock
        "40001" | "40P01" => Class::Transient,
        _ if code.starts_with("08") => Class::ConnectionLost,
        _ if code.starts_with("53") => Class::Transient,
        _ if !fatal => Class::Statement,
        // What ends a session at its start: the role, the password, the database, the privilege to connect.
        _ if code.starts_with("28") => Class::Permanent(ExitStatus::Refused),
        "3D000" | "42501" => Class::Permanent(ExitStatus::Refused),
        // A startup parameter, as in PGOPTIONS.
        _ if ["22", "42", "0A"]
            .iter()
            .any(|class| code.starts_with(class)) =>
        {
            Class::Permanent(ExitStatus::Usage)
        }
        // Supavisor's words for an unknown user or project.
        "XX000" if message.contains("not found") => Class::Permanent(ExitStatus::Refused),
        _ => Class::ConnectionLost,
    }
}

/// `PgBouncer` (1.18) has one code for everything; the texts are those in its source.
fn pooler(message: &str) -> Class {
    const REFUSED: &[&str] = &[
        "no such database",
        "no such user",
        "does not exist",
        "password authentication failed",
        "SASL authentication failed",
        "\"trust\" authentication failed",
        "certificate authentication failed",
        "login rejected",
        "no pg_hba.conf entry",
        "SSL required",
        "wrong password type",
        "server login failed: invalid server signature",
        "is disabled",
    ];
    const SETTINGS: &[&str] = &["unsupported startup parameter", "a database is required"];
    let says = |texts: &[&str]| texts.iter().any(|text| message.contains(text));
    if says(REFUSED) {
        Class::Permanent(ExitStatus::Refused)
    } else if says(SETTINGS) {
        Class::Permanent(ExitStatus::Usage)
    } else {
        Class::ConnectionLost
    }
}

/// The library has no accessor for the kind of its errors; what it displays is fixed text (tokio-postgres 0.7,
/// `error/mod.rs`).
fn is_authentication(error: &Error) -> bool {
    matches!(
        error.to_string().as_str(),
        "authentication error" | "invalid configuration"
    )
}

fn is_about_the_connection(error: &Error) -> bool {
    const OF_THE_STREAM: &[&str] = &[
        "connection closed",
        "error communicating with the server",
        "error connecting to server",
        "error performing TLS handshake",
        "timeout waiting for server",
        "unexpected message from server",
        "error parsing response from server",
    ];
    OF_THE_STREAM.contains(&error.to_string().as_str())
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[track_caller]
    fn check(code: &str, fatal: bool, message: &str, expected: Class) {
        assert_eq!(
            classify_server(code, fatal, message),
            expected,
            "{code} {message}"
        );
    }

    #[test]
    fn of_a_server() {
        let refused = Class::Permanent(ExitStatus::Refused);
        check("28P01", true, "", refused);
        check("28000", true, "", refused);
        check("3D000", true, "", refused);
        check("42501", true, "permission denied for database", refused);
        check(
            "42501",
            false,
            "permission denied for table",
            Class::Statement,
        );
        check("42P01", false, "", Class::Statement);
        check("22012", false, "", Class::Statement);
        check(
            "57014",
            false,
            "canceling statement due to user request",
            Class::Statement,
        );
        check(
            "3D000",
            false,
            "DROP DATABASE of one that is not there",
            Class::Statement,
        );
        check(
            "42704",
            true,
            "unrecognized configuration parameter",
            Class::Permanent(ExitStatus::Usage),
        );
        for code in [
            "57P01", "57P02", "57P03", "57P05", "25P03", "25P04", "08006", "08001",
        ] {
            check(code, true, "", Class::ConnectionLost);
            check(code, false, "", Class::ConnectionLost);
        }
        for code in ["53300", "53200", "53100", "40001", "40P01"] {
            check(code, false, "", Class::Transient);
        }
        check(
            "53300",
            true,
            "sorry, too many clients already",
            Class::Transient,
        );
        check("XX000", true, "Tenant or user not found", refused);
        check(
            "XX000",
            true,
            "Max client connections reached",
            Class::ConnectionLost,
        );
    }

    #[test]
    fn of_a_pooler() {
        let refused = Class::Permanent(ExitStatus::Refused);
        check("08P01", true, "no such database: x", refused);
        check("08P01", true, "database \"x\" does not exist", refused);
        check(
            "08P01",
            true,
            "server login failed: FATAL password authentication failed for user \"u\"",
            refused,
        );
        check(
            "08P01",
            true,
            "unsupported startup parameter: options",
            Class::Permanent(ExitStatus::Usage),
        );
        check("08P01", true, "server conn crashed?", Class::ConnectionLost);
        check("08P01", true, "query_wait_timeout", Class::ConnectionLost);
        check(
            "08P01",
            true,
            "no more connections allowed (max_client_conn)",
            Class::ConnectionLost,
        );
        check(
            "08P01",
            true,
            "server login has been failing, try again later (server_login_retry)",
            Class::ConnectionLost,
        );
    }

    #[test]
    fn a_chain_says_each_thing_once() {
        let inner = io::Error::other("inner");
        assert_eq!(chain(&inner), "inner");
        let outer = io::Error::other(inner);
        assert_eq!(chain(&outer), "inner");
    }
}
