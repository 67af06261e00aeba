//! The SQL of a look, and its rows. Pure text.
//!
//! Progress: <https://www.postgresql.org/docs/current/progress-reporting.html>. A row of another role's session is there
//! with NULLs. A rewriting `ALTER TABLE`, an `UPDATE` and a `VALIDATE CONSTRAINT` have no view.

use std::time::Duration;

use super::Target;
use super::sight::{Blocker, Sight, Step, Waiting};
use crate::{migration::quote_literal, wire::Row};

/// In front of our own text, so that another pod of the same name does not take it for work.
const LABEL: &str = "/* schemagate looks on */ ";
/// How many blockers are told.
const BLOCKERS: u32 = 3;
/// Where the answers stand among those of the message.
const FOUND: usize = 3;
const WAIT: usize = 4;
const BLOCKED: usize = 5;
const PROGRESS: usize = 6;

/// One view: since which version it is there, what its rows say of themselves, and what is counted.
struct View {
    since: u32,
    name: &'static str,
    command: &'static str,
    phase: &'static str,
    /// The first whose condition holds.
    counted: &'static [Counted],
}

/// A condition on the row; then what is counted under it: done, total, unit.
type Counted = [&'static str; 4];

const ANY: &str = "true";

const VIEWS: [View; 5] = [
    View {
        since: 120_000,
        name: "create_index",
        command: "v.command",
        phase: "v.phase",
        counted: &[
            [
                "v.phase LIKE 'waiting%'",
                "v.lockers_done",
                "v.lockers_total",
                "lockers",
            ],
            [
                "v.phase LIKE '%tuples%'",
                "v.tuples_done",
                "v.tuples_total",
                "tuples",
            ],
            [ANY, "v.blocks_done", "v.blocks_total", "blocks"],
        ],
    },
    View {
        since: 90_600,
        name: "vacuum",
        command: "'VACUUM'",
        phase: "v.phase",
        counted: &[
            [
                "v.phase = 'vacuuming heap'",
                "v.heap_blks_vacuumed",
                "v.heap_blks_total",
                "blocks",
            ],
            [
                "v.phase = 'scanning heap'",
                "v.heap_blks_scanned",
                "v.heap_blks_total",
                "blocks",
            ],
        ],
    },
    View {
        since: 120_000,
        name: "cluster",
        command: "v.command",
        phase: "v.phase",
        counted: &[
            [
                "v.phase = 'writing new heap'",
                "v.heap_tuples_written",
                "v.heap_tuples_scanned",
                "tuples",
            ],
            [
                "v.phase = 'rebuilding index'",
                "v.index_rebuild_count",
                "0",
                "indexes",
            ],
            [ANY, "v.heap_blks_scanned", "v.heap_blks_total", "blocks"],
        ],
    },
    View {
        since: 130_000,
        name: "analyze",
        command: "'ANALYZE'",
        phase: "v.phase",
        counted: &[[
            ANY,
            "v.sample_blks_scanned",
            "v.sample_blks_total",
            "blocks",
        ]],
    },
    View {
        since: 140_000,
        name: "copy",
        command: "v.command",
        phase: "''",
        counted: &[
            // What a client sends has no known end.
            [
                "v.bytes_total > 0",
                "v.bytes_processed",
                "v.bytes_total",
                "bytes",
            ],
            [ANY, "v.tuples_processed", "0", "tuples"],
        ],
    },
];

/// One message: a transaction that begins, looks and ends.
pub(super) fn look_sql(target: &Target<'_>) -> String {
    // `transaction_timeout` needs no answer here: the transaction is over in milliseconds.
    let mut sql = format!(
        "{LABEL}BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY;\
         SET LOCAL statement_timeout = '2s';SET LOCAL lock_timeout = '500ms';"
    );
    let pid = pid_sql(target);
    sql.push_str(&pid);
    sql.push(';');
    sql.push_str(&wait_sql(&pid, target.server_version));
    sql.push(';');
    sql.push_str(&blockers_sql(&pid));
    sql.push(';');
    sql.push_str(&progress_sql(&pid, target.server_version));
    sql.push_str(";COMMIT");
    sql
}

/// The session that is looked at, if it runs something. By its number where that is known, and by its name: a second
/// connection may have come to another server, where the number is somebody else's.
fn pid_sql(target: &Target<'_>) -> String {
    let number = target
        .pid
        .map_or_else(String::new, |pid| format!(" AND a.pid = {pid}"));
    format!(
        "SELECT a.pid FROM pg_catalog.pg_stat_activity a WHERE a.state = 'active'{number} \
         AND a.datname = pg_catalog.current_database() AND a.pid <> pg_catalog.pg_backend_pid() \
         AND a.application_name IN (pg_catalog.current_setting('application_name'), {}) \
         AND pg_catalog.left(a.query, {}) <> '{LABEL}' ORDER BY a.query_start LIMIT 1",
        quote_literal(target.application_name),
        LABEL.len(),
    )
}

fn wait_sql(pid: &str, server_version: u32) -> String {
    let since = if server_version >= 140_000 {
        milliseconds_since("l.waitstart")
    } else {
        "NULL::pg_catalog.int8".to_owned()
    };
    format!(
        "SELECT l.mode, l.locktype, l.relation::pg_catalog.regclass::pg_catalog.text, {since} \
         FROM pg_catalog.pg_locks l WHERE NOT l.granted AND l.pid = ({pid}) LIMIT 1"
    )
}

/// The older transaction is the likelier reason; a prepared one comes first.
fn blockers_sql(pid: &str) -> String {
    format!(
        "SELECT b.pid, COALESCE(NULLIF(a.application_name, ''), NULLIF(a.backend_type, 'client backend'), ''), \
         a.state, {}, pg_catalog.left(COALESCE(a.query, ''), 2000), COALESCE(a.wait_event_type = 'Lock', false) \
         FROM (SELECT DISTINCT u.pid FROM pg_catalog.unnest(pg_catalog.pg_blocking_pids(({pid}))) u (pid)) b \
         LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = b.pid \
         WHERE b.pid <> pg_catalog.pg_backend_pid() ORDER BY a.xact_start NULLS FIRST, b.pid LIMIT {BLOCKERS}",
        milliseconds_since("COALESCE(a.xact_start, a.query_start)")
    )
}

fn progress_sql(pid: &str, server_version: u32) -> String {
    let views: Vec<String> = VIEWS
        .iter()
        .filter(|view| server_version >= view.since)
        .map(|view| view.sql(pid))
        .collect();
    if views.is_empty() {
        return "SELECT WHERE false".to_owned();
    }
    format!("{} LIMIT 1", views.join(" UNION ALL "))
}

fn milliseconds_since(time: &str) -> String {
    format!("(EXTRACT(EPOCH FROM pg_catalog.clock_timestamp() - {time}) * 1000)::pg_catalog.int8")
}

/// What the answers say; nothing when the session runs nothing.
pub(super) fn read(results: &[Vec<Row>]) -> Option<Sight> {
    results.get(FOUND)?.first()?;
    let rows = |index: usize| results.get(index).map(Vec::as_slice).unwrap_or_default();
    let blockers: Vec<Blocker> = rows(BLOCKED).iter().map(blocker).collect();
    let waiting = rows(WAIT).first().map(|row| wait(row, blockers));
    Some(Sight {
        waiting,
        step: rows(PROGRESS).first().and_then(step),
        ..Sight::default()
    })
}

fn wait(row: &Row, blockers: Vec<Blocker>) -> Waiting {
    let kind = text(row, 1);
    let what = match (kind.as_str(), cell(row, 2)) {
        // A concurrent build waits for whoever might still see the old state.
        ("virtualxid" | "transactionid", _) => "the end of another transaction".to_owned(),
        (_, Some(relation)) => format!("{} on {relation}", text(row, 0)),
        (kind, None) => format!("{} ({kind})", text(row, 0)),
    };
    Waiting {
        what,
        since: milliseconds(row, 3),
        blockers,
    }
}

fn blocker(row: &Row) -> Blocker {
    Blocker {
        pid: text(row, 0).parse().unwrap_or_default(),
        name: text(row, 1),
        state: cell(row, 2),
        open_for: milliseconds(row, 3),
        query: text(row, 4),
        waiting: text(row, 5) == "t",
    }
}

fn step(row: &Row) -> Option<Step> {
    let count = |column: usize| cell(row, column).and_then(|count| count.parse().ok());
    let unit = text(row, 5);
    Some(Step {
        // Hidden from this role, or not a command of its own.
        command: cell(row, 0)?,
        phase: text(row, 1),
        relation: cell(row, 2),
        done: count(3),
        total: count(4).filter(|&total| total > 0),
        unit: UNITS.into_iter().find(|known| *known == unit).unwrap_or(""),
    })
}

const UNITS: [&str; 5] = ["blocks", "tuples", "bytes", "lockers", "indexes"];

fn cell(row: &Row, column: usize) -> Option<String> {
    row.get(column).cloned().flatten()
}

fn text(row: &Row, column: usize) -> String {
    cell(row, column).unwrap_or_default()
}

/// A server's clock may step back.
fn milliseconds(row: &Row, column: usize) -> Option<Duration> {
    let count: i64 = cell(row, column)?.parse().ok()?;
    Some(Duration::from_millis(count.max(0).unsigned_abs()))
}

// === impl View ===

impl View {
    fn sql(&self, pid: &str) -> String {
        let column = |value: fn(&Counted) -> String| {
            let cases = self.counted.iter();
            let cases: Vec<String> = cases
                .map(|counted| format!(" WHEN {} THEN {}", counted[0], value(counted)))
                .collect();
            format!("CASE{} END", cases.concat())
        };
        // A table that this transaction has made is not there for others: its number would tell nothing.
        format!(
            "SELECT {}, {}, (SELECT c.oid::pg_catalog.regclass::pg_catalog.text FROM pg_catalog.pg_class c WHERE c.oid = v.relid), \
             {}, {}, {} FROM pg_catalog.pg_stat_progress_{} v WHERE v.pid = ({pid})",
            self.command,
            self.phase,
            column(|counted| format!("{}::pg_catalog.int8", counted[1])),
            column(|counted| format!("{}::pg_catalog.int8", counted[2])),
            column(|counted| format!("'{}'", counted[3])),
            self.name,
        )
    }
}
