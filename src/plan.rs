//! What would run now, or everything that forbids it.
//!
//! Pure: the migrations, the history beside them and the settings go in, a [`Plan`] comes out. It holds that nothing
//! applied runs again, nothing pending is left out without a word, and nothing runs before what stands before it.

mod conflict;
mod target;

pub use conflict::Conflict;
pub use target::{UnknownTarget, is_meant, nearest, resolve_target};

use crate::formats::{Matched, label};
use crate::migration::{AheadPolicy, Applied, ChecksumPolicy, Migration, OutOfOrder, Phase};

/// The settings that decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// `SCHEMAGATE_TARGET`.
    pub target: Option<String>,
    /// `SCHEMAGATE_PHASE`.
    pub phase: Phase,
    /// `SCHEMAGATE_OUT_OF_ORDER`, or the format's default.
    pub out_of_order: OutOfOrder,
    /// `SCHEMAGATE_CHECKSUM`, or the format's default.
    pub checksum: ChecksumPolicy,
    /// `SCHEMAGATE_AHEAD`.
    pub ahead: AheadPolicy,
    /// Whether an applied row without a file is refused, as the format says.
    pub refuses_missing: bool,
}

/// How a file differs from what was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// Not at all, or the history keeps no checksum.
    None,
    /// In its line endings alone.
    LineEndings,
    /// In its text.
    Content,
}

/// Why a migration without a row is not for now. Never an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deferral {
    /// It lies behind `SCHEMAGATE_TARGET`.
    BehindTarget,
    /// It is a contract step, and the phase is `expand`.
    Contract,
    /// It stands behind the contract step at this position, which waits for its phase.
    BehindContract(usize),
}

/// What has become of a migration, or what will.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It has a row.
    Applied {
        /// The row's position in [`Matched::rows`].
        row: usize,
        /// How the file differs from it.
        difference: Difference,
    },
    /// It runs now, unless there are conflicts.
    Pending,
    /// Not for now.
    Deferred(Deferral),
    /// Older than the newest applied, and refused.
    OutOfOrder,
    /// Older than the newest applied, and left out as `SCHEMAGATE_OUT_OF_ORDER=ignore` says.
    Ignored,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// One for each migration, in their order.
    pub states: Vec<State>,
    /// The positions of the migrations that would be applied now, in order. Empty while there are conflicts.
    pub run: Vec<usize>,
    /// Rows that this image does not know, applied after its newest one.
    pub ahead: Vec<Applied>,
    /// Rows without a file, older than that.
    pub missing: Vec<Applied>,
    /// The position of the migration that was applied last.
    pub newest: Option<usize>,
    /// What forbids to run anything.
    pub conflicts: Vec<Conflict>,
    /// What a person should know.
    pub warnings: Vec<String>,
}

/// Decides what would run. The only failure is a target that does not exist.
pub fn plan(
    migrations: &[Migration],
    matched: &Matched,
    policy: &Policy,
) -> Result<Plan, UnknownTarget> {
    let target = match &policy.target {
        Some(target) => Some(resolve_target(migrations, target)?),
        None => None,
    };
    let mut planner = Planner {
        migrations,
        matched,
        policy,
        target,
        contract: None,
        plan: Plan {
            newest: newest(matched),
            warnings: matched.warnings.clone(),
            ..Plan::default()
        },
    };
    for (index, migration) in migrations.iter().enumerate() {
        let state = planner.state(index, migration);
        planner.plan.states.push(state);
    }
    planner.unknown_rows();
    planner.warn_of_deferred();
    Ok(planner.finish())
}

fn newest(matched: &Matched) -> Option<usize> {
    let rows = matched.row_of.iter().enumerate();
    rows.filter_map(|(index, row)| Some(((*row)?, index)))
        .max()
        .map(|(_, index)| index)
}

fn difference(migration: &Migration, row: &Applied) -> Difference {
    match &row.checksum {
        None => Difference::None,
        Some(stored) if *stored == migration.checksum => Difference::None,
        Some(stored) if migration.checksum_other_endings.contains(stored) => {
            Difference::LineEndings
        }
        Some(_) => Difference::Content,
    }
}

struct Planner<'a> {
    migrations: &'a [Migration],
    matched: &'a Matched,
    policy: &'a Policy,
    target: Option<usize>,
    /// The first contract step that waits.
    contract: Option<usize>,
    plan: Plan,
}

// === impl Planner ===

impl Planner<'_> {
    fn state(&mut self, index: usize, migration: &Migration) -> State {
        if let Some(row) = self.matched.row_of.get(index).copied().flatten() {
            return self.applied(row, migration);
        }
        if self.target.is_some_and(|target| index > target) {
            return State::Deferred(Deferral::BehindTarget);
        }
        let is_out_of_order = self.matched.out_of_order.get(index) == Some(&true);
        // One that will never run must not hold back what stands behind it.
        if is_out_of_order && self.policy.out_of_order == OutOfOrder::Ignore {
            self.plan.warnings.push(format!(
                "{} is pending but older than the newest applied; SCHEMAGATE_OUT_OF_ORDER=ignore leaves it out",
                migration.version
            ));
            return State::Ignored;
        }
        if let Some(contract) = self.contract {
            return State::Deferred(Deferral::BehindContract(contract));
        }
        if migration.directives.contract && self.policy.phase == Phase::Expand {
            self.contract = Some(index);
            return State::Deferred(Deferral::Contract);
        }
        if is_out_of_order && self.policy.out_of_order == OutOfOrder::Fail {
            self.plan.conflicts.push(Conflict::OutOfOrder {
                version: migration.version.clone(),
                path: migration.path.clone(),
                skipped_by_tool: self.matched.skipped_by_tool,
            });
            return State::OutOfOrder;
        }
        State::Pending
    }

    fn applied(&mut self, row: usize, migration: &Migration) -> State {
        let Some(applied) = self.matched.rows.get(row) else {
            return State::Applied {
                row,
                difference: Difference::None,
            };
        };
        let difference = difference(migration, applied);
        match (difference, self.policy.checksum) {
            (Difference::None, _) | (_, ChecksumPolicy::Ignore) => {}
            (Difference::LineEndings, _) => self.plan.warnings.push(format!(
                "{} differs in its line endings from what was applied",
                migration.path
            )),
            (Difference::Content, ChecksumPolicy::Warn) => self.plan.warnings.push(format!(
                "{} has changed since it was applied; the change will not run",
                migration.path
            )),
            (Difference::Content, ChecksumPolicy::Fail) => {
                self.plan.conflicts.push(Conflict::Changed {
                    version: migration.version.clone(),
                    path: migration.path.clone(),
                    applied: applied.checksum.clone().unwrap_or_default(),
                    found: migration.checksum.clone(),
                });
            }
        }
        State::Applied { row, difference }
    }

    /// Rows without a file, told apart by when they were written and not by what they are called.
    fn unknown_rows(&mut self) {
        let newest = self.matched.row_of.iter().flatten().max();
        for row in &self.matched.unknown {
            let Some(applied) = self.matched.rows.get(*row) else {
                continue;
            };
            // None of this image's own is applied: then nothing tells that it is merely older, unless it is empty.
            let is_ahead = newest.map_or(self.migrations.is_empty(), |newest| row > newest);
            if is_ahead {
                self.plan.ahead.push(applied.clone());
            } else {
                self.plan.missing.push(applied.clone());
            }
        }
        self.judge_missing();
        self.judge_ahead();
    }

    fn judge_missing(&mut self) {
        let rows: Vec<String> = self.plan.missing.iter().map(label).collect();
        if self.policy.refuses_missing {
            let missing = rows.into_iter().map(|row| Conflict::Missing { row });
            self.plan.conflicts.extend(missing);
        } else if !rows.is_empty() {
            // A team that has squashed its files has hundreds of them.
            let more = rows.len().saturating_sub(5);
            let listed = rows.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
            let more = if more == 0 {
                String::new()
            } else {
                format!(" and {more} more")
            };
            self.plan.warnings.push(format!(
                "applied, but this image has no file: {listed}{more}"
            ));
        }
    }

    fn judge_ahead(&mut self) {
        if self.policy.ahead == AheadPolicy::Fail {
            let rows = self.plan.ahead.iter().map(label);
            self.plan
                .conflicts
                .extend(rows.map(|row| Conflict::Ahead { row }));
        }
        let is_pending = self.plan.states.contains(&State::Pending);
        if let Some(row) = self.plan.ahead.first().filter(|_| is_pending) {
            self.plan.warnings.push(format!(
                "the database has {}, which this image does not know, and this image has pending migrations: they come \
                 from two lines of development",
                label(row)
            ));
        }
    }

    fn warn_of_deferred(&mut self) {
        let behind = |state: &&State| matches!(state, State::Deferred(Deferral::BehindContract(_)));
        let held = self
            .migrations
            .iter()
            .zip(&self.plan.states)
            .filter(|(migration, state)| behind(state) && !migration.directives.contract);
        let held: Vec<&str> = held
            .map(|(migration, _)| migration.version.as_str())
            .collect();
        let contract = self.contract.and_then(|index| self.migrations.get(index));
        if let Some(contract) = contract.filter(|_| !held.is_empty()) {
            self.plan.warnings.push(format!(
                "{} wait{} behind the contract migration {}: migrations run in order, and SCHEMAGATE_PHASE=expand stops \
                 before it; run SCHEMAGATE_PHASE=contract once the release before is gone, or place {} ahead of it",
                held.join(", "),
                if held.len() == 1 { "s" } else { "" },
                contract.version,
                if held.len() == 1 { "it" } else { "them" },
            ));
        }
    }

    fn finish(mut self) -> Plan {
        if self.plan.conflicts.is_empty() {
            let pending = self.plan.states.iter().enumerate();
            self.plan.run = pending
                .filter(|(_, state)| **state == State::Pending)
                .map(|(index, _)| index)
                .collect();
        }
        self.plan
    }
}

// === impl Plan ===

impl Plan {
    /// Whether the schema is what this image needs: nothing to run and nothing wrong.
    pub fn is_current(&self) -> bool {
        self.run.is_empty() && self.conflicts.is_empty()
    }

    /// How many migrations have a row.
    pub fn applied(&self) -> usize {
        self.count(|state| matches!(state, State::Applied { .. }))
    }

    /// How many are needed and have none, conflicts or not.
    pub fn pending(&self) -> usize {
        self.count(|state| matches!(state, State::Pending | State::OutOfOrder))
    }

    /// How many are not for now.
    pub fn deferred(&self) -> usize {
        self.count(|state| matches!(state, State::Deferred(_)))
    }

    fn count(&self, is: impl Fn(&State) -> bool) -> usize {
        self.states.iter().filter(|state| is(state)).count()
    }
}

#[cfg(test)]
mod tests;
