use super::*;
use crate::sql::kind::{Kind, classify};

fn name(schema: Option<&str>, name: &str) -> Name {
    Name {
        schema: schema.map(str::to_owned),
        name: name.to_owned(),
    }
}

#[track_caller]
fn check(statement: &str, expected: Bare) {
    assert_eq!(classify(statement), Kind::Bare(expected), "{statement}");
}

#[track_caller]
fn plain(statement: &str) {
    assert_eq!(classify(statement), Kind::Plain, "{statement}");
}

fn index(index: Option<&str>, table: Name, if_not_exists: bool) -> Bare {
    Bare::CreateIndexConcurrently {
        name: index.map(str::to_owned),
        table,
        if_not_exists,
    }
}

#[test]
fn concurrent_indexes() {
    let t = || name(None, "t");
    check(
        "CREATE INDEX CONCURRENTLY i ON t (a)",
        index(Some("i"), t(), false),
    );
    check(
        "create unique index concurrently on T(a)",
        index(None, t(), false),
    );
    check(
        "CREATE INDEX /* now */ CONCURRENTLY IF NOT EXISTS \"I\" ON ONLY S.\"T\" USING gin (a)",
        index(Some("I"), name(Some("s"), "T"), true),
    );
    check(
        "CREATE INDEX concurrently ON t (a)",
        index(None, t(), false),
    );
    plain("CREATE INDEX i ON t (a)");
    plain("CREATE INDEX \"concurrently\" ON t (a)");
    plain("CREATE UNIQUE INDEX i ON concurrently (a)");

    let drops = |names: Vec<Name>, if_exists| Bare::DropIndexConcurrently { names, if_exists };
    check(
        "DROP INDEX CONCURRENTLY i",
        drops(vec![name(None, "i")], false),
    );
    check(
        "drop index concurrently if exists s.i, \"J\" cascade",
        drops(vec![name(Some("s"), "i"), name(None, "J")], true),
    );
    plain("DROP INDEX i");
    plain("DROP INDEX IF EXISTS i");
}

#[test]
fn reindex() {
    let concurrently = |target, of: Option<Name>| Bare::ReindexConcurrently { target, name: of };
    let whole = |target, of: Option<Name>| Bare::Reindex { target, name: of };
    let x = || Some(name(None, "x"));
    check(
        "REINDEX INDEX CONCURRENTLY x",
        concurrently(ReindexTarget::Index, x()),
    );
    check(
        "REINDEX (VERBOSE, TABLESPACE ts) TABLE CONCURRENTLY s.x",
        concurrently(ReindexTarget::Table, Some(name(Some("s"), "x"))),
    );
    check(
        "REINDEX (CONCURRENTLY) TABLE x",
        concurrently(ReindexTarget::Table, x()),
    );
    check(
        "REINDEX DATABASE CONCURRENTLY",
        concurrently(ReindexTarget::Database, None),
    );
    check("REINDEX SCHEMA x", whole(ReindexTarget::Schema, x()));
    check("REINDEX DATABASE x", whole(ReindexTarget::Database, x()));
    check("REINDEX SYSTEM x", whole(ReindexTarget::System, x()));
    plain("REINDEX TABLE x");
    plain("REINDEX (CONCURRENTLY false) INDEX x");
    plain("REINDEX INDEX x");
}

#[test]
fn tables_and_databases() {
    check("VACUUM", Bare::Vacuum);
    check("vacuum (full, analyze) t", Bare::Vacuum);
    plain("ANALYZE t");
    check("CLUSTER", Bare::Cluster);
    check("CLUSTER VERBOSE", Bare::Cluster);
    check("CLUSTER (VERBOSE)", Bare::Cluster);
    plain("CLUSTER t USING i");
    plain("CLUSTER VERBOSE t");
    check(
        "ALTER TABLE IF EXISTS ONLY s.t DETACH PARTITION s.p CONCURRENTLY",
        Bare::DetachPartitionConcurrently {
            table: name(Some("s"), "t"),
            partition: name(Some("s"), "p"),
        },
    );
    plain("ALTER TABLE t DETACH PARTITION p FINALIZE");
    plain("ALTER TABLE t DETACH PARTITION p");
    plain("ALTER TABLE t ADD COLUMN concurrently int");
    check("CREATE DATABASE D", Bare::CreateDatabase("d".to_owned()));
    check(
        "DROP DATABASE IF EXISTS d WITH (FORCE)",
        Bare::DropDatabase("d".to_owned()),
    );
    check(
        "ALTER DATABASE d SET TABLESPACE ts",
        Bare::AlterDatabaseSetTablespace("d".to_owned()),
    );
    plain("ALTER DATABASE d SET work_mem = '1MB'");
    check(
        "CREATE TABLESPACE ts LOCATION '/x'",
        Bare::CreateTablespace("ts".to_owned()),
    );
    check(
        "DROP TABLESPACE IF EXISTS ts",
        Bare::DropTablespace("ts".to_owned()),
    );
    check("ALTER SYSTEM SET work_mem = '1MB'", Bare::AlterSystem);
    check("DISCARD ALL", Bare::DiscardAll);
    plain("DISCARD TEMP");
    plain("DROP TABLE t");
    plain("ALTER TYPE e ADD VALUE 'x'");
}

#[test]
fn subscriptions() {
    let create = || Bare::CreateSubscription("s".to_owned());
    let head = "CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p, q";
    check(head, create());
    check(&format!("{head} WITH (enabled = false)"), create());
    check(&format!("{head} WITH (create_slot = true)"), create());
    plain(&format!("{head} WITH (create_slot = false)"));
    plain(&format!("{head} WITH (slot_name = NONE, connect = off)"));
    check(
        "DROP SUBSCRIPTION IF EXISTS s",
        Bare::DropSubscription("s".to_owned()),
    );
    let alter = || Bare::AlterSubscription("s".to_owned());
    check("ALTER SUBSCRIPTION s REFRESH PUBLICATION", alter());
    check("ALTER SUBSCRIPTION s SET PUBLICATION p, q", alter());
    check(
        "ALTER SUBSCRIPTION s ADD PUBLICATION p WITH (copy_data = false)",
        alter(),
    );
    plain("ALTER SUBSCRIPTION s DROP PUBLICATION p WITH (refresh = false)");
    check("ALTER SUBSCRIPTION s SET (failover = true)", alter());
    plain("ALTER SUBSCRIPTION s SET (slot_name = NONE)");
    plain("ALTER SUBSCRIPTION s DISABLE");
}

#[test]
fn blocks_that_commit() {
    for body in [
        "BEGIN COMMIT; END",
        "begin perform 1; rollback; end",
        "<<l>> BEGIN LOOP UPDATE t SET a = 1; COMMIT AND CHAIN; EXIT; END LOOP; END",
        "BEGIN IF true THEN COMMIT; END IF; END",
        "BEGIN IF true THEN ELSE /* x */ COMMIT; END IF; END",
    ] {
        check(&format!("DO $$ {body} $$"), Bare::CommittingBlock);
        check(
            &format!("DO LANGUAGE plpgsql $x$ {body} $x$"),
            Bare::CommittingBlock,
        );
        check(
            &format!("DO '{body}' LANGUAGE plpgsql"),
            Bare::CommittingBlock,
        );
    }
    check(
        "DO LANGUAGE plpython3u $$ plpy.commit() $$",
        Bare::CommittingBlock,
    );
    check(
        "DO LANGUAGE plperl $$ spi_rollback(); $$",
        Bare::CommittingBlock,
    );
}

#[test]
fn blocks_that_only_speak_of_it() {
    for body in [
        "BEGIN RAISE NOTICE 'COMMIT;'; END",
        "BEGIN -- COMMIT;\n NULL; END",
        "DECLARE commit int; BEGIN commit := 1; END",
        "BEGIN INSERT INTO t (commit, rollback) VALUES (1, 2); END",
        "",
    ] {
        let statement = format!("DO $$ {body} $$");
        let expected = if body.starts_with("DECLARE") {
            // An assignment to a variable of that name is taken for the command: it then runs outside a transaction,
            // which is correct for it too.
            Kind::Bare(Bare::CommittingBlock)
        } else {
            Kind::Plain
        };
        assert_eq!(classify(&statement), expected, "{statement}");
    }
    assert_eq!(classify("DO $$ BEGIN CALL p(); END $$"), Kind::Call);
    assert_eq!(classify("DO"), Kind::Plain);
    assert_eq!(classify("DO $$"), Kind::Plain);
}

#[test]
fn the_content_of_quotes() {
    for (written, expected) in [
        ("$$a$$", "a"),
        ("$x$a$$b$x$", "a$$b"),
        ("$$$$", ""),
        ("$$", ""),
        ("$", ""),
        ("'a'", "a"),
        ("E'a'", "a"),
        ("'", ""),
    ] {
        assert_eq!(inside(written), expected, "{written}");
    }
}
