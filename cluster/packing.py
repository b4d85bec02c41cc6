"""How a checkpoint's quantization_config packs the weights, and which layers it leaves as they are."""

import fnmatch
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from cluster.shape import Quantization

LINEAR_PARTS = (
    *(f"self_attn.{part}_proj" for part in ("q", "k", "v", "o", "q_a", "q_b", "kv_b")),
    *("self_attn.kv_a_proj_with_mqa", "self_attn.indexer.wq_b", "self_attn.indexer.wk"),
    *(f"linear_attn.{part}" for part in ("in_proj_qkv", "in_proj_z", "in_proj_ba", "out_proj")),
    *(
        f"mlp.{where}{part}_proj"
        for where in ("", "experts.", "shared_experts.")
        for part in ("gate", "up", "down")
    ),
)
"""The linear layers of a layer by the names of cluster.tensors."""


def packing_of(section: Mapping[str, object] | None) -> Quantization:
    """What quantization_config says; a plain checkpoint where there is none."""
    if section is None:
        return Quantization()
    method = str(section.get("quant_method", ""))
    ignored = _names(section.get("modules_to_not_convert")) + _names(section.get("ignore"))
    match method:
        case "fp8":
            size = section.get("weight_block_size")
            block = (int(size[0]), int(size[1])) if isinstance(size, list) and len(size) == 2 else None
            static = section.get("activation_scheme") == "static"
            return Quantization(method, 8, block=block, static_input=static, ignored=ignored)
        case "awq" | "gptq":
            group = _number(section.get("group_size"), 128)
            return Quantization(
                method,
                _number(section.get("bits"), 4),
                group_size=max(0, group),
                zero_points=True,
                plain_head=not section.get("lm_head"),
                ignored=ignored,
            )
        case "mxfp4":
            return Quantization(method, 4, group_size=32, ignored=ignored)
        case "compressed-tensors":
            return _compressed(section, ignored)
        case _:
            return Quantization(method, 0, ignored=ignored)


def converted(method: str) -> Quantization:
    """What vLLM makes of a plain checkpoint while loading it with that quantization."""
    return Quantization(method, 8, converted=True)


def _compressed(section: Mapping[str, object], ignored: tuple[str, ...]) -> Quantization:
    groups = section.get("config_groups")
    first = next(iter(groups.values()), None) if isinstance(groups, Mapping) else None
    weights = first.get("weights") if isinstance(first, Mapping) else None
    inputs = first.get("input_activations") if isinstance(first, Mapping) else None
    if not isinstance(weights, Mapping):
        return Quantization("compressed-tensors", 0, ignored=ignored)
    bits = _number(weights.get("num_bits"), 0)
    size = weights.get("block_structure")
    return Quantization(
        "compressed-tensors",
        bits if bits in (4, 8) else 0,
        group_size=_number(weights.get("group_size"), 0),
        block=(int(size[0]), int(size[1])) if isinstance(size, list) and len(size) == 2 else None,
        zero_points=weights.get("symmetric") is False,
        per_channel=weights.get("strategy") == "channel",
        static_input=isinstance(inputs, Mapping) and inputs.get("dynamic") is False,
        is_float=weights.get("type") == "float",
        plain_head="lm_head" in ignored or any("lm_head" in name for name in ignored),
        ignored=ignored,
    )


@dataclass(frozen=True)
class Ignored:
    """The names that quantization leaves alone, split so that a lookup takes no time."""

    exact: frozenset[str]
    """Names with the number of their layer."""
    general: tuple[str, ...]

    @staticmethod
    @cache
    def of(packing: Quantization) -> "Ignored":
        """The names of a checkpoint."""
        numbered = {
            name for name in packing.ignored if re.search(r"layers\.\d+\.", name) and name[:3] != "re:"
        }
        return Ignored(
            frozenset(name[name.index("layers.") :] for name in numbered),
            tuple(name for name in packing.ignored if name not in numbered),
        )

    def of_layer(self, index: int) -> frozenset[str]:
        """The linear layers of one layer that are left as they are."""
        if not self.exact and not self.general:
            return frozenset()
        general = _general(self.general)
        if not self.exact:
            return general
        start = f"layers.{index}."
        numbered = {name.removeprefix(start) for name in self.exact if name.startswith(start)}
        return general | {
            part
            for part in LINEAR_PARTS
            if any(part == name or part.startswith(f"{name}.") for name in numbered)
        }


@cache
def _general(names: tuple[str, ...]) -> frozenset[str]:
    return frozenset(part for part in LINEAR_PARTS if any(_matches(name, part) for name in names))


def _matches(name: str, part: str) -> bool:
    """Whether a name without a layer's number means that part: a regular expression, a pattern, or a word."""
    full = f"model.layers.0.{part}"
    if name.startswith("re:"):
        try:
            return re.match(name[3:], full) is not None
        except re.error:
            return False
    if "*" in name:
        return fnmatch.fnmatch(full, name) or fnmatch.fnmatch(full, f"{name}.*")
    return f".{name}." in f".{full}."


def _names(value: object) -> tuple[str, ...]:
    return tuple(str(name) for name in value) if isinstance(value, list) else ()


def _number(value: object, default: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else default
