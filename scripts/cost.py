"""`drydock cost`: what a cluster costs, and from how many tokens a day it is cheaper than a hosted API."""

import sys
from pathlib import Path
from typing import Annotated

import typer


def cost(
    *,
    plan: Annotated[
        str | None,
        typer.Option(
            help="Machines, region and market of a `drydock plan --json`: its file, or - for stdin."
        ),
    ] = None,
    instance_type: Annotated[str | None, typer.Option(help="EC2 instance type of the nodes.")] = None,
    nodes: Annotated[int, typer.Option(help="How many of them one cluster has.")] = 1,
    region: Annotated[
        str, typer.Option(help="AWS region of the price.", show_default="the plan's, or us-east-1")
    ] = "",
    market: Annotated[
        str,
        typer.Option(
            help="on-demand, spot, capacity-block or reservation.", show_default="the plan's, or on-demand"
        ),
    ] = "",
    usd_per_hour: Annotated[
        float | None, typer.Option(help="The price of all nodes, instead of type and nodes.")
    ] = None,
    refresh: Annotated[
        bool,
        typer.Option(
            "--refresh",
            help="First ask AWS for today's prices of the region (on demand and spot) and keep them.",
        ),
    ] = False,
    tokens_per_s: Annotated[
        float | None,
        typer.Option(help="What one cluster serves at full load, input and output tokens together."),
    ] = None,
    bench: Annotated[
        Path | None,
        typer.Option(
            help="Measured instead: the file of `vllm bench serve --save-result` (throughput and mix)."
        ),
    ] = None,
    utilization: Annotated[
        float, typer.Option(help="Share of full load that a day's traffic uses, 0 to 1.")
    ] = 0.5,
    tokens_per_day: Annotated[
        float | None, typer.Option(help="Compare hosted, own and both together at this volume, e.g. 500e6.")
    ] = None,
    mix: Annotated[
        str | None, typer.Option(help="Input to output tokens.", show_default="3:1, or as measured")
    ] = None,
    cached_share: Annotated[
        float, typer.Option(help="Share of the input that the prefix cache holds.")
    ] = 0.0,
    cny_per_usd: Annotated[float, typer.Option(help="Yuan for a dollar.")] = 7.0,
    hosted: Annotated[
        list[str] | None, typer.Option(help="Only this offer, by the name in the table (again for more).")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON, as docs/cost.schema.json says.")
    ] = False,
    plot: Annotated[
        Path | None, typer.Option(help="Draw cost against tokens a day: FILE.png or FILE.svg.")
    ] = None,
) -> None:
    """Price a cluster, and compare it with hosted APIs: break-even in tokens a day, and the mixed way.

    Instances only: volumes, traffic and people are not in it.
    """
    from cluster.cost_report import report
    from scripts import aws_prices, cost_input, cost_table

    if refresh:
        asked = region or cost_input.REGION
        learned = aws_prices.refresh(asked)
        note = f"{len(learned.rows)} prices of {asked} kept in {aws_prices.cache_file()}"
        print(note, file=sys.stderr)
        if plan is None and instance_type is None and usd_per_hour is None:
            return
    options = cost_input.Options(
        instance_type=instance_type,
        nodes=nodes,
        region=region,
        market=market,
        usd_per_hour=usd_per_hour,
        tokens_per_s=tokens_per_s,
        bench=bench,
        utilization=utilization,
        tokens_per_day=tokens_per_day,
        mix=mix,
        cached_share=cached_share,
        cny_per_usd=cny_per_usd,
        hosted=tuple(hosted or ()),
        plot=plot,
    )
    if plan is not None:
        options = cost_input.with_plan(options, cost_input.text_of(plan))
    question, offers = cost_input.read(options, aws_prices.known())
    answer = report(question, offers)
    if as_json:
        print(answer.model_dump_json(indent=2))
    else:
        cost_table.show(answer)
    if plot:
        from scripts import cost_plot

        cost_plot.write(answer, plot)
