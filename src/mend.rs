//! `repair`: what is to be done about a migration that a person has looked at, or why nothing is.
//!
//! Pure: the migrations, the rows beside them and what the journal has of each go in, a [`Mend`] or a [`Refusal`] comes
//! out.

mod find;

use find::{Found, find, row_names};

use crate::{
    formats::{self, Format, Shape},
    migration::{Applied, Migration},
};

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `--clear-dirty`: what was begun of it counts no more.
    ClearDirty,
    /// `--accept-checksum`: the history takes over the file's checksum.
    AcceptChecksum,
    /// `--forget`: its row goes.
    Forget,
}

/// A wish, and the migration or row that it is about, as a person names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// What is asked for.
    pub kind: Kind,
    /// Which.
    pub named: String,
}

/// What the journal has of a migration since it was last whole: begun in pieces, or failed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mark {
    /// Which.
    pub version: String,
    /// The last of those rows.
    pub last: i64,
    /// How many pieces are done.
    pub done: usize,
    /// How many were begun.
    pub begun: usize,
    /// How often it failed.
    pub failed: usize,
}

/// Everything that decides.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The format of the folder.
    pub format: Format,
    /// Its migrations.
    pub migrations: &'a [Migration],
    /// The rows of the history, oldest first.
    pub rows: &'a [Applied],
    /// The shape of their table; `None` where it does not exist.
    pub shape: Option<Shape>,
    /// What the journal has of those that are not whole.
    pub marks: &'a [Mark],
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mend {
    /// What was asked for.
    pub kind: Kind,
    /// The migration, or the label of a row that no migration owns: what the journal calls it.
    pub version: String,
    /// What it comes to.
    pub change: Change,
    /// The same in a sentence without its subject: `0004: …`.
    pub sentence: String,
}

/// What changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Nothing but the journal.
    Clear {
        /// What the journal had, which must not have become more.
        mark: Mark,
        /// The place of the migration in the folder, where it has one: it must still have no row.
        migration: Option<usize>,
    },
    /// The checksum of a row.
    Accept {
        /// The row as it was.
        row: Applied,
        /// The checksum of the file.
        checksum: String,
    },
    /// A row goes.
    Forget {
        /// The row as it was.
        row: Applied,
    },
}

/// Why nothing is to be done. Always [`crate::exit::ExitStatus::Usage`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What speaks against it.
    pub what: String,
    /// What to do instead.
    pub next: String,
    /// What the journal may call it: an earlier repair may be the reason.
    pub known_as: String,
}

/// Decides.
///
/// # Errors
///
/// The wish does not apply, or does not say which migration or row it is about.
pub fn decide(wish: &Wish, facts: &Facts<'_>) -> Result<Mend, Refusal> {
    match wish.kind {
        Kind::ClearDirty => clear(wish, facts),
        Kind::AcceptChecksum => accept(wish, facts),
        Kind::Forget => forget(wish, facts),
    }
}

fn clear(wish: &Wish, facts: &Facts<'_>) -> Result<Mend, Refusal> {
    let marked = |version: &str| facts.marks.iter().find(|mark| mark.version == version);
    let found = match find(&wish.named, facts) {
        Ok(found) => found,
        // Its file may be gone, and it has no row.
        Err(refusal) => match marked(&wish.named) {
            Some(_) => Found::default(),
            None => return Err(refusal),
        },
    };
    let version = found.version(&wish.named, facts);
    if let Some(row) = found.rows.first().and_then(|row| facts.rows.get(*row)) {
        return Err(Refusal {
            what: format!(
                "{version} is applied ({}): nothing of it is half done",
                formats::label(row)
            ),
            next: format!("if it is to run again, `schemagate repair --forget {version}`"),
            known_as: version,
        });
    }
    let Some(mark) = marked(&version) else {
        let known: Vec<&str> = facts.marks.iter().map(|m| m.version.as_str()).collect();
        return Err(Refusal {
            what: format!(
                "{version} is not dirty: the journal has nothing of it that was begun or failed"
            ),
            next: if known.is_empty() {
                "nothing in this history is dirty or failed".to_owned()
            } else {
                format!("dirty or failed: {}", known.join(", "))
            },
            known_as: version,
        });
    };
    let sentence = if mark.begun + mark.done > 0 {
        format!(
            "what was begun of it counts no more ({} pieces done, {} begun and not done); it runs again from its start",
            mark.done, mark.begun
        )
    } else {
        "that it failed counts no more; it may run again as it is".to_owned()
    };
    Ok(Mend {
        kind: wish.kind,
        sentence,
        change: Change::Clear {
            mark: mark.clone(),
            migration: found.migration,
        },
        version,
    })
}

fn accept(wish: &Wish, facts: &Facts<'_>) -> Result<Mend, Refusal> {
    let found = find(&wish.named, facts)?;
    let version = found.version(&wish.named, facts);
    let refuse = |what: String, next: &str| {
        Err(Refusal {
            what,
            next: next.to_owned(),
            known_as: version.clone(),
        })
    };
    let Some(migration) = found.migration(facts) else {
        return refuse(
            format!(
                "{version} was applied, and this image has no file for it whose checksum could be accepted"
            ),
            "deploy an image that has the file",
        );
    };
    let Some(row) = found.rows.first().and_then(|row| facts.rows.get(*row)) else {
        return refuse(
            format!("{version} is not applied, so that the history has no checksum of it"),
            "run `schemagate migrate`",
        );
    };
    let Some(before) = &row.checksum else {
        return refuse(
            format!("the history keeps no checksum of {version}"),
            "there is nothing to accept",
        );
    };
    if *before == migration.checksum {
        return refuse(
            format!(
                "{} has not changed since it was applied ({})",
                migration.path,
                short(before)
            ),
            "see in `schemagate status` which one has changed",
        );
    }
    Ok(Mend {
        kind: wish.kind,
        sentence: format!(
            "the history takes over the checksum of {} ({} then, {} now)",
            migration.path,
            short(before),
            short(&migration.checksum)
        ),
        change: Change::Accept {
            row: row.clone(),
            checksum: migration.checksum.clone(),
        },
        version,
    })
}

fn forget(wish: &Wish, facts: &Facts<'_>) -> Result<Mend, Refusal> {
    let found = find(&wish.named, facts)?;
    let version = found.version(&wish.named, facts);
    let rows: Vec<&Applied> = found
        .rows
        .iter()
        .filter_map(|row| facts.rows.get(*row))
        .collect();
    match rows.as_slice() {
        [] => Err(Refusal {
            what: format!("{version} is not applied: there is no row to take away"),
            next: "see `schemagate status`".to_owned(),
            known_as: version,
        }),
        [row] => Ok(Mend {
            kind: wish.kind,
            sentence: format!(
                "its row ({}) goes; it counts as never applied",
                row_names(row)
            ),
            change: Change::Forget {
                row: (*row).clone(),
            },
            version,
        }),
        several => Err(Refusal {
            what: format!("{version} has {} rows", several.len()),
            next: format!(
                "name one of them: {}",
                several
                    .iter()
                    .map(|row| format!("`row {}`", row.order))
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
            known_as: version,
        }),
    }
}

fn short(checksum: &str) -> String {
    checksum.chars().take(12).collect()
}

// === impl Kind ===

impl Kind {
    /// The word of the flag, and of the journal.
    pub const fn word(self) -> &'static str {
        match self {
            Self::ClearDirty => "clear-dirty",
            Self::AcceptChecksum => "accept-checksum",
            Self::Forget => "forget",
        }
    }
}

#[cfg(test)]
mod tests;
