//! What a database holds, object by object: enough to see whether going down and up again leads back.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    connect::Session,
    migration::{TableName, quote_literal},
    wire,
};

/// The objects of a database by kind and name, each with what it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listing {
    objects: BTreeMap<String, Object>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Object {
    /// What it is part of; what becomes of that says enough.
    parent: String,
    is: String,
}

/// Everything but the system's own schemas, ours, the members of extensions and the history table. Names are quoted where
/// they need it; with an empty `search_path` every name in a definition has its schema.
const OBJECTS: &str = "\
WITH ours AS (SELECT n.oid, pg_catalog.quote_ident(n.nspname) AS name, n.nspacl FROM pg_catalog.pg_namespace n \
  WHERE n.nspname !~ '^(pg_|information_schema$)' AND n.nspname <> 'schemagate'), \
members AS (SELECT classid, objid FROM pg_catalog.pg_depend WHERE deptype = 'e'), \
rels AS (SELECT c.*, s.name || '.' || pg_catalog.quote_ident(c.relname) AS name, \
  CASE c.relkind WHEN 'i' THEN 'index' WHEN 'I' THEN 'index' WHEN 'S' THEN 'sequence' WHEN 'v' THEN 'view' \
    WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table' WHEN 'c' THEN 'type' ELSE 'table' END AS kind \
  FROM pg_catalog.pg_class c JOIN ours s ON s.oid = c.relnamespace \
  WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f', 'c', 'i', 'I') \
  AND NOT EXISTS (SELECT 1 FROM members m WHERE m.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND m.objid = c.oid)), \
tables AS (SELECT * FROM rels WHERE kind NOT IN ('index', 'sequence')) \
SELECT '', 'schema ' || name, COALESCE(nspacl::text, '') FROM ours \
UNION ALL SELECT '', 'extension ' || pg_catalog.quote_ident(extname), extversion FROM pg_catalog.pg_extension \
UNION ALL SELECT '', kind || ' ' || name, pg_catalog.concat_ws(' ', relpersistence, relrowsecurity, relforcerowsecurity, \
  pg_catalog.array_to_string(reloptions, ','), relacl::text, pg_catalog.pg_get_partkeydef(oid), \
  pg_catalog.pg_get_expr(relpartbound, oid), CASE WHEN relkind IN ('v', 'm') THEN pg_catalog.pg_get_viewdef(oid) END) FROM tables \
UNION ALL SELECT r.kind || ' ' || r.name, 'column ' || r.name || '.' || pg_catalog.quote_ident(a.attname), \
  pg_catalog.concat_ws(' ', pg_catalog.format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN 'not null' END, \
  pg_catalog.pg_get_expr(d.adbin, d.adrelid), NULLIF(a.attidentity, ''), NULLIF(a.attgenerated, ''), \
  (SELECT o.collname FROM pg_catalog.pg_collation o WHERE o.oid = a.attcollation), a.attacl::text) \
  FROM pg_catalog.pg_attribute a JOIN tables r ON r.oid = a.attrelid \
  LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
  WHERE a.attnum > 0 AND NOT a.attisdropped \
UNION ALL SELECT t.kind || ' ' || t.name, 'index ' || r.name, pg_catalog.pg_get_indexdef(i.indexrelid) || \
  CASE WHEN i.indisvalid THEN '' ELSE ' invalid' END \
  FROM pg_catalog.pg_index i JOIN rels r ON r.oid = i.indexrelid JOIN rels t ON t.oid = i.indrelid \
UNION ALL SELECT COALESCE((SELECT o.kind || ' ' || o.name FROM pg_catalog.pg_depend p JOIN tables o ON o.oid = p.refobjid \
    WHERE p.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND p.objid = r.oid AND p.deptype IN ('a', 'i') LIMIT 1), ''), \
  'sequence ' || r.name, pg_catalog.concat_ws(' ', q.seqtypid::pg_catalog.regtype, q.seqstart, q.seqincrement, q.seqmin, \
  q.seqmax, q.seqcycle, r.relacl::text) FROM pg_catalog.pg_sequence q JOIN rels r ON r.oid = q.seqrelid \
UNION ALL SELECT COALESCE(r.kind || ' ' || r.name, ''), 'constraint ' || pg_catalog.quote_ident(c.conname) || ' on ' || \
  COALESCE(r.name, c.contypid::pg_catalog.regtype::text), pg_catalog.pg_get_constraintdef(c.oid) \
  FROM pg_catalog.pg_constraint c JOIN ours s ON s.oid = c.connamespace LEFT JOIN tables r ON r.oid = c.conrelid \
UNION ALL SELECT r.kind || ' ' || r.name, 'trigger ' || pg_catalog.quote_ident(t.tgname) || ' on ' || r.name, \
  pg_catalog.pg_get_triggerdef(t.oid) || ' ' || t.tgenabled::text \
  FROM pg_catalog.pg_trigger t JOIN tables r ON r.oid = t.tgrelid WHERE NOT t.tgisinternal \
UNION ALL SELECT r.kind || ' ' || r.name, 'policy ' || pg_catalog.quote_ident(p.polname) || ' on ' || r.name, \
  pg_catalog.concat_ws(' ', p.polcmd, p.polpermissive, p.polroles::pg_catalog.regrole[]::text, \
  pg_catalog.pg_get_expr(p.polqual, p.polrelid), pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid)) \
  FROM pg_catalog.pg_policy p JOIN tables r ON r.oid = p.polrelid \
UNION ALL SELECT r.kind || ' ' || r.name, 'rule ' || pg_catalog.quote_ident(u.rulename) || ' on ' || r.name, \
  pg_catalog.pg_get_ruledef(u.oid) FROM pg_catalog.pg_rewrite u JOIN tables r ON r.oid = u.ev_class WHERE u.rulename <> '_RETURN' \
UNION ALL SELECT '', 'function ' || p.oid::pg_catalog.regprocedure::text, pg_catalog.concat_ws(' ', p.prokind, \
  pg_catalog.pg_get_function_result(p.oid), p.provolatile, p.prosecdef, p.proisstrict, p.proconfig::text, p.proacl::text, \
  CASE WHEN p.prokind <> 'a' THEN pg_catalog.md5(pg_catalog.pg_get_functiondef(p.oid)) END) FROM pg_catalog.pg_proc p JOIN ours s ON s.oid = p.pronamespace WHERE NOT EXISTS (SELECT 1 \
  FROM members m WHERE m.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND m.objid = p.oid) \
UNION ALL SELECT '', 'type ' || t.oid::pg_catalog.regtype::text, pg_catalog.concat_ws(' ', t.typtype, \
  NULLIF(t.typbasetype, 0)::pg_catalog.regtype::text, t.typnotnull, t.typdefault, (SELECT \
  pg_catalog.string_agg(pg_catalog.quote_literal(e.enumlabel), ',' ORDER BY e.enumsortorder) \
  FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid)) \
  FROM pg_catalog.pg_type t JOIN ours s ON s.oid = t.typnamespace WHERE t.typtype IN ('e', 'd', 'r') AND NOT EXISTS (SELECT 1 \
  FROM members m WHERE m.classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND m.objid = t.oid) \
UNION ALL SELECT '', 'event trigger ' || pg_catalog.quote_ident(evtname), pg_catalog.concat_ws(' ', evtevent, evtenabled, \
  evtfoid::pg_catalog.regprocedure::text) FROM pg_catalog.pg_event_trigger \
UNION ALL SELECT '', 'publication ' || pg_catalog.quote_ident(pubname), puballtables::text FROM pg_catalog.pg_publication";

// === impl Listing ===

impl Listing {
    /// Lists what the database holds beside the history.
    pub async fn of(session: &Session, history: &TableName) -> Result<Self, tokio_postgres::Error> {
        let sql = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;SET LOCAL search_path = '';\
             SELECT pg_catalog.quote_ident({}), pg_catalog.quote_ident({});{OBJECTS};COMMIT",
            quote_literal(&history.schema),
            quote_literal(&history.table)
        );
        let mut reply = wire::query(session.client(), &sql).await;
        let names = reply.rows(2)?;
        let mut names = names.into_iter().flatten().flatten();
        let schema = names.next().unwrap_or_default();
        let table = format!("table {schema}.{}", names.next().unwrap_or_default());
        let schema = format!("schema {schema}");
        let mut objects = BTreeMap::new();
        for row in reply.rows(3)? {
            let mut row = row.into_iter().map(Option::unwrap_or_default);
            let (Some(parent), Some(name), Some(is)) = (row.next(), row.next(), row.next()) else {
                continue;
            };
            if ![&parent, &name].contains(&&table) && name != schema {
                objects.insert(name, Object { parent, is });
            }
        }
        Ok(Self { objects })
    }

    /// With one object more.
    #[cfg(test)]
    fn with(mut self, parent: &str, name: &str, is: &str) -> Self {
        let (parent, is) = (parent.to_owned(), is.to_owned());
        self.objects.insert(name.to_owned(), Object { parent, is });
        self
    }
}

/// In words how `now` differs from `before`, one object each; empty where it does not. What is part of an object that
/// came or went goes without saying.
pub fn difference(before: &Listing, now: &Listing) -> Vec<String> {
    let (old, new) = (&before.objects, &now.objects);
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let came_or_went = |name: &String| old.contains_key(name) != new.contains_key(name);
    let mut found = Vec::new();
    for name in names {
        let word = match (old.get(name), new.get(name)) {
            (Some(one), Some(other)) if one.is == other.is => continue,
            (Some(_), Some(_)) => "is not what it was",
            (Some(one), None) if !came_or_went(&one.parent) => "is gone",
            (None, Some(other)) if !came_or_went(&other.parent) => "was not there before",
            _ => continue,
        };
        found.push(format!("{name} {word}"));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_names_the_objects() {
        let before = Listing::default()
            .with("", "table public.a", "p")
            .with("table public.a", "column public.a.id", "integer")
            .with("table public.a", "index public.a_id", "btree")
            .with("", "table public.gone", "p")
            .with("table public.gone", "column public.gone.id", "integer");
        let now = Listing::default()
            .with("", "table public.a", "p")
            .with("table public.a", "column public.a.id", "bigint")
            .with("", "table public.b", "p")
            .with("table public.b", "column public.b.id", "integer");
        assert_eq!(
            difference(&before, &now),
            [
                "column public.a.id is not what it was",
                "index public.a_id is gone",
                "table public.b was not there before",
                "table public.gone is gone"
            ]
        );
        assert!(difference(&now, &now).is_empty());
    }
}
