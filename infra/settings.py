"""From the running stack's config to a plan; everything that this machine tells is read here."""

import json
import os
from collections.abc import Mapping

from pulumi.runtime.config import CONFIG, get_config_env

from cluster.config import examine
from cluster.model_dir import find_shape
from cluster.plan import ClusterPlan, plan
from cluster.problems import BadInput
from cluster.rules import Facts, problems


def load_plan() -> ClusterPlan:
    """The plan of this stack; BadInput with every problem of its settings."""
    config, found = examine(decode(get_config_env() | CONFIG.get()))
    if config is None:
        raise BadInput(found)
    all_found = list(found)
    exists, shape = True, None
    try:
        exists, shape = find_shape(config.model)
    except BadInput as broken:
        all_found += broken.problems
    facts = Facts(shape, source_exists=exists, local_cloud="AWS_ENDPOINT_URL" in os.environ)
    all_found += problems(config, facts)
    if all_found:
        raise BadInput(all_found)
    return plan(config, facts)


def decode(raw: Mapping[str, str]) -> dict[str, object]:
    """The engine's strings as values: objects, lists, numbers and booleans come as JSON."""
    return {key: _decode(value) for key, value in raw.items()}


def _decode(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text
