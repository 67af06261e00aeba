//! What holds of a plan for any folder, any history and any settings: nothing runs twice, nothing is left out without a
//! word, nothing runs before what stands before it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy excuses test functions by itself, but not the helpers that they call"
)]

use std::collections::BTreeSet;

use proptest::prelude::*;
use schemagate::formats::{Format, Matched, Shape, label, reconcile};
use schemagate::migration::{
    AheadPolicy, Applied, ChecksumPolicy, Directives, Migration, OutOfOrder, Phase,
};
use schemagate::plan::{Conflict, Deferral, Difference, Plan, Policy, State, plan};

/// How many versions exist at all, in files or in rows.
const VERSIONS: u8 = 12;
/// Drizzle's time of the first of them.
const FIRST: i64 = 1_700_000_000_000;

/// A folder beside a history, and the settings.
#[derive(Debug, Clone)]
struct Case {
    format: Format,
    migrations: Vec<Migration>,
    rows: Vec<Applied>,
    policy: Policy,
}

/// What a row says of its file.
#[derive(Debug, Clone, Copy)]
enum Text {
    Same,
    OtherEndings,
    Changed,
}

fn version(format: Format, number: u8) -> String {
    match format {
        Format::Sql => format!("{number:04}"),
        Format::DrizzleClassic => format!("{number:04}_step"),
        Format::DrizzleV1 => format!("202311142213{number:02}_step"),
    }
}

fn migration(format: Format, number: u8, contract: bool) -> Migration {
    let version = version(format, number);
    let checksum = |ending: &str| format!("sum of {number}{ending}");
    Migration {
        name: version.clone(),
        path: format!("{version}.sql"),
        version,
        checksum: checksum(""),
        checksum_other_endings: [checksum(""), checksum(" crlf")],
        created_at: FIRST + i64::from(number) * 1000,
        size: 1,
        directives: Directives {
            contract,
            ..Directives::default()
        },
        down: None,
    }
}

fn row(format: Format, order: i64, number: u8, text: Text) -> Applied {
    let is_drizzle = format != Format::Sql;
    let ending = match text {
        Text::Same => "",
        Text::OtherEndings => " crlf",
        Text::Changed => " changed",
    };
    Applied {
        order,
        version: (format != Format::DrizzleClassic).then(|| version(format, number)),
        checksum: Some(format!("sum of {number}{ending}")),
        created_at: is_drizzle.then(|| FIRST + i64::from(number) * 1000),
        ..Applied::default()
    }
}

/// One of the values that a setting may have.
fn any_of<T: Copy + std::fmt::Debug + 'static>(
    all: &'static [(&'static str, T)],
) -> impl Strategy<Value = T> {
    prop::sample::select(all).prop_map(|(_, value)| value)
}

fn policies(versions: Vec<String>) -> impl Strategy<Value = Policy> {
    let target = if versions.is_empty() {
        Just(None).boxed()
    } else {
        prop::option::weighted(0.3, prop::sample::select(versions)).boxed()
    };
    (
        target,
        any_of(Phase::ALL),
        any_of(OutOfOrder::ALL),
        any_of(ChecksumPolicy::ALL),
        any_of(AheadPolicy::ALL),
        any::<bool>(),
    )
        .prop_map(
            |(target, phase, out_of_order, checksum, ahead, refuses_missing)| Policy {
                target,
                phase,
                out_of_order,
                checksum,
                ahead,
                refuses_missing,
            },
        )
}

const FORMATS: &[Format] = &[Format::Sql, Format::DrizzleClassic, Format::DrizzleV1];
const DRIZZLE: &[Format] = &[Format::DrizzleClassic, Format::DrizzleV1];

fn cases(formats: &'static [Format]) -> impl Strategy<Value = Case> {
    let format = prop::sample::select(formats);
    let files = prop::collection::btree_map(1..=VERSIONS, prop::bool::weighted(0.15), 0..8);
    let text = prop_oneof![
        8 => Just(Text::Same),
        1 => Just(Text::OtherEndings),
        1 => Just(Text::Changed),
    ];
    let rows = prop::collection::btree_map(1..=VERSIONS, text, 0..8);
    let rows = rows.prop_map(|rows| rows.into_iter().collect::<Vec<_>>());
    (format, files, rows.prop_shuffle(), any::<bool>()).prop_flat_map(
        |(format, files, mut rows, sorted)| {
            if sorted {
                rows.sort_by_key(|(number, _)| *number);
            }
            let migrations: Vec<Migration> = files
                .iter()
                .map(|(number, contract)| migration(format, *number, *contract))
                .collect();
            let rows: Vec<Applied> = (1..)
                .zip(rows)
                .map(|(order, (number, text))| row(format, order, number, text))
                .collect();
            let versions = migrations.iter().map(|m| m.version.clone()).collect();
            policies(versions).prop_map(move |policy| Case {
                format,
                migrations: migrations.clone(),
                rows: rows.clone(),
                policy,
            })
        },
    )
}

impl Case {
    fn matched(&self) -> Matched {
        let shape = match self.format {
            Format::Sql => Shape::Sql,
            Format::DrizzleClassic => Shape::Classic,
            Format::DrizzleV1 => Shape::V1,
        };
        reconcile(
            self.format,
            &self.migrations,
            self.rows.clone(),
            Some(shape),
        )
        .unwrap()
    }

    fn plan(&self) -> (Matched, Plan) {
        let matched = self.matched();
        let plan = plan(&self.migrations, &matched, &self.policy).unwrap();
        (matched, plan)
    }

    /// The history after the plan has been carried out.
    fn carried_out(&self, plan: &Plan) -> Self {
        let next = self.rows.iter().map(|row| row.order).max().unwrap_or(0) + 1;
        let written = (next..).zip(&plan.run).map(|(order, &index)| {
            let migration = &self.migrations[index];
            Applied {
                order,
                version: (self.format != Format::DrizzleClassic).then(|| migration.version.clone()),
                checksum: Some(migration.checksum.clone()),
                created_at: (self.format != Format::Sql).then_some(migration.created_at),
                ..Applied::default()
            }
        });
        Self {
            rows: self.rows.iter().cloned().chain(written).collect(),
            ..self.clone()
        }
    }

    fn told(&self, plan: &Plan, index: usize) -> bool {
        let version = &self.migrations[index].version;
        plan.warnings
            .iter()
            .any(|warning| warning.contains(version.as_str()))
    }
}

/// The positions that Drizzle's own migrator would run, from its source: the classic one goes by the newest time, v1
/// by the name. <https://github.com/drizzle-team/drizzle-orm/blob/main/drizzle-orm/src/pg-core/dialect.ts>
fn drizzle_would_run(case: &Case) -> Vec<usize> {
    let newest = case.rows.iter().filter_map(|row| row.created_at).max();
    let names: BTreeSet<&str> = case
        .rows
        .iter()
        .filter_map(|row| row.version.as_deref())
        .collect();
    let runs = |migration: &Migration| match case.format {
        Format::DrizzleClassic => newest.is_none_or(|newest| newest < migration.created_at),
        _ => !names.contains(migration.version.as_str()),
    };
    let indexes = case.migrations.iter().enumerate();
    indexes
        .filter(|(_, m)| runs(m))
        .map(|(index, _)| index)
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 4000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn nothing_runs_twice_and_nothing_out_of_its_turn(case in cases(FORMATS)) {
        let (matched, plan) = case.plan();
        prop_assert!(plan.run.is_sorted_by(|a, b| a < b), "in the folder's order, each once");
        for &index in &plan.run {
            prop_assert_eq!(matched.row_of[index], None, "it has a row");
            for before in 0..index {
                let in_turn = match &plan.states[before] {
                    State::Applied { .. } | State::Pending => true,
                    State::Ignored => case.policy.out_of_order == OutOfOrder::Ignore,
                    State::Deferred(_) | State::OutOfOrder => false,
                };
                prop_assert!(in_turn, "{} stands before it", before);
            }
        }
        let after = case.carried_out(&plan);
        let (_, again) = after.plan();
        prop_assert!(again.run.is_empty(), "the next run finds {:?}", again.run);
        if plan.conflicts.is_empty() {
            // A row of a newer image becomes one without a file once this image has applied something after it: that
            // was said before, as two lines of development.
            let refused = again.conflicts.iter().filter(|conflict| {
                !plan.ahead.iter().any(|row| **conflict == Conflict::Missing { row: label(row) })
            });
            prop_assert_eq!(refused.count(), 0, "what was allowed is now refused: {:?}", again.conflicts);
            if !again.conflicts.is_empty() {
                let said = plan.warnings.iter().any(|w| w.contains("two lines of development"));
                prop_assert!(said, "refused without a warning before");
            }
            for &index in &plan.run {
                let is_applied = matches!(
                    again.states[index],
                    State::Applied { difference: Difference::None, .. }
                );
                prop_assert!(is_applied);
            }
        }
    }

    #[test]
    fn nothing_is_left_out_without_a_word(case in cases(FORMATS)) {
        let (matched, plan) = case.plan();
        prop_assert_eq!(plan.states.len(), case.migrations.len());
        let target = case.policy.target.as_ref().map(|target| {
            case.migrations.iter().position(|m| m.version == *target).unwrap()
        });
        let mut pending = Vec::new();
        for (index, state) in plan.states.iter().enumerate() {
            let migration = &case.migrations[index];
            let holds = match state {
                State::Applied { row, .. } => matched.row_of[index] == Some(*row),
                State::Pending => {
                    pending.push(index);
                    true
                }
                State::Deferred(Deferral::BehindTarget) => target.is_some_and(|t| index > t),
                State::Deferred(Deferral::Contract) => {
                    migration.directives.contract && case.policy.phase == Phase::Expand
                }
                State::Deferred(Deferral::BehindContract(contract)) => {
                    *contract < index
                        && plan.states[*contract] == State::Deferred(Deferral::Contract)
                        && (migration.directives.contract || case.told(&plan, index))
                }
                State::OutOfOrder => plan.conflicts.iter().any(|conflict| {
                    matches!(conflict, Conflict::OutOfOrder { version, .. } if *version == migration.version)
                }),
                State::Ignored => case.told(&plan, index),
            };
            prop_assert!(holds, "{}: {:?}", migration.version, state);
        }
        let expected = if plan.conflicts.is_empty() { pending } else { Vec::new() };
        prop_assert_eq!(&plan.run, &expected, "all that is pending, or nothing");
    }

    #[test]
    fn no_row_and_no_change_is_passed_over(case in cases(FORMATS)) {
        let (matched, plan) = case.plan();
        let mut known: Vec<usize> = matched.row_of.iter().flatten().copied().collect();
        known.extend(&matched.unknown);
        known.sort_unstable();
        prop_assert_eq!(known, (0..case.rows.len()).collect::<Vec<_>>(), "each row once");
        prop_assert_eq!(plan.ahead.len() + plan.missing.len(), matched.unknown.len());
        for row in &plan.missing {
            let refused = plan.conflicts.contains(&Conflict::Missing { row: label(row) });
            let warned = !plan.warnings.is_empty();
            prop_assert_eq!(refused, case.policy.refuses_missing);
            prop_assert!(refused || warned);
        }
        for row in &plan.ahead {
            let refused = plan.conflicts.contains(&Conflict::Ahead { row: label(row) });
            prop_assert_eq!(refused, case.policy.ahead == AheadPolicy::Fail);
        }
        for (index, state) in plan.states.iter().enumerate() {
            let State::Applied { difference, .. } = state else { continue };
            let migration = &case.migrations[index];
            let refused = plan.conflicts.iter().any(|conflict| {
                matches!(conflict, Conflict::Changed { version, .. } if *version == migration.version)
            });
            let warned = plan.warnings.iter().any(|warning| warning.contains(&migration.path));
            match (difference, case.policy.checksum) {
                (Difference::Content, ChecksumPolicy::Fail) => prop_assert!(refused),
                (Difference::None, _) | (_, ChecksumPolicy::Ignore) => prop_assert!(!refused),
                _ => prop_assert!(!refused && warned),
            }
        }
    }

    #[test]
    fn what_drizzle_would_run_is_what_runs(case in cases(DRIZZLE)) {
        let case = Case {
            policy: Policy {
                target: None,
                phase: Phase::All,
                out_of_order: match case.format {
                    Format::DrizzleClassic => OutOfOrder::Fail,
                    _ => OutOfOrder::Apply,
                },
                checksum: ChecksumPolicy::Warn,
                ahead: AheadPolicy::Allow,
                refuses_missing: false,
            },
            ..case
        };
        let (_, plan) = case.plan();
        let would = drizzle_would_run(&case);
        let pending: Vec<usize> = (0..plan.states.len())
            .filter(|&index| plan.states[index] == State::Pending)
            .collect();
        prop_assert_eq!(&pending, &would);
        // What the classic one would leave out for ever, without a word, is refused with one.
        let skipped = (0..plan.states.len())
            .filter(|index| !would.contains(index))
            .filter(|&index| !matches!(plan.states[index], State::Applied { .. }));
        for index in skipped {
            prop_assert_eq!(&plan.states[index], &State::OutOfOrder);
        }
        if plan.conflicts.is_empty() {
            prop_assert_eq!(&plan.run, &would);
        }
    }
}
