//! `ALTER TABLE … ADD CONSTRAINT`.

use super::Lock;
use super::alter_table::{FULL, MOMENT};
use super::column::{self, Constraint};
use super::read::{Reader, Work};
use crate::sql::Name;
use crate::sql::words::Words;

pub(super) fn add(
    reader: &mut Reader<'_>,
    table: &Name,
    constraint: &Constraint,
    action: &Words<'_>,
) {
    let not_valid = has_not_valid(action.rest());
    // A table of this release has few rows yet.
    let checks = !not_valid && !reader.memory.is_made(table, false);
    let work = if checks { Work::Long } else { Work::Brief };
    let (why, safer) = match constraint {
        Constraint::Foreign(to) => {
            let (how, safer) = if not_valid {
                ("for a moment", None)
            } else {
                ("while every row is checked", Some(column::KEY_SAFER))
            };
            let why = format!("{} {how}", column::KEY_WHY);
            reader.on(table, Lock::ShareRowExclusive, work, why, safer);
            if let Some(to) = to {
                column::foreign_key(reader, table, to, work);
            }
            return;
        }
        Constraint::Check | Constraint::NotNull if not_valid => {
            let why = format!("adds a constraint without checking the rows: {MOMENT}");
            return reader.on(table, FULL, Work::Brief, why, None);
        }
        Constraint::Check => (
            "adds a constraint: locks out reads and writes while every row is checked",
            "ADD CONSTRAINT … CHECK (…) NOT VALID, then VALIDATE CONSTRAINT in a later migration, which lets reads and writes through",
        ),
        Constraint::NotNull => (
            "adds a constraint: locks out reads and writes while every row is checked",
            "ADD CONSTRAINT … NOT NULL … NOT VALID (PostgreSQL 18), or CHECK (… IS NOT NULL) NOT VALID; then VALIDATE CONSTRAINT",
        ),
        Constraint::UsingIndex => (
            "makes an index a constraint: locks out reads and writes for a moment, and for a primary key while columns that may be null are checked",
            "for a primary key have the columns NOT NULL before",
        ),
        Constraint::Unique => (
            "adds a unique or primary key: locks out reads and writes while its index is built",
            "CREATE UNIQUE INDEX CONCURRENTLY in a file with -- schemagate: transaction=off, then ADD CONSTRAINT … USING INDEX",
        ),
        Constraint::Exclude => (
            "adds an exclusion constraint: locks out reads and writes while its index is built",
            "there is no way without the lock; run it in a quiet window",
        ),
    };
    reader.on(table, FULL, Work::Long, why, Some(safer));
}

fn has_not_valid(text: &str) -> bool {
    let mut words = Words::new(text);
    loop {
        if words.take_all(&["not", "valid"]) {
            return true;
        }
        if !words.skip_parentheses() && words.next().is_none() {
            return false;
        }
    }
}
