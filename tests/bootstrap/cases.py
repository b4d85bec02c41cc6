"""Clusters as the planner makes them, for the tests of what their nodes become."""

from collections.abc import Mapping
from dataclasses import dataclass

from bootstrap.specs import NodeSpec, ReplicaNode, ReplicaSpec, WeightsSource
from cluster.plan import plan
from tests.cluster.stacks import facts_of, stack_config

REGION = "us-east-1"
API_KEY = "golden-api-key"
UBUNTU = "/aws/service/canonical/ubuntu/server/22.04/stable/current/amd64/hvm/ebs-gp2/ami-id"


@dataclass(frozen=True)
class Case:
    """A cluster, ready to be rendered."""

    node: NodeSpec
    replica: ReplicaSpec
    source: WeightsSource
    nodes: tuple[ReplicaNode, ...]


def case(stack: str, changes: Mapping[str, object] | None = None) -> Case:
    """The committed stack with changes, e.g. ``{"drydock:model.maxModelLen": 256}``."""
    config = stack_config(stack, changes)
    planned = plan(config, facts_of(config))
    source = "/models/local" if planned.weights.is_local else planned.weights.source
    return Case(
        node=planned.node,
        replica=planned.replica,
        source=WeightsSource("weights-bucket", planned.weights.prefix, "d" * 64, source, ""),
        nodes=tuple(
            ReplicaNode(name, rank, f"10.77.1.{4 + rank}", planned.user, ("ssh-ed25519 AAAA",), "n" * 64)
            for rank, name in enumerate(planned.node_names)
        ),
    )


CASES: dict[str, Case] = {
    "cpu": case("rehearsal"),
    "g6e.xlarge": case("staging"),
    "p4d.24xlarge": case(
        "prod",
        {
            "drydock:model.source": "meta-llama/Meta-Llama-3.1-70B",
            "drydock:nodes.instanceType": "p4d.24xlarge",
            "drydock:nodes.image": UBUNTU,
            "drydock:serving.extraArgs": [],
        },
    ),
    "p5.48xlarge": case("prod"),
    "p5en.48xlarge": case(
        "prod", {"drydock:nodes.instanceType": "p5en.48xlarge", "drydock:maxHourlyUsd": 130}
    ),
}
"""One CPU cluster, one GPU node, three clusters of GPUs; p4d starts from plain Ubuntu, not AWS's image."""
