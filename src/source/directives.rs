//! The directives at the head of a file, and what this release refuses of them.

use crate::migration::Directives;
use crate::sql::directive::parse;

/// The directives of a file, or one problem for each that is wrong or not honoured by this release: a safety setting
/// must never be silently ignored.
pub(super) fn read(path: &str, head: &str) -> Result<Directives, Vec<String>> {
    let directives = parse(head).map_err(|issues| {
        issues
            .into_iter()
            .map(|issue| format!("{path} line {}: {}", issue.line, issue.message))
            .collect::<Vec<_>>()
    })?;
    let refused: Vec<String> = directives
        .not_honoured
        .iter()
        .map(|(key, line)| {
            format!("{path} line {line}: this release does not honour the directive {key}")
        })
        .collect();
    if refused.is_empty() {
        Ok(directives)
    } else {
        Err(refused)
    }
}
