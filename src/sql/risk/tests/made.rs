//! What of a release is new, and what only looks so.

use super::*;

/// What is new shows rows that were there before, or only seems to be new.
#[test]
fn what_was_there_before_stays_guarded_under_new_names() {
    for text in [
        "WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x; DROP TABLE t",
        "INSERT INTO t (SELECT 1); DELETE FROM t",
        "WITH x AS (SELECT 1) MERGE INTO t USING x ON true WHEN NOT MATCHED THEN DO NOTHING; DROP TABLE t",
        "SELECT 1; WITH x AS (SELECT 1) MERGE INTO t USING x ON true WHEN MATCHED THEN DELETE",
        "CREATE SCHEMA z; ALTER TABLE t SET SCHEMA z; DROP TABLE z.t",
        "CREATE SCHEMA z; ALTER TABLE t SET SCHEMA z; DROP SCHEMA z CASCADE",
        "CREATE SCHEMA z; ALTER SCHEMA z RENAME TO y; DROP SCHEMA z CASCADE",
        "CREATE SCHEMA z; ALTER TYPE e SET SCHEMA z; DROP SCHEMA z CASCADE",
        "CREATE SCHEMA z; ALTER DOMAIN d SET SCHEMA z; DROP SCHEMA z CASCADE",
        "CREATE TABLE p (id int) PARTITION BY LIST (id); ALTER TABLE p ATTACH PARTITION t DEFAULT; DROP TABLE p",
        "CREATE SCHEMA z; CREATE TABLE z.p (id int); ALTER TABLE t INHERIT z.p; TRUNCATE z.p",
        "CREATE VIEW v AS TABLE t; DELETE FROM v",
        "CREATE INDEX IF NOT EXISTS t ON u (id); DROP TABLE t",
        "CREATE TABLE x (id int); DO $$ BEGIN ALTER TABLE x RENAME TO t; EXCEPTION WHEN others THEN END $$; DROP TABLE t",
        "SET search_path = a; CREATE TABLE t (id int); \
         DO $$ BEGIN PERFORM set_config('search_path', 'b', false); END $$; DROP TABLE t",
        "CREATE FUNCTION f() RETURNS void LANGUAGE sql AS 'DELETE FROM t'; SELECT lower('x'), public.f()",
        "CREATE PROCEDURE f() LANGUAGE sql AS $$ TRUNCATE t $$; CALL f()",
        "CREATE TEMP TABLE t (id int); DISCARD TEMP; DROP TABLE t",
        "SELECT 1; ALTER TYPE e ADD ATTRIBUTE a int, DROP ATTRIBUTE b",
        "SELECT 1; ALTER TABLE U&\"t!0061\" UESCAPE '!' DROP COLUMN a",
    ] {
        let found = assess_all(&mut Release::new(0), text);
        let last = found.last().map(|assessment| assessment.risk);
        assert_eq!(last, Some(Destructive), "{text}");
    }
    let mut release = Release::new(0);
    release.file(&script("SELECT 1 AS a INTO TEMP t; DELETE FROM t;"));
    let file = release.file(&script("DROP TABLE t;"));
    assert_eq!(file.risk, Destructive);
}

/// The same where nothing of it is older.
#[test]
fn what_is_new_altogether_is_free_to_change() {
    for text in [
        "CREATE TABLE t (id int); WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x; DELETE FROM t",
        "CREATE SCHEMA z; CREATE TABLE t (id int); ALTER TABLE t SET SCHEMA z; DROP SCHEMA z CASCADE",
        "CREATE SCHEMA z; CREATE TABLE z.t (id int); ALTER TABLE z.t SET SCHEMA y; DROP TABLE y.t",
        "CREATE TABLE p (id int) PARTITION BY LIST (id); CREATE TABLE t (id int); \
         ALTER TABLE p ATTACH PARTITION t DEFAULT; DROP TABLE p",
        "CREATE VIEW v AS SELECT 1; CREATE OR REPLACE VIEW v AS SELECT 2; DROP VIEW v",
    ] {
        let found = assess_all(&mut Release::new(0), text);
        let last = found.last().map(|assessment| assessment.risk);
        assert_eq!(last, Some(Safe), "{text}");
    }
}
