"""The migrations that are measured, in each tool's own format, and psql's script that does the same."""

import hashlib
import json
from pathlib import Path

STATEMENTS_A_TABLE = 5
FIRST_MILLISECOND = 1_700_000_000_000


def statement(number: int) -> str:
    """One small migration. Each five of them make a table and change it."""
    table = f'"item_{number // STATEMENTS_A_TABLE:04}"'
    return [
        f'CREATE TABLE {table} (\n\t"id" bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,\n\t"name" text NOT NULL\n);',
        f'ALTER TABLE {table} ADD COLUMN "price" numeric(10, 2);',
        f'CREATE INDEX ON {table} USING btree ("name");',
        f"INSERT INTO {table} (\"name\", \"price\") VALUES ('first', 1.50), ('second', 2.75);",
        f'ALTER TABLE {table} ALTER COLUMN "price" SET DEFAULT 0;',
    ][number % STATEMENTS_A_TABLE]


def tables(count: int) -> int:
    """How many tables that many migrations leave behind."""
    return -(-count // STATEMENTS_A_TABLE)


def name(number: int) -> str:
    return f"step_{number:04}"


def sql(folder: Path, count: int) -> Path:
    """Numbered files, as for schemagate's format `sql`."""
    return files(folder, {f"{n + 1:05}_{name(n)}.sql": statement(n) + "\n" for n in range(count)})


def drizzle(folder: Path, count: int) -> Path:
    """drizzle-kit's classic folder: the files, their snapshots (which only drizzle-kit reads) and the journal."""
    return drizzle_of(folder, [statement(n) for n in range(count)])


def drizzle_of(folder: Path, statements: list[str]) -> Path:
    """The same for given statements, one a file."""
    count = len(statements)
    tags = [f"{n:04}_{name(n)}" for n in range(count)]
    entries = [
        {"idx": n, "version": "7", "when": FIRST_MILLISECOND + n * 1000, "tag": tag, "breakpoints": True}
        for n, tag in enumerate(tags)
    ]
    journal = {"version": "7", "dialect": "postgresql", "entries": entries}
    files(folder, {f"{tag}.sql": statements[n] for n, tag in enumerate(tags)})
    files(folder / "meta", {f"{n:04}_snapshot.json": "{}" for n in range(count)})
    return files(folder, {"meta/_journal.json": json.dumps(journal, indent=2)})


def script_sql(file: Path, count: int) -> Path:
    """psql's script for the numbered files: the same transactions and rows of the same history table."""
    begin = (
        "CREATE SCHEMA schemagate;\n"
        "CREATE TABLE schemagate.history (version text PRIMARY KEY, name text NOT NULL, checksum text NOT NULL, "
        "applied_at timestamptz NOT NULL DEFAULT now(), duration_ms bigint NOT NULL, "
        "serial bigint GENERATED ALWAYS AS IDENTITY);\n"
    )
    rows = [
        "INSERT INTO schemagate.history (version, name, checksum, duration_ms) "
        f"VALUES ('{n + 1:05}', '{name(n)}', '{_checksum(statement(n) + chr(10))}', 1);"
        for n in range(count)
    ]
    return _script(file, begin, rows)


def script_drizzle(file: Path, count: int) -> Path:
    """The same for the Drizzle folder."""
    begin = (
        "CREATE SCHEMA drizzle;\n"
        "CREATE TABLE drizzle.__drizzle_migrations (id SERIAL PRIMARY KEY, hash text NOT NULL, created_at bigint);\n"
    )
    rows = [
        "INSERT INTO drizzle.__drizzle_migrations (hash, created_at) "
        f"VALUES ('{_checksum(statement(n))}', {FIRST_MILLISECOND + n * 1000});"
        for n in range(count)
    ]
    return _script(file, begin, rows)


def _script(file: Path, begin: str, rows: list[str]) -> Path:
    steps = [f"BEGIN;\n{statement(n)}\n{row}\nCOMMIT;\n" for n, row in enumerate(rows)]
    file.write_text(begin + "".join(steps))
    return file


def files(folder: Path, texts: dict[str, str]) -> Path:
    """Writes files by name; folders are made."""
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in texts.items():
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_text(text)
    return folder


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
