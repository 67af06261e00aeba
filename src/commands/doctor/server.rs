//! What the server is, and its settings that hurt.

use jiff::Timestamp;

use super::{Asker, flag, text};
use crate::report::doctor::Section;

/// The oldest and the newest major version that are tested.
const TESTED: (u32, u32) = (12, 18);
/// Milliseconds that the clocks may differ.
const SKEW: i64 = 2000;
/// Percent of `max_connections` from which on the server is nearly full.
const FULL: u64 = 90;

/// Settings that can end or change a run, with what schemagate does about them.
const SETTINGS: [(&str, &str); 9] = [
    (
        "statement_timeout",
        "every migration sets its own (SCHEMAGATE_STATEMENT_TIMEOUT)",
    ),
    (
        "lock_timeout",
        "every migration sets its own (SCHEMAGATE_LOCK_TIMEOUT)",
    ),
    (
        "transaction_timeout",
        "switched off inside migrations; it still ends a session that holds the lock idly",
    ),
    (
        "idle_in_transaction_session_timeout",
        "a session that holds the lock says something every 5 s; below that it is ended",
    ),
    (
        "idle_session_timeout",
        "a session that holds the lock says something every 5 s; below that it is ended",
    ),
    (
        "default_transaction_read_only",
        "migrations begin READ WRITE; statements outside a transaction inherit it and fail: ALTER ROLE … RESET default_transaction_read_only",
    ),
    (
        "default_transaction_isolation",
        "migrations begin READ COMMITTED",
    ),
    (
        "standard_conforming_strings",
        "backslashes in strings mean something else: ALTER ROLE … RESET standard_conforming_strings",
    ),
    (
        "default_transaction_deferrable",
        "ALTER ROLE … RESET default_transaction_deferrable",
    ),
];

/// The section.
pub(super) async fn section(asker: &Asker<'_>) -> Section {
    let mut section = Section::new("server");
    version(asker, &mut section);
    standing(asker, &mut section).await;
    connections(asker, &mut section).await;
    settings(asker, &mut section).await;
    section
}

fn version(asker: &Asker<'_>, section: &mut Section) {
    let session = asker.session;
    let major = session.server_version() / 10_000;
    let value = format!("PostgreSQL {}", session.server_version_text());
    if major < TESTED.0 {
        section.note(
            "version",
            format!(
                "{value}: older than {}, the oldest that is tested",
                TESTED.0
            ),
            "upgrade the server",
        );
    } else if major > TESTED.1 {
        section.note(
            "version",
            format!(
                "{value}: newer than {}, the newest that is tested",
                TESTED.1
            ),
            "",
        );
    } else {
        section.ok("version", value);
    }
}

async fn standing(asker: &Asker<'_>, section: &mut Section) {
    let row = asker
        .row(
            section,
            "standing",
            "SELECT pg_catalog.pg_is_in_recovery(), \
             pg_catalog.date_trunc('milliseconds', pg_catalog.clock_timestamp() - pg_catalog.pg_last_xact_replay_timestamp())::pg_catalog.text, \
             pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_last_wal_receive_lsn(), pg_catalog.pg_last_wal_replay_lsn())::pg_catalog.text, \
             (EXTRACT(EPOCH FROM pg_catalog.clock_timestamp()) * 1000)::pg_catalog.int8::pg_catalog.text, \
             pg_catalog.date_trunc('second', pg_catalog.pg_postmaster_start_time())::pg_catalog.text",
        )
        .await;
    if row.is_empty() {
        return;
    }
    if flag(&row, 0) {
        let known = |value: &'static str, column: usize| match text(&row, column) {
            "" => String::new(),
            found => format!(", {found}{value}"),
        };
        section.note(
            "standing",
            format!(
                "a standby{}{}",
                known(" since the last transaction that it has replayed", 1),
                known(" bytes behind what it has received", 2)
            ),
            "nothing can be written here: list every server with target_session_attrs=primary, or name the primary",
        );
    } else {
        section.ok("standing", "a primary");
    }
    section.ok("started", text(&row, 4));
    if let Ok(theirs) = text(&row, 3).parse::<i64>() {
        let skew = theirs.saturating_sub(Timestamp::now().as_millisecond());
        let value = format!("{skew} ms from this machine's");
        if skew.abs() > SKEW {
            section.note(
                "clock",
                value,
                "keep both clocks by NTP: times in the journal are the server's",
            );
        } else {
            section.ok("clock", value);
        }
    }
}

async fn connections(asker: &Asker<'_>, section: &mut Section) {
    let row = asker
        .row(
            section,
            "connections",
            "SELECT pg_catalog.current_setting('max_connections'), \
             (SELECT pg_catalog.sum(d.numbackends)::pg_catalog.text FROM pg_catalog.pg_stat_database d), \
             pg_catalog.current_setting('superuser_reserved_connections'), \
             COALESCE(pg_catalog.current_setting('reserved_connections', true), '0'), \
             (SELECT d.datconnlimit FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()), \
             (SELECT r.rolconnlimit FROM pg_catalog.pg_roles r WHERE r.rolname = SESSION_USER)",
        )
        .await;
    if row.is_empty() {
        return;
    }
    let number = |column: usize| text(&row, column).parse::<u64>().unwrap_or(0);
    let (most, used) = (number(0), number(1));
    let reserved = number(2) + number(3);
    let mut value = format!("{used} of {most} in use, {reserved} reserved");
    for (column, whose) in [(4, "database"), (5, "role")] {
        if !matches!(text(&row, column), "-1" | "") {
            value = format!("{value}, the {whose} may have {}", text(&row, column));
        }
    }
    if most > 0 && (used + reserved) * 100 >= most * FULL {
        section.note(
            "connections",
            value,
            "raise max_connections, or give back connections that nobody needs",
        );
    } else {
        section.ok("connections", value);
    }
}

async fn settings(asker: &Asker<'_>, section: &mut Section) {
    let names: Vec<String> = SETTINGS
        .iter()
        .map(|(name, _)| format!("'{name}'"))
        .collect();
    let found = asker
        .rows(&format!(
            "SELECT s.name, pg_catalog.current_setting(s.name), s.source FROM pg_catalog.pg_settings s \
             WHERE s.name IN ({}) AND s.setting <> s.boot_val ORDER BY s.name",
            names.join(",")
        ))
        .await
        .unwrap_or_default();
    for row in &found {
        let help = SETTINGS.iter().find(|(name, _)| *name == text(row, 0));
        section.note(
            text(row, 0),
            format!("{} (from: {})", text(row, 1), text(row, 2)),
            help.map_or("", |(_, help)| help),
        );
    }
    let row = asker
        .row(
            section,
            "search_path",
            "SELECT pg_catalog.current_setting('search_path'), pg_catalog.current_schema(), \
             COALESCE(pg_catalog.current_setting('client_connection_check_interval', true), ''), \
             pg_catalog.version() LIKE '%linux%'",
        )
        .await;
    if row.is_empty() {
        return;
    }
    match text(&row, 1) {
        "" => section.note(
            "search_path",
            format!(
                "{}: names without a schema have nowhere to go",
                text(&row, 0)
            ),
            "GRANT USAGE on a schema of it, or write schema.name in the files",
        ),
        schema => section.ok(
            "search_path",
            format!("{}, new things go to {schema}", text(&row, 0)),
        ),
    }
    if text(&row, 2).is_empty() || !flag(&row, 3) {
        section.note(
            "client_connection_check_interval",
            "not to be had here: a statement of a killed pod runs to its end",
            "PostgreSQL 14 or later on Linux has it",
        );
    }
}
