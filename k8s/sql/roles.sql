-- Roles by least privilege: who owns the tables, who migrates, who uses them.
--
--   psql -X -d shop -v app=app -f roles.sql        as a superuser, or as the owner of the database with CREATEROLE
--   psql -d shop -c '\password app_migrator'       passwords are set apart, and are in no file
--   psql -d shop -c '\password app'
--
--   role          logs in  may
--   app_owner     no       owns schemas, tables and history; creates in this database
--   app_migrator  yes      connects, and becomes app_owner with SCHEMAGATE_ROLE=app_owner; by itself it sees no row
--   app           yes      reads and writes the rows, reads the history (for sidecar and wait); alters nothing
--
-- PostgreSQL 14 and later. It may run again, and again after a release: it changes nothing then, but takes in what has come in
-- between. Variables, each with its default:
--
--   app      app     the application's role; the others are called after it
--   schema   public  where the application's tables are; created if absent
--   history  schemagate  the schema of the history table: schemagate, or drizzle
--
-- Tables that were there before belong to somebody else; REASSIGN OWNED BY that_role TO app_owner hands them over.

\set ON_ERROR_STOP on
\if :{?app}     \else \set app app            \endif
\if :{?schema}  \else \set schema public      \endif
\if :{?history} \else \set history schemagate \endif
\set owner :app _owner
\set migrator :app _migrator
SELECT pg_catalog.current_database() AS database \gset

-- All of it, or nothing.
BEGIN;
SET LOCAL client_min_messages = warning;

-- CREATE ROLE knows no IF NOT EXISTS.
SELECT pg_catalog.format('CREATE ROLE %I', r.name)
FROM (VALUES (:'owner'), (:'migrator'), (:'app')) AS r (name)
WHERE pg_catalog.to_regrole(pg_catalog.quote_ident(r.name)) IS NULL
\gexec

ALTER ROLE :"owner"    NOLOGIN;
-- NOINHERIT: what the owner may, the migrator may only once it has said SET ROLE.
ALTER ROLE :"migrator" LOGIN NOINHERIT;
ALTER ROLE :"app"      LOGIN;

-- Since PostgreSQL 16 a membership says itself what it is good for.
SELECT pg_catalog.current_setting('server_version_num')::int >= 160000 AS options \gset
\if :options
GRANT :"owner" TO :"migrator" WITH INHERIT FALSE, SET TRUE;
-- Whoever creates a role may administer it, no more; to hand out what belongs to the owner, this session has to be able to become it.
SELECT NOT pg_catalog.pg_has_role(SESSION_USER, :'owner', 'SET') AS must_join \gset
\else
GRANT :"owner" TO :"migrator";
SELECT NOT pg_catalog.pg_has_role(SESSION_USER, :'owner', 'USAGE') AS must_join \gset
\endif
\if :must_join
GRANT :"owner" TO SESSION_USER;
\endif

-- The database: nobody comes in but by name.
REVOKE ALL ON DATABASE :"database" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"database" TO :"owner", :"migrator", :"app";
-- CREATE: schemas and trusted extensions. TEMPORARY: temporary tables in a migration.
GRANT CREATE, TEMPORARY ON DATABASE :"database" TO :"owner";

-- The schemas belong to the owner; nobody else creates in them (before PostgreSQL 15 everybody could in "public").
SELECT pg_catalog.format('CREATE SCHEMA %I AUTHORIZATION %I', s.name, :'owner')
FROM (SELECT DISTINCT name FROM (VALUES (:'schema'), ('schemagate'), (:'history')) AS all_of_them (name)) AS s
WHERE pg_catalog.to_regnamespace(pg_catalog.quote_ident(s.name)) IS NULL
\gexec
REVOKE ALL ON SCHEMA :"schema", schemagate, :"history" FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA :"schema", schemagate, :"history" TO :"owner";
GRANT USAGE ON SCHEMA :"schema", schemagate, :"history" TO :"app";

-- What there is, and what the owner will create.
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA :"schema" TO :"app";
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA :"schema" TO :"app";
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA :"schema"
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO :"app";
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA :"schema"
    GRANT USAGE, SELECT ON SEQUENCES TO :"app";

-- History and journal are read, never written, by the application.
GRANT SELECT ON ALL TABLES IN SCHEMA schemagate, :"history" TO :"app";
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA schemagate GRANT SELECT ON TABLES TO :"app";
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA :"history" GRANT SELECT ON TABLES TO :"app";

-- A restore point before what loses data, where this session may hand that out (a superuser may).
SELECT pg_catalog.has_function_privilege(SESSION_USER, 'pg_catalog.pg_create_restore_point(text)', 'EXECUTE WITH GRANT OPTION') AS restore_points \gset
\if :restore_points
GRANT EXECUTE ON FUNCTION pg_catalog.pg_create_restore_point(text) TO :"owner";
\endif

COMMIT;
