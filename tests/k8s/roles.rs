//! `k8s/sql/roles.sql`: the owner, the migrator and the application, on three versions of PostgreSQL.

use std::process::Command;

use crate::harness::postgres::debian_bin;
use crate::harness::process::must;
use crate::harness::{Database, Folder, Schemagate, Server, Session, Sidecar, fixture};
use crate::tools::repository;

/// The three roles of one database; roles belong to the whole server, so each test has its own.
pub(crate) struct Roles<'database> {
    database: &'database Database<'database>,
    pub(crate) owner: String,
    migrator: String,
    app: String,
}

impl<'database> Roles<'database> {
    /// Runs the file as the superuser, and sets the passwords that it does not hold.
    #[track_caller]
    pub(crate) fn create(database: &'database Database<'database>, variables: &[&str]) -> Self {
        let roles = Self::named(database);
        roles.run_as("postgres", variables);
        // What pg_hba.conf of these servers asks a password of.
        for role in [&roles.migrator, &roles.app] {
            database.query(&format!(
                "ALTER ROLE {role} PASSWORD 'secret'; GRANT needs_password TO {role} WITH ADMIN OPTION;
                 REVOKE ADMIN OPTION FOR needs_password FROM {role}"
            ));
        }
        roles
    }

    fn named(database: &'database Database<'database>) -> Self {
        let app = format!("{}_app", database.name);
        Self {
            database,
            owner: format!("{app}_owner"),
            migrator: format!("{app}_migrator"),
            app,
        }
    }

    /// Runs the file.
    #[track_caller]
    fn run_as(&self, login: &str, variables: &[&str]) {
        let mut psql = Command::new(debian_bin().join("psql"));
        psql.args(["-X", "-q", "-d", &self.database.url_as(login)])
            .args(["-v", &format!("app={}", self.app)]);
        for variable in variables {
            psql.args(["-v", variable]);
        }
        let output = must(psql.arg("-f").arg(repository("k8s/sql/roles.sql")));
        let said = [output.stdout, output.stderr].concat();
        assert!(said.is_empty(), "{}", String::from_utf8_lossy(&said));
    }

    pub(crate) fn migrator_url(&self) -> String {
        self.database.url_as(&format!("{}:secret", self.migrator))
    }

    pub(crate) fn app_url(&self) -> String {
        self.database.url_as(&format!("{}:secret", self.app))
    }

    /// A command with the migrator's credentials, as the manifests have it.
    pub(crate) fn migrator(&self, args: &[&str], folder: &Folder) -> Schemagate {
        Schemagate::new(args)
            .url(&self.migrator_url())
            .folder(folder)
            .env("SCHEMAGATE_ROLE", &self.owner)
    }

    /// A command with the application's credentials.
    fn application(&self, args: &[&str], folder: &Folder) -> Schemagate {
        Schemagate::new(args).url(&self.app_url()).folder(folder)
    }
}

fn servers() -> [&'static Server; 3] {
    [
        Server::embedded("14"),
        Server::debian(),
        Server::embedded("18"),
    ]
}

/// Who may what: owners, privileges, default privileges, memberships.
fn rights(database: &Database<'_>) -> Vec<Vec<String>> {
    let rights = database.query(
        "SELECT relname, pg_get_userbyid(relowner), relacl FROM pg_class WHERE relnamespace::regnamespace::text !~ '^(pg_|information)' ORDER BY 1;
         SELECT nspname, pg_get_userbyid(nspowner), nspacl FROM pg_namespace WHERE nspname !~ '^pg_' ORDER BY 1;
         SELECT datname, datacl FROM pg_database WHERE datname = current_database();
         SELECT pg_get_userbyid(defaclrole), defaclnamespace::regnamespace, defaclobjtype, defaclacl FROM pg_default_acl ORDER BY 1, 2, 3;
         SELECT to_jsonb(m) - 'oid' FROM pg_auth_members m ORDER BY 1",
    );
    assert!(rights.len() > 10, "{rights:?}");
    rights
}

#[track_caller]
fn refused(session: &Session, sql: &str) {
    let error = session.try_query(sql).expect_err(sql);
    let code = error.code().map(|code| code.code().to_owned());
    assert_eq!(code.as_deref(), Some("42501"), "{sql}: {error:?}");
}

/// Tables, a type, a sequence, a view, a function, an extension that a database's owner may create, temporary tables, and
/// an index that is built outside of a transaction.
fn release() -> Folder {
    Folder::sql(&[
        (
            "0001_shop.sql",
            "CREATE TYPE state AS ENUM ('open', 'paid');
             CREATE TABLE orders (id bigserial PRIMARY KEY, state state NOT NULL DEFAULT 'open', total int NOT NULL);
             CREATE VIEW paid AS SELECT * FROM orders WHERE state = 'paid';
             CREATE FUNCTION twice(n int) RETURNS int LANGUAGE sql AS 'SELECT n * 2';
             CREATE TEMPORARY TABLE scratch AS SELECT 1 AS n;",
        ),
        (
            "0002_total.sql",
            "-- schemagate: transaction=off\nCREATE INDEX CONCURRENTLY orders_total ON orders (total);",
        ),
        (
            "0003_audit.sql",
            "CREATE SCHEMA audit; CREATE TABLE audit.log (at timestamptz); CREATE EXTENSION IF NOT EXISTS pg_trgm;",
        ),
    ])
}

#[test]
fn a_release_is_migrated_and_used_with_exactly_these() {
    for server in servers() {
        let database = server.database();
        let roles = Roles::create(&database, &[]);
        let folder = release();
        // PostgreSQL 14 and 18 come without contrib.
        if database.value("SELECT count(*) FROM pg_available_extensions WHERE name = 'pg_trgm'")
            == "0"
        {
            folder.write(
                "0003_audit.sql",
                b"CREATE SCHEMA audit; CREATE TABLE audit.log (at timestamptz);",
            );
        }
        roles
            .migrator(&["migrate"], &folder)
            .run()
            .assert_code(0)
            .assert_silent_about("\"WARN\"");
        roles.migrator(&["verify"], &folder).run().assert_code(0);
        assert_eq!(
            database.value(&format!(
                "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
                 WHERE nspname IN ('public', 'schemagate', 'audit') AND relkind <> 'i'
                 AND pg_get_userbyid(relowner) <> '{}' AND NOT EXISTS
                   (SELECT 1 FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')",
                roles.owner
            )),
            "0",
            "the owner owns all of it"
        );

        let app = Session::connect(&roles.app_url());
        app.query("INSERT INTO orders (total) VALUES (1), (2); UPDATE orders SET state = 'paid'; SELECT twice(1)");
        app.query("DELETE FROM orders WHERE total = 2");
        assert_eq!(app.value("SELECT count(*) FROM paid"), "1");
        // The sidecar and the gate look with the application's own credentials.
        roles
            .application(&["wait", "--for", "schema"], &folder)
            .run()
            .assert_code(0);
        roles
            .application(&["status", "--exit-code"], &folder)
            .run()
            .assert_code(0);
        let sidecar = Sidecar::start(&roles.application(&["sidecar"], &folder));
        sidecar.becomes("ready", true);
        sidecar.stop().assert_code(0);
    }
}

#[test]
fn the_application_reads_and_writes_rows_and_nothing_else() {
    for server in servers() {
        let database = server.database();
        let roles = Roles::create(&database, &[]);
        roles
            .migrator(
                &["migrate"],
                &Folder::sql(&[("0001_a.sql", "CREATE TABLE a (n int)")]),
            )
            .run()
            .assert_code(0);
        let app = Session::connect(&roles.app_url());
        for sql in [
            "ALTER TABLE a ADD COLUMN m int",
            "DROP TABLE a",
            "TRUNCATE a",
            "CREATE INDEX ON a (n)",
            "CREATE TABLE b (n int)",
            "CREATE SCHEMA s",
            "CREATE TEMPORARY TABLE t (n int)",
            "CREATE TABLE schemagate.b (n int)",
            "INSERT INTO schemagate.history (version, name, checksum, duration_ms) VALUES ('2', 'b', 'c', 0)",
            "DELETE FROM schemagate.history",
            "UPDATE schemagate.journal SET event = 'backup'",
            "INSERT INTO schemagate.journal (run, history, event) VALUES (gen_random_uuid(), 'backup', 'backup')",
            &format!("SET ROLE {}", roles.owner),
            &format!("SET ROLE {}", roles.migrator),
            "CREATE ROLE r",
        ] {
            refused(&app, sql);
        }
        let more = Folder::sql(&[
            ("0001_a.sql", "CREATE TABLE a (n int)"),
            ("0002_b.sql", "CREATE TABLE b (n int)"),
        ]);
        roles.application(&["migrate"], &more).run().assert_code(9);
        roles
            .application(&["wait", "--for", "schema", "--wait-timeout", "1s"], &more)
            .run()
            .assert_code(8);
    }
}

#[test]
fn the_migrator_can_do_no_more_than_it_needs() {
    for server in servers() {
        let database = server.database();
        let other = server.database();
        let roles = Roles::create(&database, &[]);
        roles
            .migrator(
                &["migrate"],
                &Folder::sql(&[("0001_a.sql", "CREATE TABLE a (n int)")]),
            )
            .run()
            .assert_code(0);
        let migrator = Session::connect(&roles.migrator_url());
        // By itself it sees nothing; as the owner it has this database and no other.
        for sql in [
            "SELECT * FROM public.a",
            "SELECT * FROM schemagate.history",
            "CREATE TABLE public.b (n int)",
            "CREATE SCHEMA s",
            "CREATE DATABASE d",
            "CREATE ROLE r",
            "SELECT pg_read_file('PG_VERSION')",
            "COPY (SELECT 1) TO PROGRAM 'true'",
            &format!("GRANT {} TO {}", roles.owner, roles.app),
            &format!("SET ROLE {}", roles.app),
            "SET ROLE postgres",
        ] {
            refused(&migrator, sql);
        }
        migrator.query(&format!(
            "SET ROLE {}; SELECT * FROM a; CREATE SCHEMA s",
            roles.owner
        ));
        for sql in [
            "CREATE DATABASE d",
            "CREATE ROLE r",
            "SELECT pg_read_file('PG_VERSION')",
            "COPY (SELECT 1) TO PROGRAM 'true'",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'postgres'",
            "ALTER SYSTEM SET work_mem = '1GB'",
        ] {
            refused(&migrator, sql);
        }
        let flags = database.query(&format!(
            "SELECT rolname FROM pg_roles WHERE rolname LIKE '{}%'
             AND (rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls)",
            roles.app
        ));
        assert!(flags.is_empty(), "{flags:?}");
        // Another database of the server lets them in only while it lets everybody in.
        other.query(&format!(
            "REVOKE CONNECT ON DATABASE {} FROM PUBLIC",
            other.name
        ));
        assert!(
            Session::try_connect(&other.url_as(&format!("{}:secret", roles.migrator))).is_err()
        );
    }
}

#[test]
fn nobody_else_comes_in() {
    for server in servers() {
        let database = server.database();
        Roles::create(&database, &[]);
        let stranger = database.role("stranger", "LOGIN");
        assert!(Session::try_connect(&database.url_as(&stranger)).is_err());
    }
}

#[test]
fn it_may_run_again_and_takes_in_what_came_between() {
    for server in servers() {
        let database = server.database();
        let roles = Roles::create(&database, &[]);
        let folder = release();
        folder.remove("0003_audit.sql");
        roles.migrator(&["migrate"], &folder).run().assert_code(0);
        let before = rights(&database);
        roles.run_as("postgres", &[]);
        assert_eq!(rights(&database), before);
        // The new schema of a release is the application's once the file has run for it.
        roles
            .migrator(&["migrate"], &{
                let folder = release();
                folder.write(
                    "0003_audit.sql",
                    b"CREATE SCHEMA audit; CREATE TABLE audit.log (at timestamptz);",
                );
                folder
            })
            .run()
            .assert_code(0);
        refused(
            &Session::connect(&roles.app_url()),
            "INSERT INTO audit.log VALUES (now())",
        );
        roles.run_as("postgres", &["schema=audit"]);
        Session::connect(&roles.app_url())
            .query("INSERT INTO audit.log VALUES (now()); SELECT * FROM orders");
    }
}

#[test]
fn doctor_is_content() {
    for server in servers() {
        let database = server.database();
        let roles = Roles::create(&database, &[]);
        let folder = Folder::sql(&[("0001_a.sql", "CREATE TABLE a (n int)")]);
        for _ in 0..2 {
            let outcome = roles.migrator(&["doctor"], &folder).run();
            outcome.assert_code(0);
            assert!(!outcome.stdout.contains("PROBLEM"), "{outcome}");
            roles.migrator(&["migrate"], &folder).run().assert_code(0);
        }
    }
}

/// Managed servers give no superuser: a role that may create roles, and owns the database.
#[test]
fn the_owner_of_the_database_may_run_it() {
    for server in servers() {
        let database = server.database();
        let admin = database.role("admin", "LOGIN CREATEROLE");
        database.query(&format!(
            "ALTER DATABASE {} OWNER TO {admin}",
            database.name
        ));
        if database.value("SELECT current_setting('server_version_num')::int < 150000") == "t" {
            // Before 15 the schema belongs to the superuser, whatever the database's owner is.
            database.query(&format!("ALTER SCHEMA public OWNER TO {admin}"));
        }
        let roles = Roles::named(&database);
        roles.run_as(&admin, &[]);
        roles.run_as(&admin, &[]);
        let folder = Folder::sql(&[("0001_a.sql", "CREATE TABLE a (n int)")]);
        let migrator = database.url_as(&roles.migrator);
        roles
            .migrator(&["migrate"], &folder)
            .url(&migrator)
            .run()
            .assert_code(0);
        Session::connect(&database.url_as(&roles.app)).query("INSERT INTO a VALUES (1)");
    }
}

#[test]
fn the_history_of_drizzle_is_read_by_the_application() {
    for server in servers() {
        let database = server.database();
        let roles = Roles::create(&database, &["history=drizzle"]);
        let folder = Folder::first_of(&fixture("drizzle/classic/shop"), 1);
        roles.migrator(&["migrate"], &folder).run().assert_code(0);
        roles
            .application(&["wait", "--for", "schema"], &folder)
            .run()
            .assert_code(0);
        refused(
            &Session::connect(&roles.app_url()),
            "DELETE FROM drizzle.__drizzle_migrations",
        );
    }
}

/// A role that logs in without a password is nobody's wish; one that stands in a file is worse.
#[test]
fn no_password_is_in_the_file() {
    let text = std::fs::read_to_string(repository("k8s/sql/roles.sql")).unwrap();
    let statements: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with("--"))
        .collect();
    assert!(!statements.join("\n").to_lowercase().contains("password"));
}
