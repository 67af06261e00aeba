//! Classic Drizzle's folder: the journal says which files there are and in which order.

use super::facts::Identity;
use super::folder::{Kind, Name, Tree};
use super::{Error, Loaded, unreadable};
use crate::formats::drizzle::{self, Entry, JOURNAL};
use std::collections::{HashMap, HashSet};

/// Reads the journal and every file that it names; Drizzle too wants all of them, also those applied long ago.
pub(super) fn load(tree: &Tree, names: &[Name]) -> Result<Loaded, Error> {
    let journal = tree
        .bytes(JOURNAL)
        .map_err(|error| unreadable(JOURNAL, &error))?;
    let entries =
        drizzle::parse_journal(&String::from_utf8_lossy(&journal)).map_err(|problems| Error {
            problems,
            help: "correct the journal, or generate it again with drizzle-kit".to_owned(),
        })?;
    let mut loaded = Loaded::default();
    loaded.warnings.extend(drizzle::order_warning(&entries));
    loaded.warnings.extend(unlisted(names, &entries));
    let kinds: HashMap<&str, &Kind> = names
        .iter()
        .map(|name| (name.name.as_str(), &name.kind))
        .collect();
    let mut problems = Vec::new();
    let mut buffer = Vec::new();
    for entry in entries {
        let path = format!("{}.sql", entry.tag);
        if let Some(problem) = absence(tree, &kinds, &path)? {
            problems.push(problem);
            continue;
        }
        match tree.facts(&path, &mut buffer) {
            Ok(facts) => {
                let identity = Identity {
                    version: entry.tag.clone(),
                    name: entry.tag,
                    path,
                    created_at: entry.when,
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

fn absence(tree: &Tree, kinds: &HashMap<&str, &Kind>, path: &str) -> Result<Option<String>, Error> {
    let is_there = match kinds.get(path) {
        Some(Kind::File) => true,
        Some(Kind::Folder) => false,
        Some(Kind::Other(reason)) => return Ok(Some(format!("{path}: {reason}"))),
        None => tree.has(path)?,
    };
    Ok((!is_there).then(|| format!("{path}: {JOURNAL} names it, but it is not there")))
}

fn unlisted(names: &[Name], entries: &[Entry]) -> Option<String> {
    let listed: HashSet<&str> = entries.iter().map(|entry| entry.tag.as_str()).collect();
    let is_listed = |name: &str| {
        name.strip_suffix(".sql")
            .is_some_and(|tag| listed.contains(tag))
    };
    let stray: Vec<&str> = names
        .iter()
        .filter(|name| name.is_sql() && !is_listed(&name.name))
        .map(|name| name.name.as_str())
        .collect();
    (!stray.is_empty()).then(|| {
        format!(
            "not in {JOURNAL}, so Drizzle leaves them out: {}",
            stray.join(", ")
        )
    })
}
