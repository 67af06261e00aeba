//! What `down --to V` undoes: everything that was applied after V, newest first, or why it cannot be. Pure.
//!
//! Newer is what was applied later, by the history and not by the number: a migration that was run out of order may be
//! built on one with a higher number, never the other way round.

use std::collections::BTreeSet;

use crate::{
    formats::{self, numbered},
    migration::{Applied, Migration},
    plan::{Conflict, Plan, State, UnknownTarget, resolve_target},
};

/// Down to where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The state before the first migration.
    Nothing,
    /// So many rows of the history, the oldest, stay.
    Rows(usize),
    /// The migration at this position stays, with all that was applied before it.
    Stays(usize),
}

/// Why nothing is undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The history does not match the files.
    Conflicts(Vec<Conflict>),
    /// It cannot be done as it was asked for.
    Usage {
        /// What stands in the way.
        what: String,
        /// What to do.
        next: String,
    },
}

/// What `--to` names. `0` is nothing at all, unless a migration has the number 0: then that one stays, the milder
/// reading of the two.
pub fn target(migrations: &[Migration], to: &str) -> Result<Target, UnknownTarget> {
    match resolve_target(migrations, to) {
        Ok(position) => Ok(Target::Stays(position)),
        Err(_) if numbered::is_number(to) && numbered::trim(to).is_empty() => Ok(Target::Nothing),
        Err(error) => Err(error),
    }
}

/// The positions of the migrations to undo, in the order in which to do so. `rows` is the history, oldest first, and
/// `plan` what a look at it has shown.
pub fn order(
    migrations: &[Migration],
    rows: &[Applied],
    plan: &Plan,
    target: Target,
) -> Result<Vec<usize>, Refusal> {
    if !plan.conflicts.is_empty() {
        return Err(Refusal::Conflicts(plan.conflicts.clone()));
    }
    let row_of = |position: usize| match plan.states.get(position) {
        Some(State::Applied { row, .. }) => Some(*row),
        _ => None,
    };
    let first = match target {
        Target::Nothing => 0,
        Target::Rows(rows) => rows,
        Target::Stays(position) => match row_of(position) {
            Some(row) => row + 1,
            None => return not_applied(migrations, plan, position),
        },
    };
    let positions = 0..migrations.len();
    let mut undone: Vec<(usize, usize)> = positions
        .filter_map(|position| Some((row_of(position)?, position)))
        .filter(|(row, _)| *row >= first)
        .collect();
    undone.sort_unstable_by(|a, b| b.cmp(a));
    refuse_strangers(rows, first, &undone)?;
    let without: Vec<String> = undone
        .iter()
        .filter_map(|(_, position)| migrations.get(*position))
        .filter(|migration| migration.down.is_none())
        .map(|migration| migration.path.clone())
        .collect();
    if without.is_empty() {
        Ok(undone.into_iter().map(|(_, position)| position).collect())
    } else {
        Err(no_down_file(&without))
    }
}

/// Nothing is to be done where the target is still to come and nothing behind it was applied either.
fn not_applied(
    migrations: &[Migration],
    plan: &Plan,
    position: usize,
) -> Result<Vec<usize>, Refusal> {
    let mut behind = plan.states.iter().skip(position);
    if behind.any(|state| matches!(state, State::Applied { .. })) {
        let version = migrations
            .get(position)
            .map_or("", |migration| &migration.version);
        return Err(Refusal::Usage {
            what: format!(
                "{version} is not applied, while migrations behind it are: what is newer than it cannot be told"
            ),
            next: "name a migration that is applied (`schemagate status` lists them)".to_owned(),
        });
    }
    Ok(Vec::new())
}

fn no_down_file(paths: &[String]) -> Refusal {
    let path = paths.first().map_or("", String::as_str);
    let stem = path.strip_suffix(".sql").unwrap_or(path);
    let stem = stem.strip_suffix(".up").unwrap_or(stem);
    Refusal::Usage {
        what: format!(
            "nothing was undone: there is no down file for {}",
            paths.join(", ")
        ),
        next: format!("write {stem}.down.sql, or stay above it"),
    }
}

/// A row that no file of this image owns stands on what would be undone beneath it.
fn refuse_strangers(
    rows: &[Applied],
    first: usize,
    undone: &[(usize, usize)],
) -> Result<(), Refusal> {
    let known: BTreeSet<usize> = undone.iter().map(|(row, _)| *row).collect();
    let strangers: Vec<Conflict> = rows
        .iter()
        .enumerate()
        .skip(first)
        .filter(|(row, _)| !known.contains(row))
        .map(|(_, row)| Conflict::Missing {
            row: formats::label(row),
        })
        .collect();
    if strangers.is_empty() {
        Ok(())
    } else {
        Err(Refusal::Conflicts(strangers))
    }
}

/// What a person may not expect where migrations were applied out of order: something with a higher number stays.
pub fn warning(migrations: &[Migration], plan: &Plan, undone: &[usize]) -> Option<String> {
    let lowest = undone.iter().min()?;
    let stays = |position: &usize| {
        let applied = matches!(plan.states.get(*position), Some(State::Applied { .. }));
        applied && !undone.contains(position)
    };
    let higher = (lowest + 1..migrations.len()).find(stays)?;
    Some(format!(
        "{} was applied after {}, though its number is lower: by the history it is the newer one, and it is undone while \
         {1} stays",
        migrations.get(*lowest)?.version,
        migrations.get(higher)?.version,
    ))
}

#[cfg(test)]
mod tests;
