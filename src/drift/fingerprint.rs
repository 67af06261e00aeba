//! What was journalled, or what the catalog says now.

use std::{collections::BTreeMap, fmt};

use serde_json::Value;

use super::FORMAT;

/// Attributes by name, as exact text.
pub(super) type Attributes = BTreeMap<String, String>;

/// The schema of a database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fingerprint {
    /// `server_version_num` of the server that printed it.
    pub server: u32,
    pub(super) objects: BTreeMap<Name, Attributes>,
}

/// What an object is and how it is called.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// `table`, `column`, `index`, …
    pub kind: String,
    /// Schema, table, name; for a function its argument types come last.
    pub parts: Vec<String>,
}

/// Why a fingerprint cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// It was written by a newer release.
    Newer,
    /// It is not what this module wrote.
    Unreadable,
}

// === impl Fingerprint ===

impl Fingerprint {
    /// From the journal's `detail`.
    ///
    /// # Errors
    ///
    /// [`Malformed`].
    pub fn of_detail(detail: &str) -> Result<Self, Malformed> {
        let detail: Value = serde_json::from_str(detail).map_err(|_| Malformed::Unreadable)?;
        match detail.get("format").and_then(Value::as_u64) {
            Some(FORMAT) => {}
            Some(newer) if newer > FORMAT => return Err(Malformed::Newer),
            _ => return Err(Malformed::Unreadable),
        }
        let server = detail.get("server").and_then(Value::as_u64);
        let server = server.and_then(|server| u32::try_from(server).ok());
        let objects = detail.get("objects").ok_or(Malformed::Unreadable)?;
        Self::of(server.ok_or(Malformed::Unreadable)?, objects)
    }

    /// From the answer to [`super::objects_sql`].
    ///
    /// # Errors
    ///
    /// [`Malformed`].
    pub fn of_objects(server: u32, objects: &str) -> Result<Self, Malformed> {
        let objects: Value = serde_json::from_str(objects).map_err(|_| Malformed::Unreadable)?;
        Self::of(server, &objects)
    }

    fn of(server: u32, objects: &Value) -> Result<Self, Malformed> {
        let mut fingerprint = Self {
            server,
            objects: BTreeMap::new(),
        };
        // A database without anything.
        if objects.is_null() {
            return Ok(fingerprint);
        }
        for object in objects.as_array().ok_or(Malformed::Unreadable)? {
            fingerprint.add(object).ok_or(Malformed::Unreadable)?;
        }
        Ok(fingerprint)
    }

    /// `[kind, [name, …], {attribute: text, …}, {column: {attribute: text, …}, …}]`, the last for tables only.
    fn add(&mut self, object: &Value) -> Option<()> {
        let kind = object.get(0)?.as_str()?;
        let parts = object.get(1)?.as_array()?.iter();
        let parts: Vec<String> = parts
            .map(|part| part.as_str().map(str::to_owned))
            .collect::<Option<_>>()?;
        if let Some(columns) = object.get(3) {
            for (column, of_column) in columns.as_object()? {
                let mut parts = parts.clone();
                parts.push(column.clone());
                self.objects
                    .insert(Name::new("column", parts), attributes(of_column)?);
            }
        }
        self.objects
            .insert(Name::new(kind, parts), attributes(object.get(2)?)?);
        Some(())
    }

    /// How many objects it has.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// The major version of the server.
    pub const fn major(&self) -> u32 {
        self.server / 10_000
    }
}

fn attributes(value: &Value) -> Option<Attributes> {
    let attributes = value.as_object()?.iter();
    attributes
        .map(|(name, text)| Some((name.clone(), text.as_str()?.to_owned())))
        .collect()
}

// === impl Name ===

impl Name {
    /// Of a kind.
    pub fn new(kind: &str, parts: Vec<String>) -> Self {
        Self {
            kind: kind.to_owned(),
            parts,
        }
    }

    /// The parts joined, without quotes: what a pattern is compared with.
    pub(super) fn plain(&self) -> String {
        match (self.kind.as_str(), self.parts.as_slice()) {
            (kind, [before @ .., arguments]) if takes_arguments(kind) => {
                format!("{}({arguments})", before.join("."))
            }
            ("default privileges", [schema, ..]) => schema.clone(),
            _ => self.parts.join("."),
        }
    }
}

fn takes_arguments(kind: &str) -> bool {
    matches!(kind, "function" | "procedure" | "aggregate")
}

/// In double quotes where PostgreSQL would need them, or to be seen at all.
fn quoted(part: &str) -> String {
    let plain = |(index, c): (usize, char)| {
        c == '_' || c.is_ascii_lowercase() || index > 0 && (c.is_ascii_digit() || c == '$')
    };
    if !part.is_empty() && part.chars().enumerate().all(plain) {
        part.to_owned()
    } else {
        crate::migration::quote_ident(part)
    }
}

fn joined(parts: &[String]) -> String {
    let parts: Vec<String> = parts.iter().map(|part| quoted(part)).collect();
    parts.join(".")
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind.as_str(), self.parts.as_slice()) {
            (kind, [before @ .., arguments]) if takes_arguments(kind) => {
                write!(f, "{}({arguments})", joined(before))
            }
            ("default privileges", [schema, role, objects]) => {
                write!(f, "on {objects} of {}", quoted(role))?;
                if schema.is_empty() {
                    return Ok(());
                }
                write!(f, " in schema {}", quoted(schema))
            }
            (_, parts) => f.write_str(&joined(parts)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_for_people_and_for_patterns() {
        let check = |kind: &str, parts: &[&str], shown: &str, plain: &str| {
            let name = Name::new(kind, parts.iter().map(|&part| part.to_owned()).collect());
            assert_eq!(
                (name.to_string().as_str(), name.plain().as_str()),
                (shown, plain)
            );
        };
        check("table", &["public", "t"], "public.t", "public.t");
        check(
            "table",
            &["A b", "1🙂\"x"],
            "\"A b\".\"1🙂\"\"x\"",
            "A b.1🙂\"x",
        );
        check("function", &["s", "f", ""], "s.f()", "s.f()");
        check(
            "function",
            &["s", "F", "integer, text"],
            "s.\"F\"(integer, text)",
            "s.F(integer, text)",
        );
        check(
            "default privileges",
            &["", "app", "tables"],
            "on tables of app",
            "",
        );
        check(
            "default privileges",
            &["s", "app", "types"],
            "on types of app in schema s",
            "s",
        );
    }

    #[test]
    fn forms() {
        let read = Fingerprint::of_detail;
        let one = r#"{"format": 1, "server": 150018, "objects": [["table", ["s", "t"], {"owner": "o"}, {"a": {"type": "int"}}]]}"#;
        let found = read(one).unwrap();
        assert_eq!((found.len(), found.major()), (2, 15));
        assert!(
            read(r#"{"format": 1, "server": 1, "objects": null}"#)
                .unwrap()
                .is_empty()
        );
        assert_eq!(read(r#"{"format": 2}"#), Err(Malformed::Newer));
        for other in [
            "",
            "{}",
            r#"{"format": 1, "server": 1}"#,
            r#"{"format": 1, "server": 1, "objects": [1]}"#,
        ] {
            assert_eq!(read(other), Err(Malformed::Unreadable), "{other}");
        }
    }
}
