"""The other tools: the folder that each reads, how it is called, and how to see that it did its work."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import folders
import tools
from tools import BUILT, ROOT, Tool

GO = BUILT / "go"
GOLANG_MIGRATE = ROOT / "target/peers/migrate"
REFINERY = BUILT / "refinery/bin/refinery"
NODE_PG_MIGRATE = ROOT / "tests/bench/peers/node_modules/node-pg-migrate/bin/node-pg-migrate.js"
ALEMBIC = ROOT / "tests/peers/alembic/.venv/bin/alembic"
FLYWAY = BUILT / "flyway"

Files = list[tuple[str, str]]


@dataclass(frozen=True)
class Peer:
    """One tool. `history` is an SQL expression that counts its migrations in a database of its own."""

    name: str
    write: Callable[[Path, Files], Path]
    tool: Callable[[Path], Tool]
    history: str
    # What it is installed as, for its size.
    installed: list[Path]
    # Starting it costs tenths of a second and tens of megabytes, so that a herd of it is a small one.
    heavy: bool = False

    def folder(self, scratch: Path, label: str, files: Files) -> Path:
        return self.write(scratch / f"{label}-{self.name}", files)


def small(count: int) -> Files:
    """The migrations of the other measurements."""
    return [(folders.name(number), folders.statement(number)) for number in range(count)]


def _dbmate(folder: Path, files: Files) -> Path:
    return folders.files(folder, {f"{n:05}_{name}.sql": f"-- migrate:up\n{sql}\n\n-- migrate:down\n" for n, name, sql in _numbered(files)})


def _plain(folder: Path, files: Files) -> Path:
    return folders.files(folder, {f"{n:05}_{name}.sql": sql + "\n" for n, name, sql in _numbered(files)})


def _refinery(folder: Path, files: Files) -> Path:
    return folders.files(folder, {f"V{n}__{name}.sql": sql + "\n" for n, name, sql in _numbered(files)})


def _golang_migrate(folder: Path, files: Files) -> Path:
    return folders.files(folder, {f"{n:05}_{name}.up.sql": sql + "\n" for n, name, sql in _numbered(files)})


def _goose(folder: Path, files: Files) -> Path:
    return folders.files(folder, {f"{n:05}_{name}.sql": f"-- +goose Up\n{sql}\n" for n, name, sql in _numbered(files)})


def _tern(folder: Path, files: Files) -> Path:
    # Curly brackets are a template's.
    return folders.files(folder, {f"{n:05}_{name}.sql": sql + "\n" for n, name, sql in _numbered(files)})


def _node_pg_migrate(folder: Path, files: Files) -> Path:
    first = folders.FIRST_MILLISECOND
    return folders.files(folder, {f"{first + n}_{name}.sql": f"-- Up Migration\n{sql}\n" for n, name, sql in _numbered(files)})


def _flyway(folder: Path, files: Files) -> Path:
    return folders.files(folder, {f"V{n}__{name}.sql": sql + "\n" for n, name, sql in _numbered(files)})


def _drizzle(folder: Path, files: Files) -> Path:
    return folders.drizzle_of(folder, [sql for _, sql in files])


def _alembic(folder: Path, files: Files) -> Path:
    revisions = {}
    for n, name, sql in _numbered(files):
        # As a file of SQL: what a revision made by hand would run. `exec_driver_sql` leaves colons alone.
        if len(sql) > 1 << 20:
            (folder / "sql").mkdir(parents=True, exist_ok=True)
            (folder / "sql" / name).write_text(sql)
            text = f"open({str(folder / 'sql' / name)!r}).read()"
        else:
            text = repr(sql)
        before = repr(f"{n - 1:05}") if n > 1 else None
        revisions[f"versions/{n:05}_{name}.py"] = (
            f"from alembic import op\n\nrevision = '{n:05}'\ndown_revision = {before}\n\n\n"
            f"def upgrade():\n    op.get_bind().exec_driver_sql({text})\n"
        )
    own = ROOT / "tests/peers/alembic/migrations"
    folders.files(folder / "migrations", revisions)
    for file in ["env.py", "script.py.mako"]:
        (folder / "migrations" / file).write_text((own / file).read_text())
    (folder / "alembic.ini").write_text((ROOT / "tests/peers/alembic/alembic.ini").read_text())
    return folder


def _numbered(files: Files) -> list[tuple[int, str, str]]:
    return [(number + 1, name, sql) for number, (name, sql) in enumerate(files)]


def _node_pg_tool(folder: Path) -> Tool:
    words = ["node", NODE_PG_MIGRATE, "up", "-m", folder, "--migration-file-language", "sql"]
    return Tool("node-pg-migrate", words, {"DATABASE_URL": "{url}"})


def _flyway_tool(folder: Path) -> Tool:
    # A small heap would be unfair, the default takes a quarter of the machine.
    words = ["java", "-Xmx2g", "-cp", f"{FLYWAY}/*:{FLYWAY}", "Migrate", "{url}", folder]
    return Tool("Flyway", words)


def _one(table: str, column: str = "*") -> str:
    return f"(SELECT count({column}) FROM {table})"


PEERS = [
    Peer("dbmate", _dbmate, tools.dbmate, _one("public.schema_migrations"), [tools.DBMATE]),
    Peer("sqlx-cli", _plain, tools.sqlx, _one("public._sqlx_migrations"), [tools.SQLX]),
    Peer(
        "refinery",
        _refinery,
        lambda folder: Tool("refinery", [REFINERY, "migrate", "-e", "URL", "-p", folder], {"URL": "{url}"}),
        _one("public.refinery_schema_history"),
        [REFINERY],
    ),
    Peer(
        "golang-migrate",
        _golang_migrate,
        lambda folder: Tool("golang-migrate", [GOLANG_MIGRATE, "-path", folder, "-database", "{url}?sslmode=disable", "up"]),
        "(SELECT version FROM public.schema_migrations WHERE NOT dirty)",
        [GOLANG_MIGRATE],
    ),
    Peer(
        "goose",
        _goose,
        lambda folder: Tool("goose", [GO / "goose", "-dir", folder, "postgres", "{url}", "up"]),
        "(SELECT count(*) FROM public.goose_db_version WHERE version_id > 0)",
        [GO / "goose"],
    ),
    Peer(
        "tern",
        _tern,
        lambda folder: Tool("tern", [GO / "tern", "migrate", "-m", folder, "--conn-string", "{url}"]),
        "(SELECT version FROM public.schema_version)",
        [GO / "tern"],
    ),
    Peer(
        "drizzle-orm",
        _drizzle,
        tools.drizzle,
        _one("drizzle.__drizzle_migrations"),
        [tools.NODE_PEER / "node_modules/drizzle-orm", tools.NODE_PEER / "node_modules/pg"],
        heavy=True,
    ),
    Peer(
        "node-pg-migrate",
        _node_pg_migrate,
        _node_pg_tool,
        _one("public.pgmigrations"),
        [ROOT / "tests/bench/peers/node_modules/node-pg-migrate"],
        heavy=True,
    ),
    Peer(
        "Alembic",
        _alembic,
        lambda folder: Tool("Alembic", [ALEMBIC, "upgrade", "head"], {"DATABASE_URL": "{url}"}, folder),
        "(SELECT version_num::int FROM public.alembic_version)",
        [ROOT / "tests/peers/alembic/.venv/lib"],
        heavy=True,
    ),
    Peer("Flyway", _flyway, _flyway_tool, "(SELECT count(*) FROM public.flyway_schema_history WHERE success)", [FLYWAY], heavy=True),
]


def versions() -> list[str]:
    """What is measured besides what `tools.versions` tells."""
    lock = json.loads((ROOT / "tests/bench/peers/package-lock.json").read_text())
    requirements = (ROOT / "tests/peers/alembic/requirements.txt").read_text().split()
    alembic = next(word for word in requirements if word.startswith("alembic=="))
    return [
        tools.first_line([REFINERY, "--version"]),
        "golang-migrate " + tools.first_line(["cat", GOLANG_MIGRATE.with_name(".installed")]),
        "goose " + tools.first_line(["cat", GO / "goose.version"]),
        "tern " + tools.first_line(["cat", GO / "tern.version"]),
        "node-pg-migrate " + lock["packages"]["node_modules/node-pg-migrate"]["version"],
        alembic.replace("==", " "),
        "Flyway " + tools.first_line(["cat", FLYWAY / "version"]),
    ]


def installed_bytes(peer: Peer) -> int:
    """What the tool's own files take; an interpreter or a JVM comes besides."""
    total = 0
    for path in peer.installed:
        files = [path] if path.is_file() else path.rglob("*")
        total += sum(os.lstat(file).st_size for file in files if file.is_file() and not file.is_symlink())
    return total
