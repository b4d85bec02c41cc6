"""What one node becomes, as a list of operations: a pure function of its spec."""

from ansible_like.operations import Operation
from ansible_like.sources import digest
from bootstrap.roles.accelerator import accelerator
from bootstrap.roles.base import base
from bootstrap.roles.environment import environment
from bootstrap.roles.firewall import firewall
from bootstrap.roles.storage import storage
from bootstrap.roles.weights import weights
from bootstrap.specs import HubAccess, NodeSpec, WeightsSource


def node_operations(
    spec: NodeSpec,
    source: WeightsSource,
    *,
    region: str,
    rank: int,
    deadline_s: float = 3600,
    hub: HubAccess | None = None,
) -> list[Operation]:
    """Everything between a booted image and a node on which vLLM can start, in order."""
    return [
        *base(spec),
        *storage(spec),
        *accelerator(spec),
        *firewall(spec),
        *environment(spec),
        *weights(spec, source, region=region, rank=rank, deadline_s=deadline_s, hub=hub or HubAccess()),
    ]


def node_digest(spec: NodeSpec, source: WeightsSource, *, region: str, rank: int) -> str:
    """What a node is made of, in 64 hex digits: another digest means that the node must converge anew.

    Neither the deadline nor the way to the hub is part of what the node becomes.
    """
    return digest(node_operations(spec, source, region=region, rank=rank))
