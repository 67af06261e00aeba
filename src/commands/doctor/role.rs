//! Who works, what it may, and who owns what.

use super::{Asker, flag, quoted, text};
use crate::report::doctor::Section;

/// The section. `wanted` is `SCHEMAGATE_ROLE`.
pub(super) async fn section(asker: &Asker<'_>, wanted: Option<&str>) -> Section {
    let mut section = Section::new("role");
    who(asker, wanted, &mut section).await;
    memberships(asker, &mut section).await;
    owners(asker, &mut section).await;
    section
}

async fn who(asker: &Asker<'_>, wanted: Option<&str>, section: &mut Section) {
    let row = asker
        .row(
            section,
            "user",
            "SELECT SESSION_USER, CURRENT_USER, r.rolsuper, r.rolcreaterole, r.rolbypassrls, r.rolreplication, \
             (SELECT s.rolsuper FROM pg_catalog.pg_roles s WHERE s.rolname = SESSION_USER) \
             FROM pg_catalog.pg_roles r WHERE r.rolname = CURRENT_USER",
        )
        .await;
    if row.is_empty() {
        return;
    }
    section.ok("logged in as", text(&row, 0));
    match wanted {
        Some(wanted) if asker.role.is_some() => {
            section.ok("works as", format!("{wanted} (SCHEMAGATE_ROLE)"));
        }
        // Why it cannot be had is told with the history.
        Some(wanted) => section.note(
            "works as",
            format!(
                "{}, not {wanted} (SCHEMAGATE_ROLE): see the history",
                text(&row, 1)
            ),
            "",
        ),
        None => section.ok("works as", text(&row, 1)),
    }
    let attributes = [
        (2, "superuser"),
        (3, "createrole"),
        (4, "bypassrls"),
        (5, "replication"),
    ];
    let has: Vec<&str> = attributes
        .iter()
        .filter(|(column, _)| flag(&row, *column))
        .map(|(_, word)| *word)
        .collect();
    if has.is_empty() {
        section.ok("attributes", "none");
    } else if flag(&row, 2) {
        section.note(
            "attributes",
            has.join(", "),
            "a migrator needs no superuser: the owner of the application's schema is enough",
        );
    } else {
        section.ok("attributes", has.join(", "));
    }
}

async fn memberships(asker: &Asker<'_>, section: &mut Section) {
    let rows = asker
        .rows(
            "SELECT r.rolname FROM pg_catalog.pg_roles r WHERE r.rolname <> CURRENT_USER \
             AND pg_catalog.pg_has_role(r.oid, 'MEMBER') \
             AND NOT (SELECT s.rolsuper FROM pg_catalog.pg_roles s WHERE s.rolname = CURRENT_USER) \
             ORDER BY 1 LIMIT 20",
        )
        .await
        .unwrap_or_default();
    let names: Vec<&str> = rows.iter().map(|row| text(row, 0)).collect();
    if !names.is_empty() {
        section.ok("member of", names.join(", "));
    }
}

async fn owners(asker: &Asker<'_>, section: &mut Section) {
    let row = asker
        .row(
            section,
            "database",
            "SELECT d.datname, pg_catalog.pg_get_userbyid(d.datdba), \
             pg_catalog.has_database_privilege(d.oid, 'CREATE'), CURRENT_USER \
             FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()",
        )
        .await;
    if !row.is_empty() {
        let value = format!("{}, owner {}", text(&row, 0), text(&row, 1));
        if flag(&row, 2) {
            section.ok("database", format!("{value}, may create schemas"));
        } else {
            section.note(
                "database",
                format!("{value}, may not create schemas"),
                &format!(
                    "if the history's schema is not there yet, as the owner: GRANT CREATE ON DATABASE {} TO {}",
                    quoted(&row, 0),
                    quoted(&row, 3)
                ),
            );
        }
    }
    let schemas = asker
        .rows(
            "SELECT n.nspname, pg_catalog.pg_get_userbyid(n.nspowner), \
             pg_catalog.has_schema_privilege(n.oid, 'USAGE'), pg_catalog.has_schema_privilege(n.oid, 'CREATE'), CURRENT_USER \
             FROM pg_catalog.pg_namespace n WHERE n.nspname = 'public' \
             OR n.nspname = ANY (pg_catalog.current_schemas(false)) ORDER BY 1",
        )
        .await
        .unwrap_or_default();
    for row in &schemas {
        let may = match (flag(row, 2), flag(row, 3)) {
            (true, true) => "may use it and create in it",
            (true, false) => "may use it, not create in it",
            (false, true) => "may create in it, not use it",
            (false, false) => "may neither use it nor create in it",
        };
        let name = format!("schema {}", text(row, 0));
        let value = format!("owner {}, {may}", text(row, 1));
        if flag(row, 2) && flag(row, 3) {
            section.ok(&name, value);
        } else {
            let help = format!(
                "where the files need it, as its owner: GRANT USAGE, CREATE ON SCHEMA {} TO {}",
                quoted(row, 0),
                quoted(row, 4)
            );
            section.note(&name, value, &help);
        }
    }
}
