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
from collections.abc import Callable
from pathlib import Path

import tools
from extremes import big, herd, size, start
from matrix import Matrix
from measuring import Bench
from migrating import apply, link, many, nothing
from peers import versions
from server import Server
from sidecar import serve
from tools import Stopwatch

SCRATCH_BYTES = 2 << 30

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
