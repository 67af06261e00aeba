//! Two fingerprints, object by object.

use std::collections::BTreeSet;

use super::{
    fingerprint::{Attributes, Fingerprint, Name},
    normal::normal,
    pattern::Patterns,
};

/// Attributes that are printed SQL.
const PRINTED: [&str; 8] = [
    "definition",
    "default",
    "generated",
    "using",
    "check",
    "partition by",
    "attributes",
    "range",
];
/// What tells most of an object that is gone or new.
const TELLING: [&str; 5] = ["definition", "type", "values", "attributes", "using"];
/// The attributes that say who may do what begin with this.
const GRANT: &str = "grant to ";

/// What has become of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// It was not there.
    Added,
    /// It is gone.
    Removed,
    /// It is another.
    Changed,
}

/// A difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// What kind of object: `table`, `column`, `grant`, …
    pub kind: String,
    /// Its name, quoted as in SQL.
    pub name: String,
    /// What has become of it.
    pub what: What,
    /// Which part of it.
    pub attribute: Option<String>,
    /// The exact text before.
    pub before: Option<String>,
    /// The exact text now.
    pub after: Option<String>,
}

/// How texts are compared.
struct Reading {
    exact: bool,
    /// The lower and the higher major version.
    majors: (u32, u32),
}

/// What is another now than it was then, without what `ignore` covers. `exact` says that both texts come from one server.
/// The parts of a table that is new or gone are not told one by one.
pub fn compare(
    before: &Fingerprint,
    now: &Fingerprint,
    exact: bool,
    ignore: &Patterns,
) -> Vec<Drift> {
    let (a, b) = (before.major(), now.major());
    let reading = Reading {
        exact: exact && before.server == now.server,
        majors: (a.min(b), a.max(b)),
    };
    let mut drift = Vec::new();
    let names: BTreeSet<&Name> = before.objects.keys().chain(now.objects.keys()).collect();
    for name in names {
        let (was, is) = (before.objects.get(name), now.objects.get(name));
        let table = is.or(was).and_then(|attributes| table_of(name, attributes));
        let whole = [before, now].map(|side| {
            let table = table.as_ref()?;
            Some(RELATIONS.iter().any(|kind| {
                let name = Name::new(kind, table.clone());
                side.objects.contains_key(&name)
            }))
        });
        // The table itself says it.
        if whole[0] != whole[1] {
            continue;
        }
        let plain = table.map(|table| table.join("."));
        let covered = |kinds: &[&str]| ignore.cover(kinds, name, plain.as_deref());
        match (was, is) {
            (Some(was), Some(is)) => {
                reading.changed(name, was, is, &covered, &mut drift);
            }
            (was, is) if !covered(&[&name.kind]) => drift.push(Drift {
                kind: name.kind.clone(),
                name: name.to_string(),
                what: if was.is_some() {
                    What::Removed
                } else {
                    What::Added
                },
                attribute: None,
                before: was.and_then(telling),
                after: is.and_then(telling),
            }),
            _ => {}
        }
    }
    drift
}

/// What has columns, indexes, triggers.
const RELATIONS: [&str; 6] = [
    "table",
    "view",
    "materialized view",
    "foreign table",
    "domain",
    "type",
];

/// The table that an object is a part of.
fn table_of(name: &Name, attributes: &Attributes) -> Option<Vec<String>> {
    let schema = name.parts.first()?;
    let table = match name.kind.as_str() {
        "column" | "constraint" | "trigger" | "rule" | "policy" => name.parts.get(1)?,
        "index" => attributes.get("table")?,
        "sequence" => attributes.get("owner table")?,
        _ => return None,
    };
    Some(vec![schema.clone(), table.clone()])
}

fn telling(attributes: &Attributes) -> Option<String> {
    TELLING
        .iter()
        .find_map(|attribute| attributes.get(*attribute))
        .cloned()
}

// === impl Reading ===

impl Reading {
    fn changed(
        &self,
        name: &Name,
        was: &Attributes,
        is: &Attributes,
        covered: &dyn Fn(&[&str]) -> bool,
        drift: &mut Vec<Drift>,
    ) {
        let attributes: BTreeSet<&String> = was.keys().chain(is.keys()).collect();
        for attribute in attributes {
            let (before, after) = (was.get(attribute), is.get(attribute));
            if self.same(attribute, before, after) || self.is_the_majors(name, attribute) {
                continue;
            }
            let grantee = attribute.strip_prefix(GRANT);
            let word = if grantee.is_some() {
                "grant"
            } else {
                attribute.as_str()
            };
            if covered(&[&name.kind, word]) {
                continue;
            }
            let (before, after) = (before.cloned(), after.cloned());
            drift.push(match grantee {
                Some(grantee) => Drift {
                    kind: "grant".to_owned(),
                    name: format!("on {} {name} to {grantee}", name.kind),
                    what: match (&before, &after) {
                        (None, _) => What::Added,
                        (_, None) => What::Removed,
                        _ => What::Changed,
                    },
                    attribute: None,
                    before,
                    after,
                },
                None => Drift {
                    kind: name.kind.clone(),
                    name: name.to_string(),
                    what: What::Changed,
                    attribute: Some(attribute.clone()),
                    before,
                    after,
                },
            });
        }
    }

    fn same(&self, attribute: &str, before: Option<&String>, after: Option<&String>) -> bool {
        if before == after {
            return true;
        }
        if self.exact {
            return false;
        }
        match (before, after) {
            (Some(before), Some(after)) if PRINTED.contains(&attribute) => {
                normal(before) == normal(after)
            }
            // MAINTAIN came with version 17, and who had everything has it too.
            _ if attribute.starts_with(GRANT) && self.crosses(17) => {
                without_maintain(before) == without_maintain(after)
            }
            _ => false,
        }
    }

    /// What another major version brings by itself.
    fn is_the_majors(&self, name: &Name, attribute: &str) -> bool {
        let crossed = self.majors.0 != self.majors.1;
        match name.kind.as_str() {
            // CREATE EXTENSION in a dump names no version.
            "extension" => crossed && attribute == "version",
            // Owned by pg_database_owner since 15, and no longer open to everybody.
            "schema" => self.crosses(15) && name.parts.first().is_some_and(|part| part == "public"),
            _ => false,
        }
    }

    const fn crosses(&self, major: u32) -> bool {
        self.majors.0 < major && major <= self.majors.1
    }
}

fn without_maintain(privileges: Option<&String>) -> Option<String> {
    let privileges = privileges?.split(", ");
    let kept: Vec<&str> = privileges
        .filter(|privilege| !privilege.contains("MAINTAIN"))
        .collect();
    (!kept.is_empty()).then(|| kept.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(server: u32, objects: &str) -> Fingerprint {
        Fingerprint::of_objects(server, objects).unwrap()
    }

    /// Each difference as `what kind name attribute: before -> after`.
    #[track_caller]
    fn check(before: (u32, &str), now: (u32, &str), exact: bool, ignore: &str, expected: &[&str]) {
        let ignore = if ignore.is_empty() {
            Patterns::default()
        } else {
            Patterns::parse(ignore).unwrap()
        };
        let (before, now) = (print(before.0, before.1), print(now.0, now.1));
        let found: Vec<String> = compare(&before, &now, exact, &ignore)
            .iter()
            .map(|drift| {
                format!(
                    "{:?} {} {} {}: {} -> {}",
                    drift.what,
                    drift.kind,
                    drift.name,
                    drift.attribute.as_deref().unwrap_or_default(),
                    drift.before.as_deref().unwrap_or_default(),
                    drift.after.as_deref().unwrap_or_default()
                )
            })
            .collect();
        assert_eq!(found, expected);
    }

    const TABLE: &str =
        r#"["table", ["s", "t"], {"owner": "o"}, {"a": {"type": "integer", "default": "1"}}]"#;

    #[test]
    fn objects() {
        let one = format!("[{TABLE}]");
        let changed = one.replace("integer", "bigint").replace("\"1\"", "\"2\"");
        let list = [
            "Changed column s.t.a default: 1 -> 2",
            "Changed column s.t.a type: integer -> bigint",
        ];
        check((150_001, &one), (150_001, &one), true, "", &[]);
        check((150_001, &one), (150_001, &changed), true, "", &list);
        check(
            (150_001, &one),
            (150_001, &changed),
            true,
            "default:*",
            &list[1..],
        );
        check((150_001, &one), (150_001, &changed), true, "s.t", &[]);
    }

    #[test]
    fn the_parts_of_a_table_go_with_it() {
        let index = r#"["index", ["s", "i"], {"table": "t", "definition": "x"}]"#;
        let trigger = r#"["trigger", ["s", "t", "r"], {"definition": "y"}]"#;
        let sequence = r#"["sequence", ["s", "q"], {"owner table": "t"}]"#;
        let all = format!("[{TABLE}, {index}, {trigger}, {sequence}]");
        check(
            (1, &all),
            (1, "[]"),
            true,
            "",
            &["Removed table s.t :  -> "],
        );
        check(
            (1, &all),
            (1, &format!("[{TABLE}]")),
            true,
            "table",
            &[
                "Removed index s.i : x -> ",
                "Removed sequence s.q :  -> ",
                "Removed trigger s.t.r : y -> ",
            ],
        );
    }

    #[test]
    fn grants() {
        let of = |grants: &str| format!(r#"[["table", ["s", "t"], {{"owner": "o"{grants}}}]]"#);
        let (none, some) = (of(""), of(r#", "grant to app": "SELECT""#));
        let more = of(r#", "grant to app": "INSERT, SELECT""#);
        check(
            (1, &none),
            (1, &some),
            true,
            "",
            &["Added grant on table s.t to app :  -> SELECT"],
        );
        check(
            (1, &some),
            (1, &none),
            true,
            "",
            &["Removed grant on table s.t to app : SELECT -> "],
        );
        check(
            (1, &some),
            (1, &more),
            true,
            "grant:x.*",
            &["Changed grant on table s.t to app : SELECT -> INSERT, SELECT"],
        );
        check((1, &some), (1, &more), true, "grant:s.*", &[]);
    }

    #[test]
    fn printed_texts_are_exact_on_one_server_only() {
        let of = |check: &str| {
            format!(r#"[["constraint", ["s", "t", "c"], {{"definition": "{check}"}}]]"#)
        };
        let (one, other) = (
            of("CHECK (((a)::text = 'b'::text))"),
            of("CHECK ((a = 'b'::text))"),
        );
        check((150_001, &one), (150_001, &other), false, "", &[]);
        check((150_001, &one), (150_002, &other), true, "", &[]);
        check(
            (150_001, &one),
            (150_001, &other),
            true,
            "",
            &[
                "Changed constraint s.t.c definition: CHECK (((a)::text = 'b'::text)) -> CHECK ((a = 'b'::text))",
            ],
        );
    }

    #[test]
    fn what_a_major_version_brings() {
        let of = |owner: &str, version: &str, grants: &str| {
            format!(
                r#"[["schema", ["public"], {{"owner": "{owner}"}}], ["extension", ["x"], {{"version": "{version}"}}],
                 ["table", ["s", "t"], {{"grant to app": "{grants}"}}]]"#
            )
        };
        let old = of("postgres", "1.0", "INSERT, SELECT");
        let new = of("pg_database_owner", "1.1", "INSERT, MAINTAIN, SELECT");
        check((140_001, &old), (180_001, &new), false, "", &[]);
        let version = "Changed extension x version: 1.0 -> 1.1";
        let grant =
            "Changed grant on table s.t to app : INSERT, SELECT -> INSERT, MAINTAIN, SELECT";
        let owner = "Changed schema public owner: postgres -> pg_database_owner";
        check(
            (180_001, &old),
            (180_001, &new),
            false,
            "",
            &[version, owner, grant],
        );
        check((150_001, &old), (160_001, &new), false, "", &[owner, grant]);
    }
}
