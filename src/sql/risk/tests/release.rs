//! What a release remembers from statement to statement.

use super::*;

#[test]
fn what_the_release_has_made_is_free_to_change() {
    for (text, expected) in [
        (
            "CREATE TABLE t (id int); ALTER TABLE t DROP COLUMN id; DROP TABLE t",
            &[Safe, Safe, Safe][..],
        ),
        // It is gone then: the next one of that name is another.
        (
            "CREATE TABLE t (id int); DROP TABLE t; DROP TABLE t",
            &[Safe, Safe, Destructive],
        ),
        (
            "CREATE TABLE t (id int); ALTER TABLE t RENAME TO u; DROP TABLE u; DROP TABLE t",
            &[Safe, Safe, Safe, Destructive],
        ),
        (
            "ALTER TABLE old RENAME TO t; DROP TABLE t",
            &[Blocking, Destructive],
        ),
        (
            "CREATE TABLE t (id int); ALTER TABLE t SET SCHEMA a; DROP TABLE a.t",
            &[Safe, Safe, Safe],
        ),
        (
            "CREATE TABLE IF NOT EXISTS t (id int); DROP TABLE t",
            &[Safe, Destructive],
        ),
        ("CREATE VIEW v AS SELECT 1; DROP VIEW v", &[Safe, Safe]),
        (
            "CREATE OR REPLACE VIEW v AS SELECT 1; DROP VIEW v",
            &[Blocking, Blocking],
        ),
        (
            "CREATE MATERIALIZED VIEW m AS SELECT 1; REFRESH MATERIALIZED VIEW m",
            &[Safe, Safe],
        ),
        (
            "CREATE TABLE t AS SELECT 1 a; CREATE INDEX i ON t (a)",
            &[Safe, Safe],
        ),
        ("SELECT 1 a INTO t; TRUNCATE t", &[Safe, Safe]),
        (
            "CREATE SCHEMA s; CREATE TABLE s.t (a int); DROP TABLE s.t",
            &[Safe, Safe, Safe],
        ),
        (
            "CREATE SCHEMA s; DROP SCHEMA s CASCADE; DROP SCHEMA s CASCADE",
            &[Safe, Safe, Destructive],
        ),
        (
            "CREATE SCHEMA IF NOT EXISTS s; DROP SCHEMA s CASCADE",
            &[Safe, Destructive],
        ),
        // An index is new, its table is not.
        (
            "CREATE INDEX CONCURRENTLY i ON users (a); DROP INDEX i",
            &[Safe, Blocking],
        ),
        (
            "CREATE TABLE t (a int); CREATE INDEX i ON t (a); DROP INDEX i",
            &[Safe, Safe, Safe],
        ),
        // Quoted names differ by case.
        (
            "CREATE TABLE \"T\" (a int); DROP TABLE t",
            &[Safe, Destructive],
        ),
        ("CREATE TABLE T (a int); DROP TABLE \"t\"", &[Safe, Safe]),
        // What is rolled back was never there.
        (
            "BEGIN; CREATE TABLE t (a int); ROLLBACK; DROP TABLE t",
            &[Safe, Safe, Safe, Destructive],
        ),
        // A block may not have come so far.
        (
            "DO $$ BEGIN CREATE TABLE t (a int); EXCEPTION WHEN duplicate_table THEN null; END $$; DROP TABLE t",
            &[Safe, Destructive],
        ),
        (
            "CREATE TABLE t (a int); DO $$ BEGIN DROP TABLE t; END $$",
            &[Safe, Safe],
        ),
        // Other tables are still those of others.
        (
            "CREATE TABLE t (a int REFERENCES users); DROP TABLE t",
            &[Blocking, Blocking],
        ),
        (
            "CREATE TABLE a (x int); CREATE TABLE t (a int REFERENCES a); DROP TABLE t",
            &[Safe, Safe, Safe],
        ),
        (
            "CREATE TABLE t (a int); DELETE FROM t; TRUNCATE t",
            &[Safe, Safe, Safe],
        ),
    ] {
        risks(&mut Release::new(0), text, expected);
    }
}

/// A new name for old rows is no new table.
#[test]
fn rows_of_others_are_never_ours() {
    for (text, expected) in [
        (
            "CREATE VIEW v AS SELECT * FROM users; DELETE FROM v; DROP VIEW v",
            &[Safe, Destructive, Safe][..],
        ),
        (
            "CREATE FOREIGN TABLE f (a int) SERVER s; DELETE FROM f; DROP FOREIGN TABLE f",
            &[Safe, Destructive, Safe],
        ),
        (
            "CREATE SCHEMA s; ALTER TABLE users SET SCHEMA s; DROP TABLE s.users; DROP SCHEMA s CASCADE",
            &[Safe, Blocking, Destructive, Destructive],
        ),
        (
            "CREATE SCHEMA s; ALTER EXTENSION x SET SCHEMA s; DROP TABLE s.x",
            &[Safe, Safe, Destructive],
        ),
        (
            "CREATE TABLE p (a int) PARTITION BY RANGE (a); ALTER TABLE p ATTACH PARTITION old DEFAULT; DROP TABLE p",
            &[Safe, Blocking, Destructive],
        ),
        (
            "CREATE TABLE p (a int); ALTER TABLE old INHERIT p; ALTER TABLE p ADD b serial",
            &[Safe, Blocking, Rewrite],
        ),
        (
            "CREATE TABLE p (a int); ALTER TABLE old INHERIT p; DELETE FROM p",
            &[Safe, Blocking, Destructive],
        ),
        (
            "CREATE TABLE n PARTITION OF old DEFAULT; CREATE INDEX ON n (a)",
            &[Blocking, Blocking],
        ),
        (
            "CREATE TABLE p (a int); ALTER TABLE old ADD FOREIGN KEY (a) REFERENCES p ON DELETE CASCADE; DELETE FROM p",
            &[Safe, Blocking, Destructive],
        ),
        (
            "CREATE TEMP TABLE users (a int); DROP TABLE public.users",
            &[Safe, Destructive],
        ),
        (
            "CREATE TEMP TABLE users (a int); ALTER TABLE users RENAME TO x; DROP TABLE users; DROP TABLE x",
            &[Safe, Safe, Destructive, Safe],
        ),
        (
            "SELECT 1 AS a INTO TEMP users; DISCARD TEMP; DROP TABLE users",
            &[Safe, Safe, Destructive],
        ),
        (
            "BEGIN; CREATE TEMP TABLE users (a int) ON COMMIT DROP; COMMIT; DROP TABLE users",
            &[Safe, Safe, Safe, Destructive],
        ),
        (
            "ALTER TABLE U&\"d!0061ta\" UESCAPE '!' DROP COLUMN a",
            &[Destructive],
        ),
        ("ALTER TABLE a$b DROP COLUMN c", &[Destructive]),
    ] {
        risks(&mut Release::new(0), text, expected);
        risks(&mut Release::offline(0), text, expected);
    }
}

#[test]
fn a_type_of_this_release_is_known_by_both_its_names() {
    let text = "CREATE TYPE public.mood AS ENUM ('ok'); ALTER TABLE t ADD COLUMN m mood";
    risks(&mut Release::new(0), text, &[Safe, Blocking]);
}

#[test]
fn a_name_without_a_schema_is_where_the_search_path_leads() {
    let drizzle = "CREATE TABLE users (id int); ALTER TABLE orders ADD FOREIGN KEY (u) REFERENCES public.users (id)";
    for (text, expected) in [
        // A lock is taken for granted, data is not.
        (
            "CREATE TABLE t (a int); CREATE INDEX ON public.t (a); DROP TABLE public.t",
            &[Safe, Safe, Destructive][..],
        ),
        (drizzle, &[Safe, Blocking]),
        (
            "SET search_path = app; CREATE TABLE t (a int); DROP TABLE t",
            &[Safe, Safe, Safe],
        ),
        (
            "CREATE TABLE t (a int); SET search_path = app; DROP TABLE t",
            &[Safe, Safe, Destructive],
        ),
        (
            "SET search_path = app; CREATE TABLE t (a int); RESET search_path; DROP TABLE t",
            &[Safe, Safe, Safe, Destructive],
        ),
        (
            "SELECT set_config('search_path', 'app', false); CREATE TABLE t (a int); SET ROLE x; DROP TABLE t",
            &[Safe, Safe, Safe, Destructive],
        ),
        (
            "CREATE TABLE app.t (a int); SET search_path = app; DROP TABLE app.t",
            &[Safe, Safe, Safe],
        ),
        (
            "CREATE TEMP TABLE t (a int); DROP TABLE t; DROP TABLE t",
            &[Safe, Safe, Destructive],
        ),
    ] {
        risks(&mut Release::new(0), text, expected);
    }
    let mut told = Release::new(0);
    told.set_current_schema("public", "\"$user\", public", "bob");
    risks(
        &mut told,
        "CREATE TABLE t (a int); DROP TABLE public.t",
        &[Safe, Safe],
    );
    let mut told = Release::new(0);
    told.set_current_schema("app", "app", "bob");
    risks(
        &mut told,
        "CREATE TABLE t (a int); CREATE INDEX ON public.t (a); DROP TABLE app.t",
        &[Safe, Blocking, Safe],
    );
}

/// Where names without a schema go is not known any more once a schema is there that may stand before.
#[test]
fn a_schema_that_appears_on_the_path_may_take_the_names() {
    let told = |text: &str, expected: &[Risk]| {
        let mut release = Release::new(0);
        release.set_current_schema("public", "\"$user\", Later, public", "bob");
        risks(&mut release, text, expected);
    };
    for (schema, risk) in [
        ("bob", Destructive),
        ("IF NOT EXISTS bob", Destructive),
        ("AUTHORIZATION bob", Destructive),
        ("later", Destructive),
        ("IF NOT EXISTS public", Safe),
        ("app", Safe),
    ] {
        let text = format!("CREATE SCHEMA {schema}; CREATE TABLE t (a int); DROP TABLE public.t");
        told(&text, &[Safe, Safe, risk]);
    }
    told(
        "ALTER SCHEMA a RENAME TO bob; CREATE TABLE t (a int); DROP TABLE public.t",
        &[Blocking, Safe, Destructive],
    );
    told(
        "DROP SCHEMA public; CREATE TABLE t (a int); DROP TABLE public.t",
        &[Safe, Safe, Destructive],
    );
    told(
        "CREATE SCHEMA a; ALTER SCHEMA a RENAME TO b; ALTER SCHEMA prod RENAME TO a; DROP TABLE a.t",
        &[Safe, Blocking, Blocking, Destructive],
    );
}

#[test]
fn a_file_ends_what_it_has_set() {
    let mut release = Release::new(0);
    risks(
        &mut release,
        "CREATE TEMP TABLE x (a int); CREATE TABLE t (a int); SET search_path = app",
        &[Safe, Safe, Safe],
    );
    release.next_file();
    risks(
        &mut release,
        "DROP TABLE t; DROP TABLE x",
        &[Safe, Destructive],
    );
}

#[test]
fn offline_a_table_made_if_it_is_not_there_is_made() {
    let text = "CREATE TABLE IF NOT EXISTS t (a int); DROP TABLE public.t";
    risks(&mut Release::offline(0), text, &[Safe, Safe]);
}

#[test]
fn what_was_applied_is_in_use_but_known() {
    let mut release = Release::offline(0);
    let history = "CREATE TYPE mood AS ENUM ('ok'); CREATE DOMAIN positive AS int CHECK (VALUE > 0); CREATE DOMAIN label AS text; \
        CREATE TABLE t (name varchar(20) NOT NULL, price numeric(10, 2), n int)";
    assess_all(&mut release, history);
    release.applied();
    for (text, expected) in [
        ("ALTER TABLE t ADD COLUMN m mood", Blocking),
        ("ALTER TABLE t ADD COLUMN m public.mood", Blocking),
        ("ALTER TABLE t ADD COLUMN m label", Blocking),
        ("ALTER TABLE t ADD COLUMN m positive", Rewrite),
        ("ALTER TABLE t ALTER COLUMN name TYPE varchar(40)", Blocking),
        ("ALTER TABLE t ALTER COLUMN name TYPE text", Blocking),
        // Now it is a text.
        ("ALTER TABLE t ALTER COLUMN name TYPE varchar(40)", Rewrite),
        (
            "ALTER TABLE t ALTER COLUMN price TYPE numeric(12, 2)",
            Blocking,
        ),
        (
            "ALTER TABLE t ALTER COLUMN price TYPE numeric(12, 2) USING price",
            Rewrite,
        ),
        ("ALTER TABLE t ALTER COLUMN n TYPE bigint", Rewrite),
        ("ALTER TABLE t RENAME COLUMN n TO m", Blocking),
        ("ALTER TABLE t ALTER COLUMN m TYPE bigint", Blocking),
        ("DROP TABLE t", Destructive),
    ] {
        risks(&mut release, text, &[expected]);
    }
}
