"""What a model takes of each GPU, as vLLM counts it: weights, KV cache and what else vLLM keeps."""

from dataclasses import dataclass, replace
from functools import cache

from cluster.kv_cache import kv_cache
from cluster.layout import Layout
from cluster.packing import converted
from cluster.shape import ModelShape, Quantization
from cluster.weights_size import checkpoint_bytes, stage_bytes

__all__ = [
    "Layout",
    "MemoryPlan",
    "Request",
    "kv_bytes_per_token_per_gpu",
    "kv_cache_tokens",
    "memory_plan",
    "weights_bytes",
    "weights_bytes_per_gpu",
]

GIB = 1024**3
CONTEXT_BYTES = int(0.15 * GIB)
"""CUDA context and cuBLAS workspaces: what an 8B model on an H200 leaves unexplained by its tensors."""
COMMUNICATION_BYTES = int(0.6 * GIB)
"""NCCL's and the custom all-reduce's buffers where ranks talk; an estimate without a run behind it."""
GRAPH_BYTES = int(0.25 * GIB)
"""CUDA graphs of an 8B model on an H200: 920k KV tokens with them, 922k without."""


@dataclass(frozen=True)
class Request:
    """What is asked of vLLM beside the layout."""

    max_model_len: int
    utilization: float = 0.92
    max_num_batched_tokens: int = 8192
    max_num_seqs: int = 256
    kv_cache_dtype: str = "auto"
    enforce_eager: bool = False
    on_cpu: bool = False


@dataclass(frozen=True)
class MemoryPlan:
    """One GPU's memory (the fullest), in bytes, and what the KV cache comes to."""

    usable_bytes: int
    """The share of the GPU that vLLM may take."""
    weights_bytes: int
    overhead_bytes: int
    """Activations, CUDA graphs, communication and context."""
    kv_bytes: int
    """What is left for the KV cache; below 0 where the weights do not fit."""
    kv_bytes_per_token: int
    kv_cache_tokens: int
    """Of one data parallel rank."""
    needed_bytes: int
    """The weights, the overhead and one request of the longest length."""

    @property
    def missing_bytes(self) -> int:
        """What is missing to serve one request of the longest length; 0 where it fits."""
        return max(0, self.needed_bytes - self.usable_bytes)


def weights_bytes(shape: ModelShape) -> int:
    """The bytes of all tensors of the checkpoint: as its index tells, else as computed."""
    return shape.weights_bytes or checkpoint_bytes(shape)


def weights_bytes_per_gpu(shape: ModelShape, layout: Layout) -> int:
    """The bytes of weights on the fullest GPU, rotary tables and what vLLM makes while loading included."""
    return max(stage_bytes(shape, layout)) + rotary_bytes(shape)


def rotary_bytes(shape: ModelShape) -> int:
    """The table of cosines and sines that all layers share: one row a position."""
    dim = shape.mla.rope_dim if shape.mla else shape.head_dim
    return shape.max_positions * dim * shape.dtype_bytes


def kv_bytes_per_token_per_gpu(shape: ModelShape, layout: Layout, kv_cache_dtype: str = "auto") -> int:
    """Bytes of one more token in the KV cache of the fullest GPU; a layer's window does not grow."""
    cut = kv_cache(
        shape, layout, max_model_len=1024, max_num_batched_tokens=1024, kv_cache_dtype=kv_cache_dtype
    )
    return cut.bytes_per_token


def kv_cache_tokens(
    shape: ModelShape,
    layout: Layout,
    *,
    gpu_memory_bytes: int,
    utilization: float = 0.92,
    max_num_batched_tokens: int = 8192,
    max_num_seqs: int = 256,
    max_model_len: int | None = None,
    kv_cache_dtype: str = "auto",
    enforce_eager: bool = False,
) -> int:
    """The tokens that the KV cache of one data parallel rank holds; 0 where the weights leave no room."""
    request = Request(
        max_model_len or shape.max_positions,
        utilization,
        max_num_batched_tokens,
        max_num_seqs,
        kv_cache_dtype,
        enforce_eager,
    )
    return memory_plan(shape, layout, gpu_memory_bytes, request).kv_cache_tokens


def memory_plan(shape: ModelShape, layout: Layout, gpu_memory_bytes: int, request: Request) -> MemoryPlan:
    """The memory of the fullest GPU: ``gpu_memory_bytes`` is what CUDA reports as its total."""
    usable = int(gpu_memory_bytes * request.utilization)
    weights = weights_bytes_per_gpu(shape, layout)
    overhead = overhead_bytes(shape, layout, request)
    cut = kv_cache(
        shape,
        layout,
        max_model_len=request.max_model_len,
        max_num_batched_tokens=request.max_num_batched_tokens,
        kv_cache_dtype=request.kv_cache_dtype,
        on_cpu=request.on_cpu,
    )
    available = usable - weights - overhead
    return MemoryPlan(
        usable_bytes=usable,
        weights_bytes=weights,
        overhead_bytes=overhead,
        kv_bytes=available,
        kv_bytes_per_token=cut.bytes_per_token,
        kv_cache_tokens=cut.tokens(available, request.max_model_len),
        # One block more than a request needs: vLLM keeps a null block.
        needed_bytes=weights + overhead + cut.block_bytes * (cut.blocks_per_request + 1),
    )


@cache
def overhead_bytes(shape: ModelShape, layout: Layout, request: Request) -> int:
    """What vLLM keeps of a GPU beside weights and KV cache."""
    total = CONTEXT_BYTES + activation_bytes(shape, layout, request)
    if layout.ranks > 1:
        total += COMMUNICATION_BYTES
    return total if request.enforce_eager or request.on_cpu else total + GRAPH_BYTES


def activation_bytes(shape: ModelShape, layout: Layout, request: Request) -> int:
    """The peak of a forward pass over the largest batch, or of the sampler over its logits."""
    size, hidden = layout.tensor_parallel_size, shape.hidden_size
    # Gate and up beside their product; residual, input and output of the layer.
    widths = [3 * shape.intermediate_size // size]
    if experts := shape.experts:
        widths.append(3 * experts.active * experts.intermediate_size // size + experts.active * hidden)
    widths.append(2 * (shape.heads * shape.head_dim + 2 * shape.kv_heads * shape.head_dim) // size)
    forward = request.max_num_batched_tokens * (max(widths) + 3 * hidden + hidden // 2) * shape.dtype_bytes
    # Logits in float32, once more for the sampler's softmax.
    sampler = request.max_num_seqs * shape.vocab_size * 4 * 2
    return max(forward, sampler)


def with_quantization(shape: ModelShape, method: str | None) -> ModelShape:
    """The shape as vLLM quantizes it while loading; unchanged where the checkpoint is quantized itself."""
    if not method or shape.quantization:
        return shape
    return replace(shape, packing=converted(method), weights_bytes=None)


def as_checkpoint(shape: ModelShape, method: str) -> ModelShape:
    """The shape as a checkpoint of that quantization would have it; ValueError for one not known."""
    if method == shape.quantization:
        return shape
    packing = {
        "awq": Quantization("awq", 4, group_size=128, zero_points=True),
        "gptq": Quantization("gptq", 4, group_size=128, zero_points=True),
        "fp8": Quantization("fp8", 8, converted=True),
        "none": Quantization(),
    }
    if method not in packing:
        raise ValueError(f"known are {', '.join(packing)}")
    return replace(shape, packing=packing[method], weights_bytes=None)
