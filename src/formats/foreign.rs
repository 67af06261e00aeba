//! Other tools' history tables: found before the first write into an absent or empty history, so that nobody runs a
//! second time what another tool has run.

use super::{Error, Format};
use crate::exit::ExitStatus;
use crate::migration::{TableName, quote_literal};
use serde::Deserialize;
use std::fmt;

/// A tool's history table.
#[derive(Debug, PartialEq, Eq)]
pub struct Known {
    /// The tool.
    pub tool: &'static str,
    /// The table's name.
    pub table: &'static str,
    /// Columns that tell it from others of the same name.
    pub columns: &'static [&'static str],
    /// Which rows count as history; empty: all.
    pub rows: &'static str,
}

const fn known(tool: &'static str, table: &'static str, columns: &'static [&'static str]) -> Known {
    Known {
        tool,
        table,
        columns,
        rows: "",
    }
}

/// The tools that are known. Where several fit a table, the first counts, so the more special stand first.
pub const KNOWN: &[Known] = &[
    known("golang-migrate", "schema_migrations", &["version", "dirty"]),
    known("Ecto", "schema_migrations", &["version", "inserted_at"]),
    known("dbmate or Rails", "schema_migrations", &["version"]),
    // goose writes a row for version 0 when it creates the table.
    Known {
        tool: "goose",
        table: "goose_db_version",
        columns: &["version_id", "is_applied"],
        rows: "version_id > 0",
    },
    known("sqlx", "_sqlx_migrations", &["version", "checksum"]),
    known("Prisma Migrate", "_prisma_migrations", &["migration_name"]),
    known("Flyway", "flyway_schema_history", &["installed_rank"]),
    known("Flyway", "schema_version", &["installed_rank"]),
    known("refinery", "refinery_schema_history", &["version"]),
    known("node-pg-migrate", "pgmigrations", &["name", "run_on"]),
    known("Knex", "knex_migrations", &["name", "batch"]),
    known("Alembic", "alembic_version", &["version_num"]),
    known("Liquibase", "databasechangelog", &["id", "author"]),
    known("Django", "django_migrations", &["app", "name"]),
    known(
        "Entity Framework",
        "__EFMigrationsHistory",
        &["MigrationId"],
    ),
    known("Sequelize", "SequelizeMeta", &["name"]),
    known("Kysely", "kysely_migration", &["name", "timestamp"]),
    known("MikroORM", "mikro_orm_migrations", &["name", "executed_at"]),
    known("TypeORM", "migrations", &["timestamp", "name"]),
    known("Laravel", "migrations", &["migration", "batch"]),
    known("Drizzle", DRIZZLE, &["hash", "created_at"]),
    known(
        "schemagate",
        "history",
        &["version", "checksum", "duration_ms", "serial"],
    ),
];

/// Names that an application may well have for a table of its own.
const COMMON_NAMES: &[&str] = &["history", "migrations", "schema_version"];

const DRIZZLE: &str = "__drizzle_migrations";

/// A table with the name of one that is [`KNOWN`], as the statement of [`find_sql`] tells it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Candidate {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub table: String,
    /// The role that owns it.
    pub owner: String,
    /// Whether the current role may read it.
    pub readable: bool,
    /// Whether the current role may insert into it.
    pub writable: bool,
    /// Its columns.
    pub columns: Vec<String>,
}

/// Another tool's history table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Whose it is.
    pub known: &'static Known,
    /// Where it is.
    pub table: TableName,
    /// Whether it has the columns of [`Found::known`].
    pub fits: bool,
}

/// Another tool has a history here: [`ExitStatus::History`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreign {
    /// The tables with rows; not empty.
    pub found: Vec<Found>,
    /// The own history table, which is absent or empty.
    pub own: TableName,
    /// The own format.
    pub format: Format,
}

/// What the question for other tools' tables depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    /// The own format.
    pub format: Format,
    /// The own history table.
    pub table: TableName,
    /// Whether `SCHEMAGATE_HISTORY_TABLE` names it. Services that share a database each name their own, so another
    /// table of the same kind is then another service's.
    pub named: bool,
}

/// One statement that lists the candidates in this database as one JSON text a row, for [`parse_candidate`].
pub fn find_sql(own: &Own) -> String {
    let mut names: Vec<&str> = KNOWN.iter().map(|known| known.table).collect();
    names.dedup();
    let names: Vec<String> = names.into_iter().map(quote_literal).collect();
    format!(
        "SELECT pg_catalog.json_build_object('schema', n.nspname, 'table', c.relname, \
         'owner', pg_catalog.pg_get_userbyid(c.relowner), \
         'readable', pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'SELECT'), \
         'writable', pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'INSERT'), \
         'columns', ARRAY(SELECT a.attname FROM pg_catalog.pg_attribute a \
         WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum))::pg_catalog.text \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relname IN ({}) AND c.relkind IN ('r', 'p') AND c.relpersistence <> 't' \
         AND NOT (n.nspname = {} AND c.relname = {}) ORDER BY n.nspname, c.relname",
        names.join(", "),
        quote_literal(&own.table.schema),
        quote_literal(&own.table.table),
    )
}

/// A candidate from the text that the statement of [`find_sql`] gives.
pub fn parse_candidate(json_text: &str) -> Result<Candidate, Error> {
    serde_json::from_str(json_text).map_err(|error| Error::Row {
        reason: format!("catalog: {error}"),
    })
}

/// Another tool's table, unless it is none, or is not this application's:
///
/// - a table that the role may not read or write was never this role's history: another service's in a shared database;
/// - platforms bring tables of their own (Supabase's `auth.schema_migrations`);
/// - a table of the same kind elsewhere, where `SCHEMAGATE_HISTORY_TABLE` says which is ours.
pub fn identify(own: &Own, candidate: &Candidate) -> Option<Found> {
    let has = |column: &&str| candidate.columns.iter().any(|name| name == column);
    let mut named = KNOWN.iter().filter(|known| known.table == candidate.table);
    let fits = |known: &&Known| known.columns.iter().all(&has);
    let known = match named.clone().find(fits) {
        Some(known) => known,
        // The contract goes by the name; only names that many an application uses need the columns too.
        None if COMMON_NAMES.contains(&candidate.table.as_str()) => return None,
        None => named.next()?,
    };
    let same_kind = match known.table {
        DRIZZLE => own.format.is_drizzle(),
        "history" => own.format == Format::Sql,
        _ => false,
    };
    let is_platforms = candidate.owner.starts_with("supabase_") && candidate.schema != "public";
    let is_ours = candidate.readable && candidate.writable && !is_platforms;
    (is_ours && !(same_kind && own.named)).then(|| Found {
        known,
        table: TableName::new(&candidate.schema, &candidate.table),
        fits: fits(&known),
    })
}

/// One statement that gives, as text, the position in `found` of each table that has rows. `None` for no tables.
pub fn has_rows_sql(found: &[Found]) -> Option<String> {
    let questions: Vec<String> = found
        .iter()
        .enumerate()
        .map(|(position, found)| {
            let table = found.table.quoted();
            let rows = match found.known.rows {
                condition if condition.is_empty() || !found.fits => String::new(),
                condition => format!(" WHERE {condition}"),
            };
            format!("SELECT '{position}' WHERE EXISTS (SELECT FROM {table}{rows})")
        })
        .collect();
    (!questions.is_empty()).then(|| questions.join(" UNION ALL "))
}

// === impl Foreign ===

impl Foreign {
    /// The refusal, if any of the positions that the statement of [`has_rows_sql`] gave is in `found`.
    pub fn new(own: &Own, found: &[Found], with_rows: &[usize]) -> Option<Self> {
        let found: Vec<Found> = with_rows
            .iter()
            .filter_map(|position| found.get(*position).cloned())
            .collect();
        (!found.is_empty()).then(|| Self {
            found,
            own: own.table.clone(),
            format: own.format,
        })
    }

    /// [`ExitStatus::History`].
    pub const fn exit_status(&self) -> ExitStatus {
        ExitStatus::History
    }

    /// The ways out.
    pub fn help(&self) -> String {
        let same_kind = self.found.iter().find(|found| {
            found.known.table == DRIZZLE && self.format.is_drizzle()
                || found.known.table == "history" && self.format == Format::Sql
        });
        if let Some(found) = same_kind {
            return format!(
                "if that history is this application's, set SCHEMAGATE_HISTORY_TABLE={}; if it is another \
                 application's, set SCHEMAGATE_HISTORY_TABLE={}",
                found.table, self.own
            );
        }
        let tool = self
            .found
            .first()
            .map_or("the tool", |found| found.known.tool);
        format!(
            "keep {tool} and run it under `schemagate exec`, or, when these files describe what it has already done, \
             mark them with `schemagate baseline --to VERSION`"
        )
    }
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found: Vec<String> = self
            .found
            .iter()
            .map(|found| format!("{} ({})", found.table, found.known.tool))
            .collect();
        write!(
            f,
            "the history table {} is absent or empty, but this database has the history of another tool: {}",
            self.own,
            found.join(", ")
        )
    }
}

impl std::error::Error for Foreign {}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(format: Format, named: bool) -> Own {
        let table = format.default_history_table();
        Own {
            format,
            table,
            named,
        }
    }

    fn candidate(schema: &str, table: &str, columns: &[&str]) -> Candidate {
        Candidate {
            schema: schema.into(),
            table: table.into(),
            owner: "app".into(),
            readable: true,
            writable: true,
            columns: columns.iter().map(|&c| c.to_owned()).collect(),
        }
    }

    #[track_caller]
    fn check(own: &Own, candidate: &Candidate, expected: Option<&str>) {
        assert_eq!(
            identify(own, candidate).map(|found| found.known.tool),
            expected
        );
    }

    #[test]
    fn tells_tables_of_one_name_by_their_columns() {
        let own = own(Format::Sql, false);
        let of = |columns: &[&str]| candidate("public", "schema_migrations", columns);
        check(&own, &of(&["version", "dirty"]), Some("golang-migrate"));
        check(&own, &of(&["version"]), Some("dbmate or Rails"));
        check(&own, &of(&["version", "inserted_at"]), Some("Ecto"));
        check(&own, &of(&["id"]), Some("golang-migrate"));
        check(
            &own,
            &candidate("public", "migrations", &["id", "name"]),
            None,
        );
    }

    #[test]
    fn leaves_other_services_alone() {
        let own = own(Format::DrizzleClassic, false);
        let mut table = candidate("auth", "schema_migrations", &["version"]);
        check(&own, &table, Some("dbmate or Rails"));
        table.owner = "supabase_auth_admin".into();
        check(&own, &table, None);
        table.owner = "app".into();
        table.writable = false;
        check(&own, &table, None);
    }

    #[test]
    fn another_place_of_the_same_kind_counts_until_ours_is_named() {
        let drizzle = candidate(
            "public",
            "__drizzle_migrations",
            &["id", "hash", "created_at"],
        );
        let history = candidate(
            "app",
            "history",
            &["version", "checksum", "duration_ms", "serial"],
        );
        check(&own(Format::DrizzleV1, false), &drizzle, Some("Drizzle"));
        check(&own(Format::DrizzleV1, true), &drizzle, None);
        check(&own(Format::Sql, true), &drizzle, Some("Drizzle"));
        check(&own(Format::Sql, true), &history, None);
        check(&own(Format::DrizzleV1, true), &history, Some("schemagate"));
    }

    #[test]
    fn names_the_ways_out() {
        let own = own(Format::Sql, false);
        let found = identify(
            &own,
            &candidate("public", "alembic_version", &["version_num"]),
        )
        .unwrap();
        assert_eq!(Foreign::new(&own, std::slice::from_ref(&found), &[]), None);
        let foreign = Foreign::new(&own, &[found], &[0]).unwrap();
        assert!(
            foreign
                .to_string()
                .contains("public.alembic_version (Alembic)")
        );
        assert!(foreign.help().contains("schemagate exec"));
        assert!(foreign.help().contains("baseline --to"));
        assert_eq!(foreign.exit_status(), ExitStatus::History);
    }

    #[test]
    fn reads_what_the_catalog_says() {
        let text = r#"{"schema":"public","table":"t","owner":"o","readable":true,"writable":false,"columns":["a"]}"#;
        assert_eq!(parse_candidate(text).unwrap().columns, ["a"]);
        assert!(parse_candidate("{}").is_err());
    }
}
