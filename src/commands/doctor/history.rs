//! The history table, the journal, other tools' histories.

use super::{Asker, Folder, flag, text};
use crate::{
    apply::journal_grant,
    formats::foreign::{self, Own},
    history::{Error, Journal, Snapshot, journal},
    migration::quote_literal,
    report::doctor::Section,
};

/// The section.
pub(super) async fn section(
    asker: &Asker<'_>,
    folder: &Folder,
    looked: &Result<Box<Snapshot>, Error>,
) -> Section {
    let mut section = Section::new("history");
    let params = &folder.params.history;
    section.ok(
        "format",
        format!(
            "{}, {} migrations in the folder",
            folder.source.format.label(),
            folder.source.migrations.len()
        ),
    );
    match looked {
        Ok(snapshot) => {
            table(asker, folder, snapshot, &mut section).await;
            journal(snapshot, &mut section);
        }
        Err(error) => {
            section.problem(&params.table.to_string(), error.to_string(), &error.help());
        }
    }
    others(asker, folder, &mut section).await;
    section
}

async fn table(asker: &Asker<'_>, folder: &Folder, snapshot: &Snapshot, section: &mut Section) {
    let table = &folder.params.history.table;
    let name = table.to_string();
    if snapshot.shape.is_none() {
        section.ok(&name, "not there yet: the first run creates it");
        return;
    }
    let row = asker
        .row(
            section,
            &name,
            &format!(
                "SELECT pg_catalog.pg_get_userbyid(c.relowner), \
                 pg_catalog.has_table_privilege(c.oid, 'INSERT') \
                 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                 WHERE n.nspname = {} AND c.relname = {}",
                quote_literal(&table.schema),
                quote_literal(&table.table)
            ),
        )
        .await;
    let value = format!("{} rows, owner {}", snapshot.rows.len(), text(&row, 0));
    if row.is_empty() || flag(&row, 1) {
        section.ok(&name, value);
    } else {
        let help = format!(
            "to apply anything, as its owner: GRANT SELECT, INSERT ON TABLE {} TO the role",
            table.quoted()
        );
        section.note(&name, format!("{value}, may not be written"), &help);
    }
}

fn journal(snapshot: &Snapshot, section: &mut Section) {
    match snapshot.journal {
        Journal::Usable => section.ok(journal::TABLE, "can be read and written"),
        Journal::NoSchema | Journal::NoTable => {
            section.ok(
                journal::TABLE,
                "not there yet: the first run creates it, where it may",
            );
        }
        Journal::Denied => section.note(
            journal::TABLE,
            "there, but this role may not read and write it: files that run in pieces are refused",
            &journal_grant(&snapshot.database, &snapshot.user),
        ),
    }
}

async fn others(asker: &Asker<'_>, folder: &Folder, section: &mut Section) {
    let params = &folder.params.history;
    let own = Own {
        format: params.format,
        table: params.table.clone(),
        named: params.named,
    };
    let rows = asker
        .rows(&foreign::find_sql(&own))
        .await
        .unwrap_or_default();
    for row in &rows {
        let candidate = foreign::parse_candidate(text(row, 0)).ok();
        let Some(found) = candidate.and_then(|candidate| foreign::identify(&own, &candidate))
        else {
            continue;
        };
        section.note(
            "another tool's history",
            format!("{} ({})", found.table, found.known.tool),
            "a first run beside one that has rows is refused: `exec` for that tool, or `baseline --to`",
        );
    }
}
