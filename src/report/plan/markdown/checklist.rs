//! The checklist at the end of the comment: ticked is what was looked at, with what was seen; an empty box is for a
//! person.

use std::fmt::Write as _;

use super::{code, prose};
use crate::{
    duration,
    report::plan::{EffectLine, Report, Step, how_large, plural, took},
    sql::risk::{Lock, Risk},
};

/// How many names an item lists.
const LISTED: usize = 3;
/// How long each may be: an item is always a line, and all of them fit behind the tables.
const NAME: usize = 40;
/// How long a sentence of others may be.
const SENTENCE: usize = 160;

/// A box and what stands beside it.
struct Item {
    is_ticked: bool,
    text: String,
}

/// Nothing where nothing would run.
pub(super) fn write(out: &mut String, report: &Report) {
    let items = items(report);
    if items.is_empty() {
        return;
    }
    out.push_str("\n**Checklist**: ticked is what was looked at, an empty box is for a person\n\n");
    for item in items {
        let tick = if item.is_ticked { 'x' } else { ' ' };
        // Writing to a String cannot fail.
        let _ = writeln!(out, "- [{tick}] {}", item.text);
    }
}

fn items(report: &Report) -> Vec<Item> {
    if !report.conflicts.is_empty() {
        return vec![person(
            "the conflicts are resolved: until then nothing would run",
        )];
    }
    if report.migrations.is_empty() {
        return Vec::new();
    }
    let mut items = vec![seen("files and history fit")];
    risks(&mut items, report);
    locks(&mut items, report);
    times(&mut items, report);
    gates(&mut items, report);
    contract(&mut items, report);
    if report.risk == Risk::Destructive && !report.surroundings.bootstrap {
        losses(&mut items, report);
    }
    down_files(&mut items, report);
    if !report.warnings.is_empty() {
        items.push(person("the warnings have been read"));
    }
    items
}

fn risks(items: &mut Vec<Item>, report: &Report) {
    let lines = || report.migrations.iter().flat_map(|step| &step.statements);
    let mut text = "risk of each statement: ".to_owned();
    let mut separator = "";
    for risk in Risk::ALL.into_iter().rev() {
        let count = lines().filter(|line| line.risk == risk).count();
        if count > 0 {
            let _ = write!(text, "{separator}{count} {risk}");
            separator = ", ";
        }
    }
    let unlisted: usize = report.migrations.iter().map(Step::unlisted).sum();
    if unlisted > 0 {
        let _ = write!(text, "{separator}{unlisted} not listed");
    }
    items.push(seen(text));
    let opaque = lines().filter(|line| line.opaque).count();
    if opaque > 0 {
        items.push(person(format!(
            "somebody knows what {} marked with a question mark will do: that shows only when it runs",
            plural(opaque, "statement")
        )));
    }
}

/// The strongest lock on each relation that somebody may be using.
fn locks(items: &mut Vec<Item>, report: &Report) {
    let mut found: Vec<(Lock, &EffectLine)> = Vec::new();
    let lines = report.migrations.iter().flat_map(|step| &step.statements);
    for effect in lines.flat_map(|line| &line.effects) {
        let lock = effect.lock.filter(|lock| *lock >= Lock::Share);
        let Some(lock) = lock.filter(|_| !effect.made_here) else {
            continue;
        };
        let mut same = found.iter_mut();
        match same.find(|(_, other)| other.relation == effect.relation) {
            Some((strongest, _)) => *strongest = lock.max(*strongest),
            None => found.push((lock, effect)),
        }
    }
    if found.is_empty() {
        items.push(seen(
            "locks: none that keeps others from a table that is there",
        ));
        return;
    }
    found.sort_by_key(|(lock, effect)| std::cmp::Reverse((*lock, effect.bytes)));
    let named = found.iter().map(|(lock, effect)| {
        let relation = effect.relation.as_deref();
        let relation = relation.map_or_else(|| "what it does not name".to_owned(), name);
        let large =
            how_large(effect).map_or_else(String::new, |large| format!(" ({})", prose(&large)));
        format!("{lock} on {relation}{large}")
    });
    items.push(seen(format!("locks: {}", list(named))));
    items.push(person("these locks are acceptable when it is deployed"));
}

fn times(items: &mut Vec<Item>, report: &Report) {
    let Some(trace) = &report.trace else {
        if report.risk > Risk::Safe {
            items.push(person(
                "how long it takes is known (<code>schemagate plan --trace</code> on a copy of production measures it)",
            ));
        }
        return;
    };
    if let Some(slow) = report.surroundings.slow {
        let long = report.migrations.iter().flat_map(|step| {
            step.statements.iter().filter_map(move |line| {
                let duration_ms = line.trace.as_ref()?.duration_ms;
                (duration_ms > slow.as_secs_f64() * 1000.0).then(|| {
                    let took = took(duration_ms);
                    format!("line {} of {}, {took}", line.line, name(&step.version))
                })
            })
        });
        let long: Vec<String> = long.collect();
        let slow = duration::print(slow);
        if long.is_empty() {
            items.push(seen(format!("no statement took longer than {slow}")));
        } else {
            items.push(person(format!(
                "longer than {slow} is acceptable for {}",
                list(long.into_iter())
            )));
        }
    }
    match trace.end {
        "whole" => {}
        "failed" => items.push(person("the error of the trace is mended")),
        _ => items.push(person("what the trace did not come to is known")),
    }
}

fn gates(items: &mut Vec<Item>, report: &Report) {
    if report.surroundings.bootstrap {
        items.push(seen(
            "gates: none holds, the database is being built from nothing",
        ));
        return;
    }
    let held: Vec<&Step> = report
        .migrations
        .iter()
        .filter(|step| step.held.is_some())
        .collect();
    if held.is_empty() {
        items.push(seen("gates: none holds a migration"));
    } else {
        items.push(person(format!(
            "what is held has been read as it is, and is let through as said above: {}",
            list(held.iter().map(|step| name(&step.approve)))
        )));
    }
    let approvals: Vec<String> = report.migrations.iter().flat_map(approvals).collect();
    if !approvals.is_empty() {
        let approvals = list(approvals.into_iter());
        items.push(seen(format!("approved: {approvals}")));
    }
}

fn approvals(step: &Step) -> impl Iterator<Item = String> + '_ {
    step.approvals.iter().map(|approval| {
        let reason = approval.reason.as_deref();
        let reason = reason.map_or_else(String::new, |reason| format!(": {}", sentence(reason)));
        format!(
            "{} in {}, by {}{reason}",
            prose(&approval.what),
            name(&step.version),
            name(&approval.by)
        )
    })
}

fn contract(items: &mut Vec<Item>, report: &Report) {
    let waiting: Vec<String> = report
        .deferred
        .iter()
        .filter(|deferred| deferred.for_contract)
        .map(|deferred| name(&deferred.version))
        .collect();
    let steps = || report.migrations.iter();
    let ready: Vec<String> = steps()
        .filter(|step| step.is_contract)
        .map(|step| name(&step.version))
        .collect();
    if waiting.is_empty() && ready.is_empty() {
        items.push(seen("contract steps: none"));
    }
    if !waiting.is_empty() {
        items.push(seen(format!(
            "contract steps: {} for <code>SCHEMAGATE&#95;PHASE=contract</code>, after the rollout",
            list(waiting.into_iter())
        )));
    }
    if !ready.is_empty() {
        items.push(person(format!(
            "no pod that is still deployed needs what the contract steps take away: {}",
            list(ready.into_iter())
        )));
    }
    let early: Vec<String> = steps()
        .filter(|step| step.risk == Risk::Destructive && !step.is_contract)
        .map(|step| name(&step.version))
        .collect();
    if !early.is_empty() && !report.surroundings.bootstrap {
        items.push(person(format!(
            "the release before can live without what is lost; what is not marked phase=contract goes before the \
             rollout: {}",
            list(early.into_iter())
        )));
    }
}

/// What stands behind data that is lost.
fn losses(items: &mut Vec<Item>, report: &Report) {
    let surroundings = &report.surroundings;
    items.push(person("the data that is lost is not needed any more"));
    match (&surroundings.backup, surroundings.asks_backup) {
        (Some(backup), _) => items.push(seen(format!("backup: noted in the journal, of {backup}"))),
        // Waived, or held: both are told above.
        (None, true) => {}
        (None, false) => items.push(person(
            "a backup is there, and has been restored once (SCHEMAGATE&#95;REQUIRE&#95;BACKUP, which asks for one, is not \
             set)",
        )),
    }
    let without = match &surroundings.restore_point {
        Some(Ok(())) => {
            return items.push(seen("restore point: one with a name is created first"));
        }
        Some(Err(why)) => sentence(why),
        None => "SCHEMAGATE&#95;RESTORE&#95;POINT=false".to_owned(),
    };
    items.push(person(format!(
        "going back is possible without a named restore point: {without}"
    )));
}

/// Other formats have no down files.
fn down_files(items: &mut Vec<Item>, report: &Report) {
    if report.format != "sql" {
        return;
    }
    let without = report.migrations.iter().filter(|step| !step.has_down);
    let without: Vec<String> = without.map(|step| name(&step.version)).collect();
    items.push(seen(if without.is_empty() {
        "down files: one for each".to_owned()
    } else {
        format!("down files: none for {}", list(without.into_iter()))
    }));
}

fn list(named: impl Iterator<Item = String>) -> String {
    let mut named: Vec<String> = named.collect();
    let more = named.len().saturating_sub(LISTED);
    named.truncate(LISTED);
    let listed = named.join(", ");
    if more == 0 {
        listed
    } else {
        format!("{listed} and {more} more")
    }
}

/// A name of others.
fn name(text: &str) -> String {
    code(&cut(text, NAME))
}

fn sentence(text: &str) -> String {
    prose(&cut(text, SENTENCE))
}

fn cut(text: &str, limit: usize) -> String {
    let mut shown: String = text.chars().take(limit).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

fn seen(text: impl Into<String>) -> Item {
    Item {
        is_ticked: true,
        text: text.into(),
    }
}

fn person(text: impl Into<String>) -> Item {
    Item {
        is_ticked: false,
        text: text.into(),
    }
}

#[cfg(test)]
mod tests;
