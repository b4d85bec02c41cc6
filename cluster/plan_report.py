"""The whole answer of `drydock plan` as one value: its JSON schema, and what the tables show."""

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from cluster.disk import Place, disk_plan
from cluster.memory import GIB, weights_bytes
from cluster.prices import Market
from cluster.profiles import Profile, tuning
from cluster.search import Candidate, Ranking, Wish
from cluster.shape import ModelShape
from cluster.vllm_args import Serve, arguments, words
from cluster.vllm_support import VLLM_VERSION, least_version
from cluster.weights_size import parameters

MOST_ALTERNATIVES = 100


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Placement(_Record):
    """One layout on some nodes of one type: what it holds and costs, or why it is refused.

    Bytes are of the fullest GPU, or of the node where its type has none; they are null where the sizes do
    not divide the model, so that nothing can be counted. Prices are null where none is known.
    """

    fits: bool = Field(description="whether it can be built as it stands")
    reason: str = Field(description="the one thing that speaks against it; empty where it fits")
    remedy: str = Field(description="what to do about the reason; empty where it fits")
    missing_gib: float = Field(description="GiB that each GPU lacks; 0 where memory is not the reason")
    instance_type: str = Field(description="EC2 type of every node")
    nodes: int = Field(description="how many of them")
    gpus_per_node: int = Field(description="0 = the type has none, and vLLM runs on the CPU")
    gpu: str = Field(description="name of its GPUs, e.g. H200; empty where it has none")
    layout: str = Field(description="the sizes below in short, e.g. TP8×PP2+EP")
    tensor_parallel_size: int = Field(description="GPUs that share each layer")
    pipeline_parallel_size: int = Field(description="stages of layers")
    data_parallel_size: int = Field(description="copies of attention, each with a KV cache of its own")
    expert_parallel: bool = Field(description="whole experts on each GPU instead of a slice of every one")
    usable_bytes_per_gpu: int | None = Field(description="the share of its memory that vLLM takes")
    weights_bytes_per_gpu: int | None = Field(description="its part, with what vLLM makes while loading")
    overhead_bytes_per_gpu: int | None = Field(
        description="activations, CUDA graphs, communication and CUDA's own context"
    )
    kv_cache_bytes_per_gpu: int | None = Field(description="what is left for the KV cache; at least 0")
    headroom_bytes_per_gpu: int | None = Field(
        description="what is left beside one request of max_model_len tokens; below 0 = missing"
    )
    kv_bytes_per_token: int | None = Field(description="bytes of one more token in one GPU's KV cache")
    kv_cache_tokens: int | None = Field(description="tokens in the KV caches of all data parallel ranks")
    max_concurrency: float | None = Field(
        description="requests of max_model_len tokens in the KV cache at once; --max-num-seqs may run fewer"
    )
    usd_per_hour: float | None = Field(description="all nodes together; instances only")
    price_source: str | None = Field(description="where the price was read")
    price_date: str | None = Field(description="when, ISO, as exact as known")


class Flag(_Record):
    """One flag of `vllm serve`."""

    flag: str = Field(description="with its dashes, e.g. --max-num-seqs")
    value: str = Field(description="empty = the flag has none")
    reason: str = Field(description="why it is there")


class Disk(_Record):
    """Where a node keeps the weights; every node keeps all of them. Times are estimates."""

    place: Place = Field(description="the striped disks of the instance, or an EBS volume of its own")
    capacity_bytes: int = Field(description="what that place holds")
    download_s: int = Field(description="seconds from the bucket to each node, all nodes at once")
    download_limit: str = Field(description="the slowest part of that way")
    download_limit_source: str = Field(description="where its bandwidth was read")
    load_s: int = Field(description="seconds from the disk into the GPUs' memory")
    load_limit: str = Field(description="the slowest part of that way")
    load_limit_source: str = Field(description="where its bandwidth was read")


class PlanReport(Placement):
    """What `drydock plan --json` prints: the answer, and in ``alternatives`` what else was considered."""

    version: Literal[1] = Field(default=1, description="of this schema")
    model: str = Field(description="as it was asked for")
    source: str = Field(description="where the model's shape was read")
    notes: tuple[str, ...] = Field(description="what to know of the model's files before trusting the rest")
    architecture: str = Field(description="as its config.json names it")
    least_vllm_version: str = Field(description="the first vLLM release that serves this architecture")
    vllm_version: str = Field(description="what nodes get")
    parameters: int = Field(description="all of them, multi-token prediction layers left out")
    active_parameters: int = Field(description="those that one token passes through")
    quantization: str = Field(description="the checkpoint's, e.g. fp8; empty = none")
    dtype: str = Field(description="of what is not quantized, as config.json tells")
    weights_bytes: int = Field(description="all tensors of the checkpoint")
    profile: Profile = Field(description="what vLLM is tuned for")
    max_model_len: int = Field(description="the longest request, prompt and answer, in tokens")
    region: str = Field(description="of the price")
    market: Market = Field(description="of the price")
    usd_per_day: float | None = Field(description="24 hours")
    usd_per_month: float | None = Field(description="730 hours")
    disk_bytes: int = Field(description="disk that the weights need on each node")
    root_volume_gib: int = Field(description="EBS root volume of each node")
    data_volume_gib: int = Field(
        description="EBS data volume of each node; 0 = the instance's own disks hold"
    )
    disk: Disk
    vllm_args: tuple[str, ...] = Field(
        description="everything after `vllm serve` on the head; {NODE_RANK} and {MASTER_ADDR} are its own"
    )
    worker_vllm_args: tuple[str, ...] = Field(description="the same on other nodes; empty for one node")
    flags: tuple[Flag, ...] = Field(description="the flags in vllm_args, each with its reason")
    alternatives: tuple[Placement, ...] = Field(
        description=f"at most {MOST_ALTERNATIVES}: those that fit by price, then the refused, nearest first"
    )


@dataclass(frozen=True)
class Question:
    """What the report answers: the model as asked for, where its shape was read, and the wish."""

    model: str
    source: str
    shape: ModelShape
    wish: Wish
    notes: tuple[str, ...] = ()


def report(question: Question, chosen: Candidate, ranking: Ranking) -> PlanReport:
    """Everything about the chosen candidate, and the others of the ranking."""
    shape, wish = question.shape, question.wish
    total, active = parameters(shape)
    size = weights_bytes(shape)
    disk = disk_plan(chosen.kind, size, pipeline_parallel_size=chosen.layout.pipeline_parallel_size)
    serve = serve_of(chosen, question.model, wish)
    head = words(serve)
    others = [each for each in (*ranking.fitting, *ranking.refused) if each != chosen]
    cost = chosen.cost
    return PlanReport(
        **_placed(chosen),
        model=question.model,
        source=question.source,
        notes=question.notes,
        architecture=shape.architecture,
        least_vllm_version=least_version(shape.architecture),
        vllm_version=VLLM_VERSION,
        parameters=total,
        active_parameters=active,
        quantization=shape.quantization,
        dtype=shape.dtype,
        weights_bytes=size,
        profile=wish.profile,
        max_model_len=chosen.fitting.request.max_model_len,
        region=wish.region,
        market=wish.market,
        usd_per_day=round(cost.usd_per_day, 2) if cost else None,
        usd_per_month=round(cost.usd_per_month, 2) if cost else None,
        disk_bytes=disk.needed_bytes,
        root_volume_gib=disk.root_volume_gib,
        data_volume_gib=disk.data_volume_gib,
        disk=Disk(
            place=disk.place,
            capacity_bytes=disk.disk_bytes,
            download_s=round(disk.download.seconds),
            download_limit=disk.download.slowest,
            download_limit_source=disk.download.source,
            load_s=round(disk.load.seconds),
            load_limit=disk.load.slowest,
            load_limit_source=disk.load.source,
        ),
        vllm_args=head,
        worker_vllm_args=(*head, "--headless") if chosen.nodes > 1 else (),
        flags=tuple(Flag(flag=each.flag, value=each.value, reason=each.reason) for each in arguments(serve)),
        alternatives=tuple(Placement(**_placed(each)) for each in others[:MOST_ALTERNATIVES]),
    )


def serve_of(candidate: Candidate, model: str, wish: Wish) -> Serve:
    """What vLLM is told on the head of that candidate."""
    request, tuned = candidate.fitting.request, tuning(wish.profile, wish.concurrency or 0)
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


def _placed(each: Candidate) -> dict[str, Any]:
    """The fields of a Placement."""
    layout, gpu, cost, problem = each.layout, each.kind.gpu, each.cost, each.problem
    memory = each.fitting.memory if each.counted else None
    return {
        "fits": each.fits,
        "reason": problem.what if problem else "",
        "remedy": problem.remedy if problem else "",
        "missing_gib": round(each.missing_bytes / GIB, 2),
        "instance_type": each.kind.name,
        "nodes": each.nodes,
        "gpus_per_node": gpu.count if gpu else 0,
        "gpu": gpu.name if gpu else "",
        "layout": str(layout),
        "tensor_parallel_size": layout.tensor_parallel_size,
        "pipeline_parallel_size": layout.pipeline_parallel_size,
        "data_parallel_size": layout.data_parallel_size,
        "expert_parallel": layout.expert_parallel,
        "usable_bytes_per_gpu": memory.usable_bytes if memory else None,
        "weights_bytes_per_gpu": memory.weights_bytes if memory else None,
        "overhead_bytes_per_gpu": memory.overhead_bytes if memory else None,
        "kv_cache_bytes_per_gpu": max(0, memory.kv_bytes) if memory else None,
        "headroom_bytes_per_gpu": memory.usable_bytes - memory.needed_bytes if memory else None,
        "kv_bytes_per_token": memory.kv_bytes_per_token if memory else None,
        "kv_cache_tokens": memory.kv_cache_tokens * layout.data_parallel_size if memory else None,
        "max_concurrency": round(each.fitting.max_concurrency, 2) if memory else None,
        "usd_per_hour": round(cost.usd_per_hour, 5) if cost else None,
        "price_source": cost.source if cost else None,
        "price_date": cost.date if cost else None,
    }
