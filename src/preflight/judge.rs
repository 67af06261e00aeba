//! What the statements need, held against what the catalog says. Pure.

mod extensions;
mod lookup;
mod state;

use super::{Facts, Finding, Pending, Relation};
use crate::{
    apply::{Job, Mode, journal_grant},
    exit::ExitStatus,
    formats,
    history::{Journal, journal},
    migration::{Migration, quote_ident},
    sql::{
        Name,
        need::{Act, Need, Object, What},
    },
};

use state::Doubt;

/// The oldest release of PostgreSQL that is tested.
const OLDEST: u32 = 12;

/// All findings, in the order in which the run would meet them.
pub fn judge(pending: &Pending<'_>, facts: &Facts) -> Vec<Finding> {
    let mut judge = Judge {
        pending,
        facts,
        doubt: Doubt::new(facts),
        extensions: Vec::new(),
        here: Here::default(),
        findings: Vec::new(),
    };
    judge.server();
    judge.ground();
    for job in pending.jobs {
        if let Some(migration) = pending.migrations.get(job.migration) {
            judge.job(migration, job);
        }
    }
    judge.findings
}

struct Judge<'a> {
    pending: &'a Pending<'a>,
    facts: &'a Facts,
    doubt: Doubt,
    /// Extensions that the run itself makes.
    extensions: Vec<String>,
    here: Here,
    findings: Vec<Finding>,
}

/// Where the judge stands.
#[derive(Debug, Clone, Default)]
struct Here {
    place: String,
    version: Option<String>,
    /// Parts of the file may have run before.
    resumes: bool,
    statement: usize,
    /// The rest of the statement does not count: `IF NOT EXISTS` has met what is there.
    skipped: bool,
    /// The schema of the relation that the statement has named before.
    schema: Option<String>,
}

/// What a finding is about; each is certain under other conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum About {
    /// Nothing before it can change it.
    Server,
    /// A privilege, or an owner.
    Rights,
    /// A name that is taken.
    Conflict,
}

// === impl Judge ===

impl Judge<'_> {
    fn find(&mut self, about: About, status: ExitStatus, message: String, help: String) {
        // What a file has made that was interrupted is there, and not in the way.
        if about == About::Conflict && self.here.resumes {
            return;
        }
        let certain = match about {
            About::Server => true,
            About::Rights => self.doubt.is_sure_of_rights() && !self.here.resumes,
            About::Conflict => self.doubt.is_sure_of_names(),
        };
        self.findings.push(Finding {
            place: self.here.place.clone(),
            version: self.here.version.clone(),
            certain,
            status,
            message,
            help,
        });
    }

    fn refused(&mut self, message: String, help: String) {
        self.find(About::Rights, ExitStatus::Refused, message, help);
    }

    fn doubted(&mut self, message: String, help: String) {
        self.find(About::Rights, ExitStatus::Sql, message, help);
        if let Some(last) = self.findings.last_mut() {
            last.certain = false;
        }
    }

    fn user(&self) -> String {
        quote_ident(&self.facts.user)
    }

    fn grant_create_on_database(&self) -> String {
        format!(
            "as its owner: GRANT CREATE ON DATABASE {} TO {}",
            quote_ident(&self.facts.database),
            self.user()
        )
    }

    fn grant_on_schema(&self, schema: &str) -> String {
        format!(
            "as its owner: GRANT USAGE, CREATE ON SCHEMA {} TO {}",
            quote_ident(schema),
            self.user()
        )
    }

    fn server(&mut self) {
        let major = self.pending.server_version / 10_000;
        if major > 0 && major < OLDEST {
            "the server".clone_into(&mut self.here.place);
            self.doubted(
                format!(
                    "PostgreSQL {major} is older than {OLDEST}, the oldest release that schemagate is tested with"
                ),
                "upgrade the server".to_owned(),
            );
        }
    }

    /// What the run needs before the first migration: its history, and the journal where a file runs in pieces.
    fn ground(&mut self) {
        let Pending {
            history, snapshot, ..
        } = *self.pending;
        self.here = Here {
            place: format!("the history table {}", history.table),
            ..Here::default()
        };
        let schema = &history.table.schema;
        match snapshot.shape {
            None if snapshot.schema_exists => {
                self.lacks_create(schema, true);
            }
            None if !self.facts.creates_schemas => self.no_schema(schema),
            None => {}
            Some(shape) => {
                let found = self.facts.relation(schema, &history.table.table);
                if let Some(found) = found.cloned() {
                    self.existing_history(&found, formats::needs_upgrade(history.format, shape));
                }
            }
        }
        if self.pending.jobs.iter().any(Job::needs_journal) && !self.has_journal() {
            self.here.place = format!("the journal {}", journal::TABLE);
            self.refused(
                "permission denied: a migration that runs in pieces needs the journal".to_owned(),
                journal_grant(&self.facts.database, &self.facts.user),
            );
        }
    }

    fn existing_history(&mut self, table: &Relation, upgrade: bool) {
        if upgrade && !table.owner.own {
            self.not_owner("table", table, false);
        } else if !table.privileges.contains("INSERT") {
            self.lacks(table, "INSERT");
        }
    }

    fn has_journal(&self) -> bool {
        match self.pending.snapshot.journal {
            Journal::Usable => true,
            Journal::Denied => false,
            Journal::NoSchema => self.facts.creates_schemas,
            Journal::NoTable => self
                .facts
                .schema("schemagate")
                .is_none_or(|schema| schema.create),
        }
    }

    fn job(&mut self, migration: &Migration, job: &Job) {
        self.doubt.next_file();
        for need in &job.needs {
            let place = format!("{}:{}", migration.path, need.line);
            if self.here.statement != need.statement || self.here.place != place {
                self.here = Here {
                    place,
                    version: Some(migration.version.clone()),
                    resumes: self.may_resume(job),
                    statement: need.statement,
                    skipped: false,
                    schema: None,
                };
            }
            self.need(need);
        }
    }

    /// A file that runs in pieces may have run in part. Without a journal none has.
    fn may_resume(&self, job: &Job) -> bool {
        matches!(job.mode, Mode::Pieces(_))
            && matches!(
                self.pending.snapshot.journal,
                Journal::Usable | Journal::Denied
            )
    }

    fn need(&mut self, need: &Need) {
        let counts = !self.here.skipped;
        match &need.what {
            What::Create {
                object: Object::Schema,
                name,
                lenient,
            } => self.create_schema(&name.name, *lenient),
            What::Create {
                object,
                name,
                lenient,
            } => {
                if counts && self.create(*object, name, *lenient) {
                    self.here.skipped = true;
                }
                self.doubt.made(name);
            }
            What::Own { object, name, act } => {
                let is_there = !counts || self.own(*object, name, *act);
                // Of several that are dropped each is looked for.
                if !is_there && !matches!(act, Act::Drop { .. }) {
                    self.here.skipped = true;
                }
                self.doubt.changed(*object, name, *act);
            }
            What::Privilege { privilege, name } if counts => self.privilege(privilege, name),
            What::Privilege { .. } => {}
            What::Extension { .. } | What::UpdateExtension { .. } => self.extension(&need.what),
            What::Version { since, feature } => self.version(*since, feature),
            What::Role => self.doubt.role = true,
            What::Path => self.doubt.path = true,
            What::Grants => self.doubt.grants = true,
            What::Opaque => self.doubt.opaque = true,
        }
    }

    fn version(&mut self, since: u32, feature: &str) {
        let major = self.pending.server_version / 10_000;
        if major > 0 && major < since {
            self.find(
                About::Server,
                ExitStatus::Sql,
                format!("{feature} needs PostgreSQL {since}, and the server is {major}"),
                "write it in another way, or upgrade the server".to_owned(),
            );
        }
    }

    /// PostgreSQL asks for the privilege before it looks whether the schema is there.
    fn create_schema(&mut self, name: &str, lenient: bool) {
        if !self.facts.creates_schemas {
            self.no_schema(name);
        } else if let Some(found) = self.facts.schema(name)
            && !lenient
            && self.doubt.is_sure_of(name)
        {
            let message = format!("schema {name} already exists (owner {})", found.owner.name);
            self.conflict(message, "IF NOT EXISTS, or DROP SCHEMA");
        }
        let on_path = self.facts.search_path.contains(name) || self.facts.user == name;
        self.doubt.made_schema(name, on_path);
    }

    fn no_schema(&mut self, schema: &str) {
        let message = format!(
            "permission denied for database {}: CREATE (for schema {schema})",
            self.facts.database
        );
        self.refused(message, self.grant_create_on_database());
    }

    /// Whether it is there already and that is no error.
    fn create(&mut self, object: Object, name: &Name, lenient: bool) -> bool {
        let Some(schema) = self.schema_for(object, name) else {
            return lenient;
        };
        let taken = self.taken(object, &schema, &name.name);
        if lenient && taken.is_some() {
            if object == Object::View
                && let Some(view) = self.facts.relation(&schema, &name.name).cloned()
                && view.kind == "v"
                && !view.owner.own
                && self.doubt.is_sure_of(&name.name)
            {
                self.not_owner("view", &view, false);
            }
            return true;
        }
        if self.lacks_create(&schema, name.schema.is_some()) {
            return false;
        }
        let is_sure = self.doubt.is_sure_of(&name.name)
            && (name.schema.is_some() || self.doubt.is_sure_of_path());
        if let Some((what, inner)) = taken
            && !lenient
            && is_sure
            && !self.doubt.may_be_gone(inner)
        {
            let message = format!(
                "{} {schema}.{} already exists ({what})",
                kind(object),
                name.name
            );
            self.conflict(message, "rename or drop what is there");
        }
        false
    }

    /// `true`: told.
    fn lacks_create(&mut self, schema: &str, qualified: bool) -> bool {
        let lacks = self.facts.schema(schema).is_some_and(|found| !found.create);
        if !lacks || self.doubt.is_made_schema(schema) {
            return lacks;
        }
        if !qualified && !self.doubt.is_sure_of_path() {
            return true;
        }
        self.refused(
            format!("permission denied for schema {schema}: CREATE"),
            self.grant_on_schema(schema),
        );
        true
    }

    fn conflict(&mut self, message: String, way_out: &str) {
        let version = self.here.version.clone().unwrap_or_default();
        let help = format!(
            "{way_out}; if it is what the migration makes: `schemagate baseline --to {version}`"
        );
        self.find(About::Conflict, ExitStatus::Sql, message, help);
    }

    /// `false`: the thing is not there, so what follows in the statement does not happen or fails by itself.
    fn own(&mut self, object: Object, name: &Name, act: Act) -> bool {
        if self.doubt.is_made(name) {
            return true;
        }
        let drops = matches!(act, Act::Drop { .. });
        match object {
            Object::Schema => self.own_schema(&name.name),
            Object::Extension | Object::Routine => {}
            Object::Type | Object::Domain => self.own_type(name, drops),
            _ => return self.own_relation(object, name, drops),
        }
        true
    }

    fn own_schema(&mut self, name: &str) {
        if let Some(schema) = self.facts.schema(name)
            && !schema.owner.own
            && self.doubt.is_sure_of(name)
        {
            let owner = schema.owner.clone();
            let thing = format!("SCHEMA {}", quote_ident(name));
            let help = self.be_owner(&owner, &thing);
            let message = format!("must be owner of schema {name} (owner {})", owner.name);
            self.refused(message, help);
        }
    }

    fn own_type(&mut self, name: &Name, drops: bool) {
        if self.no_usage(name) {
            return;
        }
        let Some(found) = self.type_of(name).cloned() else {
            return;
        };
        if found.owner.own || (drops && self.owns_schema(&found.schema)) {
            return;
        }
        let thing = format!(
            "TYPE {}.{}",
            quote_ident(&found.schema),
            quote_ident(&found.name)
        );
        let help = self.be_owner(&found.owner, &thing);
        let message = format!(
            "must be owner of type {} (owner {})",
            found.name, found.owner.name
        );
        self.refused(message, help);
    }

    fn own_relation(&mut self, object: Object, name: &Name, drops: bool) -> bool {
        if self.no_usage(name) {
            return false;
        }
        let Some(found) = self.relation(name).cloned() else {
            return false;
        };
        self.here.schema = Some(found.schema.clone());
        if !found.owner.own {
            self.not_owner(&object.word().to_ascii_lowercase(), &found, drops);
        }
        true
    }

    fn not_owner(&mut self, word: &str, found: &Relation, drops: bool) {
        // The owner of a schema may drop what is in it.
        if drops && self.owns_schema(&found.schema) {
            return;
        }
        let thing = format!(
            "{} {}.{}",
            lookup::keyword(&found.kind),
            quote_ident(&found.schema),
            quote_ident(&found.name)
        );
        let help = self.be_owner(&found.owner, &thing);
        let message = format!(
            "must be owner of {word} {} (owner {})",
            found.name, found.owner.name
        );
        self.refused(message, help);
    }

    fn owns_schema(&self, name: &str) -> bool {
        self.facts
            .schema(name)
            .is_some_and(|schema| schema.owner.own)
    }

    fn be_owner(&self, owner: &super::ask::Owner, thing: &str) -> String {
        let user = self.user();
        let alter = format!("ALTER {thing} OWNER TO {user}");
        if owner.superuser {
            return format!("as a superuser: {alter}");
        }
        format!(
            "GRANT {} TO {user}, or set SCHEMAGATE_ROLE to the owner, or {alter}",
            quote_ident(&owner.name)
        )
    }

    fn privilege(&mut self, privilege: &str, name: &Name) {
        if self.doubt.is_made(name) || self.no_usage(name) {
            return;
        }
        if let Some(found) = self.relation(name).cloned()
            && lookup::has_rows(&found.kind)
            && !found.privileges.contains(privilege)
        {
            self.lacks(&found, privilege);
        }
    }

    fn lacks(&mut self, found: &Relation, privilege: &str) {
        let message = format!("permission denied for table {}: {privilege}", found.name);
        let help = format!(
            "as its owner: GRANT {privilege} ON TABLE {}.{} TO {}",
            quote_ident(&found.schema),
            quote_ident(&found.name),
            self.user()
        );
        self.refused(message, help);
    }
}

/// What a message calls the namesakes of a thing.
const fn kind(object: Object) -> &'static str {
    match object {
        Object::Type | Object::Domain => "type",
        _ => "relation",
    }
}
