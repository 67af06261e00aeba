//! Which row belongs to which file, and which files without a row the tool would no longer run.

use super::{Error, Format, Shape, drizzle, drizzle_v1, numbered, row, upgrade};
use crate::migration::{Applied, Migration};
use std::cmp::Ordering;
use std::collections::HashMap;

/// The history beside the files.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Matched {
    /// The rows in the order in which they were written.
    pub rows: Vec<Applied>,
    /// For each migration the position of its row in [`Matched::rows`]; `None`: not applied.
    pub row_of: Vec<Option<usize>>,
    /// For each migration whether it has no row though something newer has one.
    pub out_of_order: Vec<bool>,
    /// The positions of the rows that no migration owns, ascending.
    pub unknown: Vec<usize>,
    /// Whether the tool itself would leave the out of order ones out without a word.
    pub skipped_by_tool: bool,
    /// What a person should know of the history.
    pub warnings: Vec<String>,
}

/// Matches the rows of the history to the migrations of the folder.
///
/// `shape` is `None` where the table does not exist. The only failure is Drizzle's own: rows of a 0.x table that match
/// no folder of v1.
pub fn reconcile(
    format: Format,
    migrations: &[Migration],
    mut rows: Vec<Applied>,
    shape: Option<Shape>,
) -> Result<Matched, Error> {
    rows.sort_by_key(|row| row.order);
    let mut matching = Matching::new(migrations, &rows);
    let mut warnings = Vec::new();
    let out_of_order = match format {
        Format::DrizzleClassic => matching.classic(),
        Format::DrizzleV1 => {
            if shape == Some(Shape::Classic) {
                matching.upgraded()?;
            } else {
                warnings.extend(matching.v1());
            }
            matching.older_than_newest(drizzle_v1::collate, |_| true)
        }
        Format::Sql => {
            matching.by_number();
            matching.older_than_newest(numbered::compare, numbered::is_number)
        }
    };
    let unknown = matching.unowned().collect();
    let row_of = matching.row_of;
    Ok(Matched {
        rows,
        row_of,
        out_of_order,
        unknown,
        skipped_by_tool: format == Format::DrizzleClassic,
        warnings,
    })
}

struct Matching<'a> {
    migrations: &'a [Migration],
    rows: &'a [Applied],
    row_of: Vec<Option<usize>>,
    owned: Vec<bool>,
}

// === impl Matching ===

impl<'a> Matching<'a> {
    fn new(migrations: &'a [Migration], rows: &'a [Applied]) -> Self {
        Self {
            migrations,
            rows,
            row_of: vec![None; migrations.len()],
            owned: vec![false; rows.len()],
        }
    }

    /// Gives a row to a migration. Drizzle has no unique key and no lock, so there can be several for one: the first
    /// counts, or the first with the file's checksum.
    fn claim(&mut self, row: usize, migration: usize) {
        if let Some(owned) = self.owned.get_mut(row) {
            *owned = true;
        }
        let checksum = self.migrations.get(migration).map(|m| &m.checksum);
        let has_checksum =
            |row: usize| self.rows.get(row).and_then(|r| r.checksum.as_ref()) == checksum;
        let better = match self.row_of.get(migration) {
            Some(Some(current)) => !has_checksum(*current) && has_checksum(row),
            Some(None) => true,
            None => false,
        };
        if better && let Some(slot) = self.row_of.get_mut(migration) {
            *slot = Some(row);
        }
    }

    /// Claims every unowned row for which `find` knows a migration.
    fn claim_by(&mut self, find: impl Fn(&Applied) -> Option<usize>) {
        for (position, row) in self.rows.iter().enumerate() {
            if !self.owned.get(position).is_some_and(|owned| *owned)
                && let Some(migration) = find(row)
            {
                self.claim(position, migration);
            }
        }
    }

    fn unowned(&self) -> impl Iterator<Item = usize> {
        let positions = self.owned.iter().enumerate();
        positions.filter(|(_, owned)| !**owned).map(|(row, _)| row)
    }

    /// Migrations without a row, looked up by what `key` makes of them.
    fn open_by<K: std::hash::Hash + Eq>(
        &self,
        key: impl Fn(&'a Migration) -> K,
    ) -> HashMap<K, usize> {
        let mut map = HashMap::new();
        for (index, migration) in self.migrations.iter().enumerate() {
            if self.row_of.get(index) == Some(&None) {
                map.entry(key(migration)).or_insert(index);
            }
        }
        map
    }

    /// Classic Drizzle: a migration is its `created_at`. On a table where the v1 generation has written too, a row is
    /// also known by the folder's name, or by its second together with its hash.
    fn classic(&mut self) -> Vec<bool> {
        let by_time = self.open_by(|m| m.created_at);
        self.claim_by(|row| by_time.get(&row.created_at?).copied());
        if self.rows.iter().any(|row| row.version.is_some()) {
            let by_name = self.open_by(|m| drizzle::v1_name(m.created_at, &m.version));
            self.claim_by(|row| by_name.get(row.version.as_deref()?).copied());
        }
        let by_second =
            self.open_by(|m| (drizzle::whole_second(m.created_at), m.checksum.as_str()));
        self.claim_by(|row| {
            let key = (row.created_at?, row.checksum.as_deref()?);
            by_second.get(&key).copied()
        });
        let newest = self.rows.iter().filter_map(|row| row.created_at).max();
        let is_skipped = |m: &Migration| newest.is_some_and(|newest| m.created_at <= newest);
        self.claim_skipped_by_hash(is_skipped);
        let open = self.row_of.iter().map(Option::is_none);
        let migrations = self.migrations.iter();
        open.zip(migrations)
            .map(|(open, m)| open && is_skipped(m))
            .collect()
    }

    /// A journal whose `when` was edited: Drizzle skips such an entry, and its content has a row. One row for one
    /// migration, because files of equal content (an empty custom one) are common.
    fn claim_skipped_by_hash(&mut self, is_skipped: impl Fn(&Migration) -> bool) {
        let mut by_hash: HashMap<&str, Vec<usize>> = HashMap::new();
        for row in self.unowned().collect::<Vec<_>>().into_iter().rev() {
            if let Some(hash) = self.rows.get(row).and_then(|row| row.checksum.as_deref()) {
                by_hash.entry(hash).or_default().push(row);
            }
        }
        for (index, migration) in self.migrations.iter().enumerate() {
            if self.row_of.get(index) == Some(&None)
                && is_skipped(migration)
                && let Some(row) = by_hash
                    .get_mut(migration.checksum.as_str())
                    .and_then(Vec::pop)
            {
                self.claim(row, index);
            }
        }
    }

    /// Drizzle v1: a migration is its folder's name. Rows without one were written by a 0.x release afterwards.
    fn v1(&mut self) -> Vec<String> {
        let by_name = self.open_by(|m| m.version.as_str());
        self.claim_by(|row| by_name.get(row.version.as_deref()?).copied());
        let unnamed: Vec<usize> = self
            .unowned()
            .filter(|row| self.rows.get(*row).is_some_and(|row| row.version.is_none()))
            .collect();
        let rows: Vec<Applied> = unnamed
            .iter()
            .filter_map(|row| self.rows.get(*row).cloned())
            .collect();
        let owners = upgrade::match_unnamed(self.migrations, &rows);
        let mut warnings = Vec::new();
        for (position, owner) in unnamed.into_iter().zip(owners) {
            let Some(owner) = owner else { continue };
            if self.row_of.get(owner) == Some(&None)
                && let (Some(row), Some(migration)) =
                    (self.rows.get(position), self.migrations.get(owner))
            {
                warnings.push(format!(
                    "{} has no name in the history, so a 0.x release of Drizzle wrote it; it counts as {}, but Drizzle \
                     v1 would run that migration again",
                    row::label(row),
                    migration.version
                ));
            }
            self.claim(position, owner);
        }
        warnings
    }

    fn upgraded(&mut self) -> Result<(), Error> {
        let owners = upgrade::owners(self.migrations, self.rows)?;
        for (row, owner) in owners.into_iter().enumerate() {
            self.claim(row, owner);
        }
        Ok(())
    }

    fn by_number(&mut self) {
        let by_number = self.open_by(|m| numbered::trim(&m.version));
        self.claim_by(|row| {
            let version = row
                .version
                .as_deref()
                .filter(|version| numbered::is_number(version))?;
            by_number.get(numbered::trim(version)).copied()
        });
    }

    /// For each migration whether it is open and something behind it in the order of versions is applied, be it known
    /// here or not.
    fn older_than_newest(
        &self,
        order: fn(&str, &str) -> Ordering,
        is_version: fn(&str) -> bool,
    ) -> Vec<bool> {
        let known = self.migrations.iter().zip(&self.row_of);
        let known = known
            .filter(|(_, row)| row.is_some())
            .map(|(m, _)| m.version.as_str());
        let unknown = self
            .unowned()
            .filter_map(|row| self.rows.get(row)?.version.as_deref());
        let unknown = unknown.filter(|version| is_version(version));
        let newest = known.chain(unknown).max_by(|a, b| order(a, b));
        let is_older =
            |m: &Migration| newest.is_some_and(|newest| order(&m.version, newest).is_lt());
        let open = self.row_of.iter().map(Option::is_none);
        open.zip(self.migrations)
            .map(|(open, m)| open && is_older(m))
            .collect()
    }
}

#[cfg(test)]
mod tests;
