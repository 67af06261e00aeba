//! Changing one row of a history table: what a person asks for who has looked at the database.
//!
//! Each statement names its row by everything that was seen of it, and fails unless it has changed exactly that one.

use super::{MOVED_ON, Shape};
use crate::migration::{Applied, TableName, quote_literal};

/// Writes another checksum (or hash) into the row.
pub fn accept_sql(table: &TableName, shape: Shape, row: &Applied, checksum: &str) -> String {
    let column = columns(shape).1;
    exactly_one(&format!(
        "UPDATE {} SET {column} = {} WHERE {}",
        table.quoted(),
        quote_literal(checksum),
        this_row(shape, row)
    ))
}

/// Takes the row away.
pub fn forget_sql(table: &TableName, shape: Shape, row: &Applied) -> String {
    exactly_one(&format!(
        "DELETE FROM {} WHERE {}",
        table.quoted(),
        this_row(shape, row)
    ))
}

/// The whole row as an expression of type `jsonb`, so that it can be written again by hand.
pub fn row_sql(table: &TableName, shape: Shape, row: &Applied) -> String {
    // The alias must not be the name of a column, or the column is taken.
    format!(
        "(SELECT pg_catalog.to_jsonb(schemagate_row) FROM {} AS schemagate_row WHERE {} LIMIT 1)",
        table.quoted(),
        this_row(shape, row)
    )
}

/// What orders the rows, what holds the checksum, and what names the migration, where there is such a column.
const fn columns(shape: Shape) -> (&'static str, &'static str, Option<&'static str>) {
    match shape {
        Shape::Classic => ("id", "hash", None),
        Shape::V1 => ("id", "hash", Some("name")),
        Shape::Sql => ("serial", "checksum", Some("version")),
    }
}

fn this_row(shape: Shape, row: &Applied) -> String {
    let (order, checksum, version) = columns(shape);
    let is = |column: &str, value: &Option<String>| match value {
        Some(value) => format!("{column} OPERATOR(pg_catalog.=) {}", quote_literal(value)),
        None => format!("{column} IS NULL"),
    };
    let mut facts = vec![
        format!("{order} OPERATOR(pg_catalog.=) {}", row.order),
        is(checksum, &row.checksum),
    ];
    facts.extend(version.map(|version| is(version, &row.version)));
    facts.join(" AND ")
}

/// The text is made from a count, otherwise the planner folds the cast and the statement always fails.
fn exactly_one(change: &str) -> String {
    format!(
        "WITH changed AS ({change} RETURNING 1 AS one) \
         SELECT (CASE WHEN pg_catalog.count(one) OPERATOR(pg_catalog.=) 1 THEN '1' \
         ELSE '{MOVED_ON}, rows: ' OPERATOR(pg_catalog.||) pg_catalog.count(one)::pg_catalog.text END)::pg_catalog.int4 \
         FROM changed"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_named_by_all_that_was_seen_of_it() {
        let row = Applied {
            order: 3,
            version: Some("0003_it's".to_owned()),
            checksum: Some("ab".to_owned()),
            ..Applied::default()
        };
        let unnamed = Applied {
            version: None,
            ..row.clone()
        };
        let id = "id OPERATOR(pg_catalog.=) 3 AND hash OPERATOR(pg_catalog.=) 'ab'";
        for (shape, row, expected) in [
            (Shape::Classic, &row, id.to_owned()),
            (
                Shape::V1,
                &row,
                format!("{id} AND name OPERATOR(pg_catalog.=) '0003_it''s'"),
            ),
            (Shape::V1, &unnamed, format!("{id} AND name IS NULL")),
            (
                Shape::Sql,
                &row,
                "serial OPERATOR(pg_catalog.=) 3 AND checksum OPERATOR(pg_catalog.=) 'ab' \
                 AND version OPERATOR(pg_catalog.=) '0003_it''s'"
                    .to_owned(),
            ),
        ] {
            assert_eq!(this_row(shape, row), expected);
        }
    }

    #[test]
    fn the_table_is_quoted_and_the_column_is_the_shapes_own() {
        let (table, row) = (TableName::new("s", "T x"), Applied::default());
        let accept = |shape| accept_sql(&table, shape, &row, "cd");
        assert!(
            accept(Shape::Sql).contains("UPDATE \"s\".\"T x\" SET checksum = 'cd' WHERE serial")
        );
        assert!(accept(Shape::Classic).contains("SET hash = 'cd' WHERE id"));
        assert!(forget_sql(&table, Shape::V1, &row).contains("DELETE FROM \"s\".\"T x\" WHERE id"));
    }
}
