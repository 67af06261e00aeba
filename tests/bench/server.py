"""A throwaway PostgreSQL server of the measurement's own, and a slow link to it."""

import os
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import time
from pathlib import Path

BIN = Path("/usr/lib/postgresql/15/bin")
# No sync: the disk is not what is measured. No autovacuum: it would come in between.
SETTINGS = ["fsync=off", "autovacuum=off", "listen_addresses=127.0.0.1", "logging_collector=off"]


def as_postgres() -> list[str]:
    """PostgreSQL refuses to run as root."""
    if os.getuid() == 0:
        return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    return []


class Server:
    """Started when made; `stop` ends the processes it started and removes its folder."""

    def __init__(self, folder: Path, *settings: str) -> None:
        folder.mkdir(exist_ok=True)
        self.data = folder / "data"
        self.data.mkdir()
        if as_postgres():
            shutil.chown(self.data, "postgres", "postgres")
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        subprocess.run(
            [*as_postgres(), BIN / "initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync", "-D", self.data],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        options = [word for setting in [*SETTINGS, *settings, f"port={self.port}"] for word in ("-c", setting)]
        with open(folder / "server.log", "wb") as log:
            # A session of its own: Ctrl-C is for the measurement, which then stops the server.
            self.process = subprocess.Popen(
                [*as_postgres(), BIN / "postgres", "-D", self.data, "-k", self.data, *options],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._wait(folder / "server.log")

    def _wait(self, log: Path) -> None:
        for _ in range(300):
            ready = subprocess.run([BIN / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)], check=False)
            if ready.returncode == 0:
                return
            if self.process is None or self.process.poll() is not None:
                break
            time.sleep(0.1)
        raise SystemExit(f"bench: the server did not start:\n{log.read_text()}")

    def url(self, database: str, port: int | None = None) -> str:
        return f"postgres://postgres@127.0.0.1:{port or self.port}/{database}"

    def ask(self, question: str, database: str = "postgres") -> str:
        """The answer of one statement."""
        command = [BIN / "psql", "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-c", question, self.url(database)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def renew(self, database: str) -> None:
        """The database, empty."""
        self.ask(f"DROP DATABASE IF EXISTS {database}")
        self.ask(f"CREATE DATABASE {database}")

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait()


class Link:
    """The proxy in front of a port."""

    def __init__(self, program: Path, port: int, one_way_us: int) -> None:
        self.process = subprocess.Popen(
            [program, str(port), str(one_way_us)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def round_trip(self) -> float:
        """Milliseconds from a question to its answer, the server's own share (some microseconds) included."""
        return statistics.median(_ping(self.port) for _ in range(51)) * 1000

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


def _ping(port: int) -> float:
    """Asks a server without TLS for GSS encryption: one byte back, from a process that runs already."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(struct.pack("!ii", 8, 80877103))
        connection.recv(1)
        began = time.perf_counter()
        connection.sendall(struct.pack("!ii", 8, 80877104))
        connection.recv(1)
        return time.perf_counter() - began


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
