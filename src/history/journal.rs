//! `schemagate.journal`: append-only notes on who ran what, when and with what end.
//!
//! It lives for ever and two releases may write it at once, so it only ever gains columns.

use crate::migration::{TableName, quote_ident, quote_literal};

/// The journal, qualified.
pub const TABLE: &str = "schemagate.journal";

/// Who writes, the same for every row of a run.
#[derive(Debug, Clone)]
pub struct Author {
    /// The run.
    pub run: uuid::Uuid,
    /// The history it works on.
    pub history: String,
    /// The pod's name, where it is known.
    pub pod: String,
    /// `SCHEMAGATE_APP_VERSION`.
    pub app_version: Option<String>,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A run found something to do and holds the lock.
    RunStarted,
    /// The history was empty: the database is being built from nothing.
    Bootstrap,
    /// A statement outside a transaction is about to run.
    Intent,
    /// A piece of a migration that runs in several pieces is done.
    StatementDone,
    /// A migration is in the history.
    Applied,
    /// A migration or a piece of it failed.
    Failed,
    /// A migration was marked as applied without running it.
    Baselined,
    /// A gate let a migration through because a person approved it.
    Approved,
    /// A backup was taken, as a person or a script notes it.
    Backup,
    /// A person has looked at a migration and put its history right.
    Repaired,
    /// A migration was undone by its down file.
    Reverted,
    /// The schema at the end of a run.
    Fingerprint,
    /// The tool of `exec` ended well; with `SCHEMAGATE_EXEC_ONCE` the version is the marker.
    ExecDone,
    /// A run has ended.
    RunFinished,
}

/// A row to write. Empty parts stay NULL.
#[derive(Debug, Clone)]
pub struct Entry<'a> {
    /// What happened.
    pub kind: Kind,
    /// The migration.
    pub version: Option<&'a str>,
    /// Its checksum.
    pub checksum: Option<&'a str>,
    /// The piece of the migration, from 1.
    pub statement: Option<usize>,
    /// An SQL expression for the milliseconds it took.
    pub duration_ms: Option<&'a str>,
    /// An SQL expression for a `jsonb` with more.
    pub detail: Option<&'a str>,
}

// === impl Kind ===

impl Kind {
    /// The word in column `event`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::RunStarted => "run_started",
            Self::Bootstrap => "bootstrap",
            Self::Intent => "intent",
            Self::StatementDone => "statement_done",
            Self::Applied => "applied",
            Self::Failed => "failed",
            Self::Baselined => "baselined",
            Self::Approved => "approved",
            Self::Backup => "backup",
            Self::Repaired => "repaired",
            Self::Reverted => "reverted",
            Self::Fingerprint => "fingerprint",
            Self::ExecDone => "exec_done",
            Self::RunFinished => "run_finished",
        }
    }

    /// The WAL position is noted where a person may want to go back to.
    const fn notes_wal(self) -> bool {
        matches!(self, Self::RunStarted | Self::RunFinished)
    }
}

// === impl Entry ===

impl<'a> Entry<'a> {
    /// An entry that concerns the whole run.
    pub const fn of(kind: Kind) -> Self {
        Self {
            kind,
            version: None,
            checksum: None,
            statement: None,
            duration_ms: None,
            detail: None,
        }
    }

    /// An entry about a migration.
    pub const fn about(kind: Kind, version: &'a str, checksum: &'a str) -> Self {
        let mut entry = Self::of(kind);
        entry.version = Some(version);
        entry.checksum = Some(checksum);
        entry
    }
}

// === impl Author ===

impl Author {
    /// The `INSERT` for an entry, without a trailing `;`. Only what is known is named: it is part of every migration's
    /// message.
    pub fn insert_sql(&self, entry: &Entry<'_>) -> String {
        let mut columns = String::from("run, history, event, actor");
        let mut values = format!(
            "'{}', {}, '{}', {}",
            self.run,
            quote_literal(&self.history),
            entry.kind.word(),
            self.actor()
        );
        let wal = "pg_catalog.pg_current_wal_insert_lsn()";
        let optional = [
            ("version", entry.version.map(quote_literal)),
            ("checksum", entry.checksum.map(quote_literal)),
            (
                "statement",
                entry.statement.map(|statement| statement.to_string()),
            ),
            ("duration_ms", entry.duration_ms.map(str::to_owned)),
            (
                "app_version",
                self.app_version.as_deref().map(quote_literal),
            ),
            ("wal", entry.kind.notes_wal().then(|| wal.to_owned())),
            ("detail", entry.detail.map(str::to_owned)),
        ];
        for (column, value) in optional {
            if let Some(value) = value {
                columns.push_str(", ");
                columns.push_str(column);
                values.push_str(", ");
                values.push_str(&value);
            }
        }
        format!("INSERT INTO {TABLE} ({columns}) VALUES ({values})")
    }

    /// `role@pod`: the role is the server's own word.
    fn actor(&self) -> String {
        if self.pod.is_empty() {
            "SESSION_USER".to_owned()
        } else {
            format!(
                "SESSION_USER::pg_catalog.text OPERATOR(pg_catalog.||) {}",
                quote_literal(&format!("@{}", self.pod))
            )
        }
    }
}

/// Creates the journal, and its schema unless that exists (`CREATE SCHEMA IF NOT EXISTS` needs CREATE on the database
/// even then).
pub fn create_sql(schema_exists: bool) -> String {
    let schema = if schema_exists {
        String::new()
    } else {
        format!("CREATE SCHEMA {};", quote_ident("schemagate"))
    };
    format!(
        "{schema}CREATE TABLE {TABLE} (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, \
         at pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(), run pg_catalog.uuid NOT NULL, \
         history pg_catalog.text NOT NULL, event pg_catalog.text NOT NULL, version pg_catalog.text, \
         checksum pg_catalog.text, statement int, duration_ms bigint, actor pg_catalog.text, \
         app_version pg_catalog.text, wal pg_catalog.pg_lsn, detail pg_catalog.jsonb)"
    )
}

/// What a migration that runs in pieces has left behind since it was last whole (applied, baselined or repaired): event,
/// piece, checksum, detail and id, oldest first. The first row, `whole`, has the id of the row that said so.
pub fn pieces_sql(table: &TableName, version: &str) -> String {
    let history = quote_literal(&table.to_string());
    let version = quote_literal(version);
    format!(
        "WITH whole AS (SELECT COALESCE(pg_catalog.max(w.id), 0) AS id FROM {TABLE} w WHERE w.history = {history} \
           AND w.version = {version} AND w.event IN ('applied', 'baselined', 'repaired')) \
         SELECT 'whole', NULL::pg_catalog.int4, NULL, NULL, id FROM whole \
         UNION ALL SELECT j.event, j.statement, j.checksum, j.detail::pg_catalog.text, j.id \
         FROM {TABLE} j JOIN whole ON j.id > whole.id WHERE j.history = {history} AND j.version = {version} \
         AND j.event IN ('intent', 'statement_done', 'failed') ORDER BY 5"
    )
}

/// The versions that run in pieces and of which pieces were begun or done since they were last whole.
pub fn half_there_sql(table: &TableName) -> String {
    format!(
        "SELECT DISTINCT j.version FROM {TABLE} j WHERE j.history = {} AND j.event IN ('intent', 'statement_done') \
         AND NOT EXISTS (SELECT FROM {TABLE} w WHERE w.history = j.history AND w.version = j.version AND w.id > j.id \
           AND w.event IN ('applied', 'baselined', 'repaired')) ORDER BY 1",
        quote_literal(&table.to_string())
    )
}

/// The last duration and time of each applied migration: version, time, milliseconds.
pub fn applied_sql(table: &TableName) -> String {
    format!(
        "SELECT DISTINCT ON (version) version, at::pg_catalog.text, duration_ms FROM {TABLE} \
         WHERE history = {} AND event IN ('applied', 'baselined') ORDER BY version, id DESC",
        quote_literal(&table.to_string())
    )
}

/// The versions whose last event is a failure: version, checksum, the message that was noted, SQLSTATE.
pub fn failed_sql(table: &TableName) -> String {
    format!(
        "SELECT version, checksum, detail->>'message', detail->>'sqlstate' FROM (SELECT DISTINCT ON (version) version, checksum, event, detail \
         FROM {TABLE} WHERE history = {} AND event IN ('applied', 'failed', 'baselined', 'repaired') \
         ORDER BY version, id DESC) last WHERE event = 'failed'",
        quote_literal(&table.to_string())
    )
}

/// The newest fingerprint of any history in this database: time, history, detail, whether this server wrote the row itself
/// (a dump's restore writes it in another transaction), and how many migrations and markers were noted after it.
pub fn fingerprint_sql() -> String {
    format!(
        "SELECT j.at::pg_catalog.text, j.history, j.detail::pg_catalog.text, j.xmin::pg_catalog.text = j.detail->>'xid', \
         (SELECT pg_catalog.count(*) FROM {TABLE} w WHERE w.id > j.id \
           AND w.event IN ('applied', 'exec_done', 'reverted')) \
         FROM {TABLE} j WHERE j.event = 'fingerprint' ORDER BY j.id DESC LIMIT 1"
    )
}

/// Everything noted about a history, oldest first: time, run, event, version, statement, milliseconds, actor, version of
/// the application, WAL position, detail.
pub fn notes_sql(history: &str) -> String {
    format!(
        "SELECT at::pg_catalog.text, run::pg_catalog.text, event, version, statement, duration_ms, actor, app_version, \
         wal::pg_catalog.text, CASE event WHEN 'fingerprint' THEN NULL ELSE detail::pg_catalog.text END \
         FROM {TABLE} WHERE history = {} ORDER BY id",
        quote_literal(history)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn author(pod: &str) -> Author {
        Author {
            run: uuid::Uuid::nil(),
            history: "drizzle.__drizzle_migrations".into(),
            pod: pod.into(),
            app_version: None,
        }
    }

    #[test]
    fn values_are_quoted() {
        let entry = Entry::about(Kind::Applied, "0001_it's", "ab");
        let sql = author("o'pod\\").insert_sql(&entry);
        assert!(sql.contains("'0001_it''s'"), "{sql}");
        assert!(
            sql.contains("OPERATOR(pg_catalog.||) E'@o''pod\\\\'"),
            "{sql}"
        );
    }

    #[test]
    fn a_run_notes_the_wal_position_and_a_migration_does_not() {
        let wal = |kind| {
            author("")
                .insert_sql(&Entry::of(kind))
                .contains("pg_current_wal")
        };
        assert!(wal(Kind::RunStarted));
        assert!(!wal(Kind::Applied));
    }

    #[test]
    fn schema_is_created_only_when_absent() {
        assert!(create_sql(false).starts_with("CREATE SCHEMA"));
        assert!(!create_sql(true).contains("CREATE SCHEMA"));
    }
}
