"""From a model to where it runs: what fits by price, and the others with the one reason each."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from cluster.catalog import InstanceType, instance_types
from cluster.cost import Cost, instances_cost
from cluster.layout import Layout
from cluster.layouts import CHECKS, Fitting, memory_suffices
from cluster.memory import Request
from cluster.prices import Market, PriceTable, catalogue
from cluster.problems import Problem
from cluster.profiles import Profile, Tuning, tuning
from cluster.shape import ModelShape

MOST_NODES = (1, 2, 4)
"""Sizes of clusters that a search tries."""
MANY_EXPERTS = 256
"""From so many on, whole experts on each GPU are faster than a slice of every one (vLLM's recipes)."""


@dataclass(frozen=True)
class Wish:
    """What is asked of a search; None = whatever fits."""

    instance_type: str | None = None
    nodes: int | None = None
    tensor_parallel_size: int | None = None
    pipeline_parallel_size: int | None = None
    data_parallel_size: int | None = None
    expert_parallel: bool | None = None
    max_model_len: int | None = None
    concurrency: int | None = None
    utilization: float | None = None
    dtype: str = "auto"
    kv_cache_dtype: str = "auto"
    profile: Profile = "balanced"
    region: str = "us-east-1"
    market: Market = "on-demand"
    max_hourly_usd: float | None = None


@dataclass(frozen=True)
class Candidate:
    """One layout on some nodes, with its price, and with the one reason why it is refused, if it is."""

    fitting: Fitting
    nodes: int
    cost: Cost | None
    problem: Problem | None
    passed: int
    """How many checks found nothing, which tells how near a refused one is."""

    @property
    def fits(self) -> bool:
        """Whether it can be built."""
        return self.problem is None

    @property
    def kind(self) -> InstanceType:
        """The type of its nodes."""
        return self.fitting.kind

    @property
    def layout(self) -> Layout:
        """How the model is spread."""
        return self.fitting.layout

    @property
    def counted(self) -> bool:
        """Whether its sizes divide, so that its bytes can be told."""
        return self.passed >= CHECKS.index(memory_suffices)

    @property
    def missing_bytes(self) -> int:
        """What each GPU lacks; 0 where memory is not the reason."""
        counts = self.passed == CHECKS.index(memory_suffices)
        return self.fitting.memory.missing_bytes if counts else 0


@dataclass(frozen=True)
class Ranking:
    """Candidates in the order of what the reader would take."""

    fitting: tuple[Candidate, ...]
    refused: tuple[Candidate, ...]

    @property
    def best(self) -> Candidate | None:
        """The cheapest that fits."""
        return self.fitting[0] if self.fitting else None


def search(shape: ModelShape, wish: Wish, prices: PriceTable | None = None) -> Ranking:
    """The best layout of each type and number of nodes: those that fit by price, then by nodes.

    Without ``prices`` the catalogue's are taken.
    """
    found, prices = [], prices or catalogue()
    for kind in _kinds(wish):
        for nodes in (wish.nodes,) if wish.nodes else MOST_NODES:
            candidates = [
                candidate(shape, kind, layout, wish, prices) for layout in layouts(shape, kind, nodes, wish)
            ]
            found.append(min(candidates, key=lambda each: _preference(each, wish)))
    fitting = sorted((each for each in found if each.fits), key=_price_then_nodes)
    refused = sorted((each for each in found if not each.fits), key=_nearest)
    return Ranking(tuple(fitting), tuple(refused))


def candidate(
    shape: ModelShape, kind: InstanceType, layout: Layout, wish: Wish, prices: PriceTable | None = None
) -> Candidate:
    """One layout judged: first what the model needs, then what is wished for."""
    tuned = tuning(wish.profile, wish.concurrency or 0)
    fitting = Fitting(shape, kind, layout, request_of(shape, kind, wish, tuned))
    cost = instances_cost(kind, wish.region, layout.nodes, wish.market, prices)
    problem, passed = fitting.problem()
    problem = problem or _ranks_match(fitting, layout.nodes) or _wish_problem(fitting, cost, wish)
    return Candidate(fitting, layout.nodes, cost, problem, passed)


def request_of(shape: ModelShape, kind: InstanceType, wish: Wish, tuned: Tuning) -> Request:
    """What is asked of vLLM on that type."""
    return Request(
        max_model_len=wish.max_model_len or shape.max_positions,
        utilization=wish.utilization or tuned.utilization,
        max_num_batched_tokens=tuned.max_num_batched_tokens,
        max_num_seqs=tuned.max_num_seqs,
        kv_cache_dtype=wish.kv_cache_dtype,
        on_cpu=kind.gpu is None,
    )


def layouts(shape: ModelShape, kind: InstanceType, nodes: int, wish: Wish) -> list[Layout]:
    """The layouts worth trying; where the wished sizes use no node as a whole, one that tells so."""
    found = list(_whole_nodes(shape, kind, nodes, wish))
    sizes = (wish.tensor_parallel_size or kind.ranks, wish.pipeline_parallel_size or 1)
    return found or [_layout(shape, Layout(*sizes, wish.data_parallel_size or 1, nodes=nodes), wish)]


def _whole_nodes(shape: ModelShape, kind: InstanceType, nodes: int, wish: Wish) -> Iterator[Layout]:
    """TP inside a node, PP or DP over what is left of the ranks."""
    there = kind.ranks * nodes
    for tensor in _sizes(wish.tensor_parallel_size, kind.ranks):
        if there % tensor:
            continue
        rest = there // tensor
        for pipeline in _sizes(wish.pipeline_parallel_size, rest):
            data = wish.data_parallel_size or max(1, rest // pipeline)
            if wish.pipeline_parallel_size is None and (
                tensor * pipeline * data != there or pipeline > shape.layers
            ):
                continue
            # Without a say in it, data parallel replicas stay inside of one node.
            if wish.data_parallel_size is None and nodes > 1 and data > 1 and pipeline % nodes:
                continue
            yield _layout(shape, Layout(tensor, pipeline, data, nodes=nodes), wish)


def _layout(shape: ModelShape, layout: Layout, wish: Wish) -> Layout:
    """The layout with expert parallelism as wished for, else where it is of use."""
    if wish.expert_parallel is not None:
        return replace(layout, expert_parallel=wish.expert_parallel)
    many = shape.experts is not None and shape.experts.count >= MANY_EXPERTS
    return replace(
        layout, expert_parallel=many and layout.tensor_parallel_size * layout.data_parallel_size > 1
    )


def _sizes(wished: int | None, most: int) -> Iterable[int]:
    if wished:
        return (wished,)
    return [size for size in range(most, 0, -1) if most % size == 0]


def _kinds(wish: Wish) -> list[InstanceType]:
    known = instance_types()
    if wish.instance_type:
        return [known[wish.instance_type]]
    return [kind for kind in known.values() if kind.gpu]


def _ranks_match(fitting: Fitting, nodes: int) -> Problem | None:
    layout, kind = fitting.layout, fitting.kind
    there = kind.ranks * nodes
    if layout.ranks == there:
        return None
    sizes = f"{layout.tensor_parallel_size} x {layout.pipeline_parallel_size} x {layout.data_parallel_size}"
    unit = f"{kind.ranks} GPU{'s' if kind.ranks > 1 else ''} each" if kind.gpu else "one rank each"
    return Problem(
        "drydock:layout",
        f"TP x PP x DP = {sizes} = {layout.ranks}, but {nodes} x {kind.name} ({unit}) make {there}",
        f"Choose sizes whose product is {there}, or another drydock:nodes.count or instanceType.",
    )


def _wish_problem(fitting: Fitting, cost: Cost | None, wish: Wish) -> Problem | None:
    if wish.concurrency and fitting.max_concurrency < wish.concurrency:
        return Problem(
            "--concurrency",
            f"the KV cache holds {fitting.max_concurrency:.1f} requests of {fitting.request.max_model_len:,} "
            f"tokens at once, not {wish.concurrency}",
            "Shorten --max-model-len, take --kv-cache-dtype fp8, or a type with more memory.",
        )
    limit = wish.max_hourly_usd
    if limit is None:
        return None
    if cost is None:
        remedy = "Leave the limit out, or choose a region or market with a known price."
        return Problem("--max-hourly-usd", f"no {wish.market} price is known in {wish.region}", remedy)
    if cost.usd_per_hour > limit:
        what = f"it costs {cost.usd_per_hour:.2f} USD an hour, more than {limit:g}"
        remedy = f"Raise --max-hourly-usd to at least {math.ceil(cost.usd_per_hour * 100) / 100:.2f}."
        return Problem("--max-hourly-usd", what, remedy)
    return None


def _preference(each: Candidate, wish: Wish) -> tuple[object, ...]:
    """Which layout of the same machines to take: one that fits, then what the profile is after."""
    layout = each.layout
    if not each.fits:
        holds = each.fitting.max_concurrency if each.passed == len(CHECKS) else 0
        return (1, *_nearest(each), -holds)
    if wish.profile == "throughput":
        return (0, -each.fitting.max_concurrency, -layout.tensor_parallel_size)
    # Tensor parallelism answers one request fastest; stages only add to its way.
    return (0, layout.pipeline_parallel_size, -layout.tensor_parallel_size)


def _price_then_nodes(each: Candidate) -> tuple[bool, float, int, str]:
    return (*_price(each), each.nodes, each.kind.name)


def _nearest(each: Candidate) -> tuple[int, int, bool, float, int]:
    """Refused ones in the order in which a reader would still consider them."""
    return (-each.passed, each.missing_bytes, *_price(each), each.nodes)


def _price(each: Candidate) -> tuple[bool, float]:
    """Known prices first; the others in the order of what such machines cost elsewhere."""
    if each.cost:
        return (False, each.cost.usd_per_hour)
    return (True, min(each.kind.usd_per_hour.values(), default=math.inf) * each.nodes)
