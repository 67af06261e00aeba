"""The sidecar, which no other tool has: its answers, its memory, and how soon it knows."""

import time
from statistics import median

import folders
import serving
import tools
from measuring import Bench, print_table
from migrating import MEMORY_BAR, NOTHING_FILES
from server import Server
from tools import Tool

# Milliseconds.
ANSWER_BAR = 2.0
PROBE_BAR = 10.0
LISTEN_BAR = 100.0
# KiB that a hundred thousand requests may leave behind.
GROWTH_BAR = 256


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
