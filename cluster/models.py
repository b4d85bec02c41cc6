"""The shape of a model, read from its real config.json; nothing about a model is tabulated by hand."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

from cluster.problems import BadInput, Problem


@dataclass(frozen=True)
class ModelShape:
    """What the layout rules need of a model; ``weights_bytes`` is None where no index told it."""

    architecture: str
    hidden_size: int
    layers: int
    heads: int
    kv_heads: int
    vocab_size: int
    max_positions: int
    quantization: str
    """quant_method of the checkpoint, e.g. ``fp8``; "" for a plain one."""
    weights_bytes: int | None


def shape_from_config(
    config: Mapping[str, object], weights_bytes: int | None = None, path: str = "config.json"
) -> ModelShape:
    """The shape that a config.json tells; BadInput names every field that is missing or not a count."""
    # Multimodal models keep the language model's numbers one level down.
    nested = config.get("text_config")
    text = nested if isinstance(nested, Mapping) else config
    problems: list[Problem] = []
    remedy = "Take the config.json of the model's own repository."

    def count(key: str, default: object = None) -> int:
        value = text.get(key, default)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
        what = "is missing" if value is None else f"is {value!r}, not a whole number above 0"
        problems.append(Problem(f"{path}: {key}", what, remedy))
        return 1

    heads = count("num_attention_heads")
    shape = ModelShape(
        architecture=_architecture(config),
        hidden_size=count("hidden_size"),
        layers=count("num_hidden_layers"),
        heads=heads,
        kv_heads=count("num_key_value_heads", default=heads),
        vocab_size=count("vocab_size"),
        max_positions=count("max_position_embeddings"),
        quantization=_quantization(config) or _quantization(text),
        weights_bytes=weights_bytes,
    )
    if not shape.architecture:
        problems.append(Problem(f"{path}: architectures", "is missing or empty", remedy))
    if problems:
        raise BadInput(problems)
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
    index = json.loads((_snapshots() / "index.json").read_text())
    return dict(index["weights_bytes"])


def _snapshots() -> Traversable:
    return files("cluster") / "data" / "models"


def _architecture(config: Mapping[str, object]) -> str:
    names = config.get("architectures")
    return str(names[0]) if isinstance(names, list) and names else ""


def _quantization(config: Mapping[str, object]) -> str:
    section = config.get("quantization_config")
    return str(section.get("quant_method", "")) if isinstance(section, Mapping) else ""
