"""The shape of a model, read from its real config.json; nothing about a model is tabulated by hand."""

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

from cluster.families import FAMILIES, Family
from cluster.packing import Ignored, packing_of
from cluster.problems import BadInput, Problem
from cluster.shape import Attention, Experts, LayerKind, LinearAttention, Mla, ModelShape
from cluster.vision import vision_of

REMEDY = "Take the config.json of the model's own repository."
MOST_LAYERS = 10_000
LAYER_TYPES: Mapping[str, Attention] = {
    "full_attention": "full",
    "sliding_attention": "sliding",
    "linear_attention": "linear",
}


class Reader:
    """Counts out of a section of config.json; what is wrong with them is collected, not raised."""

    def __init__(self, section: Mapping[str, object], defaults: Mapping[str, int], path: str) -> None:
        self.section, self.defaults, self.path = section, defaults, path
        self.problems: list[Problem] = []

    def count(self, key: str, default: int | None = None) -> int:
        """A whole number above 0; 1 in place of one that is missing or broken."""
        value = self.section.get(key)
        if value is None:
            value = self.defaults.get(key, default)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
        self.wrong(key, "is missing" if value is None else f"is {value!r}, not a whole number above 0")
        return 1

    def optional(self, *keys: str) -> int:
        """The first of these that is there; 0 where none is."""
        present = [key for key in keys if self.section.get(key)]
        return self.count(present[0]) if present else self.defaults.get(keys[0], 0)

    def wrong(self, key: str, what: str) -> None:
        """Note what is wrong with a key."""
        self.problems.append(Problem(f"{self.path}: {key}", what, REMEDY))


def shape_from_config(
    config: Mapping[str, object], weights_bytes: int | None = None, path: str = "config.json"
) -> ModelShape:
    """The shape that a config.json tells; BadInput names every field that is missing or not a count."""
    # Multimodal models keep the language model's numbers one level down.
    text = _section(config, "text_config") or config
    architecture = _architecture(config)
    family = FAMILIES.get(architecture)
    read = Reader(text, family.defaults if family else {}, path)
    heads = read.count("num_attention_heads")
    hidden = read.count("hidden_size")
    layers = read.count("num_hidden_layers")
    if layers > MOST_LAYERS:
        read.wrong("num_hidden_layers", f"is {layers}, more than any model has")
        layers = 1
    plain = ModelShape(
        architecture=architecture,
        hidden_size=hidden,
        layers=layers,
        heads=heads,
        kv_heads=read.count("num_key_value_heads", default=heads),
        vocab_size=read.count("vocab_size"),
        max_positions=read.count("max_position_embeddings"),
        head_dim=read.optional("head_dim") or max(1, hidden // heads),
        packing=packing_of(_section(config, "quantization_config") or _section(text, "quantization_config")),
        weights_bytes=weights_bytes,
        own_code=bool(config.get("auto_map")),
    )
    if not architecture:
        read.wrong("architectures", "is missing or empty")
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
    dtype = text.get("dtype") or text.get("torch_dtype") or config.get("dtype") or config.get("torch_dtype")
    bias = bool(text.get("attention_bias"))
    dense = any(not kind.sparse for kind in kinds)
    return replace(
        plain,
        intermediate_size=read.count("intermediate_size") if dense else 0,
        dtype=str(dtype or "bfloat16"),
        tied_embeddings=family.tied if tied is None else bool(tied),
        layer_kinds=kinds,
        sliding_window=window,
        mla=mla,
        experts=experts,
        linear=linear,
        mtp_layers=read.optional("num_nextn_predict_layers", "mtp_num_hidden_layers"),
        vision=vision_of(_section(config, "vision_config"), family.vision, plain.hidden_size, read.path),
        qkv_bias=bias if family.qkv_bias is None else family.qkv_bias,
        output_bias=bias,
    )


def _kinds(
    shape: ModelShape, read: Reader, family: Family, *, latent: bool, window: int, sparse: bool
) -> tuple[LayerKind, ...]:
    text = read.section
    ignored = Ignored.of(shape.packing)
    types = text.get("layer_types")
    if isinstance(types, list) and len(types) != shape.layers:
        read.wrong("layer_types", f"tells {len(types)} layers, but num_hidden_layers is {shape.layers}")
        types = None
    kinds = []
    for index in range(shape.layers):
        attention: Attention = "latent" if latent else "full"
        if isinstance(types, list):
            known = LAYER_TYPES.get(str(types[index]))
            if known is None:
                read.wrong("layer_types", f"has a kind that is not known here: {types[index]!r}")
            attention = known or attention
        elif _slides(index, family, window):
            attention = "sliding"
        elif family.linear_interval:
            every = read.optional("full_attention_interval") or family.linear_interval
            attention = "full" if (index + 1) % every == 0 else "linear"
        is_sparse = sparse and _is_sparse(index, text)
        kinds.append(LayerKind(attention, is_sparse, ignored.of_layer(index)))
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


def _is_sparse(index: int, text: Mapping[str, object]) -> bool:
    def number(key: str, default: int) -> int:
        value = text.get(key)
        return value if isinstance(value, int) else default

    only = text.get("mlp_only_layers")
    if isinstance(only, list) and index in only:
        return False
    if index < number("first_k_dense_replace", 0) or index % (number("moe_layer_freq", 1) or 1):
        return False
    step = number("decoder_sparse_step", 1) or 1
    return (index + 1) % step == 0


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
    size = read.optional("moe_intermediate_size") or read.count("intermediate_size")
    shared_size = read.optional("shared_expert_intermediate_size")
    return Experts(
        count=count,
        active=read.count("num_experts_per_tok"),
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


def _section(config: Mapping[str, object], key: str) -> Mapping[str, object] | None:
    section = config.get(key)
    return section if isinstance(section, Mapping) else None


def _architecture(config: Mapping[str, object]) -> str:
    names = config.get("architectures")
    return str(names[0]) if isinstance(names, list) and names else ""
