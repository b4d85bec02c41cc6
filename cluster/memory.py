"""What a model takes of each GPU, as vLLM counts it: weights, KV cache and what else vLLM keeps."""

from dataclasses import dataclass

from cluster.models import ModelShape


@dataclass(frozen=True)
class Layout:
    """How a model is spread: TP x PP x DP ranks over some nodes; expert parallel spreads whole experts."""

    tensor_parallel_size: int = 1
    pipeline_parallel_size: int = 1
    data_parallel_size: int = 1
    expert_parallel: bool = False
    nodes: int = 1

    @property
    def ranks(self) -> int:
        """Workers in all: TP x PP x DP."""
        return self.tensor_parallel_size * self.pipeline_parallel_size * self.data_parallel_size


def weights_bytes(shape: ModelShape) -> int:
    """The bytes of all tensors of the checkpoint."""
    return shape.weights_bytes or 0


def weights_bytes_per_gpu(shape: ModelShape, layout: Layout) -> int:
    """The bytes of weights on the fullest GPU."""
    return weights_bytes(shape) // (layout.tensor_parallel_size * layout.pipeline_parallel_size)


def kv_bytes_per_token_per_gpu(shape: ModelShape, layout: Layout, kv_cache_dtype: str = "auto") -> int:
    """The KV cache's growth by one token on the fullest GPU, in bytes."""
    heads = max(1, shape.kv_heads // layout.tensor_parallel_size)
    size = 1 if kv_cache_dtype.startswith("fp8") else 2
    return (
        -(-shape.layers // layout.pipeline_parallel_size)
        * 2
        * heads
        * (shape.hidden_size // shape.heads)
        * size
    )


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
) -> int:
    """The tokens that the KV cache of one data parallel rank holds; 0 where the weights leave no room."""
    free = gpu_memory_bytes * utilization - weights_bytes_per_gpu(shape, layout)
    return max(0, int(free) // kv_bytes_per_token_per_gpu(shape, layout, kv_cache_dtype))
