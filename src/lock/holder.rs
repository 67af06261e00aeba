//! Who holds the lock, and whether it gets on.

use std::{
    fmt,
    time::{Duration, Instant},
};

use crate::{lock::LockKeys, sql::excerpt, wire::Row};

/// A heartbeat older than this is no heartbeat: see [`crate::lock::HEARTBEAT`].
const HEARTBEAT_LIMIT: Duration = Duration::from_secs(30);

/// How long a `COPY` may stand still: with two pauses of a waiter the lock is free within 30 s.
pub const STALL_LIMIT: Duration = Duration::from_secs(15);

/// The session that holds one of the keys, as far as this role may see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its server process.
    pub pid: i32,
    /// `schemagate/VERSION POD` for one of ours; empty when hidden.
    pub application_name: String,
    /// `active`, `idle`, `idle in transaction`; `None` when the role lacks `pg_read_all_stats`.
    pub state: Option<String>,
    /// How long it has been in this state.
    pub in_state: Option<Duration>,
    /// When its transaction, or else its session, began.
    pub since: Option<String>,
    /// What it runs or ran last; may be hidden or cut by the server.
    pub query: String,
    /// It waits for a lock itself.
    pub waiting: bool,
    /// It holds locks that an idle session would not hold.
    pub busy: bool,
    /// It waits for its client in the middle of a `COPY`, of which it has read so many bytes (14 and later).
    pub reads: Option<i64>,
}

/// Notices a holder that waits for the data of its `COPY` and gets none.
///
/// No timeout of the server ends that: it is neither idle nor without a client, whose kernel answers while the client is
/// stopped. So whoever waits for the lock watches.
#[derive(Debug, Default)]
pub struct Stall(Option<(i32, i64, Instant)>);

/// How long a waiter goes on waiting.
#[derive(Debug)]
pub struct Patience {
    /// Time without progress before giving up; `None` is without end.
    limit: Option<Duration>,
    last_progress: Instant,
    rows: Option<usize>,
    holder: Option<i32>,
}

// === impl Holder ===

impl Holder {
    /// One statement that finds the holder of either key; no row when nobody holds one.
    ///
    /// `pg_locks` shows a 64-bit key as two halves with `objsubid` 1; the two-integer form has 2 and is another space.
    /// <https://www.postgresql.org/docs/current/view-pg-locks.html>
    ///
    /// Every waiter asks this at every look. `pg_stat_activity` is `pg_stat_get_activity(NULL)`, every session's row, joined
    /// with names that nobody needs here; the function alone takes a third less of the server's time in a new session.
    /// <https://www.postgresql.org/docs/current/monitoring-stats.html#MONITORING-STATS-FUNCS-TABLE>
    pub fn select_sql(keys: &LockKeys) -> String {
        format!(
            "SELECT l.pid, COALESCE(a.application_name, ''), a.state, \
             (EXTRACT(EPOCH FROM pg_catalog.clock_timestamp() - a.state_change) * 1000)::pg_catalog.int8, \
             pg_catalog.date_trunc('second', COALESCE(a.xact_start, a.backend_start))::pg_catalog.text, \
             pg_catalog.left(COALESCE(a.query, ''), 2000), \
             EXISTS (SELECT 1 FROM pg_catalog.pg_locks w WHERE w.pid = l.pid AND NOT w.granted), \
             EXISTS (SELECT 1 FROM pg_catalog.pg_locks w WHERE w.pid = l.pid AND w.granted \
                     AND w.locktype NOT IN ('advisory', 'virtualxid')), {READS} \
             FROM pg_catalog.pg_locks l LEFT JOIN LATERAL pg_catalog.pg_stat_get_activity(l.pid) a ON true \
             WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 \
             AND l.pid <> pg_catalog.pg_backend_pid() \
             AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) \
             AND ((l.classid::pg_catalog.int8 << 32) | l.objid::pg_catalog.int8) IN ({}, {}) LIMIT 1",
            keys.main, keys.second
        )
    }

    /// One statement that ends the session of this holder if it still waits for the same byte.
    pub fn end_sql(&self) -> String {
        format!(
            "SELECT pg_catalog.pg_terminate_backend(a.pid) FROM pg_catalog.pg_stat_activity a \
             WHERE a.pid = {} AND {READS} = {}",
            self.pid,
            self.reads.unwrap_or(-1)
        )
    }

    /// One statement that finds who blocks in `pg_advisory_lock` on the main key: pid and `application_name`. None of
    /// ours ever does.
    pub fn waiters_sql(keys: &LockKeys) -> String {
        format!(
            "SELECT l.pid, COALESCE(a.application_name, '') \
             FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid \
             WHERE l.locktype = 'advisory' AND NOT l.granted AND l.objsubid = 1 \
             AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) \
             AND ((l.classid::pg_catalog.int8 << 32) | l.objid::pg_catalog.int8) = {}",
            keys.main
        )
    }

    /// Reads the row of [`Holder::select_sql`].
    pub fn from_row(row: &Row) -> Option<Self> {
        let text = |column: usize| row.get(column).cloned().flatten();
        let flag = |column: usize| text(column).as_deref() == Some("t");
        Some(Self {
            pid: text(0)?.parse().ok()?,
            application_name: text(1).unwrap_or_default(),
            state: text(2),
            in_state: text(3)
                .and_then(|ms| ms.parse::<i64>().ok())
                .map(|ms| Duration::from_millis(ms.unsigned_abs())),
            since: text(4),
            query: text(5).unwrap_or_default(),
            waiting: flag(6),
            busy: flag(7),
            reads: text(8).and_then(|bytes| bytes.parse().ok()),
        })
    }

    /// What it runs or ran last: the migration where it is one of ours, else the statement without its literals.
    fn runs(&self) -> String {
        if let Some(version) = label_of(&self.query, MIGRATION) {
            format!("migration {version}")
        } else if let Some(name) = label_of(&self.query, COMMAND) {
            format!("command {name}")
        } else {
            excerpt(&self.query)
        }
    }

    /// One of our sessions. The user may have called it otherwise, then what it runs tells, which whoever sees its
    /// state sees too.
    fn is_ours(&self) -> bool {
        self.application_name.starts_with("schemagate/")
            || [MIGRATION, COMMAND]
                .iter()
                .any(|start| self.query.starts_with(start))
    }

    /// A running statement that does not itself wait for a lock, or a fresh heartbeat.
    pub fn makes_progress(&self) -> bool {
        match self.state.as_deref() {
            Some("active") => !self.waiting,
            // Only our own sessions beat; another tool's idle session is just idle.
            Some(_) => self.is_ours() && self.in_state.is_some_and(|age| age < HEARTBEAT_LIMIT),
            None => self.busy && !self.waiting,
        }
    }
}

/// [`Holder::reads`] of a row `a` of `pg_stat_activity`, or of its function. The view that has the bytes came with 14; its
/// function is older.
const READS: &str = "CASE WHEN a.state = 'active' AND a.wait_event = 'ClientRead' \
    AND pg_catalog.current_setting('server_version_num')::pg_catalog.int4 >= 140000 \
    THEN (SELECT p.param1 FROM pg_catalog.pg_stat_get_progress_info('COPY') p WHERE p.pid = a.pid) END";

/// How the labels of our messages begin.
const MIGRATION: &str = "/* schemagate: ";
const COMMAND: &str = "/* schemagate exec: ";

/// A comment in front of our messages: the view shows the first 1024 bytes of a query, and the fence fills them.
pub fn label(version: &str) -> String {
    labelled(MIGRATION, version)
}

/// The same for the session that holds the lock while a command of the user's runs.
pub fn command_label(name: &str) -> String {
    labelled(COMMAND, name)
}

fn labelled(start: &str, what: &str) -> String {
    // Comments nest in PostgreSQL.
    let what = what.replace("*/", "* /").replace("/*", "/ *");
    format!("{start}{what} */ ")
}

fn label_of<'q>(query: &'q str, start: &str) -> Option<&'q str> {
    let rest = query.strip_prefix(start)?;
    rest.split_once(" */").map(|(what, _)| what)
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pid {}", self.pid)?;
        if !self.application_name.is_empty() {
            write!(f, " ({})", self.application_name)?;
        }
        if let Some(since) = &self.since {
            write!(f, " since {since}")?;
        }
        if let Some(state) = &self.state {
            write!(f, ", {state}")?;
        }
        if self.waiting {
            write!(f, ", itself waiting for a lock")?;
        }
        match self.runs() {
            runs if runs.is_empty() => Ok(()),
            runs => write!(f, ", {runs}"),
        }
    }
}

// === impl Stall ===

impl Stall {
    /// Notes what a look has shown. True for one of our own sessions that has read nothing for [`STALL_LIMIT`].
    pub fn is_over(&mut self, holder: Option<&Holder>, now: Instant) -> bool {
        let ours = holder.filter(|holder| holder.is_ours());
        let Some((pid, bytes)) = ours.and_then(|holder| Some((holder.pid, holder.reads?))) else {
            self.0 = None;
            return false;
        };
        match self.0 {
            Some((before, read, since)) if (before, read) == (pid, bytes) => {
                now.duration_since(since) > STALL_LIMIT
            }
            _ => {
                self.0 = Some((pid, bytes, now));
                false
            }
        }
    }
}

// === impl Patience ===

impl Patience {
    /// A waiter that begins to wait at `now`.
    pub fn new(limit: Option<Duration>, now: Instant) -> Self {
        Self {
            limit,
            last_progress: now,
            rows: None,
            holder: None,
        }
    }

    /// Notes what a look has shown and says whether to go on. Progress is a history that grew, a holder that works or
    /// beats, or a lock that changed hands.
    pub fn goes_on(&mut self, holder: Option<&Holder>, rows: usize, now: Instant) -> bool {
        let pid = holder.map(|holder| holder.pid);
        let grew = self.rows.replace(rows).is_none_or(|before| before != rows);
        let moved = std::mem::replace(&mut self.holder, pid) != pid;
        if grew || moved || holder.is_none_or(Holder::makes_progress) {
            self.last_progress = now;
        }
        self.limit
            .is_none_or(|limit| now.duration_since(self.last_progress) < limit)
    }

    /// How long to wait for the next look at most.
    pub fn left(&self, now: Instant) -> Duration {
        self.limit.map_or(Duration::MAX, |limit| {
            limit.saturating_sub(self.stuck_for(now))
        })
    }

    /// How long nothing has moved.
    pub fn stuck_for(&self, now: Instant) -> Duration {
        now.duration_since(self.last_progress)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(state: Option<&str>, age: u64, waiting: bool, busy: bool) -> Holder {
        Holder {
            pid: 7,
            application_name: "schemagate/1 pod".to_owned(),
            state: state.map(str::to_owned),
            in_state: state.map(|_| Duration::from_secs(age)),
            since: None,
            query: String::new(),
            waiting,
            busy,
            reads: None,
        }
    }

    #[test]
    fn progress() {
        let check = |holder: Holder, expected: bool| {
            assert_eq!(holder.makes_progress(), expected, "{holder:?}");
        };
        check(holder(Some("active"), 900, false, true), true);
        check(holder(Some("active"), 1, true, true), false);
        check(holder(Some("idle in transaction"), 5, false, false), true);
        check(holder(Some("idle in transaction"), 31, false, false), false);
        check(holder(Some("idle"), 40, false, false), false);
        let mut foreign = holder(Some("idle"), 1, false, false);
        foreign.application_name = "another tool".to_owned();
        check(foreign, false);
        let mut renamed = holder(Some("idle in transaction"), 1, false, false);
        renamed.application_name = "another tool".to_owned();
        renamed.query = format!("{}SELECT 1", command_label("alembic"));
        check(renamed, true);
        check(holder(None, 0, false, true), true);
        check(holder(None, 0, true, true), false);
        check(holder(None, 0, false, false), false);
    }

    #[test]
    fn says_what_runs() {
        let mut one = holder(Some("active"), 1, false, false);
        one.query = format!("{}BEGIN; CREATE TABLE t ()", label("0004_*/_users"));
        assert!(
            one.to_string()
                .ends_with(", active, migration 0004_* /_users"),
            "{one}"
        );
        one.query = format!("{}SELECT 1", command_label("/*x*/alembic"));
        assert!(
            one.to_string()
                .ends_with(", active, command / *x* /alembic"),
            "{one}"
        );
        one.query = "SELECT 'secret'".to_owned();
        assert!(one.to_string().ends_with(", active, SELECT '…'"), "{one}");
    }

    #[test]
    fn patience_ends_only_without_progress() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let stuck = holder(Some("active"), 1, true, true);
        let mut patience = Patience::new(Some(Duration::from_secs(10)), start);
        assert!(patience.goes_on(Some(&stuck), 0, at(1)));
        assert!(patience.goes_on(Some(&stuck), 0, at(10)));
        assert!(patience.goes_on(Some(&stuck), 1, at(12)), "a row was added");
        assert!(patience.goes_on(Some(&stuck), 1, at(20)));
        assert!(!patience.goes_on(Some(&stuck), 1, at(22)));
        let mut endless = Patience::new(None, start);
        assert!(endless.goes_on(Some(&stuck), 0, at(1_000_000)));
    }

    #[test]
    fn a_copy_that_stands_still_is_noticed() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let reads = |bytes| Holder {
            reads: bytes,
            ..holder(Some("active"), 1, false, true)
        };
        let mut stall = Stall::default();
        assert!(!stall.is_over(Some(&reads(Some(1))), at(0)));
        assert!(!stall.is_over(Some(&reads(Some(1))), at(15)));
        assert!(!stall.is_over(Some(&reads(Some(2))), at(20)), "it read on");
        assert!(!stall.is_over(Some(&reads(Some(2))), at(35)));
        assert!(stall.is_over(Some(&reads(Some(2))), at(36)));
        assert!(!stall.is_over(Some(&reads(None)), at(41)), "it works");
        assert!(!stall.is_over(Some(&reads(Some(2))), at(60)));
        assert!(!stall.is_over(None, at(90)));
        let mut foreign = reads(Some(1));
        foreign.application_name = "another tool".to_owned();
        assert!(!stall.is_over(Some(&foreign), at(100)));
        assert!(!stall.is_over(Some(&foreign), at(200)), "not ours to end");
    }

    #[test]
    fn a_row_with_hidden_columns_is_read() {
        let mut row: Row = vec![None; 9];
        row[0] = Some("42".into());
        row[6] = Some("t".into());
        let holder = Holder::from_row(&row).unwrap();
        assert_eq!((holder.pid, holder.state, holder.waiting), (42, None, true));
        assert_eq!(Holder::from_row(&vec![]), None);
    }
}
