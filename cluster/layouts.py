"""What a layout must keep to: each check yields what is wrong with one model on one kind of machine."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from cluster.catalog import InstanceType
from cluster.families import FAMILIES
from cluster.layout import Layout
from cluster.memory import GIB, MemoryPlan, Request, memory_plan
from cluster.problems import Problem
from cluster.shape import ModelShape
from cluster.tensors import layer_tensors


@dataclass(frozen=True)
class Fitting:
    """One model laid out in one way on some nodes of one type."""

    shape: ModelShape
    kind: InstanceType
    layout: Layout
    request: Request

    @cached_property
    def memory(self) -> MemoryPlan:
        """The memory of the fullest GPU, or of the node where it has none."""
        return memory_plan(self.shape, self.layout, rank_bytes(self.kind), self.request)

    @property
    def usable_bytes(self) -> float:
        """The memory of one rank that vLLM may take."""
        return rank_bytes(self.kind) * self.request.utilization

    @property
    def max_concurrency(self) -> float:
        """Requests of the longest length that the KV caches of all data parallel ranks hold at once."""
        tokens = self.memory.kv_cache_tokens * self.layout.data_parallel_size
        return tokens / self.request.max_model_len

    def problem(self) -> tuple[Problem | None, int]:
        """The first thing that is wrong, and how many checks found nothing before."""
        for passed, check in enumerate(CHECKS):
            for found in check(self):
                return found, passed
        return None, len(CHECKS)


def rank_bytes(kind: InstanceType) -> int:
    """The memory that one vLLM worker sees in all."""
    return kind.gpu.cuda_bytes if kind.gpu else kind.memory_gib * GIB


def heads_divide(fitting: Fitting) -> Iterator[Problem]:
    shape, size, kind = fitting.shape, fitting.layout.tensor_parallel_size, fitting.kind
    most = kind.gpu.count if kind.gpu else shape.heads
    # A latent cache has no heads to split: every rank keeps all of it.
    kv_heads = 1 if shape.mla else shape.kv_heads
    sizes = [n for n in range(1, most + 1) if not shape.heads % n and _splits(kv_heads, n)]
    remedy = f"Choose one of {', '.join(map(str, sizes))}."
    path = "drydock:layout.tensorParallelSize"
    if shape.heads % size:
        yield Problem(path, f"{size} does not divide the model's {shape.heads} attention heads", remedy)
    elif not _splits(kv_heads, size):
        what = f"{size} neither divides the model's {kv_heads} KV heads nor is a multiple of them"
        yield Problem(path, what, remedy)
    elif shape.linear and shape.linear.key_heads % size:
        what = f"{size} does not divide the {shape.linear.key_heads} key heads of the linear attention"
        yield Problem(path, what, remedy)


def tensor_parallel_stays_in_node(fitting: Fitting) -> Iterator[Problem]:
    gpu, size = fitting.kind.gpu, fitting.layout.tensor_parallel_size
    if gpu and size > gpu.count:
        yield Problem(
            "drydock:layout.tensorParallelSize",
            f"{size} spans nodes of {gpu.count} GPUs: every layer would wait for the network",
            f"Set it to at most {gpu.count} and pipelineParallelSize to the number of nodes.",
        )


def stages_have_layers(fitting: Fitting) -> Iterator[Problem]:
    size, layers = fitting.layout.pipeline_parallel_size, fitting.shape.layers
    if size > layers:
        what = f"{size} stages are more than the model's {layers} layers"
        yield Problem("drydock:layout.pipelineParallelSize", what, f"Set it to at most {layers}.")


def blocks_stay_whole(fitting: Fitting) -> Iterator[Problem]:
    """Scales belong to blocks or groups of weights, which no rank may cut through."""
    shape, layout = fitting.shape, fitting.layout
    unit = shape.packing.block[0] if shape.packing.block else shape.packing.group_size
    if not unit or shape.architecture not in FAMILIES:
        return
    for kind in dict.fromkeys(shape.layer_kinds):
        for tensor in layer_tensors(shape, kind):
            if not tensor.linear or tensor.name in kind.plain or tensor.split not in ("rows", "columns"):
                continue
            if tensor.split == "rows" and not shape.packing.block:
                continue  # groups lie along the inputs: rows may be cut anywhere
            if tensor.is_expert and (layout.expert_parallel or shape.packing.method == "mxfp4"):
                continue  # whole experts; mxfp4's are padded
            whole = tensor.rows if tensor.split == "rows" else tensor.columns
            spread = layout.data_parallel_size if tensor.is_expert else 1
            size = layout.tensor_parallel_size * spread
            if size == 1 or whole % (unit * size) == 0:
                continue
            most = max(n for n in range(1, size) if n == 1 or not (whole % (unit * n) or shape.heads % n))
            ways = f"Set TP{' x DP' if spread > 1 else ''} to at most {most}"
            more = (
                ", or pass --enable-expert-parallel (whole experts on each GPU)" if tensor.is_expert else ""
            )
            yield Problem(
                "drydock:layout.tensorParallelSize",
                f"{size} cuts {tensor.name} ({whole} wide) into {whole / size:g}, "
                f"which is no multiple of the quantization's {unit}",
                f"{ways}{more}.",
            )
            return


def experts_divide(fitting: Fitting) -> Iterator[Problem]:
    layout, experts = fitting.layout, fitting.shape.experts
    size = layout.tensor_parallel_size * layout.data_parallel_size
    if layout.expert_parallel and experts is None:
        yield Problem(
            "drydock:serving.extraArgs",
            "--enable-expert-parallel is for mixtures of experts, and the model is dense",
            "Remove it.",
        )
    elif layout.expert_parallel and experts and experts.count % size:
        yield Problem(
            "drydock:layout",
            f"TP x DP = {size} does not divide the model's {experts.count} experts",
            "Choose sizes that do, or leave --enable-expert-parallel out.",
        )


def memory_suffices(fitting: Fitting) -> Iterator[Problem]:
    memory, kind = fitting.memory, fitting.kind
    if not memory.missing_bytes:
        return
    where = f"{kind.gpu.name} of {kind.name}" if kind.gpu else kind.name
    weights, usable = memory.weights_bytes / GIB, memory.usable_bytes / GIB
    missing = memory.missing_bytes / GIB
    path = "drydock:layout"
    smaller = "" if fitting.shape.quantization else ", or a quantized checkpoint"
    if memory.weights_bytes > memory.usable_bytes:
        yield Problem(
            path,
            f"the weights alone take {weights:.1f} GiB on each {where}, which has {usable:.1f} GiB for vLLM; "
            f"with activations and the cache of one request {missing:.1f} GiB are missing",
            f"Take more nodes, or an instance type with more memory{smaller}.",
        )
        return
    overhead = memory.overhead_bytes / GIB
    cache = (memory.needed_bytes - memory.weights_bytes - memory.overhead_bytes) / GIB
    length = fitting.request.max_model_len
    yield Problem(
        path,
        f"weights ({weights:.1f} GiB), activations and the like ({overhead:.1f} GiB) and the KV cache of one "
        f"request of {length} tokens ({cache:.1f} GiB) do not fit into the {usable:.1f} GiB that vLLM has on "
        f"each {where}: {missing:.1f} GiB are missing",
        f"Shorten max-model-len, or take more nodes or a type with more memory{smaller}.",
    )


def float8_has_arithmetic(fitting: Fitting) -> Iterator[Problem]:
    kind = fitting.kind
    if not fitting.shape.packing.is_float8:
        return
    if kind.gpu is None:
        what = f"the model is FP8, and {kind.name} has no GPU"
    elif kind.gpu.capability < (8, 9):
        what = (
            f"the model is FP8, and {kind.gpu.name} (sm {kind.gpu.compute_capability}) has no FP8 "
            "arithmetic: vLLM would only unpack the weights (Marlin) and gain no speed from them"
        )
    else:
        return
    remedy = (
        "Take a type with L4, L40S, H100 or newer (g6, g6e, p5…), or an AWQ, GPTQ or bfloat16 checkpoint."
    )
    yield Problem("drydock:nodes.instanceType", what, remedy)


CHECKS = (
    heads_divide,
    tensor_parallel_stays_in_node,
    stages_have_layers,
    blocks_stay_whole,
    experts_divide,
    memory_suffices,
    float8_has_arithmetic,
)
"""In the order in which one reason is given: what cannot be counted, then bytes, then what the GPU can do."""


def _splits(kv_heads: int, size: int) -> bool:
    """Whether KV heads can be split over, or copied to, that many ranks."""
    return kv_heads % size == 0 or size % kv_heads == 0
