"""The cloud's EC2 in this process: moto's mock without HTTP, with the cloud's corrections in its place."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import boto3
import pytest
from moto import mock_aws, settings
from moto.ec2 import urls
from moto.ec2.models import ec2_backends, elastic_network_interfaces
from moto.ec2.models.subnets import Subnet

from rehearsal.cloud import ec2, seeds
from rehearsal.cloud.places import REGION

PATCHED: tuple[tuple[Any, str], ...] = (
    (settings, "ENABLE_AMI_VALIDATION"),
    (settings, "ENABLE_KEYPAIR_VALIDATION"),
    (settings, "EC2_ENABLE_INSTANCE_TYPE_VALIDATION"),
    (settings, "ec2_load_default_amis"),
    (ec2.CloudEC2Backend, "boots"),
    (ec2.CloudEC2Response, "host"),
    (ec2_backends, "backend"),
    (elastic_network_interfaces, "Attachment"),
    (Subnet, "get_available_subnet_ip"),
)
"""What `ec2.install` sets for the life of a daemon; a test's process gets it back."""


@dataclass
class FakeHost:
    """A machine without nodes: consoles and ranges in use are what the test says."""

    consoles: dict[str, bytes] = field(default_factory=dict)
    used: dict[str, str] = field(default_factory=dict)
    """Range → why it cannot be had."""

    def console(self, instance_id: str) -> bytes:
        return self.consoles.get(instance_id, b"")

    def conflict(self, cidr: str, vpc_id: str | None) -> str | None:
        return self.used.get(cidr)


@dataclass
class Account:
    """Clients and a little network to launch into."""

    ec2: Any
    iam: Any
    ssm: Any
    host: FakeHost
    vpc: str
    subnet: str
    image: str

    def run(self, count: int = 1, **more: Any) -> list[dict[str, Any]]:
        """RunInstances with what is common filled in; `None` leaves a common thing out."""
        request = {
            "ImageId": self.image,
            "InstanceType": "m7i.xlarge",
            "SubnetId": self.subnet,
            "MinCount": count,
            "MaxCount": count,
            **more,
        }
        given = {key: value for key, value in request.items() if value is not None}
        instances: list[dict[str, Any]] = self.ec2.run_instances(**given)["Instances"]
        return instances

    def instance(self, instance_id: str) -> Any:
        """moto's own object."""
        return ec2_backends["123456789012"][REGION].get_instance(instance_id)


@cache
def _client(service: str) -> Any:
    """Made once: each takes longer than most tests. The mock catches what it sends."""
    return boto3.client(service, REGION)  # type: ignore[call-overload]


@pytest.fixture(params=[True], ids=["boots"])
def account(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    """An account whose instances boot (on nothing), or with the parameter False are only listed."""
    for owner, name in PATCHED:
        monkeypatch.setattr(
            owner, name, vars(owner)[name] if isinstance(owner, type) else getattr(owner, name)
        )
    monkeypatch.setitem(urls.url_paths, "{0}/", urls.url_paths["{0}/"])
    host = FakeHost()
    ec2.install(host if request.param else None)
    with mock_aws():
        seeds.plant(REGION)
        clients = {name: _client(name) for name in ("ec2", "iam", "ssm")}
        vpc = clients["ec2"].create_vpc(CidrBlock="10.77.0.0/16")["Vpc"]["VpcId"]
        subnet = clients["ec2"].create_subnet(
            VpcId=vpc, CidrBlock="10.77.1.0/24", AvailabilityZone="us-east-1a"
        )
        yield Account(
            **clients,
            host=host,
            vpc=vpc,
            subnet=subnet["Subnet"]["SubnetId"],
            image=seeds.image_ids(REGION)["/drydock/rehearsal/ami-id"],
        )
