//! What a statement risks: the locks it takes, whether it rewrites a table, whether it loses data. Pure.
//!
//! The grammar of PostgreSQL's commands is read from the lexer's tokens, in one pass and without recursion into
//! expressions: whatever a file holds, this ends, on any stack. That matters because it reads every pending statement of
//! a `migrate`, in a process whose panics abort. A parser that recovers from what it does not know would also answer
//! too mildly; here an action that is not known is the worst that its command can do, and [`Assessment::opaque`].
//!
//! Locks are those of `AlterTableGetLockLevel` (`src/backend/commands/tablecmds.c`) and of the manual's table
//! (<https://www.postgresql.org/docs/current/explicit-locking.html#LOCKING-TABLES>); the statements of
//! `tests/fixtures/risk/` are held against what real servers lock and rewrite.

mod alter;
mod alter_table;
mod block;
mod column;
mod constraint;
mod create;
mod data;
mod discard;
mod maintain;
mod memory;
mod partition;
mod read;
mod types;

use std::fmt;

use super::{Kind, Name, Script, Statement, excerpt};
use memory::Memory;
use read::Reader;

/// How much a statement can hurt. The order is that of the contract: a later one is worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Risk {
    /// Nobody waits for it, nothing is lost.
    #[default]
    Safe,
    /// Locks out reads or writes on a table that existed before.
    Blocking,
    /// Writes a whole table again, which locks it out for as long.
    Rewrite,
    /// Loses data.
    Destructive,
}

/// A table-level lock mode, weakest first.
///
/// <https://www.postgresql.org/docs/current/explicit-locking.html#LOCKING-TABLES>
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lock {
    /// `SELECT`.
    AccessShare,
    /// `SELECT … FOR UPDATE`.
    RowShare,
    /// `INSERT`, `UPDATE`, `DELETE`.
    RowExclusive,
    /// `VACUUM`, `CREATE INDEX CONCURRENTLY`, `VALIDATE CONSTRAINT`.
    ShareUpdateExclusive,
    /// `CREATE INDEX`: locks out writes.
    Share,
    /// `ADD FOREIGN KEY`, `CREATE TRIGGER`: locks out writes.
    ShareRowExclusive,
    /// `REFRESH MATERIALIZED VIEW CONCURRENTLY`: locks out writes.
    Exclusive,
    /// Most of `ALTER TABLE`: locks out reads and writes.
    AccessExclusive,
}

/// What a statement does to one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// The relation, as the statement names it; for `DROP INDEX` and the like the index, where its table is not known.
    /// `None` where it concerns no relation, or (with a lock) relations that the statement does not name.
    pub object: Option<Name>,
    /// The lock it takes on that relation. Locks below [`Lock::ShareUpdateExclusive`], which hold up nobody's rows, are
    /// told only for the relations that are named.
    pub lock: Option<Lock>,
    /// The lock is held for a change in the catalog, not while rows are read or written. What else the transaction
    /// does afterwards prolongs it.
    pub brief: bool,
    /// Every row of it is written again.
    pub rewrite: bool,
    /// The release has made the relation itself, so [`Risk::Safe`] whatever happens to it.
    pub made_here: bool,
    /// The risk of this effect alone.
    pub risk: Risk,
    /// What it does, in a clause: `locks out reads and writes`.
    pub why: String,
    /// The safer way, where there is one.
    pub safer: Option<String>,
}

/// A statement and what it risks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assessment {
    /// How many statements come before it in its file.
    pub index: usize,
    /// Its line, from 1.
    pub line: u32,
    /// Its text for people: literals replaced, cut.
    pub excerpt: String,
    /// The worst of its effects.
    pub risk: Risk,
    /// What it does.
    pub effects: Vec<Effect>,
    /// Nobody can tell what it does before it runs (dynamic SQL, a call); `risk` is then a guess.
    pub opaque: bool,
}

/// What a whole file risks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FileRisk {
    /// The worst of its statements.
    pub risk: Risk,
    /// How many statements it has.
    pub statements: usize,
    /// The statements above [`Risk::Safe`] and the opaque ones, in order: the first [`NOTABLE`], and in any case one
    /// of the worst.
    pub notable: Vec<Assessment>,
}

/// Reads the statements of a release in order, and remembers which relations it has made itself: those are free to
/// change, for nobody uses them yet.
#[derive(Debug, Clone, Default)]
pub struct Release {
    /// `server_version_num`; 0 where it is not known.
    server_version: u32,
    memory: Memory,
}

/// As many notable statements as one file keeps, and the worst.
pub const NOTABLE: usize = 1000;

// === impl Risk ===

impl Risk {
    /// All of them, mildest first.
    pub const ALL: [Self; 4] = [Self::Safe, Self::Blocking, Self::Rewrite, Self::Destructive];

    /// The word of the contract.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Safe => "safe",
            Self::Blocking => "blocking",
            Self::Rewrite => "rewrite",
            Self::Destructive => "destructive",
        }
    }
}

impl fmt::Display for Risk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

// === impl Lock ===

impl Lock {
    /// All of them, weakest first.
    pub const ALL: [Self; 8] = [
        Self::AccessShare,
        Self::RowShare,
        Self::RowExclusive,
        Self::ShareUpdateExclusive,
        Self::Share,
        Self::ShareRowExclusive,
        Self::Exclusive,
        Self::AccessExclusive,
    ];

    /// The manual's name.
    pub const fn word(self) -> &'static str {
        match self {
            Self::AccessShare => "ACCESS SHARE",
            Self::RowShare => "ROW SHARE",
            Self::RowExclusive => "ROW EXCLUSIVE",
            Self::ShareUpdateExclusive => "SHARE UPDATE EXCLUSIVE",
            Self::Share => "SHARE",
            Self::ShareRowExclusive => "SHARE ROW EXCLUSIVE",
            Self::Exclusive => "EXCLUSIVE",
            Self::AccessExclusive => "ACCESS EXCLUSIVE",
        }
    }

    /// From `pg_locks.mode` (`AccessExclusiveLock`).
    pub fn from_pg_locks(mode: &str) -> Option<Self> {
        let mode = mode.strip_suffix("Lock")?.to_ascii_uppercase();
        let mut all = Self::ALL.into_iter();
        all.find(|lock| lock.word().replace(' ', "") == mode)
    }
}

impl fmt::Display for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

// === impl Release ===

impl Release {
    /// A release for a server of this `server_version_num`; 0 where it is not known: then it is read as the oldest that
    /// schemagate supports, whose locks are the strictest.
    pub fn new(server_version: u32) -> Self {
        Self {
            server_version,
            memory: Memory::default(),
        }
    }

    /// A release that is read without a database: what `CREATE … IF NOT EXISTS` names counts as made, and names without
    /// a schema are those of `public`.
    pub fn offline(server_version: u32) -> Self {
        let mut release = Self::new(server_version);
        release.memory.believes_if_not_exists = true;
        release.memory.schema = Some("public".to_owned());
        release
    }

    /// Tells it the server's `current_schema()`, where names without a schema go, and the `search_path` and user that it
    /// comes from: a schema that the release makes may stand before it there.
    ///
    /// <https://www.postgresql.org/docs/current/ddl-schemas.html#DDL-SCHEMAS-PATH>
    pub fn set_current_schema(&mut self, schema: &str, search_path: &str, user: &str) {
        self.memory.schema = Some(schema.to_owned());
        self.memory.search_path = search_path.to_lowercase();
        user.clone_into(&mut self.memory.user);
    }

    /// Everything read so far is in the database already: what it made is in use. Types and columns stay known, which
    /// tells some changes of a type to be milder.
    pub fn applied(&mut self) {
        self.memory.applied();
    }

    /// A type of the database that is no domain with constraints (an enum, say): a column of it needs no rewrite.
    pub fn learn_type(&mut self, name: &Name) {
        self.memory.learn_type(name);
    }

    /// A column's type in the database, as `format_type` writes it.
    pub fn learn_column(&mut self, table: &Name, column: &str, of: &str) {
        self.memory
            .learn_column(table, column, types::read(of).as_ref());
    }

    /// What this release made up to here.
    pub fn made(&self, name: &Name) -> bool {
        self.memory.is_made(name, true)
    }

    /// A new file begins: what an earlier one has set is gone, and so are its temporary tables.
    pub fn next_file(&mut self) {
        self.memory.next_file();
    }

    /// Reads the next statement.
    pub fn assess(&mut self, statement: &Statement<'_>) -> Assessment {
        let reader = self.read(statement.text);
        let risk = reader.risk();
        let Reader {
            effects, opaque, ..
        } = reader;
        Assessment {
            index: statement.index,
            line: statement.line,
            excerpt: excerpt(statement.text),
            risk,
            effects,
            opaque,
        }
    }

    /// Reads the next file.
    pub fn file(&mut self, script: &Script) -> FileRisk {
        self.next_file();
        let mut file = FileRisk::default();
        for statement in script.statements() {
            file.statements += 1;
            // A dump's rows are millions of statements: they are not copied for an excerpt.
            if is_rows(&statement) {
                continue;
            }
            let assessment = self.assess(&statement);
            if assessment.risk > Risk::Safe || assessment.opaque {
                file.keep(assessment);
            }
        }
        file
    }

    fn read(&mut self, text: &str) -> Reader<'_> {
        let kind = super::kind::classify(text);
        match kind {
            Kind::Session(session) => self.memory.session(&session, text),
            Kind::Commit | Kind::CommitAndChain => self.memory.committed(),
            Kind::Rollback
            | Kind::RollbackAndChain
            | Kind::RollbackTo(_)
            | Kind::PrepareTransaction => self.memory.rolled_back(),
            _ => {}
        }
        let mut reader = Reader::new(&mut self.memory, self.server_version);
        reader.statement(text);
        reader
    }
}

/// Whether a statement adds something to the schema that a newer version of an application will use.
pub fn is_additive(text: &str) -> bool {
    read::is_additive(text)
}

/// Whether a statement carries rows and does nothing else: an `INSERT`, or `COPY … FROM STDIN`.
pub fn is_rows(statement: &Statement<'_>) -> bool {
    statement.copy_data.is_some() || data::is_plain_insert(statement.text)
}

// === impl FileRisk ===

impl FileRisk {
    fn keep(&mut self, assessment: Assessment) {
        let worst = assessment.risk > self.risk;
        self.risk = self.risk.max(assessment.risk);
        if self.notable.len() < NOTABLE {
            self.notable.push(assessment);
        } else if worst && let Some(last) = self.notable.last_mut() {
            *last = assessment;
        }
    }
}

#[cfg(test)]
mod tests;
