"""The picture encoder of a multimodal model, counted from its vision_config."""

from collections.abc import Mapping

from cluster.problems import BadInput, Problem
from cluster.reader import MOST, REMEDY, shown
from cluster.shape import Vision


def vision_of(section: Mapping[str, object] | None, kind: str, text_hidden: int, path: str) -> Vision | None:
    """The encoder of a known kind; None where the model has none. BadInput where a size is missing."""
    if section is None or not kind:
        return None
    try:
        return Vision(_qwen(section) if kind == "qwen" else _siglip(section, text_hidden))
    except ValueError as error:
        problem = Problem(
            f"{path}: vision_config",
            f"lacks a size or has a broken one: {error}",
            REMEDY,
        )
        raise BadInput([problem]) from None


def _size(value: object) -> int:
    """A whole number above 0; ValueError for anything else."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MOST:
        return value
    raise ValueError(f"{shown(value)} is not a whole number above 0")


def _block(hidden: int, intermediate: int) -> int:
    """A transformer layer with biases and two norms of weight and bias."""
    attention = 4 * (hidden * hidden + hidden)
    mlp = 2 * hidden * intermediate + intermediate + hidden
    return attention + mlp + 4 * hidden


def _qwen(section: Mapping[str, object]) -> int:
    size = {
        key: _size(section.get(key))
        for key in (
            "hidden_size",
            "depth",
            "intermediate_size",
            "in_channels",
            "patch_size",
            "temporal_patch_size",
            "num_position_embeddings",
            "spatial_merge_size",
            "out_hidden_size",
        )
    }
    hidden = size["hidden_size"]
    patch = hidden * size["in_channels"] * size["temporal_patch_size"] * size["patch_size"] ** 2 + hidden
    merged = hidden * size["spatial_merge_size"] ** 2
    merger = (
        2 * hidden + merged * merged + merged + merged * size["out_hidden_size"] + size["out_hidden_size"]
    )
    positions = size["num_position_embeddings"] * hidden
    return patch + positions + size["depth"] * _block(hidden, size["intermediate_size"]) + merger


def _siglip(section: Mapping[str, object], text_hidden: int) -> int:
    defaults = {"num_channels": 3}
    size = {
        key: _size(section.get(key, defaults.get(key)))
        for key in (
            "hidden_size",
            "num_hidden_layers",
            "intermediate_size",
            "num_channels",
            "patch_size",
            "image_size",
        )
    }
    hidden = size["hidden_size"]
    patch = hidden * size["num_channels"] * size["patch_size"] ** 2 + hidden
    positions = (size["image_size"] // size["patch_size"]) ** 2 * hidden
    projector = hidden * text_hidden + hidden
    layers = size["num_hidden_layers"] * _block(hidden, size["intermediate_size"])
    return patch + positions + layers + 2 * hidden + projector
