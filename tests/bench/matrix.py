"""The table of all tools: a row is a measurement, a cell a ratio of one run. In Markdown, for the README."""

from statistics import median

from peers import PEERS
from tools import Sample

COLUMNS = ["schemagate", "psql", *[peer.name for peer in PEERS]]


class Matrix:
    """Filled group by group."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, dict[str, str]]] = []

    def times(self, label: str, samples: list[list[Sample]]) -> None:
        """Of psql, schemagate and every peer, in this order: the median of the ratios to psql, turn by turn."""
        cells = {}
        for name, own in zip(_in_order(), samples, strict=True):
            cells[name] = f"{median(sample.wall / first.wall for sample, first in zip(own, samples[0], strict=True)):.2f}"
        self.rows.append((label, cells))

    def peaks(self, label: str, samples: list[list[Sample]]) -> None:
        """The same of the highest memory seen."""
        peaks = {name: float(max(sample.peak for sample in own)) for name, own in zip(_in_order(), samples, strict=True)}
        self.compared(label, peaks)

    def compared(self, label: str, values: dict[str, float]) -> None:
        """Ratios to psql, or to schemagate where psql has no such thing."""
        base = values.get("psql", values["schemagate"])
        self.rows.append((label, {name: f"{value / base:.2f}" for name, value in values.items()}))

    def words(self, label: str, cells: dict[str, str]) -> None:
        """Cells as they are."""
        self.rows.append((label, cells))

    def markdown(self) -> str:
        """Tools down, measurements across would be too wide: measurements down."""
        lines = ["| | " + " | ".join(COLUMNS) + " |", "| --- |" + " --- |" * len(COLUMNS)]
        for label, cells in self.rows:
            lines.append(f"| {label} | " + " | ".join(cells.get(name, "") for name in COLUMNS) + " |")
        return "\n".join(lines) if self.rows else ""


def _in_order() -> list[str]:
    return ["psql", "schemagate", *[peer.name for peer in PEERS]]
