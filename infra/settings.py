"""From the running stack's config to a plan; everything that this machine tells is read here."""

import os

from pulumi.runtime.config import CONFIG, get_config_env

from cluster.config import examine
from cluster.model_dir import find_shape
from cluster.plan import ClusterPlan, plan
from cluster.problems import BadInput
from cluster.rules import Facts, problems


def load_plan() -> ClusterPlan:
    """The plan of this stack; BadInput with every problem of its settings."""
    config, found = examine(get_config_env() | CONFIG.get())
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
