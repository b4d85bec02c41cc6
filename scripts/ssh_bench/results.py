"""What was measured, as a file that a later run goes on with; and the bars that it is held against."""

import json
import statistics
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cluster.problems import BadInput, Problem
from scripts.ssh_bench.measure import Usage

MIB = 1 << 20


@dataclass(frozen=True, order=True)
class Cell:
    """One place in the matrix."""

    workload: str
    hosts: int
    delay_ms: int

    @property
    def key(self) -> str:
        return f"{self.workload} {self.hosts} hosts {self.delay_ms} ms"


@dataclass
class Row:
    """A peer in a cell: its runs in order, one of each pass a round."""

    first: list[Usage] = field(default_factory=list)
    second: list[Usage] = field(default_factory=list)
    failed: str = ""
    """Why it could not do it, or what was different after it."""

    def median(self, which: str, measure: str) -> float | None:
        """Of a pass ("first", "second") and a measure; None where nothing was measured or it failed."""
        runs: list[Usage] = getattr(self, which)
        if self.failed or not runs:
            return None
        return float(statistics.median(getattr(run, measure) for run in runs))


Table = dict[Cell, dict[str, Row]]


@dataclass
class Results:
    """All cells, with what they were measured on."""

    about: dict[str, Any]
    cells: Table

    def row(self, cell: Cell, peer: str) -> Row:
        """To be filled; made where it is missing."""
        return self.cells.setdefault(cell, {}).setdefault(peer, Row())

    def save(self, file: Path) -> None:
        cells = [
            {**asdict(cell), "peers": {peer: _rounded(row) for peer, row in rows.items()}}
            for cell, rows in self.cells.items()
        ]
        file.parent.mkdir(parents=True, exist_ok=True)
        new = file.with_suffix(".new")
        new.write_text(json.dumps({"about": self.about, "cells": cells}, indent=1) + "\n")
        new.replace(file)

    @classmethod
    def load(cls, file: Path) -> "Results":
        """Raises BadInput when there is no such file."""
        if not file.exists():
            raise BadInput([Problem(str(file), "there is no such file", "`measure` makes it.")])
        saved = json.loads(file.read_text())
        cells: Table = {}
        for each in saved["cells"]:
            cell = Cell(each["workload"], each["hosts"], each["delay_ms"])
            cells[cell] = {
                peer: Row(_usages(row["first"]), _usages(row["second"]), row["failed"])
                for peer, row in each["peers"].items()
            }
        return cls(saved["about"], cells)


def _rounded(row: Row) -> dict[str, Any]:
    def runs(usages: list[Usage]) -> list[list[float]]:
        return [[round(each.wall_s, 3), round(each.cpu_s, 3), each.peak_bytes] for each in usages]

    return {"first": runs(row.first), "second": runs(row.second), "failed": row.failed}


def _usages(runs: list[list[Any]]) -> list[Usage]:
    return [Usage(wall_s, cpu_s, peak) for wall_s, cpu_s, peak in runs]


@dataclass(frozen=True)
class Bar:
    """A limit: a ratio of two peers' medians (or one median, ``over`` empty) in one pass of one cell."""

    cell: Cell
    which: str
    measure: str
    under: str
    over: str
    at_least: float | None = None
    at_most: float | None = None

    @property
    def text(self) -> str:
        limit = f"≥ {self.at_least:g}" if self.at_least is not None else f"≤ {self.at_most:g}"
        what = {"wall_s": "time", "cpu_s": "CPU", "peak_bytes": "memory"}[self.measure]
        if not self.over:
            limit = f"≤ {(self.at_most or 0) / MIB:.0f} MiB"
            return f"{self.cell.key}, {self.which} pass: {what} of {self.under} {limit}"
        over, under = named(self.over, self.cell), named(self.under, self.cell)
        return f"{self.cell.key}, {self.which} pass: {what} of {over} / {under} {limit}"

    def value(self, cells: Table) -> float | None:
        """None where it was not measured."""
        rows = cells.get(self.cell, {})
        found = [
            rows[peer].median(self.which, self.measure) for peer in (self.under, self.over) if peer in rows
        ]
        if len(found) < (2 if self.over else 1) or None in found:
            return None
        return found[1] / found[0] if self.over else found[0]  # type: ignore[operator]

    def holds(self, value: float) -> bool:
        if self.at_least is not None:
            return value >= self.at_least
        return self.at_most is not None and value <= self.at_most


def named(peer: str, cell: Cell) -> str:
    """The peer's name where it is shown: with one file to bring, ssh's way is scp."""
    return "scp" if (peer, cell.workload) == ("ssh", "W5") else peer


def bars() -> Iterator[Bar]:
    """The engine's limits."""
    for workload in ("W2", "W3"):
        for hosts in (10, 50):
            cell = Cell(workload, hosts, 0)
            yield Bar(cell, "second", "wall_s", "ssh", "engine", at_most=1.25)
            yield Bar(cell, "second", "wall_s", "engine", "ansible", at_least=10)
            yield Bar(cell, "second", "wall_s", "engine", "pyinfra", at_least=6)
            yield Bar(cell, "second", "wall_s", "engine", "mitogen", at_least=4)
            yield Bar(cell, "second", "cpu_s", "engine", "ansible", at_least=5)
        far = Cell(workload, 10, 100)
        yield Bar(far, "second", "wall_s", "engine", "ansible", at_least=15)
        yield Bar(far, "second", "wall_s", "engine", "pyinfra", at_least=8)
        yield Bar(Cell(workload, 100, 0), "second", "peak_bytes", "engine", "", at_most=250 * MIB)
    for which in ("first", "second"):
        for peer in ("ansible", "pyinfra"):
            yield Bar(Cell("W4", 10, 0), which, "wall_s", "engine", peer, at_least=5)
    # 0.8 of scp's throughput is 1.25 of its time
    yield Bar(Cell("W5", 1, 0), "first", "wall_s", "ssh", "engine", at_most=1.25)


def needed() -> dict[Cell, tuple[str, ...]]:
    """The cells and peers that the bars need."""
    found: dict[Cell, list[str]] = {}
    for bar in bars():
        for peer in (bar.under, bar.over):
            if peer and peer not in found.setdefault(bar.cell, []):
                found[bar.cell].append(peer)
    return {cell: tuple(peers) for cell, peers in found.items()}
