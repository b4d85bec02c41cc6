"""The program against Pulumi's mocks: what it declares, with which inputs and dependencies.

For what no local run can show: GPU stacks with their interfaces, and the order of deletion.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pulumi.runtime import mocks, rpc
from pulumi.runtime.stack import run_pulumi_func
from pulumi.runtime.sync_await import _sync_await

from cluster.plan import ClusterPlan
from infra.program import build

COMPUTED: Mapping[str, Mapping[str, Any]] = {
    "aws:ec2/instance:Instance": {
        "privateIp": "10.77.1.9",
        "publicIp": "192.0.2.9",
        "primaryNetworkInterfaceId": "eni-1",
    },
    "aws:ec2/eip:Eip": {"publicIp": "192.0.2.10", "allocationId": "eipalloc-1"},
    "aws:ec2/launchTemplate:LaunchTemplate": {"latestVersion": 1},
    "aws:ec2/keyPair:KeyPair": {"keyName": "key"},
    "aws:ec2/placementGroup:PlacementGroup": {"name": "together"},
    "aws:s3/bucket:Bucket": {"bucket": "weights-1", "arn": "arn:aws:s3:::weights-1"},
    "aws:iam/role:Role": {"name": "node"},
    "aws:iam/instanceProfile:InstanceProfile": {"name": "node"},
    "drydock:index:Credentials": {"sshPublicKey": "ssh-ed25519 A", "sshPrivateKey": "PEM", "apiKey": "key"},
    "drydock:index:Weights": {"manifestDigest": "sha256", "totalBytes": 7},
    "drydock:index:Node": {"digest": "d", "hostKeys": ["ssh-ed25519 H"]},
    "drydock:index:Replica": {"endpoint": "http://10.77.1.9:8000/v1", "digest": "d"},
}

TOLD: Mapping[str, Mapping[str, Any]] = {
    "aws:ssm/getParameter:getParameter": {"value": "ami-0123456789abcdef0"},
    "aws:ec2/getAmi:getAmi": {"rootDeviceName": "/dev/xvda"},
}


@dataclass(frozen=True)
class Declared:
    """One resource as the program declared it; ``depends_on`` are names, of custom resources only."""

    kind: str
    name: str
    inputs: dict[str, Any]
    depends_on: frozenset[str]
    secrets: frozenset[str]


@dataclass
class Recorder(mocks.MockMonitor):
    """Answers the program like an engine that has made everything, and remembers what was asked."""

    declared: dict[tuple[str, str], Declared] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__(_Made())

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 - gRPC's name
        names = frozenset(urn.rsplit("::", 1)[1] for urn in request.dependencies)
        inputs = rpc.deserialize_properties(request.object)
        secret_outputs = frozenset(request.additionalSecretOutputs)
        row = Declared(request.type, request.name, inputs, names, secret_outputs)
        self.declared[request.type, request.name] = row
        return super().RegisterResource(request)  # type: ignore[no-untyped-call]


class _Made(mocks.Mocks):
    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        return f"{args.name}-id", {**args.inputs, **COMPUTED.get(args.typ, {})}

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[Any, Any], list[tuple[str, str]]]:
        return dict(TOLD[args.token]), []


def declare(plan: ClusterPlan) -> dict[tuple[str, str], Declared]:
    """Everything that the program declares for a plan, by type and name."""
    recorder = Recorder()
    mocks.set_mocks(_Made(), project="drydock", stack="test", preview=False, monitor=recorder)
    _sync_await(run_pulumi_func(lambda: build(plan)))
    return recorder.declared
