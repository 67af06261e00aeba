//! Drift: what the schema of a database is, as a run leaves it and as it is found later, and the difference.
//!
//! The server itself writes a fingerprint into the journal: the statement that describes every object
//! (`drift/objects.sql`) is the value of the row, so that nothing of it travels. `verify` reads that row, asks the same
//! statement again, and compares.
//!
//! Described are schemas, tables with their columns, views, sequences, constraints, indexes, triggers, rules, policies,
//! functions, types, domains, extended statistics, foreign tables and their servers, extensions, privileges and default
//! privileges. Left out are system schemas, schema `schemagate`, the history tables of every tool that is known, what
//! belongs to an extension, partitions, temporary objects, the order of columns, comments, storage (tablespaces,
//! compression, statistics targets), and what belongs to a cluster or to replication rather than to an application:
//! event triggers, publications, subscriptions, languages, casts, operators, collations, text search.
//!
//! PostgreSQL stores expressions as trees and prints them when asked. The print of an unchanged object stays what it is
//! on one server, but not over a dump and its restore, and not over major versions. So the texts are compared as they
//! are where the row was written by this very server, and without casts, qualifiers and needless parentheses
//! (`drift/normal.rs`) where the database was restored from a dump or the server was upgraded.

mod compare;
mod fingerprint;
pub mod health;
mod normal;
mod pattern;

pub use compare::{Drift, What, compare};
pub use fingerprint::{Fingerprint, Malformed, Name};
pub use pattern::Patterns;

use crate::{formats::foreign::KNOWN, migration::quote_literal};

/// The version of the form that is journalled; a reader leaves newer ones alone.
const FORMAT: u64 = 1;

/// What the statements of this module need around them, for one transaction. With this path nothing but the catalog is
/// found without its schema, whatever the path of the role is, so that they need not qualify every name; the printed
/// expressions name their schemas; and their literals depend on no setting of the role. To print an expression the
/// server locks the tables in it as a `SELECT` does, which must not wait for long behind a migration of somebody else.
///
/// A compiler for expressions (`jit`) would take longer than what it speeds up.
pub const SETTINGS: &str = "SET LOCAL search_path = pg_catalog, pg_temp;SET LOCAL jit = off;\
    SET LOCAL lock_timeout = '2s';SET LOCAL statement_timeout = '30s';SET LOCAL TimeZone = 'UTC';\
    SET LOCAL DateStyle = 'ISO, YMD';SET LOCAL IntervalStyle = 'postgres';SET LOCAL bytea_output = 'hex';\
    SET LOCAL extra_float_digits = 1;SET LOCAL quote_all_identifiers = off;\
    SET LOCAL standard_conforming_strings = on;";

/// How many statements [`SETTINGS`] has.
pub const SETTINGS_COUNT: usize = 11;

/// One row with the objects as `jsonb`; behind [`SETTINGS`], where the journal exists.
///
/// `jsonb_object` of texts costs less than `jsonb_build_object`, which looks up the type of each value. Without
/// `::text[]` an array of names and texts would be one of names, and cut every text at 63 bytes.
pub fn objects_sql() -> String {
    let known: Vec<String> = KNOWN
        .iter()
        .map(|known| {
            let columns: Vec<String> = known
                .columns
                .iter()
                .map(|name| quote_literal(name))
                .collect();
            format!(
                "({}, ARRAY[{}])",
                quote_literal(known.table),
                columns.join(", ")
            )
        })
        .collect();
    include_str!("drift/objects.sql").replace("{known}", &known.join(", "))
}

/// The expression for the journal's `detail`; behind [`SETTINGS`]. The transaction's number tells a row that this server
/// wrote from one that came with a dump.
pub fn detail_sql() -> String {
    format!(
        "jsonb_build_object('format', {FORMAT}, 'server', current_setting('server_version_num')::int, \
         'xid', (txid_current() % 4294967296)::text, 'objects', ({}))",
        objects_sql()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_counted() {
        assert_eq!(SETTINGS.matches(';').count(), SETTINGS_COUNT);
        assert!(!objects_sql().contains("{known}"));
    }
}
