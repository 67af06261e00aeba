//! A flat folder of numbered SQL files.

use super::facts::{Facts, Identity};
use super::folder::{Kind, Name, Tree};
use super::{Error, Loaded, detect};
use crate::formats::numbered::{self, Pair};
use crate::migration::FormatSetting;

/// Reads the up files. Under `auto` the marks of another tool are refused; where `sql` was asked for they are a warning.
pub(super) fn load(tree: &Tree, names: &[Name], setting: FormatSetting) -> Result<Loaded, Error> {
    let is_folder = |name: &&Name| name.kind != Kind::Folder;
    let files = names
        .iter()
        .filter(is_folder)
        .map(|name| name.name.as_str());
    let arranged = numbered::arrange(files);
    let mut problems = unreadable_kinds(names);
    let arranged = arranged.unwrap_or_else(|found| {
        problems.extend(found);
        numbered::Arranged::default()
    });
    Error::all(problems)?;
    let mut loaded = Loaded {
        migrations: Vec::with_capacity(arranged.pairs.len()),
        warnings: arranged.warnings,
    };
    let mut problems = Vec::new();
    let mut buffer = Vec::new();
    for pair in arranged.pairs {
        match tree.facts(&pair.path, &mut buffer) {
            Ok(facts) => {
                match setting {
                    FormatSetting::Sql => loaded.warnings.extend(mark_warning(&pair.path, &facts)),
                    FormatSetting::Auto | FormatSetting::Drizzle => {
                        refuse_marks(tree, &pair.path, &facts)?;
                    }
                }
                problems.extend(facts.utf8_problem(&pair.path));
                loaded
                    .migrations
                    .push(facts.into_migration(identity(pair), &mut problems));
            }
            Err(error) => problems.push(format!("{}: {error}", pair.path)),
        }
    }
    Error::all(problems)?;
    Ok(loaded)
}

fn identity(pair: Pair) -> Identity {
    Identity {
        version: pair.up.version,
        name: pair.up.name,
        path: pair.path,
        created_at: 0,
        down: pair.down,
    }
}

fn unreadable_kinds(names: &[Name]) -> Vec<String> {
    let problem = |name: &Name| match &name.kind {
        Kind::Other(reason) if name.is_sql() => Some(format!("{}: {reason}", name.name)),
        _ => None,
    };
    names.iter().filter_map(problem).collect()
}

fn refuse_marks(tree: &Tree, path: &str, facts: &Facts) -> Result<(), Error> {
    if let Some(tool) = facts.head.other_tool {
        return Err(detect::other_tool(tree, tool, path));
    }
    if facts.head.has_drizzle_marker {
        return Err(detect::journal_missing(tree, path));
    }
    Ok(())
}

fn mark_warning(path: &str, facts: &Facts) -> Option<String> {
    let tool = facts.head.other_tool?;
    Some(format!(
        "{path}: marks of {tool} are comments to SCHEMAGATE_FORMAT=sql: the whole file runs, its down section included"
    ))
}
