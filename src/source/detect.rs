//! Which format a folder has. Guessing wrong would run another tool's files as if they were ours, so what cannot be
//! proved is refused.

use super::folder::{Kind, Name, Tree};
use super::{Error, Params};
use crate::formats::drizzle::JOURNAL;
use crate::formats::drizzle_v1::{MIGRATION_FILE, SNAPSHOT_FILE};
use crate::formats::other_tools::{self, Tool};
use crate::formats::{Format, numbered};
use crate::migration::FormatSetting;

/// The answer.
pub(super) struct Detected {
    pub(super) format: Format,
    pub(super) needs_history_proof: bool,
    /// The direct entries of the folder.
    pub(super) names: Vec<Name>,
    /// The folders with a migration.sql.
    pub(super) folders: Vec<String>,
}

/// Looks at names, and at nothing that `SCHEMAGATE_FORMAT` already says.
pub(super) fn detect(tree: &Tree, params: &Params) -> Result<Detected, Error> {
    let names = tree.names()?;
    let folders = match params.format {
        FormatSetting::Sql => Vec::new(),
        FormatSetting::Auto | FormatSetting::Drizzle => migration_folders(tree, &names)?,
    };
    let mut needs_history_proof = false;
    let format = match params.format {
        FormatSetting::Sql => Format::Sql,
        FormatSetting::Drizzle => drizzle(tree, &names, &folders)?,
        FormatSetting::Auto if tree.has(JOURNAL)? => drizzle(tree, &names, &folders)?,
        FormatSetting::Auto => {
            refuse_other_tools(tree, &names)?;
            if folders.is_empty() {
                Format::Sql
            } else {
                needs_history_proof = !is_drizzles(tree, &names, &folders)?;
                Format::DrizzleV1
            }
        }
    };
    Ok(Detected {
        format,
        needs_history_proof,
        names,
        folders,
    })
}

/// The refusal of a tool that is not supported yet.
pub(super) fn other_tool(tree: &Tree, tool: Tool, sign: &str) -> Error {
    Error::new(
        format!(
            "SCHEMAGATE_DIR={}: {sign} is a sign of {tool}, which is not supported yet",
            tree.place()
        ),
        "run the tool itself under `schemagate exec`, or set SCHEMAGATE_FORMAT if the files are not its",
    )
}

/// The refusal of Drizzle's files without Drizzle's journal.
pub(super) fn journal_missing(tree: &Tree, sign: &str) -> Error {
    Error::new(
        format!(
            "SCHEMAGATE_DIR={}: {sign} is a sign of Drizzle, but {JOURNAL} is missing",
            tree.place()
        ),
        "put the whole folder into the image, `meta` included; set SCHEMAGATE_FORMAT=sql if it is not Drizzle's",
    )
}

fn migration_folders(tree: &Tree, names: &[Name]) -> Result<Vec<String>, Error> {
    let mut folders = Vec::new();
    for name in names.iter().filter(|name| name.kind == Kind::Folder) {
        if tree.has(&format!("{}/{MIGRATION_FILE}", name.name))? {
            folders.push(name.name.clone());
        }
    }
    Ok(folders)
}

fn drizzle(tree: &Tree, names: &[Name], folders: &[String]) -> Result<Format, Error> {
    let has_journal = tree.has(JOURNAL)?;
    match (has_journal, folders.first()) {
        (true, Some(folder)) => Err(Error::new(
            format!(
                "SCHEMAGATE_DIR={}: both {JOURNAL} of Drizzle 0.x and {folder}/{MIGRATION_FILE} of Drizzle v1 are there",
                tree.place()
            ),
            "run `drizzle-kit up`, which converts the old files and removes the journal",
        )),
        (true, None) => Ok(Format::DrizzleClassic),
        (false, None) if names.iter().any(Name::is_sql) => Err(Error::new(
            format!(
                "SCHEMAGATE_DIR={}: there is neither {JOURNAL} nor a folder with {MIGRATION_FILE}, so Drizzle finds no \
                 migrations",
                tree.place()
            ),
            "put the whole folder into the image, `meta` included",
        )),
        (false, _) => Ok(Format::DrizzleV1),
    }
}

fn refuse_other_tools(tree: &Tree, names: &[Name]) -> Result<(), Error> {
    for name in names {
        if let Some(tool) = other_tools::by_name(&name.name) {
            return Err(other_tool(tree, tool, &name.name));
        }
        if name.kind == Kind::Folder && name.name == "meta" && names.iter().any(Name::is_sql) {
            return Err(journal_missing(tree, "the folder meta"));
        }
    }
    Ok(())
}

/// Whether the folders are Drizzle's beyond doubt; Prisma's look the same but have no snapshot.
fn is_drizzles(tree: &Tree, names: &[Name], folders: &[String]) -> Result<bool, Error> {
    for folder in folders {
        if tree.has(&format!("{folder}/{SNAPSHOT_FILE}"))? {
            return Ok(true);
        }
    }
    let is_numbered =
        |name: &&Name| name.is_sql() && matches!(numbered::parse_name(&name.name), Ok(Some(_)));
    match names.iter().find(is_numbered) {
        None => Ok(false),
        Some(file) => Err(Error::new(
            format!(
                "SCHEMAGATE_DIR={}: there are both numbered files ({}) and folders with {MIGRATION_FILE}",
                tree.place(),
                file.name
            ),
            "set SCHEMAGATE_FORMAT to what counts: drizzle for the folders, sql for the files",
        )),
    }
}
