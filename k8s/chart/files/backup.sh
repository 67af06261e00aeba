#!/bin/sh
# A dump of the database on a volume, noted in schemagate.journal when it is whole. What is noted is the time at which the
# dump began: what was written since is not in it.
set -eu
umask 077
query() { psql --no-psqlrc --no-password --quiet --tuples-only --no-align --set ON_ERROR_STOP=1 --dbname "$DATABASE_URL" "$@"; }

began=$(query --command 'SELECT pg_catalog.clock_timestamp()')
file="$BACKUP_DIR/$(date -u +%Y%m%dT%H%M%SZ).dump"
pg_dump --no-password ${DATABASE_ROLE:+--role="$DATABASE_ROLE"} --format=custom --file="$file.part" --dbname="$DATABASE_URL"
# It can be read to its end.
pg_restore --file=/dev/null "$file.part"
sync
mv "$file.part" "$file"
bytes=$(wc -c <"$file")
echo "backup: $file, $bytes bytes, as of $began"

query --set role="${DATABASE_ROLE:-none}" --set began="$began" --set file="$file" --set bytes="$bytes" <<'SQL'
SELECT pg_catalog.set_config('role', :'role', false) \g /dev/null
SELECT pg_catalog.to_regclass('schemagate.journal') IS NOT NULL AS journal \gset
\if :journal
INSERT INTO schemagate.journal (at, run, history, event, actor, detail)
VALUES (:'began', '00000000-0000-0000-0000-000000000000', 'backup', 'backup', SESSION_USER,
        pg_catalog.jsonb_build_object('file', :'file', 'bytes', :'bytes'::bigint));
\else
\echo backup: not noted, for schemagate has not run here yet and nothing asks for a backup before it has
\endif
SQL

find "$BACKUP_DIR" -name '*.dump' -mtime "+$BACKUP_DAYS" -delete
find "$BACKUP_DIR" -name '*.part' -mtime +1 -delete
