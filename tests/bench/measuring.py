"""Taking turns, ratios, bars and tables: what all measurements use."""

import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import tools
from matrix import Matrix
from server import Server
from tools import Sample, Stopwatch, Tool


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
