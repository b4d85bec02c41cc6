"""A ranking as a JSON object, and as tables for a terminal."""

from typing import TYPE_CHECKING

from cluster.disk import disk_plan
from cluster.memory import GIB, weights_bytes
from cluster.profiles import tuning
from cluster.search import Candidate, Ranking, Wish
from cluster.shape import ModelShape
from cluster.vllm_args import Serve, arguments, words
from cluster.weights_size import parameters

if TYPE_CHECKING:
    from rich.table import Table

MOST_ALTERNATIVES = 100


def serve_of(candidate: Candidate, model: str, wish: Wish) -> Serve:
    """What vLLM is told on the head of that candidate."""
    request, tuned = candidate.fitting.request, tuning(wish.profile)
    name = model.rstrip("/").rsplit("/", 1)[-1] if model.startswith(("/", "~", ".")) else model
    return Serve(
        model_dir=f"/models/{name.replace('/', '--')}",
        name=name,
        layout=candidate.layout,
        kv_cache_dtype=request.kv_cache_dtype,
        dtype=wish.dtype,
        max_model_len=request.max_model_len,
        utilization=request.utilization,
        utilization_reason="as set" if wish.utilization else tuned.utilization_reason,
        tuning=tuned.arguments(),
    )


def as_json(
    shape: ModelShape, model: str, *, source: str, wish: Wish, chosen: Candidate, ranking: Ranking
) -> dict[str, object]:
    """Everything about the chosen candidate, and the others in ``alternatives``."""
    total, active = parameters(shape)
    disk = disk_plan(
        chosen.kind, weights_bytes(shape), pipeline_parallel_size=chosen.layout.pipeline_parallel_size
    )
    others = [each for each in (*ranking.fitting, *ranking.refused) if each is not chosen]
    head = words(serve_of(chosen, model, wish))
    return {
        "model": model,
        "source": source,
        "architecture": shape.architecture,
        "parameters": total,
        "active_parameters": active,
        "quantization": shape.quantization,
        "profile": wish.profile,
        "max_model_len": chosen.fitting.request.max_model_len,
        "weights_bytes": weights_bytes(shape),
        **_row(chosen),
        "remedy": chosen.problem.remedy if chosen.problem else "",
        "disk_bytes": disk.needed_bytes,
        "root_volume_gib": disk.root_volume_gib,
        "data_volume_gib": disk.data_volume_gib,
        "download_s": round(disk.download.seconds),
        "load_s": round(disk.load.seconds),
        "vllm_args": list(head),
        "worker_vllm_args": [*head, "--headless"] if chosen.nodes > 1 else [],
        "alternatives": [_row(each) for each in others[:MOST_ALTERNATIVES]],
    }


def _row(each: Candidate) -> dict[str, object]:
    layout, counted = each.layout, each.counted
    memory = each.fitting.memory if counted else None
    return {
        "fits": each.fits,
        "reason": each.problem.what if each.problem else "",
        "missing_gib": round(each.missing_bytes / GIB, 2),
        "instance_type": each.kind.name,
        "nodes": each.nodes,
        "tensor_parallel_size": layout.tensor_parallel_size,
        "pipeline_parallel_size": layout.pipeline_parallel_size,
        "data_parallel_size": layout.data_parallel_size,
        "expert_parallel": layout.expert_parallel,
        "weights_bytes_per_gpu": memory.weights_bytes if memory else None,
        "overhead_bytes_per_gpu": memory.overhead_bytes if memory else None,
        "kv_bytes_per_token": memory.kv_bytes_per_token if memory else None,
        "kv_cache_tokens": memory.kv_cache_tokens * layout.data_parallel_size if memory else None,
        "max_concurrency": round(each.fitting.max_concurrency, 2) if memory else None,
        "usd_per_hour": round(each.cost.usd_per_hour, 5) if each.cost else None,
    }


def candidates_table(title: str, candidates: tuple[Candidate, ...]) -> "Table":
    """One row a candidate: what it holds and costs, or why it is refused."""
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
    refused = bool(candidates) and not candidates[0].fits
    table.add_column("machines", no_wrap=True)
    table.add_column("layout", no_wrap=True)
    for name in ("USD/h",) if refused else ("USD/h", "GiB/GPU", "KV tokens", "requests"):
        table.add_column(name, justify="right", no_wrap=True)
    if refused:
        table.add_column("why not")
    for each in candidates:
        price = f"{each.cost.usd_per_hour:.2f}" if each.cost else "unknown"
        start = (f"{each.nodes} × {each.kind.name}", str(each.layout), price)
        if each.problem:
            table.add_row(*start, each.problem.what)
        else:
            memory = each.fitting.memory
            tokens = memory.kv_cache_tokens * each.layout.data_parallel_size
            counted = (f"{memory.weights_bytes / GIB:.1f}", f"{tokens:,}")
            table.add_row(*start, *counted, f"{each.fitting.max_concurrency:.1f}")
    return table


def arguments_table(candidate: Candidate, model: str, wish: Wish) -> "Table":
    """Each flag of `vllm serve` with its reason."""
    from rich.table import Table

    table = Table(title="vllm serve", title_justify="left", box=None, header_style="bold", pad_edge=False)
    table.add_column("flag", no_wrap=True)
    table.add_column("why")
    for argument in arguments(serve_of(candidate, model, wish)):
        table.add_row(" ".join(argument.words), argument.reason)
    return table
