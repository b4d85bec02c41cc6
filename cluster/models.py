"""The shape of a model, read from its real config.json; nothing about a model is tabulated by hand."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

from cluster.families import FAMILIES, Family
from cluster.packing import Ignored, packing_of
from cluster.problems import BadInput
from cluster.reader import Reader
from cluster.shape import Attention, Experts, LayerKind, LinearAttention, Mla, ModelShape
from cluster.vision import vision_of

MOST_LAYERS = 10_000
MOST_HEADS = 10_000
LAYER_TYPES: Mapping[str, Attention] = {
    "full_attention": "full",
    "sliding_attention": "sliding",
    "linear_attention": "linear",
}


def shape_from_config(
    config: Mapping[str, object], weights_bytes: int | None = None, path: str = "config.json"
) -> ModelShape:
    """The shape that a config.json tells; BadInput names every field that is missing or not a count."""
    # Multimodal models keep the language model's numbers one level down.
    outer = Reader(config, {}, path)
    text = outer.inner(config, "text_config") or config
    architecture = _architecture(config)
    family = FAMILIES.get(architecture)
    read = Reader(text, family.defaults if family else {}, path)
    read.problems += outer.problems
    heads = read.count("num_attention_heads", most=MOST_HEADS)
    hidden = read.count("hidden_size")
    layers = read.count("num_hidden_layers", most=MOST_LAYERS)
    plain = ModelShape(
        architecture=architecture,
        hidden_size=hidden,
        layers=layers,
        heads=heads,
        kv_heads=read.count("num_key_value_heads", default=heads, most=MOST_HEADS),
        vocab_size=read.count("vocab_size"),
        max_positions=read.count("max_position_embeddings"),
        head_dim=read.optional("head_dim") or max(1, hidden // heads),
        packing=packing_of(read.quantization(config)),
        weights_bytes=weights_bytes,
        own_code=bool(config.get("auto_map")),
    )
    if not architecture:
        read.wrong("architectures", "is missing or empty")
    if "kv_lora_rank" not in text and not read.problems:
        _heads_divide(plain, read)
    shape = _grown(plain, config, read, family) if family and not read.problems else plain
    if read.problems:
        raise BadInput(read.problems)
    return shape


def snapshot(model_id: str) -> ModelShape | None:
    """The shape of a model in the snapshot catalogue, or None; no network is used."""
    if model_id not in snapshot_ids():
        return None
    text = (_snapshots() / f"{model_id.replace('/', '--')}.json").read_text()
    return shape_from_config(json.loads(text), snapshot_ids()[model_id], path=model_id)


@cache
def snapshot_ids() -> Mapping[str, int | None]:
    """Every Hugging Face id in the snapshot catalogue, with the bytes of its weights where known."""
    return dict(_index()["weights_bytes"])


def snapshot_source() -> str:
    """Where the snapshots come from, and when they were read."""
    return f"{_index()['source']}, {_index()['date']}"


def _grown(plain: ModelShape, config: Mapping[str, object], read: Reader, family: Family) -> ModelShape:
    """The shape with everything that a known architecture tells."""
    text = read.section
    mla = _mla(read) if "kv_lora_rank" in text else None
    experts = _experts(read)
    linear = _linear(read) if "linear_num_key_heads" in text else None
    window = read.optional("sliding_window") if family.windows != "none" or "layer_types" in text else 0
    kinds = _kinds(plain, read, family, latent=mla is not None, window=window, sparse=experts is not None)
    tied = config.get("tie_word_embeddings", text.get("tie_word_embeddings"))
    dtype = read.dtype(*(where.get(key) for where in (text, config) for key in ("dtype", "torch_dtype")))
    bias = bool(text.get("attention_bias"))
    dense = any(not kind.sparse for kind in kinds)
    return replace(
        plain,
        intermediate_size=read.count("intermediate_size") if dense else 0,
        dtype=dtype,
        tied_embeddings=family.tied if tied is None else bool(tied),
        layer_kinds=kinds,
        sliding_window=window,
        mla=mla,
        experts=experts,
        linear=linear,
        mtp_layers=read.optional("num_nextn_predict_layers", "mtp_num_hidden_layers", most=MOST_LAYERS),
        vision=vision_of(read.inner(config, "vision_config"), family.vision, plain.hidden_size, read.path),
        qkv_bias=bias if family.qkv_bias is None else family.qkv_bias,
        output_bias=bias,
    )


def _heads_divide(shape: ModelShape, read: Reader) -> None:
    """Note heads that do not go up in what they divide."""
    if not read.optional("head_dim") and shape.hidden_size % shape.heads:
        what = f"is {shape.heads}, which does not divide hidden_size {shape.hidden_size}"
        read.wrong("num_attention_heads", f"{what}, and there is no head_dim")
    if shape.heads % shape.kv_heads:
        what = f"is {shape.kv_heads}, which does not divide num_attention_heads {shape.heads}"
        read.wrong("num_key_value_heads", what)


def _kinds(
    shape: ModelShape, read: Reader, family: Family, *, latent: bool, window: int, sparse: bool
) -> tuple[LayerKind, ...]:
    is_sparse = _sparse_layers(read)
    ignored = Ignored.of(shape.packing)
    types = read.listed("layer_types")
    if types is not None and len(types) != shape.layers:
        read.wrong("layer_types", f"tells {len(types)} layers, but num_hidden_layers is {shape.layers}")
        types = None
    kinds = []
    for index in range(shape.layers):
        attention: Attention = "latent" if latent else "full"
        if types is not None:
            known = LAYER_TYPES.get(str(types[index]))
            if known is None:
                read.wrong("layer_types", f"has a kind that is not known here: {types[index]!r}")
            attention = known or attention
        elif _slides(index, family, window):
            attention = "sliding"
        elif family.linear_interval:
            every = read.optional("full_attention_interval") or family.linear_interval
            attention = "full" if (index + 1) % every == 0 else "linear"
        kinds.append(LayerKind(attention, sparse and is_sparse(index), ignored.of_layer(index)))
    return tuple(kinds)


def _slides(index: int, family: Family, window: int) -> bool:
    if not window:
        return False
    match family.windows:
        case "all":
            return True
        case "alternate":
            return index % 2 == 0
        case "five-of-six":
            return (index + 1) % 6 != 0
        case _:
            return False


def _sparse_layers(read: Reader) -> Callable[[int], bool]:
    """Which layers have experts, where the model has any."""
    plain = read.listed("mlp_only_layers") or []
    first = read.optional("first_k_dense_replace")
    every = read.optional("moe_layer_freq") or 1
    step = read.optional("decoder_sparse_step") or 1

    def is_sparse(index: int) -> bool:
        return index not in plain and index >= first and index % every == 0 and (index + 1) % step == 0

    return is_sparse


def _mla(read: Reader) -> Mla:
    return Mla(
        q_lora_rank=read.optional("q_lora_rank"),
        kv_lora_rank=read.count("kv_lora_rank"),
        nope_dim=read.count("qk_nope_head_dim"),
        rope_dim=read.count("qk_rope_head_dim"),
        value_dim=read.count("v_head_dim"),
        index_heads=read.optional("index_n_heads"),
        index_dim=read.optional("index_head_dim"),
    )


def _experts(read: Reader) -> Experts | None:
    count = read.optional("n_routed_experts", "num_experts", "num_local_experts")
    if not count:
        return None
    active = read.count("num_experts_per_tok")
    if active > count:
        read.wrong("num_experts_per_tok", f"is {active}, more than the {count} experts")
    size = read.optional("moe_intermediate_size") or read.count("intermediate_size")
    shared_size = read.optional("shared_expert_intermediate_size")
    return Experts(
        count=count,
        active=active,
        intermediate_size=size,
        shared_intermediate_size=shared_size or read.optional("n_shared_experts") * size,
        shared_gate=shared_size > 0,
        correction_bias=read.section.get("topk_method") == "noaux_tc",
    )


def _linear(read: Reader) -> LinearAttention:
    return LinearAttention(
        key_heads=read.count("linear_num_key_heads"),
        key_dim=read.count("linear_key_head_dim"),
        value_heads=read.count("linear_num_value_heads"),
        value_dim=read.count("linear_value_head_dim"),
        kernel=read.count("linear_conv_kernel_dim"),
    )


@cache
def _index() -> dict[str, dict[str, int | None]]:
    index: dict[str, dict[str, int | None]] = json.loads((_snapshots() / "index.json").read_text())
    return index


def _snapshots() -> Traversable:
    return files("cluster") / "data" / "models"


def _architecture(config: Mapping[str, object]) -> str:
    names = config.get("architectures")
    return str(names[0]) if isinstance(names, list) and names else ""
