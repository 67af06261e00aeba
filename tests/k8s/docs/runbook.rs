//! The runbook has an entry for each exit code and each alert, and no other.

use std::collections::BTreeSet;

use schemagate::exit::ExitStatus;

use super::{document, files_of};

/// What every entry says.
const PARTS: [&str; 3] = ["**Means** ", "**Look at** ", "**Type** "];

/// The alerts in the rules.
fn alerts() -> BTreeSet<String> {
    let mut alerts = BTreeSet::new();
    for file in files_of("yaml") {
        let text = std::fs::read_to_string(&file).expect("a file of rules");
        let named = text.lines().filter_map(|line| {
            let line = line.trim_start().trim_start_matches("- ");
            line.strip_prefix("alert:")
        });
        alerts.extend(named.map(|name| name.trim().trim_matches('"').to_owned()));
    }
    alerts
}

#[test]
fn an_entry_for_each_exit_code() {
    let expected: BTreeSet<String> = ExitStatus::ALL
        .into_iter()
        .map(|status| format!("Exit code {}", status.code()))
        .collect();
    assert_eq!(entries("Exit code "), expected);
}

#[test]
fn an_entry_for_each_alert() {
    let alerts = alerts();
    for name in [
        "SchemagateMigrationFailed",
        "SchemagateMigrationSlow",
        "SchemagateMigrationsPending",
        "SchemagateNotReady",
        "SchemagateLockHeldLong",
        "SchemagateJobFailed",
        "SchemagateInitContainerWaiting",
    ] {
        assert!(alerts.contains(name), "no rule {name} in {alerts:?}");
    }
    assert_eq!(entries("Schemagate"), alerts);
}

/// The titles that begin so; each entry below them is whole.
#[track_caller]
fn entries(prefix: &str) -> BTreeSet<String> {
    let runbook = document("k8s/runbook.md");
    let sections = runbook.sections.into_iter();
    let entries = sections.filter(|section| section.title.starts_with(prefix));
    entries
        .map(|section| {
            for part in PARTS {
                assert!(
                    section.text.contains(part),
                    "{} lacks {part}",
                    section.title
                );
            }
            section.title
        })
        .collect()
}
