//! Why there is no session.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::classify::{Class, chain, classify, describe, is_refused_login};
use crate::exit::ExitStatus;
use crate::problem::Problem;

/// Why no session came to be, or why a statement could not be cancelled. Never holds a password.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A file with settings (a URL, a service) holds mistakes.
    Settings(Vec<Problem>),
    /// A file that the settings name cannot be used.
    File {
        /// What it should be: `password file`, `root certificates`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it cannot be used.
        why: String,
    },
    /// A name was not found.
    Lookup {
        /// The name, with its port.
        host: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// The socket failed.
    Io {
        /// The server's address.
        peer: String,
        /// What the system said.
        source: io::Error,
    },
    /// No session within the time for one address.
    Timeout {
        /// The server's address.
        peer: String,
        /// That time.
        limit: Duration,
        /// Whether something there has taken the connection; `None` where nobody has looked.
        opened: Option<bool>,
    },
    /// There was a session, and the first question had no answer in time.
    NoAnswer {
        /// The server's address.
        peer: String,
    },
    /// TLS is required, and the server has none.
    TlsNotOffered {
        /// The server's address.
        peer: String,
    },
    /// One side does not trust the other, or they have no language in common.
    Tls {
        /// The server's address.
        peer: String,
        /// What is wrong.
        reason: String,
        /// What to do.
        help: String,
    },
    /// The TLS settings cannot be used.
    TlsSetup(String),
    /// The server asks for a password, and there is none.
    PasswordMissing {
        /// The server's address.
        peer: String,
        /// The database user.
        user: String,
    },
    /// `require_auth` does not allow what the server asks for.
    AuthRefused {
        /// The server's address.
        peer: String,
        /// What it asked for.
        why: String,
    },
    /// The server, or a pooler before it, refused, or the session broke while it started.
    Server {
        /// The server's address.
        peer: String,
        /// What it said.
        source: tokio_postgres::Error,
    },
    /// A standby where a primary is needed, or the like.
    Role {
        /// The server's address.
        peer: String,
        /// The word of `target_session_attrs`.
        wanted: &'static str,
        /// What the server is.
        found: &'static str,
    },
    /// Several servers, addresses or ways were tried; the last one decides.
    Several(Vec<Error>),
    /// The time for waiting is over.
    GaveUp {
        /// How long it was tried.
        waited: Duration,
        /// How often.
        attempts: u32,
        /// The last error.
        last: Box<Error>,
    },
    /// The server gave no key, so nothing can be cancelled from outside the session.
    NoCancelKey,
}

// === impl Error ===

impl Error {
    pub(super) fn io(peer: &str, source: io::Error) -> Self {
        Self::Io {
            peer: peer.to_owned(),
            source,
        }
    }

    pub(super) fn file(what: &'static str, path: &Path, why: &str) -> Self {
        Self::File {
            what,
            path: path.to_owned(),
            why: why.to_owned(),
        }
    }

    pub(super) fn tls_setup(why: String) -> Self {
        Self::TlsSetup(why)
    }

    /// One error of many; `errors` in the order in which they happened.
    pub(super) fn several(mut errors: Vec<Self>) -> Self {
        match errors.pop() {
            Some(only) if errors.is_empty() => only,
            Some(last) => {
                errors.push(last);
                Self::Several(errors)
            }
            None => Self::TlsSetup("no host to connect to".to_owned()),
        }
    }

    /// Is it worth another attempt?
    pub fn class(&self) -> Class {
        match self {
            Self::Settings(_) | Self::File { .. } | Self::TlsSetup(_) => {
                Class::Permanent(ExitStatus::Usage)
            }
            Self::TlsNotOffered { .. }
            | Self::Tls { .. }
            | Self::PasswordMissing { .. }
            | Self::AuthRefused { .. } => Class::Permanent(ExitStatus::Refused),
            Self::Server { source, .. } => match classify(source) {
                // Nothing was asked yet but what every server answers, so only the session's start can have failed.
                Class::Statement if is_refused_login(source) => {
                    Class::Permanent(ExitStatus::Refused)
                }
                Class::Statement => Class::ConnectionLost,
                class => class,
            },
            Self::Several(errors) => errors.last().map_or(Class::ConnectionLost, Self::class),
            Self::GaveUp { last, .. } => last.class(),
            Self::Role { .. } | Self::NoCancelKey => Class::Transient,
            Self::Lookup { .. }
            | Self::Io { .. }
            | Self::Timeout { .. }
            | Self::NoAnswer { .. } => Class::ConnectionLost,
        }
    }

    /// Time alone passed, or a pooler repeats that it does not try just now: an error before says more.
    pub(super) fn says_little(&self) -> bool {
        match self {
            Self::Timeout { .. } | Self::NoAnswer { .. } => true,
            Self::Server { source, .. } => source
                .as_db_error()
                .is_some_and(|error| error.message().contains("server_login_retry")),
            _ => false,
        }
    }

    /// What the command ends with.
    pub fn exit_status(&self) -> ExitStatus {
        match self.class() {
            Class::Permanent(status) => status,
            Class::Transient | Class::ConnectionLost | Class::Statement => ExitStatus::Unreachable,
        }
    }

    /// What to do about it, where that is known.
    pub fn help(&self) -> Option<String> {
        let text = match self {
            Self::Lookup { .. } => {
                "check the host's name; in Kubernetes, the Service's name and namespace"
            }
            Self::Timeout {
                opened: Some(false),
                ..
            } => "nothing answers there: check address and port, network policies and firewalls",
            Self::Timeout { opened: None, .. } => {
                "check address and port, network policies and firewalls; and whether the server, or the pooler, is overloaded"
            }
            Self::Timeout {
                opened: Some(true), ..
            } => {
                "something takes connections there and does not answer: see whether it is a PostgreSQL server, whether it is \
                 overloaded, and behind a pooler whether the server is up"
            }
            Self::NoAnswer { .. } => {
                "see whether the server behind the pooler is up, whether the pool has a free connection, and whether a \
                 session locks the history table"
            }
            Self::Io { source, .. } if source.kind() == io::ErrorKind::ConnectionRefused => {
                "nothing listens there (yet): check address and port, and whether the server is up"
            }
            Self::TlsNotOffered { .. } => {
                "turn TLS on at the server (ssl = on), or set PGSSLMODE=prefer"
            }
            Self::Tls { help, .. } => help,
            Self::PasswordMissing { .. } => {
                "set PGPASSWORD or PGPASSWORD_FILE, or put the password into the URL"
            }
            Self::AuthRefused { .. } => "change the server's pg_hba.conf, or PGREQUIREAUTH",
            Self::Role { .. } => {
                "point the settings at the primary, or list every server of the cluster"
            }
            Self::Server { source, .. } => return self.server_help(source).map(str::to_owned),
            Self::Several(errors) => return errors.last().and_then(Self::help),
            Self::GaveUp { last, .. } => return last.help(),
            _ => return None,
        };
        Some(text.to_owned())
    }

    fn server_help(&self, source: &tokio_postgres::Error) -> Option<&'static str> {
        let code = source.code().map_or("", |code| code.code());
        match (code, self.class()) {
            ("28P01", _) => Some(
                "correct user and password; a password in a file is read again at every attempt",
            ),
            ("28000", _) => Some(
                "create the role, or allow it in the server's pg_hba.conf (TLS may be required there)",
            ),
            ("3D000", _) => Some("create the database, or correct its name"),
            ("42501", _) => Some("GRANT CONNECT ON DATABASE to this role"),
            ("53300", _) => {
                Some("raise max_connections, or give back connections that nobody needs")
            }
            ("08P01", Class::Permanent(ExitStatus::Usage)) => Some(
                "a pooler refuses the setting: leave PGOPTIONS out, or connect to the server directly",
            ),
            (_, Class::Permanent(ExitStatus::Refused)) => {
                Some("correct user, password and database, at the pooler too if there is one")
            }
            _ => None,
        }
    }

    /// The step at which it ended: `settings`, `name`, `network`, `TLS`, `login`, `database`, `server`.
    pub fn step(&self) -> &'static str {
        match self {
            Self::Settings(_) | Self::File { .. } | Self::TlsSetup(_) => "settings",
            Self::Lookup { .. } => "name",
            Self::Io { .. } | Self::Timeout { .. } => "network",
            Self::TlsNotOffered { .. } | Self::Tls { .. } => "TLS",
            Self::PasswordMissing { .. } | Self::AuthRefused { .. } => "login",
            Self::Server { source, .. } => step_of(source, self.class()),
            Self::NoAnswer { .. } | Self::Role { .. } | Self::NoCancelKey => "server",
            Self::Several(errors) => errors.last().map_or("settings", Self::step),
            Self::GaveUp { last, .. } => last.step(),
        }
    }

    /// Each try of the last attempt, in order.
    pub fn each(&self) -> Vec<&Self> {
        match self {
            Self::Several(errors) => errors.iter().flat_map(Self::each).collect(),
            Self::GaveUp { last, .. } => last.each(),
            other => vec![other],
        }
    }

    /// What the server said, if it was a server that refused: SQLSTATE, detail, hint.
    pub fn database_error(&self) -> Option<&tokio_postgres::error::DbError> {
        match self {
            Self::Server { source, .. } => source.as_db_error(),
            Self::Several(errors) => errors.last()?.database_error(),
            Self::GaveUp { last, .. } => last.database_error(),
            _ => None,
        }
    }

    /// Could the other way, with TLS or without, be what the server wants?
    pub(super) fn is_refusal_of_this_way(&self) -> bool {
        match self {
            Self::Tls { .. } => true,
            Self::Server { source, .. } => source
                .code()
                .is_some_and(|code| matches!(code.code(), "28000" | "08P01")),
            _ => false,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settings(problems) => list(f, problems),
            Self::File { what, path, why } => write!(f, "{what} {}: {why}", path.display()),
            Self::Lookup { host, source } => write!(f, "{host}: {}", lookup(source)),
            Self::Io { peer, source } if source.kind() == io::ErrorKind::UnexpectedEof => {
                write!(f, "{peer}: the server closed the connection")
            }
            Self::Io { peer, source } => write!(f, "{peer}: {}", chain(source)),
            Self::Timeout {
                peer,
                limit,
                opened,
            } => {
                let but = match opened {
                    Some(true) => "connected, but ",
                    Some(false) | None => "",
                };
                write!(f, "{peer}: {but}no session within {limit:?}")
            }
            Self::NoAnswer { peer } => {
                write!(f, "{peer}: connected, and the first query had no answer")
            }
            Self::TlsNotOffered { peer } => write!(
                f,
                "{peer}: the server offers no TLS, and the sslmode requires it"
            ),
            Self::Tls { peer, reason, .. } => write!(f, "{peer}: {reason}"),
            Self::TlsSetup(why) => f.write_str(why),
            Self::PasswordMissing { peer, user } => {
                write!(
                    f,
                    "{peer}: the server asks for the password of user {user:?}, and none is given"
                )
            }
            Self::AuthRefused { peer, why } => write!(f, "{peer}: {why}"),
            Self::Server { peer, source } => write!(f, "{peer}: {}", describe(source)),
            Self::Role {
                peer,
                wanted,
                found,
            } => {
                write!(
                    f,
                    "{peer}: the server is {found}, and target_session_attrs={wanted} is needed"
                )
            }
            Self::Several(errors) => list(f, errors),
            Self::GaveUp {
                waited,
                attempts,
                last,
            } => {
                let seconds = waited.as_secs_f32();
                write!(
                    f,
                    "no session after {attempts} attempts in {seconds:.1} s; the last: {last}"
                )
            }
            Self::NoCancelKey => f.write_str("the server gave no key to cancel statements with"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Lookup { source, .. } | Self::Io { source, .. } => Some(source),
            Self::Server { source, .. } => Some(source),
            Self::Several(errors) => errors.last()?.source(),
            Self::GaveUp { last, .. } => Some(last.as_ref()),
            _ => None,
        }
    }
}

/// A pooler tells by text alone, and always about who may come in.
fn step_of(source: &tokio_postgres::Error, class: Class) -> &'static str {
    let Some(error) = source.as_db_error() else {
        return "server";
    };
    match (error.code().code(), class) {
        ("3D000" | "42501", _) => "database",
        ("08P01", Class::Permanent(ExitStatus::Refused))
            if error.message().contains("database") =>
        {
            "database"
        }
        (code, _) if code.starts_with("28") => "login",
        (_, Class::Permanent(ExitStatus::Refused)) => "login",
        _ => "server",
    }
}

fn list(f: &mut fmt::Formatter<'_>, items: &[impl fmt::Display]) -> fmt::Result {
    for (index, item) in items.iter().enumerate() {
        let separator = if index == 0 { "" } else { "; " };
        write!(f, "{separator}{item}")?;
    }
    Ok(())
}

/// The standard library prefixes what the resolver says.
fn lookup(source: &io::Error) -> String {
    let text = source.to_string();
    let reason = text
        .strip_prefix("failed to lookup address information: ")
        .unwrap_or(&text);
    format!("the host's name was not found: {reason}")
}
