//! Which of the migrations stand on the page. A folder may hold ten thousand, and the page must stay small.

use jiff::Timestamp;

use crate::{
    progress::Running,
    report::status::{Line, Status},
};

/// How many rows of each kind are shown.
pub(super) const LIMIT: usize = 100;

/// The rows of the page, and how many of each kind are left out.
#[derive(Debug, Default)]
pub(super) struct Rows<'a> {
    /// What is not applied, in the order in which it runs.
    pub(super) open: Vec<Row<'a>>,
    pub(super) open_left_out: usize,
    /// What is applied, the newest first.
    pub(super) applied: Vec<Row<'a>>,
    pub(super) applied_left_out: usize,
    /// How many migrations are in which state, in the order in which the states are first seen.
    pub(super) counts: Vec<(&'static str, usize)>,
    /// The longest duration among the rows, in milliseconds.
    pub(super) longest: u64,
}

/// One migration.
#[derive(Debug)]
pub(super) struct Row<'a> {
    pub(super) version: &'a str,
    /// What the file's name says beyond the version, or a whole path that does not begin with it.
    pub(super) rest: &'a str,
    pub(super) state: &'static str,
    pub(super) applied_at: Option<&'a str>,
    pub(super) milliseconds: Option<u64>,
    pub(super) note: Option<&'a str>,
}

// === impl Rows ===

impl<'a> Rows<'a> {
    /// Chooses: of what is not applied the first ones and whatever needs eyes, of what is applied the newest and
    /// whatever has changed.
    pub(super) fn new(status: &'a Status, running: Option<&Running>, now: Timestamp) -> Self {
        let mut rows = Self::default();
        let mut waiting = 0;
        for line in &status.migrations {
            let row = Row::new(line, running, now);
            rows.count(row.state);
            if is_applied(row.state) {
                continue;
            }
            waiting += usize::from(!needs_eyes(row.state));
            let within = needs_eyes(row.state) || waiting <= LIMIT;
            push(&mut rows.open, &mut rows.open_left_out, row, within);
        }
        let mut plain = 0;
        for line in status.migrations.iter().rev() {
            let row = Row::new(line, running, now);
            if !is_applied(row.state) {
                continue;
            }
            plain += usize::from(!needs_eyes(row.state));
            let within = needs_eyes(row.state) || plain <= LIMIT;
            push(&mut rows.applied, &mut rows.applied_left_out, row, within);
        }
        let shown = rows.open.iter().chain(&rows.applied);
        rows.longest = shown.filter_map(|row| row.milliseconds).max().unwrap_or(0);
        rows
    }

    /// The length of a bar in percent of the longest: a sliver at least, so that it can be seen at all.
    pub(super) fn percent(&self, milliseconds: u64) -> u64 {
        let share = u128::from(milliseconds) * 100 / u128::from(self.longest.max(1));
        u64::try_from(share).unwrap_or(100).clamp(2, 100)
    }

    fn count(&mut self, state: &'static str) {
        match self.counts.iter_mut().find(|(known, _)| *known == state) {
            Some((_, count)) => *count += 1,
            None => self.counts.push((state, 1)),
        }
    }
}

/// What needs eyes has a bound of its own: ten thousand changed files are no reason for a page of megabytes.
fn push<'a>(rows: &mut Vec<Row<'a>>, left_out: &mut usize, row: Row<'a>, within: bool) {
    if within && rows.len() < 2 * LIMIT {
        rows.push(row);
    } else {
        *left_out += 1;
    }
}

fn is_applied(state: &str) -> bool {
    matches!(state, "applied" | "changed")
}

fn needs_eyes(state: &str) -> bool {
    matches!(state, "running" | "failed" | "out of order" | "changed")
}

// === impl Row ===

impl<'a> Row<'a> {
    fn new(line: &'a Line, running: Option<&Running>, now: Timestamp) -> Self {
        let running =
            running.filter(|running| running.version == line.version && !is_applied(line.state));
        let elapsed = running.map(|running| now.duration_since(running.since).as_millis());
        Self {
            version: &line.version,
            rest: rest(&line.version, &line.path),
            state: if running.is_some() {
                "running"
            } else {
                line.state
            },
            applied_at: line.applied_at.as_deref(),
            milliseconds: elapsed
                .and_then(|elapsed| u64::try_from(elapsed.max(0)).ok())
                .or_else(|| line.duration_ms.and_then(|ms| u64::try_from(ms).ok())),
            note: line.note.as_deref(),
        }
    }
}

/// Drizzle's paths repeat the version and say nothing else; those of plain SQL hold the name.
fn rest<'a>(version: &str, path: &'a str) -> &'a str {
    match path.strip_prefix(version) {
        Some(".sql" | "/migration.sql") => "",
        Some(rest) => rest,
        None => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(version: &str, state: &'static str, duration_ms: Option<i64>) -> Line {
        Line {
            version: version.to_owned(),
            path: format!("{version}.sql"),
            state,
            applied_at: None,
            duration_ms,
            checksum: String::new(),
            note: None,
        }
    }

    fn status(migrations: Vec<Line>) -> Status {
        Status {
            schema_version: 1,
            state: "ready",
            format: "sql",
            history: String::new(),
            database: String::new(),
            migrations,
            ahead: Vec::new(),
            missing: Vec::new(),
            conflicts: Vec::new(),
            warnings: Vec::new(),
        }
    }

    fn versions<'a>(rows: &[Row<'a>]) -> Vec<&'a str> {
        rows.iter().map(|row| row.version).collect()
    }

    #[test]
    fn what_is_not_applied_stands_in_its_order_and_the_rest_backwards() {
        let schema = status(vec![
            line("1", "applied", Some(3)),
            line("2", "ignored", None),
            line("3", "applied", Some(40)),
            line("4", "pending", None),
            line("5", "deferred", None),
        ]);
        let running = Running {
            version: "4".to_owned(),
            path: "4.sql".to_owned(),
            since: "2026-01-01T00:00:00Z".parse().unwrap(),
        };
        let now = "2026-01-01T00:00:02Z".parse().unwrap();
        let rows = Rows::new(&schema, Some(&running), now);
        assert_eq!(versions(&rows.open), ["2", "4", "5"]);
        assert_eq!(versions(&rows.applied), ["3", "1"]);
        let states: Vec<_> = rows.open.iter().map(|row| row.state).collect();
        assert_eq!(states, ["ignored", "running", "deferred"]);
        assert_eq!(rows.longest, 2_000);
        assert_eq!(
            rows.counts,
            [
                ("applied", 2),
                ("ignored", 1),
                ("running", 1),
                ("deferred", 1)
            ]
        );
        // A row has been written since: then it does not run any more.
        let rows = Rows::new(
            &schema,
            Some(&Running {
                version: "3".to_owned(),
                ..running
            }),
            now,
        );
        assert_eq!(rows.applied[0].state, "applied");
        assert_eq!(rows.applied[0].milliseconds, Some(40));
    }

    #[test]
    fn chooses_what_needs_eyes_from_among_ten_thousand() {
        let state = |number| match number {
            7 => "changed",
            5_000..9_990 => "pending",
            9_990 => "failed",
            9_991.. => "deferred",
            _ => "applied",
        };
        let lines = (0..10_000).map(|number| line(&number.to_string(), state(number), None));
        let status = status(lines.collect());
        let rows = Rows::new(&status, None, Timestamp::UNIX_EPOCH);
        assert_eq!(rows.open.len(), LIMIT + 1);
        assert_eq!(rows.open[0].version, "5000");
        assert_eq!(rows.open[LIMIT].version, "9990");
        assert_eq!(rows.open_left_out, 4_899);
        assert_eq!(rows.applied.len(), LIMIT + 1);
        assert_eq!(rows.applied[0].version, "4999");
        assert_eq!(rows.applied[LIMIT].version, "7");
        assert_eq!(rows.applied_left_out, 4_899);
    }

    #[test]
    fn ten_thousand_that_need_eyes_are_bounded_too() {
        let lines = (0..10_000).map(|number| line(&number.to_string(), "changed", None));
        let status = status(lines.collect());
        let rows = Rows::new(&status, None, Timestamp::UNIX_EPOCH);
        assert_eq!(rows.applied.len(), 2 * LIMIT);
        assert_eq!(rows.applied_left_out, 10_000 - 2 * LIMIT);
    }

    #[test]
    fn bars_are_relative_to_the_longest_and_never_invisible() {
        let status = status(vec![
            line("1", "applied", Some(0)),
            line("2", "applied", Some(600_000)),
            line("3", "applied", Some(150_000)),
            line("4", "applied", Some(-1)),
        ]);
        let rows = Rows::new(&status, None, Timestamp::UNIX_EPOCH);
        let percents: Vec<_> = rows
            .applied
            .iter()
            .map(|row| row.milliseconds.map(|ms| rows.percent(ms)))
            .collect();
        assert_eq!(percents, [None, Some(25), Some(100), Some(2)]);
        assert_eq!(Rows::default().percent(0), 2);
        assert_eq!(Rows::default().percent(u64::MAX), 100);
    }

    #[test]
    fn a_path_is_shown_where_it_says_more() {
        for (version, path, expected) in [
            ("0004_add", "0004_add.sql", ""),
            ("20240101000000_add", "20240101000000_add/migration.sql", ""),
            ("0004", "0004_add.up.sql", "_add.up.sql"),
            ("v1", "sub/v1.sql", "sub/v1.sql"),
        ] {
            assert_eq!(rest(version, path), expected, "{path}");
        }
    }
}
