//! The same folder turned round: its down files as the migrations.

use std::sync::Arc;

use super::facts::Identity;
use super::{Error, Source};
use crate::migration::{Directives, Migration};

// === impl Source ===

impl Source {
    /// A source whose migrations are the down files of these, in this order: version and name are the migration's,
    /// path, checksum, size and directives those of the file that undoes it.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the files, at once: one that is missing, is no UTF-8, or has a directive that means
    /// nothing where something is undone.
    pub fn undoing(&self, positions: &[usize]) -> Result<Self, Error> {
        let mut problems = Vec::new();
        let mut migrations = Vec::with_capacity(positions.len());
        let mut buffer = Vec::new();
        for position in positions {
            let Some(migration) = self.migrations.get(*position) else {
                continue;
            };
            match self.down_file(migration, &mut buffer, &mut problems) {
                Ok(down) => migrations.push(down),
                Err(problem) => problems.push(problem),
            }
        }
        Error::all(problems)?;
        Ok(Self {
            format: self.format,
            migrations,
            warnings: Vec::new(),
            needs_history_proof: false,
            tree: Arc::clone(&self.tree),
        })
    }

    fn down_file(
        &self,
        migration: &Migration,
        buffer: &mut Vec<u8>,
        problems: &mut Vec<String>,
    ) -> Result<Migration, String> {
        let path = migration
            .down
            .as_ref()
            .ok_or_else(|| format!("{}: there is no down file for it", migration.path))?;
        let facts = self
            .tree
            .facts(path, buffer)
            .map_err(|error| format!("{path}: {error}"))?;
        problems.extend(facts.utf8_problem(path));
        let identity = Identity {
            version: migration.version.clone(),
            name: migration.name.clone(),
            path: path.clone(),
            created_at: migration.created_at,
            down: None,
        };
        let down = facts.into_migration(identity, problems);
        problems.extend(meaningless(&down));
        Ok(down)
    }
}

/// What holds a migration back has no meaning where one is undone, and must not be ignored there.
fn meaningless(down: &Migration) -> Option<String> {
    let Directives {
        transaction_off,
        lock_timeout,
        statement_timeout,
        ..
    } = down.directives;
    let honoured = Directives {
        transaction_off,
        lock_timeout,
        statement_timeout,
        ..Directives::default()
    };
    (down.directives != honoured).then(|| {
        format!(
            "{}: in a down file only the directives transaction, lock-timeout and statement-timeout mean something",
            down.path
        )
    })
}
