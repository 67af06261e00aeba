//! `lint`: its findings for people and as JSON.

use serde_json::{Value, json};

use super::finding::{Finding, Level};
use crate::sql::risk::Risk;

/// The version of the JSON form; additions do not change it.
const SCHEMA_VERSION: u32 = 1;

/// What `lint` has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The server's version that it was read for.
    pub pg_version: String,
    /// The class at which it fails.
    pub fail_on: Risk,
    /// How many files were looked at, those that are applied not counted.
    pub files: usize,
    /// How many statements they have.
    pub statements: usize,
    /// In the order of the files.
    pub entries: Vec<Entry>,
    /// How many findings are not told, because a file has too many.
    pub left_out: usize,
    /// A whole folder was read as one release.
    pub one_release: bool,
}

/// A finding with what only `lint` knows of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What is told everywhere.
    pub finding: Finding,
    /// The class of risk; `None` for a rule.
    pub class: Option<Risk>,
    /// The statement, literals replaced.
    pub statement: Option<String>,
    /// It makes the command fail.
    pub fails: bool,
}

// === impl Report ===

impl Report {
    /// Nothing yet.
    pub fn new(pg_version: &str, fail_on: Risk) -> Self {
        Self {
            pg_version: pg_version.to_owned(),
            fail_on,
            files: 0,
            statements: 0,
            entries: Vec::new(),
            left_out: 0,
            one_release: false,
        }
    }

    /// The findings alone.
    pub fn findings(&self) -> Vec<Finding> {
        let findings = self.entries.iter().map(|entry| entry.finding.clone());
        findings.collect()
    }

    /// Those that make the command fail.
    pub fn failing(&self) -> Vec<&Finding> {
        let failing = self.entries.iter().filter(|entry| entry.fails);
        failing.map(|entry| &entry.finding).collect()
    }

    /// The JSON form.
    pub fn json(&self) -> String {
        let findings: Vec<Value> = self.entries.iter().map(Entry::json).collect();
        let report = json!({
            "schema_version": SCHEMA_VERSION,
            "pg_version": self.pg_version,
            "fail_on": self.fail_on.word(),
            "files": self.files,
            "statements": self.statements,
            "findings": findings,
            "left_out": self.left_out,
        });
        format!("{report:#}\n")
    }

    /// For people: a paragraph for each finding, as compilers write them, and the sum.
    pub fn text(&self) -> String {
        let mut out = String::new();
        for entry in &self.entries {
            out.push_str(&entry.text());
        }
        out.push_str(&self.sum());
        out.push('\n');
        out
    }

    fn sum(&self) -> String {
        let mut parts: Vec<String> = Risk::ALL
            .into_iter()
            .rev()
            .filter(|risk| *risk > Risk::Safe)
            .filter_map(|risk| {
                let is = |entry: &&Entry| entry.class == Some(risk);
                let count = self.entries.iter().filter(is).count();
                (count > 0).then(|| format!("{count} {risk}"))
            })
            .collect();
        let told = |entry: &&Entry| entry.class.is_none_or(|class| class == Risk::Safe);
        let others = self.entries.iter().filter(told).count();
        if others > 0 {
            parts.push(format!("{others} of rules and notes"));
        }
        if self.left_out > 0 {
            parts.push(format!("{} more not listed", self.left_out));
        }
        let found = if parts.is_empty() {
            "nothing found".to_owned()
        } else {
            parts.join(", ")
        };
        let mut sum = format!(
            "{found}, in {} and {}, for PostgreSQL {}",
            counted(self.statements, "statement"),
            counted(self.files, "file"),
            self.pg_version
        );
        if self.one_release {
            sum.push_str("\nthe folder was read as one release into an empty database; --since VERSION says what is applied already");
        }
        sum
    }
}

fn counted(count: usize, what: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {what}{s}")
}

// === impl Entry ===

impl Entry {
    fn json(&self) -> Value {
        let finding = &self.finding;
        json!({
            "rule": finding.rule,
            "level": level(finding.level),
            "class": self.class.map(Risk::word),
            "path": finding.path,
            "line": finding.line,
            "column": finding.column,
            "message": finding.message,
            "help": finding.help,
            "statement": self.statement,
            "fails": self.fails,
        })
    }

    fn text(&self) -> String {
        let finding = &self.finding;
        let column = finding.column.map(|column| format!(":{column}"));
        let mut out = format!(
            "{}:{}{}: {}: {}: {}\n",
            finding.path,
            finding.line,
            column.unwrap_or_default(),
            level(finding.level),
            finding.rule,
            finding.message.replace('\n', " ")
        );
        if let Some(statement) = &self.statement {
            out.extend(["    ", statement, "\n"]);
        }
        if let Some(help) = &finding.help {
            out.extend(["    safer: ", &help.replace('\n', " "), "\n"]);
        }
        out
    }
}

const fn level(level: Level) -> &'static str {
    match level {
        Level::Note => "note",
        Level::Warning => "warning",
        Level::Error => "error",
    }
}
