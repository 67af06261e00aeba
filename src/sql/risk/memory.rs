//! What a release has made so far, and what it knows of types and columns.

use std::collections::{HashMap, HashSet};

use super::types::Type;
use crate::sql::lex::{Lexeme, Tokens};
use crate::sql::{Name, Session, Setting};

/// A schema, or what stands for "wherever the search path leads", and a name.
type Key = (String, String);

/// The scope of names without a schema, under the search path that the session began with. No schema is called so.
const DEFAULT_PATH: &str = "\0";

/// What is remembered between statements.
#[derive(Debug, Clone, Default)]
pub(super) struct Memory {
    /// `CREATE … IF NOT EXISTS` is believed to create.
    pub(super) believes_if_not_exists: bool,
    /// Where names without a schema go under the search path that the session began with; `None`: not known.
    pub(super) schema: Option<String>,
    made: HashMap<Key, Made>,
    schemas: HashSet<String>,
    types: HashSet<Key>,
    columns: HashMap<Key, HashMap<String, Type>>,
    /// The scope of names without a schema, where the file has changed the search path.
    path: Option<String>,
    /// Distinguishes search paths that nobody can tell from their text.
    paths: u32,
    temporary: Vec<Key>,
    /// Functions of this release that lose data, by their names alone.
    losing: HashSet<String>,
}

/// A relation that the release has made.
#[derive(Debug, Clone, Default)]
struct Made {
    /// The table, of an index.
    table: Option<Name>,
    /// It has a foreign key to a relation that existed before.
    references: bool,
    /// Rows that were there before are seen through it: a view, a parent of an older table.
    shows_older: bool,
}

// === impl Memory ===

impl Memory {
    pub(super) fn next_file(&mut self) {
        self.path = None;
        self.forget_temporary();
    }

    /// From here on a temporary table's name is that of another.
    pub(super) fn forget_temporary(&mut self) {
        for key in std::mem::take(&mut self.temporary) {
            self.made.remove(&key);
        }
    }

    pub(super) fn applied(&mut self) {
        self.next_file();
        self.made.clear();
        self.schemas.clear();
    }

    /// A local setting ends with its transaction, and what a transaction made may be gone.
    pub(super) fn committed(&mut self) {
        if self.path.is_some() {
            self.unknown_path();
        }
    }

    pub(super) fn rolled_back(&mut self) {
        self.committed();
        self.made.clear();
        self.schemas.clear();
    }

    /// `SET`, `RESET` or `SELECT set_config`. Two files that set the same path mean the same schema by a name.
    pub(super) fn session(&mut self, session: &Session, text: &str) {
        match session.setting {
            Setting::Role | Setting::SessionAuthorization => self.unknown_path(),
            Setting::SearchPath => {
                let words: String = Tokens::new(text)
                    .filter(|token| token.is_significant() && token.lexeme != Lexeme::Semi)
                    .map(|token| token.of(text).to_ascii_lowercase() + " ")
                    .collect();
                let back = words.starts_with("reset") || words.ends_with("default ");
                self.path = (!back).then(|| format!("{DEFAULT_PATH}{words}"));
            }
            Setting::All => self.path = None,
            Setting::Other(_) => {}
        }
    }

    /// From here on names without a schema are none of those before.
    pub(super) fn unknown_path(&mut self) {
        self.paths = self.paths.wrapping_add(1);
        self.path = Some(format!("{DEFAULT_PATH}{}", self.paths));
    }

    fn key(&self, name: &Name) -> Key {
        let scope = match (&name.schema, &self.path, &self.schema) {
            (Some(schema), ..) => schema,
            (None, Some(path), _) => path,
            (None, None, Some(schema)) => schema,
            (None, None, None) => DEFAULT_PATH,
        };
        (scope.to_owned(), name.name.clone())
    }

    pub(super) fn make(&mut self, name: &Name) {
        let key = self.key(name);
        self.columns.remove(&key);
        self.made.insert(key, Made::default());
    }

    pub(super) fn make_temporary(&mut self, name: &Name) {
        self.make(name);
        self.temporary.push(self.key(name));
    }

    pub(super) fn make_index(&mut self, index: &Name, table: &Name) {
        let made = Made {
            table: Some(table.clone()),
            ..Made::default()
        };
        self.made.insert(self.key(index), made);
    }

    pub(super) fn make_schema(&mut self, schema: &str) {
        self.schemas.insert(schema.to_owned());
    }

    /// From here on not everything in the schema is of this release.
    pub(super) fn share_schema(&mut self, schema: &str) {
        self.schemas.remove(schema);
    }

    /// Notes that rows of somebody else are lost with those of this relation.
    pub(super) fn show_older(&mut self, name: &Name) {
        let key = self.key(name);
        match self.made.get_mut(&key) {
            Some(made) => made.shows_older = true,
            // Made with its schema.
            None => {
                if let Some(schema) = &name.schema {
                    self.schemas.remove(schema);
                }
            }
        }
    }

    /// `child` becomes a part of `parent`: with the one go the rows of the other.
    pub(super) fn adopt(&mut self, parent: &Name, child: &Name) {
        if !self.is_made(child, true) {
            self.show_older(parent);
        }
    }

    pub(super) fn drop_schema(&mut self, schema: &str) {
        self.schemas.remove(schema);
        self.made.retain(|key, _| key.0 != schema);
    }

    pub(super) fn drop_relation(&mut self, name: &Name) {
        let key = self.key(name);
        self.made.remove(&key);
        self.columns.remove(&key);
    }

    pub(super) fn rename(&mut self, from: &Name, to: &Name) {
        let (from, to) = (self.key(from), self.key(to));
        let in_made_schema = from.0 != to.0 && self.schemas.contains(&from.0);
        match self.made.remove(&from) {
            Some(made) => {
                self.made.insert(to.clone(), made);
            }
            None if in_made_schema => {
                self.made.insert(to.clone(), Made::default());
            }
            None => {
                self.made.remove(&to);
                if from.0 != to.0 {
                    self.schemas.remove(&to.0);
                }
            }
        }
        if let Some(columns) = self.columns.remove(&from) {
            self.columns.insert(to, columns);
        }
    }

    /// The table of an index that the release has made.
    pub(super) fn table_of(&self, index: &Name) -> Option<Name> {
        self.made.get(&self.key(index))?.table.clone()
    }

    pub(super) fn add_reference(&mut self, table: &Name) {
        let key = self.key(table);
        if let Some(made) = self.made.get_mut(&key) {
            made.references = true;
        }
    }

    /// Whether a change of this relation may reach tables by its foreign keys.
    pub(super) fn may_reference(&self, table: &Name) -> bool {
        let made = self.made.get(&self.key(table));
        made.is_none_or(|made| made.references)
    }

    /// Whether the release has made this relation. `sure`: data hangs on the answer, so a name with `public` and one
    /// without a schema are taken for the same only where the search path is known.
    pub(super) fn is_made(&self, name: &Name, sure: bool) -> bool {
        if let Some(made) = self.made.get(&self.key(name)) {
            // An index has no rows: `IF NOT EXISTS` may have met a table of its name.
            return !sure || !made.shows_older && made.table.is_none();
        }
        if let Some(schema) = &name.schema
            && self.schemas.contains(schema)
        {
            return true;
        }
        if sure || self.schema.is_some() || self.path.is_some() {
            return false;
        }
        let other = match name.schema.as_deref() {
            Some("public") => DEFAULT_PATH,
            None => "public",
            Some(_) => return false,
        };
        self.made
            .contains_key(&(other.to_owned(), name.name.clone()))
    }

    /// Notes a function or procedure; the last definition of a name counts.
    pub(super) fn learn_function(&mut self, name: &Name, loses: bool) {
        if loses {
            self.losing.insert(name.name.clone());
        } else {
            self.losing.remove(&name.name);
        }
    }

    /// Whether a call runs a function of this release that loses data.
    pub(super) fn loses(&self, function: &Name) -> bool {
        self.losing.contains(&function.name)
    }

    pub(super) fn learn_type(&mut self, name: &Name) {
        self.types.insert(self.key(name));
    }

    pub(super) fn forget_type(&mut self, name: &Name) {
        let key = self.key(name);
        self.types.remove(&key);
    }

    /// Whether the type is known to be no domain with constraints. A type is looked up by its name alone when its
    /// schema is not written: nobody has an enum and a domain of one name.
    pub(super) fn knows_type(&self, name: &Name) -> bool {
        self.types.contains(&self.key(name))
    }

    pub(super) fn learn_column(&mut self, table: &Name, column: &str, of: Option<&Type>) {
        let columns = self.columns.entry(self.key(table)).or_default();
        match of {
            Some(of) => columns.insert(column.to_owned(), of.clone()),
            None => columns.remove(column),
        };
    }

    pub(super) fn column(&self, table: &Name, column: &str) -> Option<&Type> {
        self.columns.get(&self.key(table))?.get(column)
    }

    pub(super) fn rename_column(&mut self, table: &Name, from: &str, to: &str) {
        let key = self.key(table);
        if let Some(columns) = self.columns.get_mut(&key)
            && let Some(of) = columns.remove(from)
        {
            columns.insert(to.to_owned(), of);
        }
    }
}
