"""Settings for tests: the committed stacks, with changes by dotted path."""

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, cast

import yaml

from cluster.config import StackConfig, parse
from cluster.models import shape_from_config, snapshot
from cluster.rules import Facts
from cluster.shape import ModelShape

REPO = Path(__file__).resolve().parents[2]

TINY = shape_from_config(
    {
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 512,
        "max_position_embeddings": 512,
    },
    weights_bytes=400_000,
)
"""The shape of a model as small as the rehearsal's."""

GONE = object()
"""As a change: takes the key away."""


def raw_stack(stack: str, changes: Mapping[str, object] | None = None) -> dict[str, Any]:
    """The config of a committed stack; ``{"drydock:nodes.count": 3}`` changes it."""
    text = (REPO / f"Pulumi.{stack}.yaml").read_text()
    raw = deepcopy(yaml.safe_load(text)["config"])
    for path, value in (changes or {}).items():
        *sections, key = path.split(".")
        place = raw
        for section in sections:
            place = place.setdefault(section, {})
        if value is GONE:
            del place[key]
        else:
            place[key] = value
    return cast(dict[str, Any], raw)


def stack_config(stack: str, changes: Mapping[str, object] | None = None) -> StackConfig:
    """The settings of a committed stack with changes."""
    return parse(raw_stack(stack, changes))


def facts_of(config: StackConfig) -> Facts:
    """What a machine in the local cloud sees: the tiny model, or the snapshot of a hub id."""
    shape: ModelShape | None = TINY if config.model.is_local else snapshot(config.model.source)
    return Facts(shape, source_exists=shape is not None, local_cloud=True)
