"""Runs of `migrate`, side by side with psql and the other tools: nothing to do, many small migrations, very many files."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import folders
import tools
from measuring import Bench, Row, database_of, print_table
from peers import PEERS, Peer, small
from server import Link
from tools import Sample, Tool

NOTHING_FILES = 50
APPLIED_FILES = 500
MANY_FILES = [100, 1000, 10000]
ONE_WAY_US = 500

NOTHING_BAR = 0.6
EACH_BAR = 1.0
ALL_BAR = 0.9
LINK_BAR = 0.4
# KiB.
MEMORY_BAR = 6 * 1024
# Milliseconds.
MANY_CPU_BAR = 100.0
# How much more a file may cost among ten thousand than among a thousand.
LINEAR_BAR = 1.5


def nothing(bench: Bench) -> None:
    """The common case: everything is applied already."""
    count = NOTHING_FILES
    ours = folders.sql(bench.scratch / "nothing-sql", count)
    drizzle = folders.drizzle(bench.scratch / "nothing-drizzle", count)
    others = [peer.tool(peer.folder(bench.scratch, "nothing", small(count))) for peer in PEERS]
    for title, own, more in [
        (f"Nothing pending, {count} numbered files", ours, others),
        (f"Nothing pending, Drizzle folder of {count}", drizzle, []),
    ]:
        rows = [
            Row(tools.psql_question()),
            Row(tools.schemagate("migrate", own), ratio=NOTHING_BAR, memory=MEMORY_BAR),
            *[Row(tool) for tool in more],
        ]
        # The first run of each applies.
        for index, row in enumerate(rows):
            bench.server.renew(database_of(index))
            bench.stopwatch.run(row.tool, bench.server.url(database_of(index)))
        samples = bench.group(title, rows, 40, None)
        if more:
            bench.matrix.times(f"nothing pending, {count} files: time", samples)
            bench.matrix.peaks(f"nothing pending, {count} files: peak memory", samples)


def apply(bench: Bench) -> None:
    """Many small migrations."""
    count = APPLIED_FILES
    rows_of_sql, rows_of_drizzle = applying(bench, EACH_BAR, ALL_BAR)
    rows_of_sql += [
        Row(peer.tool(peer.folder(bench.scratch, "apply", small(count))), check=applied(peer.history)) for peer in PEERS
    ]
    samples = bench.group(f"{count} numbered files", rows_of_sql, 7, None)
    # Without our second row, all in one transaction.
    bench.matrix.times(f"{count} small migrations: time", samples[:2] + samples[3:])
    bench.group(f"Drizzle folder of {count}", rows_of_drizzle, 9, None)


def link(bench: Bench) -> None:
    """The same over a slow link."""
    slow = Link(bench.program, bench.server.port, ONE_WAY_US)
    try:
        rows_of_sql, rows_of_drizzle = applying(bench, LINK_BAR, LINK_BAR)
        where = f"over a link of {slow.round_trip():.2f} ms round trip"
        count = APPLIED_FILES
        for peer in PEERS[:2]:
            tool = peer.tool(peer.folder(bench.scratch, "link", small(count)))
            rows_of_sql.append(Row(tool, check=applied(peer.history)))
        bench.group(f"{count} numbered files {where}", rows_of_sql, 3, slow.port)
        bench.group(f"Drizzle folder of {count} {where}", rows_of_drizzle, 3, slow.port)
    finally:
        slow.stop()


def applying(bench: Bench, each: float, whole: float) -> tuple[list[Row], list[Row]]:
    count = APPLIED_FILES
    scratch = bench.scratch
    sql = folders.sql(scratch / "apply-sql", count)
    drizzle = folders.drizzle(scratch / "apply-drizzle", count)

    def ours(script: Path, folder: Path, table: str) -> list[Row]:
        check = applied(f"(SELECT count(*) FROM {table})")
        return [
            Row(tools.psql_script(script), check=check),
            Row(tools.schemagate("each", folder), ratio=each, check=check),
            Row(tools.schemagate("all in one", folder, SCHEMAGATE_TRANSACTION="all"), ratio=whole, check=check),
        ]

    drizzle_orm = next(peer for peer in PEERS if peer.name == "drizzle-orm")
    return (
        ours(folders.script_sql(scratch / "sql.sql", count), sql, "schemagate.history"),
        [
            *ours(folders.script_drizzle(scratch / "drizzle.sql", count), drizzle, "drizzle.__drizzle_migrations"),
            Row(tools.drizzle(drizzle), check=applied(drizzle_orm.history)),
        ],
    )


def applied(history: str) -> str:
    """Whether everything is there: the tables, and what the tool's history counts."""
    found = "(SELECT count(*) FROM pg_class WHERE relname LIKE 'item\\_%' AND relkind = 'r')"
    return f"({found}, {history}) = ({folders.tables(APPLIED_FILES)}, {APPLIED_FILES})"


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
    many_peers(bench)


def many_peers(bench: Bench) -> None:
    """The same of the other tools: ten thousand files that do nothing, applied once and then looked at."""
    few, most = MANY_FILES[0], MANY_FILES[-1]
    rounds = 3
    lines = [[f"Nothing pending, {few} and {most} files (median of {rounds})", "cpu", "cpu", "memory", "memory"]]
    cpu: dict[str, float] = {}
    memory: dict[str, float] = {}
    growth: dict[str, str] = {}
    for name, samples in many_tools(bench, few, most, rounds):
        times = [median(sample.cpu for sample in own) if own else None for own in samples]
        peaks = [float(max(sample.peak for sample in own)) if own else None for own in samples]
        cells = ["failed" if time is None else f"{time:.0f} ms" for time in times]
        cells += ["" if peak is None else f"{peak / 1024:.0f} MiB" for peak in peaks]
        lines.append([name, *cells])
        if None not in times:
            cpu[name], memory[name] = times[1], peaks[1]
            growth[name] = f"{times[1] / times[0]:.1f} and {peaks[1] / peaks[0]:.1f}"
    print_table(lines)
    bench.matrix.compared(f"{most} files, all applied: processor time", cpu)
    bench.matrix.compared(f"{most} files, all applied: peak memory", memory)
    bench.matrix.words(f"both, {most} files compared with {few}", growth)


def many_tools(bench: Bench, few: int, most: int, rounds: int) -> Iterator[tuple[str, list[list[Sample]]]]:
    """Ours first."""
    own = [folders.sql(bench.scratch / f"many-sql-{count}", count) for count in (few, most)]
    tools_of = [tools.schemagate("migrate", folder) for folder in own]
    yield "schemagate", [many_samples(bench, tool, count, rounds) for tool, count in zip(tools_of, (few, most), strict=True)]
    for peer in PEERS:
        yield peer.name, [many_of(bench, peer, count, rounds) for count in (few, most)]


def many_of(bench: Bench, peer: Peer, count: int, rounds: int) -> list[Sample]:
    """Empty where the tool cannot do it."""
    files = [(folders.name(number), "SELECT 1;") for number in range(count)]
    folder = peer.folder(bench.scratch, f"many-{count}", files)
    tool = peer.tool(folder)
    bench.server.renew(database_of(0))
    url = bench.server.url(database_of(0))
    try:
        return [bench.stopwatch.run(tool, url) for _ in range(rounds + 1)][1:]
    except tools.Failed as failed:
        print(f"bench: {str(failed)[:300]}", file=sys.stderr)
        return []
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def many_samples(bench: Bench, tool: Tool, count: int, rounds: int) -> list[Sample]:
    bench.server.renew(database_of(0))
    url = bench.server.url(database_of(0))
    last = f"{count:05}" if "sql" in tool.environment["SCHEMAGATE_DIR"].split("-") else f"{count - 1:04}_{folders.name(count - 1)}"
    baseline = Tool("schemagate, baseline", [tools.SCHEMAGATE, "baseline", "--to", last], tool.environment)
    bench.stopwatch.run(baseline, url)
    return [bench.stopwatch.run(tool, url) for _ in range(rounds + 1)][1:]
