"""A plan as text for people: the answer first, then what else fits, then what does not and why."""

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cluster.memory import GIB
from cluster.plan_report import Placement, PlanReport
from scripts.console import standard_output

SHOWN = 10
"""Rows of each table; --json has all."""
WIDE = 100
"""Columns from which the price of a day has its place."""


def show(report: PlanReport, *, explain: bool, console: Console | None = None) -> None:
    """Print it."""
    console = console or standard_output()
    _head(report, console)
    _answer(report, console)
    all_of_them = (report, *report.alternatives)
    fitting = [each for each in all_of_them if each.fits]
    refused = [each for each in all_of_them if not each.fits]
    # A table that holds the answer alone would only say it again.
    if fitting not in ([], [report]):
        _fitting(report, fitting, console)
    if refused not in ([], [report]):
        _refused(report, refused, console)
    if explain:
        _flags(report, console)
    _feet(report, [*fitting[:SHOWN], *refused[:SHOWN]], console)


def _head(report: PlanReport, console: Console) -> None:
    active = ""
    if report.active_parameters < report.parameters:
        active = f" ({_count(report.active_parameters)} active)"
    console.print(Text(report.model, "bold"))
    console.print(
        f"  {_count(report.parameters)} parameters{active}, {report.quantization or report.dtype}, "
        f"{_gib(report.weights_bytes)} of weights"
    )
    where = f"{report.market} in {report.region}"
    length = f"requests of up to {report.max_model_len:,} tokens"
    console.print(f"  {length}, profile {report.profile}, {where}\n")
    for note in report.notes:
        console.print(Text(f"  note: {note}\n", "yellow"))


def _count(parameters: int) -> str:
    return f"{parameters / 1e9:.1f}B" if parameters >= 1e8 else f"{parameters / 1e6:.1f}M"


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / GIB:.1f} GiB" if size_bytes >= GIB / 10 else f"{size_bytes / 1024**2:.1f} MiB"


def _gb(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:,.0f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:.1f} MB"


def _answer(report: PlanReport, console: Console) -> None:
    verdict = Text("fits", "bold green") if report.fits else Text("does not fit", "bold red")
    console.print(Text.assemble(verdict, f": {_machines(report)}, {report.layout}"))
    lines = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1))
    lines.add_column(style="dim", no_wrap=True)
    lines.add_column()
    for name, text in _facts(report) if report.fits else (("why", report.reason), ("do", report.remedy)):
        lines.add_row(f"  {name}", text)
    console.print(lines)
    console.print()


def _facts(report: PlanReport) -> Iterator[tuple[str, str]]:
    hour, day, month = report.usd_per_hour, report.usd_per_day, report.usd_per_month
    price = f"{hour:,.2f} USD an hour, {day:,.0f} a day, {month:,.0f} a month" if hour else "unknown"
    yield "price", price
    parts = (report.weights_bytes_per_gpu, report.overhead_bytes_per_gpu, report.kv_cache_bytes_per_gpu)
    weights, overhead, cache = (_gib(part or 0) for part in parts)
    where = f"on each {report.gpu or 'node'}"
    yield "memory", f"{weights} weights, {overhead} overhead, {cache} KV cache {where}"
    yield (
        "requests",
        (
            f"{report.max_concurrency:,.1f} of {report.max_model_len:,} tokens at once "
            f"({report.kv_cache_tokens:,} tokens of KV cache)"
        ),
    )
    disk = report.disk
    place = "the instance's own disks" if disk.place == "instance-store" else "a data volume"
    yield "disk", f"{_gb(report.disk_bytes)} on each node; {place}: {_gb(disk.capacity_bytes)}"
    yield "download", f"about {_time(disk.download_s)} from the bucket; slowest: {disk.download_limit}"
    yield "load", f"about {_time(disk.load_s)} into memory; slowest: {disk.load_limit}"


def _time(seconds: int) -> str:
    """An estimate, told no more exactly than it is."""
    return f"{max(1, seconds)} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _fitting(report: PlanReport, placed: Sequence[Placement], console: Console) -> None:
    table = _table("fits, cheapest first", report, console)
    for heading in ("weights\nGiB/GPU", "KV cache\ntokens", "requests\nat once"):
        table.add_column(heading, justify="right", no_wrap=True)
    for each in placed[:SHOWN]:
        weights, tokens = (each.weights_bytes_per_gpu or 0) / GIB, each.kv_cache_tokens or 0
        counted = (f"{weights:.1f}", f"{tokens:,}", f"{each.max_concurrency or 0:,.1f}")
        table.add_row(*_start(each, console), *counted)
    _print(table, len(placed), console)


def _refused(report: PlanReport, placed: Sequence[Placement], console: Console) -> None:
    table = _table("does not fit, nearest first", report, console)
    table.add_column("\nwhy not")
    before = ""
    for each in placed[:SHOWN]:
        why = _why(each)
        table.add_row(*_start(each, console), "the same" if why == before else why)
        before = why
    _print(table, len(placed), console)


def _why(each: Placement) -> str:
    """The reason; that of the many which lack memory in few words."""
    if not each.missing_gib:
        return each.reason
    needed = ((each.usable_bytes_per_gpu or 0) - (each.headroom_bytes_per_gpu or 0)) / GIB
    unit = "GPU" if each.gpu else "node"
    return f"needs {needed:.1f} GiB/{unit}, {each.missing_gib:.1f} missing"


def _table(title: str, report: PlanReport, console: Console) -> Table:
    where = f"{title} ({report.market}, {report.region})"
    table = Table(title=where, title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column("\nmachines", no_wrap=True)
    table.add_column("\nlayout", no_wrap=True)
    for heading in _by_width(console, "USD\nhour", "USD\nday"):
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _start(each: Placement, console: Console) -> list[str]:
    hour = each.usd_per_hour
    prices = ("?", "?") if hour is None else (f"{hour:,.2f}", f"{hour * 24:,.0f}")
    return [_machines(each), each.layout, *_by_width(console, *prices)]


def _by_width(console: Console, hour: str, day: str) -> tuple[str, ...]:
    return (hour, day) if console.width >= WIDE else (hour,)


def _machines(each: Placement) -> str:
    return f"{each.nodes} × {each.instance_type}"


def _print(table: Table, rows: int, console: Console) -> None:
    console.print(table)
    if rows > SHOWN:
        console.print(f"and {rows - SHOWN} more: --json has all", style="dim")
    console.print()


def _flags(report: PlanReport, console: Console) -> None:
    title = f"vllm serve {report.vllm_args[0]}"
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column("flag", no_wrap=True)
    table.add_column("why")
    for each in report.flags:
        table.add_row(f"{each.flag} {each.value}".rstrip(), each.reason)
    if report.worker_vllm_args:
        table.add_row(report.worker_vllm_args[-1], "on every node but the head, beside the same flags")
    console.print(table)
    console.print()


def _feet(report: PlanReport, shown: Sequence[Placement], console: Console) -> None:
    lines = [f"Model: {report.source}."]
    served = f"{report.architecture} is served from {report.least_vllm_version} on"
    lines.append(f"vLLM: nodes get {report.vllm_version}; {served}.")
    dates: dict[str, set[str]] = {}
    for each in shown:
        if each.price_source and each.price_date:
            dates.setdefault(each.price_source, set()).add(each.price_date)
    if dates:
        read = "; ".join(f"{source}, {' and '.join(sorted(days))}" for source, days in dates.items())
        lines.append(f"Prices: {read}.")
    if any(each.usd_per_hour is None for each in shown):
        ask = f"ask AWS with `drydock cost --refresh --region {report.region}`"
        if report.market == "capacity-block":
            ask = "such blocks are priced when they are bought"
        lines.append(f"?: no {report.market} price in {report.region} is known, ranked as elsewhere; {ask}.")
    for line in lines:
        console.print(line, style="dim", soft_wrap=True)
