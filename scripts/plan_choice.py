"""Which candidate answers a wish, and how it is shown on a terminal."""

from dataclasses import replace

from cluster import catalog
from cluster.memory import GIB, weights_bytes
from cluster.problems import BadInput, Problem
from cluster.search import Candidate, Ranking, Wish, search
from cluster.shape import ModelShape
from cluster.weights_size import parameters

SHOWN = 12


def choose(shape: ModelShape, wish: Wish) -> tuple[Candidate, Ranking]:
    """The candidate that answers the wish, and the others to consider; BadInput for an impossible wish."""
    problems = list(_problems(shape, wish))
    if problems:
        raise BadInput(problems)
    asked = search(shape, wish)
    chosen = asked.best or asked.refused[0]
    if chosen.fits:
        return chosen, asked
    free = replace(
        wish,
        instance_type=None,
        nodes=None,
        tensor_parallel_size=None,
        pipeline_parallel_size=None,
        data_parallel_size=None,
        expert_parallel=None,
    )
    nearest = search(shape, free)
    return chosen, Ranking(nearest.fitting, asked.refused if wish.instance_type else nearest.refused)


def _problems(shape: ModelShape, wish: Wish) -> list[Problem]:
    found = []
    if wish.instance_type and catalog.find(wish.instance_type) is None:
        near = catalog.closest(wish.instance_type)
        known = f"Did you mean `{near}`?" if near else f"Known: {', '.join(catalog.instance_types())}."
        found.append(Problem("--instance-type", f"Drydock knows no type `{wish.instance_type}`", known))
    if wish.max_model_len and wish.max_model_len > shape.max_positions:
        what = f"{wish.max_model_len} is more than the model's {shape.max_positions} positions"
        found.append(Problem("--max-model-len", what, f"Set it to at most {shape.max_positions}."))
    if wish.utilization is not None and not 0 < wish.utilization <= 1:
        what = f"{wish.utilization:g} is not a share above 0 and up to 1"
        found.append(Problem("--gpu-memory-utilization", what, "Set it to e.g. 0.92."))
    if wish.dtype in ("half", "float16") and shape.packing.is_float8:
        what = f"{wish.dtype} overflows with an FP8 checkpoint, whose scales are made for bfloat16"
        found.append(Problem("--dtype", what, "Leave it out, or set it to bfloat16."))
    return found


def show(
    shape: ModelShape,
    model: str,
    *,
    source: str,
    wish: Wish,
    chosen: Candidate,
    ranking: Ranking,
    explain: bool,
) -> None:
    """The answer as tables."""
    from rich.console import Console

    from scripts.plan_report import arguments_table, candidates_table

    console = Console(highlight=False, soft_wrap=False)
    total, active = parameters(shape)
    length = chosen.fitting.request.max_model_len
    console.print(
        f"[bold]{model}[/bold]: {total / 1e9:.1f}B parameters"
        f"{f', {active / 1e9:.1f}B active' if active < total else ''}, {shape.quantization or shape.dtype}, "
        f"{weights_bytes(shape) / GIB:.1f} GiB; requests of up to {length:,} tokens"
    )
    console.print(f"[dim]from {source}[/dim]\n")
    if chosen.problem:
        console.print(f"[red]does not fit[/red]: {chosen.nodes} × {chosen.kind.name}, {chosen.layout}")
        console.print(f"  {chosen.problem.what}\n  → {chosen.problem.remedy}\n")
    if ranking.fitting:
        console.print(candidates_table("fits, cheapest first", ranking.fitting[:SHOWN]))
    if ranking.refused:
        console.print()
        console.print(candidates_table("does not fit, nearest first", ranking.refused[:SHOWN]))
    if explain:
        console.print()
        console.print(arguments_table(chosen, model, wish))
