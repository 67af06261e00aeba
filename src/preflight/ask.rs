//! The questions to the catalog, and their answers.

use std::collections::BTreeSet;

use tokio_postgres::Client;

use super::Pending;
use crate::{
    migration::{quote_ident, quote_literal},
    sql::need::{Need, What},
    wire::{self, Row},
};

/// Names that are asked for at most; statements behind them are not checked.
const MAX_NAMES: usize = 4000;

/// What the catalog says, seen by the role that will work.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// `current_user`.
    pub user: String,
    /// `current_database()`.
    pub database: String,
    /// A superuser may everything.
    pub superuser: bool,
    /// May create schemas.
    pub creates_schemas: bool,
    /// Where a name without a schema is created; `None`: nowhere.
    pub current_schema: Option<String>,
    /// `search_path` as it is set.
    pub search_path: String,
    /// The search path was set by somebody who used the same pooled connection before.
    pub path_leaked: bool,
    /// Event triggers that may do anything at any statement.
    pub event_triggers: bool,
    /// The server runs modules that may permit more than the catalog says, as those of cloud providers do.
    pub hooked: bool,
    /// Schemas on the path, and those that are named.
    pub schemas: Vec<Schema>,
    /// Relations with the names that are named, in these schemas.
    pub relations: Vec<Relation>,
    /// Types with these names.
    pub types: Vec<Type>,
    /// Extensions; `None` where they were not asked for.
    pub extensions: Option<Extension>,
}

/// A schema.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Schema {
    /// Its name.
    pub name: String,
    /// Who owns it.
    pub owner: Owner,
    /// Privilege USAGE.
    pub usage: bool,
    /// Privilege CREATE.
    pub create: bool,
    /// Its place on the search path, from 1.
    pub place: Option<u32>,
}

/// Who owns something.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owner {
    /// The role.
    pub name: String,
    /// The own role has its rights.
    pub own: bool,
    /// It is a superuser, whose rights nobody should be given.
    pub superuser: bool,
}

/// A relation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Relation {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// `pg_class.relkind`.
    pub kind: String,
    /// Who owns it.
    pub owner: Owner,
    /// It goes with its parent.
    pub is_partition: bool,
    /// The privileges on it, as `GRANT` calls them.
    pub privileges: BTreeSet<String>,
}

/// A type, other than the row type of a table or an empty shell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Type {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Who owns it.
    pub owner: Owner,
}

/// What is known of extensions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extension {
    /// Those of this database.
    pub installed: Vec<Installed>,
    /// What the server has of those that are named, one for each version.
    pub offered: Vec<Offered>,
}

/// An extension of this database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Installed {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Who owns it.
    pub owner: Owner,
}

/// An extension that the server has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offered {
    /// Its name.
    pub name: String,
    /// One of its versions.
    pub version: String,
    /// That version is what `CREATE EXTENSION` takes by itself.
    pub default: bool,
    /// It takes a superuser.
    pub superuser: bool,
    /// It takes only the right to create in the database (13+).
    pub trusted: bool,
    /// Other extensions that it needs.
    pub requires: Vec<String>,
}

/// Privileges that are asked for, with the function that knows: a column's privilege is enough for some statements.
const PRIVILEGES: [(&str, &str); 7] = [
    ("SELECT", "has_any_column_privilege"),
    ("INSERT", "has_any_column_privilege"),
    ("UPDATE", "has_any_column_privilege"),
    ("DELETE", "has_table_privilege"),
    ("TRUNCATE", "has_table_privilege"),
    ("REFERENCES", "has_any_column_privilege"),
    ("TRIGGER", "has_table_privilege"),
];

/// Prefixes of settings that PostgreSQL's own modules define. Others show a module that may change what is permitted
/// (`rds.`, `cloudsql.`, `azure.`, `supautils.`, `extwlist.`, `pgtle.`).
const OWN_PREFIXES: &str = "^(plpgsql|plperl|pltcl|plpython|pg_stat_statements|auto_explain|pg_trgm|pg_prewarm|\
    pgcrypto|postgres_fdw|isn|auth_delay|sepgsql|basic_archive|pg_hint_plan|pg_cron|cron|pgaudit|timescaledb|pg_plan_advice)\\.";

/// Roles that only cloud providers have.
const PROVIDERS: &str = "'rds_superuser', 'rdsadmin', 'cloudsqlsuperuser', 'alloydbsuperuser', 'azure_pg_admin', \
    'azuresu', 'supabase_admin', 'neon_superuser', 'cloud_admin', 'tsdbadmin', 'avnadmin', 'doadmin', 'heroku_admin'";

/// What is asked for.
#[derive(Debug, Default)]
struct Names {
    /// Of relations and types.
    things: BTreeSet<String>,
    schemas: BTreeSet<String>,
    extensions: BTreeSet<String>,
}

/// Asks.
pub(super) async fn facts(
    client: &Client,
    pending: &Pending<'_>,
) -> Result<Facts, tokio_postgres::Error> {
    let names = Names::of(pending);
    let role = pending.history.role.as_deref();
    let questions = [
        server_sql(),
        names.schemas_sql(),
        names.relations_sql(),
        names.types_sql(),
    ];
    let mut answers = several(client, role, &questions).await?.into_iter();
    let mut next = || answers.next().unwrap_or_default();
    let mut facts = server(&next());
    facts.schemas = next().iter().filter_map(schema).collect();
    facts.relations = next().iter().filter_map(relation).collect();
    facts.types = next().iter().filter_map(type_of).collect();
    if !names.extensions.is_empty() {
        let questions = [
            INSTALLED.replace("OWNER", &owner("e.extowner")),
            names.offered_sql(pending.server_version),
        ];
        // Some servers let nobody look at their files.
        if let Ok(answers) = several(client, role, &questions).await {
            let mut answers = answers.into_iter();
            let mut next = || answers.next().unwrap_or_default();
            facts.extensions = Some(Extension {
                installed: next().iter().filter_map(installed).collect(),
                offered: next().iter().filter_map(offered).collect(),
            });
        }
    }
    Ok(facts)
}

/// Asks several questions in one message, as `role`.
async fn several(
    client: &Client,
    role: Option<&str>,
    questions: &[String],
) -> Result<Vec<Vec<Row>>, tokio_postgres::Error> {
    let all = questions.join(";");
    let role = role.map_or_else(String::new, |role| {
        format!("SET LOCAL ROLE {};", quote_ident(role))
    });
    let before = if role.is_empty() { 1 } else { 2 };
    let sql = format!("BEGIN READ ONLY;{role}{all};COMMIT");
    let mut reply = wire::query(client, &sql).await;
    let mut answers = Vec::new();
    for index in 0..questions.len() {
        match reply.rows(before + index) {
            Ok(rows) => answers.push(rows),
            Err(error) => {
                // The first error matters.
                let _ = wire::execute(client, "ROLLBACK").await;
                return Err(error);
            }
        }
    }
    Ok(answers)
}

// === impl Names ===

impl Names {
    fn of(pending: &Pending<'_>) -> Self {
        let table = &pending.history.table;
        let mut names = Self::default();
        names.things.insert(table.table.clone());
        names.schemas.insert(table.schema.clone());
        names.schemas.insert("schemagate".to_owned());
        for need in pending.jobs.iter().flat_map(|job| &job.needs) {
            if names.things.len() >= MAX_NAMES {
                break;
            }
            names.add(need);
        }
        names
    }

    fn add(&mut self, need: &Need) {
        match &need.what {
            What::Create { object, name, .. } | What::Own { object, name, .. } => {
                if *object == crate::sql::need::Object::Schema {
                    self.schemas.insert(name.name.clone());
                } else if *object == crate::sql::need::Object::Extension {
                    self.extensions.insert(name.name.clone());
                } else {
                    self.schemas.extend(name.schema.clone());
                    self.things.insert(name.name.clone());
                }
            }
            What::Privilege { name, .. } => {
                self.schemas.extend(name.schema.clone());
                self.things.insert(name.name.clone());
            }
            What::Extension { name, .. } | What::UpdateExtension { name, .. } => {
                self.extensions.insert(name.clone());
            }
            What::Version { .. } | What::Role | What::Path | What::Grants | What::Opaque => {}
        }
    }

    /// A database may have thousands of schemas with the same tables in each.
    fn in_schemas(&self) -> String {
        format!(
            "n.nspname IN ({}) OR n.nspname = ANY (pg_catalog.current_schemas(true))",
            list(&self.schemas)
        )
    }

    fn schemas_sql(&self) -> String {
        format!(
            "SELECT n.nspname, {}, pg_catalog.has_schema_privilege(n.oid, 'USAGE'), \
             pg_catalog.has_schema_privilege(n.oid, 'CREATE'), \
             pg_catalog.array_position(pg_catalog.current_schemas(true), n.nspname) \
             FROM pg_catalog.pg_namespace n \
             WHERE {}",
            owner("n.nspowner"),
            self.in_schemas()
        )
    }

    fn relations_sql(&self) -> String {
        let privileges = PRIVILEGES.map(|(privilege, function)| {
            format!(
                "CASE WHEN pg_catalog.{function}(c.oid, '{privilege}') THEN ' {privilege}' ELSE '' END"
            )
        });
        format!(
            "SELECT n.nspname, c.relname, c.relkind, {}, c.relispartition, \
             pg_catalog.concat({}) \
             FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE c.relname IN ({}) AND ({})",
            owner("c.relowner"),
            privileges.join(", "),
            list(&self.things),
            self.in_schemas()
        )
    }

    fn types_sql(&self) -> String {
        format!(
            "SELECT n.nspname, t.typname, {} \
             FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace \
             LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid \
             WHERE t.typname IN ({}) AND t.typcategory <> 'A' AND t.typisdefined \
             AND COALESCE(c.relkind, 'c') = 'c' AND ({})",
            owner("t.typowner"),
            list(&self.things),
            self.in_schemas()
        )
    }

    fn offered_sql(&self, server_version: u32) -> String {
        let trusted = if server_version >= 130_000 {
            "v.trusted"
        } else {
            "false"
        };
        format!(
            "SELECT a.name, v.version, COALESCE(v.version = a.default_version, false), v.superuser, {trusted}, \
             pg_catalog.array_to_string(v.requires, ',') \
             FROM pg_catalog.pg_available_extensions a \
             LEFT JOIN pg_catalog.pg_available_extension_versions v ON v.name = a.name WHERE a.name IN ({})",
            list(&self.extensions)
        )
    }
}

const INSTALLED: &str = "SELECT e.extname, e.extversion, OWNER FROM pg_catalog.pg_extension e";

/// <https://www.postgresql.org/docs/current/view-pg-settings.html>: `source` is `session` for what a `SET` has left.
fn server_sql() -> String {
    format!(
        "SELECT CURRENT_USER, pg_catalog.current_database(), \
         (SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname = CURRENT_USER), \
         pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE'), \
         pg_catalog.current_schema(), pg_catalog.current_setting('search_path'), \
         EXISTS (SELECT 1 FROM pg_catalog.pg_settings s WHERE s.name = 'search_path' AND s.source = 'session'), \
         EXISTS (SELECT 1 FROM pg_catalog.pg_event_trigger t WHERE t.evtenabled <> 'D'), \
         EXISTS (SELECT 1 FROM pg_catalog.pg_settings s WHERE s.name LIKE '%.%' AND s.name !~ {}) \
         OR EXISTS (SELECT 1 FROM pg_catalog.pg_roles r WHERE r.rolname IN ({PROVIDERS}))",
        quote_literal(OWN_PREFIXES)
    )
}

/// Three columns: the owner's name, whether this role has its rights, whether it is a superuser.
fn owner(column: &str) -> String {
    format!(
        "pg_catalog.pg_get_userbyid({column}), pg_catalog.pg_has_role({column}, 'USAGE'), \
         COALESCE((SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.oid = {column}), false)"
    )
}

fn list(names: &BTreeSet<String>) -> String {
    let names: Vec<String> = names.iter().map(|name| quote_literal(name)).collect();
    if names.is_empty() {
        "NULL".to_owned()
    } else {
        names.join(",")
    }
}

fn text(row: &Row, column: usize) -> Option<&str> {
    row.get(column)?.as_deref()
}

fn owned(row: &Row, column: usize) -> String {
    text(row, column).unwrap_or_default().to_owned()
}

fn flag(row: &Row, column: usize) -> bool {
    text(row, column) == Some("t")
}

fn owner_of(row: &Row, column: usize) -> Owner {
    Owner {
        name: owned(row, column),
        own: flag(row, column + 1),
        superuser: flag(row, column + 2),
    }
}

fn server(rows: &[Row]) -> Facts {
    let Some(row) = rows.first() else {
        return Facts::default();
    };
    Facts {
        user: owned(row, 0),
        database: owned(row, 1),
        superuser: flag(row, 2),
        creates_schemas: flag(row, 3),
        current_schema: text(row, 4).map(str::to_owned),
        search_path: owned(row, 5),
        path_leaked: flag(row, 6),
        event_triggers: flag(row, 7),
        hooked: flag(row, 8),
        ..Facts::default()
    }
}

fn schema(row: &Row) -> Option<Schema> {
    Some(Schema {
        name: text(row, 0)?.to_owned(),
        owner: owner_of(row, 1),
        usage: flag(row, 4),
        create: flag(row, 5),
        place: text(row, 6).and_then(|place| place.parse().ok()),
    })
}

fn relation(row: &Row) -> Option<Relation> {
    Some(Relation {
        schema: text(row, 0)?.to_owned(),
        name: owned(row, 1),
        kind: owned(row, 2),
        owner: owner_of(row, 3),
        is_partition: flag(row, 6),
        privileges: owned(row, 7)
            .split_whitespace()
            .map(str::to_owned)
            .collect(),
    })
}

fn type_of(row: &Row) -> Option<Type> {
    Some(Type {
        schema: text(row, 0)?.to_owned(),
        name: owned(row, 1),
        owner: owner_of(row, 2),
    })
}

fn installed(row: &Row) -> Option<Installed> {
    Some(Installed {
        name: text(row, 0)?.to_owned(),
        version: owned(row, 1),
        owner: owner_of(row, 2),
    })
}

fn offered(row: &Row) -> Option<Offered> {
    Some(Offered {
        name: text(row, 0)?.to_owned(),
        version: owned(row, 1),
        default: flag(row, 2),
        superuser: flag(row, 3),
        trusted: flag(row, 4),
        requires: owned(row, 5)
            .split(',')
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect(),
    })
}
