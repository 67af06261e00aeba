WITH member AS (
  SELECT classid, objid, deptype FROM pg_depend WHERE deptype = 'e' OR deptype = 'i' AND classid = 'pg_proc'::regclass
), ns AS (
  SELECT oid, nspname::text AS nsp, nspowner, nspacl FROM pg_namespace
  WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'schemagate')
), rel AS (
  SELECT c.oid, ns.nsp, c.relname::text AS name, c.relkind AS k, c.relowner, c.relacl, c.relpersistence, c.relrowsecurity,
    c.relforcerowsecurity, c.reloptions, c.relreplident, c.relam, c.reloftype
  FROM pg_class c JOIN ns ON ns.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND NOT c.relispartition AND c.relpersistence <> 't'
    AND NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_class'::regclass AND m.objid = c.oid)
    AND ns.nsp || '.' || c.relname NOT IN (SELECT history FROM schemagate.journal)
    AND NOT EXISTS (SELECT FROM (VALUES {known}) k(name, columns) WHERE k.name = c.relname AND k.columns <@ ARRAY(
      SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped))
), proc AS (
  SELECT p.*, ns.nsp FROM pg_proc p JOIN ns ON ns.oid = p.pronamespace
  WHERE NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_proc'::regclass AND m.objid = p.oid)
), typ AS (
  SELECT t.*, ns.nsp FROM pg_type t JOIN ns ON ns.oid = t.typnamespace
  WHERE (t.typtype IN ('e', 'd', 'r') OR t.typtype = 'c'
      AND EXISTS (SELECT FROM pg_class c WHERE c.oid = t.typrelid AND c.relkind = 'c'))
    AND NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_type'::regclass AND m.objid = t.oid)
), col AS (
  SELECT a.*, rel.nsp, rel.relowner FROM pg_attribute a JOIN rel ON rel.oid = a.attrelid
  WHERE rel.k IN ('r', 'p', 'f') AND a.attnum > 0 AND NOT a.attisdropped
), privileges AS (
  SELECT cat, id, sub, jsonb_object_agg('grant to ' || who, what) AS grants FROM (
    SELECT cat, id, sub, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(grantee)::text END AS who,
      string_agg(word || privilege_type || CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END, ', '
        ORDER BY word COLLATE "C", privilege_type COLLATE "C") AS what
    FROM (
      SELECT 'n' AS cat, oid AS id, 0 AS sub, nspacl AS acl, acldefault('n', nspowner) AS usual FROM ns WHERE nspacl IS NOT NULL
      UNION ALL SELECT 'r', oid, 0, relacl, acldefault(CASE k WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner)
      FROM rel WHERE relacl IS NOT NULL
      UNION ALL SELECT 'r', attrelid, attnum, attacl, acldefault('c', relowner) FROM col WHERE attacl IS NOT NULL
      UNION ALL SELECT 'f', oid, 0, proacl, acldefault('f', proowner) FROM proc WHERE proacl IS NOT NULL
      UNION ALL SELECT 't', oid, 0, typacl, acldefault('T', typowner) FROM typ WHERE typacl IS NOT NULL
      UNION ALL SELECT 'd', oid, 0, defaclacl, CASE defaclnamespace WHEN 0 THEN
        acldefault(CASE defaclobjtype WHEN 'S' THEN 's' ELSE defaclobjtype END::"char", defaclrole)
        ELSE acldefault('c', defaclrole) END FROM pg_default_acl
    ) s, LATERAL (
      (SELECT grantee, privilege_type, is_grantable, '' AS word FROM aclexplode(acl)
       EXCEPT SELECT grantee, privilege_type, is_grantable, '' FROM aclexplode(usual))
      UNION ALL
      (SELECT grantee, privilege_type, false, 'no ' FROM aclexplode(usual)
       EXCEPT SELECT grantee, privilege_type, false, 'no ' FROM aclexplode(acl))
    ) x GROUP BY cat, id, sub, grantee
  ) y GROUP BY cat, id, sub
), columns AS (
  SELECT a.attrelid, jsonb_object_agg(a.attname, jsonb_object(ARRAY['type', format_type(a.atttypid, a.atttypmod)]
    || CASE WHEN a.attnotnull THEN '{nullable,no}'::text[] END
    || CASE WHEN d.adbin IS NULL THEN NULL WHEN a.attgenerated = '' THEN ARRAY['default', pg_get_expr(d.adbin, d.adrelid)]
      ELSE ARRAY['generated', pg_get_expr(d.adbin, d.adrelid) || CASE a.attgenerated WHEN 's' THEN ' STORED' ELSE '' END] END
    || CASE a.attidentity WHEN 'a' THEN '{identity,ALWAYS}'::text[] WHEN 'd' THEN '{identity,"BY DEFAULT"}' END
    || CASE WHEN a.attcollation <> t.typcollation THEN ARRAY['collation',
      (SELECT c.collname::text FROM pg_collation c WHERE c.oid = a.attcollation)] END
    || CASE WHEN a.attstorage <> t.typstorage THEN ARRAY['storage', a.attstorage::text] END
    || CASE WHEN a.attoptions IS NOT NULL OR a.attfdwoptions IS NOT NULL THEN
      ARRAY['options', array_to_string(a.attoptions || a.attfdwoptions, ', ')] END
  ) || COALESCE(p.grants, '{}')) AS columns
  FROM col a JOIN pg_type t ON t.oid = a.atttypid
  LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
  LEFT JOIN privileges p ON p.cat = 'r' AND p.id = a.attrelid AND p.sub = a.attnum
  GROUP BY a.attrelid
), object (kind, name, attributes, columns) AS (
  SELECT 'schema', jsonb_build_array(nsp), jsonb_object(ARRAY['owner', pg_get_userbyid(nspowner)]::text[]) || COALESCE(p.grants, '{}'),
    NULL::jsonb
  FROM ns LEFT JOIN privileges p ON p.cat = 'n' AND p.id = ns.oid
  WHERE NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_namespace'::regclass AND m.objid = ns.oid)
UNION ALL
  SELECT CASE r.k WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table' ELSE 'table' END,
    jsonb_build_array(r.nsp, r.name), jsonb_object(ARRAY[
      'owner', pg_get_userbyid(r.relowner),
      'persistence', CASE r.relpersistence WHEN 'u' THEN 'unlogged' END,
      'row security', CASE WHEN r.relrowsecurity THEN 'on' END,
      'force row security', CASE WHEN r.relforcerowsecurity THEN 'on' END,
      'options', (SELECT string_agg(o, ', ' ORDER BY o COLLATE "C") FROM unnest(r.reloptions) o),
      'partition by', CASE r.k WHEN 'p' THEN pg_get_partkeydef(r.oid) END,
      'inherits', (SELECT string_agg(i.inhparent::regclass::text, ', ' ORDER BY i.inhseqno) FROM pg_inherits i
        WHERE i.inhrelid = r.oid),
      'replica identity', CASE r.relreplident WHEN 'f' THEN 'full' WHEN 'n' THEN CASE WHEN r.k IN ('r', 'p') THEN 'nothing' END
        WHEN 'i' THEN (SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = r.oid AND indisreplident) END,
      'method', (SELECT amname FROM pg_am WHERE oid = r.relam AND amname <> 'heap'),
      'of type', CASE WHEN r.reloftype <> 0 THEN format_type(r.reloftype, NULL) END,
      'definition', CASE WHEN r.k IN ('v', 'm') THEN pg_get_viewdef(r.oid) END,
      'server', (SELECT s.srvname || COALESCE(' ' || array_to_string(f.ftoptions, ', '), '') FROM pg_foreign_table f
        JOIN pg_foreign_server s ON s.oid = f.ftserver WHERE f.ftrelid = r.oid)
    ]::text[]) || COALESCE(p.grants, '{}'), c.columns
  FROM rel r LEFT JOIN columns c ON c.attrelid = r.oid LEFT JOIN privileges p ON p.cat = 'r' AND p.id = r.oid AND p.sub = 0
  WHERE r.k <> 'S'
UNION ALL
  SELECT 'sequence', jsonb_build_array(r.nsp, r.name), jsonb_object(ARRAY[
      'owner', pg_get_userbyid(r.relowner),
      'definition', 'AS ' || format_type(s.seqtypid, NULL) || ' START ' || s.seqstart || ' INCREMENT ' || s.seqincrement
        || ' MINVALUE ' || s.seqmin || ' MAXVALUE ' || s.seqmax || ' CACHE ' || s.seqcache
        || CASE WHEN s.seqcycle THEN ' CYCLE' ELSE '' END,
      'persistence', CASE r.relpersistence WHEN 'u' THEN 'unlogged' END,
      'owner table', o.name, 'owner column', (SELECT a.attname FROM pg_attribute a WHERE a.attrelid = o.oid AND a.attnum = d.refobjsubid)
    ]::text[]) || COALESCE(p.grants, '{}'), NULL
  FROM rel r JOIN pg_sequence s ON s.seqrelid = r.oid
  LEFT JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass
    AND d.deptype IN ('a', 'i')
  LEFT JOIN rel o ON o.oid = d.refobjid
  LEFT JOIN privileges p ON p.cat = 'r' AND p.id = r.oid AND p.sub = 0
  WHERE d.objid IS NULL OR o.oid IS NOT NULL
UNION ALL
  SELECT 'constraint', jsonb_build_array(COALESCE(r.nsp, t.nsp), COALESCE(r.name, t.typname), c.conname),
    jsonb_object(ARRAY['definition', pg_get_constraintdef(c.oid)]::text[]), NULL
  FROM pg_constraint c LEFT JOIN rel r ON r.oid = c.conrelid LEFT JOIN typ t ON t.oid = c.contypid
  WHERE c.contype IN ('c', 'f', 'p', 'u', 'x') AND c.conparentid = 0 AND (r.oid IS NOT NULL OR t.oid IS NOT NULL)
UNION ALL
  SELECT 'index', jsonb_build_array(r.nsp, i.relname), jsonb_object(ARRAY['table', r.name,
    'definition', pg_get_indexdef(i.oid)]::text[]), NULL
  FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN rel r ON r.oid = x.indrelid
  WHERE NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.oid AND c.conrelid = x.indrelid AND c.contype IN ('p', 'u', 'x'))
UNION ALL
  SELECT 'trigger', jsonb_build_array(r.nsp, r.name, t.tgname), jsonb_object(ARRAY['definition', pg_get_triggerdef(t.oid),
    'enabled', CASE t.tgenabled WHEN 'D' THEN 'no' WHEN 'R' THEN 'replica' WHEN 'A' THEN 'always' END]::text[]), NULL
  FROM pg_trigger t JOIN rel r ON r.oid = t.tgrelid WHERE NOT t.tgisinternal
UNION ALL
  SELECT 'rule', jsonb_build_array(r.nsp, r.name, w.rulename), jsonb_object(ARRAY['definition', pg_get_ruledef(w.oid),
    'enabled', CASE w.ev_enabled WHEN 'D' THEN 'no' WHEN 'R' THEN 'replica' WHEN 'A' THEN 'always' END]::text[]), NULL
  FROM pg_rewrite w JOIN rel r ON r.oid = w.ev_class WHERE w.rulename <> '_RETURN'
UNION ALL
  SELECT 'policy', jsonb_build_array(r.nsp, r.name, p.polname), jsonb_object(ARRAY[
    'for', CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
    'kind', CASE WHEN NOT p.polpermissive THEN 'restrictive' END,
    'to', (SELECT string_agg(CASE o WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(o)::text END, ', '
      ORDER BY CASE o WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(o)::text END COLLATE "C") FROM unnest(p.polroles) o),
    'using', pg_get_expr(p.polqual, p.polrelid), 'check', pg_get_expr(p.polwithcheck, p.polrelid)]::text[]), NULL
  FROM pg_policy p JOIN rel r ON r.oid = p.polrelid
UNION ALL
  SELECT 'statistics', jsonb_build_array(ns.nsp, s.stxname), jsonb_object(ARRAY['owner', pg_get_userbyid(s.stxowner),
    'definition', pg_get_statisticsobjdef(s.oid)]::text[]), NULL
  FROM pg_statistic_ext s JOIN ns ON ns.oid = s.stxnamespace JOIN rel r ON r.oid = s.stxrelid
UNION ALL
  SELECT CASE f.prokind WHEN 'a' THEN 'aggregate' WHEN 'p' THEN 'procedure' ELSE 'function' END,
    jsonb_build_array(f.nsp, f.proname, oidvectortypes(f.proargtypes)), jsonb_object(ARRAY[
      'owner', pg_get_userbyid(f.proowner),
      'definition', CASE WHEN f.prokind = 'a' THEN (SELECT format('%s RETURNS %s SFUNC %s STYPE %s FINALFUNC %s COMBINEFUNC %s'
          ' INITCOND %L SORTOP %s KIND %s PARALLEL %s', pg_get_function_arguments(f.oid), pg_get_function_result(f.oid),
          g.aggtransfn, format_type(g.aggtranstype, NULL), g.aggfinalfn, g.aggcombinefn, g.agginitval, g.aggsortop::regoperator,
          g.aggkind, f.proparallel) FROM pg_aggregate g WHERE g.aggfnoid = f.oid)
        WHEN length(f.prosrc) > 8000 THEN replace(pg_get_functiondef(f.oid), f.prosrc, format(' %s characters, md5 %s ',
          length(f.prosrc), md5(f.prosrc)))
        ELSE pg_get_functiondef(f.oid) END
    ]::text[]) || COALESCE(p.grants, '{}'), NULL
  FROM proc f LEFT JOIN privileges p ON p.cat = 'f' AND p.id = f.oid
UNION ALL
  SELECT CASE t.typtype WHEN 'd' THEN 'domain' ELSE 'type' END, jsonb_build_array(t.nsp, t.typname), jsonb_object(ARRAY[
    'owner', pg_get_userbyid(t.typowner),
    'values', CASE t.typtype WHEN 'e' THEN (SELECT string_agg(quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder)
      FROM pg_enum e WHERE e.enumtypid = t.oid) END,
    'attributes', CASE t.typtype WHEN 'c' THEN (SELECT string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
      || CASE WHEN a.attcollation <> b.typcollation THEN ' COLLATE ' || c.collname ELSE '' END, ', ' ORDER BY a.attnum)
      FROM pg_attribute a JOIN pg_type b ON b.oid = a.atttypid LEFT JOIN pg_collation c ON c.oid = a.attcollation
      WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped) END,
    'type', CASE t.typtype WHEN 'd' THEN format_type(t.typbasetype, t.typtypmod) END,
    'nullable', CASE WHEN t.typnotnull THEN 'no' END,
    'default', pg_get_expr(t.typdefaultbin, 0),
    'collation', CASE WHEN t.typtype = 'd' AND t.typcollation <> b.typcollation THEN
      (SELECT c.collname FROM pg_collation c WHERE c.oid = t.typcollation) END,
    'range', CASE t.typtype WHEN 'r' THEN (SELECT format('SUBTYPE %s CLASS %s CANONICAL %s DIFF %s COLLATION %s',
      format_type(g.rngsubtype, NULL), o.opcname, g.rngcanonical, g.rngsubdiff, c.collname)
      FROM pg_range g JOIN pg_opclass o ON o.oid = g.rngsubopc LEFT JOIN pg_collation c ON c.oid = g.rngcollation
      WHERE g.rngtypid = t.oid) END
    ]::text[]) || COALESCE(p.grants, '{}'), NULL
  FROM typ t LEFT JOIN pg_type b ON b.oid = t.typbasetype LEFT JOIN privileges p ON p.cat = 't' AND p.id = t.oid
UNION ALL
  SELECT 'extension', jsonb_build_array(e.extname), jsonb_object(ARRAY['version', e.extversion, 'schema', n.nspname]::text[]), NULL
  FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
UNION ALL
  SELECT 'server', jsonb_build_array(s.srvname), jsonb_object(ARRAY['owner', pg_get_userbyid(s.srvowner), 'wrapper', w.fdwname,
    'options', (SELECT string_agg(o, ', ' ORDER BY o COLLATE "C") FROM unnest(s.srvoptions) o
      WHERE o !~* '^[^=]*(pass|secret|key|token)')]::text[]), NULL
  FROM pg_foreign_server s JOIN pg_foreign_data_wrapper w ON w.oid = s.srvfdw
UNION ALL
  SELECT 'default privileges', jsonb_build_array(COALESCE(n.nspname, ''), pg_get_userbyid(d.defaclrole),
    CASE d.defaclobjtype WHEN 'r' THEN 'tables' WHEN 'S' THEN 'sequences' WHEN 'f' THEN 'functions' WHEN 'T' THEN 'types'
      WHEN 'n' THEN 'schemas' ELSE 'large objects' END), p.grants, NULL
  FROM pg_default_acl d LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace JOIN privileges p ON p.cat = 'd' AND p.id = d.oid
  WHERE n.nspname IS DISTINCT FROM 'schemagate'
)
SELECT jsonb_agg(jsonb_build_array(kind, name, jsonb_strip_nulls(attributes)) || CASE WHEN columns IS NULL THEN '[]'
  ELSE jsonb_build_array(columns) END) FROM object
