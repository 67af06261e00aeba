//! From variables to the flat raw struct; names that are unknown or not ours.

use serde::Deserialize;

use super::names::PREFIX;
use super::vars::{Vars, known};
use crate::problem::Problem;

/// Declares the raw struct.
macro_rules! raw_settings {
    ($($field:ident),+ $(,)?) => {
        /// The settings that are read here, as they were written, or their defaults; nothing is interpreted yet.
        ///
        /// Flat and of `Option<String>`: `envy` tells only the first error and not its variable
        /// (softprops/envy issues 26 and 45), so it is given nothing that could fail.
        #[derive(Deserialize, Default)]
        #[cfg_attr(test, derive(serde::Serialize))]
        pub(super) struct RawSettings { $(pub(super) $field: Option<String>),+ }
    };
}

raw_settings! {
    dir, format, history_table, target, phase, allow_empty, wait, wait_timeout, auth_grace, lock_key,
    lock_wait_timeout, lock_timeout, lock_retries, statement_timeout, deadline, transaction, role,
    slow_threshold, ahead, out_of_order, checksum, dry_run, log_format, log, allow, approve,
    app_version, window, require_gone, require_backup, restore_point, auto_migrate, require_current,
    exec_once, listen, detail, poll_interval, watch, on_failure, pushgateway_url, quit_url,
    verify_dir, drift_ignore,
}

/// The settings of `vars` with defaults filled in.
pub(super) fn raw(vars: &Vars) -> Result<RawSettings, Problem> {
    // Names are filtered through the table first: `envy` folds case, and would take `SCHEMAGATE_dir` for a duplicate.
    envy::prefixed(PREFIX)
        .from_iter(vars.settings())
        .map_err(|error| Problem::new("settings", format!("could not be read: {error}")))
}

/// A problem if this is a name of ours that does not exist. The value may be a misplaced secret: it is not shown.
pub(super) fn unknown(name: &str) -> Option<Problem> {
    let rest = name.strip_prefix(PREFIX)?;
    if known().any(|known| known == name) || injected(rest) {
        return None;
    }
    let advice = match nearest(rest) {
        Some(near) => format!("there is no such setting, did you mean {near}?"),
        None => "there is no such setting, `schemagate migrate --help` lists them".to_owned(),
    };
    Some(Problem::new(name, advice))
}

/// The known name nearest to `SCHEMAGATE_` + `rest`, unless nothing resembles it.
fn nearest(rest: &str) -> Option<&'static str> {
    let typed = rest.to_uppercase();
    known()
        .map(|name| {
            let near = strsim::damerau_levenshtein(&typed, name.trim_start_matches(PREFIX));
            (near, name)
        })
        .min()
        .filter(|(distance, name)| *distance * 2 <= name.len() - PREFIX.len())
        .map(|(_, name)| name)
}

/// Whether Kubernetes injects `SCHEMAGATE_` + `rest` into every pod beside a Service called `schemagate…`.
///
/// <https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables>
fn injected(rest: &str) -> bool {
    // The underscore that ends the prefix belongs to what follows the Service's name.
    let name = format!("_{rest}");
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_PORT")
        || followed_by(&name, "_SERVICE_PORT", |tail| {
            tail.is_empty() || tail.starts_with('_')
        })
        || followed_by(&name, "_PORT_", is_numbered_port)
}

/// Whether somewhere in `name` stands `middle`, followed by what `accepts`.
fn followed_by(name: &str, middle: &str, accepts: fn(&str) -> bool) -> bool {
    name.match_indices(middle)
        .any(|(at, _)| accepts(&name[at + middle.len()..]))
}

/// `<n>_<proto>[_…]`
fn is_numbered_port(tail: &str) -> bool {
    let proto = tail.trim_start_matches(|c: char| c.is_ascii_digit());
    proto.len() < tail.len()
        && ["_TCP", "_UDP", "_SCTP"].iter().any(|known| {
            proto
                .strip_prefix(known)
                .is_some_and(|end| end.is_empty() || end.starts_with('_'))
        })
}

#[cfg(test)]
mod tests {
    use super::super::names::SETTINGS;
    use super::*;

    #[test]
    fn every_field_has_its_setting_and_every_setting_its_field() {
        let pairs = SETTINGS
            .iter()
            .map(|s| (s.name.to_owned(), s.flag.to_owned()));
        let raw: RawSettings = envy::prefixed(PREFIX).from_iter(pairs).unwrap();
        let fields = serde_json::to_value(&raw).unwrap();
        let fields = fields.as_object().unwrap();
        for (field, value) in fields {
            let setting = SETTINGS.iter().find(|s| s.flag.replace('-', "_") == *field);
            assert_eq!(setting.map(|s| s.flag), value.as_str(), "{field}");
        }
        for setting in &SETTINGS {
            let field = setting.flag.replace('-', "_");
            assert!(fields.contains_key(&field), "{field}");
        }
    }

    #[test]
    fn unknown_names_get_the_nearest() {
        for (name, near) in [
            ("SCHEMAGATE_LOCK_TIMOUT", "SCHEMAGATE_LOCK_TIMEOUT"),
            ("SCHEMAGATE_DIRECTORY", "schemagate migrate --help"),
            ("SCHEMAGATE_DIRS", "SCHEMAGATE_DIR?"),
            ("SCHEMAGATE_dir", "SCHEMAGATE_DIR?"),
            ("SCHEMAGATE_WINDWO", "SCHEMAGATE_WINDOW"),
            ("SCHEMAGATE_ROLE_FILE", "schemagate migrate --help"),
            ("SCHEMAGATE_DATABASE_URI", "SCHEMAGATE_DATABASE_URL?"),
            ("SCHEMAGATE_REQUIRES_BACKUP", "SCHEMAGATE_REQUIRE_BACKUP"),
            ("SCHEMAGATE_", "schemagate migrate --help"),
            ("SCHEMAGATE_XYZZY_PLUGH", "schemagate migrate --help"),
        ] {
            let problem = unknown(name).unwrap();
            assert_eq!(problem.variable, name);
            assert!(problem.expected.contains(near), "{problem}");
        }
    }

    #[test]
    fn known_and_foreign_names_are_left_alone() {
        for name in [
            "SCHEMAGATE_DIR",
            "SCHEMAGATE_DATABASE_URL_FILE",
            "SCHEMAGATE",
            "PATH",
            "schemagate_dir",
            "SCHEMAGATES_DIR",
        ] {
            assert_eq!(unknown(name), None, "{name}");
        }
    }

    #[test]
    fn what_kubernetes_injects_is_ignored() {
        for name in [
            "SERVICE_HOST",
            "SERVICE_PORT",
            "SERVICE_PORT_HTTP",
            "PORT",
            "PORT_5432_TCP",
            "PORT_5432_TCP_ADDR",
            "PORT_53_UDP_PROTO",
            "PORT_9_SCTP_PORT",
            "SIDECAR_SERVICE_HOST",
            "SIDECAR_SERVICE_PORT_HTTP",
            "SIDECAR_PORT",
            "SIDECAR_PORT_80_TCP_PORT",
        ] {
            assert!(injected(name), "{name}");
        }
    }

    #[test]
    fn what_only_looks_like_it_is_not() {
        for name in [
            "SERVICE_HOSTS",
            "SERVICE_PORTS",
            "EXPORT",
            "PORT_TCP",
            "PORT_80",
            "PORT_80_HTTP",
            "PORT_80_TCPX",
            "LOCK_TIMOUT",
        ] {
            assert!(!injected(name), "{name}");
        }
    }
}
