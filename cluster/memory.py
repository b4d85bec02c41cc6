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
CONTEXT_BYTES = 241_172_480
"""CUDA context and libraries, outside of torch: vLLM 0.24.0 on an H100, 2026-11-25, for any model."""
BASE_BYTES = 98_000_000
"""Torch's part that depends on no batch: the same runs."""
COMMUNICATION_BYTES = 337_641_472
"""NCCL's and the all-reduce's buffers of tensor parallelism: the same vLLM on two H100; stages need none."""
GRAPH_BYTES_PER_LAYER = 10_000_000
"""CUDA graphs, as vLLM estimates them: 436 MB for 48 layers of Gemma 3, 526 MB for 48 of Qwen3-30B-A3B."""
WITHOUT_ESTIMATE = frozenset(
    {
        *("LlamaForCausalLM", "MistralForCausalLM", "Qwen3ForCausalLM"),
        *("Qwen2MoeForCausalLM", "DeepseekV2ForCausalLM"),
    }
)
"""Architectures that run in vLLM's newer model runner, which sets nothing aside for graphs."""
PREFILL_WORKSPACE_TOKENS = 65_536
"""The most tokens of context that latent attention unpacks at once."""


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
    overlapping: bool = True
    """Whether the next batch is scheduled beside the running one, so that windows are kept for both."""
    prefix_caching: bool = True


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
    """The tables of cosines and sines: one for all layers, and one more for the windows of Gemma 3."""
    dim = shape.mla.rope_dim if shape.mla else shape.head_dim
    tables = 2 if shape.architecture.startswith("Gemma3") else 1
    return tables * shape.max_positions * dim * shape.dtype_bytes


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
        overlapping=request.overlapping,
        prefix_caching=request.prefix_caching,
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
    if (mla := shape.mla) and mla.index_heads:
        # Sparse attention keeps a buffer for the queries of a whole batch, each as wide as the latent.
        heads = shape.heads // layout.tensor_parallel_size
        width = heads * (mla.kv_lora_rank + mla.rope_dim) * shape.dtype_bytes
        total += request.max_num_batched_tokens * width
    if layout.tensor_parallel_size * layout.data_parallel_size > 1:
        total += COMMUNICATION_BYTES
    return total + (0 if request.enforce_eager or request.on_cpu else graph_bytes(shape, layout, request))


def activation_bytes(shape: ModelShape, layout: Layout, request: Request) -> int:
    """The peak of vLLM's profile run: a forward pass over the largest batch, or the logits after it."""
    size, hidden = layout.tensor_parallel_size, shape.hidden_size
    unit = request.max_num_batched_tokens * shape.dtype_bytes
    # Gate and up beside their product; input and output of the layer.
    peaks = [unit * (3 * shape.intermediate_size // size + 2 * hidden)]
    if experts := shape.experts:
        part = experts.intermediate_size // (1 if layout.expert_parallel else size)
        # Two workspaces of the expert kernel, and what goes in and out of it for each chosen expert.
        spaces = max(part, hidden) + max(2 * part, hidden) + 9 * hidden // 4
        peaks.append(unit * experts.active * spaces)
    if mla := shape.mla:
        query, pair = mla.nope_dim + mla.rope_dim, mla.nope_dim + mla.value_dim
        width = shape.heads // size * (4 * query + pair) + 4 * hidden
        peaks.append(unit * width + unpacked_bytes(shape, layout, request))
    forward = max(peaks) + BASE_BYTES
    if request.enforce_eager or request.on_cpu:
        return forward
    # The compiled pass holds lm_head a second time, beside the logits in float32.
    head = shape.vocab_size * hidden * shape.dtype_bytes // size
    return max(forward, head + request.max_num_seqs * shape.vocab_size * 4)


def unpacked_bytes(shape: ModelShape, layout: Layout, request: Request) -> int:
    """Latent attention's cached context, unpacked to keys and values of all heads of a rank; 0 without it."""
    mla = shape.mla
    if mla is None:
        return 0
    tokens = min(max(8 * request.max_model_len, 64 * request.max_num_seqs), PREFILL_WORKSPACE_TOKENS)
    heads = shape.heads // layout.tensor_parallel_size
    return tokens * heads * (mla.nope_dim + mla.value_dim) * shape.dtype_bytes


def graph_bytes(shape: ModelShape, layout: Layout, request: Request) -> int:
    """What vLLM sets aside for CUDA graphs; the pool holds latent attention's unpacked context once more."""
    if shape.architecture in WITHOUT_ESTIMATE:
        return 0
    layers = -(-shape.layers // layout.pipeline_parallel_size)
    return layers * GRAPH_BYTES_PER_LAYER + unpacked_bytes(shape, layout, request)


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
