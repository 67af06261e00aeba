"""The sidecar: how fast it answers, what it keeps in memory, how soon it knows."""

import datetime
import http.client
import json
import os
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import tools
from server import Server, free_port

CONNECTIONS = 10
REQUESTS_A_SECOND = 1000
LOAD_SECONDS = 15
REQUESTS = 100_000
SIDECARS = 50
POLL_MS = 1000
# wrk sends as fast as answers come; each of its connections pauses, which makes a rate.
PAUSE = f"function delay() return {1000 * CONNECTIONS // REQUESTS_A_SECOND} end\n"


@dataclass
class Sidecar:
    """A running sidecar of ours. `stop` ends it."""

    port: int
    process: subprocess.Popen[bytes]

    @classmethod
    def start(cls, url: str, folder: Path, log: Path, **settings: str) -> "Sidecar":
        port = free_port()
        environment = {
            "SCHEMAGATE_DATABASE_URL": url,
            "SCHEMAGATE_DIR": str(folder),
            "SCHEMAGATE_LISTEN": f"127.0.0.1:{port}",
            **settings,
        }
        with open(log, "ab") as stderr:
            process = subprocess.Popen([tools.SCHEMAGATE, "sidecar"], env=environment, stderr=stderr, start_new_session=True)
        sidecar = cls(port, process)
        sidecar.wait_for("/livez", 200)
        return sidecar

    def get(self, path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def status(self) -> dict[str, object]:
        return json.loads(self.get("/status")[1])

    def wait_for(self, path: str, code: int) -> None:
        for _ in range(1200):
            try:
                if self.get(path)[0] == code:
                    return
            except OSError:
                pass
            time.sleep(0.05)
        raise tools.Failed(f"the sidecar does not answer {code} on {path}")

    def resident_kib(self) -> int:
        found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{self.process.pid}/status").read_text())
        return int(found.group(1)) if found else 0

    def open_files(self) -> int:
        """The least of a while: connections of the load are still ending, and a look at the database takes one."""
        counts = []
        for _ in range(100):
            counts.append(len(os.listdir(f"/proc/{self.process.pid}/fd")))
            time.sleep(0.02)
        return min(counts)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


def load(scratch: Path, sidecar: Sidecar, path: str) -> dict[str, float]:
    """A steady rate of requests; percentiles in milliseconds."""
    script = scratch / "pause.lua"
    script.write_text(PAUSE)
    words = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{LOAD_SECONDS}s", "--latency", "-s", str(script), f"http://127.0.0.1:{sidecar.port}{path}"]
    text = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    unit = {"us": 0.001, "ms": 1.0, "s": 1000.0}
    percentiles = {
        name: float(value) * unit[suffix] for name, value, suffix in re.findall(r"^\s+(\d+)%\s+([\d.]+)(us|ms|s)$", text, re.M)
    }
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    if not rate or "99" not in percentiles:
        raise tools.Failed(f"wrk said:\n{text}")
    return {**percentiles, "rate": float(rate.group(1))}


def many_requests(sidecar: Sidecar, path: str, count: int) -> None:
    """That many requests on a few connections, as fast as they are answered."""
    seconds = 0
    done = 0
    while done < count:
        words = ["wrk", "-t1", "-c4", "-d2s", f"http://127.0.0.1:{sidecar.port}{path}"]
        text = subprocess.run(words, check=True, capture_output=True, text=True).stdout
        found = re.search(r"(\d+) requests in", text)
        done += int(found.group(1)) if found else 0
        seconds += 1
        if seconds > 60:
            raise tools.Failed(f"{done} requests in {seconds * 2} s")


def busy_folder(folder: Path) -> Path:
    """A migration that keeps the server busy for longer than the load lasts."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "0001_start.sql").write_text("CREATE TABLE busy (id bigint, name text);\n")
    step = "INSERT INTO busy SELECT max(n), max(md5(n::text)) FROM generate_series(1, 1000000) n;\n"
    (folder / "0002_work.sql").write_text(step * 200)
    return folder


def commit_times(server: Server, database: str) -> datetime.datetime:
    """When the last row of the history was committed, by the server's clock, which is ours."""
    text = server.ask("SELECT to_json(max(pg_xact_commit_timestamp(xmin)) AT TIME ZONE 'UTC') FROM schemagate.history", database)
    return datetime.datetime.fromisoformat(json.loads(text)).replace(tzinfo=datetime.timezone.utc)


def flip(server: Server, scratch: Path, folder: Path, watch: str) -> list[float]:
    """How long after the commit of the last migration each of many sidecars is ready, in milliseconds."""
    database = f"flip_{watch}"
    server.renew(database)
    url = server.url(database)
    log = scratch / f"sidecars-{watch}.log"
    settings = {"SCHEMAGATE_WATCH": watch}
    if watch == "poll":
        settings["SCHEMAGATE_POLL_INTERVAL"] = f"{POLL_MS}ms"
    sidecars = [Sidecar.start(url, folder, log, **settings) for _ in range(SIDECARS)]
    try:
        for sidecar in sidecars:
            for _ in range(600):
                if sidecar.status()["state"] == "pending":
                    break
                time.sleep(0.05)
        environment = {"SCHEMAGATE_DATABASE_URL": url, "SCHEMAGATE_DIR": str(folder)}
        subprocess.run([tools.SCHEMAGATE, "migrate"], env=environment, check=True, capture_output=True)
        for sidecar in sidecars:
            sidecar.wait_for("/readyz", 200)
        committed = commit_times(server, database)
        since = [datetime.datetime.fromisoformat(str(sidecar.status()["since"])) for sidecar in sidecars]
        return sorted((at - committed).total_seconds() * 1000 for at in since)
    finally:
        for sidecar in sidecars:
            sidecar.process.terminate()
        for sidecar in sidecars:
            sidecar.process.wait()
