"""Measures schemagate beside psql and other tools, prints tables, and ends with 1 where a bar is missed.

    tests/bench/run [--rounds N] [GROUP ...]

Groups: nothing, apply, link, many, serve, big, start, herd, size; all of them by default. `--rounds` overrides how often each is measured.
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
import larger
import serving
import tools
from matrix import Matrix
from peers import PEERS, Peer, small, versions
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
    # An SQL expression that is true behind each run.
    check: str | None = None


@dataclass
class Bench:
    """What all groups use."""

    server: Server
    stopwatch: Stopwatch
    scratch: Path
    program: Path
    rounds: int | None
    missed: list[str]
    matrix: Matrix

    def group(self, title: str, rows: list[Row], rounds: int, port: int | None) -> list[list[Sample]]:
        """Measures rows side by side and prints them. The first row is what the others are compared with.

        Each row has a database of its own. A row with a check begins every run with an empty one.
        """
        rounds = self.rounds or rounds
        samples: list[list[Sample]] = [[] for _ in rows]
        for turn in range(-1, rounds):
            for index in order(len(rows), turn):
                row, database = rows[index], database_of(index)
                if row.check:
                    self.server.renew(database)
                sample = self.stopwatch.run(row.tool, self.server.url(database, port))
                if row.check and self.server.ask(f"SELECT {row.check}", database) != "t":
                    raise tools.Failed(f"{row.tool.label}: not all of the work is there: {row.check}")
                # The first turn warms up.
                if turn >= 0:
                    samples[index].append(sample)
        self.print_group(f"{title} (median of {rounds})", rows, samples)
        return samples

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
    ours = folders.sql(bench.scratch / f"many-sql-{most}", most)
    own = many_samples(bench, tools.schemagate("migrate", ours), most, rounds)
    cpu, memory = {"schemagate": median(sample.cpu for sample in own)}, {"schemagate": float(max(sample.peak for sample in own))}
    for peer in PEERS:
        samples = [many_of(bench, peer, count, rounds) for count in (few, most)]
        cells = ["failed" if not own else f"{median(sample.cpu for sample in own):.0f} ms" for own in samples]
        cells += ["" if not own else f"{max(sample.peak for sample in own) / 1024:.0f} MiB" for own in samples]
        lines.append([peer.name, *cells])
        if samples[-1]:
            cpu[peer.name] = median(sample.cpu for sample in samples[-1])
            memory[peer.name] = float(max(sample.peak for sample in samples[-1]))
    print_table(lines)
    bench.matrix.compared(f"{most} files, all applied: processor time", cpu)
    bench.matrix.compared(f"{most} files, all applied: peak memory", memory)


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


def big(bench: Bench) -> None:
    """One file of 200 MB."""
    files = [("big", larger.big_file())]
    size = f"{larger.BIG_BYTES >> 20} MiB"
    script = bench.scratch / "big.sql"
    script.write_text(files[0][1])
    ours = folders.files(bench.scratch / "big-ours", {"00001_big.sql": files[0][1]})
    own = tools.schemagate("migrate", ours)
    tools_of = [("psql", tools.psql_script(script, "-1")), ("schemagate", own)]
    tools_of += [(peer.name, peer.tool(peer.folder(bench.scratch, "big", files))) for peer in PEERS]
    lines = [[f"One file of {size} (best of 2)", "time", "ratio", "memory"]]
    times: dict[str, float] = {}
    memory: dict[str, float] = {}
    for name, tool in tools_of:
        try:
            samples = []
            for _ in range(2):
                bench.server.renew(database_of(0))
                samples.append(bench.stopwatch.run(tool, bench.server.url(database_of(0))))
        except tools.Failed as failed:
            lines.append([name, "failed", "", ""])
            print(f"bench: {str(failed)[:300]}", file=sys.stderr)
            continue
        times[name] = min(sample.wall for sample in samples)
        memory[name] = float(max(sample.peak for sample in samples))
        lines.append([name, f"{times[name] / 1000:.1f} s", f"{times[name] / times['psql']:.2f}", f"{memory[name] / 1024:.0f} MiB"])
    bench.server.renew(database_of(0))
    print_table(lines)
    bench.matrix.compared(f"a file of {size}: time", times)
    bench.matrix.compared(f"a file of {size}: peak memory", memory)


def start(bench: Bench) -> None:
    """From the start of the program to its first byte on the wire."""
    count = NOTHING_FILES
    ours = folders.sql(bench.scratch / "start-sql", count)
    tools_of = [("psql", tools.psql_question()), ("schemagate", tools.schemagate("migrate", ours))]
    tools_of += [(peer.name, peer.tool(peer.folder(bench.scratch, "start", small(count)))) for peer in PEERS]
    rounds = bench.rounds or 15
    times = {name: larger.first_byte_median(tool, bench.scratch, rounds) for name, tool in tools_of}
    lines = [[f"Start to the first byte sent, {count} files (median of {rounds})", "time", "ratio"]]
    lines += [[name, f"{time:.2f} ms", f"{time / times['psql']:.2f}"] for name, time in times.items()]
    print_table(lines)
    bench.matrix.compared("start to the first byte sent: time", times)


def herd(bench: Bench) -> None:
    """A thousand at once."""
    server = Server(bench.scratch / "herd", f"max_connections={larger.HERD_CONNECTIONS}")
    files = larger.herd_files()
    ours = folders.files(bench.scratch / "herd-ours", {f"{n + 1:05}_{name}.sql": sql for n, (name, sql) in enumerate(files)})
    tools_of = [("schemagate", tools.schemagate("migrate", ours), larger.HERD)]
    for peer in PEERS:
        processes = larger.HEAVY_HERD if peer.heavy else larger.HERD
        tools_of.append((peer.name, peer.tool(peer.folder(bench.scratch, "herd", files)), processes))
    title = f"At once on {larger.HERD_CONNECTIONS} connections, {larger.HERD_FILES} migrations, one of {larger.HERD_SLOW_SECONDS} s"
    lines = [[title, "processes", "failed", "bar", "time", "each applied once"]]
    cells: dict[str, str] = {}
    try:
        for name, tool, processes in tools_of:
            found = larger.herd(server, tool, processes, bench.scratch)
            bar = 0 if name == "schemagate" else None
            lines.append(
                [
                    name,
                    str(found.processes),
                    str(found.failed),
                    bench.bar(f"herd: {name}: failed processes", found.failed, bar, "{:.0f}"),
                    f"{found.seconds:.1f} s",
                    "yes" if found.right else "no",
                ]
            )
            if bar is not None and not found.right:
                bench.missed.append("herd: schemagate did not apply each migration once")
            cells[name] = f"{found.failed} of {found.processes}" + ("" if found.right else ", work wrong")
    finally:
        server.stop()
    print_table(lines)
    bench.matrix.words("at once on 100 connections: failed", cells)


def size(bench: Bench) -> None:
    """What each takes on the disk."""
    lines = larger.sizes()
    print_table([["Size", "on the disk", "gzip -9"], *lines])
    bench.matrix.words("size, without interpreter or JVM", dict(zip(["schemagate", *[peer.name for peer in PEERS]], [line[1] for line in lines], strict=True)))


GROUPS: dict[str, Callable[[Bench], None]] = {
    "nothing": nothing,
    "apply": apply,
    "link": link,
    "many": many,
    "serve": serve,
    "big": big,
    "start": start,
    "herd": herd,
    "size": size,
}


def print_machine(bench: Bench) -> None:
    model = next((line.split(": ")[1] for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "")
    load = " ".join(f"{number:.1f}" for number in os.getloadavg())
    print(f"{model or platform.machine()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}, load {load}")
    print(f"PostgreSQL {bench.server.ask('SHOW server_version')}, fsync=off, autovacuum=off, in {bench.scratch.parent}, on the loopback")
    for version in [*tools.versions(), *versions()]:
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
        bench = Bench(server, Stopwatch(scratch), scratch, tools.BUILT / "proxy", arguments.rounds, [], Matrix())
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
    print(bench.matrix.markdown())
    for missed in bench.missed:
        print(f"MISSED: {missed}")
    if not bench.missed:
        print("every bar is kept")
    return 1 if bench.missed else 0


if __name__ == "__main__":
    sys.exit(main())
