//! The table of every setting: the one source of flags, help, suggestions, defaults and the README's tables.

use std::fmt;

/// A setting `SCHEMAGATE_…` and its flag.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// The variable.
    pub name: &'static str,
    /// The flag without its dashes: the variable's name without the prefix.
    pub flag: &'static str,
    /// What holds when neither is given.
    pub default: Preset,
    /// What stands for the value in help.
    pub kind: Kind,
    /// The commands that use it.
    pub commands: &'static [&'static str],
    /// One line for help and README.
    pub meaning: &'static str,
    /// An empty value means something, instead of "not set".
    pub empty_counts: bool,
}

/// A default.
#[derive(Debug, Clone, Copy)]
pub enum Preset {
    /// None.
    Unset,
    /// This value, as one would write it.
    Value(&'static str),
    /// Something that only words describe.
    Words(&'static str),
}

/// The shape of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`; its flag may stand alone.
    Bool,
    /// Anything else, with its placeholder in help.
    Text(&'static str),
    /// May hold a password (a URL): accepted, but never shown.
    Hidden(&'static str),
}

/// A variable outside the table: connection secrets that `connect` reads itself.
#[derive(Debug, Clone, Copy)]
pub struct Connection {
    /// The variable.
    pub name: &'static str,
    /// Its flag, where it has one. Secrets have none: a process list would show them.
    pub flag: Option<&'static str>,
    /// One line for help and README.
    pub meaning: &'static str,
}

/// What every variable of ours begins with.
pub const PREFIX: &str = "SCHEMAGATE_";

/// The commands of this release, in the order of help.
pub const COMMANDS: [&str; 16] = [
    "migrate", "sidecar", "run", "exec", "wait", "status", "plan", "lint", "verify", "validate",
    "baseline", "repair", "down", "doctor", "probe", "install",
];

/// The commands that come later.
pub const LATER_COMMANDS: [&str; 1] = ["backfill"];

/// Where the database's address comes from.
pub const CONNECTIONS: [Connection; 4] = [
    Connection {
        name: "SCHEMAGATE_DATABASE_URL",
        flag: None,
        meaning: "where the database is: `postgres://user:password@host:5432/name?sslmode=…`; `postgresql://`, either with `+driver`, and `jdbc:postgresql:` are understood too",
    },
    Connection {
        name: "SCHEMAGATE_DATABASE_URL_FILE",
        flag: Some("database-url-file"),
        meaning: "a file that holds it, read again at every attempt to connect",
    },
    Connection {
        name: "DATABASE_URL",
        flag: None,
        meaning: "taken where `SCHEMAGATE_DATABASE_URL` is not given",
    },
    Connection {
        name: "DATABASE_URL_FILE",
        flag: None,
        meaning: "a file that holds it",
    },
];

/// The variables of libpq that decide how and where to connect, and `PGPASSWORD_FILE`. A value that is no text is
/// a mistake, never silently "not given".
///
/// <https://www.postgresql.org/docs/current/libpq-envars.html>
pub const LIBPQ: [&str; 29] = [
    "PGHOST",
    "PGHOSTADDR",
    "PGPORT",
    "PGDATABASE",
    "PGUSER",
    "PGPASSWORD",
    "PGPASSWORD_FILE",
    "PGPASSFILE",
    "PGSERVICE",
    "PGSERVICEFILE",
    "PGOPTIONS",
    "PGCONNECT_TIMEOUT",
    "PGTARGETSESSIONATTRS",
    "PGCHANNELBINDING",
    "PGSSLMODE",
    "PGSSLCERT",
    "PGSSLKEY",
    "PGSSLROOTCERT",
    "PGSSLCRL",
    "PGSSLCRLDIR",
    "PGSSLMINPROTOCOLVERSION",
    "PGSSLMAXPROTOCOLVERSION",
    "PGSSLNEGOTIATION",
    "PGSSLCERTMODE",
    "PGSSLSNI",
    "PGREQUIRESSL",
    "PGREQUIREAUTH",
    "PGREQUIREPEER",
    "PGGSSENCMODE",
];

pub use super::table::SETTINGS;

/// Where what ends by itself says that it has ended.
pub const QUIT_URL: &str = "SCHEMAGATE_QUIT_URL";

/// Whether a command ends by itself, and tells others about it: the Pushgateway, the proxy of a mesh.
pub fn is_one_shot(command: &str) -> bool {
    find(QUIT_URL).is_some_and(|setting| setting.commands.contains(&command))
}

/// The setting with this variable's name.
pub fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

/// Our variables that hold a secret or name one: not for a program that we start.
pub fn secrets() -> impl Iterator<Item = &'static str> {
    let settings = SETTINGS
        .iter()
        .filter(|setting| matches!(setting.kind, Kind::Hidden(_)))
        .map(|setting| setting.name);
    let connections = CONNECTIONS.iter().map(|connection| connection.name);
    settings.chain(connections.filter(|name| name.starts_with(PREFIX)))
}

// === impl Setting ===

impl Setting {
    /// Whether this command uses the setting.
    pub fn works_in(&self, command: &str) -> bool {
        self.commands.contains(&command)
    }
}

// === impl Preset ===

impl Preset {
    /// The default as a value that can be parsed.
    pub const fn value(self) -> Option<&'static str> {
        match self {
            Self::Value(value) => Some(value),
            Self::Unset | Self::Words(_) => None,
        }
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unset => Ok(()),
            Self::Value(value) => write!(f, "`{value}`"),
            Self::Words(words) => f.write_str(words),
        }
    }
}

// === impl Kind ===

impl Kind {
    /// The placeholder in help.
    pub const fn placeholder(self) -> &'static str {
        match self {
            Self::Bool => "true|false",
            Self::Text(text) | Self::Hidden(text) => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_is_its_variable_in_lower_case() {
        for setting in &SETTINGS {
            let flag = setting.flag.replace('-', "_").to_uppercase();
            assert_eq!(setting.name, format!("{PREFIX}{flag}"));
        }
        for connection in CONNECTIONS {
            let Some(flag) = connection.flag else {
                continue;
            };
            let flag = flag.replace('-', "_").to_uppercase();
            assert_eq!(connection.name, format!("{PREFIX}{flag}"));
        }
    }

    #[test]
    fn secrets_are_ours_alone() {
        let mut secrets: Vec<&str> = secrets().collect();
        secrets.sort_unstable();
        assert_eq!(
            secrets,
            [
                "SCHEMAGATE_DATABASE_URL",
                "SCHEMAGATE_DATABASE_URL_FILE",
                "SCHEMAGATE_PUSHGATEWAY_URL",
                "SCHEMAGATE_QUIT_URL",
            ]
        );
    }

    #[test]
    fn names_are_unique_and_commands_exist() {
        for (index, setting) in SETTINGS.iter().enumerate() {
            assert!(
                SETTINGS[index + 1..]
                    .iter()
                    .all(|other| other.name != setting.name)
            );
            for command in setting.commands {
                assert!(
                    COMMANDS.contains(command) || LATER_COMMANDS.contains(command),
                    "{}: {command}",
                    setting.name
                );
            }
        }
    }

    #[test]
    fn what_stays_or_becomes_another_is_no_one_shot() {
        for (command, expected) in [
            ("migrate", true),
            ("exec", true),
            ("wait", true),
            ("baseline", true),
            ("verify", true),
            ("run", false),
            ("sidecar", false),
            ("probe", false),
            ("status", false),
            ("install", false),
        ] {
            assert_eq!(is_one_shot(command), expected, "{command}");
        }
        let push = find("SCHEMAGATE_PUSHGATEWAY_URL").unwrap();
        assert_eq!(push.commands, find(QUIT_URL).unwrap().commands);
    }

    #[test]
    fn every_setting_is_used() {
        for setting in &SETTINGS {
            let mut commands = setting.commands.iter();
            assert!(
                commands.any(|name| COMMANDS.contains(name)),
                "{}",
                setting.name
            );
        }
    }
}
