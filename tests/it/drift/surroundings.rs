//! When the schema is noted, by whom, and what is left out.

use super::{folder_of, found, report, verify};
use crate::harness::{Folder, PgBouncer, Schemagate, Server, Session};

fn fingerprints(database: &crate::harness::Database<'_>) -> String {
    database.value("SELECT count(*) FROM schemagate.journal WHERE event = 'fingerprint'")
}

#[test]
fn what_a_pattern_covers_is_left_out() {
    let database = Server::debian().database();
    let app = database.role("app", "");
    let folder = folder_of("CREATE TABLE t (a int DEFAULT 1); CREATE SCHEMA audit");
    Schemagate::migrate(&database, &folder).run().assert_code(0);
    database.query(&format!(
        "CREATE TABLE audit.log (a int); CREATE INDEX tmp_i ON t (a); ALTER TABLE t OWNER TO {app};
         ALTER TABLE t ALTER a SET DEFAULT 2; GRANT SELECT ON t TO PUBLIC; ALTER TABLE t ADD CHECK (a > 0) NOT VALID"
    ));
    for (patterns, left) in [
        (
            "audit, index:public.tmp_*, owner:*, default:public.t, grant:*, public.t.t_a_check",
            vec![],
        ),
        ("public.t", vec!["added table audit.log"]),
        (
            "table:*,index:*,constraint:*",
            // Nor are the privileges on a table told that is left out.
            vec!["changed column public.t.a default"],
        ),
    ] {
        let outcome = verify(&database, &folder)
            .env("SCHEMAGATE_DRIFT_IGNORE", patterns)
            .run();
        outcome.assert_code(if left.is_empty() { 0 } else { 6 });
        assert_eq!(found(&outcome), left, "{patterns}");
    }
    verify(&database, &folder)
        .env("SCHEMAGATE_DRIFT_IGNORE", "a,,b")
        .run()
        .assert_code(2)
        .assert_says("SCHEMAGATE_DRIFT_IGNORE");
}

#[test]
fn each_end_of_a_run_notes_the_schema() {
    let database = Server::debian().database();
    let folder = folder_of("CREATE TABLE one (a int)");
    Schemagate::migrate(&database, &folder).run().assert_code(0);
    assert_eq!(fingerprints(&database), "1");
    Schemagate::migrate(&database, &folder).run().assert_code(0);
    assert_eq!(fingerprints(&database), "1");
    // Two of three are there.
    folder
        .write("0002_two.sql", b"CREATE TABLE two (a int)")
        .write("0003_bad.sql", b"CREATE TABLE three (a int); SELECT 1 / 0");
    Schemagate::migrate(&database, &folder).run().assert_code(5);
    let outcome = verify(&database, &folder).run();
    outcome.assert_code(8).assert_says("division by zero");
    assert_eq!(report(&outcome)["pending"][0], "0003");
    // The work of a tool under exec.
    let exec = |marker: &str, sql: &str| {
        let psql = "/usr/lib/postgresql/15/bin/psql";
        let url = database.url();
        Schemagate::new(&["exec", "--", psql, "-X", "-d", &url, "-c", sql])
            .url(&url)
            .env("SCHEMAGATE_EXEC_ONCE", marker)
            .run()
            .assert_code(0);
    };
    exec("v1", "CREATE TABLE of_tool (a int)");
    verify(&database, &folder).run().assert_code(8);
    let marked = |marker: &str| {
        Schemagate::new(&["verify", "--format", "json"])
            .url(&database.url())
            .env("SCHEMAGATE_EXEC_ONCE", marker)
            .run()
    };
    marked("v1").assert_code(0);
    marked("v2").assert_code(8).assert_says("v2");
    // Adopting is a run too.
    folder.write("0003_bad.sql", b"CREATE TABLE three (a int)");
    database.query("CREATE TABLE three (a int)");
    marked("v1").assert_code(6);
    Schemagate::new(&["baseline", "--to", "0003"])
        .url(&database.url())
        .folder(&folder)
        .run()
        .assert_code(0);
    marked("v1").assert_code(0);
}

#[test]
fn half_a_migration_is_told() {
    let database = Server::debian().database();
    let folder = folder_of("CREATE TABLE t (a int); INSERT INTO t VALUES (1), (1)");
    Schemagate::migrate(&database, &folder).run().assert_code(0);
    folder.write(
        "0002_pieces.sql",
        b"CREATE TABLE u (a int);\nCREATE UNIQUE INDEX CONCURRENTLY i ON t (a);\n",
    );
    Schemagate::migrate(&database, &folder).run().assert_code(5);
    let outcome = verify(&database, &folder).run();
    outcome.assert_code(6);
    let lines = found(&outcome);
    assert!(
        lines.contains(&"dirty migration 0002".to_owned()),
        "{lines:?}"
    );
    assert!(
        lines.contains(&"added table public.u".to_owned()),
        "{lines:?}"
    );
    database.query("DELETE FROM t");
    Schemagate::migrate(&database, &folder).run().assert_code(0);
    verify(&database, &folder).run().assert_code(0);
}

#[test]
fn histories_share_a_database() {
    let database = Server::debian().database();
    let own = |table: &str, call: Schemagate| call.env("SCHEMAGATE_HISTORY_TABLE", table);
    let (a, b) = (
        folder_of("CREATE SCHEMA a; CREATE TABLE a.t (a int)"),
        folder_of("CREATE SCHEMA b; CREATE TABLE b.t (a int)"),
    );
    for (table, folder) in [("ops.\"A hist\"", &a), ("ops.b_hist", &b)] {
        own(table, Schemagate::migrate(&database, folder))
            .run()
            .assert_code(0);
    }
    for (table, folder) in [("ops.\"A hist\"", &a), ("ops.b_hist", &b)] {
        let outcome = own(table, verify(&database, folder)).run();
        outcome.assert_code(0);
        assert_eq!(report(&outcome)["compared_with"]["history"], "ops.b_hist");
    }
    // Tables of other tools' histories come and go with their tools.
    database.query("CREATE TABLE flyway_schema_history (installed_rank int, x text); CREATE TABLE migrations (mine text)");
    let outcome = own("ops.b_hist", verify(&database, &b)).run();
    assert_eq!(found(&outcome), ["added table public.migrations"]);
}

#[test]
fn an_extension_is_one_object() {
    let database = Server::debian().database();
    let folder = folder_of("CREATE EXTENSION hstore VERSION '1.4'; CREATE EXTENSION pgcrypto");
    Schemagate::migrate(&database, &folder).run().assert_code(0);
    verify(&database, &folder).run().assert_code(0);
    database.query("ALTER EXTENSION hstore UPDATE; DROP EXTENSION pgcrypto; CREATE EXTENSION citext SCHEMA pg_catalog");
    let outcome = verify(&database, &folder).run();
    outcome.assert_code(6);
    assert_eq!(
        found(&outcome),
        [
            "added extension citext",
            "changed extension hstore version",
            "removed extension pgcrypto"
        ]
    );
}

#[test]
fn partitions_come_and_go() {
    let database = Server::debian().database();
    let folder = folder_of(
        "CREATE TABLE log (id int, at date, PRIMARY KEY (id, at)) PARTITION BY RANGE (at); CREATE INDEX ON log (at);
         CREATE TABLE r (id int, at date, FOREIGN KEY (id, at) REFERENCES log)",
    );
    Schemagate::migrate(&database, &folder).run().assert_code(0);
    database.query(
        "CREATE TABLE p1 PARTITION OF log FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
         CREATE TABLE p2 (LIKE log INCLUDING ALL, CHECK (id > 0));
         ALTER TABLE log ATTACH PARTITION p2 FOR VALUES FROM ('2021-01-01') TO ('2022-01-01');
         CREATE INDEX ON p2 (id) WHERE id > 3; CREATE TEMP TABLE scratch (a int)",
    );
    verify(&database, &folder).run().assert_code(0);
}

#[test]
fn a_role_with_few_privileges_looks_with_any_settings() {
    let database = Server::debian().database();
    let owner = database.role("owner", "LOGIN");
    let looker = database.role("looker", "LOGIN");
    let name = &database.name;
    database.query(&format!(
        "GRANT CREATE ON DATABASE {name} TO {owner}; GRANT CREATE ON SCHEMA public TO {owner};
         ALTER ROLE {looker} SET search_path = hostile, public; ALTER ROLE {looker} SET DateStyle = 'German';
         ALTER ROLE {looker} SET TimeZone = 'Asia/Tokyo'; ALTER ROLE {looker} SET IntervalStyle = 'iso_8601';
         ALTER ROLE {looker} SET quote_all_identifiers = on; ALTER ROLE {looker} SET extra_float_digits = -5;
         ALTER ROLE {looker} SET default_transaction_read_only = on; ALTER ROLE {looker} SET standard_conforming_strings = off;
         ALTER ROLE {looker} SET default_transaction_isolation = serializable; ALTER ROLE {looker} SET bytea_output = 'escape';
         CREATE SCHEMA hostile; GRANT USAGE ON SCHEMA hostile TO PUBLIC;
         CREATE TABLE hostile.pg_class (oid oid);
         CREATE FUNCTION hostile.format_type(oid, int) RETURNS text LANGUAGE sql AS 'SELECT (1/0)::text';
         CREATE FUNCTION hostile.eq(text, text) RETURNS bool LANGUAGE sql AS 'SELECT false';
         CREATE OPERATOR hostile.= (leftarg = text, rightarg = text, function = hostile.eq)"
    ));
    let folder = folder_of(
        "CREATE TABLE t (at timestamptz DEFAULT '2020-01-01 00:00:00+00', d date DEFAULT '2020-02-03', i interval DEFAULT '1 day',
           f float8 DEFAULT 0.1, b bytea DEFAULT '\\x00ff', \"user\" int CHECK (\"user\" > 0));
         CREATE VIEW v AS SELECT * FROM t WHERE at > '2021-01-01 00:00:00+00'",
    );
    let migrate = Schemagate::migrate(&database, &folder);
    migrate.url(&database.url_as(&owner)).run().assert_code(0);
    let looking = verify(&database, &folder).url(&database.url_as(&looker));
    looking.run().assert_code(9).assert_says("GRANT");
    database.query(&format!(
        "GRANT USAGE ON SCHEMA schemagate TO {looker}; GRANT SELECT ON ALL TABLES IN SCHEMA schemagate TO {looker}"
    ));
    let outcome = looking.run();
    assert_eq!(found(&outcome), Vec::<String>::new());
    outcome.assert_code(0);
    // As the owner, whom only SCHEMAGATE_ROLE names.
    database.query(&format!("GRANT {owner} TO {looker}"));
    looking.env("SCHEMAGATE_ROLE", &owner).run().assert_code(0);
}

#[test]
fn where_a_table_is_locked_nobody_waits_for_long() {
    let database = Server::debian().database();
    let folder =
        folder_of("CREATE TABLE t (a int CHECK (a > 0)); CREATE VIEW v AS SELECT * FROM t");
    Schemagate::migrate(&database, &folder).run().assert_code(0);
    let holder = database.session();
    holder.query("BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE");
    verify(&database, &folder)
        .run()
        .assert_code(4)
        .assert_says("lock timeout");
    folder.write("0002_more.sql", b"CREATE TABLE more (a int)");
    Schemagate::migrate(&database, &folder)
        .run()
        .assert_code(0)
        .assert_says("the schema could not be journalled");
    holder.query("COMMIT");
    let outcome = verify(&database, &folder).run();
    outcome.assert_code(6);
    assert_eq!(found(&outcome), ["added table public.more"]);
    let warnings = report(&outcome)["warnings"].to_string();
    assert!(
        warnings.contains("noted after the fingerprint"),
        "{warnings}"
    );
}

#[test]
fn behind_a_transaction_pooler_and_on_a_standby() {
    let server = Server::own_with("max_wal_senders = 4\nwal_level = replica");
    let database = server.database();
    let pooler = PgBouncer::start(&server, "transaction", 2);
    let folder = folder_of("CREATE TABLE t (a int CHECK (a > 0))");
    let url = pooler.url(&database);
    Schemagate::migrate(&database, &folder)
        .url(&url)
        .run()
        .assert_code(0);
    assert_eq!(fingerprints(&database), "1");
    verify(&database, &folder).url(&url).run().assert_code(0);
    // Nothing of it stays on the pooled connection.
    let session = Session::connect(&url);
    assert_ne!(session.value("SHOW search_path"), "pg_catalog, pg_temp");
    assert_eq!(session.value("SHOW jit"), "on");
    let standby = Server::standby_of(&server);
    let there = standby.url(&database.name);
    crate::harness::eventually!(
        Session::try_connect(&there).is_ok_and(|session| session
            .try_query("SELECT 1 FROM schemagate.journal WHERE event = 'run_finished'")
            .is_ok_and(|rows| !rows.is_empty())),
        "the standby does not follow"
    );
    verify(&database, &folder).url(&there).run().assert_code(0);
    database.query("ALTER TABLE t ADD b int");
    crate::harness::eventually!(
        verify(&database, &folder).url(&there).run().code() == 6,
        "the standby does not show it"
    );
}

#[test]
fn without_a_journal_drift_is_not_compared() {
    let database = Server::debian().database();
    let folder = Folder::sql(&[("0001_a.sql", "CREATE TABLE t (a int)")]);
    let outcome = verify(&database, &folder).run();
    outcome.assert_code(8);
    let warnings = report(&outcome)["warnings"].to_string();
    assert!(
        warnings.contains("no run has noted the schema yet"),
        "{warnings}"
    );
    Schemagate::migrate(&database, &folder).run().assert_code(0);
    database.query("UPDATE schemagate.journal SET detail = jsonb_set(detail, '{format}', '9') WHERE event = 'fingerprint'");
    let outcome = verify(&database, &folder).run();
    outcome.assert_code(0);
    assert!(
        report(&outcome)["warnings"]
            .to_string()
            .contains("newer release")
    );
}
