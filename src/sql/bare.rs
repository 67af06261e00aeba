//! Statements that PostgreSQL refuses inside a transaction block: the callers of `PreventInTransactionBlock` in
//! PostgreSQL 12 to 18 (`tcop/utility.c`, `commands/*.c`), with the names that a look at the catalog needs afterwards.

use crate::sql::lex::{Lexeme, Tokens};
use crate::sql::name::Name;
use crate::sql::words::{Words, is_off};

/// A statement that must run outside a transaction block (SQLSTATE 25001 inside).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bare {
    /// `CREATE [UNIQUE] INDEX CONCURRENTLY`.
    CreateIndexConcurrently {
        /// The index's own name, which never has a schema (it is the table's); `None`: PostgreSQL makes one up.
        name: Option<String>,
        /// The table.
        table: Name,
        /// `IF NOT EXISTS`, which succeeds on an invalid leftover too.
        if_not_exists: bool,
    },
    /// `DROP INDEX CONCURRENTLY`.
    DropIndexConcurrently {
        /// The indexes; PostgreSQL takes one only.
        names: Vec<Name>,
        /// `IF EXISTS`.
        if_exists: bool,
    },
    /// `REINDEX … CONCURRENTLY`, also as an option in parentheses (14+).
    ReindexConcurrently {
        /// What kind of thing is named.
        target: ReindexTarget,
        /// The thing; `None` only for the whole database (16+).
        name: Option<Name>,
    },
    /// `REINDEX SCHEMA`, `DATABASE` or `SYSTEM`, which commit table by table.
    Reindex {
        /// What kind of thing is named.
        target: ReindexTarget,
        /// The thing.
        name: Option<Name>,
    },
    /// `VACUUM`, with or without `ANALYZE`, and whatever table.
    Vacuum,
    /// `CLUSTER` of every clustered table. With a table it may run in a block (unless that is partitioned).
    Cluster,
    /// `ALTER TABLE … DETACH PARTITION … CONCURRENTLY` (14+). An interrupted one is ended by `… FINALIZE`, which may
    /// run in a block.
    DetachPartitionConcurrently {
        /// The partitioned table.
        table: Name,
        /// Its partition.
        partition: Name,
    },
    /// `CREATE DATABASE`.
    CreateDatabase(String),
    /// `DROP DATABASE`.
    DropDatabase(String),
    /// `ALTER DATABASE … SET TABLESPACE`.
    AlterDatabaseSetTablespace(String),
    /// `CREATE TABLESPACE`.
    CreateTablespace(String),
    /// `DROP TABLESPACE`.
    DropTablespace(String),
    /// `ALTER SYSTEM`.
    AlterSystem,
    /// `CREATE SUBSCRIPTION` that makes a replication slot (not with `create_slot = false` or `connect = false`).
    CreateSubscription(String),
    /// `DROP SUBSCRIPTION`: refused in a block while the subscription has a slot, which only the server knows.
    DropSubscription(String),
    /// `ALTER SUBSCRIPTION` with a refresh (14+), `failover` (17+) or `two_phase` (18+).
    AlterSubscription(String),
    /// `DISCARD ALL`: drops session locks, settings, temporary tables.
    DiscardAll,
    /// `DO` whose body commits or rolls back.
    CommittingBlock,
}

/// What a `REINDEX` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReindexTarget {
    /// One index.
    Index,
    /// All indexes of a table.
    Table,
    /// All of a schema.
    Schema,
    /// All of the database but the catalog's.
    Database,
    /// The catalog's.
    System,
}

// === impl Bare ===

impl Bare {
    /// The command as people call it.
    pub const fn what(&self) -> &'static str {
        match self {
            Self::CreateIndexConcurrently { .. } => "CREATE INDEX CONCURRENTLY",
            Self::DropIndexConcurrently { .. } => "DROP INDEX CONCURRENTLY",
            Self::ReindexConcurrently { .. } => "REINDEX CONCURRENTLY",
            Self::Reindex { .. } => "REINDEX of a schema or database",
            Self::Vacuum => "VACUUM",
            Self::Cluster => "CLUSTER",
            Self::DetachPartitionConcurrently { .. } => "DETACH PARTITION CONCURRENTLY",
            Self::CreateDatabase(_) => "CREATE DATABASE",
            Self::DropDatabase(_) => "DROP DATABASE",
            Self::AlterDatabaseSetTablespace(_) => "ALTER DATABASE SET TABLESPACE",
            Self::CreateTablespace(_) => "CREATE TABLESPACE",
            Self::DropTablespace(_) => "DROP TABLESPACE",
            Self::AlterSystem => "ALTER SYSTEM",
            Self::CreateSubscription(_) => "CREATE SUBSCRIPTION",
            Self::DropSubscription(_) => "DROP SUBSCRIPTION",
            Self::AlterSubscription(_) => "ALTER SUBSCRIPTION",
            Self::DiscardAll => "DISCARD ALL",
            Self::CommittingBlock => "DO with COMMIT or ROLLBACK",
        }
    }

    /// Whether PostgreSQL refuses it in a block in every case that the text leaves open. What it may accept is left
    /// to the server when the file itself puts it between `BEGIN` and `COMMIT`.
    pub const fn is_always_refused(&self) -> bool {
        !matches!(self, Self::DropSubscription(_) | Self::AlterSubscription(_))
    }
}

/// Reads a statement behind its first word, which is given in lower case.
pub(super) fn classify(first: &[u8], mut words: Words<'_>) -> Option<Bare> {
    match first {
        b"create" => create(words),
        b"drop" => drop(words),
        b"alter" => alter(words),
        b"reindex" => reindex(words),
        b"cluster" => {
            words.take("verbose");
            words.options();
            words.at_end().then_some(Bare::Cluster)
        }
        b"discard" => words.take("all").then_some(Bare::DiscardAll),
        b"vacuum" => Some(Bare::Vacuum),
        _ => None,
    }
}

fn create(mut words: Words<'_>) -> Option<Bare> {
    if words.take("database") {
        return Some(Bare::CreateDatabase(words.ident()?));
    }
    if words.take("tablespace") {
        return Some(Bare::CreateTablespace(words.ident()?));
    }
    if words.take("subscription") {
        return create_subscription(words);
    }
    words.take("unique");
    if !words.take_all(&["index", "concurrently"]) {
        return None;
    }
    let if_not_exists = words.take_all(&["if", "not", "exists"]);
    // ON is reserved: an index of that name is written in quotes.
    let name = if words.is("on") { None } else { words.ident() };
    if !words.take("on") {
        return None;
    }
    words.take("only");
    Some(Bare::CreateIndexConcurrently {
        name,
        table: words.name()?,
        if_not_exists,
    })
}

fn create_subscription(mut words: Words<'_>) -> Option<Bare> {
    let name = words.ident()?;
    // The connection string and the publications come first; WITH is reserved.
    while !words.take("with") {
        if words.next().is_none() {
            return Some(Bare::CreateSubscription(name));
        }
    }
    let without_slot = words
        .options()
        .iter()
        .any(|(word, value)| matches!(word.as_str(), "create_slot" | "connect") && is_off(value));
    (!without_slot).then_some(Bare::CreateSubscription(name))
}

fn drop(mut words: Words<'_>) -> Option<Bare> {
    if words.take_all(&["index", "concurrently"]) {
        let if_exists = words.take_all(&["if", "exists"]);
        return Some(Bare::DropIndexConcurrently {
            names: words.names(),
            if_exists,
        });
    }
    let make = if words.take("database") {
        Bare::DropDatabase
    } else if words.take("tablespace") {
        Bare::DropTablespace
    } else if words.take("subscription") {
        Bare::DropSubscription
    } else {
        return None;
    };
    words.take_all(&["if", "exists"]);
    Some(make(words.ident()?))
}

fn alter(mut words: Words<'_>) -> Option<Bare> {
    if words.take("system") {
        return Some(Bare::AlterSystem);
    }
    if words.take("table") {
        return detach(words);
    }
    if words.take("database") {
        let name = words.ident()?;
        let moves = words.take_all(&["set", "tablespace"]);
        return moves.then_some(Bare::AlterDatabaseSetTablespace(name));
    }
    if words.take("subscription") {
        let name = words.ident()?;
        return alter_subscription(words).then_some(Bare::AlterSubscription(name));
    }
    None
}

/// `REFRESH …`, `{SET|ADD|DROP} PUBLICATION … [WITH (refresh = …)]` where a refresh is the default,
/// `SET (failover …)` and `SET (two_phase …)`.
fn alter_subscription(mut words: Words<'_>) -> bool {
    if words.take("refresh") {
        return true;
    }
    let set = words.is("set");
    if !words.take_any(&["set", "add", "drop"]) {
        return false;
    }
    if words.take("publication") {
        words.names();
        words.take("with");
        let options = words.options();
        return !options
            .iter()
            .any(|(word, value)| word == "refresh" && is_off(value));
    }
    set && words
        .options()
        .iter()
        .any(|(word, _)| matches!(word.as_str(), "failover" | "two_phase"))
}

fn detach(mut words: Words<'_>) -> Option<Bare> {
    words.take_all(&["if", "exists"]);
    words.take("only");
    let table = words.name()?;
    if !words.take_all(&["detach", "partition"]) {
        return None;
    }
    let partition = words.name()?;
    words
        .take("concurrently")
        .then_some(Bare::DetachPartitionConcurrently { table, partition })
}

fn reindex(mut words: Words<'_>) -> Option<Bare> {
    let by_option = words
        .options()
        .iter()
        .any(|(word, value)| word == "concurrently" && !is_off(value));
    let target = reindex_target(&mut words)?;
    let concurrently = words.take("concurrently") || by_option;
    let name = words.name();
    if concurrently {
        return Some(Bare::ReindexConcurrently { target, name });
    }
    let whole = !matches!(target, ReindexTarget::Index | ReindexTarget::Table);
    whole.then_some(Bare::Reindex { target, name })
}

fn reindex_target(words: &mut Words<'_>) -> Option<ReindexTarget> {
    [
        ("index", ReindexTarget::Index),
        ("table", ReindexTarget::Table),
        ("schema", ReindexTarget::Schema),
        ("database", ReindexTarget::Database),
        ("system", ReindexTarget::System),
    ]
    .into_iter()
    .find(|(word, _)| words.take(word))
    .map(|(_, target)| target)
}

/// What the body of a `DO` does that matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Block {
    /// `COMMIT` or `ROLLBACK` as a statement.
    Commits,
    /// `CALL` of a procedure, which may.
    Calls,
    /// Neither.
    Plain,
}

/// Reads a `DO` behind its first word. The body of another language than PL/pgSQL is searched for the names of its
/// own calls (`plpy.commit()`, `spi_commit()`, `commit` of PL/Tcl).
pub(super) fn block(mut words: Words<'_>) -> Block {
    let mut plpgsql = true;
    let mut body = None;
    while let Some(token) = words.next() {
        match token.lexeme {
            Lexeme::Text | Lexeme::DollarText => body = Some(token),
            Lexeme::Word if words.text_of(token).eq_ignore_ascii_case("language") => {
                plpgsql = words.take("plpgsql");
                if !plpgsql {
                    words.next();
                }
            }
            _ => {}
        }
    }
    let body = body.map_or("", |token| inside(words.text_of(token)));
    if plpgsql {
        plpgsql_block(body)
    } else {
        foreign_block(body)
    }
}

/// The content of a dollar-quoted or plain string, quotes off.
pub(super) fn inside(written: &str) -> &str {
    if let Some(tag) = written.strip_prefix('$') {
        let quote = tag.find('$').map_or(written.len(), |at| at + 2);
        let end = written.len().saturating_sub(quote).max(quote);
        return written.get(quote..end).unwrap_or_default();
    }
    let start = written.find('\'').map_or(written.len(), |at| at + 1);
    let inner = &written[start..];
    inner.strip_suffix('\'').unwrap_or(inner)
}

/// A statement of PL/pgSQL starts behind `;`, a label or one of the words that open a list of statements.
fn plpgsql_block(body: &str) -> Block {
    let mut found = Block::Plain;
    let mut starts = true;
    for token in Tokens::new(body).filter(|token| token.is_significant()) {
        let word = token.of(body);
        let is = |keyword: &str| token.lexeme == Lexeme::Word && word.eq_ignore_ascii_case(keyword);
        if starts && (is("commit") || is("rollback")) {
            return Block::Commits;
        }
        if starts && is("call") {
            found = Block::Calls;
        }
        starts = token.lexeme == Lexeme::Semi
            || word == ">"
            || ["begin", "then", "else", "loop"].into_iter().any(is);
    }
    found
}

fn foreign_block(body: &str) -> Block {
    let commits = Tokens::new(body)
        .filter(|token| token.lexeme == Lexeme::Word)
        .map(|token| token.of(body))
        .any(|word| {
            ["commit", "rollback", "spi_commit", "spi_rollback"]
                .into_iter()
                .any(|name| word.eq_ignore_ascii_case(name))
        });
    if commits {
        Block::Commits
    } else {
        Block::Plain
    }
}

#[cfg(test)]
mod tests;
