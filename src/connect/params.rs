//! Where the settings come from, and their order: the URL, a service file, the `PG*` variables, defaults.
//!
//! That order is libpq's (`conninfo_add_defaults`): a service wins over the variables. Files are not read here but at
//! every attempt, so that a rotated secret is noticed.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::ahead::Ahead;
use super::error::Error;
use super::once::Once;
use super::secret::Secret;
use super::settings::Settings;
use super::target::{SessionAttrs, Target};
use super::url;
use crate::problem::Problem;

/// How to reach the database. Its `Debug` shows no password; one in a file is not even held.
#[derive(Debug, Clone)]
pub struct Params {
    url: Url,
    variables: Settings,
    password_file: Option<PathBuf>,
    service: ServiceFiles,
    home: Option<String>,
    application_name: String,
    primary: bool,
    /// See [`Params::in_database`].
    other_database: Option<String>,
    once: Once,
    ahead: Ahead,
}

#[derive(Debug, Clone)]
enum Url {
    None,
    Inline {
        settings: Settings,
        /// For a program that is to reach the same database.
        written: Secret,
    },
    /// Read again at every attempt.
    File {
        variable: &'static str,
        path: PathBuf,
    },
}

#[derive(Debug, Clone)]
struct ServiceFiles {
    /// `~/.pg_service.conf`, unless `PGSERVICEFILE` says otherwise.
    own: Option<PathBuf>,
    /// `pg_service.conf` in `PGSYSCONFDIR`.
    system: Option<PathBuf>,
}

/// Hosts, database and user, for messages. Never a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseLabel {
    /// `host:port`, or a socket's path.
    pub hosts: Vec<String>,
    /// The database.
    pub database: String,
    /// The user.
    pub user: String,
}

/// The variables with a URL, the first of which wins; each also exists with `_FILE`.
const URLS: [(&str, &str); 2] = [
    ("SCHEMAGATE_DATABASE_URL", "SCHEMAGATE_DATABASE_URL_FILE"),
    ("DATABASE_URL", "DATABASE_URL_FILE"),
];

type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

// === impl Params ===

impl Params {
    /// Reads the variables, and nothing else. `var` looks one up; flags have been merged into it. `application_name` is
    /// what sessions are called unless the user says otherwise. Also returns warnings.
    pub fn from_vars(
        var: Lookup<'_>,
        application_name: &str,
    ) -> Result<(Self, Vec<String>), Vec<Problem>> {
        let var = |name: &str| var(name).filter(|value| !value.is_empty());
        let mut problems = Vec::new();
        let (url, warnings) = Url::from_variables(&var).unwrap_or_else(|found| {
            problems.extend(found);
            (Url::None, Vec::new())
        });
        if problems.is_empty() && !Self::is_configured(&var) {
            problems.push(Problem::new(
                "SCHEMAGATE_DATABASE_URL",
                "no database is named: set it, DATABASE_URL, or PGHOST and the other variables of libpq",
            ));
        }
        if var("PGPASSWORD").is_some() && var("PGPASSWORD_FILE").is_some() {
            problems.push(Problem::new(
                "PGPASSWORD",
                "set either this or PGPASSWORD_FILE",
            ));
        }
        let home = var("HOME");
        let in_home = |name| home.as_ref().map(|home| Path::new(home).join(name));
        let params = Self {
            url,
            variables: Settings::from_variables(&var),
            password_file: var("PGPASSWORD_FILE").map(PathBuf::from),
            service: ServiceFiles {
                own: in_home(".pg_service.conf"),
                system: var("PGSYSCONFDIR")
                    .map(|folder| Path::new(&folder).join("pg_service.conf")),
            },
            home,
            application_name: application_name.to_owned(),
            primary: false,
            other_database: None,
            once: Once::default(),
            ahead: Ahead::default(),
        };
        if problems.is_empty() && params.is_known_without_files() {
            problems.extend(
                params
                    .target(&Settings::default())
                    .err()
                    .unwrap_or_default(),
            );
        }
        if problems.is_empty() {
            Ok((params, warnings))
        } else {
            Err(problems)
        }
    }

    /// Does any variable name a database? Commands that also work without one ask this first.
    pub fn is_configured(var: Lookup<'_>) -> bool {
        const ENOUGH: [&str; 6] = [
            "PGHOST",
            "PGHOSTADDR",
            "PGSERVICE",
            "PGDATABASE",
            "PGPORT",
            "PGUSER",
        ];
        let urls = URLS.iter().flat_map(|(inline, file)| [*inline, *file]);
        urls.chain(ENOUGH)
            .any(|name| var(name).is_some_and(|value| !value.is_empty()))
    }

    /// From now on a standby is not acceptable: such a server counts as one that is not there yet. A stricter wish of
    /// the user (`read-write`) stays; one that contradicts is a problem.
    ///
    /// What is asked for is `primary`, not `read-write`: a role with `default_transaction_read_only` can migrate, for
    /// migrations begin their transactions READ WRITE.
    pub fn require_primary(&mut self) -> Result<(), Problem> {
        self.primary = true;
        // In a file, it is found at the attempt.
        match self.inline().value("target_session_attrs") {
            Some("standby" | "read-only") => Err(no_primary(&self.inline())),
            _ => Ok(()),
        }
    }

    /// The same server and the same user, in another database. A password file is still asked for the database of the
    /// settings.
    #[must_use]
    pub fn in_database(&self, name: &str) -> Self {
        Self {
            other_database: Some(name.to_owned()),
            ..self.clone()
        }
    }

    /// Hosts, database and user. `None` while they stand in a file that was not read yet.
    pub fn database_label(&self) -> Option<DatabaseLabel> {
        let target = self.target(&Settings::default()).ok();
        target
            .filter(|_| self.is_known_without_files())
            .map(|target| DatabaseLabel::of(&target))
    }

    /// The database's name, also where it stands in a file, which is read for it; `None` where that cannot be done.
    pub fn database_name(&self) -> Option<String> {
        let target = self.target(&self.files().ok()?).ok()?;
        Some(DatabaseLabel::of(&target).database)
    }

    /// Begins to reach the first host while the caller goes on with something else; the first attempt finds what came of it.
    /// Says nothing to the server yet, and nothing of an error, which the attempt will meet again.
    pub async fn begin(&self) {
        let Ok(target) = self.resolve() else {
            return;
        };
        if let Some(first) = target.endpoints.first().filter(|_| !target.load_balance) {
            self.ahead.begin(first.clone(), target.socket);
            // It runs when this task pauses, as far as it comes without waiting.
            tokio::task::yield_now().await;
        }
    }

    /// Everything for one attempt. Reads the files.
    pub(super) fn resolve(&self) -> Result<Arc<Target>, Error> {
        let files = self.files()?;
        let mut target = self.target(&files).map_err(Error::Settings)?;
        if target.password.is_none()
            && let Some(path) = &self.password_file
        {
            let secret = Secret::from_file_content(read("password file", path)?);
            target.password = Some(secret).filter(|secret| !secret.is_empty());
        }
        target.once = self.once.clone();
        target.ahead = self.ahead.clone();
        Ok(Arc::new(target))
    }

    /// What stands in files: the URL's, then the service's.
    fn files(&self) -> Result<Settings, Error> {
        let mut settings = match &self.url {
            Url::File { variable, path } => self.url_file(variable, path)?,
            Url::None | Url::Inline { .. } => Settings::default(),
        };
        let all = self.inline_url().over(&settings).over(&self.variables);
        if let Some(section) = all.value("service") {
            let named = all.value("servicefile").map(Path::new);
            settings = settings.over(&self.service.read(section, named)?);
        }
        Ok(settings)
    }

    fn url_file(&self, variable: &str, path: &Path) -> Result<Settings, Error> {
        let holder = format!("{variable} ({})", path.display());
        let text = String::from_utf8(read("file with the URL", path)?)
            .map_err(|_| Error::file("file with the URL", path, "is no UTF-8"))?;
        let (settings, warnings) = url::parse(&holder, &text).map_err(Error::Settings)?;
        for warning in warnings {
            self.once.warn(&warning);
        }
        Ok(settings)
    }

    /// `files` are the settings that were read from files; they stand between an inline URL and the variables.
    fn target(&self, files: &Settings) -> Result<Target, Vec<Problem>> {
        let settings = self.inline_url().over(files).over(&self.variables);
        let mut target = Target::new(&settings, &self.application_name, self.home.as_deref())?;
        if let Some(name) = &self.other_database {
            let settings = std::mem::replace(&mut target.database, name.clone());
            target.password_database = Some(settings);
        }
        if self.primary {
            target.session = match target.session {
                SessionAttrs::Any | SessionAttrs::PreferStandby | SessionAttrs::Primary => {
                    SessionAttrs::Primary
                }
                SessionAttrs::ReadWrite => SessionAttrs::ReadWrite,
                SessionAttrs::Standby | SessionAttrs::ReadOnly => {
                    return Err(vec![no_primary(&settings)]);
                }
            };
        }
        Ok(target)
    }

    fn inline_url(&self) -> Settings {
        match &self.url {
            Url::Inline { settings, .. } => settings.clone(),
            Url::None | Url::File { .. } => Settings::default(),
        }
    }

    fn inline(&self) -> Settings {
        self.inline_url().over(&self.variables)
    }

    fn is_known_without_files(&self) -> bool {
        !matches!(self.url, Url::File { .. }) && self.inline().value("service").is_none()
    }
}

fn no_primary(settings: &Settings) -> Problem {
    settings.problem(
        "target_session_attrs",
        "this command writes, so expected primary, read-write or any",
    )
}

fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|error| Error::file(what, path, &error.to_string()))
}

// === impl Url ===

impl Url {
    fn from_variables(var: Lookup<'_>) -> Result<(Self, Vec<String>), Vec<Problem>> {
        for (inline, file) in URLS {
            match (var(inline), var(file)) {
                (Some(_), Some(_)) => {
                    return Err(vec![Problem::new(
                        inline,
                        format!("set either this or {file}"),
                    )]);
                }
                (Some(text), None) => {
                    let (settings, warnings) = url::parse(inline, &text)?;
                    let written = Secret::new(text.trim());
                    return Ok((Self::Inline { settings, written }, warnings));
                }
                (None, Some(path)) => {
                    let path = path.into();
                    return Ok((
                        Self::File {
                            variable: file,
                            path,
                        },
                        Vec::new(),
                    ));
                }
                (None, None) => {}
            }
        }
        Ok((Self::None, Vec::new()))
    }
}

// === impl ServiceFiles ===

impl ServiceFiles {
    /// The section in the user's file, else in the system's, as in libpq.
    fn read(&self, section: &str, named: Option<&Path>) -> Result<Settings, Error> {
        const WHAT: &str = "service file";
        let files = [named.or(self.own.as_deref()), self.system.as_deref()];
        let mut missing = None;
        for path in files.into_iter().flatten() {
            let text = match std::fs::read_to_string(path) {
                Ok(text) => text,
                Err(error) if error.kind() == io::ErrorKind::NotFound && named != Some(path) => {
                    continue;
                }
                Err(error) => return Err(Error::file(WHAT, path, &error.to_string())),
            };
            match url::from_service(&path.display().to_string(), section, &text) {
                Ok(Some(settings)) => return Ok(settings),
                Ok(None) => missing = Some(path),
                Err(problem) => return Err(Error::Settings(vec![problem])),
            }
        }
        let why = format!("no definition of service {section:?} was found");
        let holder = missing.map_or("PGSERVICE".to_owned(), |path| path.display().to_string());
        Err(Error::Settings(vec![Problem::new(holder, why)]))
    }
}

// === impl DatabaseLabel ===

impl DatabaseLabel {
    pub(super) fn of(target: &Target) -> Self {
        Self {
            hosts: target.endpoints.iter().map(ToString::to_string).collect(),
            database: target.database.clone(),
            user: target.user.clone(),
        }
    }
}

impl fmt::Display for DatabaseLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            hosts,
            database,
            user,
        } = self;
        write!(
            f,
            "database {database:?} at {} as {user:?}",
            hosts.join(",")
        )
    }
}

mod handed;
#[cfg(test)]
mod tests;
