//! `SCHEMAGATE_TARGET` and `--to`: how a version is named.

use crate::exit::ExitStatus;
use crate::migration::Migration;
use std::fmt;

/// A version that names no migration, or several. Always [`ExitStatus::Usage`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownTarget {
    /// What was given.
    pub target: String,
    /// Those that fit, where several do; else the nearest names.
    pub candidates: Vec<String>,
    /// Whether several fit.
    pub is_ambiguous: bool,
}

/// The position of the migration that a text names: its version in full; a number whatever its leading zeros (`4` for
/// `0004`); or the beginning of one version up to a `_`, `-` or `.` (`0004` for `0004_add_users`).
pub fn resolve_target(migrations: &[Migration], target: &str) -> Result<usize, UnknownTarget> {
    if let Some(exact) = migrations.iter().position(|m| m.version == target) {
        return Ok(exact);
    }
    let fits: Vec<usize> = migrations
        .iter()
        .enumerate()
        .filter(|(_, migration)| is_meant(&migration.version, target))
        .map(|(index, _)| index)
        .collect();
    match fits.as_slice() {
        [one] => Ok(*one),
        [] => {
            let versions = migrations.iter().map(|m| m.version.as_str());
            Err(unknown(target, nearest(versions, target), false))
        }
        several => {
            let versions = several.iter().filter_map(|index| migrations.get(*index));
            let versions = versions.map(|m| m.version.clone()).collect();
            Err(unknown(target, versions, true))
        }
    }
}

/// Whether a text means a version: a number by its value, or the beginning of its name.
pub fn is_meant(version: &str, target: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if is_number(version) && is_number(target) {
        return version.trim_start_matches('0') == target.trim_start_matches('0');
    }
    !target.is_empty()
        && version
            .strip_prefix(target)
            .is_some_and(|rest| rest.starts_with(['_', '-', '.']))
}

/// The three names that come nearest to what was typed.
pub fn nearest<'a>(names: impl Iterator<Item = &'a str>, typed: &str) -> Vec<String> {
    let mut near: Vec<(f64, &str)> = names
        .map(|name| (strsim::jaro_winkler(name, typed), name))
        .collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    near.dedup();
    near.into_iter()
        .take(3)
        .map(|(_, name)| name.to_owned())
        .collect()
}

fn unknown(target: &str, candidates: Vec<String>, is_ambiguous: bool) -> UnknownTarget {
    UnknownTarget {
        target: target.to_owned(),
        candidates,
        is_ambiguous,
    }
}

// === impl UnknownTarget ===

impl UnknownTarget {
    /// [`ExitStatus::Usage`].
    pub const fn exit_status(&self) -> ExitStatus {
        ExitStatus::Usage
    }

    /// What to do next.
    pub fn help(&self) -> String {
        if self.candidates.is_empty() {
            return "the folder has no migrations".to_owned();
        }
        let candidates = self
            .candidates
            .iter()
            .take(5)
            .cloned()
            .collect::<Vec<_>>()
            .join(", ");
        if self.is_ambiguous {
            format!("write one of them in full: {candidates}")
        } else {
            format!("the nearest are {candidates}")
        }
    }
}

impl fmt::Display for UnknownTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.is_ambiguous {
            "several migrations"
        } else {
            "no migration"
        };
        write!(f, "the target {:?} names {what} of this image", self.target)
    }
}

impl std::error::Error for UnknownTarget {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migration::Directives;

    fn named(versions: &[&str]) -> Vec<Migration> {
        let migration = |version: &&str| Migration {
            version: (*version).to_owned(),
            name: String::new(),
            path: String::new(),
            checksum: String::new(),
            checksum_other_endings: [String::new(), String::new()],
            created_at: 0,
            size: 0,
            directives: Directives::default(),
            down: None,
        };
        versions.iter().map(migration).collect()
    }

    #[track_caller]
    fn check(versions: &[&str], target: &str, expected: Result<usize, &[&str]>) {
        let found = resolve_target(&named(versions), target);
        let found = found.as_ref().map(|index| *index).map_err(|error| {
            error
                .candidates
                .iter()
                .map(String::as_str)
                .collect::<Vec<_>>()
        });
        assert_eq!(found, expected.map_err(<[&str]>::to_vec), "{target}");
    }

    #[test]
    fn takes_a_version_or_its_beginning() {
        let tags = ["0003_a", "0004_add_users", "0004_add_users_2"];
        check(&tags, "0003", Ok(0));
        check(&tags, "0003_a", Ok(0));
        check(&tags, "0004_add_users", Ok(1));
        check(&tags, "0004", Err(&["0004_add_users", "0004_add_users_2"]));
        check(
            &tags,
            "000",
            Err(&["0003_a", "0004_add_users", "0004_add_users_2"]),
        );
        check(
            &tags,
            "",
            Err(&["0003_a", "0004_add_users", "0004_add_users_2"]),
        );
        check(&[], "1", Err(&[]));
    }

    #[test]
    fn takes_numbers_by_value() {
        check(&["0001", "0010", "0011"], "1", Ok(0));
        check(&["0001", "0010", "0011"], "10", Ok(1));
        check(&["0001", "0010"], "00001", Ok(0));
        check(&["20", "21"], "2", Err(&["20", "21"]));
    }

    #[test]
    fn suggests_the_nearest() {
        let migrations = named(&["0001_init", "0002_users", "0003_orders", "0004_bills"]);
        let error = resolve_target(&migrations, "0002_user").unwrap_err();
        assert_eq!(error.candidates[0], "0002_users");
        assert!(!error.is_ambiguous);
        assert_eq!(error.exit_status(), ExitStatus::Usage);
    }
}
