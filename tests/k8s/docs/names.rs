//! Links and names.

use std::path::Path;

use schemagate::config::names::{CONNECTIONS, find};

use super::markdown::Document;
use super::{documents, text_files};
use crate::tools::repository;

/// A path with `..` in it, as the repository names it.
fn resolved(from: &str, to: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in to.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Why a link leads nowhere.
fn broken(from: &Document, link: &str, all: &[Document]) -> Option<String> {
    if link.starts_with("https://") {
        return None;
    }
    if link.contains("://") {
        return Some("is no https".to_owned());
    }
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    let path = if path.is_empty() {
        from.path.clone()
    } else {
        resolved(&from.path, path)
    };
    if !repository(&path).exists() {
        return Some(format!("there is no {path}"));
    }
    if anchor.is_empty() {
        return None;
    }
    let other = all.iter().find(|document| document.path == path);
    let is_there = other.is_some_and(|document| document.anchors.contains(anchor));
    (!is_there).then(|| format!("{path} has no heading for #{anchor}"))
}

#[test]
fn every_link_leads_somewhere() {
    let documents = documents();
    let mut count = 0;
    let mut wrong = Vec::new();
    for document in &documents {
        for (place, link) in &document.links {
            count += 1;
            wrong.extend(
                broken(document, link, &documents).map(|why| format!("{place}: {link}: {why}")),
            );
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 50, "{count} links");
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let text = "# A b\n\n[](#a-b) [](#b) [](nowhere.md) [](http://example.com)".to_owned();
    let document = Document::parse("k8s/x.md".to_owned(), text);
    // It stands for itself.
    let all = [Document::parse(
        "k8s/README.md".to_owned(),
        document.text.clone(),
    )];
    let wrong = |link: &str| broken(&all[0], link, &all).unwrap_or_default();
    assert_eq!(wrong("#a-b"), "");
    assert_eq!(wrong("../k8s/README.md#a-b"), "");
    assert!(wrong("#b").contains("no heading for #b"));
    assert!(wrong("nowhere.md").contains("no k8s/nowhere.md"));
    assert!(wrong("http://example.com").contains("no https"));
    assert_eq!(document.links.len(), 4);
}

/// What alerts and dashboards name is an entry of the runbook.
#[test]
fn every_address_of_the_runbook_has_its_entry() {
    let runbook = super::document("k8s/runbook.md");
    let mut count = 0;
    for (path, text) in text_files() {
        if Path::new(&path)
            .extension()
            .is_some_and(|extension| extension == "md")
        {
            continue;
        }
        for rest in text.split("runbook.md#").skip(1) {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_');
            let anchor = &rest[..end.unwrap_or(rest.len())];
            // The chart may put the alert's name there.
            if !anchor.is_empty() {
                count += 1;
                assert!(
                    runbook.anchors.contains(anchor),
                    "{path}: runbook.md#{anchor}"
                );
            }
        }
    }
    assert!(count >= 7, "{count} addresses");
}

/// Names of ours in a text.
fn settings_in(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| {
        let rest = word.strip_prefix("SCHEMAGATE_");
        rest.is_some_and(|rest| {
            !rest.is_empty() && rest.chars().all(|c| c.is_ascii_uppercase() || c == '_')
        })
    })
}

/// Whether a name is one that schemagate knows. What Kubernetes injects for a Service is not.
fn is_setting(name: &str) -> bool {
    CONNECTIONS.iter().any(|connection| connection.name == name) || find(name).is_some()
}

#[test]
fn every_setting_exists() {
    let mut count = 0;
    let mut wrong = Vec::new();
    for (path, text) in text_files() {
        for name in settings_in(&text) {
            count += 1;
            // What Compose puts into the file before schemagate sees it.
            let is_for_compose = path.starts_with("image/") && text.contains(&format!("${{{name}"));
            if !is_setting(name) && !is_for_compose {
                wrong.push(format!("{path}: {name}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 50, "{count} names");
    assert!(is_setting("SCHEMAGATE_DEADLINE") && !is_setting("SCHEMAGATE_DEADLIN"));
}
