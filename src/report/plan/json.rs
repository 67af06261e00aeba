//! The form for machines.

use super::Report;

/// The whole report; see `SCHEMA_VERSION`.
pub fn json(report: &Report) -> String {
    serde_json::to_string_pretty(report).unwrap_or_default()
}
