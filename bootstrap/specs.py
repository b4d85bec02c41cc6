"""The plan's specs as they arrive in a resource's properties, and what only the provider knows."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cluster.config import Readiness
from cluster.plan import NodeSpec, ReplicaSpec
from cluster.problems import BadInput, Problem

__all__ = [
    "HubAccess",
    "NodeSpec",
    "Readiness",
    "ReplicaNode",
    "ReplicaSpec",
    "WeightsSource",
    "node_spec",
    "replica_nodes",
    "replica_spec",
    "weights_source",
]


@dataclass(frozen=True)
class WeightsSource:
    """Which weights a node takes, and from where."""

    bucket: str
    prefix: str
    manifest_digest: str
    source: str
    """An absolute directory on the controller, or a repository id of the Hugging Face Hub."""
    revision: str

    @property
    def from_hub(self) -> bool:
        return not self.source.startswith("/")


@dataclass(frozen=True)
class HubAccess:
    """How a node reaches the Hugging Face Hub: no part of what the node becomes, so of no digest."""

    token: str = field(default="", repr=False)
    """Opens gated models; goes over SSH's standard input only."""
    endpoint: str = ""
    """A mirror; empty = the hub itself."""


@dataclass(frozen=True)
class ReplicaNode:
    """One node of a replica, as its bootstrap left it."""

    name: str
    rank: int
    address: str
    """Where the controller reaches it; a public address where the stack asks for one."""
    user: str
    host_keys: tuple[str, ...]
    digest: str


def node_spec(json: Mapping[str, Any]) -> NodeSpec:
    """The inverse of NodeSpec.to_json. Raises BadInput that names every missing or unknown key."""
    return NodeSpec(**_fields(NodeSpec, json, "spec"))


def replica_spec(json: Mapping[str, Any]) -> ReplicaSpec:
    """The inverse of ReplicaSpec.to_json. Raises BadInput that names every missing or unknown key."""
    values = _fields(ReplicaSpec, json, "spec")
    return ReplicaSpec(**{**values, "readiness": Readiness(**values["readiness"])})


def weights_source(json: Mapping[str, Any]) -> WeightsSource:
    """A node's ``weights`` property. Raises BadInput that names every missing or unknown key."""
    return WeightsSource(**_fields(WeightsSource, json, "weights"))


def replica_nodes(rows: list[Mapping[str, Any]]) -> tuple[ReplicaNode, ...]:
    """A replica's ``nodes`` property, in the order of the ranks. Raises BadInput as above."""
    nodes = [ReplicaNode(**_fields(ReplicaNode, row, f"nodes[{index}]")) for index, row in enumerate(rows)]
    return tuple(sorted(nodes, key=lambda node: node.rank))


def _fields(kind: type, json: Mapping[str, Any], path: str) -> dict[str, Any]:
    names = {_camel(each.name): each.name for each in dataclasses.fields(kind)}
    remedy = "the program and its provider differ: run both from one version of the checkout"
    problems = [Problem(f"{path}.{key}", "missing", remedy) for key in sorted(names.keys() - json.keys())]
    problems += [Problem(f"{path}.{key}", "unknown", remedy) for key in sorted(json.keys() - names.keys())]
    if problems:
        raise BadInput(problems)
    return {name: _frozen(json[key]) for key, name in names.items()}


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
