//! Classic Drizzle (0.x): the journal, and what its entries are called once `drizzle-kit up` has made folders of them.

use serde::Deserialize;
use serde_json::Number;
use std::collections::{HashMap, HashSet};

/// The file that makes a folder classic Drizzle's, relative to the folder.
pub const JOURNAL: &str = "meta/_journal.json";

/// An entry of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The file's name without `.sql`; opaque.
    pub tag: String,
    /// Milliseconds since the epoch when it was generated: all that tells Drizzle migrations apart.
    pub when: i64,
}

#[derive(Deserialize)]
struct Journal {
    dialect: Option<String>,
    entries: Vec<RawEntry>,
}

#[derive(Deserialize)]
struct RawEntry {
    tag: String,
    when: Number,
}

/// The entries in the journal's own order, which is the order they run in, or everything wrong with the journal.
///
/// `idx`, `version` and `breakpoints` are not used, as Drizzle's migrator does not use them.
pub fn parse_journal(text: &str) -> Result<Vec<Entry>, Vec<String>> {
    let journal: Journal =
        serde_json::from_str(text).map_err(|error| vec![format!("{JOURNAL}: {error}")])?;
    let mut problems = Vec::new();
    // Old releases of drizzle-kit wrote "pg".
    if let Some(dialect) = &journal.dialect
        && !matches!(dialect.as_str(), "postgresql" | "pg")
    {
        problems.push(format!(
            "{JOURNAL}: the dialect is {dialect:?}; only \"postgresql\" is supported"
        ));
    }
    let entries = journal
        .entries
        .into_iter()
        .enumerate()
        .filter_map(|(index, raw)| raw.check(index, &mut problems))
        .collect::<Vec<_>>();
    problems.extend(duplicates(&entries));
    if problems.is_empty() {
        Ok(entries)
    } else {
        Err(problems)
    }
}

fn duplicates(entries: &[Entry]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut tags = HashSet::new();
    let mut whens: HashMap<i64, &str> = HashMap::new();
    for entry in entries {
        if !tags.insert(entry.tag.as_str()) {
            problems.push(format!(
                "{JOURNAL}: the tag {:?} stands there twice",
                entry.tag
            ));
        } else if let Some(other) = whens.insert(entry.when, &entry.tag) {
            problems.push(format!(
                "{JOURNAL}: {other:?} and {:?} have the same `when` {}; Drizzle takes them for one: give the newer a \
                 greater one",
                entry.tag, entry.when
            ));
        }
    }
    problems
}

/// A warning where `when` is not ascending: Drizzle compares each entry with the newest row of the database.
pub fn order_warning(entries: &[Entry]) -> Option<String> {
    let (older, newer) = entries
        .iter()
        .zip(entries.iter().skip(1))
        .find(|(first, second)| second.when < first.when)?;
    Some(format!(
        "{JOURNAL}: {:?} stands before {:?} but has a greater `when`: that works on an empty database only, on \
         another Drizzle skips the second",
        older.tag, newer.tag
    ))
}

/// The folder that `drizzle-kit up` (1.0.0-rc.5, `planFoldersV3`) makes of a journal entry: the second in UTC, `_`, and
/// the tag behind its first `_`.
pub fn v1_name(when: i64, tag: &str) -> String {
    let rest = tag.split_once('_').map_or("", |(_, rest)| rest);
    let stamp = jiff::Timestamp::from_millisecond(when)
        .map(|at| at.strftime("%Y%m%d%H%M%S").to_string())
        .unwrap_or_default();
    format!("{stamp}_{rest}")
}

/// The milliseconds of a `when` cut to its second, as the v1 generation stores them.
pub const fn whole_second(when: i64) -> i64 {
    when - when.rem_euclid(1000)
}

/// A JSON number without a fraction.
pub(super) fn whole_number(number: &Number) -> Option<i64> {
    // Beyond 2^53 a floating number is not exact, and JavaScript's are all floating.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    number.as_i64().or_else(|| {
        let value = number.as_f64()?;
        #[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53")]
        (value.fract() == 0.0 && value.abs() <= EXACT).then_some(value as i64)
    })
}

// === impl RawEntry ===

impl RawEntry {
    fn check(self, index: usize, problems: &mut Vec<String>) -> Option<Entry> {
        if self.tag.is_empty() || is_outside(&self.tag) {
            problems.push(format!(
                "{JOURNAL}: entry {index}: the tag {:?} does not name a file of the folder",
                self.tag
            ));
            return None;
        }
        let Some(when) = whole_number(&self.when) else {
            problems.push(format!(
                "{JOURNAL}: entry {index} ({:?}): `when` is {}, not a whole number of milliseconds",
                self.tag, self.when
            ));
            return None;
        };
        Some(Entry {
            tag: self.tag,
            when,
        })
    }
}

fn is_outside(tag: &str) -> bool {
    tag.starts_with('/') || tag.contains('\0') || tag.split(['/', '\\']).any(|part| part == "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal(entries: &str) -> String {
        format!(r#"{{"version":"7","dialect":"postgresql","entries":[{entries}]}}"#)
    }

    #[track_caller]
    fn check_problem(text: &str, expected: &str) {
        let problems = parse_journal(text).unwrap_err();
        assert!(
            problems.iter().any(|p| p.contains(expected)),
            "{problems:?}"
        );
    }

    #[test]
    fn keeps_the_order_of_the_array() {
        let text = journal(
            r#"{"idx":1,"version":"7","when":1700000100456,"tag":"0001_b","breakpoints":true},
               {"idx":0,"version":"7","when":1700000000123.0,"tag":"0000_a","breakpoints":true}"#,
        );
        let entries = parse_journal(&text).unwrap();
        let tags: Vec<_> = entries.iter().map(|e| (e.tag.as_str(), e.when)).collect();
        assert_eq!(
            tags,
            [("0001_b", 1_700_000_100_456), ("0000_a", 1_700_000_000_123)]
        );
        let warning = order_warning(&entries).unwrap();
        assert!(
            warning.contains("\"0001_b\" stands before \"0000_a\""),
            "{warning}"
        );
        assert_eq!(order_warning(&entries[..1]), None);
    }

    #[test]
    fn names_what_is_wrong() {
        check_problem("{\n  \"entries\": [,]\n}", "line 2 column 15");
        check_problem("{}", "missing field `entries`");
        check_problem(r#"{"dialect":"mysql","entries":[]}"#, "\"mysql\"");
        check_problem(r#"{"dialect":"sqlite","entries":[]}"#, "\"sqlite\"");
        check_problem(&journal(r#"{"when":1}"#), "missing field `tag`");
        check_problem(&journal(r#"{"when":1.5,"tag":"a"}"#), "`when` is 1.5");
        check_problem(&journal(r#"{"when":1,"tag":"../a"}"#), "\"../a\"");
        check_problem(
            &journal(r#"{"when":1,"tag":"a"},{"when":2,"tag":"a"}"#),
            "twice",
        );
        check_problem(
            &journal(r#"{"when":1,"tag":"a"},{"when":1,"tag":"b"}"#),
            "same `when` 1",
        );
    }

    #[test]
    fn accepts_the_old_dialect_word_and_an_absent_one() {
        assert_eq!(
            parse_journal(r#"{"dialect":"pg","entries":[]}"#),
            Ok(vec![])
        );
        assert_eq!(parse_journal(r#"{"entries":[]}"#), Ok(vec![]));
    }

    #[test]
    fn names_folders_as_drizzle_kit_up_does() {
        // Rows of a table that Drizzle 1.0.0-rc.5 upgraded.
        assert_eq!(
            v1_name(1_700_000_000_123, "0000_init"),
            "20231114221320_init"
        );
        assert_eq!(
            v1_name(1_700_000_100_456, "0001_second"),
            "20231114221500_second"
        );
        assert_eq!(
            v1_name(1_700_000_000_123, "0000_add_two_words"),
            "20231114221320_add_two_words"
        );
        assert_eq!(v1_name(1_700_000_000_123, "tag"), "20231114221320_");
        assert_eq!(v1_name(i64::MAX, "0000_x"), "_x");
    }

    #[test]
    fn cuts_to_the_second() {
        assert_eq!(whole_second(1_700_000_000_123), 1_700_000_000_000);
        assert_eq!(whole_second(-1), -1000);
        assert_eq!(whole_second(0), 0);
    }
}
