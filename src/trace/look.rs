//! What a statement has done, as the catalog shows it from inside the transaction.

use std::collections::{HashMap, HashSet};

use super::{Observed, Taken};
use crate::{sql::risk::Lock, wire::Row};

/// So many relations are known by name before the trace; of more than these a new one cannot be told.
const KNOWN: usize = 200_000;

/// The time stamp of the transaction: another one is another transaction.
pub(super) const STAMP: &str = "SELECT pg_catalog.now()::pg_catalog.text";

/// The relation locks of this session.
///
/// <https://www.postgresql.org/docs/current/view-pg-locks.html>
pub(super) const LOCKS: &str = "\
    SELECT l.relation, l.mode, n.nspname, c.relname, c.relkind, \
      pg_catalog.pg_relation_filenode(l.relation), \
      (SELECT i.indrelid FROM pg_catalog.pg_index i WHERE i.indexrelid OPERATOR(pg_catalog.=) l.relation) \
    FROM pg_catalog.pg_locks l \
    LEFT JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) l.relation \
    LEFT JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace \
    WHERE l.locktype OPERATOR(pg_catalog.=) 'relation' AND l.granted \
    AND l.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()";

/// What is known of the relations, and of what was seen of them before.
#[derive(Debug, Default)]
pub(super) struct Looker {
    relations: HashMap<u32, Relation>,
    /// There are more of them.
    cut: bool,
    held: HashSet<(u32, Lock)>,
}

/// A relation that was there before the trace.
#[derive(Debug)]
struct Relation {
    name: String,
    /// 0 for one without a file.
    filenode: u32,
}

/// The relations that are there before the trace, for [`Looker::know`].
pub(super) fn relations_sql() -> String {
    format!(
        "SELECT c.oid, n.nspname, c.relname, pg_catalog.pg_relation_filenode(c.oid) \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace \
         WHERE n.nspname OPERATOR(pg_catalog.<>) ALL (ARRAY['pg_catalog', 'pg_toast', 'information_schema']::pg_catalog.name[]) \
         LIMIT {KNOWN}"
    )
}

// === impl Looker ===

impl Looker {
    /// Takes the rows of [`relations_sql`].
    pub(super) fn know(&mut self, rows: &[Row]) {
        self.cut = rows.len() == KNOWN;
        self.relations = rows
            .iter()
            .filter_map(|row| {
                let text = |column: usize| row.get(column).and_then(Option::as_deref);
                let relation = Relation {
                    name: format!("{}.{}", text(1)?, text(2)?),
                    filenode: number(text(3)),
                };
                Some((text(0)?.parse().ok()?, relation))
            })
            .collect();
    }

    /// What the rows of [`LOCKS`] show that was not there at the last look.
    pub(super) fn see(&mut self, rows: &[Row], observed: &mut Observed) {
        let mut rewritten: Vec<(u32, String)> = Vec::new();
        let mut indexes: Vec<(u32, String)> = Vec::new();
        let mut locks: Vec<Taken> = Vec::new();
        for row in rows {
            let text = |column: usize| row.get(column).and_then(Option::as_deref);
            let oid = number(text(0));
            let Some(lock) = text(1).and_then(Lock::from_pg_locks) else {
                continue;
            };
            let kind = text(4).unwrap_or_default();
            let is_new = self.held.insert((oid, lock));
            let Some(name) = self.name(oid, text(2), text(3), lock) else {
                continue;
            };
            // Who reads or writes a table takes the same lock on its indexes and sequences.
            if is_new && (!matches!(kind, "i" | "I" | "S") || lock >= Lock::ShareUpdateExclusive) {
                locks.push(Taken {
                    relation: name.clone(),
                    lock,
                });
            }
            if self.has_moved(oid, number(text(5))) {
                match kind {
                    "r" | "m" => rewritten.push((oid, name)),
                    "i" => indexes.push((number(text(6)), name)),
                    _ => {}
                }
            }
        }
        // The indexes of a table are written again with it.
        indexes.retain(|(table, _)| rewritten.iter().all(|(oid, _)| oid != table));
        rewritten.append(&mut indexes);
        locks.sort();
        observed.locks.append(&mut locks);
        observed
            .rewritten
            .extend(rewritten.into_iter().map(|(_, name)| name));
    }

    /// The name as it was before the trace; `None` for what the trace has made itself, and for the catalog, which every
    /// statement reads and writes.
    fn name(
        &self,
        oid: u32,
        schema: Option<&str>,
        name: Option<&str>,
        lock: Lock,
    ) -> Option<String> {
        if let Some(known) = self.relations.get(&oid) {
            return Some(known.name.clone());
        }
        let (schema, name) = (schema?, name?);
        let is_catalog = schema == "pg_catalog" && lock >= Lock::ShareUpdateExclusive;
        let is_unknown = self.cut && !schema.starts_with("pg_");
        (is_catalog || is_unknown).then(|| format!("{schema}.{name}"))
    }

    fn has_moved(&mut self, oid: u32, filenode: u32) -> bool {
        let Some(known) = self.relations.get_mut(&oid) else {
            return false;
        };
        let moved = filenode != 0 && known.filenode != 0 && filenode != known.filenode;
        if moved {
            known.filenode = filenode;
        }
        moved
    }
}

fn number(text: Option<&str>) -> u32 {
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: &[&str]) -> Row {
        cells
            .iter()
            .map(|cell| (!cell.is_empty()).then(|| (*cell).to_owned()))
            .collect()
    }

    fn looker() -> Looker {
        let mut looker = Looker::default();
        looker.know(&[
            row(&["1", "public", "t", "100"]),
            row(&["2", "public", "t_pkey", "200"]),
            row(&["3", "public", "gone", "300"]),
        ]);
        looker
    }

    fn see(looker: &mut Looker, rows: &[Row]) -> (Vec<String>, Vec<String>) {
        let mut observed = Observed::default();
        looker.see(rows, &mut observed);
        let locks = observed.locks.iter();
        let locks = locks.map(|taken| format!("{} {}", taken.lock, taken.relation));
        (locks.collect(), observed.rewritten)
    }

    #[test]
    fn only_what_is_new_is_told() {
        let mut looker = looker();
        let exclusive = row(&["1", "AccessExclusiveLock", "public", "t", "r", "100", ""]);
        let rows = [
            exclusive.clone(),
            row(&["2", "RowExclusiveLock", "public", "t_pkey", "i", "200", "1"]),
            row(&["9", "AccessExclusiveLock", "public", "made", "r", "900", ""]),
            row(&[
                "1259",
                "RowExclusiveLock",
                "pg_catalog",
                "pg_class",
                "r",
                "0",
                "",
            ]),
            row(&["3", "AccessExclusiveLock", "", "", "", "", ""]),
        ];
        let (locks, rewritten) = see(&mut looker, &rows);
        assert_eq!(
            locks,
            ["ACCESS EXCLUSIVE public.gone", "ACCESS EXCLUSIVE public.t"]
        );
        assert!(rewritten.is_empty());
        assert!(see(&mut looker, &[exclusive]).0.is_empty());
    }

    #[test]
    fn a_table_stands_for_its_indexes() {
        let mut looker = looker();
        let index = |filenode| {
            row(&[
                "2",
                "AccessExclusiveLock",
                "public",
                "t_pkey",
                "i",
                filenode,
                "1",
            ])
        };
        let table = row(&["1", "AccessExclusiveLock", "public", "t", "r", "101", ""]);
        assert_eq!(
            see(&mut looker, &[table.clone(), index("201")]).1,
            ["public.t"]
        );
        assert_eq!(
            see(&mut looker, &[table, index("202")]).1,
            ["public.t_pkey"]
        );
    }
}
