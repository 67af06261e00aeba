//! What a statement needs of the database, read from its first words: what it creates, changes, drops and refers to.
//!
//! The answer is for a check that must never refuse what would have run. So a statement that is not known here needs
//! nothing, and one whose effect nobody can know ([`What::Opaque`]) says so: what stands behind it is in doubt.

mod reader;

use crate::sql::Script;
use crate::sql::name::Name;

/// Needs of one script at most; what stands behind is as good as opaque.
const MAX_NEEDS: usize = 2000;
/// Bytes of one script that are read for needs: a dump of many megabytes is data.
const MAX_BYTES: usize = 4 << 20;

/// One thing that a statement needs, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// The line of the statement, from 1.
    pub line: u32,
    /// How many statements come before it in its file.
    pub statement: usize,
    /// What it needs.
    pub what: What,
}

/// What a statement needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A name that is free, and the right to create something there.
    Create {
        /// What kind of thing.
        object: Object,
        /// Its name; an index's has no schema (it is its table's).
        name: Name,
        /// `IF NOT EXISTS`, `OR REPLACE`: a name that is taken is no error.
        lenient: bool,
    },
    /// The right of an owner over something that is there. What is not there is no matter of this check.
    Own {
        /// What kind of thing.
        object: Object,
        /// Its name.
        name: Name,
        /// What is done with it.
        act: Act,
    },
    /// A privilege on a relation.
    Privilege {
        /// As `GRANT` calls it: `INSERT`, `REFERENCES`, `TRIGGER`.
        privilege: &'static str,
        /// The relation.
        name: Name,
    },
    /// `CREATE EXTENSION`.
    Extension {
        /// Its name.
        name: String,
        /// `VERSION`.
        version: Option<String>,
        /// `IF NOT EXISTS`.
        lenient: bool,
        /// `CASCADE`: the extensions that it requires are made too.
        cascade: bool,
    },
    /// `ALTER EXTENSION … UPDATE`.
    UpdateExtension {
        /// Its name.
        name: String,
        /// `TO`.
        version: Option<String>,
    },
    /// A release of PostgreSQL that has this.
    Version {
        /// The first major version.
        since: u32,
        /// What it has.
        feature: &'static str,
    },
    /// From here to the end of the file another role may work (`SET ROLE`).
    Role,
    /// From here to the end of the file names may mean something else (`SET search_path`).
    Path,
    /// From here on privileges, owners or roles may be others than the catalog says now.
    Grants,
    /// From here on anything may be: a block, a call, a query with functions.
    Opaque,
}

/// What kind of thing is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Object {
    /// A table, also a foreign one.
    Table,
    /// A view.
    View,
    /// A materialized view.
    MaterializedView,
    /// A sequence.
    Sequence,
    /// An index.
    Index,
    /// A type.
    Type,
    /// A domain.
    Domain,
    /// A schema.
    Schema,
    /// A function, a procedure, an aggregate: anything else that lives in a schema and may have a namesake.
    Routine,
    /// An extension.
    Extension,
}

/// What is done with a thing that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// It stays, in its place.
    Alter,
    /// It gets another name, schema or owner, or parts of it go.
    Move,
    /// It goes.
    Drop {
        /// What depends on it goes too.
        cascade: bool,
    },
}

// === impl Object ===

impl Object {
    /// The keyword of SQL.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Table => "TABLE",
            Self::View => "VIEW",
            Self::MaterializedView => "MATERIALIZED VIEW",
            Self::Sequence => "SEQUENCE",
            Self::Index => "INDEX",
            Self::Type => "TYPE",
            Self::Domain => "DOMAIN",
            Self::Schema => "SCHEMA",
            Self::Routine => "ROUTINE",
            Self::Extension => "EXTENSION",
        }
    }
}

/// The needs of a script's statements, in their order.
pub fn needs(script: &Script) -> Vec<Need> {
    let mut found = Vec::new();
    for statement in script.statements() {
        if found.len() >= MAX_NEEDS || statement.start >= MAX_BYTES {
            found.push(Need {
                line: statement.line,
                statement: statement.index,
                what: What::Opaque,
            });
            break;
        }
        reader::of_statement(&statement, &mut found);
    }
    found
}

#[cfg(test)]
mod tests;
