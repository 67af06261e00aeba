//! Statements that only change the state of the session or of the transaction.

use crate::sql::lex::Lexeme;
use crate::sql::words::Words;

/// `SET`, `RESET` or a lone `SELECT set_config(…)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// `SET LOCAL`, or `true` as `set_config`'s last argument: gone with the transaction.
    pub local: bool,
    /// What is set.
    pub setting: Setting,
}

/// What a [`Session`] statement sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Setting {
    /// `ROLE`.
    Role,
    /// `SESSION AUTHORIZATION`.
    SessionAuthorization,
    /// `search_path`, also as `SET SCHEMA`.
    SearchPath,
    /// `RESET ALL`: every setting, but neither role nor session authorization.
    All,
    /// Another setting, in lower case.
    Other(String),
}

/// What a statement starting with `SET`, `RESET` or `SELECT` is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    Session(Session),
    Transaction,
    None,
}

/// What the server would read in another way than we do, behind a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Misreading {
    /// Everything.
    OfAnything(&'static str),
    /// Backslashes in plain strings.
    OfBackslashes(&'static str),
}

// === impl Setting ===

impl Setting {
    fn named(name: &str) -> Self {
        match name {
            "role" => Self::Role,
            "session_authorization" => Self::SessionAuthorization,
            "search_path" => Self::SearchPath,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// Settings of the running transaction: setting one is `SET TRANSACTION` by another name.
fn is_of_transaction(name: &str) -> bool {
    matches!(
        name,
        "transaction_isolation" | "transaction_read_only" | "transaction_deferrable"
    )
}

/// Reads a statement behind `SET`.
///
/// <https://www.postgresql.org/docs/current/sql-set.html>
pub(super) fn set(words: &mut Words<'_>) -> Change {
    if words.is("constraints") {
        return Change::None;
    }
    let local = words.take("local");
    let session = !local && words.take("session");
    if session && words.is("authorization") {
        return change(local, Setting::SessionAuthorization);
    }
    if session && words.is("characteristics") {
        // The defaults of later transactions, not the modes of this one.
        return change(local, Setting::named("default_transaction_modes"));
    }
    if words.take("session") {
        return if words.is("authorization") {
            change(local, Setting::SessionAuthorization)
        } else {
            Change::Transaction
        };
    }
    if words.take("transaction") {
        return Change::Transaction;
    }
    let Some(name) = words.name() else {
        return Change::None;
    };
    let setting = match name.to_string().as_str() {
        of if is_of_transaction(of) => return Change::Transaction,
        "schema" => Setting::SearchPath,
        "names" => Setting::named("client_encoding"),
        "time" => Setting::named("timezone"),
        other => Setting::named(other),
    };
    change(local, setting)
}

/// Reads a statement behind `RESET`.
pub(super) fn reset(words: &mut Words<'_>) -> Change {
    if words.take_all(&["session", "authorization"]) {
        return change(false, Setting::SessionAuthorization);
    }
    if words.take("all") {
        return change(false, Setting::All);
    }
    match words.name().map(|name| name.to_string()).as_deref() {
        None => Change::None,
        Some(name) if is_of_transaction(name) => Change::Transaction,
        Some("time") => change(false, Setting::named("timezone")),
        Some(name) => change(false, Setting::named(name)),
    }
}

/// Reads a statement behind `SELECT`: a lone `set_config` of constants, as `pg_dump` writes it. With anything else in
/// it the statement may do more than set something, and running it again would not be harmless.
pub(super) fn select(words: &mut Words<'_>) -> Change {
    words.take("pg_catalog");
    words.take_lexeme(Lexeme::Dot);
    if !words.take("set_config") || !words.take_lexeme(Lexeme::Open) {
        return Change::None;
    }
    let Some(name) = words.next().filter(|token| token.lexeme == Lexeme::Text) else {
        return Change::None;
    };
    let name = words.text_of(name).trim_matches('\'').to_ascii_lowercase();
    let Some(local) = last_argument(words) else {
        return Change::None;
    };
    if !words.at_end() {
        return Change::None;
    }
    if is_of_transaction(&name) {
        return Change::Transaction;
    }
    change(local, Setting::named(&name))
}

/// The value of the last argument, if all of them are constants: `, 'value', false)`.
fn last_argument(words: &mut Words<'_>) -> Option<bool> {
    let mut last = String::new();
    loop {
        let token = words.next()?;
        match token.lexeme {
            Lexeme::Close => break,
            Lexeme::Comma | Lexeme::Text | Lexeme::Number | Lexeme::Word => {}
            _ => return None,
        }
        words
            .text_of(token)
            .trim_matches('\'')
            .clone_into(&mut last);
    }
    match last.to_ascii_lowercase().as_str() {
        "true" | "t" | "on" | "yes" | "1" => Some(true),
        "false" | "f" | "off" | "no" | "0" => Some(false),
        _ => None,
    }
}

/// Why a file with this setting would not mean the same as it does in psql, which sends statement by statement: a
/// message is read as a whole before its first statement runs.
pub(super) fn misreads(text: &str, session: &Session) -> Option<Misreading> {
    let Setting::Other(name) = &session.setting else {
        return None;
    };
    let value = value(text).to_ascii_lowercase();
    match name.as_str() {
        "standard_conforming_strings"
            if matches!(value.as_str(), "off" | "false" | "no" | "0" | "f" | "n") =>
        {
            Some(Misreading::OfBackslashes(
                "standard_conforming_strings = off would change how the strings behind it are read; remove the line \
                 and write strings with backslash escapes as E'…'",
            ))
        }
        "client_encoding"
            if !matches!(value.as_str(), "utf8" | "utf-8" | "unicode" | "default") =>
        {
            Some(Misreading::OfAnything(
                "files are sent as UTF-8; remove the line, and save the file as UTF-8",
            ))
        }
        _ => None,
    }
}

/// The value that a statement sets, if it is a single one: the last token of a `SET`, the second string of a
/// `set_config`.
fn value(text: &str) -> &str {
    let mut words = Words::new(text);
    if words.take("reset") {
        return "default";
    }
    let function = words.is("select");
    let tokens = std::iter::from_fn(|| words.next());
    let token = if function {
        tokens.filter(|token| token.lexeme == Lexeme::Text).nth(1)
    } else {
        tokens.last()
    };
    token
        .map_or("", |token| token.of(text))
        .trim_matches(['\'', '"'])
}

fn change(local: bool, setting: Setting) -> Change {
    Change::Session(Session { local, setting })
}
