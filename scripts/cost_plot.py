"""A cost report as a chart: USD per million tokens against tokens a day, as a Vega-Lite specification."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cluster.break_even import MILLION, Own
from cluster.cost_report import Comparison, CostReport
from cluster.problems import Failure
from scripts.cost_table import millions

WIDTH, HEIGHT = 860, 500
LABEL_GAP_PX = 19
INK, QUIET, FAINT = "#1b2733", "#5d6b78", "#e4e8ec"
OWN, HYBRID, PAYS, NEVER = "#12355b", "#d9731a", "#1d7f5c", "#98a4ae"
FONT = "Liberation Sans, Helvetica, Arial, sans-serif"
STEPS = 400
MOST_CLUSTERS = 20
"""Beyond so many clusters the steps are too fine to see."""

Spec = dict[str, Any]


def write(report: CostReport, file: Path) -> None:
    """Draw it into a .png or .svg file; Failure when the file cannot be written."""
    import vl_convert

    spec = chart(report)
    try:
        if file.suffix.lower() == ".png":
            file.write_bytes(vl_convert.vegalite_to_png(spec, scale=2))
        else:
            file.write_text(vl_convert.vegalite_to_svg(spec))
    except OSError as error:
        raise Failure(f"{file} cannot be written: {error.strerror}", "Give --plot another file.") from error


def chart(report: CostReport) -> Spec:
    """The specification, with all its data inside."""
    view = _View(report)
    layers = [
        *_beyond_capacity(view),
        _hosted_lines(view),
        *_own_if_it_could(view),
        *_own_and_hybrid(view),
        *_asked(view),
        _break_evens(view),
        *_labels(view),
    ]
    title, subtitle = _titles(report)
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "width": WIDTH,
        "height": HEIGHT,
        "background": "white",
        "padding": {"left": 24, "top": 24, "right": 24, "bottom": 20},
        "title": {
            "text": title, "subtitle": subtitle, "anchor": "start", "offset": 26, "fontSize": 21,
            "color": INK,
            "subtitleFontSize": 13, "subtitleColor": QUIET, "subtitlePadding": 9, "subtitleLineHeight": 18,
        },
        "layer": layers,
        "config": {
            "font": FONT,
            "view": {"stroke": None},
            "axis": {
                "grid": True, "gridColor": FAINT, "domain": False, "ticks": False, "labelColor": QUIET,
                "labelFontSize": 13, "labelPadding": 9, "titleColor": QUIET, "titleFontSize": 13,
                "titleFontWeight": "normal", "titlePadding": 14,
            },
        },
    }  # fmt: skip


class _View:
    """The part of the plane that is shown, and the report's lines in it."""

    def __init__(self, report: CostReport) -> None:
        self.report = report
        self.hosted = report.hosted
        serving = report.serving
        self.usd_per_day = report.cluster.usd_per_day
        self.own = (
            Own(report.cluster.usd_per_hour, serving.tokens_per_s, serving.utilization) if serving else None
        )
        prices = [each.usd_per_million_tokens for each in self.hosted]
        floor = [self.own.usd_per_million_tokens] if self.own else []
        self.bottom, self.top = min(prices + floor) / 1.8, max(prices + floor) * 9
        evens = [each.break_even_tokens_per_day for each in self.hosted]
        far = [*evens, *([self.own.tokens_per_day * 3] if self.own else []), report.tokens_per_day or 0]
        self.left, self.right = self.usd_per_day / self.top * MILLION, max(far) * 1.6

    def x(self) -> Spec:
        """The horizontal channel, for a field `tokens`."""
        return {
            "field": "tokens", "type": "quantitative", "title": "tokens a day",
            "scale": {"type": "log", "domain": [self.left, self.right], "nice": False},
            "axis": {"values": _decades(self.left, self.right), "labelExpr": TOKENS_LABEL},
        }  # fmt: skip

    def y(self, field: str = "usd") -> Spec:
        """The vertical channel."""
        return {
            "field": field, "type": "quantitative", "title": "USD per million tokens",
            "scale": {"type": "log", "domain": [self.bottom, self.top], "nice": False},
            "axis": {"values": _decades(self.bottom, self.top), "format": "~r"},
        }  # fmt: skip

    def tokens(self) -> list[float]:
        """Sample points from edge to edge, evenly spaced on the log scale."""
        ratio = self.right / self.left
        return [self.left * ratio ** (step / STEPS) for step in range(STEPS + 1)]


TOKENS_LABEL = "format(datum.value / 1e6, ',~r') + ' M'"


def _decades(low: float, high: float) -> list[float]:
    """Round numbers in between: 1, 2, 5 of each power of ten, or fewer where those were too many."""
    width = math.log10(high / low)
    factors = (1, 2, 5) if width < 2.5 else (1, 3) if width < 3.5 else (1,)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1, math.ceil(width / 9))
    return [at for power in powers for factor in factors if low <= (at := factor * 10.0**power) <= high]


def _layer(values: list[Spec], mark: Spec, encoding: Spec) -> Spec:
    return {"data": {"values": values}, "mark": mark, "encoding": encoding}


def _beyond_capacity(view: _View) -> Iterator[Spec]:
    if view.own is None:
        return
    capacity = view.own.tokens_per_day
    edge = {"tokens": capacity, "end": view.right, "usd": view.top}
    shade = {"type": "rect", "color": "#dfe6ec", "opacity": 0.45}
    yield _layer([edge], shade, {"x": view.x(), "x2": {"field": "end"}})
    text = f"one cluster is full at {millions(capacity)} a day"
    yield _layer([edge], _note(view, capacity, text, above=True), {"x": view.x(), "y": view.y()})


def _note(view: _View, tokens: float, text: str, *, above: bool) -> Spec:
    """Words at the top of a vertical line, above or below the edge, on the side that has room for them."""
    on_the_right = math.log(tokens / view.left) / math.log(view.right / view.left) > 0.6
    align, dx = ("right", -6) if on_the_right else ("left", 6)
    baseline, dy = ("bottom", -8) if above else ("top", 8)
    return {"type": "text", "align": align, "baseline": baseline, "dx": dx, "dy": dy, "fontSize": 13,
            "color": INK, "text": text}  # fmt: skip


def _hosted_lines(view: _View) -> Spec:
    values = [
        {"tokens": tokens, "usd": each.usd_per_million_tokens, "id": each.id, "color": _colour(each)}
        for each in view.hosted
        for tokens in (view.left, view.right)
    ]
    colour = {"field": "color", "type": "nominal", "scale": None}
    encoding = {"x": view.x(), "y": view.y(), "detail": {"field": "id"}, "color": colour}
    return _layer(values, {"type": "line", "strokeWidth": 1.6}, encoding)


def _own_if_it_could(view: _View) -> Iterator[Spec]:
    """The price of a token if one cluster served any volume, for the break-evens beyond its capacity."""
    if all(each.pays for each in view.hosted):
        return
    values = [{"tokens": tokens, "usd": view.usd_per_day / tokens * MILLION} for tokens in view.tokens()]
    mark = {"type": "line", "strokeWidth": 1.8, "strokeDash": [2, 4], "color": OWN, "clip": True}
    yield _layer(values, mark, {"x": view.x(), "y": view.y()})


def _own_and_hybrid(view: _View) -> Iterator[Spec]:
    own = view.own
    if own is None:
        return
    price = _partner(view).usd_per_million_tokens
    channels = {"x": view.x(), "y": view.y()}
    steps = _with_steps(view, own)
    mixed = [
        {"tokens": at, "usd": own.hybrid_usd_per_day_for(at, price) / at * MILLION}
        for at in (steps if own.pays_against(price) else [own.tokens_per_day, *view.tokens()])
        if at >= own.tokens_per_day
    ]
    yield _layer(mixed, {"type": "line", "strokeWidth": 3, "color": HYBRID, "clip": True}, channels)
    values = [{"tokens": at, "usd": own.usd_per_day_for(at) / at * MILLION} for at in _with_steps(view, own)]
    yield _layer(values, {"type": "line", "strokeWidth": 3, "color": OWN, "clip": True}, channels)


def _with_steps(view: _View, own: Own) -> list[float]:
    """Sample points that have each step's two edges; where steps are too fine to see, full clusters alone."""
    capacity, clusters = own.tokens_per_day, math.floor(view.right / own.tokens_per_day)
    stepped = min(clusters, MOST_CLUSTERS)
    edges = [capacity * count * (1 + side) for count in range(1, stepped + 1) for side in (-1e-6, 0, 1e-6)]
    if clusters <= MOST_CLUSTERS:
        return sorted([*view.tokens(), *edges])
    smooth = [at for at in view.tokens() if at < stepped * capacity]
    return [*sorted([*smooth, *edges[:-1]]), clusters * capacity]


def _partner(view: _View) -> Comparison:
    """Who serves the rest in the mixed way: the cheapest offer that the cluster beats, or the cheapest."""
    return next((each for each in view.hosted if each.pays), view.hosted[0])


def _asked(view: _View) -> Iterator[Spec]:
    asked = view.report.tokens_per_day
    if asked is None:
        return
    here = [{"tokens": asked, "usd": view.top}]
    yield _layer(here, {"type": "rule", "color": INK, "strokeDash": [5, 4]}, {"x": view.x()})
    mark = _note(view, asked, f"asked: {millions(asked)} a day", above=False)
    yield _layer(here, mark, {"x": view.x(), "y": view.y()})


def _break_evens(view: _View) -> Spec:
    """A circle where the cluster's price meets a hosted one; hollow where it cannot serve so many."""
    values = [
        {
            "tokens": each.break_even_tokens_per_day,
            "usd": each.usd_per_million_tokens,
            "color": _colour(each),
            "fill": _colour(each) if each.pays else "white",
        }
        for each in view.hosted
    ]
    encoding = {
        "x": view.x(),
        "y": view.y(),
        "stroke": {"field": "color", "type": "nominal", "scale": None},
        "fill": {"field": "fill", "type": "nominal", "scale": None},
    }
    return _layer(values, {"type": "point", "size": 95, "strokeWidth": 2.2, "opacity": 1}, encoding)


def _labels(view: _View) -> Iterator[Spec]:
    """The lines' names at the right edge, moved apart where prices are close, with a hair to their line."""
    named = [(each.usd_per_million_tokens, _label(each), _colour(each)) for each in view.hosted]
    if view.own:
        dearest = view.own.usd_per_day_for(view.right) / view.right * MILLION
        named.append((dearest, "own clusters alone", OWN))
        partner = _partner(view)
        mixed = view.own.hybrid_usd_per_day_for(view.right, partner.usd_per_million_tokens)
        named.append((mixed / view.right * MILLION, f"hybrid with {partner.id}", HYBRID))
    else:
        named.append((view.usd_per_day / view.right * MILLION, "the cluster, if it serves so many", OWN))
    named.sort(key=lambda one: -one[0])
    places = spread([_pixel(view, usd) for usd, _, _ in named], LABEL_GAP_PX, HEIGHT)
    for (usd, text, colour), place in zip(named, places, strict=True):
        start, end, there = {"value": WIDTH + 2}, {"value": WIDTH + 20}, {"value": place}
        hair = {"x": start, "x2": end, "y": {"value": _pixel(view, usd)}, "y2": there}
        yield _layer([{}], {"type": "rule", "strokeWidth": 1.1, "color": colour}, hair)
        # What is light as a line is too light as a letter.
        letters = QUIET if colour == NEVER else colour
        mark = {"type": "text", "align": "left", "baseline": "middle", "fontSize": 13, "color": letters,
                "fontWeight": "bold" if colour in (OWN, HYBRID) else "normal", "text": text}  # fmt: skip
        yield _layer([{}], mark, {"x": {"value": WIDTH + 25}, "y": there})


def _label(each: Comparison) -> str:
    even = millions(each.break_even_tokens_per_day)
    verdict = {True: f", beaten from {even}", False: "", None: f", even at {even}"}[each.pays]
    return f"{each.id}  {each.usd_per_million_tokens:.2f}{verdict}"


def _pixel(view: _View, usd: float) -> float:
    """Distance of a price from the top edge."""
    place = math.log(view.top / usd) / math.log(view.top / view.bottom) * HEIGHT
    return min(max(place, 0.0), float(HEIGHT))


def spread(places: list[float], gap: float, height: float) -> list[float]:
    """Places in rising order moved at least ``gap`` apart, as little as that takes, within the height."""
    groups: list[tuple[float, int]] = []
    for place in places:
        centre, count = place, 1
        while groups and groups[-1][0] + groups[-1][1] * gap / 2 > centre - count * gap / 2:
            other, others = groups.pop()
            centre, count = (other * others + centre * count) / (others + count), others + count
        groups.append((centre, count))
    moved = [centre + (index - (count - 1) / 2) * gap for centre, count in groups for index in range(count)]
    for index in range(len(moved) - 1, -1, -1):
        ceiling = height if index == len(moved) - 1 else moved[index + 1] - gap
        moved[index] = min(moved[index], ceiling)
    return moved


def _colour(each: Comparison) -> str:
    return PAYS if each.pays else NEVER


def _titles(report: CostReport) -> tuple[str, list[str]]:
    serving, cluster, mix = report.serving, report.cluster, report.mix
    paying = [each for each in report.hosted if each.pays]
    if serving is None:
        title = "From how many tokens a day a cluster of one's own would pay"
    elif paying:
        first = paying[0]
        title = f"Pays against {first.id} from {millions(first.break_even_tokens_per_day)} tokens a day"
    else:
        title = (
            f"Never pays at {serving.utilization:.0%} use: even a full cluster's token is dearer than hosted"
        )
    price = f"{cluster.name}: {cluster.usd_per_hour:,.2f} USD an hour"
    price += f" ({cluster.price_date})" if cluster.price_date else ""
    load = f"{serving.tokens_per_s:,.0f} tokens/s at {serving.utilization:.0%} use; " if serving else ""
    load += f"{mix.input:.0%} input, {mix.cached_input:.0%} cached, {mix.output:.0%} output tokens; "
    return title, [price, f"{load}{report.cny_per_usd:g} CNY to the USD. Circles: break-even"]
