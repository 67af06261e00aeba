//! Facts of relations, from the catalog and its statistics.

use std::collections::HashMap;

use tokio_postgres::{Client, error::SqlState};

use crate::{
    migration::{quote_ident, quote_literal},
    sql::Name,
    wire,
};

/// A relation as the catalog knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// As it was asked for.
    pub name: Name,
    /// The schema in which it was found.
    pub schema: String,
    /// Its size in bytes with indexes and TOAST, and with all partitions.
    pub bytes: u64,
    /// The rows, as the statistics say, with those of all partitions; `None` where it was never analysed.
    pub rows: Option<u64>,
}

/// As whom, and from where, names are looked up.
#[derive(Debug, Clone, Copy, Default)]
pub struct View<'a> {
    /// `SCHEMAGATE_ROLE`.
    pub role: Option<&'a str>,
    /// A statement that sets the `search_path`, where a file has one.
    pub search_path: Option<&'a str>,
}

/// Names that one question holds.
const AT_ONCE: usize = 500;
/// `pg_total_relation_size` opens the relation, which waits where a table is locked as a whole.
const LOCK_TIMEOUT: &str = "500ms";
/// The size on disk.
const EXACT: &str = "pg_catalog.pg_total_relation_size(t.oid)";
/// The size as the statistics say, which takes no lock: the relation, its TOAST table and the indexes of both.
const ESTIMATED: &str = "(SELECT pg_catalog.sum(s.relpages) FROM pg_catalog.pg_class s \
     WHERE s.oid OPERATOR(pg_catalog.=) ANY (ARRAY[c.oid, c.reltoastrelid] OPERATOR(pg_catalog.||) \
       ARRAY(SELECT indexrelid FROM pg_catalog.pg_index \
         WHERE indrelid OPERATOR(pg_catalog.=) ANY (ARRAY[c.oid, c.reltoastrelid])))) \
     OPERATOR(pg_catalog.*) pg_catalog.current_setting('block_size')::pg_catalog.int8";

/// The relations with these names that exist; a name without a schema is looked up on the `search_path`.
///
/// `to_regclass` would refuse a schema without USAGE, so the catalog is asked by name.
pub async fn relations(
    client: &Client,
    view: View<'_>,
    names: &[Name],
) -> Result<Vec<Relation>, tokio_postgres::Error> {
    let mut found = Vec::new();
    for names in names.chunks(AT_ONCE) {
        let rows = match ask(client, view, &question(names, EXACT)).await {
            Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
                ask(client, view, &question(names, ESTIMATED)).await?
            }
            rows => rows?,
        };
        found.extend(rows.iter().filter_map(|row| relation(names, row)));
    }
    Ok(found)
}

/// By name, for those who look up one after the other.
pub fn by_name(relations: Vec<Relation>) -> HashMap<Name, Relation> {
    let relations = relations.into_iter();
    relations
        .map(|relation| (relation.name.clone(), relation))
        .collect()
}

async fn ask(
    client: &Client,
    view: View<'_>,
    question: &str,
) -> Result<Vec<wire::Row>, tokio_postgres::Error> {
    let mut before = format!("BEGIN READ ONLY;SET LOCAL lock_timeout = '{LOCK_TIMEOUT}';");
    let mut count = 2;
    let role = view
        .role
        .map(|role| format!("SET LOCAL ROLE {}", quote_ident(role)));
    for statement in role.as_deref().into_iter().chain(view.search_path) {
        before.push_str(statement);
        before.push_str("\n;");
        count += 1;
    }
    // What the file sets is gone with the transaction.
    let sql = format!("{before}{question};ROLLBACK");
    let mut reply = wire::query(client, &sql).await;
    let rows = reply.rows(count);
    if rows.is_err() {
        // The first error matters.
        let _ = wire::execute(client, "ROLLBACK").await;
    }
    rows
}

/// One row a name that exists: its place in `names`, schema, bytes, rows.
///
/// `reltuples` is -1 (0 before 14) where nobody has counted. A partitioned table is as large as its partitions, whose
/// rows are counted once more at the table itself.
fn question(names: &[Name], size: &str) -> String {
    let wanted = names.iter().enumerate().map(|(index, name)| {
        let schema = name
            .schema
            .as_deref()
            .map_or_else(|| "NULL".to_owned(), quote_literal);
        format!("({index}, {schema}, {})", quote_literal(&name.name))
    });
    let wanted: Vec<String> = wanted.collect();
    format!(
        "WITH RECURSIVE wanted (index, schema, name) AS (VALUES {}), \
         found AS (SELECT DISTINCT ON (w.index) w.index, n.nspname, c.oid \
           FROM wanted w JOIN pg_catalog.pg_class c ON c.relname OPERATOR(pg_catalog.=) w.name::pg_catalog.name \
           JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace \
           WHERE CASE WHEN w.schema IS NULL \
             THEN n.nspname OPERATOR(pg_catalog.=) ANY (pg_catalog.current_schemas(true)) \
             ELSE n.nspname OPERATOR(pg_catalog.=) w.schema::pg_catalog.name END \
           ORDER BY w.index, pg_catalog.array_position(pg_catalog.current_schemas(true), n.nspname)), \
         tree (index, oid) AS (SELECT index, oid FROM found \
           UNION SELECT t.index, i.inhrelid FROM tree t \
           JOIN pg_catalog.pg_inherits i ON i.inhparent OPERATOR(pg_catalog.=) t.oid) \
         SELECT f.index, f.nspname, pg_catalog.sum({size})::pg_catalog.int8, \
           pg_catalog.sum(c.reltuples) FILTER (WHERE c.relkind OPERATOR(pg_catalog.<>) 'p' \
             AND (c.reltuples OPERATOR(pg_catalog.>) 0 \
             OR (c.reltuples OPERATOR(pg_catalog.=) 0 AND c.relpages OPERATOR(pg_catalog.>) 0)))::pg_catalog.int8 \
         FROM found f JOIN tree t ON t.index OPERATOR(pg_catalog.=) f.index \
         JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) t.oid \
         GROUP BY f.index, f.nspname ORDER BY f.index",
        wanted.join(", ")
    )
}

fn relation(names: &[Name], row: &wire::Row) -> Option<Relation> {
    let text = |column: usize| row.get(column).and_then(Option::as_deref);
    let number = |column: usize| text(column).and_then(|number| number.parse().ok());
    let index: usize = text(0)?.parse().ok()?;
    Some(Relation {
        name: names.get(index)?.clone(),
        schema: text(1)?.to_owned(),
        bytes: number(2).unwrap_or(0),
        rows: number(3),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read() {
        let names = [Name {
            schema: None,
            name: "t".to_owned(),
        }];
        let row = |cells: [Option<&str>; 4]| -> wire::Row {
            cells
                .into_iter()
                .map(|cell| cell.map(str::to_owned))
                .collect()
        };
        let found = relation(&names, &row([Some("0"), Some("s"), Some("8192"), None])).unwrap();
        assert_eq!((found.bytes, found.rows), (8192, None));
        assert_eq!(
            relation(&names, &row([Some("7"), Some("s"), None, None])),
            None
        );
    }
}
