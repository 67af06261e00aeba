//! Drizzle v1 on a table of 0.x: which folder each row belongs to, and the statements that record it.

use super::{Error, Format, Shape, drizzle};
use crate::migration::{Applied, Migration, TableName, quote_literal};
use std::collections::HashMap;
use std::fmt::Write as _;

/// What Drizzle v1 would do to a table of 0.x before it looks at what is pending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upgrade {
    /// Each row's `id` with the folder it is given.
    pub names: Vec<(i64, String)>,
    /// The statements; they belong in one transaction, under the lock.
    pub sql: String,
}

/// Whether the table has to be upgraded before a row can be written.
pub fn needs_upgrade(format: Format, shape: Shape) -> bool {
    format == Format::DrizzleV1 && shape == Shape::Classic
}

/// The upgrade as drizzle-orm 1.0.0-rc.5 does it (`up-migrations/pg.js`).
pub fn upgrade(
    table: &TableName,
    migrations: &[Migration],
    rows: &[Applied],
) -> Result<Upgrade, Error> {
    let owners = owners(migrations, rows)?;
    let names: Vec<(i64, String)> = rows
        .iter()
        .zip(owners)
        .filter_map(|(row, owner)| Some((row.order, migrations.get(owner)?.version.clone())))
        .collect();
    let quoted = table.quoted();
    let mut sql = format!(
        "ALTER TABLE {quoted} ADD COLUMN IF NOT EXISTS name pg_catalog.text;\n\
         ALTER TABLE {quoted} ADD COLUMN IF NOT EXISTS applied_at timestamp with time zone DEFAULT pg_catalog.now();\n"
    );
    for (id, name) in &names {
        let name = quote_literal(name);
        // Writing to a String cannot fail.
        let _ = writeln!(
            sql,
            "UPDATE {quoted} SET name = {name}, applied_at = NULL WHERE id = {id};"
        );
    }
    Ok(Upgrade { names, sql })
}

/// The migration of each row, or the rows that have none.
pub(super) fn owners(migrations: &[Migration], rows: &[Applied]) -> Result<Vec<usize>, Error> {
    let matched = match_unnamed(migrations, rows);
    let ids: Vec<i64> = rows
        .iter()
        .zip(&matched)
        .filter(|(_, owner)| owner.is_none())
        .map(|(row, _)| row.order)
        .collect();
    if ids.is_empty() {
        Ok(matched.into_iter().flatten().collect())
    } else {
        Err(Error::Upgrade { ids })
    }
}

/// The folder of each row that has no name: the only one of its second; of several of its second the one with its
/// hash; where the second has none, any with its hash.
pub(super) fn match_unnamed(migrations: &[Migration], rows: &[Applied]) -> Vec<Option<usize>> {
    let mut by_second: HashMap<i64, Vec<usize>> = HashMap::new();
    let mut by_hash: HashMap<&str, usize> = HashMap::new();
    for (index, migration) in migrations.iter().enumerate() {
        by_second
            .entry(migration.created_at)
            .or_default()
            .push(index);
        // Of several with one hash Drizzle takes the last.
        by_hash.insert(&migration.checksum, index);
    }
    rows.iter()
        .map(|row| {
            let hash = row.checksum.as_deref().unwrap_or_default();
            let second = row.created_at.map(drizzle::whole_second);
            match second
                .and_then(|second| by_second.get(&second))
                .map(Vec::as_slice)
            {
                Some([only]) => Some(*only),
                Some(several) => several
                    .iter()
                    .copied()
                    .find(|index| migrations.get(*index).is_some_and(|m| m.checksum == hash)),
                None => by_hash.get(hash).copied(),
            }
        })
        .collect()
}
