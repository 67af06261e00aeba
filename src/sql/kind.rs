//! What a statement is, as far as running it depends on that.

use crate::sql::bare::{self, Bare, Block};
use crate::sql::lex::Lexeme;
use crate::sql::session::{self, Change, Session};
use crate::sql::words::Words;

/// The savepoint around a file, which a file's own statements must not touch.
pub const FENCE_SAVEPOINT: &str = "schemagate_fence";

/// What a statement is. Whatever is not known is [`Kind::Plain`]: it runs, and the server judges it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Runs in a transaction like any other.
    Plain,
    /// `BEGIN`, `START TRANSACTION`.
    Begin {
        /// No modes other than those of every transaction that schemagate opens: `READ COMMITTED` (of which
        /// `READ UNCOMMITTED` is another name), `READ WRITE`, `NOT DEFERRABLE`.
        usual_modes: bool,
    },
    /// `COMMIT`, `END`.
    Commit,
    /// `COMMIT AND CHAIN`.
    CommitAndChain,
    /// `ROLLBACK`, `ABORT`: of the whole transaction.
    Rollback,
    /// `ROLLBACK AND CHAIN`.
    RollbackAndChain,
    /// `PREPARE TRANSACTION`.
    PrepareTransaction,
    /// `COMMIT PREPARED`.
    CommitPrepared,
    /// `ROLLBACK PREPARED`.
    RollbackPrepared,
    /// `SAVEPOINT`, with its name.
    Savepoint(String),
    /// `RELEASE`, with the savepoint's name.
    Release(String),
    /// `ROLLBACK TO`, with the savepoint's name.
    RollbackTo(String),
    /// `SET TRANSACTION`, `SET SESSION CHARACTERISTICS`, `SET transaction_isolation`.
    SetTransaction,
    /// `SET`, `RESET`, a lone `SELECT set_config(…)`: to be said again before the later pieces of a file that runs
    /// piece by piece.
    Session(Session),
    /// `COPY … FROM STDIN`.
    CopyFromStdin,
    /// `COPY … TO STDOUT`.
    CopyToStdout,
    /// `CALL`, or a `DO` whose body calls: the procedure may commit, which only the server finds out.
    Call,
    /// Refused in a transaction block.
    Bare(Bare),
}

/// Letters of the longest word that [`classify`] knows, rounded up.
const LONGEST: usize = 16;

/// Reads one statement, without its `;`.
pub(super) fn classify(text: &str) -> Kind {
    let mut words = Words::new(text);
    let first = words.next().filter(|token| token.lexeme == Lexeme::Word);
    let first = first.map_or("", |token| token.of(text));
    // In lower case without an allocation: every statement of a large file comes through here.
    let mut lower = [0_u8; LONGEST];
    let Some(lower) = lower.get_mut(..first.len()) else {
        return Kind::Plain;
    };
    lower.copy_from_slice(first.as_bytes());
    lower.make_ascii_lowercase();
    match &*lower {
        b"begin" => begin(words),
        b"start" if words.take("transaction") => begin(words),
        b"commit" | b"end" => commit(words),
        b"rollback" | b"abort" => rollback(words),
        b"prepare" if words.take("transaction") => Kind::PrepareTransaction,
        b"savepoint" => savepoint(words, Kind::Savepoint),
        b"release" => savepoint(words, Kind::Release),
        b"set" => changed(session::set(&mut words)),
        b"reset" => changed(session::reset(&mut words)),
        b"select" => changed(session::select(&mut words)),
        b"copy" => copy(words),
        b"call" => Kind::Call,
        b"do" => match bare::block(words) {
            Block::Commits => Kind::Bare(Bare::CommittingBlock),
            Block::Calls => Kind::Call,
            Block::Plain => Kind::Plain,
        },
        first => bare::classify(first, words).map_or(Kind::Plain, Kind::Bare),
    }
}

/// Whether the statement adds a value to an enum, which only a later transaction can use.
pub(super) fn adds_enum_value(text: &str) -> bool {
    let mut words = Words::new(text);
    words.take_all(&["alter", "type"])
        && words.name().is_some()
        && words.take_all(&["add", "value"])
}

/// <https://www.postgresql.org/docs/current/sql-begin.html>
fn begin(mut words: Words<'_>) -> Kind {
    words.take_any(&["work", "transaction"]);
    let mut usual_modes = true;
    while words.next_mode() {
        usual_modes &= words.usual_mode();
    }
    Kind::Begin { usual_modes }
}

impl Words<'_> {
    fn next_mode(&mut self) -> bool {
        self.take_lexeme(Lexeme::Comma);
        !self.at_end()
    }

    /// Takes one usual mode; anything else takes one token.
    fn usual_mode(&mut self) -> bool {
        let usual: [&[&str]; 4] = [
            &["isolation", "level", "read", "committed"],
            &["isolation", "level", "read", "uncommitted"],
            &["read", "write"],
            &["not", "deferrable"],
        ];
        if usual.into_iter().any(|mode| self.take_all(mode)) {
            return true;
        }
        self.next();
        false
    }
}

fn commit(mut words: Words<'_>) -> Kind {
    if words.take("prepared") {
        return Kind::CommitPrepared;
    }
    words.take_any(&["work", "transaction"]);
    if words.take_all(&["and", "chain"]) {
        return Kind::CommitAndChain;
    }
    words.take_all(&["and", "no", "chain"]);
    alone(&words, Kind::Commit)
}

fn rollback(mut words: Words<'_>) -> Kind {
    if words.take("prepared") {
        return Kind::RollbackPrepared;
    }
    words.take_any(&["work", "transaction"]);
    if words.take_all(&["and", "chain"]) {
        return Kind::RollbackAndChain;
    }
    if words.take("to") {
        return savepoint(words, Kind::RollbackTo);
    }
    words.take_all(&["and", "no", "chain"]);
    alone(&words, Kind::Rollback)
}

/// What has more words than its grammar allows is the server's to refuse, not ours to act on.
fn alone(words: &Words<'_>, kind: Kind) -> Kind {
    if words.at_end() { kind } else { Kind::Plain }
}

/// `[SAVEPOINT] name`. The word may itself be the name: `RELEASE savepoint`.
fn savepoint(mut words: Words<'_>, make: fn(String) -> Kind) -> Kind {
    let Some(first) = words.ident() else {
        return Kind::Plain;
    };
    make(words.ident().unwrap_or(first))
}

fn changed(change: Change) -> Kind {
    match change {
        Change::Session(session) => Kind::Session(session),
        Change::Transaction => Kind::SetTransaction,
        Change::None => Kind::Plain,
    }
}

/// `COPY t [(…)] FROM STDIN …`, `COPY t TO STDOUT …`, `COPY (query) TO STDOUT …`. `BINARY` may stand in front of the
/// table as before PostgreSQL 7.3. STDIN and STDOUT mean the same behind either word, as in PostgreSQL's grammar.
fn copy(mut words: Words<'_>) -> Kind {
    if words.skip_parentheses() {
        let out = words.take("to") && words.take_any(&["stdout", "stdin"]);
        return if out { Kind::CopyToStdout } else { Kind::Plain };
    }
    words.take("binary");
    words.name();
    words.skip_parentheses();
    let from = words.is("from");
    if !words.take_any(&["from", "to"]) || !words.take_any(&["stdin", "stdout"]) {
        return Kind::Plain;
    }
    if from {
        Kind::CopyFromStdin
    } else {
        Kind::CopyToStdout
    }
}

#[cfg(test)]
mod tests;
