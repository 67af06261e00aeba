//! What a release has made so far, and what it knows of types and columns.

use std::collections::{HashMap, HashSet};

use super::types::Type;
use crate::sql::lex::{Lexeme, Tokens};
use crate::sql::{Name, Session, Setting};

/// A schema, or what stands for "wherever the search path leads", and a name.
type Key = (String, String);

/// The scope of names without a schema, under the search path that the session began with. No schema is called so.
const DEFAULT_PATH: &str = "\0";
/// Where temporary relations are.
const TEMPORARY: &str = "pg_temp";

/// What is remembered between statements.
#[derive(Debug, Clone, Default)]
pub(super) struct Memory {
    /// `CREATE … IF NOT EXISTS` is believed to create.
    pub(super) believes_if_not_exists: bool,
    /// Where names without a schema go under the search path that the session began with; `None`: not known.
    pub(super) schema: Option<String>,
    /// In lower case, where [`Self::schema`] was told by a server.
    pub(super) search_path: String,
    /// Whose name `"$user"` stands for there.
    pub(super) user: String,
    made: HashMap<Key, Made>,
    schemas: HashSet<String>,
    types: HashSet<Key>,
    columns: HashMap<Key, HashMap<String, Type>>,
    /// The scope of names without a schema, where the file has changed the search path.
    path: Option<String>,
    /// Distinguishes search paths that nobody can tell from their text.
    paths: u32,
    /// Temporary relations, which hide others of their name.
    temporary: HashSet<String>,
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
    /// Its rows are those of a relation that existed before (a view, a foreign table), or reach into them.
    of_others: bool,
}

// === impl Memory ===

impl Memory {
    pub(super) fn next_file(&mut self) {
        self.path = None;
        self.forget_temporary();
    }

    /// From here on a temporary relation's name is that of another.
    pub(super) fn forget_temporary(&mut self) {
        for name in std::mem::take(&mut self.temporary) {
            self.made.remove(&(TEMPORARY.to_owned(), name));
        }
    }

    pub(super) fn applied(&mut self) {
        self.next_file();
        self.made.clear();
        self.schemas.clear();
    }

    /// A local setting ends with its transaction, and so does what is temporary `ON COMMIT DROP`.
    pub(super) fn committed(&mut self) {
        self.forget_temporary();
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
        if name.schema.is_none() && self.temporary.contains(&name.name) {
            return (TEMPORARY.to_owned(), name.name.clone());
        }
        let written = name.schema.as_ref();
        let scope = written.or(self.path.as_ref()).or(self.schema.as_ref());
        let scope = scope.map_or(DEFAULT_PATH, String::as_str);
        (scope.to_owned(), name.name.clone())
    }

    pub(super) fn make(&mut self, name: &Name) {
        let key = self.key(name);
        self.columns.remove(&key);
        self.made.insert(key, Made::default());
    }

    pub(super) fn make_temporary(&mut self, name: &Name) {
        self.temporary.insert(name.name.clone());
        let key = (TEMPORARY.to_owned(), name.name.clone());
        self.columns.remove(&key);
        self.made.insert(key, Made::default());
    }

    pub(super) fn make_index(&mut self, index: &Name, table: &Name) {
        let made = Made {
            table: Some(table.clone()),
            ..Made::default()
        };
        self.made.insert(self.key(index), made);
    }

    /// A schema of this name may be there now, or be another than before: where it stands on the search path, nobody
    /// can tell any more where names without a schema go.
    pub(super) fn schema_appears(&mut self, name: &str) {
        let is_current = self.schema.as_deref() == Some(name);
        let on_path = name == self.user || self.search_path.contains(&name.to_lowercase());
        if on_path && !is_current && !self.search_path.is_empty() {
            self.schema = None;
        }
    }

    /// What was known of either name is not true any more.
    pub(super) fn rename_schema(&mut self, from: &str, to: &str) {
        self.drop_schema(from);
        self.drop_schema(to);
        self.schema_appears(to);
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
            Some(made) => made.of_others = true,
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
            // Its rows are not of this release alone any more.
            self.drop_relation(parent);
            self.show_older(parent);
        }
    }

    pub(super) fn drop_schema(&mut self, schema: &str) {
        self.schemas.remove(schema);
        self.made.retain(|key, _| key.0 != schema);
        // Another one of the search path takes its place.
        if self.schema.as_deref() == Some(schema) && !self.search_path.is_empty() {
            self.schema = None;
        }
    }

    pub(super) fn drop_relation(&mut self, name: &Name) {
        let key = self.key(name);
        if key.0 == TEMPORARY {
            self.temporary.remove(&key.1);
        }
        self.made.remove(&key);
        self.columns.remove(&key);
    }

    pub(super) fn rename(&mut self, from: &Name, to: &Name) {
        let from_key = self.key(from);
        let to_key = if from_key.0 == TEMPORARY {
            self.temporary.remove(&from_key.1);
            self.temporary.insert(to.name.clone());
            (TEMPORARY.to_owned(), to.name.clone())
        } else {
            self.key(to)
        };
        let moves = from_key.0 != to_key.0;
        match self.made.remove(&from_key) {
            Some(made) => {
                self.made.insert(to_key.clone(), made);
            }
            // Made with its schema.
            None if moves && self.schemas.contains(&from_key.0) => {
                self.made.insert(to_key.clone(), Made::default());
            }
            None => {
                self.made.remove(&to_key);
                if moves {
                    self.schemas.remove(&to_key.0);
                }
            }
        }
        if let Some(columns) = self.columns.remove(&from_key) {
            self.columns.insert(to_key, columns);
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

    /// Whether the release has made this relation. `rows`: rows hang on the answer, so those of others are none of ours,
    /// and a name with `public` and one without a schema are taken for the same only where the search path is known.
    pub(super) fn is_made(&self, name: &Name, rows: bool) -> bool {
        if let Some(made) = self.made.get(&self.key(name)) {
            // An index has no rows: `IF NOT EXISTS` may have met a table of its name.
            return !rows || !made.of_others && made.table.is_none();
        }
        if let Some(schema) = &name.schema
            && self.schemas.contains(schema)
        {
            return true;
        }
        !rows
            && self
                .elsewhere(name)
                .is_some_and(|key| self.made.contains_key(&key))
    }

    /// Where a name most likely is as well: without a schema in `public`, and the other way round. `None` where the
    /// search path is known, or changed.
    fn elsewhere(&self, name: &Name) -> Option<Key> {
        if self.schema.is_some() || self.path.is_some() {
            return None;
        }
        let scope = match name.schema.as_deref() {
            Some("public") => DEFAULT_PATH,
            None => "public",
            Some(_) => return None,
        };
        Some((scope.to_owned(), name.name.clone()))
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

    /// Whether the type is known to be no domain with constraints.
    pub(super) fn knows_type(&self, name: &Name) -> bool {
        let elsewhere = self.elsewhere(name);
        self.types.contains(&self.key(name))
            || elsewhere.is_some_and(|key| self.types.contains(&key))
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
