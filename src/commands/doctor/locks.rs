//! Who holds the lock, and what else would hold a migration up.

use super::{Asker, Folder, flag, text};
use crate::{lock::Holder, report::doctor::Section, runner::lock_keys, sql::excerpt};

/// Seconds from which on a transaction is told.
const LONG: u32 = 60;

/// The section of the lock, and its holder.
pub(super) async fn section(asker: &Asker<'_>, folder: &Folder) -> (Section, Option<Holder>) {
    let mut section = Section::new("lock");
    let database = asker
        .row(&mut section, "key", "SELECT pg_catalog.current_database()")
        .await;
    let keys = lock_keys(&folder.params, text(&database, 0));
    section.ok(
        "key",
        format!("{}, behind a pooler also {}", keys.main, keys.second),
    );
    let holder = match asker.rows(&Holder::select_sql(&keys)).await {
        Ok(rows) => rows.first().and_then(Holder::from_row),
        Err(why) => {
            section.note("holder", format!("cannot be seen: {why}"), "");
            return (section, None);
        }
    };
    match &holder {
        None => section.ok("holder", "nobody"),
        Some(holder) if holder.makes_progress() => section.note(
            "holder",
            holder.to_string(),
            "it gets on: `migrate` would wait for it",
        ),
        Some(holder) => section.problem(
            "holder",
            format!("{holder}; it does not get on"),
            &format!(
                "see what it does in pg_stat_activity; if it is stuck: SELECT pg_terminate_backend({})",
                holder.pid
            ),
        ),
    }
    let waiters = asker
        .rows(&Holder::waiters_sql(&keys))
        .await
        .unwrap_or_default();
    for row in &waiters {
        section.note(
            "waiter",
            format!("pid {} ({})", text(row, 0), text(row, 1)),
            "another tool blocks in pg_advisory_lock, and its snapshot holds up concurrent index builds",
        );
    }
    (section, holder)
}

/// Transactions that would hold up DDL, and invalid indexes.
pub(super) async fn activity(asker: &Asker<'_>) -> Section {
    let mut section = Section::new("activity");
    transactions(asker, &mut section).await;
    prepared(asker, &mut section).await;
    invalid(asker, &mut section).await;
    section
}

async fn transactions(asker: &Asker<'_>, section: &mut Section) {
    let sees_all = asker
        .row(
            section,
            "transactions",
            "SELECT pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE'), CURRENT_USER",
        )
        .await;
    let rows = asker
        .rows(&format!(
            "SELECT a.pid, COALESCE(a.usename::pg_catalog.text, ''), COALESCE(a.application_name, ''), COALESCE(a.state, ''), \
             pg_catalog.date_trunc('second', pg_catalog.clock_timestamp() - a.xact_start)::pg_catalog.text, \
             pg_catalog.left(COALESCE(a.query, ''), 2000) \
             FROM pg_catalog.pg_stat_activity a WHERE a.datname = pg_catalog.current_database() \
             AND a.pid <> pg_catalog.pg_backend_pid() \
             AND a.xact_start < pg_catalog.clock_timestamp() - interval '{LONG} seconds' ORDER BY a.xact_start LIMIT 10"
        ))
        .await
        .unwrap_or_default();
    for row in &rows {
        section.note(
            "long transaction",
            format!(
                "pid {} ({} of {}), {} for {}: {}",
                text(row, 0),
                text(row, 2),
                text(row, 1),
                text(row, 3),
                text(row, 4),
                excerpt(text(row, 5))
            ),
            &format!(
                "its locks and its snapshot hold up DDL and concurrent index builds; if nobody needs it: SELECT \
                 pg_terminate_backend({})",
                text(row, 0)
            ),
        );
    }
    if !flag(&sees_all, 0) {
        section.note(
            "transactions",
            "those of other roles cannot be seen",
            &format!(
                "to see them: GRANT pg_read_all_stats TO {}",
                super::quoted(&sees_all, 1)
            ),
        );
    } else if rows.is_empty() {
        section.ok("transactions", format!("none older than {LONG} s"));
    }
}

async fn prepared(asker: &Asker<'_>, section: &mut Section) {
    let rows = asker
        .rows(
            "SELECT p.gid, p.owner, pg_catalog.date_trunc('second', p.prepared)::pg_catalog.text \
             FROM pg_catalog.pg_prepared_xacts p WHERE p.database = pg_catalog.current_database() ORDER BY p.prepared LIMIT 10",
        )
        .await
        .unwrap_or_default();
    for row in &rows {
        section.note(
            "prepared transaction",
            format!(
                "{:?} of {} since {}",
                text(row, 0),
                text(row, 1),
                text(row, 2)
            ),
            "it keeps its locks for ever: COMMIT PREPARED or ROLLBACK PREPARED",
        );
    }
}

async fn invalid(asker: &Asker<'_>, section: &mut Section) {
    let rows = asker
        .rows(
            "SELECT n.nspname || '.' || c.relname FROM pg_catalog.pg_index i \
             JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE NOT i.indisvalid AND c.relkind = 'i' AND n.nspname !~ '^pg_' \
             AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_stat_progress_create_index p WHERE p.index_relid = c.oid) \
             ORDER BY 1 LIMIT 10",
        )
        .await
        .unwrap_or_default();
    if rows.is_empty() {
        section.ok("invalid indexes", "none");
    }
    for row in &rows {
        section.note(
            "invalid index",
            text(row, 0),
            "no query uses it and every write pays for it: REINDEX INDEX CONCURRENTLY, or DROP INDEX CONCURRENTLY",
        );
    }
}
