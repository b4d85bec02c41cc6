"""Which candidate answers a wish."""

from dataclasses import replace

from cluster import catalog
from cluster.prices import PriceTable
from cluster.problems import BadInput, Problem
from cluster.search import Candidate, Ranking, Wish, search
from cluster.shape import ModelShape


def choose(shape: ModelShape, wish: Wish, prices: PriceTable) -> tuple[Candidate, Ranking]:
    """The candidate that answers the wish, and the others to consider; BadInput for an impossible wish."""
    problems = list(_problems(shape, wish))
    if problems:
        raise BadInput(problems)
    asked = search(shape, wish, prices)
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
    nearest = asked if free == wish else search(shape, free, prices)
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
    if wish.max_hourly_usd is not None and not wish.max_hourly_usd > 0:
        what = f"{wish.max_hourly_usd:g} is no price"
        found.append(Problem("--max-hourly-usd", what, "Give USD an hour, above 0."))
    if wish.dtype in ("half", "float16") and shape.packing.is_float8:
        what = f"{wish.dtype} overflows with an FP8 checkpoint, whose scales are made for bfloat16"
        found.append(Problem("--dtype", what, "Leave it out, or set it to bfloat16."))
    return found
