"""The tensors of a model, computed from its shape: what the checkpoint holds and how vLLM splits each."""

from dataclasses import dataclass
from functools import cache
from typing import Literal

from cluster.families import FAMILIES, Family
from cluster.problems import BadInput, Problem
from cluster.shape import LayerKind, ModelShape

Split = Literal["none", "rows", "columns", "kv", "vocab"]
"""What a rank of tensor parallelism has: all, some outputs, some inputs, its KV heads, its words."""


@dataclass(frozen=True)
class Tensor:
    """A matrix of ``rows`` outputs by ``columns`` inputs, or a vector; ``copies`` of it, one an expert."""

    name: str
    rows: int
    columns: int = 1
    split: Split = "none"
    linear: bool = True
    """Whether quantization packs it, unless the checkpoint says otherwise."""
    copies: int = 1
    is_expert: bool = False
    bytes_each: int = 0
    """0 = the model's dtype."""
    made: bool = False
    """Whether vLLM makes it while loading, so that no checkpoint holds it."""

    @property
    def parameters(self) -> int:
        """Numbers in all copies."""
        return self.rows * self.columns * self.copies


def family_of(shape: ModelShape) -> Family:
    """What the architecture adds; BadInput names one that the planner does not know."""
    family = FAMILIES.get(shape.architecture)
    if family is None:
        known = ", ".join(sorted(FAMILIES))
        raise BadInput(
            [
                Problem(
                    "config.json: architectures",
                    f"Drydock does not know how {shape.architecture} takes memory, and does not guess",
                    f"Take a model of a known one ({known}), or add this one to cluster/families.py.",
                )
            ]
        )
    return family


def vector(name: str, size: int, split: Split = "none", bytes_each: int = 0) -> Tensor:
    """A vector, which no quantization packs."""
    return Tensor(name, size, split=split, linear=False, bytes_each=bytes_each)


@cache
def layer_tensors(shape: ModelShape, kind: LayerKind) -> tuple[Tensor, ...]:
    """Every tensor of one layer."""
    family = family_of(shape)
    norms = [vector(f"norm_{index}", shape.hidden_size) for index in range(family.norms)]
    match kind.attention:
        case "latent":
            attention = _latent_attention(shape)
        case "linear":
            attention = _linear_attention(shape)
        case _:
            attention = _attention(shape, family)
    mixture = _experts(shape, family) if kind.sparse else _mlp(shape, "mlp", shape.intermediate_size)
    return (*norms, *attention, *mixture)


@cache
def embedding_tensors(shape: ModelShape) -> tuple[Tensor, ...]:
    """What lies before the first layer: the words, and the picture encoder."""
    words = Tensor("embed_tokens", shape.vocab_size, shape.hidden_size, "vocab", linear=False)
    # vLLM splits the encoder over TP only when asked to.
    pictures = (vector("vision", shape.vision.parameters),) if shape.vision else ()
    return (words, *pictures)


@cache
def head_tensors(shape: ModelShape) -> tuple[Tensor, ...]:
    """What lies behind the last layer; a tied head is the embedding's own tensor."""
    norm = vector("norm", shape.hidden_size)
    if shape.tied_embeddings:
        return (norm,)
    linear = not shape.packing.plain_head
    return (norm, Tensor("lm_head", shape.vocab_size, shape.hidden_size, "vocab", linear=linear))


@cache
def mtp_tensors(shape: ModelShape) -> tuple[Tensor, ...]:
    """Every tensor of the layers that predict a token further; in the checkpoint only."""
    hidden = shape.hidden_size
    last = shape.layer_kinds[-1]
    if shape.mla:  # DeepSeek's carry embedding and head of their own
        words = Tensor("embed_tokens", shape.vocab_size, hidden, linear=False)
        around = (
            *(vector(f"mtp_norm_{index}", hidden) for index in range(3)),
            Tensor("eh_proj", hidden, 2 * hidden, linear=False),
            words,
            words,
        )
    else:
        around = (
            *(vector(f"mtp_norm_{index}", hidden) for index in range(3)),
            Tensor("fc", hidden, 2 * hidden, linear=False),
        )
        last = LayerKind("full", last.sparse, last.plain)
    return (*around, *layer_tensors(shape, last)) * shape.mtp_layers


def _attention(shape: ModelShape, family: Family) -> list[Tensor]:
    hidden, dim = shape.hidden_size, shape.head_dim
    q_rows, kv_rows = shape.heads * dim, shape.kv_heads * dim
    name = "self_attn"
    q_all = q_rows * 2 if family.output_gate else q_rows
    found = [
        Tensor(f"{name}.q_proj", q_all, hidden, "rows"),
        Tensor(f"{name}.k_proj", kv_rows, hidden, "kv"),
        Tensor(f"{name}.v_proj", kv_rows, hidden, "kv"),
        Tensor(f"{name}.o_proj", hidden, q_rows, "columns"),
    ]
    if shape.qkv_bias:
        found += [vector(f"{name}.q_bias", q_rows, "rows")]
        found += [vector(f"{name}.{part}_bias", kv_rows, "kv") for part in "kv"]
    if shape.output_bias:
        found.append(vector(f"{name}.o_bias", hidden))
    if family.qk_norm:
        found += [vector(f"{name}.{part}_norm", dim) for part in "qk"]
    if family.sinks:
        found.append(vector(f"{name}.sinks", shape.heads, "rows"))
    return found


def _latent_attention(shape: ModelShape) -> list[Tensor]:
    mla, hidden, heads, name = shape.mla, shape.hidden_size, shape.heads, "self_attn"
    if mla is None:
        raise ValueError("a latent layer without its sizes")
    q_rows = heads * (mla.nope_dim + mla.rope_dim)
    kv_rows = heads * (mla.nope_dim + mla.value_dim)
    found = [
        Tensor(f"{name}.kv_a_proj_with_mqa", mla.kv_lora_rank + mla.rope_dim, hidden),
        vector(f"{name}.kv_a_layernorm", mla.kv_lora_rank),
        Tensor(f"{name}.kv_b_proj", kv_rows, mla.kv_lora_rank, "rows"),
        Tensor(f"{name}.o_proj", hidden, heads * mla.value_dim, "columns"),
        # vLLM folds kv_b_proj into query and output and keeps both, in the model's dtype.
        Tensor("absorbed", kv_rows, mla.kv_lora_rank, "rows", linear=False, made=True),
    ]
    if mla.q_lora_rank:
        found += [
            Tensor(f"{name}.q_a_proj", mla.q_lora_rank, hidden),
            vector(f"{name}.q_a_layernorm", mla.q_lora_rank),
            Tensor(f"{name}.q_b_proj", q_rows, mla.q_lora_rank, "rows"),
        ]
    else:
        found.append(Tensor(f"{name}.q_proj", q_rows, hidden, "rows"))
    if mla.index_heads:
        found += [
            Tensor(f"{name}.indexer.wq_b", mla.index_heads * mla.index_dim, mla.q_lora_rank),
            Tensor(f"{name}.indexer.wk", mla.index_dim, hidden),
            vector(f"{name}.indexer.k_norm", 2 * mla.index_dim, bytes_each=4),
            Tensor(f"{name}.indexer.weights_proj", mla.index_heads, hidden, linear=False),
        ]
    return found


def _linear_attention(shape: ModelShape) -> list[Tensor]:
    linear, hidden, name = shape.linear, shape.hidden_size, "linear_attn"
    if linear is None:
        raise ValueError("a linear layer without its sizes")
    values = linear.value_heads * linear.value_dim
    return [
        Tensor(f"{name}.in_proj_qkv", linear.conv_dim, hidden, "rows"),
        Tensor(f"{name}.in_proj_z", values, hidden, "rows"),
        Tensor(f"{name}.in_proj_ba", 2 * linear.value_heads, hidden, "rows"),
        Tensor(f"{name}.conv1d", linear.conv_dim, linear.kernel, "rows", linear=False),
        vector(f"{name}.dt_bias", linear.value_heads, "rows"),
        vector(f"{name}.A_log", linear.value_heads, "rows", bytes_each=4),
        vector(f"{name}.norm", linear.value_dim, bytes_each=4),
        Tensor(f"{name}.out_proj", hidden, values, "columns"),
    ]


def _mlp(shape: ModelShape, name: str, size: int) -> list[Tensor]:
    hidden = shape.hidden_size
    return [
        Tensor(f"{name}.gate_proj", size, hidden, "rows"),
        Tensor(f"{name}.up_proj", size, hidden, "rows"),
        Tensor(f"{name}.down_proj", hidden, size, "columns"),
    ]


def _experts(shape: ModelShape, family: Family) -> list[Tensor]:
    experts, hidden, name = shape.experts, shape.hidden_size, "mlp.experts"
    if experts is None:
        raise ValueError("a sparse layer without its experts")
    size = experts.intermediate_size

    def spread(part: str, rows: int, columns: int, split: Split, *, linear: bool = True) -> Tensor:
        return Tensor(f"{name}.{part}", rows, columns, split, linear, experts.count, is_expert=True)

    found = [
        Tensor("mlp.gate", experts.count, hidden, linear=False),
        spread("gate_proj", size, hidden, "rows"),
        spread("up_proj", size, hidden, "rows"),
        spread("down_proj", hidden, size, "columns"),
    ]
    if experts.correction_bias:
        found.append(vector("mlp.gate.e_score_correction_bias", experts.count, bytes_each=4))
    if family.expert_bias:
        found += [
            vector("mlp.gate.bias", experts.count),
            spread("gate_bias", size, 1, "rows", linear=False),
            spread("up_bias", size, 1, "rows", linear=False),
            spread("down_bias", hidden, 1, "none", linear=False),
        ]
    if experts.shared_intermediate_size:
        found += _mlp(shape, "mlp.shared_experts", experts.shared_intermediate_size)
    if experts.shared_gate:
        found.append(Tensor("mlp.shared_expert_gate", 1, hidden, linear=False))
    return found
