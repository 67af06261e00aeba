CREATE EXTENSION IF NOT EXISTS plpgsql;
CREATE SCHEMA shop;
CREATE SCHEMA "we ""ird 🙂";
CREATE TYPE shop.mood AS ENUM ('sad', 'ok', 'it''s fine');
CREATE TYPE shop.pair AS (a int, b varchar(20), c text COLLATE "C");
CREATE DOMAIN shop.email AS varchar(100) COLLATE "C" DEFAULT 'a@b' NOT NULL
  CONSTRAINT has_at CHECK (VALUE ~ '@' AND VALUE IN ('a@b', 'c@d'));
CREATE TYPE shop.floats AS RANGE (subtype = float8, subtype_diff = float8mi);
CREATE TABLE shop.customer (
  id bigint GENERATED ALWAYS AS IDENTITY (START WITH 100) PRIMARY KEY,
  name varchar(40) NOT NULL DEFAULT 'x' CHECK (name IN ('a', 'b')),
  state varchar CHECK (state = ANY (ARRAY['x', 'y'])),
  kind char(3) CHECK (kind IN ('abc', 'def')),
  m shop.mood DEFAULT 'ok',
  mail shop.email,
  born date DEFAULT '2000-01-01',
  at timestamptz DEFAULT '2020-01-01 00:00:00+00',
  local timestamp(3) DEFAULT '2020-01-01 01:02:03.456',
  upper_name text GENERATED ALWAYS AS (upper(name::text) || 'x') STORED,
  n numeric(10, 2) DEFAULT -1.5,
  negative int DEFAULT -1,
  big bigint DEFAULT 5,
  flag boolean DEFAULT (1 = 1 AND NOT false),
  coll text COLLATE "C",
  dropped int,
  span interval DEFAULT '1 day 02:00:00',
  arr text[] DEFAULT ARRAY['a', 'b']::varchar[],
  "Mixed ""Case" int,
  CONSTRAINT odd CHECK ((big > 0 OR n > 0) AND (big < 100 OR n IS NULL))
);
ALTER TABLE shop.customer DROP COLUMN dropped;
ALTER TABLE shop.customer ADD COLUMN later int;
CREATE TABLE shop."Order 🛒" (
  id serial PRIMARY KEY,
  customer bigint REFERENCES shop.customer ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
  "sel""ect" varchar(10),
  during tstzrange,
  room int,
  EXCLUDE USING gist (during WITH &&) WHERE (room > 3)
);
CREATE INDEX part ON shop."Order 🛒" (lower("sel""ect")) WHERE "sel""ect" IN ('a', 'b');
CREATE INDEX expr ON shop.customer ((name || '-' || coalesce(state, 'none'))) INCLUDE (big);
CREATE UNIQUE INDEX uq ON shop.customer (name varchar_pattern_ops DESC NULLS LAST) WITH (fillfactor = 70);
CREATE INDEX "🙂 index" ON shop.customer ((state::text || (big + 1)::text));
CREATE VIEW shop.v WITH (security_barrier) AS
  SELECT c.id, c.name, o.room, CASE WHEN c.state IN ('x', 'y') THEN 'known' ELSE 'other' END AS s
  FROM shop.customer c LEFT JOIN shop."Order 🛒" o ON o.customer = c.id
  WHERE c.name::text IN ('a', 'b') AND (c.big > 1 OR c.n < 2);
CREATE VIEW shop.one AS
  SELECT customer.id, customer.name, date_part('year', born) AS year, extract(month from born) AS month,
    substring(name from 1 for 2) AS start, position('a' in name) AS p, (name || 'x')::varchar(5) AS cut,
    count(*) OVER (PARTITION BY state ORDER BY id) AS rank, now() AT TIME ZONE 'UTC' AS utc, -big AS minus
  FROM shop.customer WHERE state IN ('x', 'z') AND name NOT IN ('q', 'r') AND name LIKE 'a%' AND state IS DISTINCT FROM 'u';
CREATE VIEW shop.two AS
  WITH w AS (SELECT id, name FROM shop.customer)
  SELECT id, w.name, b.state FROM w JOIN shop.customer b USING (id)
  UNION ALL
  SELECT id, w.name, b.state FROM w JOIN shop.customer b USING (id) WHERE EXISTS (SELECT 1 FROM shop.v WHERE v.id = w.id);
CREATE MATERIALIZED VIEW shop.mv AS
  SELECT count(*) AS n, state FROM shop.customer GROUP BY state HAVING state IN ('x', 'y');
CREATE INDEX mv_state ON shop.mv (state);
ALTER TABLE shop.customer ENABLE ROW LEVEL SECURITY;
ALTER TABLE shop.customer FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON shop.customer FOR SELECT TO {app}, {reader} USING (name IN ('a', 'b') AND state = current_user);
CREATE POLICY strict ON shop.customer AS RESTRICTIVE USING (true) WITH CHECK (big > 0 AND kind IN ('abc', 'def'));
CREATE FUNCTION shop.f() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = shop, public AS $b$
BEGIN
  IF NEW.name IN ('a') THEN RETURN NEW; END IF;
  RETURN NULL;
END $b$;
CREATE FUNCTION shop.g(a int, b varchar DEFAULT 'q') RETURNS SETOF shop.customer LANGUAGE sql STABLE
  AS 'SELECT * FROM shop.customer WHERE name = b';
CREATE FUNCTION shop.atomic(x varchar) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
  BEGIN ATOMIC SELECT x IN ('a', 'b') OR (x::text || 'c') = 'd'; END;
CREATE PROCEDURE shop.p(INOUT x int) LANGUAGE plpgsql AS 'BEGIN x := 1; END';
CREATE AGGREGATE shop.mysum(int) (sfunc = int4pl, stype = int, initcond = '0');
CREATE TRIGGER tr BEFORE INSERT OR UPDATE OF name ON shop.customer FOR EACH ROW
  WHEN (NEW.name IN ('a', 'b') AND NEW.big > 3) EXECUTE FUNCTION shop.f();
ALTER TABLE shop.customer DISABLE TRIGGER tr;
CREATE TABLE shop.log (id bigint, at date NOT NULL, what varchar CHECK (what IN ('i', 'u')), PRIMARY KEY (id, at))
  PARTITION BY RANGE (at);
CREATE TABLE shop.log_2020 PARTITION OF shop.log FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
CREATE TABLE shop.log_2021 (LIKE shop.log INCLUDING ALL);
ALTER TABLE shop.log ATTACH PARTITION shop.log_2021 FOR VALUES FROM ('2021-01-01') TO ('2022-01-01');
CREATE INDEX ON shop.log (what);
CREATE TRIGGER log_tr AFTER INSERT ON shop.log FOR EACH ROW EXECUTE FUNCTION shop.f();
CREATE TABLE shop.of_log (id bigint, at date, FOREIGN KEY (id, at) REFERENCES shop.log);
CREATE SEQUENCE shop.s START 5 INCREMENT 2 MAXVALUE 1000 CYCLE;
CREATE SEQUENCE public.s2 AS smallint;
CREATE RULE r AS ON DELETE TO shop.v DO INSTEAD NOTHING;
CREATE RULE r2 AS ON INSERT TO shop.one WHERE NEW.name IN ('a', 'b') DO ALSO SELECT 1;
CREATE STATISTICS shop.st (dependencies) ON name, state FROM shop.customer;
CREATE STATISTICS shop.st2 ON (lower(name)), (state IN ('a', 'b')) FROM shop.customer;
CREATE TABLE "we ""ird 🙂"."T .x" (a int, "B c" text);
CREATE INDEX ON "we ""ird 🙂"."T .x" ("B c");
CREATE UNLOGGED TABLE public.u (a int) WITH (fillfactor = 50, autovacuum_enabled = false);
CREATE TABLE public.child (b int) INHERITS (public.u);
ALTER TABLE public.child REPLICA IDENTITY FULL;
GRANT SELECT, INSERT ON shop.customer TO {app} WITH GRANT OPTION;
GRANT SELECT (name), UPDATE (state) ON shop.customer TO {reader};
GRANT ALL ON shop.log TO {app};
GRANT USAGE ON SCHEMA shop TO {reader};
REVOKE EXECUTE ON FUNCTION shop.g FROM PUBLIC;
GRANT USAGE ON SEQUENCE shop.s TO {app};
REVOKE TRUNCATE ON public.u FROM CURRENT_USER;
GRANT USAGE ON TYPE shop.mood TO {app};
ALTER DEFAULT PRIVILEGES IN SCHEMA shop GRANT SELECT ON TABLES TO {reader};
ALTER DEFAULT PRIVILEGES FOR ROLE {app} REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER TABLE shop.log OWNER TO {app};
CREATE FOREIGN DATA WRAPPER nothing;
CREATE SERVER elsewhere FOREIGN DATA WRAPPER nothing OPTIONS (host 'h', password 'not to be kept');
CREATE FOREIGN TABLE public.far (a int, b text) SERVER elsewhere OPTIONS (name 'x');
