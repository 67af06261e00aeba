//! Rows of a history table, read as JSON so that one statement serves every shape.

use super::{Error, Format};
use crate::migration::{Applied, TableName};
use serde_json::{Map, Value};

/// One statement that reads all rows of a history table whatever its columns, one JSON text a row, in no order.
pub fn select_rows_sql(table: &TableName) -> String {
    // The alias must not be the name of a column, or the column is taken.
    format!(
        "SELECT pg_catalog.to_jsonb(schemagate_row)::pg_catalog.text FROM {} AS schemagate_row",
        table.quoted()
    )
}

/// A row from the text that [`select_rows_sql`] gives.
pub fn parse_row(format: Format, json_text: &str) -> Result<Applied, Error> {
    let row: Map<String, Value> = serde_json::from_str(json_text).map_err(|error| Error::Row {
        reason: format!("not a JSON object: {error}"),
    })?;
    if format == Format::Sql {
        Ok(Applied {
            order: required(&row, "serial")?,
            version: Some(text(&row, "version").ok_or_else(|| lacks("version"))?),
            checksum: text(&row, "checksum"),
            created_at: None,
            applied_at: text(&row, "applied_at"),
            duration_ms: integer(&row, "duration_ms")?,
        })
    } else {
        Ok(Applied {
            order: required(&row, "id")?,
            version: text(&row, "name"),
            checksum: text(&row, "hash"),
            created_at: integer(&row, "created_at")?,
            applied_at: text(&row, "applied_at"),
            duration_ms: None,
        })
    }
}

/// How a message names a row: by its version or name, else by what is known of it.
pub fn label(row: &Applied) -> String {
    if let Some(version) = &row.version {
        return version.clone();
    }
    let created_at = row
        .created_at
        .map(|at| format!(", created_at {at}"))
        .unwrap_or_default();
    let hash = row
        .checksum
        .as_deref()
        .map(|hash| format!(", hash {}…", hash.chars().take(12).collect::<String>()))
        .unwrap_or_default();
    format!("row {}{created_at}{hash}", row.order)
}

fn text(row: &Map<String, Value>, column: &str) -> Option<String> {
    row.get(column)?.as_str().map(str::to_owned)
}

fn required(row: &Map<String, Value>, column: &str) -> Result<i64, Error> {
    integer(row, column)?.ok_or_else(|| lacks(column))
}

fn lacks(column: &str) -> Error {
    Error::Row {
        reason: format!("{column} is NULL"),
    }
}

/// An integer, NULL, or a numeric without a fraction.
fn integer(row: &Map<String, Value>, column: &str) -> Result<Option<i64>, Error> {
    let value = match row.get(column) {
        None | Some(Value::Null) => return Ok(None),
        Some(value) => value,
    };
    match value {
        Value::Number(number) => super::drizzle::whole_number(number),
        _ => None,
    }
    .map(Some)
    .ok_or_else(|| Error::Row {
        reason: format!("{column} is {value}, not a whole number"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_rows_of_every_shape() {
        let classic = r#"{"id": 2, "hash": "f8e2", "created_at": 1700000000123}"#;
        let row = parse_row(Format::DrizzleClassic, classic).unwrap();
        assert_eq!((row.order, row.created_at), (2, Some(1_700_000_000_123)));
        assert_eq!((row.checksum.as_deref(), row.version), (Some("f8e2"), None));

        let numeric = r#"{"id": 1, "hash": "aa", "created_at": 1700000000123.0}"#;
        let row = parse_row(Format::DrizzleClassic, numeric).unwrap();
        assert_eq!(row.created_at, Some(1_700_000_000_123));

        let v1 = r#"{"id":1,"hash":"aa","created_at":1,"name":"20240101000000_a","applied_at":"2026-01-01T00:00:00+00:00"}"#;
        let row = parse_row(Format::DrizzleV1, v1).unwrap();
        assert_eq!(row.version.as_deref(), Some("20240101000000_a"));
        assert_eq!(row.applied_at.as_deref(), Some("2026-01-01T00:00:00+00:00"));

        let upgraded = r#"{"id":1,"hash":"aa","created_at":null,"name":null,"applied_at":null}"#;
        let row = parse_row(Format::DrizzleV1, upgraded).unwrap();
        assert_eq!(
            (row.version, row.created_at, row.applied_at),
            (None, None, None)
        );

        let plain = r#"{"version":"0004","name":"x","checksum":"bb","applied_at":"2026-01-01T00:00:00+00:00","duration_ms":12,"serial":9}"#;
        let row = parse_row(Format::Sql, plain).unwrap();
        assert_eq!((row.order, row.duration_ms), (9, Some(12)));
        assert_eq!(row.version.as_deref(), Some("0004"));
    }

    #[test]
    fn refuses_rows_that_make_no_sense() {
        for text in [
            "",
            "[]",
            r#"{"hash":"a","created_at":1}"#,
            r#"{"id":1,"hash":"a","created_at":1.5}"#,
            r#"{"id":1,"hash":"a","created_at":"NaN"}"#,
        ] {
            assert!(parse_row(Format::DrizzleClassic, text).is_err(), "{text}");
        }
    }

    #[test]
    fn labels_a_row_by_what_is_known() {
        let named = Applied {
            version: Some("0001".into()),
            ..Applied::default()
        };
        assert_eq!(label(&named), "0001");
        let bare = Applied {
            order: 3,
            created_at: Some(5),
            checksum: Some("0123456789abcdef".into()),
            ..Applied::default()
        };
        assert_eq!(label(&bare), "row 3, created_at 5, hash 0123456789ab…");
    }
}
