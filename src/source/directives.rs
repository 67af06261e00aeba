//! The directives at the head of a file.

use crate::migration::Directives;
use crate::sql::directive::parse;

/// The directives of a file, or one problem for each that is wrong: a safety setting must never be silently ignored.
pub(super) fn read(path: &str, head: &str) -> Result<Directives, Vec<String>> {
    parse(head).map_err(|issues| {
        issues
            .into_iter()
            .map(|issue| format!("{path} line {}: {}", issue.line, issue.message))
            .collect()
    })
}
