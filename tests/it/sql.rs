//! The reading of SQL held against PostgreSQL's own.

// Clippy knows only functions marked as tests for tests, not their helpers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod server;

use bytes::Bytes;
use futures_util::SinkExt;
use schemagate::sql::{Bare, Chunk, Kind, Options, Script};
use server::Server;
use tokio_postgres::{Client, SimpleQueryMessage};

fn prepare(text: &str) -> Script {
    let options = Options {
        marker: Some("--> statement-breakpoint"),
        in_transaction: true,
    };
    Script::prepare(text.to_owned(), options)
        .unwrap_or_else(|issues| panic!("{issues:?} in {text}"))
}

/// How many statements the server completed. Of a message without any, the client makes one.
async fn completed(client: &Client, text: &str) -> Result<usize, tokio_postgres::Error> {
    let messages = client.simple_query(text).await?;
    let complete =
        |message: &&SimpleQueryMessage| matches!(message, SimpleQueryMessage::CommandComplete(_));
    Ok(messages.iter().filter(complete).count())
}

fn sqlstate(error: &tokio_postgres::Error) -> &str {
    error.code().map_or("", |code| code.code())
}

/// Everything in which a splitter goes wrong. Each text runs in an empty database.
const CORPUS: &[&str] = &[
    "",
    " ;; -- nothing\n; /* /* ; */ */",
    "SELECT 1; SELECT 2",
    "SELECT ';', 'it''s;', E'\\';', E'a' -- it's;\n 'b\\';', U&'\\0061;', U&\"a;\", B'1', X'f', N';' FROM (SELECT 1 AS \"a;\") s;\r\nSELECT 2;\r\n",
    "SELECT $$;$$, $a$;$$;$a$, $ü$;$ü$, $$a$b$;$$, $a$ $b$ ; $b$ ; $a$; SELECT 1 AS a$x$; SELECT 2 AS b$x$;",
    "SELECT 1 --;\r + 2; SELECT 3 -/*;*/-1; SELECT 4 AS \"x\"\";\", 5 AS \"漢;字\";",
    "CREATE TABLE t (a int); CREATE RULE r AS ON INSERT TO t DO ALSO (SELECT 1; SELECT (2)); INSERT INTO t VALUES (1);",
    "CREATE FUNCTION f(a int) RETURNS int BEGIN ATOMIC SELECT 1; SELECT CASE WHEN a > 0 THEN CASE a WHEN 1 THEN 2 END END; END; SELECT f(1);",
    "CREATE FUNCTION g() RETURNS int BEGIN ATOMIC SELECT 1 AS end; SELECT 2 end; END; SELECT g();",
    "CREATE TABLE t (a int);\nCREATE OR REPLACE PROCEDURE p(x int) LANGUAGE sql BEGIN ATOMIC INSERT INTO t VALUES (x); DELETE FROM t; END;\nCALL p(1);",
    "CREATE FUNCTION begin() RETURNS int RETURN 1; SELECT begin(); SELECT 2;",
    "CREATE FUNCTION e() RETURNS void BEGIN ATOMIC END; SELECT 1;",
    "CREATE FUNCTION h() RETURNS trigger LANGUAGE plpgsql AS $body$\nBEGIN\n  EXECUTE $q$ SELECT ';' ; $q$;\n  RETURN new;\nEND;\n$body$;\nDO $$ BEGIN PERFORM 1; PERFORM ';'; END $$;",
    "BEGIN; SELECT 1; SAVEPOINT a; SELECT 2; ROLLBACK TO a; COMMIT; SELECT 3;",
    "CREATE TYPE e AS ENUM ('a;', 'b'); ALTER TYPE e ADD VALUE 'c'; COMMENT ON TYPE e IS $$;$$",
];

#[tokio::test]
async fn statements_are_those_of_the_server() {
    let server = Server::start().await;
    for text in CORPUS {
        // A boundary that frames the file is blanked, so counts are compared for the text as it is sent.
        let script = prepare(text);
        let count = script.statements().count();
        let (_, whole) = server.database().await;
        let found = completed(&whole, script.text()).await.unwrap();
        assert_eq!(found, count.max(1), "{text}");
        let (_, alone) = server.database().await;
        for statement in script.statements() {
            let found = completed(&alone, statement.text).await;
            assert_eq!(
                found.map_err(|error| error.to_string()),
                Ok(1),
                "{}",
                statement.text
            );
        }
        let (_, chunked) = server.database().await;
        for chunk in script.chunks(1) {
            let Chunk::Sql { range, .. } = chunk else {
                panic!("no COPY here");
            };
            assert_eq!(completed(&chunked, &script.text()[range]).await.unwrap(), 1);
        }
    }
}

/// A marker of Drizzle divides the text like a `;`, and what was sent keeps every character's place.
#[tokio::test]
async fn markers_divide_for_the_server_too() {
    let server = Server::start().await;
    let (_, client) = server.database().await;
    let text = "CREATE TABLE a (id int)--> statement-breakpoint\nINSERT INTO a VALUES (1) -- é */ --> statement-breakpoint SELECT \
                '\n--> statement-breakpoint\n'\n--> statement-breakpoint\nSELECT oops";
    let script = prepare(text);
    assert_eq!(script.statements().count(), 4);
    let error = client.simple_query(script.text()).await.unwrap_err();
    let place = place(&script, "", &error);
    assert_eq!((place.line, place.column), (6, 8));
    assert_eq!(
        (place.text.as_str(), place.caret.as_str()),
        ("SELECT oops", "       ^")
    );
}

fn place(script: &Script, prefix: &str, error: &tokio_postgres::Error) -> schemagate::sql::Place {
    let position = match error.as_db_error().and_then(|error| error.position()) {
        Some(tokio_postgres::error::ErrorPosition::Original(position)) => *position,
        other => panic!("{other:?} in {error}"),
    };
    let all = 0..script.text().len();
    script
        .place_of_error(&all, prefix.chars().count(), position)
        .unwrap()
}

#[tokio::test]
async fn the_caret_stands_where_the_server_points() {
    let server = Server::start().await;
    let (_, client) = server.database().await;
    let prefix = "BEGIN; /* é */ ";
    for (text, line, column, under) in [
        (
            "\u{feff}SELECT 'ä', \"漢\" FROM (SELECT 1 AS \"漢\") s;\n\tSELECT 'é', oops;",
            2,
            14,
            "oops;",
        ),
        ("SELECT 1;\nSELEC 2;", 2, 1, "SELEC …;"),
        (
            "SELECT 1;\r\n  CREATE TABLE t (a nosuch);\r\n",
            2,
            21,
            "nosuch);",
        ),
        (
            "CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$\nBEGIN\n  PERFORM 'é'; x y z;\nEND $$;",
            3,
            16,
            "x y z;",
        ),
        ("SELECT (1;\nSELECT 2", 1, 10, ";"),
    ] {
        let script = prepare(text);
        let error = client
            .simple_query(&format!("{prefix}{}", script.text()))
            .await
            .unwrap_err();
        let place = place(&script, prefix, &error);
        assert_eq!(
            (place.line, place.column),
            (line, column),
            "{text}: {error:?}"
        );
        let columns = place.caret.chars().count() - 1;
        let shown: String = place.text.chars().skip(columns).collect();
        assert_eq!(shown, under, "{place:?}");
        drop(client.simple_query("ROLLBACK").await);
    }
}

const OBJECTS: &str = "
CREATE TABLE t (a int PRIMARY KEY, b text);
CREATE INDEX i ON t (b);
CREATE TABLE p (a int) PARTITION BY RANGE (a);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (9);
CREATE TYPE e AS ENUM ('a');
CREATE PROCEDURE commits() LANGUAGE plpgsql AS $$ BEGIN COMMIT; END $$;
CREATE SUBSCRIPTION s CONNECTION 'host=nowhere.invalid' PUBLICATION p WITH (connect = false);
ALTER SUBSCRIPTION s ENABLE;
";

#[tokio::test]
async fn bare_statements_are_refused_in_a_block() {
    let server = Server::start().await;
    let (_, client) = server.database().await;
    client
        .batch_execute(OBJECTS.split("CREATE SUBSCRIPTION").next().unwrap())
        .await
        .unwrap();
    for statement in OBJECTS
        .split(';')
        .filter(|part| part.contains("SUBSCRIPTION"))
    {
        client.batch_execute(statement).await.unwrap();
    }
    for statement in [
        "CREATE INDEX CONCURRENTLY ON t (b)",
        "CREATE UNIQUE INDEX concurrently IF NOT EXISTS j ON ONLY t (b)",
        "DROP INDEX CONCURRENTLY IF EXISTS i",
        "REINDEX INDEX CONCURRENTLY i",
        "REINDEX (VERBOSE) TABLE CONCURRENTLY t",
        "REINDEX (CONCURRENTLY) TABLE t",
        "REINDEX SCHEMA public",
        "REINDEX DATABASE postgres",
        "REINDEX SYSTEM postgres",
        "VACUUM",
        "VACUUM (ANALYZE) t",
        "CLUSTER",
        "CLUSTER VERBOSE",
        "ALTER TABLE p DETACH PARTITION p1 CONCURRENTLY",
        "CREATE DATABASE x",
        "DROP DATABASE IF EXISTS x",
        "ALTER DATABASE postgres SET TABLESPACE pg_default",
        "CREATE TABLESPACE x LOCATION '/nowhere'",
        "DROP TABLESPACE IF EXISTS x",
        "ALTER SYSTEM SET work_mem = '8MB'",
        "CREATE SUBSCRIPTION x CONNECTION '' PUBLICATION p",
        "CREATE SUBSCRIPTION x CONNECTION '' PUBLICATION p WITH (enabled = false, create_slot = on)",
        "DROP SUBSCRIPTION s",
        "ALTER SUBSCRIPTION s REFRESH PUBLICATION",
        "ALTER SUBSCRIPTION s SET PUBLICATION q",
        "ALTER SUBSCRIPTION s ADD PUBLICATION q WITH (copy_data = false)",
        "DISCARD ALL",
        "DO $$ BEGIN COMMIT; END $$",
        "DO LANGUAGE plpgsql 'begin if true then rollback; end if; end'",
    ] {
        let script = prepare(statement);
        let kind = script.statements().next().unwrap().kind();
        let Kind::Bare(bare) = kind else {
            panic!("{statement}: {kind:?}");
        };
        let refusal = if bare == Bare::CommittingBlock {
            "2D000"
        } else {
            "25001"
        };
        let error = in_block(&client, statement).await.unwrap_err();
        assert_eq!(sqlstate(&error), refusal, "{statement}: {error:?}");
    }
}

async fn in_block(client: &Client, statement: &str) -> Result<(), tokio_postgres::Error> {
    client.batch_execute("BEGIN").await.unwrap();
    let result = client.batch_execute(statement).await;
    client.batch_execute("ROLLBACK").await.unwrap();
    result
}

#[tokio::test]
async fn plain_statements_are_not() {
    let server = Server::start().await;
    let (_, client) = server.database().await;
    client
        .batch_execute(OBJECTS.split("CREATE SUBSCRIPTION").next().unwrap())
        .await
        .unwrap();
    for statement in [
        "CREATE INDEX ON t (b)",
        "CREATE INDEX \"concurrently\" ON t (b)",
        "DROP INDEX i",
        "REINDEX TABLE t",
        "REINDEX (CONCURRENTLY false) INDEX i",
        "ANALYZE t",
        "CLUSTER t USING t_pkey",
        "ALTER TABLE p DETACH PARTITION p1",
        "ALTER TYPE e ADD VALUE 'b'",
        "ALTER DATABASE postgres SET work_mem = '8MB'",
        "CREATE SUBSCRIPTION x CONNECTION 'host=nowhere.invalid' PUBLICATION p WITH (connect = false)",
        "CREATE SUBSCRIPTION x CONNECTION '' PUBLICATION p WITH (create_slot = false, enabled = false, slot_name = none, connect = false)",
        "DISCARD TEMP",
        "DISCARD PLANS",
        "CHECKPOINT",
        "DO $$ BEGIN RAISE DEBUG 'COMMIT;'; END $$",
        "DO $$ BEGIN /* x */ CREATE TEMP TABLE c (commit int); INSERT INTO c (commit) VALUES (1); END $$",
        "REFRESH MATERIALIZED VIEW nosuch",
        "SET CONSTRAINTS ALL IMMEDIATE",
        "CREATE EXTENSION IF NOT EXISTS plpgsql",
    ] {
        let script = prepare(statement);
        assert_eq!(
            script.statements().next().unwrap().kind(),
            Kind::Plain,
            "{statement}"
        );
        if let Err(error) = in_block(&client, statement).await {
            assert_eq!(
                sqlstate(&error),
                if statement.contains("nosuch") {
                    "42P01"
                } else {
                    ""
                },
                "{statement}: {error:?}"
            );
        }
    }
    let calls = in_block(&client, "CALL commits()").await.unwrap_err();
    assert_eq!(sqlstate(&calls), "2D000");
}

/// The end of an unfinished detach may run in a block: it is not refused for being one.
#[tokio::test]
async fn the_end_of_a_detach_may_run_in_a_block() {
    let server = Server::start().await;
    let (_, client) = server.database().await;
    client.batch_execute("CREATE TABLE p (a int) PARTITION BY RANGE (a); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (9)").await.unwrap();
    let statement = "ALTER TABLE p DETACH PARTITION p1 FINALIZE";
    assert_eq!(
        prepare(statement).statements().next().unwrap().kind(),
        Kind::Plain
    );
    let error = in_block(&client, statement).await.unwrap_err();
    assert_eq!(sqlstate(&error), "55000", "{error:?}");
}

/// Names are those that the catalog then has.
#[tokio::test]
async fn names_are_those_of_the_catalog() {
    let server = Server::start().await;
    let (_, client) = server.database().await;
    client
        .batch_execute("CREATE SCHEMA \"S x\"; CREATE TABLE \"S x\".\"T\"\"é\" (a int)")
        .await
        .unwrap();
    for written in [
        "Plain",
        "ÜBER",
        "\"A \"\"é\"",
        "U&\"d\\0061t\\+000061\"",
        &"é".repeat(40),
        &format!("\"{}é\"", "a".repeat(62)),
        "$x".trim_start_matches('$'),
    ] {
        let statement = format!("CREATE INDEX CONCURRENTLY {written} ON \"S x\".\"T\"\"é\" (a)");
        let kind = prepare(&statement).statements().next().unwrap().kind();
        let Kind::Bare(Bare::CreateIndexConcurrently {
            name: Some(index),
            table,
            ..
        }) = kind
        else {
            panic!("{statement}: {kind:?}");
        };
        client.batch_execute(&statement).await.unwrap();
        let found = client
            .query(
                "SELECT FROM pg_indexes WHERE schemaname = $1 AND tablename = $2 AND indexname = $3",
                &[&table.schema, &table.name, &index],
            )
            .await
            .unwrap();
        assert_eq!(found.len(), 1, "{statement}: {index}");
    }
}

/// A dump, restored by our chunks, dumps to the same text: functions, rules, quotes, COPY data and all.
#[tokio::test]
async fn a_dump_is_restored_as_it_was() {
    let server = Server::start().await;
    let (from, client) = server.database().await;
    for text in [CORPUS[7], CORPUS[8], CORPUS[12]] {
        client.batch_execute(text).await.unwrap();
    }
    client
        .batch_execute(
            "CREATE TABLE \"t;\" (a text, b int); COMMENT ON TABLE \"t;\" IS E'it''s; \\\\ $$';
             INSERT INTO \"t;\" VALUES (E'\\\\.', 1), (E'a\\nb\\t;''\"$$', 2), (NULL, 3), ('--> statement-breakpoint', 4), ('é漢', 5);
             CREATE TABLE log (a text); CREATE RULE r AS ON UPDATE TO \"t;\" DO ALSO (INSERT INTO log VALUES (';'); DELETE FROM log);
             CREATE VIEW v AS SELECT 1 AS \"end;\"; CREATE TABLE empty (a int)",
        )
        .await
        .unwrap();
    let dump = server.dump(&from);
    let script = prepare(&dump);
    assert_eq!(script.summary().copies, 3);
    for max_bytes in [1, 200, 1 << 20] {
        let (to, client) = server.database().await;
        for chunk in script.chunks(max_bytes) {
            match chunk {
                Chunk::Sql {
                    range, statements, ..
                } => {
                    let sql = &script.text()[range];
                    assert_eq!(completed(&client, sql).await.unwrap(), statements, "{sql}");
                }
                Chunk::Copy { range, data, .. } => {
                    let sink = client.copy_in(&script.text()[range]).await.unwrap();
                    let mut sink = std::pin::pin!(sink);
                    let data = Bytes::copy_from_slice(&script.text().as_bytes()[data]);
                    sink.send(data).await.unwrap();
                    sink.finish().await.unwrap();
                }
            }
        }
        assert_eq!(without_key(&server.dump(&to)), without_key(&dump));
    }
}

/// `pg_dump` draws a new key for `\restrict` each time.
fn without_key(dump: &str) -> String {
    let lines = dump
        .lines()
        .filter(|line| !line.starts_with('\\') || *line == "\\.");
    lines.collect::<Vec<_>>().join("\n")
}

/// Random quotes, comments and ends of statements: where the server accepts a text, it completes as many statements as
/// we count; what it calls unterminated we refuse; what we call unterminated it does not accept.
#[tokio::test]
async fn random_text_is_read_as_the_server_reads_it() {
    const PIECES: &[&str] = &[
        ";",
        ";SELECT 2",
        "\n",
        "\r",
        " ",
        "'",
        "''",
        " E'",
        "\\'",
        "\\\\",
        "\"",
        "\"a\"",
        "$$",
        "$a$",
        " $a$",
        "--",
        "/*",
        "*/",
        ",",
        "1",
        "a",
        " AS x",
        "(",
        ")",
        "-",
        "+",
        "'a'\n'b'",
        "\n-- '\n",
        "U&'",
        "B'",
        "é",
    ];
    let server = Server::start().await;
    let (_, client) = server.database().await;
    let mut state: u64 = 0x5eed;
    let mut roll = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    let (mut accepted, mut unterminated) = (0, 0);
    for _ in 0..15_000 {
        let length = 1 + roll(7);
        let soup: String = (0..length).map(|_| PIECES[roll(PIECES.len())]).collect();
        let text = format!("SELECT 1,{soup}");
        let ours = Script::prepare(text.clone(), Options::default());
        match (completed(&client, &text).await, ours) {
            (Ok(count), Ok(script)) => {
                accepted += 1;
                assert_eq!(script.statements().count(), count, "{text:?}");
            }
            (Ok(_), Err(issues)) => panic!("{text:?} runs, but {issues:?}"),
            (Err(error), ours) => {
                if error.to_string().contains("unterminated") || sqlstate_says_unterminated(&error)
                {
                    unterminated += 1;
                    assert!(ours.is_err(), "{text:?}: {error:?}");
                }
            }
        }
    }
    assert!(
        accepted > 500 && unterminated > 500,
        "{accepted} {unterminated}"
    );
}

fn sqlstate_says_unterminated(error: &tokio_postgres::Error) -> bool {
    error
        .as_db_error()
        .is_some_and(|error| error.message().starts_with("unterminated"))
}
