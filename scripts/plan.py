"""`drydock plan`: does the model fit, on what, laid out how, and for how much, before a cent is spent."""

from typing import Annotated, Literal

import typer

Size = Annotated[int | None, typer.Option(min=1, max=1024)]


def plan(
    *,
    model: Annotated[str, typer.Option(help="A directory with a config.json, or a Hugging Face id.")],
    instance_type: Annotated[str | None, typer.Option(help="Only this EC2 type.")] = None,
    nodes: Annotated[int | None, typer.Option(min=1, max=64, help="So many of them.")] = None,
    tensor_parallel_size: Size = None,
    pipeline_parallel_size: Size = None,
    data_parallel_size: Size = None,
    enable_expert_parallel: Annotated[
        bool | None,
        typer.Option(help="Whole experts on each GPU.", show_default="where there are 256 or more"),
    ] = None,
    max_model_len: Annotated[
        int | None,
        typer.Option(min=1, help="Tokens of the longest request.", show_default="the model's"),
    ] = None,
    concurrency: Annotated[int | None, typer.Option(min=1, help="Requests of that length at once.")] = None,
    dtype: Annotated[Literal["auto", "bfloat16", "float16", "half", "float32"], typer.Option()] = "auto",
    quantization: Annotated[
        Literal["awq", "gptq", "fp8", "none"] | None,
        typer.Option(help="As if the checkpoint were packed so."),
    ] = None,
    kv_cache_dtype: Annotated[
        Literal["auto", "bfloat16", "fp8", "fp8_e4m3", "fp8_e5m2"], typer.Option()
    ] = "auto",
    gpu_memory_utilization: Annotated[
        float | None,
        typer.Option(help="The share of memory that vLLM takes.", show_default="the profile's"),
    ] = None,
    profile: Annotated[
        Literal["balanced", "throughput", "latency"], typer.Option(help="What vLLM is tuned for.")
    ] = "balanced",
    region: Annotated[str, typer.Option(help="AWS region of the prices.")] = "us-east-1",
    market: Annotated[
        Literal["on-demand", "spot", "capacity-block", "reservation"],
        typer.Option(help="Market of the prices."),
    ] = "on-demand",
    max_hourly_usd: Annotated[float | None, typer.Option(help="Refuse what costs more.")] = None,
    revision: Annotated[str, typer.Option(help="A commit on the hub.")] = "",
    fetch: Annotated[bool, typer.Option("--fetch", help="Ask the hub, not the catalogue.")] = False,
    explain: Annotated[bool, typer.Option("--explain", help="The reason of each vLLM flag.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON, as docs/plan.schema.json says.")
    ] = False,
) -> None:
    """Where a model fits, laid out how, for how much. Exit code 1: it does not fit; 2: bad input.

    Offline for the models in the catalogue. `drydock cost --refresh` asks AWS for prices.
    """
    from cluster.memory import as_checkpoint
    from cluster.plan_report import Question, report
    from cluster.search import Wish
    from scripts import aws_prices
    from scripts.model_source import find_model
    from scripts.plan_choice import choose

    found = find_model(model, revision=revision, fetch=fetch)
    shape = as_checkpoint(found.shape, quantization) if quantization else found.shape
    wish = Wish(
        instance_type=instance_type,
        nodes=nodes,
        tensor_parallel_size=tensor_parallel_size,
        pipeline_parallel_size=pipeline_parallel_size,
        data_parallel_size=data_parallel_size,
        expert_parallel=enable_expert_parallel,
        max_model_len=max_model_len,
        concurrency=concurrency,
        dtype=dtype,
        utilization=gpu_memory_utilization,
        kv_cache_dtype=kv_cache_dtype,
        profile=profile,
        region=region,
        market=market,
        max_hourly_usd=max_hourly_usd,
    )
    chosen, ranking = choose(shape, wish, aws_prices.known())
    answer = report(Question(model, found.source, shape, wish, found.notes), chosen, ranking)
    if as_json:
        print(answer.model_dump_json(indent=2))
    else:
        from scripts import plan_table

        plan_table.show(answer, explain=explain)
    raise typer.Exit(0 if answer.fits else 1)
