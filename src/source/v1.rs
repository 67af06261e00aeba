//! Drizzle v1's folder: one folder a migration.

use super::facts::Identity;
use super::folder::{Kind, Name, Tree};
use super::{Error, Loaded};
use crate::formats::drizzle_v1::{MIGRATION_FILE, collate, folder_millis};
use std::collections::HashSet;

/// Reads the migration.sql of every folder that has one.
pub(super) fn load(tree: &Tree, names: &[Name], folders: &[String]) -> Result<Loaded, Error> {
    let mut folders: Vec<&String> = folders.iter().collect();
    folders.sort_by(|a, b| collate(a, b));
    let mut loaded = Loaded::default();
    loaded.warnings.extend(left_out(names, &folders));
    let mut problems = Vec::new();
    let mut buffer = Vec::new();
    for folder in folders {
        let path = format!("{folder}/{MIGRATION_FILE}");
        let Some(created_at) = folder_millis(folder) else {
            problems.push(format!(
                "{folder}: the name does not start with 14 digits (YYYYMMDDHHMMSS), so Drizzle cannot record it"
            ));
            continue;
        };
        match tree.facts(&path, &mut buffer) {
            Ok(facts) => {
                let identity = Identity {
                    version: folder.clone(),
                    name: folder.clone(),
                    path,
                    created_at,
                    down: None,
                };
                loaded
                    .migrations
                    .push(facts.into_migration(identity, &mut problems));
            }
            Err(error) => problems.push(format!("{path}: {error}")),
        }
    }
    Error::all(problems)?;
    Ok(loaded)
}

/// What looks like a migration and is none to Drizzle.
fn left_out(names: &[Name], folders: &[&String]) -> Option<String> {
    let folders: HashSet<&str> = folders.iter().map(|folder| folder.as_str()).collect();
    let looks_so = |name: &Name| match name.kind {
        Kind::Folder => {
            folder_millis(&name.name).is_some() && !folders.contains(name.name.as_str())
        }
        Kind::File | Kind::Other(_) => name.is_sql(),
    };
    let stray: Vec<&str> = names
        .iter()
        .filter(|name| looks_so(name))
        .map(|name| name.name.as_str())
        .collect();
    (!stray.is_empty()).then(|| {
        format!(
            "no folder with {MIGRATION_FILE}, so Drizzle leaves them out: {}",
            stray.join(", ")
        )
    })
}
