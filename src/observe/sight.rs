//! What one look from outside has shown, and its words.

use std::{fmt, time::Duration};

use crate::{duration, sql::excerpt};

/// What `pg_stat_activity` shows of a session of somebody else, to a role that may not see more.
const HIDDEN: &str = "<insufficient privilege>";

/// What a look has shown of a session that runs something.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sight {
    /// Since the work began.
    pub elapsed: Duration,
    /// Worth a line of a log; a bar is drawn each time.
    pub is_line: bool,
    /// What it waits for, and who has it.
    pub waiting: Option<Waiting>,
    /// How far it is, where PostgreSQL tells.
    pub step: Option<Step>,
}

/// A wait for a lock.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Waiting {
    /// `AccessExclusiveLock on orders`; or another session's end, for a concurrent index build.
    pub what: String,
    /// Since when, where the server tells (14 and later).
    pub since: Option<Duration>,
    /// Who is in the way, first come first.
    pub blockers: Vec<Blocker>,
}

/// A session that holds what another one waits for, or stands before it in the queue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Blocker {
    /// Its server process; 0 is a prepared transaction, which has none.
    pub pid: i32,
    /// As it calls itself, or what kind of process it is; may be empty.
    pub name: String,
    /// `idle in transaction`, `active`; `None` when hidden from this role.
    pub state: Option<String>,
    /// How long its transaction has been open.
    pub open_for: Option<Duration>,
    /// What it runs or ran last, as the server shows it.
    pub query: String,
    /// It waits for a lock itself.
    pub waiting: bool,
}

/// A row of one of the views `pg_stat_progress_…`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Step {
    /// `CREATE INDEX CONCURRENTLY`, `VACUUM`, `COPY FROM`.
    pub command: String,
    /// The view's own words; empty where it has none.
    pub phase: String,
    /// The table.
    pub relation: Option<String>,
    /// How many units are done, and of how many; the view does not know for every phase.
    pub done: Option<u64>,
    /// Of how many.
    pub total: Option<u64>,
    /// What is counted: `blocks`, `tuples`, `bytes`, `lockers`, `indexes`.
    pub unit: &'static str,
}

// === impl Sight ===

impl Sight {
    /// One line about what goes on.
    pub fn sentence(&self) -> String {
        match (&self.waiting, &self.step) {
            (Some(waiting), Some(step)) if waiting.blockers.is_empty() => step.to_string(),
            (Some(waiting), Some(step)) => format!("{step}; waits for {waiting}"),
            (Some(waiting), None) => format!("waits for {waiting}"),
            (None, Some(step)) => step.to_string(),
            (None, None) => "runs".to_owned(),
        }
    }
}

// === impl Waiting ===

impl Waiting {
    /// Everybody who is in the way.
    pub fn blocked_by(&self) -> Option<String> {
        list(&self.blockers)
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        match self.blocked_by() {
            Some(blockers) => write!(f, ", blocked by {blockers}"),
            None => Ok(()),
        }
    }
}

/// Everybody in one text; `None` for nobody.
pub fn list(blockers: &[Blocker]) -> Option<String> {
    let words: Vec<String> = blockers.iter().map(Blocker::to_string).collect();
    (!words.is_empty()).then(|| words.join("; "))
}

// === impl Blocker ===

impl fmt::Display for Blocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pid == 0 {
            return f.write_str("a prepared transaction (see pg_prepared_xacts)");
        }
        write!(f, "pid {}", self.pid)?;
        if !self.name.is_empty() {
            write!(f, " ({})", self.name)?;
        }
        if let Some(open_for) = self.open_for {
            write!(f, ", its transaction open for {}", rough(open_for))?;
        }
        match &self.state {
            Some(state) => write!(f, ", {state}")?,
            None if self.query == HIDDEN => {
                f.write_str(", the rest is hidden from a role without pg_read_all_stats")?;
            }
            None => {}
        }
        if self.waiting {
            f.write_str(", itself waiting for a lock")?;
        }
        if self.query.is_empty() || self.query == HIDDEN {
            return Ok(());
        }
        write!(f, ": {}", excerpt(&self.query))
    }
}

// === impl Step ===

impl Step {
    /// How much of the phase is done; never above 100, though the views may count beyond what they expected.
    pub fn percent(&self) -> Option<u64> {
        let (done, total) = (self.done?, self.total?);
        (total > 0).then(|| (done.min(total).saturating_mul(100)) / total)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.command)?;
        if let Some(relation) = &self.relation {
            write!(f, " on {relation}")?;
        }
        if !self.phase.is_empty() {
            write!(f, ", {}", self.phase)?;
        }
        match (self.done, self.total) {
            (Some(done), Some(total)) => write!(f, ", {done} of {total} {}", self.unit),
            (Some(done), None) => write!(f, ", {done} {}", self.unit),
            (None, _) => Ok(()),
        }
    }
}

/// A length of time for people: whole seconds, unless it is shorter.
pub fn rough(length: Duration) -> String {
    if length < Duration::from_secs(1) {
        return duration::print(length);
    }
    duration::print(Duration::from_secs(length.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocker() -> Blocker {
        Blocker {
            pid: 42,
            name: "report".to_owned(),
            state: Some("idle in transaction".to_owned()),
            open_for: Some(Duration::from_millis(63_700)),
            query: "SELECT * FROM orders WHERE card = '4111'".to_owned(),
            waiting: false,
        }
    }

    #[test]
    fn a_blocker_is_named_without_literals() {
        let check = |blocker: Blocker, expected: &str| assert_eq!(blocker.to_string(), expected);
        check(
            blocker(),
            "pid 42 (report), its transaction open for 1m3s, idle in transaction: \
             SELECT * FROM orders WHERE card = '…'",
        );
        let hidden = Blocker {
            pid: 7,
            query: HIDDEN.to_owned(),
            ..Blocker::default()
        };
        check(
            hidden,
            "pid 7, the rest is hidden from a role without pg_read_all_stats",
        );
        let queued = Blocker {
            waiting: true,
            open_for: Some(Duration::from_millis(250)),
            ..blocker()
        };
        check(
            queued,
            "pid 42 (report), its transaction open for 250ms, idle in transaction, itself waiting for a lock: \
             SELECT * FROM orders WHERE card = '…'",
        );
        check(
            Blocker::default(),
            "a prepared transaction (see pg_prepared_xacts)",
        );
    }

    #[test]
    fn a_sentence_says_what_is_known() {
        let step = Step {
            command: "CREATE INDEX".to_owned(),
            phase: "building index: scanning table".to_owned(),
            relation: Some("orders".to_owned()),
            done: Some(30),
            total: Some(120),
            unit: "blocks",
        };
        let waiting = Waiting {
            what: "AccessExclusiveLock on orders".to_owned(),
            since: None,
            blockers: vec![blocker()],
        };
        let sight = |waiting: Option<&Waiting>, step: Option<&Step>| {
            let sight = Sight {
                waiting: waiting.cloned(),
                step: step.cloned(),
                ..Sight::default()
            };
            sight.sentence()
        };
        assert_eq!(sight(None, None), "runs");
        let built = "CREATE INDEX on orders, building index: scanning table, 30 of 120 blocks";
        assert_eq!(sight(None, Some(&step)), built);
        let nobody = Waiting {
            blockers: Vec::new(),
            ..waiting.clone()
        };
        assert_eq!(sight(Some(&nobody), Some(&step)), built);
        let waits = "waits for AccessExclusiveLock on orders, blocked by pid 42 (report)";
        assert!(sight(Some(&waiting), None).starts_with(waits));
        assert!(sight(Some(&waiting), Some(&step)).contains(&format!("blocks; {waits}")));
    }

    #[test]
    fn percents() {
        let check = |done: Option<u64>, total: Option<u64>, expected: Option<u64>| {
            let step = Step {
                done,
                total,
                ..Step::default()
            };
            assert_eq!(step.percent(), expected, "{done:?} of {total:?}");
        };
        check(Some(30), Some(120), Some(25));
        check(Some(0), Some(120), Some(0));
        check(Some(130), Some(120), Some(100));
        check(Some(1), Some(0), None);
        check(Some(1), None, None);
        check(None, Some(1), None);
        check(Some(u64::MAX), Some(u64::MAX), Some(1));
    }
}
