"""The programs that are measured: how each is called, in which folder, with which environment."""

import os
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from server import BIN

ROOT = Path(__file__).resolve().parents[2]
BUILT = ROOT / "target/bench"
SCHEMAGATE = Path(os.environ.get("SCHEMAGATE_BENCH_BINARY", ROOT / "target/x86_64-unknown-linux-gnu/release/schemagate"))
PSQL = BIN / "psql"
# One run of a tool may take so long.
LIMIT_SECONDS = 240
NODE_PEER = ROOT / "tests/peers/drizzle-classic"
DBMATE = ROOT / "tests/bench/peers/node_modules/@dbmate/linux-x64/bin/dbmate"
SQLX = BUILT / "sqlx-cli/bin/sqlx"


@dataclass
class Tool:
    """A program doing one thing. `{url}` in its words is the database."""

    label: str
    words: list[str | Path]
    environment: dict[str, str] = field(default_factory=dict)
    folder: Path | None = None

    def filled(self, url: str, home: Path) -> tuple[list[str], dict[str, str]]:
        """The words and the whole environment for a database."""
        words = [str(word).replace("{url}", url) for word in self.words]
        environment = {name: value.replace("{url}", url) for name, value in self.environment.items()}
        return words, environment | {"PATH": os.environ["PATH"], "HOME": str(home)}


@dataclass
class Sample:
    """What one run cost: milliseconds, and KiB of resident memory."""

    wall: float
    cpu: float
    peak: int


class Failed(Exception):
    """A measured program did not do its work."""


def psql_question() -> Tool:
    return Tool("psql -c 'select 1'", [PSQL, "-X", "{url}", "-c", "select 1"])


def psql_script(script: Path, *options: str) -> Tool:
    return Tool("psql, one script", [PSQL, "-X", "-q", *options, "-v", "ON_ERROR_STOP=1", "{url}", "-f", script])


def schemagate(label: str, folder: Path, **settings: str) -> Tool:
    environment = {"SCHEMAGATE_DATABASE_URL": "{url}", "SCHEMAGATE_DIR": str(folder), **settings}
    return Tool(f"schemagate, {label}", [SCHEMAGATE, "migrate"], environment)


def drizzle(folder: Path) -> Tool:
    return Tool("drizzle-orm on Node", ["node", "../migrate.mjs", folder, "{url}"], folder=NODE_PEER)


def dbmate(folder: Path) -> Tool:
    words = [DBMATE, "--url", "{url}?sslmode=disable", "--migrations-dir", folder, "--no-dump-schema", "migrate"]
    return Tool("dbmate", words)


def sqlx(folder: Path) -> Tool:
    return Tool("sqlx-cli", [SQLX, "migrate", "run", "--source", folder, "--database-url", "{url}"])


class Stopwatch:
    """Runs tools, one at a time."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.log = scratch / "tool.log"

    def run(self, tool: Tool, url: str) -> Sample:
        words, environment = tool.filled(url, self.scratch)
        self.log.unlink(missing_ok=True)
        command = [BUILT / "measure", self.log, *words]
        running = subprocess.Popen(
            command,
            env=environment,
            cwd=tool.folder or self.scratch,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            stdout, stderr = running.communicate(timeout=LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            raise Failed(f"{tool.label} took more than {LIMIT_SECONDS} s") from None
        finally:
            if running.poll() is None:
                os.killpg(running.pid, signal.SIGKILL)
                running.wait()
        numbers = stdout.split()
        if running.returncode != 0 or len(numbers) != 5 or numbers[4] != "0":
            output = self.log.read_text(errors="replace") if self.log.exists() else ""
            raise Failed(f"{tool.label} failed: {stdout}{stderr}{output[-2000:]}")
        wall, user, system, peak = (int(number) for number in numbers[:4])
        return Sample(wall=wall / 1e6, cpu=(user + system) / 1e3, peak=peak)


def versions() -> list[str]:
    """What is measured, in the tools' own words."""
    size = SCHEMAGATE.stat().st_size
    return [
        f"{first_line([SCHEMAGATE, '--version'])}, {size} bytes ({size / (1 << 20):.2f} MiB)",
        first_line([PSQL, "--version"]),
        f"drizzle-orm {_installed('drizzle-orm')}, pg {_installed('pg')}, Node {first_line(['node', '--version'])}",
        first_line([DBMATE, "--version"]),
        first_line([SQLX, "--version"]),
    ]


def first_line(words: list[str | Path]) -> str:
    """The first line that a command prints."""
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()[0]


def _installed(package: str) -> str:
    words = ["node", "-p", f"require('./node_modules/{package}/package.json').version"]
    return subprocess.run(words, cwd=NODE_PEER, capture_output=True, text=True, check=True).stdout.strip()
