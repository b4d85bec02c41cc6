"""What serving adds to a node, as a list of operations: a pure function of the replica's spec."""

import hashlib
from collections.abc import Mapping, Sequence

from ansible_like.operations import Absent, File, Operation
from ansible_like.sources import digest
from bootstrap.rendering import render
from bootstrap.specs import ReplicaNode, ReplicaSpec

UNITS = ("vllm-head.service", "vllm-worker.service")
ENVIRONMENT_FILE = "/etc/drydock/vllm.env"
API_KEY_FILE = "/etc/drydock/api-key.env"
RUNNING_ENVIRONMENT = "/run/drydock/vllm.env"
"""What the running unit was started with; systemd removes it when the unit stops."""


def unit_of(rank: int) -> str:
    """The systemd unit that a node of this rank runs."""
    return UNITS[min(rank, 1)]


def unit_path(unit: str) -> str:
    return f"/etc/systemd/system/{unit}"


def replica_operations(
    spec: ReplicaSpec, node: ReplicaNode, head_address: str, api_key: str, replica_digest: str = ""
) -> list[Operation]:
    """The unit, its environment and, on the head only, the API key; nothing is started here.

    ``replica_digest`` is written into the environment, so that what runs can be told from what should.
    """
    placeholders = {
        "{MASTER_ADDR}": head_address,
        "{NODE_RANK}": str(node.rank),
        "{NODE_ADDRESS}": node.address,
    }
    head = node.rank == 0
    unit, other = unit_of(node.rank), unit_of(1 - min(node.rank, 1))
    arguments = spec.head_args if head else spec.worker_args
    unit_text = render(
        unit_path(unit),
        model=spec.model,
        model_dir=spec.model_dir,
        rank=node.rank,
        nodes=spec.nodes,
        address=node.address,
        gpu=spec.accelerator == "nvidia",
        api_key_file=API_KEY_FILE if head else "",
        argv=["/opt/vllm/bin/vllm", "serve", *(_filled(word, placeholders) for word in arguments)],
    )
    values = {name: _filled(value, placeholders) for name, value in spec.environment.items()}
    environment = render(ENVIRONMENT_FILE, environment=values, digest=replica_digest)
    key = File(API_KEY_FILE, render(API_KEY_FILE, api_key=api_key), mode=0o600, secret=True)
    return [
        Absent(unit_path(other)),
        File(ENVIRONMENT_FILE, environment, mode=0o640, group="vllm"),
        key if head else Absent(API_KEY_FILE),
        File(unit_path(unit), unit_text),
    ]


def replica_digest(spec: ReplicaSpec, nodes: Sequence[ReplicaNode], api_key: str) -> str:
    """What the replica is made of, nodes included: another digest means that vLLM must start anew."""
    head = head_of(nodes)
    parts = [digest(replica_operations(spec, node, head.address, api_key)) + node.digest for node in nodes]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def head_of(nodes: Sequence[ReplicaNode]) -> ReplicaNode:
    """The node of rank 0, which serves the API."""
    return min(nodes, key=lambda node: node.rank)


def _filled(text: str, placeholders: Mapping[str, str]) -> str:
    # Not str.format: arguments may hold JSON with braces of its own.
    for name, value in placeholders.items():
        text = text.replace(name, value)
    return text
