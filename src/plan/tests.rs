use super::*;
use crate::formats::{Format, Shape, reconcile};
use crate::migration::Directives;

/// A folder in one line: `1 2c 3` are three migrations, the second a contract step.
fn folder(text: &str) -> Vec<Migration> {
    text.split_whitespace().map(migration).collect()
}

fn migration(word: &str) -> Migration {
    let version = word.trim_end_matches('c');
    let checksum = |ending: &str| format!("sum of {version}{ending}");
    Migration {
        version: version.to_owned(),
        name: version.to_owned(),
        path: format!("{version}.sql"),
        checksum: checksum(""),
        checksum_other_endings: [checksum(""), checksum(" crlf")],
        created_at: version.parse().unwrap_or_default(),
        size: 1,
        directives: Directives {
            contract: word.ends_with('c'),
            ..Directives::default()
        },
        down: None,
    }
}

/// A history in one line, in the order of writing: `1 2~ 3!` are rows, the second with the checksum of other line
/// endings, the third of another content.
fn history(text: &str) -> Vec<Applied> {
    (1..)
        .zip(text.split_whitespace())
        .map(|(order, word)| row(order, word))
        .collect()
}

fn row(order: i64, word: &str) -> Applied {
    let version = word.trim_end_matches(['~', '!']);
    let ending = match word.strip_prefix(version) {
        Some("~") => " crlf",
        Some("!") => " changed",
        _ => "",
    };
    Applied {
        order,
        version: Some(version.to_owned()),
        checksum: Some(format!("sum of {version}{ending}")),
        ..Applied::default()
    }
}

fn policy() -> Policy {
    Policy {
        target: None,
        phase: Phase::Expand,
        out_of_order: OutOfOrder::Fail,
        checksum: ChecksumPolicy::Fail,
        ahead: AheadPolicy::Allow,
        refuses_missing: true,
    }
}

fn plain(files: &str, rows: &str, policy: &Policy) -> Plan {
    let migrations = folder(files);
    let matched = reconcile(Format::Sql, &migrations, history(rows), Some(Shape::Sql)).unwrap();
    plan(&migrations, &matched, policy).unwrap()
}

/// A plan in one line: a letter a migration, `|`, then the conflicts.
fn render(plan: &Plan) -> String {
    let letter = |state: &State| match state {
        State::Applied { difference, .. } => match difference {
            Difference::None => 'a',
            Difference::LineEndings => '~',
            Difference::Content => '!',
        },
        State::Pending => 'P',
        State::Deferred(Deferral::BehindTarget) => 't',
        State::Deferred(Deferral::Contract) => 'c',
        State::Deferred(Deferral::BehindContract(_)) => 'b',
        State::OutOfOrder => 'O',
        State::Ignored => 'i',
    };
    let states: String = plan.states.iter().map(letter).collect();
    let conflicts: Vec<String> = plan.conflicts.iter().map(conflict).collect();
    format!("{states}|{}", conflicts.join(" "))
}

fn conflict(conflict: &Conflict) -> String {
    match conflict {
        Conflict::Changed { version, .. } => format!("changed:{version}"),
        Conflict::OutOfOrder { version, .. } => format!("order:{version}"),
        Conflict::Missing { row } => format!("missing:{row}"),
        Conflict::Ahead { row } => format!("ahead:{row}"),
    }
}

#[track_caller]
fn check(files: &str, rows: &str, policy: &Policy, expected: &str) {
    let plan = plain(files, rows, policy);
    assert_eq!(render(&plan), expected);
    assert!(plan.run.is_empty() || plan.conflicts.is_empty());
}

#[test]
fn runs_what_is_pending_in_order() {
    check("1 2 3", "", &policy(), "PPP|");
    check("1 2 3", "1", &policy(), "aPP|");
    check("1 2 3", "1 2 3", &policy(), "aaa|");
    check("", "", &policy(), "|");
    assert_eq!(plain("1 2 3", "1", &policy()).run, [1, 2]);
    assert!(plain("1 2", "2 1", &policy()).is_current());
    assert_eq!(plain("1 2", "2 1", &policy()).newest, Some(0));
}

#[test]
fn stops_at_the_target() {
    let target = |target: &str| Policy {
        target: Some(target.into()),
        ..policy()
    };
    check("1 2 3", "", &target("2"), "PPt|");
    check("1 2 3", "1 2 3", &target("2"), "aaa|");
    check("1 2 3", "3", &target("1"), "Ota|order:1");
    let matched = Matched::default();
    assert!(plan(&folder("1"), &matched, &target("7")).is_err());
}

#[test]
fn stops_before_the_first_contract_step_while_expanding() {
    check("1 2c 3 4c", "", &policy(), "Pcbb|");
    check("1 2c 3", "1 2", &policy(), "aaP|");
    let contract = Policy {
        phase: Phase::Contract,
        ..policy()
    };
    check("1 2c 3 4c", "", &contract, "PPPP|");
    let warnings = plain("1 2c 3 4c", "", &policy()).warnings;
    assert_eq!(warnings.len(), 1);
    assert!(
        warnings[0].starts_with("3 waits behind the contract migration 2"),
        "{warnings:?}"
    );
    assert!(plain("1 2c", "1", &policy()).is_current());
}

#[test]
fn what_is_out_of_order_is_told() {
    let with = |out_of_order| Policy {
        out_of_order,
        ..policy()
    };
    check("1 2 3 4", "1 3", &with(OutOfOrder::Fail), "aOaP|order:2");
    check("1 2 3 4", "1 3", &with(OutOfOrder::Apply), "aPaP|");
    check("1 2 3 4", "1 3", &with(OutOfOrder::Ignore), "aiaP|");
    assert_eq!(
        plain("1 2 3 4", "1 3", &with(OutOfOrder::Ignore))
            .warnings
            .len(),
        1
    );
    assert!(
        plain("1 2 3 4", "1 3", &with(OutOfOrder::Fail))
            .run
            .is_empty()
    );
    // Ignored for good: it does not hold back what stands behind it.
    check("1 2c 3 4", "1 3", &with(OutOfOrder::Ignore), "aiaP|");
    // Not needed in this phase, so no error in it.
    check("1 2c 3 4", "1 3", &with(OutOfOrder::Fail), "acab|");
}

#[test]
fn judges_changed_files() {
    let with = |checksum| Policy {
        checksum,
        ..policy()
    };
    check(
        "1 2 3",
        "1 2~ 3!",
        &with(ChecksumPolicy::Fail),
        "a~!|changed:3",
    );
    check("1 2 3", "1 2~ 3!", &with(ChecksumPolicy::Warn), "a~!|");
    assert_eq!(
        plain("1 2 3", "1 2~ 3!", &with(ChecksumPolicy::Warn))
            .warnings
            .len(),
        2
    );
    check("1 2 3", "1 2~ 3!", &with(ChecksumPolicy::Ignore), "a~!|");
    assert!(
        plain("1 2 3", "1 2~ 3!", &with(ChecksumPolicy::Ignore))
            .warnings
            .is_empty()
    );
}

#[test]
fn tells_ahead_from_missing_by_the_order_of_writing() {
    let ahead = Policy {
        ahead: AheadPolicy::Fail,
        ..policy()
    };
    check("1 2", "1 2 3", &policy(), "aa|");
    check("1 2", "1 2 3", &ahead, "aa|ahead:3");
    // Its number is lower, but it was written later.
    check("2 3", "2 3 1", &policy(), "aa|");
    check("2 3", "1 2 3", &policy(), "aa|missing:1");
    // Nothing of this image is applied: it is not merely older.
    check("8 9", "1 2", &policy(), "PP|missing:1 missing:2");
    check("", "1 2", &policy(), "|");
    assert_eq!(plain("", "1 2", &policy()).ahead.len(), 2);
    let drizzle = Policy {
        refuses_missing: false,
        ..policy()
    };
    check("2 3", "1 2 3", &drizzle, "aa|");
    assert_eq!(plain("2 3", "1 2 3", &drizzle).warnings.len(), 1);
}

#[test]
fn warns_of_two_lines_of_development() {
    let plan = plain("1 2 4", "1 2 3", &policy());
    assert_eq!((render(&plan).as_str(), plan.ahead.len()), ("aaP|", 1));
    assert!(
        plan.warnings[0].contains("two lines of development"),
        "{:?}",
        plan.warnings
    );
}

/// A small generator with a fixed seed (xorshift), so that a failure can be seen again.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(bound).unwrap()).unwrap()
    }

    fn of<T: Copy>(&mut self, words: &[(&str, T)]) -> T {
        words[self.below(words.len())].1
    }
}

fn any_policy(dice: &mut Dice, migrations: &[Migration]) -> Policy {
    let target = dice.below(4) == 0 && !migrations.is_empty();
    Policy {
        target: target.then(|| migrations[dice.below(migrations.len())].version.clone()),
        phase: dice.of(Phase::ALL),
        out_of_order: dice.of(OutOfOrder::ALL),
        checksum: dice.of(ChecksumPolicy::ALL),
        ahead: dice.of(AheadPolicy::ALL),
        refuses_missing: dice.below(2) == 0,
    }
}

fn any_folder(dice: &mut Dice, format: Format) -> Vec<Migration> {
    let mut number = 1000;
    let one = |dice: &mut Dice| {
        // Within a second, or further on.
        number += 1 + i64::try_from(dice.below(1500)).unwrap();
        let mut one = migration(if dice.below(6) == 0 { "1c" } else { "1" });
        one.created_at = number;
        one.version = match format {
            Format::Sql => format!("{number:06}"),
            Format::DrizzleClassic => format!("{number:04}_m"),
            Format::DrizzleV1 => format!("20240101{number:06}_m"),
        };
        // Some files are equal.
        one.checksum = format!("sum {}", dice.below(8));
        one
    };
    let mut one = one;
    (0..dice.below(9)).map(|_| one(dice)).collect()
}

/// The row that the tool writes for a migration.
fn written(format: Format, migration: &Migration, order: i64) -> Applied {
    Applied {
        order,
        version: (format != Format::DrizzleClassic).then(|| migration.version.clone()),
        checksum: Some(migration.checksum.clone()),
        created_at: (format != Format::Sql).then_some(migration.created_at),
        ..Applied::default()
    }
}

fn shape_of(format: Format) -> Shape {
    match format {
        Format::Sql => Shape::Sql,
        Format::DrizzleClassic => Shape::Classic,
        Format::DrizzleV1 => Shape::V1,
    }
}

#[test]
fn never_repeats_never_skips_silently_never_reorders() {
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
    let mut runs = 0;
    for _ in 0..4000 {
        let format = [Format::Sql, Format::DrizzleClassic, Format::DrizzleV1][dice.below(3)];
        let migrations = any_folder(&mut dice, format);
        let policy = any_policy(&mut dice, &migrations);
        let newest = dice.below(migrations.len() + 1);
        let mut owners = Vec::new();
        let mut rows = Vec::new();
        for (index, migration) in migrations.iter().enumerate().take(newest) {
            if dice.below(5) > 0 {
                let order = i64::try_from(rows.len()).unwrap();
                rows.push(written(format, migration, order));
                owners.push(index);
            }
        }
        let matched = reconcile(format, &migrations, rows.clone(), Some(shape_of(format))).unwrap();
        let first = plan(&migrations, &matched, &policy).unwrap();
        let context = format!("{format} {policy:?}\n{migrations:#?}\n{rows:#?}\n{first:#?}");

        assert!(first.run.is_sorted_by(|a, b| a < b), "reordered: {context}");
        for (index, migration) in migrations.iter().enumerate() {
            let is_applied = matches!(first.states[index], State::Applied { .. });
            assert_eq!(
                is_applied,
                owners.contains(&index),
                "{index} repeated or taken for applied: {context}"
            );
            let version = &migration.version;
            let is_told = match &first.states[index] {
                State::Applied { .. } | State::Deferred(_) => true,
                State::Pending => first.run.contains(&index) || !first.conflicts.is_empty(),
                State::OutOfOrder => first
                    .conflicts
                    .iter()
                    .any(|c| c.to_string().starts_with(version.as_str())),
                State::Ignored => first
                    .warnings
                    .iter()
                    .any(|w| w.starts_with(version.as_str())),
            };
            assert!(is_told, "{index} skipped silently: {context}");
        }
        for index in &first.run {
            let before = first.states[..*index].iter();
            let held = before
                .filter(|s| matches!(s, State::Deferred(_) | State::OutOfOrder))
                .count();
            assert_eq!(
                held, 0,
                "{index} runs before what stands before it: {context}"
            );
            let order = i64::try_from(rows.len()).unwrap();
            rows.push(written(format, &migrations[*index], order));
        }
        let matched = reconcile(format, &migrations, rows, Some(shape_of(format))).unwrap();
        let second = plan(&migrations, &matched, &policy).unwrap();
        assert!(
            second.run.is_empty(),
            "a second run is not a no-op: {context}\n{second:#?}"
        );
        runs += usize::from(!first.run.is_empty());
    }
    assert!(
        runs > 500,
        "the cases are worth nothing: {runs} of them run anything"
    );
}
