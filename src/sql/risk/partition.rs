//! `ATTACH PARTITION`, `DETACH PARTITION`.

use super::Lock;
use super::alter_table::{FULL, MOMENT, mild};
use super::read::{Reader, Work};
use crate::sql::Name;
use crate::sql::words::Words;

pub(super) fn attach(reader: &mut Reader<'_>, table: &Name, action: &mut Words<'_>, what: &str) {
    action.take("partition");
    let Some(partition) = action.name() else {
        return;
    };
    mild(
        reader,
        table,
        "gets a partition, with reads and writes going on",
    );
    if what == "index" {
        reader.on(
            &partition,
            FULL,
            Work::Brief,
            "becomes part of an index: locked for a moment",
            None,
        );
        return reader.unnamed(
            Lock::AccessShare,
            Work::Nothing,
            "the tables of the indexes are looked at",
            None,
        );
    }
    if !reader.memory.is_made(&partition, true) {
        // From now on it has rows of others.
        reader.memory.drop_relation(table);
    }
    reader.on(
        &partition,
        FULL,
        Work::Long,
        "becomes a partition: locks out reads and writes while its rows are checked, unless a valid CHECK constraint says the same",
        Some("ADD CONSTRAINT … CHECK (…) NOT VALID with the partition's bounds, VALIDATE CONSTRAINT, then attach, then drop the constraint"),
    );
    reader.unnamed(
        FULL,
        Work::Long,
        "a default partition is locked out while its rows are checked, and tables that foreign keys connect are locked against writes",
        None,
    );
}

pub(super) fn detach(reader: &mut Reader<'_>, table: &Name, action: &mut Words<'_>) {
    action.take("partition");
    let partition = action.name();
    let concurrently = action.take("concurrently");
    if concurrently || action.take("finalize") {
        mild(
            reader,
            table,
            "loses a partition, with reads and writes going on",
        );
        if let Some(partition) = partition {
            let why = "is detached when nobody reads it through its parent any more";
            reader.on(&partition, FULL, Work::Nothing, why, None);
        }
        let why = "tables that foreign keys connect are locked for a moment";
        return reader.unnamed(Lock::ShareRowExclusive, Work::Nothing, why, None);
    }
    let safer = "DETACH PARTITION … CONCURRENTLY in a file with -- schemagate: transaction=off";
    let why = format!("loses a partition: {MOMENT}");
    let safer = (reader.version == 0 || reader.has(14)).then_some(safer);
    reader.on(table, FULL, Work::Brief, why, safer);
    if let Some(partition) = partition {
        let why = format!("is detached: {MOMENT}");
        reader.on(&partition, FULL, Work::Brief, why, None);
    }
    reader.unnamed(
        FULL,
        Work::Brief,
        "a default partition, and tables that foreign keys connect, are locked out for a moment as well",
        None,
    );
}
