//! What became of an interrupted statement that ran outside a transaction: the catalog is asked, nothing is guessed.
//! Pure: the questions as SQL, and what the answers mean.
//!
//! Before such a statement runs, the intent row keeps what the catalog said ([`before_sql`]). After an interruption
//! [`after_sql`] asks again and [`verdict`] compares. Facts behind it: `CREATE INDEX CONCURRENTLY` leaves an invalid
//! index, and not every invalid index is a leftover (one that is being built is invalid too, and dropping it waits for
//! its builder and then drops the finished index); `REINDEX CONCURRENTLY` leaves `…_ccnew` or `…_ccold`.
//!
//! <https://www.postgresql.org/docs/current/sql-createindex.html#SQL-CREATEINDEX-CONCURRENTLY>,
//! <https://www.postgresql.org/docs/current/sql-reindex.html#SQL-REINDEX-CONCURRENTLY>

use serde_json::Value;

use crate::{
    migration::{TableName, quote_ident, quote_literal},
    sql::{Bare, Name, ReindexTarget},
    wire::Row,
};

/// What to do with a statement whose intent was noted and whose end was not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It left nothing, or may simply run again.
    Run,
    /// It is done.
    Done,
    /// These invalid indexes are its leftovers; without them it can run again.
    Clear(Vec<TableName>),
    /// This statement ends what was begun.
    Finish(String),
    /// Somebody still works on it.
    Busy(String),
    /// The catalog cannot tell.
    Unknown(String),
}

/// An SQL expression for a `jsonb`, evaluated in the file's own settings right before the statement runs.
pub(super) fn before_sql(bare: &Bare) -> String {
    match bare {
        Bare::CreateIndexConcurrently { table, .. } => indexes_of(table),
        Bare::DropIndexConcurrently { names, .. } => {
            let oids: Vec<_> = names.iter().map(oid_of).collect();
            format!(
                "pg_catalog.jsonb_build_object('oids', pg_catalog.jsonb_build_array({}))",
                oids.join(", ")
            )
        }
        Bare::ReindexConcurrently { target, name } => format!(
            "pg_catalog.jsonb_build_object('table', {}, 'indexes', COALESCE((SELECT \
             pg_catalog.jsonb_agg(i.indexrelid::pg_catalog.int8) FROM pg_catalog.pg_index i \
             WHERE NOT i.indisvalid), '[]'))",
            reindexed_table(*target, name.as_ref())
        ),
        Bare::DetachPartitionConcurrently { table, partition } => format!(
            "(SELECT pg_catalog.jsonb_build_object('parent', h.inhparent::pg_catalog.int8, \
             'child', h.inhrelid::pg_catalog.int8) FROM (SELECT 1) one LEFT JOIN pg_catalog.pg_inherits h \
             ON h.inhparent = {} AND h.inhrelid = {})",
            oid_of(table),
            oid_of(partition)
        ),
        _ => match named_object(bare) {
            Some((catalog, condition)) => format!(
                "pg_catalog.jsonb_build_object('existed', EXISTS (SELECT 1 FROM {catalog} WHERE {condition}))"
            ),
            None => "'{}'::pg_catalog.jsonb".to_owned(),
        },
    }
}

/// The question for the catalog after an interruption; `None` where it has nothing to say.
pub(super) fn after_sql(bare: &Bare, before: &Value) -> Option<String> {
    match bare {
        Bare::CreateIndexConcurrently { name, .. } => {
            let mut condition = format!("i.indrelid = {}", before["table"].as_i64()?);
            if let Some(name) = name {
                condition = format!("{condition} AND c.relname = {}", quote_literal(name));
            }
            Some(new_indexes(&condition, before))
        }
        Bare::ReindexConcurrently { .. } => {
            // An owner who is no superuser may not look into `pg_toast`, and cannot drop what is left there.
            let mut condition = "NOT i.indisvalid AND c.relname ~ '_cc(new|old)[0-9]*$' \
                                 AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')"
                .to_owned();
            if let Some(table) = before["table"].as_i64() {
                condition = format!("{condition} AND i.indrelid IN ({})", rebuilt_with(table));
            }
            Some(new_indexes(&condition, before))
        }
        Bare::DropIndexConcurrently { .. } => Some(format!(
            "SELECT 1 FROM pg_catalog.pg_class WHERE oid = ANY ({})",
            oid_array(&before["oids"])
        )),
        Bare::DetachPartitionConcurrently { .. } => Some(format!(
            "SELECT h.inhdetachpending, h.inhparent::pg_catalog.regclass, h.inhrelid::pg_catalog.regclass \
             FROM pg_catalog.pg_inherits h WHERE h.inhparent = {} AND h.inhrelid = {}",
            before["parent"].as_i64()?,
            before["child"].as_i64()?
        )),
        _ => named_object(bare)
            .map(|(catalog, condition)| format!("SELECT 1 FROM {catalog} WHERE {condition}")),
    }
}

/// What the answer to [`after_sql`] means.
pub(super) fn verdict(bare: &Bare, before: &Value, rows: &[Row]) -> Verdict {
    match bare {
        Bare::CreateIndexConcurrently { name, table, .. } => {
            created(name.as_deref(), table, &leftovers(rows))
        }
        Bare::ReindexConcurrently { .. } => clear(&leftovers(rows)),
        Bare::DetachPartitionConcurrently { .. } => detached(before, rows),
        // Gone is done only if it was there: a statement that names nothing has failed.
        Bare::DropIndexConcurrently { .. } => {
            let oids = before["oids"].as_array();
            let existed = oids.is_some_and(|oids| {
                !oids.is_empty() && oids.iter().all(|oid| oid.as_i64().is_some())
            });
            done_if(existed && rows.is_empty())
        }
        Bare::DropDatabase(_) | Bare::DropTablespace(_) | Bare::DropSubscription(_) => {
            done_if(before["existed"] == Value::Bool(true) && rows.is_empty())
        }
        Bare::CreateDatabase(_) | Bare::CreateTablespace(_) | Bare::CreateSubscription(_) => {
            done_if(before["existed"] == Value::Bool(false) && !rows.is_empty())
        }
        // These end in the same state however often they run.
        Bare::Vacuum
        | Bare::Cluster
        | Bare::Reindex { .. }
        | Bare::AlterSystem
        | Bare::AlterDatabaseSetTablespace(_)
        | Bare::AlterSubscription(_)
        | Bare::DiscardAll => Verdict::Run,
        Bare::CommittingBlock => Verdict::Unknown(
            "the statement commits on its own, and how far it came stands nowhere".to_owned(),
        ),
    }
}

/// After an index was built without an error: the invalid one that `IF NOT EXISTS` met, if any.
pub(super) fn invalid_index_sql(bare: &Bare, before: &Value) -> Option<String> {
    let Bare::CreateIndexConcurrently {
        name: Some(name), ..
    } = bare
    else {
        return None;
    };
    Some(format!(
        "SELECT c.oid::pg_catalog.regclass FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid \
         WHERE i.indrelid = {} AND c.relname = {} AND c.relkind = 'i' AND NOT i.indisvalid",
        before["table"].as_i64()?,
        quote_literal(name)
    ))
}

const fn done_if(done: bool) -> Verdict {
    if done { Verdict::Done } else { Verdict::Run }
}

fn detached(before: &Value, rows: &[Row]) -> Verdict {
    let text = |column: usize| rows.first()?.get(column)?.as_deref();
    if rows.is_empty() {
        return done_if(before["child"].as_i64().is_some());
    }
    match (text(0), text(1), text(2)) {
        (Some("t"), Some(parent), Some(child)) => Verdict::Finish(format!(
            "ALTER TABLE {parent} DETACH PARTITION {child} FINALIZE"
        )),
        _ => Verdict::Run,
    }
}

/// The table whose indexes are rebuilt; a schema or a database has many.
fn reindexed_table(target: ReindexTarget, name: Option<&Name>) -> String {
    match (target, name) {
        (ReindexTarget::Table, Some(name)) => oid_of(name),
        (ReindexTarget::Index, Some(name)) => format!(
            "(SELECT x.indrelid::pg_catalog.int8 FROM pg_catalog.pg_index x WHERE x.indexrelid = {})",
            oid_of(name)
        ),
        _ => "NULL".to_owned(),
    }
}

/// The tables whose indexes are rebuilt with those of a table: its partitions, and the TOAST table of each.
fn rebuilt_with(table: i64) -> String {
    format!(
        "SELECT pg_catalog.unnest(ARRAY[c.oid, c.reltoastrelid]) FROM pg_catalog.pg_class c WHERE c.oid = {table} \
         OR c.oid IN (SELECT p.relid FROM pg_catalog.pg_partition_tree({table}::pg_catalog.oid) p)"
    )
}

/// An index that was not there before the statement.
#[derive(Debug)]
struct Found {
    index: TableName,
    valid: bool,
    busy: bool,
}

fn leftovers(rows: &[Row]) -> Vec<Found> {
    rows.iter()
        .filter_map(|row| {
            let text = |column: usize| row.get(column).and_then(Option::as_deref);
            Some(Found {
                index: TableName::new(text(0)?, text(1)?),
                valid: text(2) == Some("t"),
                busy: text(3) == Some("t"),
            })
        })
        .collect()
}

fn created(name: Option<&str>, table: &Name, found: &[Found]) -> Verdict {
    match found {
        [] => Verdict::Run,
        // PostgreSQL names an index after its table; another name is somebody else's.
        [one] if name.is_some() || one.index.table.starts_with(&prefix(&table.name)) => {
            if one.valid {
                Verdict::Done
            } else {
                clear(found)
            }
        }
        _ => Verdict::Unknown(format!(
            "the index has no name in the file, and {} new indexes stand on {table}",
            found.len()
        )),
    }
}

/// A long table name is cut when an index is named after it; 20 bytes always stay.
fn prefix(table: &str) -> String {
    table.chars().take(20).collect()
}

fn clear(found: &[Found]) -> Verdict {
    if let Some(busy) = found.iter().find(|found| found.busy) {
        return Verdict::Busy(format!("index {} is still being worked on", busy.index));
    }
    if found.is_empty() {
        return Verdict::Run;
    }
    Verdict::Clear(found.iter().map(|found| found.index.clone()).collect())
}

/// Catalog and condition of a thing that exists or not.
fn named_object(bare: &Bare) -> Option<(&'static str, String)> {
    let (catalog, condition) = match bare {
        Bare::CreateDatabase(name) | Bare::DropDatabase(name) => (
            "pg_catalog.pg_database",
            format!("datname = {}", quote_literal(name)),
        ),
        Bare::CreateTablespace(name) | Bare::DropTablespace(name) => (
            "pg_catalog.pg_tablespace",
            format!("spcname = {}", quote_literal(name)),
        ),
        Bare::CreateSubscription(name) | Bare::DropSubscription(name) => (
            "pg_catalog.pg_subscription",
            format!(
                "subname = {} AND subdbid = (SELECT oid FROM pg_catalog.pg_database \
                 WHERE datname = pg_catalog.current_database())",
                quote_literal(name)
            ),
        ),
        _ => return None,
    };
    Some((catalog, condition))
}

fn indexes_of(table: &Name) -> String {
    format!(
        "(SELECT pg_catalog.jsonb_build_object('table', t.oid, 'indexes', COALESCE((SELECT \
         pg_catalog.jsonb_agg(i.indexrelid::pg_catalog.int8) FROM pg_catalog.pg_index i WHERE i.indrelid = t.oid), '[]')) \
         FROM (SELECT {} AS oid) t)",
        oid_of(table)
    )
}

/// Ordinary indexes (an index `ON ONLY` a partitioned table is invalid by design) that were not there before, with
/// whether another session builds them. Another role's progress row is visible, its columns are not: its locks tell.
fn new_indexes(condition: &str, before: &Value) -> String {
    format!(
        "SELECT n.nspname, c.relname, i.indisvalid, \
         EXISTS (SELECT 1 FROM pg_catalog.pg_stat_progress_create_index p JOIN pg_catalog.pg_locks l ON l.pid = p.pid \
                 WHERE l.relation IN (i.indrelid, i.indexrelid) AND l.pid <> pg_catalog.pg_backend_pid()) \
         OR EXISTS (SELECT 1 FROM pg_catalog.pg_locks l WHERE l.relation = i.indexrelid AND l.granted \
                    AND l.pid <> pg_catalog.pg_backend_pid() \
                    AND l.mode NOT IN ('AccessShareLock', 'RowShareLock', 'RowExclusiveLock')) \
         FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE {condition} AND c.relkind = 'i' AND i.indexrelid <> ALL ({})",
        oid_array(&before["indexes"])
    )
}

fn oid_array(values: &Value) -> String {
    let oids: Vec<String> = values
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_i64)
        .map(|oid| oid.to_string())
        .collect();
    format!("ARRAY[{}]::pg_catalog.oid[]", oids.join(", "))
}

fn oid_of(name: &Name) -> String {
    format!(
        "pg_catalog.to_regclass({})::pg_catalog.oid::pg_catalog.int8",
        quote_literal(&qualified(name))
    )
}

fn qualified(name: &Name) -> String {
    match &name.schema {
        Some(schema) => format!("{}.{}", quote_ident(schema), quote_ident(&name.name)),
        None => quote_ident(&name.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> Name {
        Name {
            schema: None,
            name: name.into(),
        }
    }

    fn index(named: bool) -> Bare {
        Bare::CreateIndexConcurrently {
            name: named.then(|| "i".to_owned()),
            table: name("orders"),
            if_not_exists: false,
        }
    }

    fn row(index: &str, valid: bool, busy: bool) -> Row {
        let flag = |flag| Some(if flag { "t" } else { "f" }.to_owned());
        vec![
            Some("public".into()),
            Some(index.into()),
            flag(valid),
            flag(busy),
        ]
    }

    #[test]
    fn verdicts_on_a_concurrent_index() {
        let before = serde_json::json!({"table": 1, "indexes": [2]});
        let check = |named: bool, rows: &[Row], expected: &Verdict| {
            assert_eq!(&verdict(&index(named), &before, rows), expected);
        };
        let dropped = |index: &str| Verdict::Clear(vec![TableName::new("public", index)]);
        check(true, &[], &Verdict::Run);
        check(true, &[row("i", true, false)], &Verdict::Done);
        check(true, &[row("i", false, false)], &dropped("i"));
        check(false, &[], &Verdict::Run);
        check(false, &[row("orders_a_idx", true, false)], &Verdict::Done);
        check(
            false,
            &[row("orders_a_idx1", false, false)],
            &dropped("orders_a_idx1"),
        );
        assert!(matches!(
            verdict(&index(true), &before, &[row("i", false, true)]),
            Verdict::Busy(_)
        ));
        for rows in [
            vec![row("mine", false, false)],
            vec![
                row("orders_a_idx", true, false),
                row("orders_b_idx", true, false),
            ],
        ] {
            assert!(matches!(
                verdict(&index(false), &before, &rows),
                Verdict::Unknown(_)
            ));
        }
    }

    #[test]
    fn verdicts_on_others() {
        let check = |bare: Bare, before: Value, rows: &[Row], expected: Verdict| {
            assert_eq!(verdict(&bare, &before, rows), expected, "{bare:?}");
        };
        let one = vec![vec![Some("1".to_owned())]];
        let json = |existed: bool| serde_json::json!({ "existed": existed });
        check(Bare::Vacuum, Value::Null, &[], Verdict::Run);
        check(
            Bare::CreateDatabase("d".into()),
            json(false),
            &one,
            Verdict::Done,
        );
        check(
            Bare::CreateDatabase("d".into()),
            json(true),
            &one,
            Verdict::Run,
        );
        check(
            Bare::CreateDatabase("d".into()),
            json(false),
            &[],
            Verdict::Run,
        );
        check(
            Bare::DropDatabase("d".into()),
            json(true),
            &[],
            Verdict::Done,
        );
        check(
            Bare::DropDatabase("typo".into()),
            json(false),
            &[],
            Verdict::Run,
        );
        let dropped = |oids| {
            (
                Bare::DropIndexConcurrently {
                    names: vec![],
                    if_exists: false,
                },
                oids,
            )
        };
        for (oids, expected) in [
            (serde_json::json!({"oids": [5]}), Verdict::Done),
            (serde_json::json!({"oids": [null]}), Verdict::Run),
            (serde_json::json!({"oids": []}), Verdict::Run),
        ] {
            let (bare, before) = dropped(oids);
            check(bare, before, &[], expected);
        }
        check(
            Bare::DropDatabase("d".into()),
            json(true),
            &one,
            Verdict::Run,
        );
        assert!(matches!(
            verdict(&Bare::CommittingBlock, &Value::Null, &[]),
            Verdict::Unknown(_)
        ));
        let detach = Bare::DetachPartitionConcurrently {
            table: name("p"),
            partition: name("c"),
        };
        let pending = vec![
            ["t", "s.p", "s.c"]
                .map(|text| Some(text.to_owned()))
                .to_vec(),
        ];
        let attached = serde_json::json!({"parent": 1, "child": 2});
        assert_eq!(
            verdict(&detach, &attached, &pending),
            Verdict::Finish("ALTER TABLE s.p DETACH PARTITION s.c FINALIZE".to_owned())
        );
        assert_eq!(verdict(&detach, &attached, &[]), Verdict::Done);
        assert_eq!(verdict(&detach, &Value::Null, &[]), Verdict::Run);
    }

    #[test]
    fn numbers_alone_reach_the_array() {
        let values = serde_json::json!([1, "2); DROP", 3]);
        assert_eq!(oid_array(&values), "ARRAY[1, 3]::pg_catalog.oid[]");
    }
}
