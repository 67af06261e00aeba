//! Findings as SARIF 2.1.0.
//!
//! <https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html>, and what code scanning makes of it:
//! <https://docs.github.com/en/code-security/code-scanning/integrating-with-code-scanning/sarif-support-for-code-scanning>

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::finding::{self, Finding, Level};

const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// What stays as it is in a path (RFC 3986, 2.3), and what parts it. A colon in a first segment would be a scheme.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/');

/// The whole log. Columns are counted in characters, as they are everywhere here.
pub fn render(findings: &[Finding]) -> String {
    let mut ids: Vec<&str> = findings.iter().map(|found| found.rule.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    let rules: Vec<Value> = ids.iter().map(|id| rule(id)).collect();
    let results: Vec<Value> = findings.iter().map(|found| result(found, &ids)).collect();
    let log = json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "schemagate",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            }},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    });
    format!("{log:#}\n")
}

fn rule(id: &str) -> Value {
    let about = finding::about(id).map_or_else(|| id.replace('-', " "), str::to_owned);
    let mut rule = json!({"id": id, "shortDescription": {"text": about}, "help": {"text": about}});
    if let Some(page) = finding::page(id) {
        rule["helpUri"] = page.into();
    }
    rule
}

fn result(found: &Finding, ids: &[&str]) -> Value {
    let mut region = json!({"startLine": found.line.max(1)});
    if let Some(column) = found.column {
        region["startColumn"] = column.max(1).into();
    }
    json!({
        "ruleId": found.rule,
        "ruleIndex": ids.iter().position(|id| *id == found.rule),
        "level": level(found.level),
        "message": {"text": found.text()},
        "locations": [{"physicalLocation": {
            "artifactLocation": {"uri": uri(&found.path)},
            "region": region,
        }}],
    })
}

const fn level(level: Level) -> &'static str {
    match level {
        Level::Note => "note",
        Level::Warning => "warning",
        Level::Error => "error",
    }
}

/// Relative to the working directory, which in a workflow is the repository, unless the path is absolute.
fn uri(path: &str) -> String {
    let encoded = utf8_percent_encode(path.trim_start_matches("./"), PATH);
    if path.starts_with('/') {
        format!("file://{encoded}")
    } else {
        encoded.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_uris() {
        for (path, expected) in [
            ("drizzle/0001_a.sql", "drizzle/0001_a.sql"),
            ("./a b/ü%.sql", "a%20b/%C3%BC%25.sql"),
            ("a:b/#?.sql", "a%3Ab/%23%3F.sql"),
            ("/srv/x y.sql", "file:///srv/x%20y.sql"),
        ] {
            assert_eq!(uri(path), expected);
        }
    }

    #[test]
    fn a_result_points_at_its_rule_and_its_place() {
        let found = |rule: &str, column| Finding {
            rule: rule.to_owned(),
            level: Level::Error,
            path: "a.sql".to_owned(),
            line: 3,
            column,
            message: "drops a column".to_owned(),
            help: Some("do not".to_owned()),
        };
        let findings = [
            found("z", None),
            found("destructive", Some(7)),
            found("z", None),
        ];
        let log: Value = serde_json::from_str(&render(&findings)).unwrap();
        let run = &log["runs"][0];
        assert_eq!(run["tool"]["driver"]["rules"].as_array().unwrap().len(), 2);
        assert_eq!(run["results"][0]["ruleIndex"], 1);
        let result = &run["results"][1];
        assert_eq!(result["ruleIndex"], 0);
        assert_eq!(result["message"]["text"], "drops a column. Safer: do not");
        let place = &result["locations"][0]["physicalLocation"];
        assert_eq!(place["region"], json!({"startLine": 3, "startColumn": 7}));
    }
}
