"""A big file, the start, a thousand at once, and sizes, side by side with the other tools."""

import sys

import folders
import larger
import tools
from measuring import Bench, database_of, print_table
from migrating import NOTHING_FILES
from peers import PEERS, small
from server import Server


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
