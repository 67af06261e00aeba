//! The directives at the head of a file, and what this release refuses of them.

// PLACEHOLDER: at the merge delete the module `parser` below and write `use crate::sql::directive::parse;` instead.
use parser::parse;

use crate::migration::Directives;

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

mod parser {
    use crate::migration::Directives;

    pub(super) struct Issue {
        pub(super) line: u32,
        pub(super) message: String,
    }

    pub(super) fn parse(head: &str) -> Result<Directives, Vec<Issue>> {
        let mut directives = Directives::default();
        let mut issues = Vec::new();
        for (line, text) in (1..).zip(head.lines()) {
            let Some(comment) = text.trim().strip_prefix("--") else {
                break;
            };
            let Some(words) = comment.trim().strip_prefix("schemagate:") else {
                continue;
            };
            for word in words.split_whitespace() {
                match word.split_once('=') {
                    Some(("transaction", "off")) => directives.transaction_off = true,
                    Some(("phase", "contract")) => directives.contract = true,
                    Some(("approve" | "waive" | "window" | "requires-app", _)) => {
                        let key = word.split('=').next().unwrap_or_default();
                        directives.not_honoured.push((key.to_owned(), line));
                    }
                    _ => issues.push(Issue {
                        line,
                        message: format!("unknown directive {word:?}"),
                    }),
                }
            }
        }
        if issues.is_empty() {
            Ok(directives)
        } else {
            Err(issues)
        }
    }
}
