"""The results as Markdown: one table of medians, one of the bars."""

from collections.abc import Iterator
from operator import itemgetter

from scripts.ssh_bench.peers import ALL
from scripts.ssh_bench.results import MIB, Bar, Results, bars, named
from scripts.ssh_bench.workloads import TITLES

ENOUGH_RUNS = 5


def markdown(results: Results) -> str:
    """Both tables, with what they were measured on."""
    return "\n".join([*_about(results), "", *_medians(results), "", *_bars(results)]) + "\n"


def missed(results: Results) -> list[Bar]:
    """The bars that were measured and do not hold."""
    return [bar for bar in bars() if (value := bar.value(results.cells)) is not None and not bar.holds(value)]


def _about(results: Results) -> Iterator[str]:
    versions = ", ".join(f"{name} {version}" for name, version in results.about.get("versions", {}).items())
    yield f"{results.about.get('machine', '')}, last run {results.about.get('date', '')}; {versions}."


def _medians(results: Results) -> Iterator[str]:
    yield "| workload | hosts | delay | peer | first, s | second, s | × engine | CPU, s | MiB | runs |"
    yield "|---|--:|--:|---|--:|--:|--:|--:|--:|--:|"
    for cell, rows in sorted(results.cells.items(), key=itemgetter(0)):
        for peer in (name for name in ALL if name in rows):
            row = rows[peer]
            title = TITLES[cell.workload]
            place = f"| {cell.workload} {title} | {cell.hosts} | {cell.delay_ms} ms | {named(peer, cell)} "
            if row.failed:
                yield f"{place}| failed: {row.failed.splitlines()[0][:80]} | | | | | |"
                continue
            engine = rows["engine"].median("second", "wall_s") if "engine" in rows else None
            second = row.median("second", "wall_s")
            times = f"{second / engine:.1f}" if engine and second else ""
            peak = row.median("second", "peak_bytes")
            memory = f"{peak / MIB:.0f}" if peak else ""
            cpu = _number(row.median("second", "cpu_s"))
            first = _number(row.median("first", "wall_s"))
            yield f"{place}| {first} | {_number(second)} | {times} | {cpu} | {memory} | {len(row.second)} |"


def _bars(results: Results) -> Iterator[str]:
    yield "| bar | measured | |"
    yield "|---|--:|---|"
    for bar in bars():
        value = bar.value(results.cells)
        if value is None:
            yield f"| {bar.text} | | not measured |"
            continue
        runs = min(len(results.cells[bar.cell][peer].second) for peer in (bar.under, bar.over) if peer)
        few = f" ({runs} runs)" if runs < ENOUGH_RUNS else ""
        shown = f"{value:.2f} ×" if bar.over else f"{value / MIB:.0f} MiB"
        yield f"| {bar.text} | {shown} | {'holds' if bar.holds(value) else '**missed**'}{few} |"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
