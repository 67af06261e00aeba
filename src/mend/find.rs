//! Which migration and which row a person means.

use super::{Facts, Refusal};
use crate::{
    formats::{label, numbered, reconcile},
    migration::{Applied, Migration},
    plan::{UnknownTarget, is_meant, nearest, resolve_target},
};

/// How many names a refusal lists.
const LISTED: usize = 5;

/// So much of a hash names a row: as much as a message shows of it.
const HASH_CHARS: usize = 12;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Found {
    /// The place of the migration in the folder.
    pub(super) migration: Option<usize>,
    /// The places of its rows, the one that counts first.
    pub(super) rows: Vec<usize>,
}

// === impl Found ===

impl Found {
    pub(super) fn migration<'a>(&self, facts: &Facts<'a>) -> Option<&'a Migration> {
        facts.migrations.get(self.migration?)
    }

    /// What messages and the journal call it.
    pub(super) fn version(&self, named: &str, facts: &Facts<'_>) -> String {
        let migration = self.migration(facts).map(|m| m.version.clone());
        let row = || Some(label(facts.rows.get(*self.rows.first()?)?));
        migration.or_else(row).unwrap_or_else(|| named.to_owned())
    }
}

/// Finds what is meant: a migration of the folder as [`resolve_target`] takes it, or a row by its own version or name,
/// by `row N`, `created_at`, the beginning of its hash, or as messages name it.
pub(super) fn find(named: &str, facts: &Facts<'_>) -> Result<Found, Refusal> {
    let rows = rows_named(named, facts.rows);
    match resolve_target(facts.migrations, named) {
        Ok(migration) => {
            let mut own = rows_of(migration, facts);
            let others: Vec<usize> = rows.into_iter().filter(|row| !own.contains(row)).collect();
            if !others.is_empty() {
                own.extend(others);
                return Err(ambiguous(named, &own, facts));
            }
            Ok(Found {
                migration: Some(migration),
                rows: own,
            })
        }
        // What could be several migrations is a row only by its whole name.
        Err(unknown) => match rows.as_slice() {
            [row]
                if !unknown.is_ambiguous
                    || facts
                        .rows
                        .get(*row)
                        .is_some_and(|row| is_exactly(row, named)) =>
            {
                Ok(Found {
                    migration: owner(*row, facts),
                    rows,
                })
            }
            [_] if unknown.is_ambiguous => Err(unresolved(named, &unknown, facts)),
            [] => Err(unresolved(named, &unknown, facts)),
            _ => Err(ambiguous(named, &rows, facts)),
        },
    }
}

fn unresolved(named: &str, unknown: &UnknownTarget, facts: &Facts<'_>) -> Refusal {
    let (which, next) = if unknown.is_ambiguous {
        ("several migrations of this image", unknown.help())
    } else {
        (
            "no migration of this image and no row of the history",
            candidates(named, facts),
        )
    };
    Refusal {
        what: format!("{named:?} names {which}"),
        next,
        known_as: named.to_owned(),
    }
}

fn ambiguous(named: &str, rows: &[usize], facts: &Facts<'_>) -> Refusal {
    let rows = rows.iter().filter_map(|row| facts.rows.get(*row));
    let listed: Vec<String> = rows.map(row_names).take(LISTED).collect();
    Refusal {
        what: format!("{named:?} names several rows of the history"),
        next: format!("name one of them, as in `row 3`: {}", listed.join("; ")),
        known_as: named.to_owned(),
    }
}

fn candidates(named: &str, facts: &Facts<'_>) -> String {
    let labels: Vec<String> = facts.rows.iter().map(label).collect();
    let versions = facts.migrations.iter().map(|m| m.version.as_str());
    let marks = facts.marks.iter().map(|mark| mark.version.as_str());
    let known = versions
        .chain(labels.iter().map(String::as_str))
        .chain(marks);
    let near = nearest(known, named);
    if near.is_empty() {
        "neither the folder nor the history has anything".to_owned()
    } else {
        format!("the nearest are {}", near.join(", "))
    }
}

/// A row by its place, besides its name.
pub(super) fn row_names(row: &Applied) -> String {
    match &row.version {
        Some(version) => format!("row {}, {version}", row.order),
        None => label(row),
    }
}

/// The places of the rows that a text names; what names one exactly goes before what names it loosely.
fn rows_named(named: &str, rows: &[Applied]) -> Vec<usize> {
    let places = |is: &dyn Fn(&Applied) -> bool| -> Vec<usize> {
        let rows = rows.iter().enumerate();
        rows.filter(|(_, row)| is(row))
            .map(|(place, _)| place)
            .collect()
    };
    let exact = places(&|row| is_exactly(row, named));
    if exact.is_empty() {
        places(&|row| is_loosely(row, named))
    } else {
        exact
    }
}

fn is_exactly(row: &Applied, named: &str) -> bool {
    row.version.as_deref() == Some(named)
        || label(row) == named
        || format!("row {}", row.order) == named
}

fn is_loosely(row: &Applied, named: &str) -> bool {
    let hash = named.trim_end_matches('…');
    let is_hash = hash.len() >= HASH_CHARS && hash.bytes().all(|b| b.is_ascii_hexdigit());
    let checksum = row.checksum.as_deref().unwrap_or_default();
    let version = row.version.as_deref().unwrap_or_default();
    is_hash && checksum.starts_with(hash)
        || row.created_at.is_some_and(|at| at.to_string() == named)
        || is_meant(version, named)
        || numbered::is_number(version)
            && numbered::is_number(named)
            && numbered::trim(version) == numbered::trim(named)
}

/// The places of all rows of a migration, the one that counts first: Drizzle has no unique key, so there can be several.
fn rows_of(migration: usize, facts: &Facts<'_>) -> Vec<usize> {
    let all = facts.rows.to_vec();
    let Ok(matched) = reconcile(facts.format, facts.migrations, all, facts.shape) else {
        return Vec::new();
    };
    let Some(first) = matched.row_of.get(migration).copied().flatten() else {
        return Vec::new();
    };
    // A row that counts for nobody, but is owned, is a second one of some migration: of this one, if it alone is left.
    let counts = |row: &usize| matched.row_of.contains(&Some(*row));
    let seconds = (0..facts.rows.len())
        .filter(|row| !counts(row) && !matched.unknown.contains(row))
        .filter(|row| owner(*row, facts) == Some(migration));
    std::iter::once(first).chain(seconds).collect()
}

/// The place of the migration that a row is of.
fn owner(row: usize, facts: &Facts<'_>) -> Option<usize> {
    let all = facts.rows.to_vec();
    let of = |rows: Vec<Applied>, place: usize| {
        let matched = reconcile(facts.format, facts.migrations, rows, facts.shape).ok()?;
        matched
            .row_of
            .iter()
            .position(|owned| *owned == Some(place))
    };
    let alone = || of(vec![facts.rows.get(row)?.clone()], 0);
    of(all, row).or_else(alone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_by_what_is_seen_of_it() {
        let row = |order, version: Option<&str>, created_at| Applied {
            order,
            version: version.map(str::to_owned),
            checksum: Some("0123456789abcdef".to_owned()),
            created_at,
            ..Applied::default()
        };
        let classic = row(3, None, Some(1_700_000_000_123));
        let named = row(4, Some("20231114_init"), Some(5));
        let rows = [classic.clone(), named];
        for (text, expected) in [
            ("row 3", &[0][..]),
            (label(&classic).as_str(), &[0]),
            ("1700000000123", &[0]),
            ("0123456789ab…", &[0, 1]),
            ("0123456789ab", &[0, 1]),
            ("0123456789a", &[]),
            ("20231114_init", &[1]),
            ("20231114", &[1]),
            ("3", &[]),
        ] {
            assert_eq!(rows_named(text, &rows), expected, "{text}");
        }
        let numbered = [row(1, Some("0004"), None), row(2, Some("0010"), None)];
        assert_eq!(rows_named("4", &numbered), [0]);
    }
}
