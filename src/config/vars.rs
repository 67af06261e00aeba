//! What was given: the environment, with the flags laid over it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use super::env;
use super::names::{CONNECTIONS, LIBPQ, PREFIX, SETTINGS};
use super::secret::Secret;
use crate::problem::Problem;

/// Variables by name, flags included. Debug output shows names only.
#[derive(Debug, Clone, Default)]
pub struct Vars {
    given: BTreeMap<OsString, Given>,
}

#[derive(Debug, Clone)]
struct Given {
    value: Secret<OsString>,
    /// The flag, where it came from one.
    flag: Option<&'static str>,
}

// === impl Vars ===

impl Vars {
    /// From the environment.
    pub fn new(env: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let given = env
            .into_iter()
            .map(|(name, value)| {
                let value = Secret::new(value);
                (name, Given { value, flag: None })
            })
            .collect();
        Self { given }
    }

    /// Lays a flag over the environment. A flag with an empty value takes the variable away.
    pub fn set_flag(&mut self, name: &'static str, flag: &'static str, value: OsString) {
        if name == "SCHEMAGATE_DATABASE_URL_FILE" {
            // The address itself would win over the file that names it.
            self.given
                .remove(&OsString::from("SCHEMAGATE_DATABASE_URL"));
        }
        let value = Secret::new(value);
        let flag = Some(flag);
        self.given
            .insert(OsString::from(name), Given { value, flag });
    }

    /// The value of any variable. Empty, as a chart writes what it leaves out, is the same as not given; so is what
    /// is not Unicode ([`Vars::problems`] tells of those that are ours).
    pub fn get(&self, name: &str) -> Option<String> {
        self.raw(name)
            .filter(|value| !value.trim().is_empty())
            .map(ToOwned::to_owned)
    }

    /// The value of a variable that need not be text, such as PATH; empty is a value.
    pub fn os(&self, name: &str) -> Option<&OsStr> {
        let given = self.given.get(OsStr::new(name))?;
        Some(given.value.expose())
    }

    /// How to call a variable in a message: the flag, where it was given as one.
    pub fn said(&self, name: &str) -> String {
        match self.given.get(&OsString::from(name)).map(|g| g.flag) {
            Some(Some(flag)) => format!("--{flag}"),
            _ => name.to_owned(),
        }
    }

    /// What is wrong whatever the command: names of ours that do not exist, values that are not Unicode.
    pub fn problems(&self) -> Vec<Problem> {
        let unknown = self
            .given
            .keys()
            .filter_map(|name| env::unknown(&name.to_string_lossy()));
        let ours = SETTINGS
            .iter()
            .map(|s| s.name)
            .chain(CONNECTIONS.iter().map(|c| c.name))
            .chain(LIBPQ);
        let garbled = ours
            .filter(|name| self.is_garbled(name))
            .map(|name| Problem::new(self.said(name), "the value is not valid UTF-8"));
        unknown.chain(garbled).collect()
    }

    /// The table's settings as pairs, with defaults filled in: what [`env::RawSettings`] is made of.
    pub(super) fn settings(&self) -> Vec<(String, String)> {
        let value = |name: &str, empty_counts: bool| {
            let trimmed = self.raw(name).map(str::trim)?;
            (empty_counts || !trimmed.is_empty()).then(|| trimmed.to_owned())
        };
        SETTINGS
            .iter()
            .filter_map(|s| {
                let default = s.default.value().map(ToOwned::to_owned);
                let value = value(s.name, s.empty_counts).or(default)?;
                Some((s.name.to_owned(), value))
            })
            .collect()
    }

    fn raw(&self, name: &str) -> Option<&str> {
        let given = self.given.get(&OsString::from(name))?;
        given.value.expose().to_str()
    }

    fn is_garbled(&self, name: &str) -> bool {
        self.given
            .get(&OsString::from(name))
            .is_some_and(|given| given.value.expose().to_str().is_none())
    }
}

/// Names of ours, prefix included, for suggestions.
pub(super) fn known() -> impl Iterator<Item = &'static str> {
    SETTINGS
        .iter()
        .map(|setting| setting.name)
        .chain(CONNECTIONS.iter().map(|connection| connection.name))
        .filter(|name| name.starts_with(PREFIX))
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    fn vars(pairs: &[(&str, &str)]) -> Vars {
        Vars::new(pairs.iter().map(|(n, v)| (n.into(), v.into())))
    }

    #[test]
    fn a_flag_wins_and_an_empty_one_takes_away() {
        let mut vars = vars(&[("SCHEMAGATE_ROLE", "env"), ("SCHEMAGATE_TARGET", "0004")]);
        vars.set_flag("SCHEMAGATE_ROLE", "role", "flag".into());
        vars.set_flag("SCHEMAGATE_TARGET", "target", "".into());
        assert_eq!(vars.get("SCHEMAGATE_ROLE").as_deref(), Some("flag"));
        assert_eq!(vars.said("SCHEMAGATE_ROLE"), "--role");
        assert_eq!(vars.get("SCHEMAGATE_TARGET"), None);
        assert_eq!(vars.said("SCHEMAGATE_DIR"), "SCHEMAGATE_DIR");
    }

    #[test]
    fn the_file_flag_wins_over_the_address_in_the_environment() {
        let mut vars = vars(&[("SCHEMAGATE_DATABASE_URL", "postgres://env")]);
        vars.set_flag(
            "SCHEMAGATE_DATABASE_URL_FILE",
            "database-url-file",
            "/f".into(),
        );
        assert_eq!(vars.get("SCHEMAGATE_DATABASE_URL"), None);
        assert_eq!(
            vars.get("SCHEMAGATE_DATABASE_URL_FILE").as_deref(),
            Some("/f")
        );
    }

    #[test]
    fn empty_is_not_given() {
        let vars = vars(&[
            ("PGHOST", ""),
            ("SCHEMAGATE_DIR", " \n"),
            ("SCHEMAGATE_ALLOW", ""),
        ]);
        assert_eq!(vars.get("PGHOST"), None);
        assert_eq!(vars.raw("SCHEMAGATE_ALLOW"), Some(""));
    }

    #[test]
    fn what_is_not_unicode_is_told_without_its_value() {
        let garbled = OsString::from_vec(vec![b's', 0xff, b'x']);
        let vars = Vars::new([
            ("PGPASSWORD".into(), garbled.clone()),
            ("SCHEMAGATE_DIR".into(), garbled.clone()),
            ("OTHER".into(), garbled.clone()),
            (OsString::from_vec(b"SCHEMAGATE_\xff".to_vec()), "x".into()),
        ]);
        let told: Vec<String> = vars.problems().into_iter().map(|p| p.variable).collect();
        assert_eq!(
            told,
            ["SCHEMAGATE_\u{fffd}", "SCHEMAGATE_DIR", "PGPASSWORD"]
        );
        assert!(vars.problems().iter().all(|p| p.value.is_none()));
    }

    #[test]
    fn debug_shows_no_value() {
        assert!(!format!("{:?}", vars(&[("PGPASSWORD", "hunter2")])).contains("hunter2"));
    }
}
