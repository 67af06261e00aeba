//! `ALTER …`, except what [`super::alter_table`] reads.

use super::alter_table::{self, MOMENT};
use super::create::{self, behind_on};
use super::read::{Reader, Work, has_word};
use super::{Lock, Risk};
use crate::sql::words::Words;

const FULL: Lock = Lock::AccessExclusive;

/// Reads a statement behind `ALTER`.
pub(super) fn read(reader: &mut Reader<'_>, mut words: Words<'_>) {
    if words.take("table") || words.take_all(&["foreign", "table"]) {
        return alter_table::read(reader, words, "table");
    }
    if words.take_all(&["materialized", "view"]) {
        return alter_table::read(reader, words, "table");
    }
    for what in ["view", "index", "sequence"] {
        if words.take(what) {
            return alter_table::read(reader, words, what);
        }
    }
    if words.take("type") {
        return alter_type(reader, &words);
    }
    if words.take("domain") {
        return create::alter_domain(reader, words);
    }
    if words.take_any(&["policy", "trigger", "rule"]) {
        words.take_all(&["if", "exists"]);
        words.ident();
        if let Some(table) = behind_on(&mut words) {
            let why = format!("changes what hangs on a table: {MOMENT}");
            reader.on(&table, FULL, Work::Brief, why, None);
        }
        return;
    }
    if words.take("statistics") {
        let why = "changes statistics; the table is locked against other changes of it";
        return reader.unnamed(Lock::ShareUpdateExclusive, Work::Nothing, why, None);
    }
    if words.take("publication") {
        return create::publication(reader, words);
    }
    if words.take("extension") {
        return extension(reader, &words);
    }
    if words.take("schema") {
        let from = words.ident();
        if words.take("rename") {
            words.take("to");
            if let (Some(from), Some(to)) = (from, words.ident()) {
                reader.memory.rename_schema(&from, &to);
            }
            let why = "renames a schema: whoever uses the old name fails";
            reader.without_lock(Risk::Blocking, why, None);
        }
        return;
    }
    if words.take("database") {
        words.ident();
        if words.take_all(&["set", "tablespace"]) {
            let why = "copies the database to other disks; nobody may be connected";
            reader.without_lock(Risk::Rewrite, why, None);
        }
        return;
    }
    let known = [
        "aggregate",
        "collation",
        "conversion",
        "default",
        "event",
        "foreign",
        "function",
        "group",
        "language",
        "large",
        "operator",
        "procedure",
        "role",
        "routine",
        "server",
        "subscription",
        "system",
        "tablespace",
        "text",
        "user",
    ];
    if !words.take_any(&known) {
        reader.guess(words.rest(), "an ALTER that is not known here");
    }
}

fn alter_type(reader: &mut Reader<'_>, words: &Words<'_>) {
    let mut behind = words.clone();
    let Some(name) = behind.name() else { return };
    if behind.take_all(&["drop", "attribute"]) {
        let why = "drops an attribute with what is in it, in every column of the type";
        reader.on(&name, FULL, Work::Loses, why, None);
    } else if behind.is("add") && !has_word(behind.rest(), "value")
        || behind.is("alter")
        || behind.take_all(&["rename", "attribute"])
    {
        reader.on(&name, FULL, Work::Brief, "changes a composite type", None);
        if has_word(words.rest(), "cascade") {
            let why = "CASCADE changes the tables of the type, as ALTER TABLE does";
            reader.unnamed(FULL, Work::Rewrite, why, None);
        }
    }
    // A new value of an enum, another owner or name hold up nobody.
}

fn extension(reader: &mut Reader<'_>, words: &Words<'_>) {
    let mut behind = words.clone();
    behind.ident();
    if behind.take_all(&["set", "schema"])
        && let Some(schema) = behind.ident()
    {
        reader.memory.distrust_schema(&schema);
    }
    if behind.take("update") {
        reader.opaque = true;
        reader.unnamed(
            FULL,
            Work::Long,
            "runs the extension's own update script, which may do anything",
            Some("read the extension's release notes"),
        );
    }
}
