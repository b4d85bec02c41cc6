"""From the options of `drydock cost` to its question; every problem with them at once."""

import json
import math
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from cluster import catalog
from cluster.cost import Cost
from cluster.cost_report import Question
from cluster.hosted import Mix, Offer, offers
from cluster.prices import MARKETS, PriceTable
from cluster.problems import BadInput, Failure, Problem

REGION = "us-east-1"
PLOT_SUFFIXES = (".png", ".svg")
MEASURED_KEYS = ("total_token_throughput", "total_input_tokens", "total_output_tokens")


@dataclass(frozen=True)
class Options:
    """The options as they were given."""

    instance_type: str | None = None
    nodes: int = 1
    region: str = ""
    """"" = the plan's, else us-east-1."""
    market: str = ""
    """"" = the plan's, else on-demand."""
    usd_per_hour: float | None = None
    tokens_per_s: float | None = None
    bench: Path | None = None
    utilization: float = 0.5
    tokens_per_day: float | None = None
    mix: str | None = None
    cached_share: float = 0.0
    cny_per_usd: float = 7.0
    hosted: tuple[str, ...] = ()
    plot: Path | None = None


@dataclass(frozen=True)
class Measured:
    """What `vllm bench serve --save-result` measured."""

    tokens_per_s: float
    input_tokens: float
    output_tokens: float


def read(options: Options, prices: PriceTable) -> tuple[Question, tuple[Offer, ...]]:
    """The question and the offers to compare with; BadInput with everything that is wrong."""
    problems: list[Problem] = []
    options = replace(options, region=options.region or REGION, market=options.market or "on-demand")
    cost, name = _price(options, prices, problems)
    measured = _measured(options, problems)
    mix = _mix(options, measured, problems)
    chosen = _offers(options, problems)
    for option, value in [
        ("--tokens-per-s", options.tokens_per_s),
        ("--tokens-per-day", options.tokens_per_day),
        ("--cny-per-usd", options.cny_per_usd),
    ]:
        if value is not None and not _positive(value):
            problems.append(Problem(option, f"is {value:g}", "Give a number above 0."))
    if not (_positive(options.utilization) and options.utilization <= 1):
        remedy = "Give the share of full load that a day's traffic uses: above 0, at most 1, e.g. 0.5."
        problems.append(Problem("--utilization", f"is {options.utilization:g}", remedy))
    _check_plot(options, problems)
    if problems or cost is None or mix is None:
        raise BadInput(problems)
    tokens_per_s = measured.tokens_per_s if measured else options.tokens_per_s
    return Question(
        name=name,
        cost=cost,
        mix=mix,
        cny_per_usd=options.cny_per_usd,
        utilization=options.utilization,
        tokens_per_s=tokens_per_s,
        tokens_per_day=options.tokens_per_day,
    ), chosen


def _positive(value: float) -> bool:
    """Above 0, and within what any cluster or price can be, so that no figure made of it is infinite."""
    return math.isfinite(value) and 1e-12 < value < 1e18


def _price(options: Options, prices: PriceTable, problems: list[Problem]) -> tuple[Cost | None, str]:
    if options.usd_per_hour is None:
        return _price_of_type(options, prices, problems)
    if options.instance_type is not None:
        remedy = "Give --usd-per-hour for all nodes, or --instance-type and --nodes."
        problems.append(Problem("--usd-per-hour", "is given beside --instance-type", remedy))
    if not _positive(options.usd_per_hour):
        remedy = "Give USD per hour for all nodes, above 0."
        problems.append(Problem("--usd-per-hour", f"is {options.usd_per_hour:g}", remedy))
    return Cost(options.usd_per_hour, "--usd-per-hour", ""), f"{options.usd_per_hour:g} USD/h"


def text_of(plan: str) -> str:
    """What stands in the file, or on standard input for -."""
    try:
        return sys.stdin.read() if plan == "-" else Path(plan).read_text()
    except (OSError, UnicodeDecodeError) as error:
        remedy = "Give the file that holds what `drydock plan --json` printed, or - for standard input."
        raise BadInput([Problem("--plan", f"{plan} cannot be read: {error}", remedy)]) from error


def with_plan(options: Options, text: str) -> Options:
    """The options with the machines that `drydock plan --json` printed; Failure when it does not fit.

    A region or market that was given stands: the plan's machines are priced there.
    """
    path, remedy = "--plan", "Give what `drydock plan --json` printed: a file, or - for standard input."
    if options.instance_type is not None or options.usd_per_hour is not None:
        what = "is given beside --instance-type or --usd-per-hour"
        raise BadInput([Problem(path, what, "Give one of them.")])
    try:
        plan = json.loads(text)
        fits, reason = plan["fits"], plan["reason"]
        kind, nodes = plan["instance_type"], plan["nodes"]
        region, market = str(plan.get("region", "")), str(plan.get("market", ""))
    except json.JSONDecodeError as error:
        problem = Problem(path, f"is no JSON (line {error.lineno}: {error.msg})", remedy)
        raise BadInput([problem]) from error
    except (KeyError, TypeError) as error:
        raise BadInput([Problem(path, "has not fits, reason, instance_type and nodes", remedy)]) from error
    if not fits:
        raise Failure(f"the plan does not fit: {reason}", "Price one of its alternatives.")
    if not (isinstance(kind, str) and isinstance(nodes, int)):
        raise BadInput([Problem(path, f"has the type {kind!r} and the nodes {nodes!r}", remedy)])
    return replace(
        options,
        instance_type=kind,
        nodes=nodes,
        region=options.region or region,
        market=options.market or market,
    )


def _price_of_type(options: Options, prices: PriceTable, problems: list[Problem]) -> tuple[Cost | None, str]:
    kind, market = options.instance_type, options.market
    if options.nodes < 1:
        problems.append(Problem("--nodes", f"is {options.nodes}", "Give 1 or more."))
    if market not in MARKETS:
        problems.append(Problem("--market", f"is {market!r}", f"Give one of {', '.join(MARKETS)}."))
    if kind is None:
        remedy = "Give e.g. --instance-type p5.48xlarge, or --usd-per-hour for all nodes together."
        problems.append(Problem("--instance-type", "is missing", remedy))
    elif catalog.find(kind) is None:
        near = catalog.closest(kind)
        remedy = f"Did you mean {near}?" if near else f"Known: {', '.join(catalog.instance_types())}."
        problems.append(Problem("--instance-type", f"{kind!r} is not in the catalogue", remedy))
    elif market in MARKETS:
        if price := prices.price(kind, options.region, market):
            name = f"{options.nodes} x {kind}, {options.region}, {market}"
            return Cost(price.usd_per_hour * options.nodes, price.source, price.date), name
        problems.append(_unknown_price(options, prices))
    return None, ""


def _unknown_price(options: Options, prices: PriceTable) -> Problem:
    known = [
        f"{price.market} {price.usd_per_hour:g} in "
        + ("most regions" if price.region == "default" else price.region)
        for price in prices.known(options.instance_type or "")
    ]
    instead = f" Known, USD/h: {'; '.join(known)}." if known else ""
    ask = (
        f"Ask AWS with --refresh --region {options.region}, or give"
        if options.market != "capacity-block"
        else "Capacity blocks are priced when they are bought: give"
    )
    what = f"no {options.market} price of {options.instance_type} in {options.region} is known"
    return Problem("--market", what, f"{ask} --usd-per-hour.{instead}")


def _measured(options: Options, problems: list[Problem]) -> Measured | None:
    if options.bench is None:
        return None
    if options.tokens_per_s is not None:
        problems.append(Problem("--tokens-per-s", "is given beside --bench", "Give one of the two."))
    remedy = "Give the file that `vllm bench serve --save-result` wrote."
    try:
        result = json.loads(options.bench.read_text())
        throughput, inputs, outputs = (float(result[key]) for key in MEASURED_KEYS)
    except OSError as error:
        what = f"{options.bench} cannot be read: {error.strerror}"
    except UnicodeDecodeError:
        what = f"{options.bench} is no text"
    except json.JSONDecodeError as error:
        what = f"{options.bench} is no JSON (line {error.lineno}: {error.msg})"
    except (KeyError, TypeError, ValueError):
        what = f"{options.bench} has not the numbers {', '.join(MEASURED_KEYS)}"
    else:
        if _positive(throughput) and inputs >= 0 and outputs >= 0 and _positive(inputs + outputs):
            return Measured(throughput, inputs, outputs)
        what = f"{options.bench} measured {throughput:g} tokens/s over {inputs + outputs:g} tokens"
    problems.append(Problem("--bench", what, remedy))
    return None


def _mix(options: Options, measured: Measured | None, problems: list[Problem]) -> Mix | None:
    share = options.cached_share
    if not (math.isfinite(share) and 0 <= share <= 1):
        remedy = "Give the share of input tokens that the prefix cache holds: 0 to 1."
        problems.append(Problem("--cached-share", f"is {share:g}", remedy))
        return None
    if options.mix is None:
        if measured:
            return Mix.of(measured.input_tokens, measured.output_tokens, share)
        return Mix.of(3, 1, share)
    try:
        inputs, outputs = (float(part) for part in options.mix.split(":"))
    except ValueError:
        inputs = outputs = -1.0
    if not (inputs >= 0 and outputs >= 0 and _positive(inputs + outputs)):
        remedy = "Give input and output tokens as a ratio, e.g. 3:1."
        problems.append(Problem("--mix", f"is {options.mix!r}", remedy))
        return None
    return Mix.of(inputs, outputs, share)


def _offers(options: Options, problems: list[Problem]) -> tuple[Offer, ...]:
    table = offers()
    for name in options.hosted:
        if name not in table:
            near = catalog.closest(name, table)
            remedy = f"Did you mean {near}?" if near else f"Known: {', '.join(table)}."
            problems.append(Problem("--hosted", f"{name!r} is not in the table", remedy))
    wanted = [offer for name, offer in table.items() if name in options.hosted]
    return tuple(wanted) if options.hosted else tuple(table.values())


def _check_plot(options: Options, problems: list[Problem]) -> None:
    plot = options.plot
    if plot is None:
        return
    if plot.suffix.lower() not in PLOT_SUFFIXES:
        remedy = "Name a file that ends in .png or .svg."
        problems.append(Problem("--plot", f"{plot} is neither PNG nor SVG", remedy))
    if not plot.parent.is_dir():
        remedy = f"Make it first: mkdir -p {plot.parent}"
        problems.append(Problem("--plot", f"there is no folder {plot.parent}", remedy))
