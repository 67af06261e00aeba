//! The history tables: their columns, how they are created and written.

use super::{Error, Format, drizzle};
use crate::migration::{Migration, TableName, quote_ident, quote_literal};
use crate::sql::Template;
use std::fmt;

/// A column as the catalog tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type as `format_type()` prints it.
    pub type_name: String,
}

/// Which columns a history table has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shape {
    /// Drizzle 0.x: `id`, `hash`, `created_at`.
    Classic,
    /// Drizzle 1.x: `name` besides. (`applied_at` too, but Drizzle goes by `name` alone, and so do we.)
    V1,
    /// `schemagate.history`.
    Sql,
}

/// What the server quotes back when the history already has the row.
pub const ALREADY_APPLIED: &str = "schemagate: already applied";

const INTEGERS: &[&str] = &["smallint", "integer", "bigint"];
const TEXTS: &[&str] = &["text", "character varying"];
/// The pg-proxy driver of Drizzle creates `created_at` as numeric.
const MILLISECONDS: &[&str] = &["bigint", "numeric", "integer"];
const TIMES: &[&str] = &["timestamp with time zone"];

type Expected = &'static [(&'static str, &'static [&'static str])];

const DRIZZLE: Expected = &[
    ("id", INTEGERS),
    ("hash", TEXTS),
    ("created_at", MILLISECONDS),
];
const SQL: Expected = &[
    ("version", TEXTS),
    ("name", TEXTS),
    ("checksum", TEXTS),
    ("applied_at", TIMES),
    ("duration_ms", INTEGERS),
    ("serial", INTEGERS),
];

/// What an existing table is, told from its columns. Columns beyond the tool's own do no harm and are let be.
pub fn shape(format: Format, table: &TableName, columns: &[Column]) -> Result<Shape, Error> {
    let expected = if format.is_drizzle() { DRIZZLE } else { SQL };
    match mismatch(expected, columns) {
        Some(reason) => Err(Error::Shape {
            table: table.clone(),
            format,
            reason,
            found: columns.to_vec(),
        }),
        None if format == Format::Sql => Ok(Shape::Sql),
        None if columns.iter().any(|column| column.name == "name") => Ok(Shape::V1),
        None => Ok(Shape::Classic),
    }
}

fn mismatch(expected: Expected, columns: &[Column]) -> Option<String> {
    expected.iter().find_map(|(name, types)| {
        let Some(column) = columns.iter().find(|column| column.name == *name) else {
            return Some(format!("column {name} is missing"));
        };
        (!types.iter().any(|known| column.is_of(known)))
            .then(|| format!("column {name} is {}, not {}", column.type_name, types[0]))
    })
}

/// The statements that create the history table as the tool creates it.
///
/// Only for an absent table: `CREATE … IF NOT EXISTS` asks for the privilege to create even when nothing is created,
/// and for the same reason an existing schema is not mentioned.
pub fn create_sql(format: Format, table: &TableName, schema_exists: bool) -> String {
    let schema = if schema_exists {
        String::new()
    } else {
        format!(
            "CREATE SCHEMA IF NOT EXISTS {};\n",
            quote_ident(&table.schema)
        )
    };
    let columns = match format {
        Format::DrizzleClassic => {
            "id SERIAL PRIMARY KEY, hash pg_catalog.text NOT NULL, created_at bigint"
        }
        Format::DrizzleV1 => {
            "id SERIAL PRIMARY KEY, hash pg_catalog.text NOT NULL, created_at bigint, name pg_catalog.text, \
             applied_at timestamp with time zone DEFAULT pg_catalog.now()"
        }
        Format::Sql => {
            "version pg_catalog.text PRIMARY KEY, name pg_catalog.text NOT NULL, checksum pg_catalog.text NOT NULL, \
             applied_at timestamp with time zone NOT NULL DEFAULT pg_catalog.now(), duration_ms bigint NOT NULL, \
             serial bigint GENERATED ALWAYS AS IDENTITY"
        }
    };
    format!(
        "{schema}CREATE TABLE IF NOT EXISTS {} ({columns})",
        table.quoted()
    )
}

/// The statement that writes a migration's row as the tool writes it.
///
/// A table with the column `name` always gets one, also from a classic folder: the v1 tool would run a migration
/// again whose row has none. `duration_ms_sql` is an SQL expression of type bigint; only plain SQL has a place for it.
pub fn insert(
    format: Format,
    table: &TableName,
    shape: Shape,
    migration: &Migration,
    duration_ms_sql: &str,
) -> Template {
    let columns = match shape {
        Shape::Classic => "hash, created_at",
        Shape::V1 => "hash, created_at, name",
        Shape::Sql => "version, name, checksum, duration_ms",
    };
    let begin = format!("INSERT INTO {} ({columns}) VALUES (", table.quoted());
    let begin = Template::new(begin);
    let checksum = quote_literal(&migration.checksum);
    let at = migration.created_at.to_string();
    let row = match shape {
        Shape::Classic => begin.value(checksum).text(", ").value(at),
        Shape::V1 => {
            let name = quote_literal(&name_in_v1_table(format, migration));
            let row = begin.value(checksum).text(", ").value(at);
            row.text(", ").value(name)
        }
        Shape::Sql => {
            let row = begin.value(quote_literal(&migration.version));
            let row = row.text(", ").value(quote_literal(&migration.name));
            let row = row.text(", ").value(checksum);
            row.text(", ").text(duration_ms_sql)
        }
    };
    row.text(")")
}

/// What the server quotes back when the history has moved on since it was looked at.
pub const MOVED_ON: &str = "schemagate: the history has moved on";

/// A statement that fails with SQLSTATE 22P02 and [`MOVED_ON`] unless this row of plain SQL is the newest of the history:
/// the fence where it is to be taken out. Only the newest may go; what was applied later may be built on it.
///
/// The text is made by a volatile call, otherwise the planner folds the cast.
pub fn newest_check_sql(table: &TableName, serial: i64) -> String {
    format!(
        "SELECT ('{MOVED_ON}, looked at ' OPERATOR(pg_catalog.||) pg_catalog.clock_timestamp()::pg_catalog.text)::pg_catalog.int4 \
         WHERE (SELECT pg_catalog.max(serial) FROM {}) IS DISTINCT FROM {serial}",
        table.quoted()
    )
}

/// The statement that takes a row of plain SQL out of the history.
pub fn delete_sql(table: &TableName, serial: i64) -> String {
    format!("DELETE FROM {} WHERE serial = {serial}", table.quoted())
}

/// How old the look at the history may be that a fence has to make up for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fence {
    /// The lock has been held since the look: whatever another image has written was seen.
    SinceLook,
    /// Anybody may have written since.
    SinceAnything,
}

/// A statement that fails with SQLSTATE 22P02 and the text `schemagate: already applied, row N` when the migration has
/// its row, and does nothing otherwise: the fence inside the migration's own transaction.
///
/// The text is made from a column, otherwise the planner folds the cast and the statement always fails.
pub fn applied_check(
    format: Format,
    table: &TableName,
    shape: Shape,
    migration: &Migration,
    fence: Fence,
) -> Template {
    let order = if shape == Shape::Sql { "serial" } else { "id" };
    Template::new(format!(
        "SELECT ('{ALREADY_APPLIED}, row ' OPERATOR(pg_catalog.||) {order}::pg_catalog.text)::pg_catalog.int4 \
         FROM {} WHERE ",
        table.quoted()
    ))
    .then(&own_row(format, shape, migration, fence))
    .text(" LIMIT 1")
}

fn own_row(format: Format, shape: Shape, migration: &Migration, fence: Fence) -> Template {
    let at = migration.created_at;
    let same_second = || {
        let row = Template::new("created_at = ").value(drizzle::whole_second(at).to_string());
        row.text(" AND hash = ")
            .value(quote_literal(&migration.checksum))
    };
    let same_time = || Template::new("created_at = ").value(at.to_string());
    let same_name =
        || Template::new("name = ").value(quote_literal(&name_in_v1_table(format, migration)));
    match (format, shape) {
        // An expression over the column is no use to its primary key.
        (Format::Sql, _) if fence == Fence::SinceLook => {
            Template::new("version = ").value(quote_literal(&migration.version))
        }
        (Format::Sql, _) => {
            let number = quote_literal(super::numbered::trim(&migration.version));
            Template::new("pg_catalog.ltrim(version, '0') = ").value(number)
        }
        // Rows of the v1 generation have whole seconds.
        (Format::DrizzleClassic, Shape::V1) => {
            let row = same_time().text(" OR ").then(&same_name());
            row.text(" OR ").then(&same_second())
        }
        (Format::DrizzleClassic, _) if drizzle::whole_second(at) == at => same_time(),
        (Format::DrizzleClassic, _) => same_time().text(" OR ").then(&same_second()),
        // A 0.x release that works on an upgraded table leaves the name NULL.
        (Format::DrizzleV1, Shape::V1) => {
            let row = same_name().text(" OR name IS NULL AND ");
            row.then(&same_second())
        }
        (Format::DrizzleV1, _) => same_second(),
    }
}

fn name_in_v1_table(format: Format, migration: &Migration) -> String {
    match format {
        Format::DrizzleClassic => drizzle::v1_name(migration.created_at, &migration.version),
        Format::DrizzleV1 | Format::Sql => migration.version.clone(),
    }
}

// === impl Column ===

impl Column {
    /// From its two parts.
    pub fn new(name: impl Into<String>, type_name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            type_name: type_name.into(),
        }
    }

    /// Of that type, whatever its modifier (`numeric(20,0)`).
    fn is_of(&self, type_name: &str) -> bool {
        self.type_name
            .strip_prefix(type_name)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('('))
    }
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.type_name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migration::Directives;

    fn columns(text: &str) -> Vec<Column> {
        text.split(", ")
            .filter_map(|column| column.split_once(' '))
            .map(|(name, type_name)| Column::new(name, type_name))
            .collect()
    }

    #[track_caller]
    fn check(format: Format, text: &str, expected: Result<Shape, &str>) {
        let found = shape(format, &format.default_history_table(), &columns(text));
        match (found, expected) {
            (Ok(shape), Ok(expected)) => assert_eq!(shape, expected, "{text}"),
            (Err(Error::Shape { reason, .. }), Err(expected)) => assert_eq!(reason, expected),
            (found, expected) => panic!("{text}: {found:?} is not {expected:?}"),
        }
    }

    #[test]
    fn tells_shapes_from_columns() {
        let classic = "id integer, hash text, created_at bigint";
        let v1 = "id integer, hash text, created_at bigint, name text, applied_at timestamp with time zone";
        for format in [Format::DrizzleClassic, Format::DrizzleV1] {
            check(format, classic, Ok(Shape::Classic));
            check(format, v1, Ok(Shape::V1));
        }
        let proxy = "id integer, hash text, created_at numeric(20,0), extra jsonb";
        check(Format::DrizzleClassic, proxy, Ok(Shape::Classic));
        check(
            Format::DrizzleClassic,
            "version bigint, dirty boolean",
            Err("column id is missing"),
        );
        check(
            Format::DrizzleClassic,
            "id integer, hash bytea, created_at bigint",
            Err("column hash is bytea, not text"),
        );
        check(Format::Sql, classic, Err("column version is missing"));
        check(
            Format::Sql,
            "version text, name text, checksum text, applied_at timestamp with time zone, duration_ms bigint, serial bigint",
            Ok(Shape::Sql),
        );
    }

    fn migration(version: &str, created_at: i64) -> Migration {
        Migration {
            version: version.to_owned(),
            name: "it's".to_owned(),
            path: String::new(),
            checksum: "ab".to_owned(),
            checksum_other_endings: [String::new(), String::new()],
            created_at,
            size: 0,
            directives: Directives::default(),
            down: None,
        }
    }

    #[test]
    fn writes_the_rows_that_the_tools_write() {
        let insert = |format: Format, shape, migration| {
            insert(format, &TableName::new("s", "t"), shape, &migration, "7").inline()
        };
        let classic = migration("0000_init", 1_700_000_000_123);
        assert_eq!(
            insert(Format::DrizzleClassic, Shape::Classic, classic.clone()),
            r#"INSERT INTO "s"."t" (hash, created_at) VALUES ('ab', 1700000000123)"#
        );
        assert_eq!(
            insert(Format::DrizzleClassic, Shape::V1, classic),
            r#"INSERT INTO "s"."t" (hash, created_at, name) VALUES ('ab', 1700000000123, '20231114221320_init')"#
        );
        assert_eq!(
            insert(
                Format::DrizzleV1,
                Shape::V1,
                migration("20231114221320_it's", 1_700_000_000_000)
            ),
            r#"INSERT INTO "s"."t" (hash, created_at, name) VALUES ('ab', 1700000000000, '20231114221320_it''s')"#
        );
        assert_eq!(
            insert(Format::Sql, Shape::Sql, migration("0004", 0)),
            r#"INSERT INTO "s"."t" (version, name, checksum, duration_ms) VALUES ('0004', 'it''s', 'ab', 7)"#
        );
    }

    #[test]
    fn mentions_a_schema_only_when_it_is_absent() {
        let table = Format::DrizzleClassic.default_history_table();
        assert!(create_sql(Format::DrizzleClassic, &table, false).starts_with("CREATE SCHEMA"));
        assert!(create_sql(Format::DrizzleClassic, &table, true).starts_with("CREATE TABLE"));
    }
}
