//! What the catalog itself calls unfinished: invalid indexes and constraints that were not validated.

use super::{Name, pattern::Patterns};
use crate::wire::Row;

/// Schema, table, index for each index that no query uses: what an interrupted concurrent build leaves. One that is being
/// built now is invalid too, and one of a partitioned table is as long as a partition lacks its part; both are left out.
/// Behind [`super::SETTINGS`].
///
/// <https://www.postgresql.org/docs/current/catalog-pg-index.html>
pub const INDEXES_SQL: &str = "SELECT n.nspname, t.relname, i.relname FROM pg_index x \
    JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid JOIN pg_namespace n ON n.oid = t.relnamespace \
    WHERE NOT (x.indisvalid AND x.indisready) AND i.relkind = 'i' AND n.nspname !~ '^pg_' \
    AND NOT EXISTS (SELECT FROM pg_locks l JOIN pg_stat_progress_create_index p USING (pid) \
      WHERE l.locktype = 'relation' AND l.relation = x.indrelid AND l.granted \
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())) \
    ORDER BY 1, 2, 3";

/// Schema, table or domain, constraint, whether it is a domain's, for each constraint that rows from before it may break. One
/// that is not enforced (18 and later) is not validated by design. Behind [`super::SETTINGS`].
///
/// <https://www.postgresql.org/docs/current/catalog-pg-constraint.html>
pub const CONSTRAINTS_SQL: &str = "SELECT n.nspname, COALESCE(t.relname, d.typname), c.conname, d.oid IS NOT NULL \
    FROM pg_constraint c JOIN pg_namespace n ON n.oid = c.connamespace \
    LEFT JOIN pg_class t ON t.oid = c.conrelid LEFT JOIN pg_type d ON d.oid = c.contypid \
    WHERE NOT c.convalidated AND c.conparentid = 0 AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' \
    AND NOT COALESCE((to_jsonb(c)->>'conenforced')::bool IS FALSE, false) ORDER BY 1, 2, 3";

/// Something unfinished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// `index` or `constraint`.
    pub kind: &'static str,
    /// Its name, quoted as in SQL.
    pub name: String,
    /// The statement that finishes it.
    pub finish: String,
}

/// From the rows of [`INDEXES_SQL`], without what `ignore` covers.
pub fn invalid_indexes(rows: &[Row], ignore: &Patterns) -> Vec<Unfinished> {
    rows.iter()
        .filter_map(|row| {
            let [schema, table, index] = first(row)?;
            let name = Name::new("index", vec![schema.clone(), index]);
            let shown = name.to_string();
            (!ignore.cover(&["index"], &name, Some(&format!("{schema}.{table}")))).then(|| {
                Unfinished {
                    kind: "index",
                    finish: format!("REINDEX INDEX CONCURRENTLY {shown}, or DROP INDEX {shown} and build it again"),
                    name: shown,
                }
            })
        })
        .collect()
}

/// From the rows of [`CONSTRAINTS_SQL`], without what `ignore` covers.
pub fn unvalidated(rows: &[Row], ignore: &Patterns) -> Vec<Unfinished> {
    rows.iter()
        .filter_map(|row| {
            let [schema, table, constraint] = first(row)?;
            let what = match row.get(3).and_then(Option::as_deref) {
                Some("t") => "DOMAIN",
                _ => "TABLE",
            };
            let of = Name::new("table", vec![schema.clone(), table.clone()]);
            let alone = Name::new("constraint", vec![constraint.clone()]);
            let name = Name::new("constraint", vec![schema, table, constraint]);
            (!ignore.cover(&["constraint"], &name, None)).then(|| Unfinished {
                kind: "constraint",
                name: name.to_string(),
                finish: format!("ALTER {what} {of} VALIDATE CONSTRAINT {alone}"),
            })
        })
        .collect()
}

fn first(row: &Row) -> Option<[String; 3]> {
    let part = |column: usize| row.get(column).cloned().flatten();
    Some([part(0)?, part(1)?, part(2)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: &[&str]) -> Row {
        cells.iter().map(|&cell| Some(cell.to_owned())).collect()
    }

    #[test]
    fn statements_that_finish() {
        let none = Patterns::default();
        let rows = [row(&["public", "T", "i", "f"])];
        let index = invalid_indexes(&rows, &none);
        assert!(
            index[0]
                .finish
                .starts_with("REINDEX INDEX CONCURRENTLY public.i,")
        );
        let constraint = unvalidated(&rows, &none);
        assert_eq!(constraint[0].name, "public.\"T\".i");
        assert_eq!(
            constraint[0].finish,
            "ALTER TABLE public.\"T\" VALIDATE CONSTRAINT i"
        );
        let ignore = Patterns::parse("public.T").unwrap();
        assert!(
            invalid_indexes(&rows, &ignore).is_empty() && unvalidated(&rows, &ignore).is_empty()
        );
    }
}
