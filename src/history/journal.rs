//! `schemagate.journal`: append-only notes on who ran what, when and with what end.
//!
//! It lives for ever and two releases may write it at once, so it only ever gains columns.

use crate::{
    migration::{TableName, quote_ident, quote_literal},
    sql::Template,
};

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
    /// The database is being built from nothing; the detail's `to` is the version that it is to come to.
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
    /// The `INSERT` for an entry, without a trailing `;`.
    pub fn insert_sql(&self, entry: &Entry<'_>) -> String {
        self.insert(entry).inline()
    }

    /// The same with the migration set apart. Only what is known is named: it is part of every migration's message.
    pub fn insert(&self, entry: &Entry<'_>) -> Template {
        let mut columns = String::from("run, history, event, actor");
        let mut values = Template::new(format!(
            "'{}', {}, '{}', {}",
            self.run,
            quote_literal(&self.history),
            entry.kind.word(),
            self.actor()
        ));
        for (column, value) in [("version", entry.version), ("checksum", entry.checksum)] {
            if let Some(value) = value {
                columns.push_str(", ");
                columns.push_str(column);
                values = values.text(", ").value(quote_literal(value));
            }
        }
        let wal = "pg_catalog.pg_current_wal_insert_lsn()";
        let optional = [
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
                values = values.text(", ").text(&value);
            }
        }
        Template::new(format!("INSERT INTO {TABLE} ({columns}) VALUES ("))
            .then(&values)
            .text(")")
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

/// What makes a migration whole again: all of it is there, or nothing is. Pieces that are noted behind `applied` are those
/// of its down file.
const WHOLE: &str = "'applied', 'reverted', 'baselined', 'repaired'";

/// What a migration that runs in pieces has left behind since it was last whole (applied, undone, baselined or repaired):
/// event, piece, checksum, detail and id, oldest first. The first row, `whole`, has the id of the row that said so.
pub fn pieces_sql(table: &TableName, version: &str) -> String {
    let history = quote_literal(&table.to_string());
    let version = quote_literal(version);
    format!(
        "WITH whole AS (SELECT COALESCE(pg_catalog.max(w.id), 0) AS id FROM {TABLE} w WHERE w.history = {history} \
           AND w.version = {version} AND w.event IN ({WHOLE})) \
         SELECT 'whole', NULL::pg_catalog.int4, NULL, NULL, id FROM whole \
         UNION ALL SELECT j.event, j.statement, j.checksum, j.detail::pg_catalog.text, j.id \
         FROM {TABLE} j JOIN whole ON j.id > whole.id WHERE j.history = {history} AND j.version = {version} \
         AND j.event IN ('intent', 'statement_done', 'failed') ORDER BY 5"
    )
}

/// The versions of which some pieces were run since they were last whole: half applied, or, where the history has them,
/// half undone.
pub fn unfinished_sql(table: &TableName) -> String {
    let history = quote_literal(&table.to_string());
    format!(
        "SELECT DISTINCT version FROM (SELECT DISTINCT ON (j.version, j.statement) j.version, j.event FROM {TABLE} j \
         WHERE j.history = {history} AND j.id > (SELECT COALESCE(pg_catalog.max(w.id), 0) FROM {TABLE} w \
           WHERE w.history = {history} AND w.version = j.version AND w.event IN ({WHOLE})) \
         AND (j.event IN ('intent', 'statement_done') OR j.event = 'failed' AND j.detail->>'undone' = 'true') \
         ORDER BY j.version, j.statement, j.id DESC) last WHERE event <> 'failed' ORDER BY version"
    )
}

/// The last duration and time of each applied migration: version, time, milliseconds.
pub fn applied_sql(table: &TableName) -> String {
    format!(
        "SELECT version, at, duration_ms FROM (SELECT DISTINCT ON (version) version, at::pg_catalog.text, duration_ms, event \
         FROM {TABLE} WHERE history = {} AND event IN ('applied', 'baselined', 'reverted') ORDER BY version, id DESC) last \
         WHERE event <> 'reverted'",
        quote_literal(&table.to_string())
    )
}

/// The versions whose last event is a failure: version, checksum, the message that was noted, SQLSTATE.
pub fn failed_sql(table: &TableName) -> String {
    format!(
        "SELECT version, checksum, detail->>'message', detail->>'sqlstate' FROM (SELECT DISTINCT ON (version) version, checksum, event, detail \
         FROM {TABLE} WHERE history = {} AND event IN ({WHOLE}, 'failed') \
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

/// What is not whole: for each version that was begun in pieces or failed since it was last applied, undone, baselined or repaired,
/// the last of those rows, how many pieces are done, how many were begun and are not, and how often it failed.
pub fn marks_sql(table: &TableName) -> String {
    format!(
        "WITH whole AS (SELECT w.version, pg_catalog.max(w.id) AS id FROM {TABLE} w WHERE w.history = {history} \
           AND w.event IN ({WHOLE}) GROUP BY w.version), \
         pieces AS (SELECT j.version, j.id, j.event, j.statement, j.detail->>'undone' AS undone FROM {TABLE} j LEFT JOIN whole ON whole.version = j.version \
           WHERE j.history = {history} AND j.version IS NOT NULL AND j.event IN ('intent', 'statement_done', 'failed') \
           AND j.id > COALESCE(whole.id, 0)) \
         SELECT version, pg_catalog.max(id), \
           pg_catalog.count(DISTINCT statement) FILTER (WHERE event = 'statement_done'), \
           pg_catalog.count(DISTINCT statement) FILTER (WHERE event = 'intent' AND NOT EXISTS (SELECT 1 FROM pieces d \
             WHERE d.version = pieces.version AND d.statement = pieces.statement \
             AND (d.event = 'statement_done' OR d.undone = 'true' AND d.id > pieces.id))), \
           pg_catalog.count(*) FILTER (WHERE event = 'failed') \
         FROM pieces GROUP BY version ORDER BY 2",
        history = quote_literal(&table.to_string())
    )
}

/// Fails with [`crate::formats::MOVED_ON`] when the journal has a later row about a version than the one that was seen. An
/// approval does nothing yet: a run may have ended between it and its work.
pub fn nothing_since_sql(table: &TableName, version: &str, last: i64) -> String {
    format!(
        "SELECT ('{}, journal row ' OPERATOR(pg_catalog.||) id::pg_catalog.text)::pg_catalog.int4 FROM {TABLE} \
         WHERE history = {} AND version = {} AND id > {last} AND event <> 'approved' LIMIT 1",
        crate::formats::MOVED_ON,
        quote_literal(&table.to_string()),
        quote_literal(version)
    )
}

/// The last row about each of these versions, newest first: event, what a repair was, time, who.
pub fn last_sql(table: &TableName, versions: &[&str]) -> String {
    let versions: Vec<String> = versions
        .iter()
        .map(|version| quote_literal(version))
        .collect();
    format!(
        "SELECT event, detail->>'what', at::pg_catalog.text, actor FROM {TABLE} WHERE history = {} AND version IN ({}) \
         ORDER BY id DESC LIMIT 1",
        quote_literal(&table.to_string()),
        versions.join(", ")
    )
}

/// The last repair of anything in a history: its id, NULL where there was none.
pub fn repaired_sql(table: &TableName) -> String {
    format!(
        "SELECT pg_catalog.max(id) FROM {TABLE} WHERE history = {} AND event = 'repaired'",
        quote_literal(&table.to_string())
    )
}

/// What is noted about a history, oldest first, no more than the `newest` so many: time, run, event, version, statement,
/// milliseconds, actor, version of the application, WAL position, detail.
///
/// Of a fingerprint, which is a whole schema, only the plain values are asked for. A run took as long as it is from its
/// first row to its last.
pub fn notes_sql(history: &str, newest: Option<u32>) -> String {
    let limit = newest.map_or_else(String::new, |newest| format!(" LIMIT {newest}"));
    format!(
        "SELECT at::pg_catalog.text, run::pg_catalog.text, event, version, statement, \
           COALESCE(duration_ms, CASE WHEN event = 'run_finished' \
             THEN (EXTRACT(EPOCH FROM at - schemagate_began) * 1000)::pg_catalog.int8 END), actor, app_version, \
           wal::pg_catalog.text, CASE WHEN event <> 'fingerprint' THEN detail::pg_catalog.text \
           WHEN pg_catalog.jsonb_typeof(detail) = 'object' THEN (SELECT pg_catalog.jsonb_object_agg(facts.key, facts.value) \
             FROM pg_catalog.jsonb_each(detail) facts WHERE pg_catalog.jsonb_typeof(facts.value) IN \
             ('string', 'number', 'boolean') AND pg_catalog.length(facts.value::pg_catalog.text) < 200)::pg_catalog.text END \
         FROM (SELECT j.*, pg_catalog.min(at) OVER (PARTITION BY run) AS schemagate_began FROM {TABLE} j WHERE history = {} \
           ORDER BY id DESC{limit}) last ORDER BY id",
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
