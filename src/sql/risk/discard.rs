//! `DROP …`.

use super::alter_table::MOMENT;
use super::create::behind_on;
use super::read::{Reader, Work, has_word};
use super::{Lock, Risk};
use crate::sql::Name;
use crate::sql::words::Words;

const FULL: Lock = Lock::AccessExclusive;

const CONTRACT: &str =
    "stop using it first; drop it in a later release in a file with -- schemagate: phase=contract";

/// Reads a statement behind `DROP`.
pub(super) fn read(reader: &mut Reader<'_>, mut words: Words<'_>) {
    let cascade = has_word(words.rest(), "cascade");
    if words.take("table") {
        return tables(reader, &mut words, cascade);
    }
    if words.take("index") {
        return indexes(reader, &mut words);
    }
    if words.take_all(&["materialized", "view"]) {
        let why = "drops a materialized view with what is in it";
        relations(reader, &mut words, Work::Loses, why);
    } else if words.take("view") {
        let why = "drops a view: whoever still reads it fails";
        relations(reader, &mut words, Work::Brief, why);
    } else if words.take_all(&["foreign", "table"]) {
        let why =
            "drops a foreign table: whoever still reads it fails; its rows stay where they are";
        relations(reader, &mut words, Work::Brief, why);
    } else if words.take("sequence") {
        let why = "drops a sequence and forgets how far it was";
        relations(reader, &mut words, Work::Loses, why);
    } else if words.take_any(&["trigger", "policy", "rule"]) {
        words.take_all(&["if", "exists"]);
        words.ident();
        if let Some(table) = behind_on(&mut words) {
            let why = format!("drops what hangs on a table: {MOMENT}");
            reader.on(&table, FULL, Work::Brief, why, None);
        }
        // What can depend on these holds no data.
        return;
    } else if words.take("statistics") {
        let why = "drops statistics; the table is locked against other changes of it";
        return reader.unnamed(Lock::ShareUpdateExclusive, Work::Nothing, why, None);
    } else if words.take("schema") {
        return schemas(reader, &mut words, cascade);
    } else if words.take("owned") {
        let why = "drops every object of a role, with what is in them";
        return reader.unnamed(
            FULL,
            Work::Loses,
            why,
            Some("REASSIGN OWNED BY … TO … first"),
        );
    } else if words.take("database") {
        return reader.without_lock(Risk::Destructive, "drops a database", None);
    } else if words.take("extension") {
        let why = "drops an extension with the tables and types that belong to it";
        return reader.unnamed(FULL, Work::Loses, why, Some(CONTRACT));
    } else if words.take_any(&["type", "domain"]) {
        words.take_all(&["if", "exists"]);
        for name in words.names() {
            reader.memory.forget_type(&name);
        }
    }
    if cascade {
        reader.cascade(
            "CASCADE drops what depends on it: columns with what is in them, views, triggers",
        );
    }
}

fn tables(reader: &mut Reader<'_>, words: &mut Words<'_>, cascade: bool) {
    words.take_all(&["if", "exists"]);
    for name in words.names() {
        let why = "drops a table with what is in it, and whatever still uses it fails";
        reader.on(&name, FULL, Work::Loses, why, Some(CONTRACT));
        let why = "the tables that its foreign keys refer to are locked out for a moment as well";
        reader.referenced(&name, FULL, why);
        // What depends on a relation of this release came after it.
        if cascade && !reader.memory.is_made(&name, true) {
            reader.cascade("CASCADE drops the views and foreign keys that depend on it");
        }
        reader.memory.drop_relation(&name);
    }
}

fn relations(reader: &mut Reader<'_>, words: &mut Words<'_>, work: Work, why: &str) {
    words.take_all(&["if", "exists"]);
    for name in words.names() {
        reader.on(&name, FULL, work, why, Some(CONTRACT));
        reader.memory.drop_relation(&name);
    }
}

fn indexes(reader: &mut Reader<'_>, words: &mut Words<'_>) {
    let concurrently = words.take("concurrently");
    words.take_all(&["if", "exists"]);
    for index in words.names() {
        let table = reader.memory.table_of(&index);
        let object: &Name = table.as_ref().unwrap_or(&index);
        if concurrently {
            let why = "drops an index with reads and writes going on";
            reader.on(object, Lock::ShareUpdateExclusive, Work::Nothing, why, None);
        } else {
            let why = "drops an index: waits for everybody, and locks out reads and writes of its table for a moment";
            let safer = "DROP INDEX CONCURRENTLY in a file with -- schemagate: transaction=off";
            reader.on(object, FULL, Work::Brief, why, Some(safer));
        }
        reader.memory.drop_relation(&index);
    }
}

fn schemas(reader: &mut Reader<'_>, words: &mut Words<'_>, cascade: bool) {
    words.take_all(&["if", "exists"]);
    for schema in words.names() {
        let probe = Name {
            schema: Some(schema.name.clone()),
            name: String::new(),
        };
        let ours = reader.memory.is_made(&probe, true);
        reader.memory.drop_schema(&schema.name);
        if cascade && !ours {
            reader.unnamed(
                FULL,
                Work::Loses,
                "drops a schema with everything in it",
                Some(CONTRACT),
            );
        }
    }
}
