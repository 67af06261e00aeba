//! What a statement is said to risk, held against what real servers lock and write again.

mod traced;

use std::collections::{HashMap, HashSet};

use schemagate::sql::risk::{Lock, Release};
use schemagate::sql::{Name, Options, Script};

use crate::harness::{Server, Session, fixture};

/// A line of `tests/fixtures/risk/statements.tsv`; its head explains the columns.
struct Case {
    sql: String,
    since: u32,
    bare: bool,
    stricter: bool,
}

/// What a statement is said to do to a relation, or to some that it does not name.
struct Said {
    object: Option<String>,
    lock: Option<Lock>,
    rewrite: bool,
}

/// A relation of the world.
struct Relation {
    name: String,
    /// Tables and materialized views, whose rows can be written again.
    has_rows: bool,
    /// What a lock on it comes from as well: an index's table, a partition's parent, a sequence's owner.
    belongs_to: Vec<String>,
    node: String,
}

/// What a statement did to the relations that were there before it.
#[derive(Default)]
struct Observed {
    locks: Vec<(String, Lock)>,
    rewritten: HashSet<String>,
}

const MAJORS: [(&str, u32); 3] = [("14", 140_000), ("15", 150_000), ("18", 180_000)];

const RELATIONS: &str = "
    SELECT c.oid, CASE n.nspname WHEN 'public' THEN '' ELSE n.nspname || '.' END || c.relname, c.relkind,
           pg_catalog.pg_relation_filenode(c.oid), b.refobjid
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN (
        SELECT inhrelid, inhparent FROM pg_catalog.pg_inherits
        UNION ALL SELECT indexrelid, indrelid FROM pg_catalog.pg_index
        UNION ALL SELECT reltoastrelid, oid FROM pg_catalog.pg_class WHERE reltoastrelid <> 0
        UNION ALL SELECT objid, refobjid FROM pg_catalog.pg_depend
            WHERE classid = 'pg_catalog.pg_class'::regclass AND refclassid = classid AND refobjsubid > 0 AND deptype IN ('a', 'i')
    ) b (relid, refobjid) ON b.relid = c.oid
    WHERE n.nspname NOT IN ('pg_catalog', 'information_schema')";

const LOCKS: &str = "
    SELECT relation, mode FROM pg_catalog.pg_locks
    WHERE pid = pg_catalog.pg_backend_pid() AND locktype = 'relation' AND granted";

fn cases() -> Vec<Case> {
    let text = std::fs::read_to_string(fixture("risk").join("statements.tsv")).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let columns: Vec<&str> = line.split('\t').collect();
            let remarks: Vec<&str> = columns[2].split("; ").collect();
            let since = remarks.iter().find_map(|r| r.strip_prefix("since="));
            Case {
                sql: columns[3].to_owned(),
                since: since.map_or(0, |major| major.parse().unwrap()),
                bare: remarks.contains(&"bare"),
                stricter: remarks.iter().any(|r| r.starts_with("stricter=")),
            }
        })
        .collect()
}

fn world() -> String {
    std::fs::read_to_string(fixture("risk").join("world.sql")).unwrap()
}

fn said(version: u32, sql: &str) -> Vec<Said> {
    let script = Script::prepare(sql.to_owned(), Options::default()).unwrap();
    let statement = script.statements().next().unwrap();
    let effects = Release::new(version).assess(&statement).effects.into_iter();
    effects
        .map(|effect| Said {
            object: effect.object.as_ref().map(called),
            lock: effect.lock,
            rewrite: effect.rewrite,
        })
        .collect()
}

fn relations(session: &Session) -> HashMap<String, Relation> {
    let rows = session.query(RELATIONS);
    let names: HashMap<String, String> = rows
        .iter()
        .map(|row| (row[0].clone(), row[1].clone()))
        .collect();
    let mut relations = HashMap::new();
    for row in rows {
        let relation = relations.entry(row[0].clone()).or_insert_with(|| Relation {
            name: row[1].clone(),
            has_rows: matches!(row[2].as_str(), "r" | "m" | "p"),
            belongs_to: Vec::new(),
            node: row[3].clone(),
        });
        relation.belongs_to.extend(names.get(&row[4]).cloned());
    }
    relations
}

/// Runs a statement in a transaction that is rolled back. Who looks at it in another way gives the same answer.
fn observe(
    session: &Session,
    before: &HashMap<String, Relation>,
    sql: &str,
) -> Result<Observed, String> {
    session.query("BEGIN");
    if let Err(error) = session.try_query(sql) {
        session.query("ROLLBACK");
        return Err(format!("{sql}: {error:?}"));
    }
    let mut observed = Observed::default();
    for row in session.query(LOCKS) {
        if let Some(relation) = before.get(&row[0]) {
            let lock = Lock::from_pg_locks(&row[1]).unwrap();
            observed.locks.push((relation.name.clone(), lock));
        }
    }
    let after = relations(session);
    for (oid, relation) in before {
        let now = after.get(oid);
        if relation.has_rows && now.is_some_and(|now| now.node != relation.node) {
            observed.rewritten.insert(relation.name.clone());
        }
    }
    session.query("ROLLBACK");
    Ok(observed)
}

fn called(name: &Name) -> String {
    match name.schema.as_deref() {
        None | Some("public") => name.name.clone(),
        Some(schema) => format!("{schema}.{}", name.name),
    }
}

/// Everything that an effect on `name` speaks for: itself, what belongs to it, and its table where it is an index.
fn speaks_for(name: &str, other: &str, world: &HashMap<String, Relation>) -> bool {
    let parents = |of: &str| -> Vec<String> {
        let found = world.values().find(|relation| relation.name == of);
        found.map_or_else(Vec::new, |relation| relation.belongs_to.clone())
    };
    let mut reached = vec![other.to_owned()];
    while let Some(next) = reached.pop() {
        if next == name {
            return true;
        }
        reached.extend(parents(&next));
    }
    parents(name).iter().any(|parent| parent == other)
}

fn milder(said: &[Said], observed: &Observed, world: &HashMap<String, Relation>) -> Vec<String> {
    let about = |relation: &str| -> Vec<&Said> {
        let about = |effect: &&Said| match &effect.object {
            Some(object) => speaks_for(object, relation, world),
            None => true,
        };
        said.iter().filter(about).collect()
    };
    let mut milder = Vec::new();
    for (relation, lock) in &observed.locks {
        let named = said
            .iter()
            .any(|effect| effect.object.as_ref() == Some(relation));
        if *lock < Lock::ShareUpdateExclusive && !named {
            continue;
        }
        let strongest = about(relation)
            .iter()
            .filter_map(|effect| effect.lock)
            .max();
        if strongest < Some(*lock) && *lock > Lock::RowExclusive {
            milder.push(format!("takes {lock} on {relation}"));
        }
    }
    for relation in &observed.rewritten {
        if !about(relation).iter().any(|effect| effect.rewrite) {
            milder.push(format!("writes {relation} again"));
        }
    }
    milder
}

/// The locks and rewrites on named relations that were said and not seen.
fn stricter(
    said: &[Said],
    observed: &[Observed],
    world: &HashMap<String, Relation>,
) -> Vec<String> {
    let mut stricter = Vec::new();
    for effect in said {
        let (Some(object), Some(lock)) = (&effect.object, effect.lock) else {
            continue;
        };
        let of = |other: &str| speaks_for(object, other, world);
        let locks = observed.iter().flat_map(|observed| &observed.locks);
        let seen = locks.filter(|(name, _)| of(name)).map(|(_, lock)| *lock);
        if seen.max() < Some(lock) {
            stricter.push(format!("{lock} on {object}"));
        }
        let mut rewritten = observed.iter().flat_map(|observed| &observed.rewritten);
        if effect.rewrite && !rewritten.any(|name| of(name)) {
            stricter.push(format!("{object} written again"));
        }
    }
    stricter
}

#[test]
fn nothing_is_milder_than_the_truth() {
    let world = world();
    let cases = cases();
    let mut seen: Vec<Vec<Observed>> = cases.iter().map(|_| Vec::new()).collect();
    let mut wrong = Vec::new();
    let mut names = HashMap::new();
    for (major, version) in MAJORS {
        let server = match major {
            "15" => Server::debian(),
            _ => Server::embedded(major),
        };
        let database = server.database();
        let session = database.session();
        session.query(&world);
        let before = relations(&session);
        for (case, seen) in cases.iter().zip(&mut seen) {
            if case.bare || case.since * 10_000 > version {
                continue;
            }
            let observed = match observe(&session, &before, &case.sql) {
                Ok(observed) => observed,
                Err(error) => {
                    wrong.push(format!("{error} on {major}"));
                    continue;
                }
            };
            for told in [version, 0] {
                for what in milder(&said(told, &case.sql), &observed, &before) {
                    wrong.push(format!("{} on {major}, told {told}: {what}", case.sql));
                }
            }
            seen.push(observed);
        }
        names = before;
        session.query("DROP OWNED BY risk_reader; DROP ROLE risk_reader");
    }
    for (case, seen) in cases.iter().zip(&seen).filter(|(_, seen)| !seen.is_empty()) {
        let stricter = stricter(&said(0, &case.sql), seen, &names);
        if stricter.is_empty() == case.stricter {
            wrong.push(format!(
                "{}: stricter={} but {stricter:?}",
                case.sql, case.stricter
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen.iter().filter(|seen| !seen.is_empty()).count() >= 80);
}
