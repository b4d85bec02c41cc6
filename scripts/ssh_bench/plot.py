"""The second passes as a chart: a bar for each peer in each cell, on a logarithmic scale."""

from pathlib import Path
from typing import Any

from scripts.ssh_bench.peers import ALL
from scripts.ssh_bench.results import Results

COLOURS = ("#12355b", "#98a4ae", "#d9731a", "#e8a968", "#1d7f5c", "#8fb9a8")
FONT = "Liberation Sans, Helvetica, Arial, sans-serif"


def write(results: Results, file: Path) -> None:
    """Draw it into a PNG."""
    import vl_convert

    file.write_bytes(vl_convert.vegalite_to_png(chart(results), scale=1))


def chart(results: Results) -> dict[str, Any]:
    """The Vega-Lite specification, with all its data inside."""
    values = [
        {"cell": cell.key, "peer": peer, "s": round(second, 2), "rank": ALL.index(peer)}
        for cell, rows in results.cells.items()
        for peer, row in rows.items()
        if (second := row.median("second", "wall_s")) is not None
    ]
    place = {
        "y": {"field": "peer", "type": "nominal", "sort": list(ALL), "title": None},
        "x": {"field": "s", "type": "quantitative", "scale": {"type": "log"}, "title": "seconds, median"},
    }
    colour = {
        "field": "peer", "type": "nominal", "legend": None,
        "scale": {"domain": list(ALL), "range": list(COLOURS)},
    }  # fmt: skip
    text = {"type": "text", "align": "left", "dx": 8, "fontSize": 12}
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "title": {"text": "Second pass: nothing is left to do", "anchor": "start", "fontSize": 18},
        "background": "white",
        "data": {"values": values},
        "facet": {
            "field": "cell",
            "type": "nominal",
            "title": None,
            "header": {"labelFontSize": 13},
            "sort": [cell.key for cell in sorted(results.cells)],
        },
        "columns": 2,
        "spec": {
            "width": 380,
            "layer": [
                {
                    "mark": {"type": "point", "filled": True, "size": 110},
                    "encoding": {**place, "color": colour},
                },
                {"mark": text, "encoding": {**place, "text": {"field": "s", "format": ".2f"}}},
            ],
        },
        "config": {"font": FONT, "axis": {"labelFontSize": 12, "gridColor": "#e4e8ec"}},
    }
