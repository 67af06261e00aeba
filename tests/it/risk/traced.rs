//! The same through the built binary: what `plan` says of a statement, held against what its own `--trace` sees of it.

use serde_json::Value;

use super::{Case, Lock, Observed, Said, cases, milder, relations, world};
use crate::harness::{Database, Folder, Server};
use crate::plan::{json, plan};

/// As the tests beside this one call it.
fn called(relation: &Value) -> String {
    let name = relation.as_str().unwrap();
    name.strip_prefix("public.").unwrap_or(name).to_owned()
}

fn lock(word: &Value) -> Option<Lock> {
    let word = word.as_str()?;
    Lock::ALL.into_iter().find(|lock| lock.word() == word)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn said(statement: &Value) -> Vec<Said> {
    let effects = list(&statement["effects"]).iter();
    effects
        .map(|effect| Said {
            object: Some(&effect["relation"])
                .filter(|relation| !relation.is_null())
                .map(called),
            lock: lock(&effect["lock"]),
            rewrite: effect["rewrite"].as_bool().unwrap(),
        })
        .collect()
}

fn observed(trace: &Value, has_rows: impl Fn(&str) -> bool) -> Observed {
    let locks = list(&trace["locks"]).iter();
    let rewritten = list(&trace["rewritten"]).iter();
    Observed {
        locks: locks
            .map(|taken| (called(&taken["relation"]), lock(&taken["mode"]).unwrap()))
            .collect(),
        rewritten: rewritten
            .map(called)
            .filter(|name| has_rows(name))
            .collect(),
    }
}

/// The statement, as `plan --trace` tells it.
fn traced(database: &Database<'_>, case: &Case) -> Value {
    let folder = Folder::sql(&[("0001_case.sql", &format!("{};\n", case.sql))]);
    let (report, outcome) = json(&plan(database, &folder).arg("--trace"));
    let statement = report["migrations"][0]["statements"][0].clone();
    assert!(outcome.code() == 0, "{}: {outcome}", case.sql);
    assert!(statement["trace"].is_object(), "{}: {outcome}", case.sql);
    statement
}

/// What a trace leaves out is what the table marks as `bare`, and nothing else.
fn nothing_is_milder_than_a_trace(server: &Server, version: u32) {
    let database = server.database();
    // Roles belong to the server, which other tests use as well.
    let role = database.role("reader", "");
    let here = |text: &str| text.replace("risk_reader", &role);
    database.query(&here(&world().replace("CREATE ROLE risk_reader;", "")));
    let before = relations(&database.session());
    let has_rows = |name: &str| {
        let mut all = before.values();
        all.any(|relation| relation.name == name && relation.has_rows)
    };
    let mut wrong = Vec::new();
    let mut ran = 0;
    for mut case in cases() {
        if case.since * 10_000 > version {
            continue;
        }
        case.sql = here(&case.sql);
        let statement = traced(&database, &case);
        let trace = &statement["trace"];
        if trace["skipped"].is_string() != case.bare {
            wrong.push(format!("{}: {}", case.sql, trace["skipped"]));
        }
        if case.bare {
            continue;
        }
        ran += 1;
        let seen = observed(trace, has_rows);
        for what in milder(&said(&statement), &seen, &before) {
            wrong.push(format!("{}: {what}", case.sql));
        }
    }
    assert!(wrong.is_empty(), "{version}:\n{}", wrong.join("\n"));
    assert!(ran >= 80, "{ran}");
}

#[test]
fn nothing_is_milder_than_a_trace_shows() {
    nothing_is_milder_than_a_trace(Server::debian(), 150_000);
}

#[test]
fn nor_on_a_newer_server() {
    nothing_is_milder_than_a_trace(Server::embedded("18"), 180_000);
}
