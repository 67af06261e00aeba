"""Measures schemagate beside psql and other tools, prints tables, and ends with 1 where a bar is missed.

    tests/bench/run [--rounds N] [GROUP ...]

Groups: nothing, apply, link, many, serve; all of them by default. `--rounds` overrides how often each is measured.
"""

import argparse
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import folders
import serving
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
# Milliseconds.
ANSWER_BAR = 2.0
PROBE_BAR = 10.0
LISTEN_BAR = 100.0
# KiB that a hundred thousand requests may leave behind.
GROWTH_BAR = 256


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


def serve(bench: Bench) -> None:
    """The sidecar's answers, its memory, and how soon it knows."""
    answers(bench)
    probes(bench)
    flips(bench)


def answers(bench: Bench) -> None:
    busy = serving.busy_folder(bench.scratch / "serve-busy")
    small = folders.sql(bench.scratch / "serve-small", NOTHING_FILES)
    log = bench.scratch / "serve.log"
    lines = [[f"{serving.REQUESTS_A_SECOND} requests/s on /readyz", "p50", "p99", "bar", "rate", "memory", "bar"]]
    for label, folder in [("nothing to do", small), ("a migration running", busy)]:
        bench.server.renew("serve")
        settings = {"SCHEMAGATE_AUTO_MIGRATE": "true", "SCHEMAGATE_POLL_INTERVAL": "30ms"}
        sidecar = serving.Sidecar.start(bench.server.url("serve"), folder, log, **settings)
        try:
            wanted = "migrating" if folder == busy else "ready"
            for _ in range(600):
                if sidecar.status()["state"] == wanted:
                    break
                time.sleep(0.05)
            times = serving.load(bench.scratch, sidecar, "/readyz")
            if sidecar.status()["state"] != wanted:
                raise tools.Failed(f"the sidecar is no longer {wanted}")
            memory = sidecar.resident_kib()
            lines.append(
                [
                    f"sidecar, {label}",
                    f"{times['50']:.2f} ms",
                    f"{times['99']:.2f} ms",
                    bench.bar(f"/readyz, {label}: p99 in ms", times["99"], ANSWER_BAR, "{:.1f} ms"),
                    f"{times['rate']:.0f}/s",
                    f"{memory / 1024:.1f} MiB",
                    bench.bar(f"sidecar, {label}: memory in KiB", memory, MEMORY_BAR, "{:.0f} KiB"),
                ]
            )
            if folder == small:
                grown(bench, sidecar)
        finally:
            sidecar.stop()
    print_table(lines)


def grown(bench: Bench, sidecar: serving.Sidecar) -> None:
    """An hour's polls (one each 30 ms here) and scrapes, and very many requests."""
    lines = [[f"{serving.REQUESTS} requests each, while polling", "memory", "bar", "growth", "bar", "open files", "bar"]]
    files = sidecar.open_files()
    for path in ["/readyz", "/metrics", "/status", "/"]:
        before = sidecar.resident_kib()
        serving.many_requests(sidecar, path, serving.REQUESTS)
        memory, more = sidecar.resident_kib(), sidecar.open_files() - files
        lines.append(
            [
                path,
                f"{memory / 1024:.2f} MiB",
                bench.bar(f"{path}: memory in KiB", memory, MEMORY_BAR, "{:.0f} KiB"),
                f"{memory - before} KiB",
                # The first path warms up what the others use too.
                bench.bar(f"{path}: growth in KiB", memory - before, GROWTH_BAR if path != "/readyz" else None, "{:.0f} KiB"),
                f"{more:+}",
                bench.bar(f"{path}: further open files", more, 0, "{:.0f}"),
            ]
        )
    print_table(lines)


def probes(bench: Bench) -> None:
    small = folders.sql(bench.scratch / "serve-small", NOTHING_FILES)
    bench.server.renew("serve")
    sidecar = serving.Sidecar.start(
        bench.server.url("serve"), small, bench.scratch / "serve.log", SCHEMAGATE_AUTO_MIGRATE="true"
    )
    try:
        sidecar.wait_for("/readyz", 200)
        tool = Tool("schemagate probe", [tools.SCHEMAGATE, "probe"], {"SCHEMAGATE_LISTEN": f"127.0.0.1:{sidecar.port}"})
        samples = [bench.stopwatch.run(tool, "") for _ in range(41)][1:]
        time_ms = median(sample.wall for sample in samples)
        print_table(
            [
                ["A health check (median of 40)", "time", "bar", "cpu", "memory"],
                [
                    tool.label,
                    f"{time_ms:.2f} ms",
                    bench.bar("probe: time in ms", time_ms, PROBE_BAR, "{:.0f} ms"),
                    f"{median(sample.cpu for sample in samples):.2f} ms",
                    f"{max(sample.peak for sample in samples) / 1024:.1f} MiB",
                ],
            ]
        )
    finally:
        sidecar.stop()


def flips(bench: Bench) -> None:
    server = Server(bench.scratch / "flip", "track_commit_timestamp=on")
    small = folders.sql(bench.scratch / "serve-flip", 20)
    lines = [[f"From the last commit to ready, {serving.SIDECARS} sidecars", "median", "last", "bar"]]
    try:
        for watch, bar in [("listen", LISTEN_BAR), ("poll", float(serving.POLL_MS))]:
            times = serving.flip(server, bench.scratch, small, watch)
            lines.append(
                [
                    f"{watch}" + (f", an interval of {serving.POLL_MS} ms" if watch == "poll" else ""),
                    f"{median(times):.1f} ms",
                    f"{times[-1]:.1f} ms",
                    bench.bar(f"{watch}: last of the sidecars ready after ms", times[-1], bar, "{:.0f} ms"),
                ]
            )
    finally:
        server.stop()
    print_table(lines)


GROUPS: dict[str, Callable[[Bench], None]] = {
    "nothing": nothing,
    "apply": apply,
    "link": link,
    "many": many,
    "serve": serve,
}


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
