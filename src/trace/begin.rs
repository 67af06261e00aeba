//! The transaction of a trace: its beginning, its limits, the cleaning between two files, its end.

use std::time::Duration;

use super::{
    Error, LOCK_TIMEOUT, Observed, Tracer,
    look::{LOCKS, STAMP, relations_sql},
};
use crate::{
    apply::{
        Limits,
        frame::{READABLE, RESETS, Statements, milliseconds, set},
        leaks::Leaks,
    },
    lock::Holder,
    migration::{Migration, quote_ident, quote_literal},
    wire,
};

/// Other clients of this database, ten kinds at most. Of another role's session an unprivileged one sees neither kind
/// nor state, but that there is one, and its name; the server's own workers have no user.
const OTHERS: &str = "\
    SELECT COALESCE(NULLIF(application_name, ''), usename::pg_catalog.text, '?'), pg_catalog.count(*) \
    FROM pg_catalog.pg_stat_activity \
    WHERE datname OPERATOR(pg_catalog.=) pg_catalog.current_database() \
    AND pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid() AND usesysid IS NOT NULL \
    AND COALESCE(backend_type, 'client backend') OPERATOR(pg_catalog.=) 'client backend' \
    AND pg_catalog.left(COALESCE(application_name, ''), 11) OPERATOR(pg_catalog.<>) 'schemagate/' \
    GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 10";

/// How often they are looked for again, and when.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(100);

// === impl Tracer ===

impl Tracer<'_> {
    /// Opens the transaction, and refuses where it would be in the way.
    pub(super) async fn begin(&mut self) -> Result<(), Error> {
        let mut sql = Statements::default();
        sql.push("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE");
        self.push_settings(&mut sql);
        self.push_limits(&self.params.limits, &mut sql);
        let first = sql.count;
        let keys = &self.params.frame.keys;
        sql.push(&format!("SELECT {}", keys.try_both()));
        sql.push(&Holder::select_sql(keys));
        sql.push(OTHERS);
        sql.push(STAMP);
        sql.push(&relations_sql());
        self.push_role(&mut sql);
        let history = sql.count;
        sql.push(&self.history_sql());
        sql.push(LOCKS);
        let mut reply = wire::query(self.session.client(), &sql.sql).await;
        let won = reply.scalar(first).map_err(Error::of_own)?;
        let holder = reply.rows(first + 1).map_err(Error::of_own)?;
        let mut others = reply.rows(first + 2).map_err(Error::of_own)?;
        if won.as_deref() != Some("t") {
            let holder = holder.first().and_then(Holder::from_row);
            return Err(Error::LockHeld(holder.map(Box::new)));
        }
        // One that has just said good-bye is not gone yet.
        let mut tries = TRIES;
        while !others.is_empty() && !self.params.force && tries > 0 {
            tries -= 1;
            tokio::time::sleep(PAUSE).await;
            let sql = format!("SELECT pg_catalog.pg_stat_clear_snapshot();{OTHERS}");
            let mut reply = wire::query(self.session.client(), &sql).await;
            others = reply.rows(1).map_err(Error::of_own)?;
        }
        if !others.is_empty() && !self.params.force {
            return Err(Error::Others(others.iter().filter_map(other).collect()));
        }
        self.stamp = reply.scalar(first + 3).map_err(Error::of_own)?;
        let relations = reply.rows(first + 4).map_err(Error::of_own)?;
        self.looker.know(&relations);
        let same = reply.scalar(history).map_err(Error::of_own)?;
        // What our own questions have locked is not the files' doing.
        let locks = reply.rows(history + 1).map_err(Error::of_own)?;
        self.looker.see(&locks, &mut Observed::default());
        if same.as_deref() == Some("t") {
            Ok(())
        } else {
            Err(Error::Moved)
        }
    }

    /// Whether the history is as it was looked at, asked behind the lock.
    fn history_sql(&self) -> String {
        let table = &self.params.history.table;
        match self.params.rows {
            Some(rows) => format!(
                "SELECT pg_catalog.count(*) OPERATOR(pg_catalog.=) {rows} FROM {}",
                table.quoted()
            ),
            None => format!(
                "SELECT pg_catalog.count(*) OPERATOR(pg_catalog.=) 0 FROM pg_catalog.pg_class c \
                 JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace \
                 WHERE n.nspname OPERATOR(pg_catalog.=) {} AND c.relname OPERATOR(pg_catalog.=) {}",
                quote_literal(&table.schema),
                quote_literal(&table.table)
            ),
        }
    }

    /// How the server reads us, and how it notices that we are gone.
    fn push_settings(&self, sql: &mut Statements) {
        for (name, value) in READABLE {
            sql.push(&set("LOCAL ", name, value));
        }
        for (name, value) in self.params.frame.watchfulness() {
            sql.push(&set("LOCAL ", name, &value));
        }
    }

    fn push_role(&self, sql: &mut Statements) {
        if let Some(role) = &self.params.frame.role {
            sql.push(&format!("SET LOCAL ROLE {}", quote_ident(role)));
        }
    }

    /// What is left of the time, as limits of the server; said before every statement, for time passes and files set
    /// limits of their own.
    pub(super) fn push_limits(&self, limits: &Limits, sql: &mut Statements) {
        let left = self.left();
        let reserve = self.reserve();
        let most = self.room();
        let statement = limits.statement.map_or(most, |limit| limit.min(most));
        let lock = limits
            .lock
            .map_or(LOCK_TIMEOUT, |limit| limit.min(LOCK_TIMEOUT));
        let mut settings = vec![
            ("idle_in_transaction_session_timeout", reserve),
            ("statement_timeout", statement),
            ("lock_timeout", lock),
        ];
        if self.params.frame.server_version >= 170_000 {
            // It counts from the first time that it is said.
            settings.push(("transaction_timeout", left));
        }
        for (name, limit) in settings {
            sql.push(&set("LOCAL ", name, &milliseconds(Some(limit))));
        }
    }

    /// The limits of a file: its directives, else the settings; no limit is none of its own.
    pub(super) fn limits_of(&self, migration: &Migration) -> Limits {
        let directives = &migration.directives;
        let given = |limit: Duration| (!limit.is_zero()).then_some(limit);
        Limits {
            lock: directives
                .lock_timeout
                .map_or(self.params.limits.lock, given),
            statement: directives
                .statement_timeout
                .map_or(self.params.limits.statement, given),
        }
    }

    /// Undoes what a file has set, as a run does behind each.
    pub(super) async fn clean(&mut self) -> Result<(), Error> {
        let mut sql = Statements::default();
        for reset in RESETS {
            sql.push(reset);
        }
        self.push_limits(&self.params.limits, &mut sql);
        sql.push("DISCARD TEMP");
        sql.push("CLOSE ALL");
        self.push_settings(&mut sql);
        self.push_role(&mut sql);
        let reply = wire::execute(self.session.client(), &sql.sql).await;
        reply.ok().map_err(Error::of_own)
    }

    /// The end. Nothing of the files stays on a connection that a pooler gives to the application.
    pub(super) async fn roll_back(&self) -> Result<(), Error> {
        let mut sql = Statements::default();
        sql.push("ROLLBACK");
        if !self.params.frame.direct {
            let locks = Leaks {
                prepares: false,
                ..self.leaks
            };
            sql.append(&self.params.frame.untransactional(locks));
            // The driver prepares too, to look up types; what others have prepared stays.
            if let Some(stamp) = &self.stamp {
                sql.push(&format!(
                    "DO $schemagate$ DECLARE name pg_catalog.text; BEGIN \
                     FOR name IN SELECT p.name FROM pg_catalog.pg_prepared_statements p \
                     WHERE p.prepare_time OPERATOR(pg_catalog.>=) {}::pg_catalog.timestamptz LOOP \
                     EXECUTE pg_catalog.format('DEALLOCATE %I', name); END LOOP; END $schemagate$",
                    quote_literal(stamp)
                ));
            }
        }
        let reply = wire::execute(self.session.client(), &sql.sql).await;
        if reply.completed == 0 {
            // Then the session is over, and with it the transaction.
            return reply.ok().map_err(Error::of_own);
        }
        Ok(())
    }
}

fn other(row: &wire::Row) -> Option<(String, u64)> {
    let name = row.first()?.clone()?;
    let count = row.get(1)?.as_ref()?.parse().ok()?;
    Some((name, count))
}
