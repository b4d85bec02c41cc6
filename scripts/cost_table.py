"""A cost report as a table for people: rich on a terminal, plain text elsewhere."""

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cluster.cost_report import Comparison, CostReport
from scripts.console import standard_output

WIDE = 100
"""Columns from which every figure has its place; below, those that follow from the others are left out."""
VERDICT = {True: Text("yes", "bold green"), False: Text("never", "red"), None: Text("?", "dim")}


def show(report: CostReport, console: Console | None = None) -> None:
    """Print it."""
    console = console or standard_output()
    _head(report, console)
    console.print(_break_even(report, console))
    if report.tokens_per_day:
        _at_volume(report, console)
    _feet(report, console)


def _head(report: CostReport, console: Console) -> None:
    cluster, serving = report.cluster, report.serving
    console.print(Text(cluster.name, "bold"))
    console.print(
        f"  {cluster.usd_per_hour:,.2f} USD an hour, {cluster.usd_per_day:,.0f} a day, "
        f"{cluster.usd_per_month:,.0f} a month (CNY {cluster.cny_per_month:,.0f} at {report.cny_per_usd:g})"
    )
    if serving:
        console.print(
            f"  {serving.tokens_per_s:,.0f} tokens/s at {serving.utilization:.0%} use: "
            f"{millions(serving.tokens_per_day)} tokens a day, "
            f"{serving.usd_per_million_tokens:.2f} USD a million (CNY {serving.cny_per_million_tokens:.2f})"
        )
    mix = report.mix
    console.print(
        f"  tokens: {mix.input:.0%} input, {mix.cached_input:.0%} cached input, {mix.output:.0%} output\n"
    )


def _table(title: str, console: Console) -> Table:
    style = box.SIMPLE_HEAD if console.is_terminal else box.SIMPLE
    table = Table(title=title, title_justify="left", title_style="bold", box=style)
    table.add_column("hosted offer", no_wrap=True)
    return table


def _break_even(report: CostReport, console: Console) -> Table:
    table = _table("Break-even", console)
    wide = console.width >= WIDE
    headings = ["USD/Mtok", "CNY/Mtok", "tokens/day", "at tokens/s", "of capacity", "pays"]
    for heading in headings:
        if wide or heading not in ("CNY/Mtok", "at tokens/s"):
            table.add_column(heading, justify="right")
    for each in report.hosted:
        share = f"{each.share_of_capacity:,.0%}" if each.share_of_capacity is not None else ""
        table.add_row(
            each.id if each.model in each.id else f"{each.id} ({each.model})",
            f"{each.usd_per_million_tokens:.3f}",
            *([f"{each.cny_per_million_tokens:.2f}"] if wide else []),
            millions(each.break_even_tokens_per_day),
            *([f"{each.break_even_tokens_per_s:,.0f}"] if wide else []),
            share,
            VERDICT[each.pays],
        )
    return table


def _at_volume(report: CostReport, console: Console) -> None:
    volume = millions(report.tokens_per_day or 0)
    if report.serving is None:
        console.print(
            f"{volume} tokens a day need {report.needed_tokens_per_s:,.0f} tokens/s: give --tokens-per-s "
            "or --bench to compare the ways of serving them.\n"
        )
        return
    title = f"{volume} tokens a day, USD a month (hybrid: own up to capacity, the rest hosted)"
    table = _table(title, console)
    for heading in ("all hosted", "all own (clusters)", "hybrid (clusters)", "cheapest"):
        table.add_column(heading, justify="right")
    for each in report.hosted:
        if at := each.at_tokens_per_day:
            table.add_row(
                each.id,
                f"{at.hosted_usd_per_month:,.0f}",
                f"{at.own_usd_per_month:,.0f} ({at.own_clusters:,})",
                f"{at.hybrid_usd_per_month:,.0f} ({at.hybrid_clusters:,})",
                Text(at.cheapest, "bold"),
            )
    console.print(table)


def _feet(report: CostReport, console: Console) -> None:
    if dated := report.cluster.price_date:
        console.print(f"Instances: {report.cluster.price_source}, {dated}.", style="dim", soft_wrap=True)
    for source, date in dict.fromkeys((each.source, each.date) for each in report.hosted):
        names = ", ".join(each.id for each in report.hosted if (each.source, each.date) == (source, date))
        console.print(f"{names}: {source}, {date}.", style="dim", soft_wrap=True)
    if verdict := _verdict(report):
        console.print(f"\n{verdict}", soft_wrap=True)


def _verdict(report: CostReport) -> str:
    """What to do next, in a sentence."""
    cheapest: Comparison = report.hosted[0]
    if report.serving is None:
        return "Whether the cluster can serve a break-even is known with --tokens-per-s or --bench."
    paying = [each for each in report.hosted if each.pays]
    if not paying:
        dearest = report.hosted[-1]
        return (
            f"At {report.serving.utilization:.0%} use a token of one's own costs more than each of these. "
            f"It would take {dearest.break_even_tokens_per_s:,.0f} tokens/s to pay against {dearest.id}: "
            "stay hosted unless the data may not leave, or raise throughput or use."
        )
    first = paying[0]
    which = "every offer here" if first is cheapest else f"{first.id} and dearer ones"
    return f"Pays against {which}, from {millions(first.break_even_tokens_per_day)} tokens a day."


def millions(tokens: float) -> str:
    """A number of tokens in millions: 12.3 M, 6,290 M."""
    amount = tokens / 1e6
    return f"{amount:,.0f} M" if amount >= 100 else f"{amount:.3g} M"
