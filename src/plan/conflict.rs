//! What forbids to run anything.

use crate::exit::ExitStatus;
use std::fmt;

/// The history does not match the files. Always [`ExitStatus::History`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conflict {
    /// An applied file has another content now.
    Changed {
        /// The migration.
        version: String,
        /// Its file.
        path: String,
        /// The checksum in the history.
        applied: String,
        /// The checksum of the file.
        found: String,
    },
    /// A pending migration is older than the newest applied.
    OutOfOrder {
        /// The migration.
        version: String,
        /// Its file.
        path: String,
        /// The tool itself would leave it out silently.
        skipped_by_tool: bool,
    },
    /// A row without a file that is not newer than this image.
    Missing {
        /// The row as messages name it.
        row: String,
    },
    /// A row that is newer than this image.
    Ahead {
        /// The row as messages name it.
        row: String,
    },
}

fn short(checksum: &str) -> String {
    checksum.chars().take(12).collect()
}

// === impl Conflict ===

impl Conflict {
    /// [`ExitStatus::History`].
    pub const fn exit_status(&self) -> ExitStatus {
        ExitStatus::History
    }

    /// What to do next.
    pub fn help(&self) -> String {
        match self {
            Self::Changed { version, .. } => format!(
                "restore the file and put the change into a new migration; if the database is right as it is, \
                 `schemagate repair --accept-checksum {version}`, or set SCHEMAGATE_CHECKSUM=warn"
            ),
            Self::OutOfOrder { .. } => {
                "generate it again so that it is the newest; or set SCHEMAGATE_OUT_OF_ORDER=apply to run it now, ignore \
                 to leave it out"
                    .to_owned()
            }
            Self::Missing { row } => format!(
                "deploy an image that has the file; if it is gone for good, `schemagate repair --forget {row:?}`"
            ),
            Self::Ahead { .. } => {
                "deploy an image that has the file, or set SCHEMAGATE_AHEAD=allow".to_owned()
            }
        }
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed {
                path,
                applied,
                found,
                ..
            } => write!(
                f,
                "{path} has changed since it was applied (checksum then {}, now {})",
                short(applied),
                short(found)
            ),
            Self::OutOfOrder {
                version,
                path,
                skipped_by_tool,
            } => {
                write!(
                    f,
                    "{version} ({path}) is pending but older than the newest applied"
                )?;
                if *skipped_by_tool {
                    f.write_str("; Drizzle would skip it without a word")?;
                }
                Ok(())
            }
            Self::Missing { row } => write!(f, "{row} was applied, but there is no file for it"),
            Self::Ahead { row } => write!(
                f,
                "{row} was applied by something newer than this image, and SCHEMAGATE_AHEAD is fail"
            ),
        }
    }
}
