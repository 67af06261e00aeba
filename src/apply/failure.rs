//! How applying ends other than well.

use std::fmt;

use tokio_postgres::error::{DbError, ErrorPosition, SqlState};

use crate::{connect, exit::ExitStatus, sql::Place};

/// Why a migration was not applied.
#[derive(Debug)]
pub enum Failure {
    /// Another session holds the lock.
    LockHeld,
    /// The history has gained or lost a row since it was read, or its row is another now.
    AlreadyApplied,
    /// A lock timeout, a deadlock, a serialization failure, or a server without disk or memory: everything was rolled back,
    /// and it is worth another try.
    Contention(Box<SqlFailure>),
    /// SQL failed.
    Sql(Box<SqlFailure>),
    /// The connection ended, or will be ended by the server; the fate of what was under way is unknown.
    Connection(tokio_postgres::Error),
    /// A statement outside a transaction was interrupted, and the catalog cannot tell how far it came.
    Dirty {
        /// The migration.
        version: String,
        /// What is known.
        what: String,
        /// It is applied, and was on its way back.
        undoing: bool,
    },
    /// Something is not permitted.
    Refused {
        /// What failed.
        what: String,
        /// The statement that would permit it, or another way out.
        next: String,
    },
    /// What a pooler cannot carry, or a file that cannot be run as asked.
    Unsupported {
        /// What cannot be done.
        what: String,
        /// Another way.
        next: String,
    },
    /// The command has to stop.
    Stopped {
        /// A statement was cancelled for it; else nothing was under way.
        cancelled: bool,
    },
}

/// An SQL error in a file.
#[derive(Debug, Clone)]
pub struct SqlFailure {
    /// The migration.
    pub version: String,
    /// The file, relative to the folder.
    pub path: String,
    /// Where in the file.
    pub location: Option<Place>,
    /// The number of the statement in the file, from 1.
    pub statement: Option<usize>,
    /// The statement, shortened and without its literals.
    pub excerpt: Option<String>,
    /// SQLSTATE.
    pub code: String,
    /// The server's message.
    pub message: String,
    /// DETAIL, and CONTEXT where more of it is known than may be shown. They can hold values of rows: for the log only.
    pub detail: Option<String>,
    /// HINT.
    pub hint: Option<String>,
    /// CONTEXT: the function or the line of a COPY.
    pub context: Option<String>,
    /// What became of the work, as a sentence.
    pub rolled_back: String,
    /// The role, for the advice on a missing privilege.
    pub user: String,
    /// Who held what was waited for, where that was seen.
    pub blocked_by: Option<String>,
}

// === impl Failure ===

impl Failure {
    /// Sorts an error of our own statements, which concern no file.
    pub fn of_own(error: tokio_postgres::Error) -> Self {
        if connect::classify(&error).is_connection_lost() {
            return Self::Connection(error);
        }
        let Some(db) = error.as_db_error() else {
            return Self::Connection(error);
        };
        if db.message().contains(super::frame::LOCK_NOT_HELD) {
            return Self::LockHeld;
        }
        let moved = [super::frame::ALREADY_APPLIED, crate::formats::MOVED_ON];
        if moved.iter().any(|word| db.message().contains(word)) {
            return Self::AlreadyApplied;
        }
        let mut sql = SqlFailure::new("the run", "schemagate's own statements", db);
        "what was committed before stays, nothing is half applied".clone_into(&mut sql.rolled_back);
        Self::of_sql(sql)
    }

    /// Worth another try, a missing privilege, or a failure.
    pub(super) fn of_sql(sql: SqlFailure) -> Self {
        if is_contention(&sql.code) || sql.is_exhaustion() {
            Self::Contention(Box::new(sql))
        } else {
            Self::Sql(Box::new(sql))
        }
    }

    /// The server cancelled the statement: by a timeout, or because we asked.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Sql(sql) if sql.code == SqlState::QUERY_CANCELED.code())
    }

    /// The second connection cannot be had.
    pub(super) fn no_second_connection(why: &str, status: ExitStatus) -> Self {
        let what = format!(
            "a statement outside a transaction needs a second connection for the lock, and that cannot be had: {why}"
        );
        if status == ExitStatus::Locked {
            let mut sql = SqlFailure::at("the run", "the lock's connection", "53300");
            sql.message = what;
            "nothing was run outside a transaction".clone_into(&mut sql.rolled_back);
            return Self::Contention(Box::new(sql));
        }
        Self::Refused {
            what,
            next: "allow the role two connections, or give schemagate a URL of its own (SCHEMAGATE_DATABASE_URL) that \
                   goes to the server, not to the pooler"
                .to_owned(),
        }
    }
}

// === impl SqlFailure ===

impl SqlFailure {
    /// From the server's answer; the place is filled in by who knows the file.
    pub fn new(version: &str, path: &str, error: &DbError) -> Self {
        let context = match error.position() {
            Some(ErrorPosition::Internal { position, query }) => Some(format!(
                "at character {position} of: {}",
                crate::sql::excerpt(query)
            )),
            _ => None,
        };
        let (shown, hidden) = error.where_().map(divide_context).unwrap_or_default();
        let details = [error.detail().map(str::to_owned), hidden];
        let details: Vec<String> = details.into_iter().flatten().collect();
        Self {
            message: error.message().to_owned(),
            detail: (!details.is_empty()).then(|| details.join("\n")),
            hint: error.hint().map(str::to_owned),
            context: context.or(shown),
            ..Self::at(version, path, error.code().code())
        }
    }

    /// A failure that schemagate finds itself, to be filled in.
    pub fn at(version: &str, path: &str, code: &str) -> Self {
        Self {
            version: version.to_owned(),
            path: path.to_owned(),
            location: None,
            statement: None,
            excerpt: None,
            code: code.to_owned(),
            message: String::new(),
            detail: None,
            hint: None,
            context: None,
            rolled_back: String::new(),
            user: String::new(),
            blocked_by: None,
        }
    }

    /// 9 where a privilege is missing (an operator may still grant it), 5 otherwise.
    pub fn exit_status(&self) -> ExitStatus {
        if self.code == SqlState::INSUFFICIENT_PRIVILEGE.code() {
            ExitStatus::Refused
        } else {
            ExitStatus::Sql
        }
    }

    /// The server had no disk space, no memory or no room in a table of its own; nothing is wrong with the file.
    ///
    /// <https://www.postgresql.org/docs/current/errcodes-appendix.html>, class 53. Too many connections (53300) is none: the
    /// lock's second connection says so of itself.
    pub fn is_exhaustion(&self) -> bool {
        matches!(self.code.as_str(), "53000" | "53100" | "53200" | "53400")
    }

    /// `file:line:column` as far as it is known.
    pub fn place(&self) -> String {
        match (&self.location, self.statement) {
            (Some(location), _) => format!("{}:{}:{}", self.path, location.line, location.column),
            (None, Some(statement)) => format!("{}, statement {statement}", self.path),
            (None, None) => self.path.clone(),
        }
    }

    /// Whether pieces of the file are committed, which [`SqlFailure::rolled_back`] tells.
    pub fn leaves_pieces(&self) -> bool {
        self.rolled_back.starts_with("piece")
    }

    /// One line: where, SQLSTATE, message.
    pub fn headline(&self) -> String {
        format!(
            "{}: {} (SQLSTATE {})",
            self.place(),
            self.message,
            self.code
        )
    }

    /// The line of [`SqlFailure::headline`], and who was in the way.
    pub fn hindrance(&self) -> String {
        match &self.blocked_by {
            Some(blocked_by) => format!("{}; blocked by {blocked_by}", self.headline()),
            None => self.headline(),
        }
    }

    /// The line with its caret, the statement, hint and context; what a person reads first. Without DETAIL.
    pub fn block(&self) -> String {
        let mut lines = Vec::new();
        if let Some(location) = &self.location
            && !location.text.is_empty()
        {
            lines.push(location.text.clone());
            lines.push(location.caret.clone());
        }
        if let (Some(number), Some(excerpt)) = (self.statement, &self.excerpt) {
            lines.push(format!("statement {number}: {excerpt}"));
        }
        if let Some(blocked_by) = &self.blocked_by {
            lines.push(format!("blocked by: {blocked_by}"));
        }
        if let Some(hint) = &self.hint {
            lines.push(format!("hint: {hint}"));
        }
        if let Some(context) = &self.context {
            lines.push(format!("context: {context}"));
        }
        lines.join("\n")
    }

    /// What to do next.
    pub fn next_step(&self) -> String {
        let advice = match self.code.as_str() {
            "42501" => grant(&self.message, &self.user),
            "25001" => "this statement cannot run in a transaction: put it in a file of its own with \
                        `-- schemagate: transaction=off` at its head"
                .to_owned(),
            "2D000" => "a procedure or DO block that commits cannot share a transaction: put it in a file of its own \
                        with `-- schemagate: transaction=off` at its head"
                .to_owned(),
            "55P04" => "a new enum value can be used after the migration that adds it has committed: use it in a later \
                        file, with SCHEMAGATE_TRANSACTION=each"
                .to_owned(),
            "53100" => "free space on the server's disk, or give it more, then start again".to_owned(),
            "53000" | "53200" | "53400" => "free memory on the server, or raise the limit that its hint names, then start \
                                            again"
                .to_owned(),
            "40P01" => "another session takes the same locks in another order: run it when that one is not busy, or \
                        take the locks in its order"
                .to_owned(),
            "57014" => "the statement ran into a timeout: raise SCHEMAGATE_STATEMENT_TIMEOUT, or put \
                        `-- schemagate: statement-timeout=…` at the head of the file"
                .to_owned(),
            "25006" => "the role or the database is read only by default, which a statement outside a transaction \
                        inherits: ALTER ROLE … RESET default_transaction_read_only, or give schemagate a URL that goes \
                        to the server itself"
                .to_owned(),
            "55P03" => "the locks were not obtained: run it when the table is less busy, or raise \
                        SCHEMAGATE_LOCK_TIMEOUT or SCHEMAGATE_LOCK_RETRIES"
                .to_owned(),
            _ => "correct the file and release again".to_owned(),
        };
        format!("{}; {advice}", self.rolled_back)
    }
}

/// `lock_not_available`, `deadlock_detected`, `serialization_failure`: everything was rolled back, and it may work the
/// next time.
fn is_contention(code: &str) -> bool {
    matches!(code, "55P03" | "40P01" | "40001")
}

/// The `GRANT` that a message about a missing privilege asks for. The server words it in its own language; then the
/// general sentence is all there is to say.
pub fn grant(message: &str, user: &str) -> String {
    let role = crate::migration::quote_ident(user);
    let object = |kind: &str| {
        message
            .strip_prefix(&format!("permission denied for {kind} "))
            .map(crate::migration::quote_ident)
    };
    if let Some(name) = object("schema") {
        format!("as its owner: GRANT USAGE, CREATE ON SCHEMA {name} TO {role}")
    } else if let Some(name) = object("database") {
        format!("as its owner: GRANT CREATE ON DATABASE {name} TO {role}")
    } else if let Some(name) = object("table") {
        format!("as its owner: GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE {name} TO {role}")
    } else if message.starts_with("must be owner") {
        format!("run as the owner: GRANT <owner> TO {role}, and set SCHEMAGATE_ROLE=<owner>")
    } else {
        format!("grant what is missing to role {role}, or set SCHEMAGATE_ROLE to the owner")
    }
}

/// Divides a CONTEXT into what names a place alone, and, where it says more than that, the whole.
///
/// `COPY t, line 2, column a: "…"` goes on with the value, and `SQL statement "…"` with its literals. What is shown are
/// the lines of a COPY and of a procedural language, up to the first colon or quote.
fn divide_context(context: &str) -> (Option<String>, Option<String>) {
    let mut lines = Vec::new();
    let mut in_quotes = false;
    for line in context.lines() {
        let is_place = !in_quotes && (line.starts_with("COPY ") || line.starts_with("PL/"));
        if is_place {
            let end = line.find([':', '"', '\'']).unwrap_or(line.len());
            lines.push(line[..end].trim_end());
        } else {
            // A statement of several lines, any of which may look like a place.
            in_quotes ^= line.matches('"').count() % 2 == 1;
        }
    }
    let shown = lines.join("\n");
    let hidden = (shown != context).then(|| format!("context: {context}"));
    ((!shown.is_empty()).then_some(shown), hidden)
}

impl fmt::Display for SqlFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.headline())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_names_places_without_values() {
        let check = |context: &str, shown: &str, hides: bool| {
            let (found, hidden) = divide_context(context);
            assert_eq!(found.unwrap_or_default(), shown, "{context}");
            assert_eq!(hidden.is_some(), hides, "{context}");
            assert!(hidden.is_none_or(|hidden| hidden.contains(context)));
        };
        check(
            "COPY t, line 2, column a: \"x4111-1111\"",
            "COPY t, line 2, column a",
            true,
        );
        check("COPY t, line 2: \"x4111\ty\"", "COPY t, line 2", true);
        check(
            "COPY t, line 2, column a: null input",
            "COPY t, line 2, column a",
            true,
        );
        check("SQL statement \"INSERT INTO t VALUES ('card')\"", "", true);
        check(
            "SQL statement \"INSERT INTO t VALUES ('card\nCOPY secret, line 1')\"\n\
             PL/pgSQL function f(integer) line 3 at SQL statement\n\
             SQL function \"g\" statement 1\nPL/pgSQL function inline_code_block line 1 at PERFORM",
            "PL/pgSQL function f(integer) line 3 at SQL statement\n\
             PL/pgSQL function inline_code_block line 1 at PERFORM",
            true,
        );
        check(
            "PL/pgSQL function f() line 3 at RAISE",
            "PL/pgSQL function f() line 3 at RAISE",
            false,
        );
    }

    #[test]
    fn grants() {
        let check = |message: &str, expected: &str| {
            let advice = grant(message, "app");
            assert!(advice.contains(expected), "{message}: {advice}");
        };
        check(
            "permission denied for schema public",
            "GRANT USAGE, CREATE ON SCHEMA \"public\" TO \"app\"",
        );
        check(
            "permission denied for database shop",
            "GRANT CREATE ON DATABASE \"shop\" TO \"app\"",
        );
        check("permission denied for table t", "ON TABLE \"t\" TO \"app\"");
        check("must be owner of table t", "SCHEMAGATE_ROLE");
        check("keine Berechtigung", "\"app\"");
    }
}
