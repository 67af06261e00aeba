//! The README's tables are those of the code.

use std::collections::{BTreeMap, BTreeSet};

use schemagate::config::names::{COMMANDS, CONNECTIONS, LATER_COMMANDS, SETTINGS, find};
use schemagate::exit::ExitStatus;
use schemagate::metrics::{Facts, Metrics};
use schemagate::progress::State;

const README: &str = include_str!("../../README.md");

/// The rows of the table with this header, without the rule below it.
fn table(header: &str) -> Vec<&'static str> {
    README
        .lines()
        .skip_while(|line| !line.starts_with(header))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .collect()
}

#[track_caller]
fn same(actual: &[&str], expected: &[String]) {
    assert!(
        actual == expected,
        "the README has\n{}\nand the code says\n{}",
        actual.join("\n"),
        expected.join("\n")
    );
}

#[test]
fn settings() {
    let connections = CONNECTIONS.iter().map(|connection| {
        format!(
            "| `{}` | | all but lint, probe, install | {} |",
            connection.name, connection.meaning
        )
    });
    let settings = SETTINGS.iter().map(|setting| {
        let (users, others): (Vec<&str>, Vec<&str>) = COMMANDS
            .into_iter()
            .partition(|command| setting.works_in(command));
        let users = match others.len() {
            0 => "all".to_owned(),
            1..=4 => format!("all but {}", others.join(", ")),
            _ => users.join(", "),
        };
        let default = format!("{} ", setting.default);
        format!(
            "| `{}` | {}| {users} | {} |",
            setting.name,
            default.trim_start(),
            setting.meaning
        )
    });
    let expected: Vec<String> = connections.chain(settings).collect();
    same(&table("| variable | default |"), &expected);
}

#[test]
fn exit_codes() {
    let expected: Vec<String> = ExitStatus::ALL
        .into_iter()
        .map(|status| {
            let again = match status.code() {
                0 => "",
                2 | 5..=7 => "`FailJob` ",
                _ => "counts ",
            };
            format!("| {} | {} | {again}|", status.code(), status.meaning())
        })
        .collect();
    same(&table("| code | meaning |"), &expected);
}

#[test]
fn states() {
    let words: Vec<&str> = table("| state | `/readyz` |")
        .into_iter()
        .filter_map(|row| row.split('`').nth(1))
        .collect();
    assert_eq!(words, State::ALL.map(State::word));
}

#[test]
fn metrics() {
    let text = Metrics::new().unwrap().render(&Facts {
        migrations: vec![("applied", 1)],
        version: Some("0001"),
        ..Facts::default()
    });
    let words = |prefix: &str| {
        let lines = text.lines().filter_map(|line| line.strip_prefix(prefix));
        lines.filter_map(|line| line.split_once(' ')).collect()
    };
    let helps: Vec<(&str, &str)> = words("# HELP ");
    let types: BTreeMap<&str, &str> = words("# TYPE ").into_iter().collect();
    let expected: Vec<String> = helps
        .into_iter()
        .map(|(name, help)| format!("| `{name}` | {} | {help} |", types[name]))
        .collect();
    assert!(!expected.is_empty());
    same(&table("| metric | type |"), &expected);
}

#[test]
fn commands() {
    let named = |row: &str| {
        COMMANDS
            .iter()
            .any(|name| row.starts_with(&format!("| `schemagate {name}")))
    };
    let rows = table("| command | what it does |");
    assert_eq!(rows.len(), COMMANDS.len());
    assert!(rows.into_iter().all(named));
    for name in LATER_COMMANDS {
        assert!(README.contains(&format!("`{name}`")), "{name}");
    }
}

#[test]
fn every_name_exists() {
    let names: BTreeSet<&str> = README
        .split(|c: char| !c.is_ascii_uppercase() && c != '_')
        .filter(|word| word.starts_with("SCHEMAGATE_") && word.len() > "SCHEMAGATE_".len())
        .collect();
    assert!(names.len() > SETTINGS.len());
    for name in names {
        let injected = matches!(name, "SCHEMAGATE_SERVICE_HOST" | "SCHEMAGATE_PORT");
        let connects = CONNECTIONS.iter().any(|connection| connection.name == name);
        assert!(injected || connects || find(name).is_some(), "{name}");
    }
}
