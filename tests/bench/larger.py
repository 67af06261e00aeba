"""What is measured besides time on a quiet line: a big file, the start, a thousand at once, and sizes."""

import gzip
import shutil
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import folders
import tools
from peers import PEERS, Files, installed_bytes
from server import Server
from tools import Tool

BIG_BYTES = 200 << 20
HERD = 1000
# Processes of a tool that needs an interpreter or a JVM.
HEAVY_HERD = 100
HERD_FILES = 30
HERD_SLOW_SECONDS = 2
HERD_CONNECTIONS = 100
HERD_LIMIT_SECONDS = 240


def big_file() -> str:
    """Rows of some hundred bytes, fifty a statement, as a data migration or a dump has them."""
    row = "(" + "repeat('x', 10), 'it is a long text with some words in it, for the lexer to read, and nothing else at all'" + ")"
    statement = "INSERT INTO big (a, b) VALUES " + ",\n".join([row] * 50) + ";\n"
    return "CREATE TABLE big (a text, b text);\n" + statement * (BIG_BYTES // len(statement) + 1)


def first_byte(tool: Tool, scratch: Path) -> float:
    """Milliseconds from the start of a program to its first byte on the wire."""
    with socket.create_server(("127.0.0.1", 0)) as listener, tempfile.TemporaryFile() as log:
        listener.settimeout(60)
        url = f"postgres://postgres@127.0.0.1:{listener.getsockname()[1]}/none"
        words, environment = tool.filled(url, scratch)
        began = time.perf_counter()
        process = subprocess.Popen(words, env=environment, cwd=tool.folder or scratch, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(60)
                # A connection that is opened ahead says nothing yet.
                if not connection.recv(1):
                    raise tools.Failed(f"{tool.label} hung up")
                return (time.perf_counter() - began) * 1000
        finally:
            process.kill()
            process.wait()


def first_byte_median(tool: Tool, scratch: Path, rounds: int) -> float:
    return median([first_byte(tool, scratch) for _ in range(rounds + 1)][1:])


@dataclass
class Herd:
    """How many processes ran at once, how long it took, how many failed, and whether the work is right."""

    processes: int
    seconds: float
    failed: int
    right: bool


def herd_files() -> Files:
    """Thirty migrations, one of them slow. Running one twice fails or doubles its row."""
    files = [(f"step_{n:02}", f"CREATE TABLE herd_{n:02} (id int); INSERT INTO herd_{n:02} VALUES (1);") for n in range(HERD_FILES)]
    files[10] = ("slow", f"CREATE TABLE herd_10 (id int); INSERT INTO herd_10 SELECT 1 FROM pg_sleep({HERD_SLOW_SECONDS});")
    return files


def herd(server: Server, tool: Tool, processes: int, scratch: Path) -> Herd:
    """So many at once on an empty database; those that never end are ended."""
    server.renew("herd")
    words, environment = tool.filled(server.url("herd"), scratch)
    began = time.perf_counter()
    running = [
        subprocess.Popen(
            words, env=environment, cwd=tool.folder or scratch, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for _ in range(processes)
    ]
    failed = 0
    try:
        for process in running:
            left = HERD_LIMIT_SECONDS - (time.perf_counter() - began)
            try:
                failed += process.wait(timeout=max(left, 0)) != 0
            except subprocess.TimeoutExpired:
                failed += 1
    finally:
        for process in running:
            if process.poll() is None:
                process.kill()
                process.wait()
    seconds = time.perf_counter() - began
    rows = " + ".join(f"(SELECT count(*) FROM herd_{n:02})" for n in range(HERD_FILES))
    there = server.ask(f"SELECT count(*) FROM pg_class WHERE relname LIKE 'herd\\_%' AND relkind = 'r'", "herd")
    right = there == str(HERD_FILES) and server.ask(f"SELECT {rows}", "herd") == str(HERD_FILES)
    return Herd(processes, seconds, failed, right)


def sizes() -> list[list[str]]:
    """Rows of a table: what each tool takes on the disk."""
    binary = tools.SCHEMAGATE.read_bytes()
    lines = [["schemagate: the binary, which is all of the image", mib(len(binary)), mib(len(gzip.compress(binary, 9)))]]
    for peer in PEERS:
        compressed = ""
        if len(peer.installed) == 1 and peer.installed[0].is_file():
            compressed = mib(len(gzip.compress(peer.installed[0].read_bytes(), 9)))
        runtime = ", without its interpreter or JVM" if peer.heavy else ""
        lines.append([peer.name + runtime, mib(installed_bytes(peer)), compressed])
    return lines


def mib(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB"
