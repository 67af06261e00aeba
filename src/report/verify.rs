//! `verify`: what was found, for people and as JSON.

use std::fmt::Write as _;

use serde::Serialize;

use crate::drift::{Drift, What};

/// The version of the JSON form; additions do not change it.
const SCHEMA_VERSION: u32 = 1;
/// How much of a text a line shows, in characters.
const SHOWN: usize = 160;
/// How much of it comes before the first difference.
const LEAD: usize = 40;

/// Everything that `verify` tells.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The version of this form.
    pub schema_version: u32,
    /// `ok`, `pending` or `mismatch`.
    pub result: &'static str,
    /// The database.
    pub database: String,
    /// The history table, or what stands for it beside a marker.
    pub history: String,
    /// What is not as it should be.
    pub findings: Vec<Finding>,
    /// Versions, or the marker, that are still to come.
    pub pending: Vec<String>,
    /// What a person should know.
    pub warnings: Vec<String>,
    /// What the schema was compared with; `null` where nothing was journalled.
    pub compared_with: Option<ComparedWith>,
    /// The assertions that hold.
    pub assertions_passed: Vec<String>,
}

/// A fingerprint in the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ComparedWith {
    /// When it was taken, as PostgreSQL prints it.
    pub at: String,
    /// The history whose run took it.
    pub history: String,
    /// `server_version_num` then.
    pub server_version: u32,
    /// `false` where the database was restored or the server upgraded since, so that printed expressions were compared
    /// without casts, qualifiers and needless parentheses.
    pub exact: bool,
    /// How many objects it has.
    pub objects: usize,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at: `history`, `drift`, `index`, `constraint` or `assertion`.
    pub check: &'static str,
    /// What kind of object: `migration`, `table`, `column`, `file`, …
    pub kind: String,
    /// Its name.
    pub name: String,
    /// `added`, `removed`, `changed`, `invalid`, `not validated`, `failed`, …
    pub what: &'static str,
    /// Which part of the object.
    pub attribute: Option<String>,
    /// The exact text before.
    pub before: Option<String>,
    /// The exact text now.
    pub after: Option<String>,
    /// A sentence without a full stop.
    pub message: String,
    /// What to do.
    pub next: String,
}

// === impl Report ===

impl Report {
    /// Of a look that has found nothing yet.
    pub fn new(database: String, history: String) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            result: "ok",
            database,
            history,
            findings: Vec::new(),
            pending: Vec::new(),
            warnings: Vec::new(),
            compared_with: None,
            assertions_passed: Vec::new(),
        }
    }

    /// Sets [`Report::result`] to what the rest amounts to.
    pub fn judge(&mut self) {
        self.result = if !self.findings.is_empty() {
            "mismatch"
        } else if self.pending.is_empty() {
            "ok"
        } else {
            "pending"
        };
    }

    /// The JSON form.
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// The lines for people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        for (index, finding) in self.findings.iter().enumerate() {
            let _ = writeln!(text, "! {}: {}", finding.check, line(&finding.message));
            let following = self.findings.get(index + 1);
            if following.is_none_or(|following| following.next != finding.next) {
                let _ = writeln!(text, "    {}", line(&finding.next));
            }
        }
        for pending in &self.pending {
            let _ = writeln!(text, "pending: {}", line(pending));
        }
        for warning in &self.warnings {
            let _ = writeln!(text, "warning: {}", line(warning));
        }
        let _ = write!(
            text,
            "{}: {}, {} pending; database {}, history {}; ",
            self.result,
            count(self.findings.len(), "finding"),
            self.pending.len(),
            line(&self.database),
            line(&self.history)
        );
        let _ = match &self.compared_with {
            None => write!(text, "drift not compared"),
            Some(with) => write!(
                text,
                "{} compared with the run of {} ({})",
                count(with.objects, "object"),
                with.at,
                line(&with.history)
            ),
        };
        let failed = self
            .findings
            .iter()
            .filter(|finding| finding.check == "assertion")
            .count();
        let passed = self.assertions_passed.len();
        if passed + failed > 0 {
            let _ = write!(
                text,
                "; assertions that hold: {passed} of {}",
                passed + failed
            );
        }
        text
    }

    /// What ends the command, in a sentence.
    pub fn headline(&self) -> String {
        let first = self.findings.first().map_or("", |finding| &finding.message);
        let first = line(first);
        match self.findings.len() {
            0 | 1 => first,
            all => format!("{all} findings, the first: {first}"),
        }
    }
}

fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// On one line, whatever somebody called an object.
fn line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").replace(|c: char| c.is_control(), "?")
}

// === impl Finding ===

impl Finding {
    /// A difference between then and now.
    pub fn of_drift(drift: Drift) -> Self {
        let Drift {
            kind,
            name,
            what,
            attribute,
            before,
            after,
        } = drift;
        let word = match what {
            What::Added => "added",
            What::Removed => "removed",
            What::Changed => "changed",
        };
        let (was, is) = differing(before.as_deref(), after.as_deref());
        let subject = format!("{word} {kind} {name}");
        let message = match (&attribute, was, is) {
            (_, None, None) => subject,
            (Some(attribute), was, is) => format!(
                "{subject}: {attribute} was {}, is {}",
                was.as_deref().unwrap_or("not set"),
                is.as_deref().unwrap_or("not set")
            ),
            (None, Some(was), Some(is)) => format!("{subject}: was {was}, is {is}"),
            (None, Some(text), None) | (None, None, Some(text)) => format!("{subject}: {text}"),
        };
        Self {
            check: "drift",
            kind,
            name,
            what: word,
            attribute,
            before,
            after,
            message,
            next: "no run has left it so: undo it by hand, or bring it by a migration, whose run notes the schema anew; what \
                   is meant to differ is left out with SCHEMAGATE_DRIFT_IGNORE"
                .to_owned(),
        }
    }

    /// Something without a before and an after.
    pub fn of(
        check: &'static str,
        kind: &str,
        name: &str,
        what: &'static str,
        message: String,
        next: String,
    ) -> Self {
        Self {
            check,
            kind: kind.to_owned(),
            name: name.to_owned(),
            what,
            attribute: None,
            before: None,
            after: None,
            message,
            next,
        }
    }
}

/// Both texts on a line each, cut to where they differ.
fn differing(before: Option<&str>, after: Option<&str>) -> (Option<String>, Option<String>) {
    let (before, after) = (before.map(line), after.map(line));
    let same = match (&before, &after) {
        (Some(before), Some(after)) => {
            let pairs = before.chars().zip(after.chars());
            pairs.take_while(|(a, b)| a == b).count()
        }
        _ => 0,
    };
    (
        before.map(|text| excerpt(&text, same)),
        after.map(|text| excerpt(&text, same)),
    )
}

/// The part of a text around a character.
fn excerpt(text: &str, at: usize) -> String {
    let length = text.chars().count();
    if length <= SHOWN {
        return text.to_owned();
    }
    let from = at.saturating_sub(LEAD).min(length - SHOWN);
    let part: String = text.chars().skip(from).take(SHOWN).collect();
    let (before, behind) = (from > 0, from + SHOWN < length);
    format!(
        "{}{part}{}",
        if before { "…" } else { "" },
        if behind { "…" } else { "" }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drift(
        what: What,
        attribute: Option<&str>,
        before: Option<&str>,
        after: Option<&str>,
    ) -> Finding {
        let text = |text: Option<&str>| text.map(str::to_owned);
        Finding::of_drift(Drift {
            kind: "column".to_owned(),
            name: "s.t.a".to_owned(),
            what,
            attribute: text(attribute),
            before: text(before),
            after: text(after),
        })
    }

    #[test]
    fn sentences() {
        for (finding, expected) in [
            (drift(What::Added, None, None, None), "added column s.t.a"),
            (
                drift(What::Removed, None, Some("x\n  y"), None),
                "removed column s.t.a: x y",
            ),
            (
                drift(What::Changed, Some("default"), None, Some("1")),
                "changed column s.t.a: default was not set, is 1",
            ),
            (
                drift(What::Changed, None, Some("a"), Some("b")),
                "changed column s.t.a: was a, is b",
            ),
        ] {
            assert_eq!(finding.message, expected);
        }
    }

    #[test]
    fn long_texts_are_cut_to_where_they_differ() {
        let (before, after) = (
            format!("{}a{}", "é".repeat(500), "x".repeat(500)),
            "é".repeat(500),
        );
        let (before, after) = differing(Some(&before), Some(&after));
        let before = before.unwrap();
        assert!(
            before.starts_with('…') && before.ends_with('…') && before.contains("éa"),
            "{before}"
        );
        assert_eq!(before.chars().count(), SHOWN + 2);
        assert_eq!(after.unwrap().chars().count(), SHOWN + 1);
    }

    #[test]
    fn a_report_on_a_page() {
        let mut report = Report::new("db".to_owned(), "schemagate.history".to_owned());
        report.judge();
        assert_eq!(
            report.text(),
            "ok: 0 findings, 0 pending; database db, history schemagate.history; drift not compared"
        );
        report.findings = vec![
            drift(What::Added, None, None, None),
            drift(What::Removed, None, None, None),
            Finding::of(
                "assertion",
                "file",
                "a\u{1b}.sql",
                "failed",
                "a\u{1b}.sql failed".into(),
                "look".into(),
            ),
        ];
        report.judge();
        let text = report.text();
        assert_eq!(text.matches("SCHEMAGATE_DRIFT_IGNORE").count(), 1, "{text}");
        assert!(
            text.contains("! assertion: a?.sql failed\n    look\nmismatch: 3 findings"),
            "{text}"
        );
        assert!(text.ends_with("assertions that hold: 0 of 1"), "{text}");
        assert_eq!(
            report.headline(),
            "3 findings, the first: added column s.t.a"
        );
    }
}
