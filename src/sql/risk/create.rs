//! `CREATE …`.

use super::alter_table::MOMENT;
use super::column::{self, Constraint};
use super::read::{Reader, Work, pieces};
use super::{Lock, Risk};
use crate::sql::Name;
use crate::sql::lex::Lexeme;
use crate::sql::words::Words;

const FULL: Lock = Lock::AccessExclusive;

/// Reads a statement behind `CREATE`.
pub(super) fn read(reader: &mut Reader<'_>, mut words: Words<'_>) {
    let replace = words.take_all(&["or", "replace"]);
    words.take_any(&["global", "local"]);
    let temporary = words.take_any(&["temporary", "temp"]);
    words.take("unlogged");
    words.take("recursive");
    let unique = words.take("unique");
    if unique || words.is("index") {
        words.take("index");
        return index(reader, words);
    }
    let foreign = words.take_all(&["foreign", "table"]);
    if foreign || words.take("table") {
        return table(reader, words, temporary, foreign);
    }
    if words.take_all(&["materialized", "view"]) {
        return relation(reader, words, false);
    }
    if words.take("view") {
        return view(reader, &mut words, replace, temporary);
    }
    if words.take("sequence") {
        return relation(reader, words, temporary);
    }
    if words.take("type") {
        return new_type(reader, words);
    }
    if words.take("domain") {
        return domain(reader, words);
    }
    if words.take("schema") {
        return schema(reader, words);
    }
    words.take("constraint");
    if words.take("trigger") {
        let why = "creates a trigger: locks out writes for a moment";
        return on_table(reader, words, Lock::ShareRowExclusive, why);
    }
    if words.take("policy") {
        return on_table(reader, words, FULL, &format!("creates a policy: {MOMENT}"));
    }
    if words.take("rule") {
        return rule(reader, words);
    }
    if words.take("statistics") {
        return statistics(reader, words);
    }
    if words.take("publication") {
        publication(reader, words);
    }
    // Roles, functions, extensions, operators, servers and the like hold up no relation.
}

fn if_not_exists(words: &mut Words<'_>) -> bool {
    words.take_all(&["if", "not", "exists"])
}

fn relation(reader: &mut Reader<'_>, mut words: Words<'_>, temporary: bool) {
    let doubtful = if_not_exists(&mut words);
    if let Some(name) = words.name() {
        note(reader, &name, doubtful, temporary);
    }
}

fn note(reader: &mut Reader<'_>, name: &Name, doubtful: bool, temporary: bool) {
    if temporary && !doubtful && !reader.conditional {
        reader.memory.make_temporary(name);
    } else if !temporary {
        reader.made(name, doubtful);
    }
}

fn view(reader: &mut Reader<'_>, words: &mut Words<'_>, replace: bool, temporary: bool) {
    let Some(name) = words.name() else { return };
    if replace {
        let why = "replaces a view: whoever reads it waits for a moment";
        reader.on(&name, FULL, Work::Brief, why, None);
    } else {
        note(reader, &name, false, temporary);
    }
    reader.memory.reaches_others(&name);
}

fn index(reader: &mut Reader<'_>, mut words: Words<'_>) {
    let concurrently = words.take("concurrently");
    if_not_exists(&mut words);
    let name = if words.is("on") { None } else { words.ident() };
    words.take("on");
    words.take("only");
    let Some(table) = words.name() else { return };
    if concurrently {
        let why = "builds an index with reads and writes going on";
        reader.on(&table, Lock::ShareUpdateExclusive, Work::Nothing, why, None);
    } else {
        reader.on(
            &table,
            Lock::Share,
            Work::Long,
            "builds an index: locks out writes for as long",
            Some("CREATE INDEX CONCURRENTLY in a file with -- schemagate: transaction=off"),
        );
    }
    if let Some(name) = name {
        // It lies in the schema of its table.
        let schema = table.schema.clone();
        reader.memory.make_index(&Name { schema, name }, &table);
    }
}

fn table(reader: &mut Reader<'_>, mut words: Words<'_>, temporary: bool, foreign: bool) {
    let doubtful = if_not_exists(&mut words);
    let Some(name) = words.name() else { return };
    note(reader, &name, doubtful, temporary);
    if foreign {
        reader.memory.reaches_others(&name);
    }
    if words.take_all(&["partition", "of"]) {
        return partition(reader, &name, words);
    }
    if words.take("of") {
        words.name();
    }
    for piece in pieces(words.parenthesis().unwrap_or_default()) {
        element(reader, &name, Words::new(piece));
    }
    if words.take("inherits") {
        for parent in Words::new(words.parenthesis().unwrap_or_default()).names() {
            let why = "gets a child";
            reader.on(
                &parent,
                Lock::ShareUpdateExclusive,
                Work::Nothing,
                why,
                None,
            );
        }
    }
}

/// A column or constraint of a new table, which holds up only what it refers to.
fn element(reader: &mut Reader<'_>, table: &Name, mut words: Words<'_>) {
    if words.is("like") {
        return;
    }
    if let Some(constraint) = column::constraint(&mut words.clone()) {
        if let Constraint::Foreign(Some(to)) = constraint {
            column::foreign_key(reader, table, &to, Work::Brief);
        }
        return;
    }
    let Some(name) = words.ident() else { return };
    let column = column::read(&mut words);
    for to in &column.references {
        column::foreign_key(reader, table, to, Work::Brief);
    }
    reader.memory.learn_column(table, &name, column.of.as_ref());
}

fn partition(reader: &mut Reader<'_>, name: &Name, mut words: Words<'_>) {
    let Some(parent) = words.name() else { return };
    let safer = "CREATE TABLE … (LIKE …), then ALTER TABLE … ATTACH PARTITION, which lets reads and writes through";
    let why = format!("gets a partition: {MOMENT}");
    reader.on(&parent, FULL, Work::Brief, why, Some(safer));
    if !reader.memory.is_made(&parent, true) {
        // Whoever uses the parent uses it at once.
        reader.memory.drop_relation(name);
        reader.unnamed(
            FULL,
            Work::Long,
            "a default partition is locked out while its rows are checked, and tables that foreign keys connect are locked against writes",
            None,
        );
    }
}

fn new_type(reader: &mut Reader<'_>, mut words: Words<'_>) {
    if let Some(name) = words.name() {
        reader.memory.learn_type(&name);
    }
}

fn domain(reader: &mut Reader<'_>, mut words: Words<'_>) {
    let Some(name) = words.name() else { return };
    words.take("as");
    let column = column::read(&mut words);
    if column.check || column.not_null {
        reader.memory.forget_type(&name);
    } else {
        reader.memory.learn_type(&name);
    }
}

fn schema(reader: &mut Reader<'_>, mut words: Words<'_>) {
    let doubtful = if_not_exists(&mut words) || reader.conditional;
    let authorized = words.take("authorization");
    let Some(name) = words.ident() else {
        return;
    };
    reader.memory.schema_appears(&name);
    if !authorized && (!doubtful || reader.memory.believes_if_not_exists) {
        reader.memory.make_schema(&name);
    }
    // Its elements belong to it.
}

/// What is created on a table: `name … ON table`.
fn on_table(reader: &mut Reader<'_>, mut words: Words<'_>, lock: Lock, why: &str) {
    words.ident();
    if let Some(table) = behind_on(&mut words) {
        reader.on(&table, lock, Work::Brief, why, None);
    }
}

/// The name behind the next `ON`.
pub(super) fn behind_on(words: &mut Words<'_>) -> Option<Name> {
    while !words.take("on") {
        words.next()?;
    }
    words.take("only");
    words.name()
}

/// `CREATE RULE name AS ON event TO table`.
fn rule(reader: &mut Reader<'_>, mut words: Words<'_>) {
    while !words.take("to") {
        if words.next().is_none() {
            return;
        }
    }
    if let Some(table) = words.name() {
        let why = format!("creates a rule: {MOMENT}");
        reader.on(&table, FULL, Work::Brief, why, None);
    }
}

fn statistics(reader: &mut Reader<'_>, mut words: Words<'_>) {
    while !words.take("from") {
        if words.next().is_none() {
            return;
        }
    }
    if let Some(table) = words.name() {
        let why = "creates statistics, which the next ANALYZE fills";
        reader.on(&table, Lock::ShareUpdateExclusive, Work::Nothing, why, None);
    }
}

/// `… FOR TABLE t [*] [(…)] [WHERE (…)], …`.
pub(super) fn publication(reader: &mut Reader<'_>, mut words: Words<'_>) {
    words.ident();
    while let Some(token) = words.next() {
        if token.lexeme == Lexeme::Word && words.text_of(token).eq_ignore_ascii_case("table") {
            for piece in pieces(words.rest()) {
                let mut piece = Words::new(piece);
                piece.take("table");
                piece.take("only");
                if let Some(table) = piece.name() {
                    let why = "joins or leaves a publication";
                    reader.on(&table, Lock::ShareUpdateExclusive, Work::Nothing, why, None);
                }
            }
            return;
        }
    }
}

/// `ALTER DOMAIN`, which checks every column of it.
pub(super) fn alter_domain(reader: &mut Reader<'_>, mut words: Words<'_>) {
    let Some(name) = words.name() else { return };
    let not_null = words.take_all(&["set", "not", "null"]);
    if not_null || words.take("add") {
        reader.memory.forget_type(&name);
        if !not_null
            && words
                .rest()
                .to_ascii_lowercase()
                .trim_end()
                .ends_with("not valid")
        {
            return;
        }
        reader.unnamed(
            Lock::Share,
            Work::Long,
            "constrains a domain: locks out writes on every table with a column of it while every row is checked",
            Some("ALTER DOMAIN … ADD CONSTRAINT … NOT VALID, then VALIDATE CONSTRAINT in a later migration"),
        );
    } else if words.take("validate") && !reader.has(18) {
        reader.unnamed(
            Lock::Share,
            Work::Long,
            "checks every row of every table with a column of the domain: locks out writes for as long, before PostgreSQL 18",
            None,
        );
    } else if words.take("rename") && words.take("to") && words.ident().is_some() {
        let why = "renames a domain: whoever uses the old name fails";
        reader.without_lock(Risk::Blocking, why, None);
    }
}
