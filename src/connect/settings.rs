//! libpq's connection parameters by keyword, each with where it came from.
//!
//! <https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS> and
//! <https://www.postgresql.org/docs/current/libpq-envars.html>.

use std::collections::BTreeMap;
use std::fmt;

use crate::problem::Problem;

/// Where a value was found, so that a problem can name what the user has to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// A variable of its own: `PGSSLMODE`.
    Variable(&'static str),
    /// A part of a connection URL; the variable that holds it (or the file).
    Url(String),
    /// A section of a service file; the file.
    Service(String),
}

/// A value and its origin.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) value: String,
    pub(super) origin: Origin,
}

/// One layer of settings. Empty values count as absent, as in libpq.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Settings(BTreeMap<&'static str, Setting>);

/// Every keyword that libpq knows, with its variable where it has one.
pub(super) const KEYWORDS: &[(&str, Option<&str>)] = &[
    ("application_name", Some("PGAPPNAME")),
    ("channel_binding", Some("PGCHANNELBINDING")),
    ("client_encoding", Some("PGCLIENTENCODING")),
    ("connect_timeout", Some("PGCONNECT_TIMEOUT")),
    ("dbname", Some("PGDATABASE")),
    ("fallback_application_name", None),
    ("gssdelegation", Some("PGGSSDELEGATION")),
    ("gssencmode", Some("PGGSSENCMODE")),
    ("gsslib", Some("PGGSSLIB")),
    ("host", Some("PGHOST")),
    ("hostaddr", Some("PGHOSTADDR")),
    ("keepalives", None),
    ("keepalives_count", None),
    ("keepalives_idle", None),
    ("keepalives_interval", None),
    ("krbsrvname", Some("PGKRBSRVNAME")),
    ("load_balance_hosts", Some("PGLOADBALANCEHOSTS")),
    ("max_protocol_version", Some("PGMAXPROTOCOLVERSION")),
    ("min_protocol_version", Some("PGMINPROTOCOLVERSION")),
    ("oauth_client_id", None),
    ("oauth_client_secret", None),
    ("oauth_issuer", None),
    ("oauth_scope", None),
    ("options", Some("PGOPTIONS")),
    ("passfile", Some("PGPASSFILE")),
    ("password", Some("PGPASSWORD")),
    ("port", Some("PGPORT")),
    ("replication", None),
    ("require_auth", Some("PGREQUIREAUTH")),
    ("requirepeer", Some("PGREQUIREPEER")),
    ("requiressl", Some("PGREQUIRESSL")),
    ("scram_client_key", None),
    ("scram_server_key", None),
    ("service", Some("PGSERVICE")),
    ("servicefile", Some("PGSERVICEFILE")),
    ("ssl_max_protocol_version", Some("PGSSLMAXPROTOCOLVERSION")),
    ("ssl_min_protocol_version", Some("PGSSLMINPROTOCOLVERSION")),
    ("sslcert", Some("PGSSLCERT")),
    ("sslcertmode", Some("PGSSLCERTMODE")),
    ("sslcompression", Some("PGSSLCOMPRESSION")),
    ("sslcrl", Some("PGSSLCRL")),
    ("sslcrldir", Some("PGSSLCRLDIR")),
    ("sslkey", Some("PGSSLKEY")),
    ("sslkeylogfile", None),
    ("sslmode", Some("PGSSLMODE")),
    ("sslnegotiation", Some("PGSSLNEGOTIATION")),
    ("sslpassword", None),
    ("sslrootcert", Some("PGSSLROOTCERT")),
    ("sslsni", Some("PGSSLSNI")),
    ("target_session_attrs", Some("PGTARGETSESSIONATTRS")),
    ("tcp_user_timeout", None),
    ("user", Some("PGUSER")),
    // Not keywords of libpq: variables that it turns into startup parameters.
    ("DateStyle", Some("PGDATESTYLE")),
    ("TimeZone", Some("PGTZ")),
    ("geqo", Some("PGGEQO")),
];

/// Keywords whose value never appears in a message.
const SECRET: &[&str] = &[
    "password",
    "sslpassword",
    "oauth_client_secret",
    "scram_client_key",
    "scram_server_key",
];

/// The keyword as a static string, if libpq knows it. The session variables at the list's end are no keywords.
pub(super) fn keyword(name: &str) -> Option<&'static str> {
    KEYWORDS
        .iter()
        .map(|(keyword, _)| *keyword)
        .find(|keyword| *keyword == name && keyword.starts_with(|c: char| c.is_ascii_lowercase()))
        .filter(|keyword| *keyword != "geqo")
}

// === impl Settings ===

impl Settings {
    /// The layer of the `PG*` variables.
    pub(super) fn from_variables(var: &dyn Fn(&str) -> Option<String>) -> Self {
        let mut settings = Self::default();
        for (keyword, variable) in KEYWORDS {
            let Some(variable) = *variable else { continue };
            if let Some(value) = var(variable) {
                settings.set(keyword, value, Origin::Variable(variable));
            }
        }
        settings
    }

    pub(super) fn set(&mut self, keyword: &'static str, value: String, origin: Origin) {
        if value.is_empty() {
            self.0.remove(keyword);
        } else {
            self.0.insert(keyword, Setting { value, origin });
        }
    }

    pub(super) fn get(&self, keyword: &str) -> Option<&Setting> {
        self.0.get(keyword)
    }

    pub(super) fn value(&self, keyword: &str) -> Option<&str> {
        self.get(keyword).map(|setting| setting.value.as_str())
    }

    /// This layer, and below it another one that fills the gaps.
    pub(super) fn over(mut self, below: &Self) -> Self {
        for (keyword, setting) in &below.0 {
            self.0.entry(keyword).or_insert_with(|| setting.clone());
        }
        self
    }

    /// A problem with this keyword, in the words of its origin and without a secret's value.
    pub(super) fn problem(&self, keyword: &str, expected: &str) -> Problem {
        match self.get(keyword) {
            Some(setting) => setting.problem(keyword, expected),
            None => Problem::new(keyword, expected),
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.0.iter().map(|(keyword, setting)| {
            let secret = SECRET.contains(keyword);
            (keyword, if secret { "…" } else { &setting.value })
        });
        f.debug_map().entries(shown).finish()
    }
}

// === impl Setting ===

impl Setting {
    fn problem(&self, keyword: &str, expected: &str) -> Problem {
        let secret = SECRET.contains(&keyword);
        match &self.origin {
            Origin::Variable(name) if secret => Problem::new(*name, expected),
            Origin::Variable(name) => Problem::with_value(*name, &self.value, expected),
            Origin::Url(holder) | Origin::Service(holder) if secret => {
                Problem::new(holder, format!("{keyword}: {expected}"))
            }
            Origin::Url(holder) | Origin::Service(holder) => {
                Problem::new(holder, format!("{keyword}={:?}: {expected}", self.value))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_upper_layer_wins_and_the_lower_fills_gaps() {
        let mut url = Settings::default();
        url.set("host", "a".into(), Origin::Url("DATABASE_URL".into()));
        url.set("user", String::new(), Origin::Url("DATABASE_URL".into()));
        let env = Settings::from_variables(&|name| match name {
            "PGHOST" => Some("b".into()),
            "PGUSER" => Some("u".into()),
            _ => None,
        });
        let merged = url.over(&env);
        assert_eq!(merged.value("host"), Some("a"));
        assert_eq!(merged.value("user"), Some("u"));
    }

    #[test]
    fn no_secret_in_debug_or_problem() {
        let mut url = Settings::default();
        url.set(
            "password",
            "hunter2".into(),
            Origin::Url("DATABASE_URL".into()),
        );
        assert!(!format!("{url:?}").contains("hunter2"));
        assert!(!url.problem("password", "x").to_string().contains("hunter2"));
        url.set("password", "hunter2".into(), Origin::Variable("PGPASSWORD"));
        assert!(!url.problem("password", "x").to_string().contains("hunter2"));
    }

    #[test]
    fn session_variables_are_no_keywords() {
        for name in ["DateStyle", "TimeZone", "geqo", "nonsense"] {
            assert_eq!(keyword(name), None);
        }
        assert_eq!(keyword("sslmode"), Some("sslmode"));
    }
}
