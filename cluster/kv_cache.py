"""The KV cache of a layout, grouped and cut into blocks as vLLM does it."""

from collections import Counter
from dataclasses import dataclass
from functools import cache

from cluster.layout import Layout
from cluster.shape import LayerKind, ModelShape
from cluster.weights_size import stages

BLOCK = 16
CPU_BLOCK = 128
MLA_BLOCK = 64
"""Tokens of a block: vLLM's own choices for GPUs, CPUs and latent attention."""
SPARSE_FP8_BYTES = 656
"""One token of DeepSeek V3.2 in FP8: latent, its scales, and the rotary part left in bfloat16."""


@dataclass(frozen=True)
class KvCache:
    """How the cache is cut: every group of layers claims blocks of ``block_bytes`` from one pool."""

    block_bytes: int
    """One block of the fullest pipeline stage, on one GPU."""
    blocks_per_request: int
    """What one request of the longest length claims."""
    bytes_per_token: int
    """What one more token of a long request takes on the fullest GPU."""

    def tokens(self, available_bytes: float, max_model_len: int) -> int:
        """vLLM's `KV cache size`: the requests that fit times their length."""
        blocks = int(available_bytes // self.block_bytes)
        return max(0, blocks * max_model_len // self.blocks_per_request)


def kv_bytes_per_element(shape: ModelShape, kv_cache_dtype: str) -> int:
    """Bytes of one number in the cache."""
    return 1 if kv_cache_dtype.startswith("fp8") else shape.dtype_bytes


def layer_token_bytes(shape: ModelShape, layout: Layout, kv_cache_dtype: str) -> int:
    """What one token takes in one attention layer, on one GPU."""
    size = kv_bytes_per_element(shape, kv_cache_dtype)
    if mla := shape.mla:
        latent = mla.kv_lora_rank + mla.rope_dim
        if not mla.index_heads:
            return latent * size
        # Beside the latent, the indexer keeps its key in FP8 with a scale for 128 numbers.
        index = mla.index_dim + 4 * -(-mla.index_dim // 128)
        return index + (SPARSE_FP8_BYTES if size == 1 else latent * size)
    heads = max(1, shape.kv_heads // layout.tensor_parallel_size)
    return 2 * heads * shape.head_dim * size


def state_bytes(shape: ModelShape, layout: Layout) -> int:
    """What a linear layer keeps of a request on one GPU: convolution in dtype, state in float32."""
    linear = shape.linear
    if linear is None:
        return 0
    convolution = linear.conv_dim * (linear.kernel - 1) * shape.dtype_bytes
    state = linear.value_heads * linear.value_dim * linear.key_dim * 4
    return (convolution + state) // layout.tensor_parallel_size


@cache
def kv_cache(
    shape: ModelShape,
    layout: Layout,
    *,
    max_model_len: int,
    max_num_batched_tokens: int,
    kv_cache_dtype: str = "auto",
    on_cpu: bool = False,
    overlapping: bool = True,
    prefix_caching: bool = True,
) -> KvCache:
    """The cache's cut for requests of up to ``max_model_len`` tokens."""
    token = layer_token_bytes(shape, layout, kv_cache_dtype)
    kinds = Counter(kind.attention for kind in shape.layer_kinds)
    growing = kinds["full"] + kinds["latent"]
    block = _block(shape, on_cpu=on_cpu)
    if state := state_bytes(shape, layout):
        # Blocks of attention grow until one is as large as a state.
        block *= -(-state // (block * token))
    batches = layout.pipeline_parallel_size + (overlapping and not on_cpu)
    held = min(shape.sliding_window - 1 + batches * max_num_batched_tokens, max_model_len)
    per_request = {
        "full": -(-max_model_len // block),
        "latent": -(-max_model_len // block),
        "sliding": -(-held // block) + 1,
        "linear": 1 + prefix_caching,  # it keeps the state before the last block too
    }
    present = [count for count in kinds.values() if count]
    # The layers are dealt into groups of one size, which the rarest kind sets unless that wastes little.
    size = max(present) if max(present) < min(present) * 1.5 else min(present)
    groups = {kind: -(-count // size) for kind, count in kinds.items() if count}
    fullest = max(
        max(
            -(-count // groups[kind])
            for kind, count in Counter(layer.attention for layer in _part(shape, part)).items()
        )
        for part in stages(shape.layers, layout.pipeline_parallel_size)
    )
    stage_layers = max(
        sum(layer.attention in ("full", "latent") for layer in _part(shape, part))
        for part in stages(shape.layers, layout.pipeline_parallel_size)
    )
    return KvCache(
        block_bytes=fullest * block * token,
        blocks_per_request=sum(groups[kind] * per_request[kind] for kind in groups),
        bytes_per_token=(stage_layers if growing else 0) * token,
    )


def _part(shape: ModelShape, part: range) -> tuple[LayerKind, ...]:
    return shape.layer_kinds[part.start : part.stop]


def _block(shape: ModelShape, *, on_cpu: bool) -> int:
    if on_cpu:
        return BLOCK if shape.mla else CPU_BLOCK
    return MLA_BLOCK if shape.mla else BLOCK
