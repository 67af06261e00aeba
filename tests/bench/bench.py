"""Measures schemagate beside psql and other tools, prints tables, and ends with 1 where a bar is missed.

    tests/bench/run [--rounds N] [GROUP ...]

Groups: nothing, apply, link, many; all of them by default. `--rounds` overrides how often each is measured.
"""

import argparse
import os
import platform
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import folders
import tools
from server import Link, Server
from tools import Sample, Stopwatch, Tool

NOTHING_FILES = 50
APPLIED_FILES = 500
MANY_FILES = [100, 1000, 10000]
ONE_WAY_US = 500
SCRATCH_BYTES = 2 << 30

NOTHING_BAR = 0.6
EACH_BAR = 1.0
ALL_BAR = 0.9
LINK_BAR = 0.4
MEMORY_BAR = 6 * 1024
MANY_CPU_BAR = 100.0
# How much more a file may cost among ten thousand than among a thousand.
LINEAR_BAR = 1.5


@dataclass
class Row:
    """A tool in a table, and the bars it has to keep."""

    tool: Tool
    ratio: float | None = None
    memory: int | None = None


@dataclass
class Bench:
    """What all groups use."""

    server: Server
    stopwatch: Stopwatch
    scratch: Path
    program: Path
    rounds: int | None
    missed: list[str]

    def group(self, title: str, rows: list[Row], rounds: int, port: int | None, check: str | None) -> None:
        """Measures rows side by side and prints them. The first row is what the others are compared with.

        Each row has a database of its own. With `check` every run begins with an empty one, and the statement must
        answer `ok` behind it.
        """
        rounds = self.rounds or rounds
        samples: list[list[Sample]] = [[] for _ in rows]
        for turn in range(-1, rounds):
            for index in order(len(rows), turn):
                database = database_of(index)
                if check:
                    self.server.renew(database)
                sample = self.stopwatch.run(rows[index].tool, self.server.url(database, port))
                if check and (answer := self.server.ask(check, database)) != "ok":
                    raise tools.Failed(f"{rows[index].tool.label}: {answer}")
                # The first turn warms up.
                if turn >= 0:
                    samples[index].append(sample)
        self.print_group(f"{title} (median of {rounds})", rows, samples)

    def print_group(self, title: str, rows: list[Row], samples: list[list[Sample]]) -> None:
        lines = [[title, "time", "ratio", "bar", "cpu", "memory", "bar"]]
        for row, own in zip(rows, samples, strict=True):
            ratio = median(sample.wall / first.wall for sample, first in zip(own, samples[0], strict=True))
            peak = max(sample.peak for sample in own)
            lines.append(
                [
                    row.tool.label,
                    f"{median(sample.wall for sample in own):.2f} ms",
                    f"{ratio:.2f}",
                    self.bar(f"{title}: {row.tool.label}: ratio", ratio, row.ratio, "{:.2f}"),
                    f"{median(sample.cpu for sample in own):.2f} ms",
                    f"{peak / 1024:.1f} MiB",
                    self.bar(f"{title}: {row.tool.label}: memory in KiB", peak, row.memory, "{:.0f} KiB"),
                ]
            )
        print_table(lines)

    def bar(self, what: str, value: float, bar: float | None, form: str) -> str:
        """The bar's cell; a missed one is remembered."""
        if bar is None:
            return ""
        text = form.format(bar)
        if value <= bar:
            return f"<= {text} kept"
        self.missed.append(f"{what} is {form.format(value)}, the bar is {text}")
        return f"<= {text} MISSED"


def database_of(row: int) -> str:
    return f"bench_{row}"


def order(count: int, turn: int) -> list[int]:
    """Who runs when: each turn another one begins, and every second one goes backwards."""
    indices = [(index + turn // 2) % count for index in range(count)]
    return indices[::-1] if turn % 2 else indices


def print_table(lines: list[list[str]]) -> None:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    print()
    for number, line in enumerate(lines):
        cells = [line[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        print("  ".join(cells).rstrip())
        if number == 0:
            print("-" * (sum(widths) + 2 * (len(widths) - 1)))
    sys.stdout.flush()


def nothing(bench: Bench) -> None:
    """The common case: everything is applied already."""
    count = NOTHING_FILES
    sql = folders.sql(bench.scratch / "nothing-sql", count)
    drizzle = folders.drizzle(bench.scratch / "nothing-drizzle", count)
    dbmate = folders.dbmate(bench.scratch / "nothing-dbmate", count)
    for title, ours, peers in [
        (f"Nothing pending, {count} numbered files", sql, [tools.dbmate(dbmate), tools.sqlx(sql)]),
        (f"Nothing pending, Drizzle folder of {count}", drizzle, [tools.drizzle(drizzle)]),
    ]:
        rows = [
            Row(tools.psql_question()),
            Row(tools.schemagate("migrate", ours), ratio=NOTHING_BAR, memory=MEMORY_BAR),
            *[Row(peer) for peer in peers],
        ]
        # The first run of each applies.
        for index, row in enumerate(rows):
            bench.server.renew(database_of(index))
            bench.stopwatch.run(row.tool, bench.server.url(database_of(index)))
        bench.group(title, rows, 40, None, None)


def apply(bench: Bench) -> None:
    """Many small migrations."""
    rows_of_sql, rows_of_drizzle = applying(bench, EACH_BAR, ALL_BAR)
    count = APPLIED_FILES
    bench.group(f"{count} numbered files", rows_of_sql, 9, None, applied("schemagate.history"))
    bench.group(f"Drizzle folder of {count}", rows_of_drizzle, 9, None, applied("drizzle.__drizzle_migrations"))


def link(bench: Bench) -> None:
    """The same over a slow link."""
    slow = Link(bench.program, bench.server.port, ONE_WAY_US)
    try:
        rows_of_sql, rows_of_drizzle = applying(bench, LINK_BAR, LINK_BAR)
        where = f"over a link of {slow.round_trip():.2f} ms round trip"
        count = APPLIED_FILES
        bench.group(f"{count} numbered files {where}", rows_of_sql, 3, slow.port, applied("schemagate.history"))
        bench.group(
            f"Drizzle folder of {count} {where}", rows_of_drizzle, 3, slow.port, applied("drizzle.__drizzle_migrations")
        )
    finally:
        slow.stop()


def applying(bench: Bench, each: float, whole: float) -> tuple[list[Row], list[Row]]:
    count = APPLIED_FILES
    scratch = bench.scratch
    sql = folders.sql(scratch / "apply-sql", count)
    drizzle = folders.drizzle(scratch / "apply-drizzle", count)
    dbmate = folders.dbmate(scratch / "apply-dbmate", count)

    def ours(folder: Path) -> list[Row]:
        return [
            Row(tools.schemagate("each", folder), ratio=each),
            Row(tools.schemagate("all in one", folder, SCHEMAGATE_TRANSACTION="all"), ratio=whole),
        ]

    return (
        [
            Row(tools.psql_script(folders.script_sql(scratch / "sql.sql", count))),
            *ours(sql),
            Row(tools.dbmate(dbmate)),
            Row(tools.sqlx(sql)),
        ],
        [
            Row(tools.psql_script(folders.script_drizzle(scratch / "drizzle.sql", count))),
            *ours(drizzle),
            Row(tools.drizzle(drizzle)),
        ],
    )


def applied(table: str) -> str:
    """Whether everything is there: the tables, and the rows of whichever history the tool keeps."""
    histories = [table, "public.schema_migrations", "public._sqlx_migrations"]
    rows = " + ".join(
        "coalesce((xpath('/row/c/text()', query_to_xml("
        f"'SELECT count(*) AS c FROM ' || to_regclass('{history}'), false, true, '')))[1]::text::int, 0)"
        for history in histories
    )
    found = f"(SELECT count(*) FROM pg_class WHERE relname LIKE 'item\\_%' AND relkind = 'r'), {rows}"
    expected = f"{folders.tables(APPLIED_FILES)}, {APPLIED_FILES}"
    return f"SELECT CASE WHEN ({found}) = ({expected}) THEN 'ok' ELSE concat_ws(' tables, rows ', {found}) END"


def many(bench: Bench) -> None:
    """Very many files, all applied: processor time of the client alone."""
    rounds = bench.rounds or 15
    lines = [[f"Nothing pending, many files (median of {rounds})", "cpu", "bar", "time", "memory"]]
    for kind, make in [("numbered files", folders.sql), ("Drizzle folder", folders.drizzle)]:
        cpu: dict[int, float] = {}
        for count in MANY_FILES:
            tool = tools.schemagate("migrate", make(bench.scratch / f"many-{make.__name__}-{count}", count))
            samples = many_samples(bench, tool, count, rounds)
            cpu[count] = median(sample.cpu for sample in samples)
            what = f"{count} {kind}"
            bar = MANY_CPU_BAR if count == MANY_FILES[-1] else None
            lines.append(
                [
                    f"schemagate, {what}",
                    f"{cpu[count]:.2f} ms",
                    bench.bar(f"{what}, all applied: cpu in ms", cpu[count], bar, "{:.0f} ms"),
                    f"{median(sample.wall for sample in samples):.2f} ms",
                    f"{max(sample.peak for sample in samples) / 1024:.1f} MiB",
                ]
            )
        few, more, most = MANY_FILES
        before = (cpu[more] - cpu[few]) / (more - few)
        after = (cpu[most] - cpu[more]) / (most - more)
        lines.append(
            [
                f"a further file, beyond {few} and beyond {more}",
                f"{before * 1000:.1f}, {after * 1000:.1f} us",
                bench.bar(f"{kind}: growth", after / before, LINEAR_BAR, "{:.1f} x"),
                "",
                "",
            ]
        )
    print_table(lines)


def many_samples(bench: Bench, tool: Tool, count: int, rounds: int) -> list[Sample]:
    bench.server.renew(database_of(0))
    url = bench.server.url(database_of(0))
    last = f"{count:05}" if "sql" in tool.environment["SCHEMAGATE_DIR"].split("-") else f"{count - 1:04}_{folders.name(count - 1)}"
    baseline = Tool("schemagate, baseline", [tools.SCHEMAGATE, "baseline", "--to", last], tool.environment)
    bench.stopwatch.run(baseline, url)
    return [bench.stopwatch.run(tool, url) for _ in range(rounds + 1)][1:]


GROUPS: dict[str, Callable[[Bench], None]] = {"nothing": nothing, "apply": apply, "link": link, "many": many}


def print_machine(bench: Bench) -> None:
    model = next((line.split(": ")[1] for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "")
    load = " ".join(f"{number:.1f}" for number in os.getloadavg())
    print(f"{model or platform.machine()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}, load {load}")
    print(f"PostgreSQL {bench.server.ask('SHOW server_version')}, fsync=off, autovacuum=off, in {bench.scratch.parent}, on the loopback")
    for version in tools.versions():
        print(version)


def memory_or_disk() -> str:
    """A folder in memory where there is room: ext4 does not use an inode again for some seconds after its file was
    deleted, and looks through all such inodes at every new file. Dropping databases makes hundreds of them, and then
    creating a table cost up to ten times as much, whichever tool did it.
    """
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free >= SCRATCH_BYTES
    return str(memory) if roomy else "/tmp"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("group", nargs="*", choices=[[], *GROUPS])
    arguments = parser.parse_args()
    # A way through `finally`.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    scratch = Path(tempfile.mkdtemp(prefix="schemagate-bench.", dir=memory_or_disk()))
    scratch.chmod(0o755)
    server = None
    try:
        server = Server(scratch)
        bench = Bench(server, Stopwatch(scratch), scratch, tools.BUILT / "proxy", arguments.rounds, [])
        print_machine(bench)
        for name in arguments.group or GROUPS:
            GROUPS[name](bench)
    except tools.Failed as failed:
        print(f"bench: {failed}", file=sys.stderr)
        return 1
    finally:
        if server is not None:
            server.stop()
        shutil.rmtree(scratch, ignore_errors=True)
    print()
    for missed in bench.missed:
        print(f"MISSED: {missed}")
    if not bench.missed:
        print("every bar is kept")
    return 1 if bench.missed else 0


if __name__ == "__main__":
    sys.exit(main())
