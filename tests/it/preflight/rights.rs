//! Each privilege that may be missing, with the statement that grants it.

use super::{assert_untouched, drop_role, files, maker, migrate, migrate_as};
use crate::harness::{Database, Server};

/// `setup` runs as superuser, `{role}` and `{owner}` replaced; then the files end with 9 and say `says`, `help` is among
/// what is to be done, and when it was done the run ends well.
#[track_caller]
fn check(setup: &str, texts: &[&str], says: &str, help: &str) {
    let database = Server::debian().database();
    let role = maker(&database);
    let owner = database.role("owner", "");
    let fill = |text: &str| text.replace("{role}", &role).replace("{owner}", &owner);
    database.query(&fill(setup));
    let folder = files(texts);
    migrate_as(&database, &role, &folder)
        .assert_code(9)
        .assert_says(says)
        .assert_says(&fill(help).replace('"', "\\\""));
    assert_untouched(&database);
    database.query(&fill(help));
    migrate_as(&database, &role, &folder).assert_code(0);
    drop_role(&database, &role);
    drop_role(&database, &owner);
}

#[test]
fn a_schema_to_create_in() {
    check(
        "",
        &["CREATE TABLE a (id int);"],
        "0001_x.sql:1: permission denied for schema public: CREATE",
        "GRANT USAGE, CREATE ON SCHEMA \"public\" TO \"{role}\"",
    );
    check(
        "CREATE SCHEMA \"odd \"\"name\";",
        &[
            "SET LOCAL work_mem = '5MB';",
            "\n\nCREATE VIEW \"odd \"\"name\".v AS SELECT 1;",
        ],
        "0002_x.sql:3: permission denied for schema odd",
        "GRANT USAGE, CREATE ON SCHEMA \"odd \"\"name\" TO \"{role}\"",
    );
}

#[test]
fn tables_of_another_owner() {
    let table = "CREATE TABLE t (id int PRIMARY KEY); ALTER TABLE t OWNER TO {owner};
                 GRANT CREATE ON SCHEMA public TO {role};";
    let grant = "GRANT \"{owner}\" TO \"{role}\"";
    for (text, says) in [
        (
            "ALTER TABLE t ADD COLUMN a int;",
            "must be owner of table t",
        ),
        ("DROP TABLE IF EXISTS t;", "must be owner of table t"),
        (
            "CREATE INDEX i ON public.t (id);",
            "must be owner of table t",
        ),
        (
            "CREATE POLICY p ON t USING (true);",
            "must be owner of table t",
        ),
        (
            "CREATE TABLE ref (id int REFERENCES t);",
            "permission denied for table t: REFERENCES",
        ),
        (
            "CREATE TRIGGER g AFTER UPDATE OF id ON t FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();",
            "permission denied for table t: TRIGGER",
        ),
        (
            "INSERT INTO t VALUES (1);",
            "permission denied for table t: INSERT",
        ),
        (
            "UPDATE t SET id = 1;",
            "permission denied for table t: UPDATE",
        ),
        ("TRUNCATE t;", "permission denied for table t: TRUNCATE"),
    ] {
        let help = match says.rsplit_once(": ") {
            Some((_, privilege)) => {
                format!("GRANT {privilege} ON TABLE \"public\".\"t\" TO \"{{role}}\"")
            }
            None => grant.to_owned(),
        };
        // Reading what is updated is another privilege.
        let select = if says.ends_with("REFERENCES") {
            ""
        } else {
            "GRANT SELECT ON t TO {role};"
        };
        check(&format!("{table}{select}"), &[text], says, &help);
    }
}

#[test]
fn other_things_of_another_owner() {
    let grant = "GRANT \"{owner}\" TO \"{role}\"";
    let check = |setup: &str, text: &str, says: &str| {
        let setup = format!("GRANT CREATE ON SCHEMA public TO {{owner}}, {{role}}; {setup}");
        check(&setup, &[text], says, grant);
    };
    check(
        "CREATE TYPE e AS ENUM ('a'); ALTER TYPE e OWNER TO {owner};",
        "ALTER TYPE e ADD VALUE 'b';",
        "must be owner of type e",
    );
    check(
        "CREATE VIEW v AS SELECT 1 AS a; ALTER VIEW v OWNER TO {owner};",
        "CREATE OR REPLACE VIEW v AS SELECT 2 AS a;",
        "must be owner of view v",
    );
    check(
        "CREATE SCHEMA s AUTHORIZATION {owner};",
        "ALTER SCHEMA s RENAME TO s2;",
        "must be owner of schema s",
    );
    check(
        "CREATE SEQUENCE q; ALTER SEQUENCE q OWNER TO {owner};",
        "ALTER SEQUENCE q RESTART;",
        "must be owner of sequence q",
    );
}

#[test]
fn a_superusers_table_is_given_away_and_not_its_rights() {
    check(
        "CREATE TABLE t (id int); GRANT CREATE ON SCHEMA public TO {role};",
        &["ALTER TABLE t ADD COLUMN a int;"],
        "must be owner of table t",
        "ALTER TABLE \"public\".\"t\" OWNER TO \"{role}\"",
    );
}

#[test]
fn a_schema_to_look_into() {
    check(
        "CREATE SCHEMA s; CREATE TABLE s.t (id int); ALTER TABLE s.t OWNER TO {role};",
        &["ALTER TABLE s.t ADD COLUMN a int;"],
        "permission denied for schema s: USAGE",
        "GRANT USAGE ON SCHEMA \"s\" TO \"{role}\"",
    );
}

#[test]
fn all_is_told_at_once() {
    let database = Server::debian().database();
    let role = database.role("app", "LOGIN");
    database.query("CREATE TABLE t (id int)");
    let folder = files(&[
        "CREATE TABLE a (id int);",
        "ALTER TABLE t ADD COLUMN a int;\nDROP TABLE t;",
        "CREATE SCHEMA s;",
    ]);
    migrate_as(&database, &role, &folder)
        .assert_code(9)
        .assert_says("nothing was run")
        .assert_says("the history table schemagate.history: permission denied for database")
        .assert_says("0001_x.sql:1: permission denied for schema public")
        .assert_says("0002_x.sql:1: must be owner of table t")
        .assert_says("0003_x.sql:1: permission denied for database");
    assert_untouched(&database);
    drop_role(&database, &role);
}

#[test]
fn a_database_for_new_schemas() {
    let database = Server::debian().database();
    let role = database.role("app", "LOGIN");
    let folder = files(&["CREATE SCHEMA s;"]);
    migrate_as(&database, &role, &folder)
        .assert_code(9)
        .assert_says("permission denied for database");
    assert_untouched(&database);
    database.query(&format!(
        "GRANT CREATE ON DATABASE {} TO {role}",
        database.name
    ));
    migrate_as(&database, &role, &folder).assert_code(0);
    drop_role(&database, &role);
}

#[test]
fn the_history_of_another_role() {
    let database = Server::debian().database();
    let role = database.role("app", "LOGIN");
    migrate(&database, files(&["SET LOCAL work_mem = '5MB';"]))
        .run()
        .assert_code(0);
    database.query(&format!(
        "GRANT USAGE ON SCHEMA schemagate TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA schemagate TO {role}"
    ));
    let folder = files(&["SET LOCAL work_mem = '5MB';", "SET LOCAL work_mem = '6MB';"]);
    migrate_as(&database, &role, &folder)
        .assert_code(9)
        .assert_says(
            "the history table schemagate.history: permission denied for table history: INSERT",
        );
    database.query(&format!(
        "GRANT INSERT ON TABLE schemagate.history TO {role}"
    ));
    migrate_as(&database, &role, &folder).assert_code(0);
    drop_role(&database, &role);
}

#[test]
fn a_file_in_pieces_needs_the_journal() {
    let database = Server::debian().database();
    let role = database.role("app", "LOGIN");
    database.query(&format!(
        "CREATE SCHEMA own AUTHORIZATION {role}; CREATE TABLE own.t (id int); ALTER TABLE own.t OWNER TO {role}"
    ));
    let folder = files(&["CREATE INDEX CONCURRENTLY i ON own.t (id);"]);
    let call = migrate(&database, &folder)
        .url(&database.url_as(&role))
        .env("SCHEMAGATE_HISTORY_TABLE", "own.history");
    call.run()
        .assert_code(9)
        .assert_says("the journal schemagate.journal: permission denied")
        .assert_says("GRANT CREATE ON DATABASE");
    assert!(!database.has_table("own.history"), "nothing was written");
    database.query(&format!(
        "GRANT CREATE ON DATABASE {} TO {role}",
        database.name
    ));
    call.run().assert_code(0);
    drop_role(&database, &role);
}

/// What is asked is asked as the role that will work.
#[test]
fn with_the_eyes_of_another_role() {
    let database: Database<'_> = Server::debian().database();
    let (login, owner) = (database.role("login", "LOGIN"), database.role("owner", ""));
    database.query(&format!(
        "GRANT {owner} TO {login}; ALTER ROLE {login} NOINHERIT;
         GRANT CREATE ON DATABASE {} TO {owner};
         CREATE TABLE t (id int); ALTER TABLE t OWNER TO {owner}",
        database.name
    ));
    let folder = files(&["ALTER TABLE t ADD COLUMN a int;"]);
    migrate_as(&database, &login, &folder)
        .assert_code(9)
        .assert_says("must be owner of table t");
    migrate(&database, &folder)
        .url(&database.url_as(&login))
        .env("SCHEMAGATE_ROLE", &owner)
        .run()
        .assert_code(0);
    drop_role(&database, &owner);
    drop_role(&database, &login);
}
