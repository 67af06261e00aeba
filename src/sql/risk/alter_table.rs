//! `ALTER TABLE` and what has the same actions: foreign tables, materialized views, views, indexes, sequences.

use super::Lock;
use super::column;
use super::read::{Reader, Work, has_word, pieces};
use super::types;
use super::{constraint, partition};
use crate::sql::Name;
use crate::sql::words::Words;

pub(super) const FULL: Lock = Lock::AccessExclusive;
pub(super) const MOMENT: &str = "locks out reads and writes for a moment";

/// Reads `[IF EXISTS] [ONLY] name [*] action, …`.
pub(super) fn read(reader: &mut Reader<'_>, mut words: Words<'_>, what: &str) {
    if words.take_all(&["all", "in", "tablespace"]) {
        return reader.unnamed(
            FULL,
            Work::Rewrite,
            "moves many relations: writes each of them again",
            None,
        );
    }
    words.take_all(&["if", "exists"]);
    words.take("only");
    let Some(table) = words.name() else {
        return reader.guess("", "the name of what is altered could not be read");
    };
    if words
        .peek()
        .is_some_and(|token| words.text_of(token) == "*")
    {
        words.next();
    }
    for piece in pieces(words.rest()) {
        let mut action = Words::new(piece);
        if !known(reader, &table, &mut action, what) {
            reader.opaque = true;
            let work = if has_word(piece, "drop") {
                Work::Loses
            } else {
                Work::Rewrite
            };
            let why = "an action that is not known here: taken for the worst that ALTER TABLE does";
            reader.on(&table, FULL, work, why, None);
        }
    }
}

/// Reads one action; `false` where it is not known.
fn known(reader: &mut Reader<'_>, table: &Name, action: &mut Words<'_>, what: &str) -> bool {
    let first = action.next().map_or("", |token| action.text_of(token));
    let brief = |reader: &mut Reader<'_>, why: &str| {
        reader.on(table, FULL, Work::Brief, format!("{why}: {MOMENT}"), None);
        true
    };
    match first.to_ascii_lowercase().as_str() {
        "add" => add(reader, table, action),
        "drop" => drop(reader, table, action),
        "alter" => return alter(reader, table, action),
        "validate" => validate(reader, table),
        "rename" => rename(reader, table, action, what),
        "set" => return set(reader, table, action, what),
        "reset" => options(reader, table, action, what),
        "cluster" => mild(reader, table, "notes the order of CLUSTER"),
        "attach" => partition::attach(reader, table, action, what),
        "detach" => partition::detach(reader, table, action),
        "enable" | "disable" => return switch(reader, table, action),
        "force" | "no" if action.is("row") || action.is("force") => {
            return brief(reader, "changes row level security");
        }
        "no" => return brief(reader, "ends an inheritance"),
        "inherit" => {
            brief(reader, "begins an inheritance");
            if let Some(parent) = action.name() {
                mild(reader, &parent, "gets a child");
                if !reader.memory.is_made(table, true) {
                    // From now on it has rows of others.
                    reader.memory.drop_relation(&parent);
                }
            }
        }
        "owner" => return brief(reader, "changes the owner"),
        "replica" => return brief(reader, "changes what a replica is told of old rows"),
        "of" | "not" | "options" | "depends" => return brief(reader, "changes the definition"),
        "increment" | "minvalue" | "maxvalue" | "start" | "restart" | "cache" | "cycle"
        | "owned" | "as"
            if what == "sequence" =>
        {
            sequence(reader, table);
        }
        _ => return false,
    }
    true
}

fn sequence(reader: &mut Reader<'_>, name: &Name) {
    reader.on(
        name,
        Lock::ShareRowExclusive,
        Work::Brief,
        "changes a sequence: nextval waits for a moment",
        None,
    );
}

pub(super) fn mild(reader: &mut Reader<'_>, table: &Name, why: &str) {
    reader.on(table, Lock::ShareUpdateExclusive, Work::Nothing, why, None);
}

fn validate(reader: &mut Reader<'_>, table: &Name) {
    mild(
        reader,
        table,
        "checks every row, with reads and writes going on",
    );
}

fn add(reader: &mut Reader<'_>, table: &Name, action: &mut Words<'_>) {
    if !action.is("column")
        && let Some(constraint) = column::constraint(&mut action.clone())
    {
        return constraint::add(reader, table, &constraint, action);
    }
    // An attribute of a composite type has the same shape.
    action.take_any(&["column", "attribute"]);
    action.take_all(&["if", "not", "exists"]);
    let name = action.ident().unwrap_or_default();
    let column = column::read(action);
    column::add(reader, table, &name, &column);
}

fn drop(reader: &mut Reader<'_>, table: &Name, action: &mut Words<'_>) {
    let cascade = has_word(action.rest(), "cascade");
    if action.take("constraint") {
        reader.on(
            table,
            FULL,
            Work::Brief,
            format!("drops a constraint: {MOMENT}"),
            None,
        );
        let why = "the table that a foreign key refers to is locked out for a moment as well";
        reader.referenced(table, FULL, why);
        if cascade {
            reader.unnamed(
                FULL,
                Work::Brief,
                "foreign keys that need the constraint go with it",
                None,
            );
        }
        return;
    }
    action.take_any(&["column", "attribute"]);
    action.take_all(&["if", "exists"]);
    let name = action.ident().unwrap_or_default();
    reader.memory.learn_column(table, &name, None);
    reader.on(
        table,
        FULL,
        Work::Loses,
        "drops a column with what is in it, and whatever still reads it fails",
        Some("stop using the column first; drop it in a later release in a file with -- schemagate: phase=contract"),
    );
    let why = "a foreign key of the column goes too, and the table it refers to is locked out for a moment";
    reader.referenced(table, FULL, why);
    if cascade {
        reader.cascade("CASCADE drops what depends on the column");
    }
}

/// `ALTER [COLUMN] c …`, `ALTER CONSTRAINT c …`.
fn alter(reader: &mut Reader<'_>, table: &Name, action: &mut Words<'_>) -> bool {
    if action.take("constraint") {
        let why = format!("changes a constraint: {MOMENT}");
        reader.on(table, FULL, work_of_enforcing(action), why, None);
        let why = "the other table of a foreign key is locked out for a moment as well";
        reader.referenced(table, FULL, why);
        return true;
    }
    action.take_any(&["column", "attribute"]);
    // Expressions of an index are altered by their number.
    let Some(name) = action.ident().or_else(|| {
        let number = action.next()?;
        Some(action.text_of(number).to_owned())
    }) else {
        return false;
    };
    let brief = |reader: &mut Reader<'_>, why: &str| {
        reader.on(table, FULL, Work::Brief, format!("{why}: {MOMENT}"), None);
        true
    };
    if action.take_all(&["set", "data", "type"]) || action.take("type") {
        change_type(reader, table, &name, action);
        return true;
    }
    if action.take_all(&["set", "not", "null"]) {
        reader.on(
            table,
            FULL,
            Work::Long,
            "SET NOT NULL: locks out reads and writes while every row is checked",
            Some("ADD CONSTRAINT … CHECK (… IS NOT NULL) NOT VALID, VALIDATE CONSTRAINT, then SET NOT NULL, which finds the constraint and reads no row; drop the constraint last"),
        );
        return true;
    }
    if action.take_all(&["set", "expression"]) {
        reader.on(
            table,
            FULL,
            Work::Rewrite,
            "changes how a column is generated: writes every row again, with reads and writes locked out",
            None,
        );
        return true;
    }
    if action.take_all(&["set", "statistics"]) {
        mild(reader, table, "changes how much ANALYZE keeps");
        return true;
    }
    if action.take("set") {
        if action.skip_parentheses() {
            mild(
                reader,
                table,
                "changes what the planner assumes of a column",
            );
            return true;
        }
        return (action.take_any(&[
            "default",
            "storage",
            "compression",
            "generated",
            "start",
            "increment",
            "minvalue",
            "maxvalue",
            "no",
            "cycle",
            "cache",
            "restart",
            "sequence",
        ])) && brief(reader, "changes a column");
    }
    if action.take("reset") {
        mild(
            reader,
            table,
            "changes what the planner assumes of a column",
        );
        return true;
    }
    if action.take_any(&["drop", "add", "restart", "options"]) {
        return brief(reader, "changes a column");
    }
    false
}

/// `ENFORCED` (18) checks every row.
fn work_of_enforcing(action: &Words<'_>) -> Work {
    if has_word(action.rest(), "enforced") {
        Work::Long
    } else {
        Work::Brief
    }
}

fn change_type(reader: &mut Reader<'_>, table: &Name, name: &str, action: &mut Words<'_>) {
    let to = types::take(action);
    // USING computes each value; another collation is no business of the rows, but of their indexes.
    let plain = action.at_end() || (action.is("cascade") || action.is("restrict"));
    let from = reader.memory.column(table, name);
    let becomes = plain
        && from
            .zip(to.as_ref())
            .is_some_and(|(from, to)| from.becomes(to));
    reader.memory.learn_column(table, name, to.as_ref());
    if becomes {
        reader.on(
            table,
            FULL,
            Work::Long,
            "changes a column's type to one that reads the same: locks out reads and writes for a moment, and while constraints on the column are checked again",
            None,
        );
    } else {
        reader.on(
            table,
            FULL,
            Work::Rewrite,
            "changes a column's type: unless the old type reads the same, every row and index is written again, with reads and writes locked out",
            Some("add a column of the new type, write both, fill the old rows in batches, then let the old column go in a contract step"),
        );
    }
    let why = "foreign keys of the column are made again: the other tables are locked out as well";
    if reader.memory.may_reference(table) {
        reader.unnamed(FULL, Work::Long, why, None);
    }
}

fn rename(reader: &mut Reader<'_>, table: &Name, action: &mut Words<'_>, what: &str) {
    if action.take("to") {
        if let Some(to) = action.ident() {
            let to = Name {
                schema: table.schema.clone(),
                name: to,
            };
            reader.memory.rename(table, &to);
            let (lock, why) = if what == "index" {
                (Lock::ShareUpdateExclusive, "renames an index")
            } else {
                (FULL, "renames it: whoever uses the old name fails")
            };
            // The new name is ours exactly when the old one was.
            reader.on(&to, lock, Work::Brief, why, None);
            if let Some(effect) = reader.effects.last_mut() {
                effect.object = Some(table.clone());
                effect.safer = (what != "index" && effect.risk > super::Risk::Safe).then(|| {
                    "leave the old name behind as a view until no running version uses it"
                        .to_owned()
                });
            }
        }
        return;
    }
    if action.take("constraint") {
        reader.on(
            table,
            FULL,
            Work::Brief,
            format!("renames a constraint: {MOMENT}"),
            None,
        );
        return;
    }
    action.take_any(&["column", "attribute"]);
    let from = action.ident().unwrap_or_default();
    if action.take("to")
        && let Some(to) = action.ident()
    {
        reader.memory.rename_column(table, &from, &to);
    }
    reader.on(
        table,
        FULL,
        Work::Brief,
        "renames a column: whoever uses the old name fails",
        Some("add a column of the new name, write both, fill the old rows in batches, then let the old column go in a contract step"),
    );
}

fn set(reader: &mut Reader<'_>, table: &Name, action: &mut Words<'_>, what: &str) -> bool {
    if action.take("schema") {
        if let Some(schema) = action.ident() {
            let to = Name {
                schema: Some(schema),
                name: table.name.clone(),
            };
            reader.on(
                table,
                FULL,
                Work::Brief,
                "moves it to another schema: whoever uses the old name fails",
                None,
            );
            match &to.schema {
                Some(schema) if !reader.memory.is_made(table, true) => {
                    reader.memory.distrust_schema(schema);
                }
                _ => {}
            }
            reader.memory.rename(table, &to);
        }
        return true;
    }
    let moved = action.take("tablespace");
    if moved || action.take_any(&["logged", "unlogged"]) || action.take_all(&["access", "method"]) {
        let why = if moved {
            "moves it to other disks: copies all of it with reads and writes locked out"
        } else {
            "writes every row again, with reads and writes locked out"
        };
        reader.on(
            table,
            FULL,
            Work::Rewrite,
            why,
            Some("run it in a maintenance window"),
        );
        return true;
    }
    if action.take_all(&["without", "cluster"]) {
        mild(reader, table, "forgets the order of CLUSTER");
        return true;
    }
    if action.take_all(&["without", "oids"]) {
        reader.on(table, FULL, Work::Brief, MOMENT, None);
        return true;
    }
    if action
        .peek()
        .is_some_and(|token| action.text_of(token) == "(")
    {
        options(reader, table, action, what);
        return true;
    }
    false
}

/// Options of storage: most are read by the next vacuum or insert, some need nobody else about
/// (`src/backend/access/common/reloptions.c`).
fn options(reader: &mut Reader<'_>, table: &Name, action: &mut Words<'_>, what: &str) {
    let is_mild = |name: &str| {
        let name = name.trim_start_matches("toast.");
        name.starts_with("autovacuum_")
            || name.starts_with("log_autovacuum_")
            || name.starts_with("vacuum_")
            || matches!(
                name,
                "fillfactor"
                    | "toast_tuple_target"
                    | "parallel_workers"
                    | "n_distinct"
                    | "deduplicate_items"
            )
    };
    // The names, joined: `toast.autovacuum_enabled` is three tokens.
    let names: Vec<String> = pieces(action.parenthesis().unwrap_or_default())
        .map(|piece| {
            let name = piece.split('=').next().unwrap_or_default();
            name.split_whitespace()
                .collect::<String>()
                .to_ascii_lowercase()
        })
        .collect();
    if what != "view" && !names.is_empty() && names.iter().all(|name| is_mild(name)) {
        mild(reader, table, "changes how it is stored from now on");
    } else {
        reader.on(
            table,
            FULL,
            Work::Brief,
            format!("changes options: {MOMENT}"),
            None,
        );
    }
}

/// `ENABLE`/`DISABLE TRIGGER`, `RULE`, `ROW LEVEL SECURITY`.
fn switch(reader: &mut Reader<'_>, table: &Name, action: &mut Words<'_>) -> bool {
    action.take_any(&["replica", "always"]);
    if action.take("trigger") {
        let why = "switches triggers: locks out writes for a moment";
        reader.on(table, Lock::ShareRowExclusive, Work::Brief, why, None);
        return true;
    }
    if action.take("rule") || action.take("row") {
        reader.on(
            table,
            FULL,
            Work::Brief,
            format!("changes what rows are seen: {MOMENT}"),
            None,
        );
        return true;
    }
    false
}
