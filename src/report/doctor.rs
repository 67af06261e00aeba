//! `doctor`: sections of facts, each with how good it is and what to do, as text for three in the morning and as JSON.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};
use unicode_width::UnicodeWidthStr;

/// The version of the JSON form; additions do not change it.
pub const SCHEMA_VERSION: u32 = 1;

/// How good a fact is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Ok,
    /// Good to know, or worth a look.
    Note,
    /// It stands in the way.
    Problem,
}

/// One fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// How good it is.
    pub level: Level,
    /// What it is about, in lower case.
    pub name: String,
    /// What was found.
    pub value: String,
    /// What to do.
    pub help: Option<String>,
}

/// Facts that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// What they are about, one word.
    pub name: &'static str,
    /// The facts.
    pub items: Vec<Item>,
}

/// What `migrate` would end with now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The exit code.
    pub code: u8,
    /// What would happen.
    pub what: String,
    /// What to do.
    pub next: String,
}

/// Everything that `doctor` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The sections, in the order of the way to the database.
    pub sections: Vec<Section>,
    /// The end.
    pub verdict: Verdict,
}

// === impl Level ===

impl Level {
    /// The word for people and machines.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Problem => "problem",
        }
    }
}

// === impl Section ===

impl Section {
    /// An empty one.
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            items: Vec::new(),
        }
    }

    /// A fact that is as it should be.
    pub fn ok(&mut self, name: &str, value: impl Into<String>) {
        self.add(Level::Ok, name, &value.into(), None);
    }

    /// A fact that is good to know.
    pub fn note(&mut self, name: &str, value: impl Into<String>, help: &str) {
        let help = (!help.is_empty()).then(|| help.to_owned());
        self.add(Level::Note, name, &value.into(), help);
    }

    /// A fact that stands in the way.
    pub fn problem(&mut self, name: &str, value: impl Into<String>, help: &str) {
        self.add(Level::Problem, name, &value.into(), Some(help.to_owned()));
    }

    fn add(&mut self, level: Level, name: &str, value: &str, help: Option<String>) {
        self.items.push(Item {
            level,
            name: name.to_owned(),
            value: one_line(value),
            help: help.map(|help| one_line(&help)),
        });
    }
}

// === impl Report ===

impl Report {
    /// The JSON form: `sections.NAME` is a list, because a name may stand twice in it.
    pub fn json(&self) -> String {
        let sections = self.sections.iter().map(|section| {
            let items = section.items.iter().map(|item| {
                json!({
                    "level": item.level.word(),
                    "name": item.name,
                    "value": item.value,
                    "what_to_do": item.help,
                })
            });
            (section.name.to_owned(), Value::Array(items.collect()))
        });
        let report = json!({
            "schema_version": SCHEMA_VERSION,
            "exit_code": self.verdict.code,
            "verdict": self.verdict.what,
            "what_to_do": self.verdict.next,
            "sections": sections.collect::<Map<_, _>>(),
        });
        format!("{report:#}")
    }

    /// The text for people.
    pub fn text(&self) -> String {
        let items = self.sections.iter().flat_map(|section| &section.items);
        let width = items.map(|item| item.name.width()).max().unwrap_or(0);
        let mut text = String::new();
        for section in &self.sections {
            let _ = writeln!(text, "{}", section.name);
            for item in &section.items {
                let gap = " ".repeat(width.saturating_sub(item.name.width()));
                let _ = writeln!(
                    text,
                    "  {:<7}  {}{gap}  {}",
                    mark(item.level),
                    item.name,
                    item.value
                );
                if let Some(help) = &item.help {
                    let _ = writeln!(text, "  {:<7}  {}  -> {help}", "", " ".repeat(width));
                }
            }
        }
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "`migrate` would end with {}: {}",
            self.verdict.code,
            one_line(&self.verdict.what)
        );
        if !self.verdict.next.is_empty() {
            let _ = writeln!(text, "what to do: {}", one_line(&self.verdict.next));
        }
        text
    }
}

/// What catches the eye.
const fn mark(level: Level) -> &'static str {
    match level {
        Level::Problem => "PROBLEM",
        other => other.word(),
    }
}

/// Names and messages of a database may hold anything, and a terminal obeys some of it.
fn one_line(text: &str) -> String {
    let text: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut first = Section::new("connection");
        first.ok("server", "db:5432");
        first.note("tls", "none", "set PGSSLMODE=require");
        let mut second = Section::new("role");
        second.problem("größe", "a\n\u{1b}[31mb", "do it");
        Report {
            sections: vec![first, second],
            verdict: Verdict {
                code: 9,
                what: "no".to_owned(),
                next: "yes".to_owned(),
            },
        }
    }

    #[test]
    fn text_is_aligned_and_safe_for_a_terminal() {
        assert_eq!(
            report().text(),
            "connection\n  ok       server  db:5432\n  note     tls     none\n                   -> set PGSSLMODE=require\n\
             role\n  PROBLEM  größe   a [31mb\n                   -> do it\n\
             `migrate` would end with 9: no\nwhat to do: yes\n"
        );
    }

    #[test]
    fn json_has_its_version() {
        let value: Value = serde_json::from_str(&report().json()).unwrap();
        assert_eq!(value["schema_version"], 1);
        assert_eq!(value["exit_code"], 9);
        assert_eq!(value["sections"]["role"][0]["level"], "problem");
        assert_eq!(
            value["sections"]["connection"][0]["what_to_do"],
            Value::Null
        );
    }
}
