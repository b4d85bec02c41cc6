"""The chart: what is drawn where, and that it comes out as real PNG and SVG."""

import itertools
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.cost import Cost
from cluster.cost_report import CostReport, Question, report
from cluster.hosted import Mix, offers
from scripts import cost_plot


def asked(usd_per_hour: float, tokens_per_s: float | None, tokens_per_day: float | None = None) -> CostReport:
    cost = Cost(usd_per_hour, "a test", "2026-11-25")
    question = Question("a cluster", cost, Mix.of(3, 1, 0), 7.0, 0.5, tokens_per_s, tokens_per_day)
    return report(question, list(offers().values()))


def texts(spec: dict[str, Any]) -> list[str]:
    return [layer["mark"]["text"] for layer in spec["layer"] if "text" in layer["mark"]]


def test_the_title_is_the_answer() -> None:
    assert cost_plot.chart(asked(1.861, 6000))["title"]["text"].startswith("Pays against deepseek-flash/off")
    assert cost_plot.chart(asked(110.08, 8000))["title"]["text"].startswith("Never pays at 50% use")
    assert cost_plot.chart(asked(110.08, None))["title"]["text"].startswith("From how many tokens")


def test_every_offer_is_named_and_beaten_ones_say_from_when() -> None:
    found = texts(cost_plot.chart(asked(1.861, 6000, 1e9)))
    for name in offers():
        assert any(text.startswith(f"{name}  ") for text in found)
    assert "deepseek-chat  0.48, beaten from 93.5 M" in found
    assert "one cluster is full at 259 M a day" in found
    assert "asked: 1,000 M a day" in found


@pytest.mark.parametrize("tokens_per_s", [None, 50, 8000, 6e6])
def test_all_break_evens_lie_in_view(tokens_per_s: float | None) -> None:
    spec = cost_plot.chart(asked(110.08, tokens_per_s))
    circles = next(layer for layer in spec["layer"] if layer["mark"]["type"] == "point")
    low, high = circles["encoding"]["x"]["scale"]["domain"]
    bottom, top = circles["encoding"]["y"]["scale"]["domain"]
    assert len(circles["data"]["values"]) == len(offers())
    for value in circles["data"]["values"]:
        assert low < value["tokens"] < high
        assert bottom < value["usd"] < top


@given(st.lists(st.floats(0, 500), min_size=1, max_size=9))
def test_labels_keep_their_distance_and_their_order(places: list[float]) -> None:
    moved = cost_plot.spread(sorted(places), 19, 500)
    assert all(after - before >= 19 - 1e-6 for before, after in itertools.pairwise(moved))
    assert moved[-1] <= 500


def test_labels_that_have_room_stay_where_they_are() -> None:
    assert cost_plot.spread([10, 100, 200], 19, 500) == [10, 100, 200]
    assert cost_plot.spread([100, 100], 20, 500) == [90, 110]


def test_png(tmp_path: Path) -> None:
    file = tmp_path / "cost.PNG"
    cost_plot.write(asked(1.861, 6000), file)
    content = file.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(content[16:20]) > 2000  # wide enough for a retina screen


def test_svg(tmp_path: Path) -> None:
    file = tmp_path / "cost.svg"
    cost_plot.write(asked(110.08, 8000), file)
    content = file.read_text()
    assert content.startswith("<svg")
    assert "NaN" not in content
    assert "Never pays at 50% use" in content
    for name in offers():
        assert re.search(rf">{name}\s", content)
