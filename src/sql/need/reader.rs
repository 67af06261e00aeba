//! Reads one statement's needs.

use super::{Act, Need, Object, What};
use crate::sql::lex::Lexeme;
use crate::sql::name::Name;
use crate::sql::script::Statement;
use crate::sql::session::{self, Change, Setting};
use crate::sql::words::Words;

/// The needs of one statement.
pub(super) fn of_statement(statement: &Statement<'_>, found: &mut Vec<Need>) {
    let mut reader = Reader {
        line: statement.line,
        statement: statement.index,
        words: Words::new(statement.text),
        found,
    };
    reader.read();
}

struct Reader<'t, 'f> {
    line: u32,
    statement: usize,
    words: Words<'t>,
    found: &'f mut Vec<Need>,
}

// === impl Reader ===

impl Reader<'_, '_> {
    fn push(&mut self, what: What) {
        let (line, statement) = (self.line, self.statement);
        self.found.push(Need {
            line,
            statement,
            what,
        });
    }

    fn take(&mut self, word: &str) -> bool {
        self.words.take(word)
    }

    fn read(&mut self) {
        let Some(first) = self
            .words
            .next()
            .filter(|token| token.lexeme == Lexeme::Word)
        else {
            return;
        };
        let first = self.words.text_of(first).to_ascii_lowercase();
        match first.as_str() {
            "create" => self.create(),
            "alter" => self.alter(),
            "drop" => self.drop(),
            "insert" if self.take("into") => self.privilege("INSERT"),
            "update" => {
                self.take("only");
                self.privilege("UPDATE");
            }
            "delete" if self.take("from") => {
                self.take("only");
                self.privilege("DELETE");
            }
            "truncate" => {
                self.take("table");
                self.take("only");
                for name in self.words.names() {
                    self.push_privilege("TRUNCATE", name);
                }
            }
            "copy" => self.copy(),
            "merge" => {
                self.push(What::Version {
                    since: 15,
                    feature: "MERGE",
                });
            }
            "grant" | "revoke" | "reassign" => self.push(What::Grants),
            "set" => {
                self.changed(session::set);
            }
            "reset" => {
                self.changed(session::reset);
            }
            "select" => self.select(),
            "do" | "call" | "with" | "execute" | "values" | "explain" | "load" | "import"
            | "refresh" => self.push(What::Opaque),
            _ => {}
        }
    }

    /// Whether it was a statement that only changes the session.
    fn changed(&mut self, read: fn(&mut Words<'_>) -> Change) -> bool {
        let Change::Session(change) = read(&mut self.words) else {
            return false;
        };
        match change.setting {
            Setting::Role | Setting::SessionAuthorization => self.push(What::Role),
            Setting::SearchPath | Setting::All => self.push(What::Path),
            Setting::Other(_) => {}
        }
        true
    }

    /// A query may call anything. Only what dumps are full of is known: the place of a sequence, a setting.
    fn select(&mut self) {
        let mut words = self.words.clone();
        let is_setval = words.name().is_some_and(|name| {
            name.name == "setval" && matches!(name.schema.as_deref(), None | Some("pg_catalog"))
        }) && words.skip_parentheses()
            && words.at_end();
        if !is_setval && !self.changed(session::select) {
            self.push(What::Opaque);
        }
    }

    fn copy(&mut self) {
        if self.words.peek().map(|token| token.lexeme) == Some(Lexeme::Open) {
            return self.push(What::Opaque);
        }
        let Some(name) = self.words.name() else {
            return;
        };
        self.words.skip_parentheses();
        let privilege = if self.take("from") {
            "INSERT"
        } else if self.take("to") {
            "SELECT"
        } else {
            return;
        };
        self.push_privilege(privilege, name);
    }

    fn privilege(&mut self, privilege: &'static str) {
        if let Some(name) = self.words.name() {
            self.push_privilege(privilege, name);
        }
    }

    fn push_privilege(&mut self, privilege: &'static str, name: Name) {
        self.push(What::Privilege { privilege, name });
    }

    fn create(&mut self) {
        let replace = self.words.take_all(&["or", "replace"]);
        let temporary = self.temporary();
        self.take("unlogged");
        let unique = self.take("unique");
        if unique || self.words.is("index") {
            return self.create_index();
        }
        self.take("recursive");
        let constraint = self.take("constraint");
        if self.take("trigger") {
            return self.create_trigger(replace && !constraint);
        }
        if self.take("schema") {
            return self.create_schema();
        }
        if self.take("extension") {
            return self.create_extension();
        }
        if self.words.take_any(&["policy", "rule"]) {
            return self.on_table(altered);
        }
        if self.words.take_any(&["role", "user", "group"]) {
            // A mapping of a user is no user, and gives nothing.
            return self.push(What::Grants);
        }
        if self.words.take_all(&["event", "trigger"]) {
            return self.push(What::Opaque);
        }
        let Some(object) = self.object() else {
            return;
        };
        let lenient = self.words.take_all(&["if", "not", "exists"]) || replace;
        let Some(name) = self.words.name() else {
            return;
        };
        // A temporary thing hides others of its name and is in nobody's way; a view over it is temporary too.
        if temporary || name.schema.as_deref() == Some("pg_temp") {
            let act = Act::Move;
            self.push(What::Own { object, name, act });
            return self.push(What::Path);
        }
        self.push(What::Create {
            object,
            name,
            lenient,
        });
        if object == Object::Table {
            self.behind_table();
        }
    }

    fn temporary(&mut self) -> bool {
        self.words.take_any(&["global", "local"]);
        self.words.take_any(&["temp", "temporary"])
    }

    /// What follows a table's name: its parent, its references, the query that fills it.
    fn behind_table(&mut self) {
        let mut ahead = self.words.clone();
        ahead.skip_parentheses();
        if ahead.take("as") {
            return self.push(What::Opaque);
        }
        let mut ahead = self.words.clone();
        if ahead.take_all(&["partition", "of"])
            && let Some(name) = ahead.name()
        {
            self.push(altered(name));
        }
        self.references();
    }

    /// Foreign keys, and what only newer releases have. Both words are reserved or occur nowhere else.
    fn references(&mut self) {
        while let Some(token) = self.words.next() {
            if token.lexeme != Lexeme::Word {
                continue;
            }
            let word = self.words.text_of(token);
            if word.eq_ignore_ascii_case("references") {
                self.privilege("REFERENCES");
            } else if word.eq_ignore_ascii_case("nulls")
                && self.words.take_all(&["not", "distinct"])
            {
                self.push(What::Version {
                    since: 15,
                    feature: "NULLS NOT DISTINCT",
                });
            }
        }
    }

    fn create_index(&mut self) {
        self.take("index");
        self.take("concurrently");
        let lenient = self.words.take_all(&["if", "not", "exists"]);
        let name = if self.words.is("on") {
            None
        } else {
            self.words.ident()
        };
        if !self.take("on") {
            return;
        }
        self.take("only");
        let Some(table) = self.words.name() else {
            return;
        };
        self.push(altered(table.clone()));
        if let Some(name) = name {
            let schema = table.schema;
            self.push(What::Create {
                object: Object::Index,
                name: Name { schema, name },
                lenient,
            });
        }
        self.references();
    }

    fn create_trigger(&mut self, replace: bool) {
        if replace {
            self.push(What::Version {
                since: 14,
                feature: "CREATE OR REPLACE TRIGGER",
            });
        }
        self.on_table(|name| What::Privilege {
            privilege: "TRIGGER",
            name,
        });
    }

    /// The table behind the first `ON`, which is reserved.
    fn on_table(&mut self, what: impl FnOnce(Name) -> What) {
        // A trigger or a policy may be called anything but that.
        while !self.take("on") {
            if self.words.next().is_none() {
                return;
            }
        }
        // Of a rule it is `ON INSERT TO table`.
        if self
            .words
            .take_any(&["select", "insert", "update", "delete"])
            && !self.take("to")
        {
            return;
        }
        if let Some(name) = self.words.name() {
            self.push(what(name));
        }
    }

    fn create_schema(&mut self) {
        let lenient = self.words.take_all(&["if", "not", "exists"]);
        let named = !self.words.is("authorization");
        let mut name = named.then(|| self.words.ident()).flatten();
        if self.take("authorization") {
            name = name.or(self.words.ident());
        }
        if let Some(name) = name {
            self.push(What::Create {
                object: Object::Schema,
                name: Name { schema: None, name },
                lenient,
            });
        }
        if !self.words.at_end() {
            // Its elements are statements of their own, in another place.
            self.push(What::Opaque);
        }
    }

    fn create_extension(&mut self) {
        let lenient = self.words.take_all(&["if", "not", "exists"]);
        let Some(name) = self.words.ident() else {
            return;
        };
        let (mut version, mut cascade) = (None, false);
        self.take("with");
        while !self.words.at_end() {
            if self.take("version") {
                version = self.word_or_text();
            } else if self.take("cascade") {
                cascade = true;
            } else {
                self.words.next();
            }
        }
        self.push(What::Extension {
            name,
            version,
            lenient,
            cascade,
        });
    }

    /// A version is written as a name or as a string.
    fn word_or_text(&mut self) -> Option<String> {
        if let Some(word) = self.words.ident() {
            return Some(word);
        }
        let token = self.words.next()?;
        let written = self.words.text_of(token);
        let inner = written.strip_prefix('\'')?.strip_suffix('\'')?;
        Some(inner.replace("''", "'"))
    }

    fn alter(&mut self) {
        if self.words.take_any(&["role", "user", "group", "system"])
            || self.words.take_all(&["default", "privileges"])
        {
            return self.push(What::Grants);
        }
        if self.take("database") {
            return self.push(What::Path);
        }
        if self.take("extension") {
            return self.alter_extension();
        }
        if self.take("policy") {
            return self.on_table(altered);
        }
        let Some(object) = self.object() else {
            return;
        };
        // `ALTER TABLE ALL IN TABLESPACE`
        if self.words.clone().take_all(&["all", "in", "tablespace"]) {
            return;
        }
        self.words.take_all(&["if", "exists"]);
        self.take("only");
        let Some(name) = self.words.name() else {
            return;
        };
        let act = if self.moves() { Act::Move } else { Act::Alter };
        self.push(What::Own { object, name, act });
        if object == Object::Table {
            if self.detaches_concurrently() {
                self.push(What::Version {
                    since: 14,
                    feature: "DETACH PARTITION CONCURRENTLY",
                });
            }
            self.references();
        }
    }

    /// Whether the rest of an `ALTER` may give something another name, place or owner, or drop a part.
    fn moves(&self) -> bool {
        let mut words = self.words.clone();
        while let Some(token) = words.next() {
            let is = |word: &str| words.text_of(token).eq_ignore_ascii_case(word);
            if token.lexeme == Lexeme::Word
                && (is("rename") || is("schema") || is("owner") || is("drop"))
            {
                return true;
            }
        }
        false
    }

    fn detaches_concurrently(&self) -> bool {
        let mut words = self.words.clone();
        words.take_all(&["detach", "partition"])
            && words.name().is_some()
            && words.take("concurrently")
    }

    fn alter_extension(&mut self) {
        let Some(name) = self.words.ident() else {
            return;
        };
        if self.take("update") {
            let version = self.take("to").then(|| self.word_or_text()).flatten();
            self.push(What::UpdateExtension { name, version });
        } else {
            self.push(What::Own {
                object: Object::Extension,
                name: Name { schema: None, name },
                act: Act::Move,
            });
        }
    }

    fn drop(&mut self) {
        if self.words.take_any(&["role", "user", "group"]) {
            return self.push(What::Grants);
        }
        if self.take("owned") {
            return self.push(What::Opaque);
        }
        let Some(object) = self.object() else {
            // A trigger, a policy, a cast: nothing that another statement's name could be.
            if self.cascades() {
                self.push(What::Opaque);
            }
            return;
        };
        self.take("concurrently");
        self.words.take_all(&["if", "exists"]);
        let names = self.words.names();
        let cascade = self.cascades();
        for name in names {
            let act = Act::Drop { cascade };
            self.push(What::Own { object, name, act });
        }
    }

    fn cascades(&self) -> bool {
        let mut words = self.words.clone();
        let mut last = None;
        while let Some(token) = words.next() {
            last = Some(token);
        }
        last.is_some_and(|token| words.text_of(token).eq_ignore_ascii_case("cascade"))
    }

    fn object(&mut self) -> Option<Object> {
        const OBJECTS: &[(&[&str], Object)] = &[
            (&["table"], Object::Table),
            (&["foreign", "table"], Object::Table),
            (&["view"], Object::View),
            (&["materialized", "view"], Object::MaterializedView),
            (&["sequence"], Object::Sequence),
            (&["index"], Object::Index),
            (&["type"], Object::Type),
            (&["domain"], Object::Domain),
            (&["schema"], Object::Schema),
            (&["extension"], Object::Extension),
            (&["function"], Object::Routine),
            (&["procedure"], Object::Routine),
            (&["aggregate"], Object::Routine),
        ];
        let found = OBJECTS
            .iter()
            .find(|(words, _)| self.words.take_all(words))?;
        Some(found.1)
    }
}

/// What takes the owner of a table.
const fn altered(name: Name) -> What {
    What::Own {
        object: Object::Table,
        name,
        act: Act::Alter,
    }
}
