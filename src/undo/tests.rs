use super::*;
use crate::migration::Directives;
use crate::plan::Difference;

/// `4` has a down file, `4-` has none.
fn migration(word: &str) -> Migration {
    let version = word.trim_end_matches('-');
    Migration {
        version: version.to_owned(),
        name: String::new(),
        path: format!("{version}_x.up.sql"),
        checksum: String::new(),
        checksum_other_endings: [String::new(), String::new()],
        created_at: 0,
        size: 0,
        directives: Directives::default(),
        down: (!word.ends_with('-')).then(|| format!("{version}_x.down.sql")),
    }
}

fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

/// Files, the history (oldest first), `--to`, and what is undone or a part of the refusal.
#[track_caller]
fn check(files: &str, history: &str, to: &str, expected: Result<&str, &str>) {
    let migrations: Vec<Migration> = words(files).into_iter().map(migration).collect();
    let rows: Vec<Applied> = words(history)
        .into_iter()
        .zip(1..)
        .map(|(version, order)| Applied {
            order,
            version: Some(version.to_owned()),
            ..Applied::default()
        })
        .collect();
    let state = |migration: &Migration| {
        let is_own = |row: &Applied| row.version.as_ref() == Some(&migration.version);
        rows.iter()
            .position(is_own)
            .map_or(State::Pending, |row| State::Applied {
                row,
                difference: Difference::None,
            })
    };
    let plan = Plan {
        states: migrations.iter().map(state).collect(),
        ..Plan::default()
    };
    let found = target(&migrations, to)
        .map_err(|error| error.to_string())
        .and_then(|target| {
            order(&migrations, &rows, &plan, target).map_err(|refusal| match refusal {
                Refusal::Conflicts(conflicts) => conflicts[0].to_string(),
                Refusal::Usage { what, next } => format!("{what}; {next}"),
            })
        });
    let found = found.map(|positions| {
        let versions = positions.iter().map(|p| migrations[*p].version.as_str());
        versions.collect::<Vec<_>>().join(" ")
    });
    match (&found, expected) {
        (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{files} | {history} | {to}"),
        (Err(found), Err(expected)) => assert!(found.contains(expected), "{found}"),
        _ => panic!("{files} | {history} | {to}: {found:?}"),
    }
}

#[test]
fn newest_first_down_to_the_target() {
    check("1 2 3", "1 2 3", "1", Ok("3 2"));
    check("1 2 3", "1 2 3", "3", Ok(""));
    check("1 2 3", "1 2 3", "0", Ok("3 2 1"));
    check("1 2 3", "1 2", "0", Ok("2 1"));
    check("0001 0002", "0001 0002", "1", Ok("0002"));
    check("1 2", "", "0", Ok(""));
    check("1 2 3", "1", "2", Ok(""));
}

#[test]
fn a_migration_of_the_number_zero_stays() {
    check("0 1", "0 1", "0", Ok("1"));
    check("000 1", "000 1", "0", Ok("1"));
    check("1 2", "1 2", "00", Ok("2 1"));
}

#[test]
fn the_history_says_what_is_newer() {
    check("1 2 3", "1 3 2", "1", Ok("2 3"));
    check("1 2 3", "1 3 2", "3", Ok("2"));
    check("1 2 3", "1 3 2", "2", Ok(""));
}

#[test]
fn refusals() {
    check("1 2", "1 2", "7", Err("names no migration"));
    check("1 2-", "1 2", "1", Err("write 2_x.down.sql"));
    check("1 2- 3 4-", "1 2 3 4", "1", Err("4_x.up.sql, 2_x.up.sql"));
    check("1- 2", "1 2", "1", Ok("2"));
    check("1 2 3", "1 3", "2", Err("2 is not applied"));
    check("1 2", "1 2 9", "1", Err("9 was applied"));
    check("1 2", "9 1 2", "1", Ok("2"));
    check("1 2", "9 1 2", "0", Err("9 was applied"));
}

#[test]
fn what_stays_with_a_higher_number_is_told() {
    let migrations: Vec<Migration> = ["1", "2", "3"].map(migration).to_vec();
    let applied = |row| State::Applied {
        row,
        difference: Difference::None,
    };
    let plan = Plan {
        states: vec![applied(0), applied(2), applied(1)],
        ..Plan::default()
    };
    let warning = warning(&migrations, &plan, &[1]).unwrap();
    assert!(warning.starts_with("2 was applied after 3"), "{warning}");
    assert_eq!(super::warning(&migrations, &plan, &[1, 2]), None);
    assert_eq!(super::warning(&migrations, &plan, &[]), None);
}
