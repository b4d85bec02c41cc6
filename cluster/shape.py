"""The shape of a model: every number of its config.json that decides how much memory it takes."""

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Literal

Attention = Literal["full", "sliding", "linear", "latent"]
"""How a layer remembers: every token, the last ones, a fixed state, or a compressed latent (MLA)."""


@dataclass(frozen=True)
class Quantization:
    """How the checkpoint packs the weights of its linear layers."""

    method: str = ""
    """quant_method of the checkpoint, e.g. ``fp8``; "" for a plain one."""
    bits: int = 16
    group_size: int = 0
    """Weights of a row that share a scale; 0 = the whole row."""
    block: tuple[int, int] | None = None
    """Rows and columns that share a scale (DeepSeek's FP8)."""
    zero_points: bool = False
    wide_zeros: bool = False
    """Whether zero points are as wide as scales: so vLLM keeps AWQ's, which the checkpoint packs."""
    per_channel: bool = False
    """One scale a row instead of one a tensor."""
    static_input: bool = False
    """Whether a scale of the activations lies beside each weight."""
    plain_head: bool = True
    """Whether lm_head is left as it is."""
    is_float: bool = True
    """Whether the packed numbers are floating point (FP8) or whole (INT8, INT4)."""
    ignored: tuple[str, ...] = ()
    """The checkpoint's own names of what it leaves as it is."""
    converted: bool = False
    """Whether vLLM quantizes a plain checkpoint while loading it."""

    @property
    def is_float8(self) -> bool:
        """Whether the weights are FP8, which needs FP8 arithmetic to be of use."""
        return self.method == "fp8" or (
            self.method == "compressed-tensors" and self.bits == 8 and self.is_float
        )


@dataclass(frozen=True)
class Mla:
    """Multi-head latent attention: what is cached is one latent vector for all heads."""

    q_lora_rank: int
    """0 = the query is not compressed."""
    kv_lora_rank: int
    nope_dim: int
    rope_dim: int
    value_dim: int
    index_heads: int = 0
    """The lightning indexer of DeepSeek V3.2; 0 = attention is dense."""
    index_dim: int = 0


@dataclass(frozen=True)
class Experts:
    """The mixture of experts of a sparse layer."""

    count: int
    active: int
    intermediate_size: int
    shared_intermediate_size: int = 0
    """All shared experts together; 0 = none."""
    shared_gate: bool = False
    correction_bias: bool = False


@dataclass(frozen=True)
class LinearAttention:
    """Gated delta net: a state of fixed size instead of a cache that grows."""

    key_heads: int
    key_dim: int
    value_heads: int
    value_dim: int
    kernel: int

    @property
    def conv_dim(self) -> int:
        """Channels of the convolution: queries, keys and values."""
        return 2 * self.key_heads * self.key_dim + self.value_heads * self.value_dim


@dataclass(frozen=True)
class Vision:
    """The picture encoder of a multimodal model."""

    parameters: int


@dataclass(frozen=True)
class LayerKind:
    """What distinguishes one layer from another of the same model."""

    attention: Attention
    sparse: bool
    plain: frozenset[str] = frozenset()
    """Its linear layers that quantization leaves as they are."""


@dataclass(frozen=True)
class ModelShape:
    """What the planner needs of a model; ``weights_bytes`` is None where no index told it."""

    architecture: str
    hidden_size: int
    layers: int
    heads: int
    kv_heads: int
    vocab_size: int
    max_positions: int
    head_dim: int = 0
    intermediate_size: int = 0
    dtype: str = "bfloat16"
    tied_embeddings: bool = False
    layer_kinds: tuple[LayerKind, ...] = ()
    sliding_window: int = 0
    mla: Mla | None = None
    experts: Experts | None = None
    linear: LinearAttention | None = None
    mtp_layers: int = 0
    """Layers that predict the token after the next; in the checkpoint, not loaded unless asked for."""
    vision: Vision | None = None
    qkv_bias: bool = False
    output_bias: bool = False
    packing: Quantization = Quantization()
    weights_bytes: int | None = None
    own_code: bool = False
    """Whether config.json names Python of the repository's own (auto_map)."""

    def __hash__(self) -> int:
        """Reckoned once: a search looks every shape up thousands of times."""
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash(tuple(getattr(self, each.name) for each in fields(self)))

    @property
    def quantization(self) -> str:
        """quant_method of the checkpoint, e.g. ``fp8``; "" for a plain one."""
        return self.packing.method

    @property
    def dtype_bytes(self) -> int:
        """Bytes of one plain weight."""
        return 4 if self.dtype == "float32" else 2
