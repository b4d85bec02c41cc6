"""The table of instance types against AWS's own descriptions, as moto bundles them."""

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

import moto
import pytest

from cluster.catalog import closest, find, instance_types


@cache
def described() -> dict[str, Any]:
    file = Path(moto.__file__).parent / "ec2" / "resources" / "instance_types.json.gz"
    return dict(json.loads(gzip.decompress(file.read_bytes())))


@pytest.mark.parametrize("name", instance_types())
def test_a_type_is_as_aws_describes_it(name: str) -> None:
    kind, aws = instance_types()[name], described()[name]
    network = aws["NetworkInfo"]
    assert kind.vcpus == aws["VCpuInfo"]["DefaultVCpus"]
    assert kind.memory_gib * 1024 == aws["MemoryInfo"]["SizeInMiB"]
    assert kind.network_cards == network["MaximumNetworkCards"]
    assert kind.efa_interfaces == network.get("EfaInfo", {}).get("MaximumEfaInterfaces", 0)
    disks = aws.get("InstanceStorageInfo", {}).get("Disks", [])
    assert kind.instance_store_disks == sum(disk["Count"] for disk in disks)
    gpus = aws.get("GpuInfo", {}).get("Gpus", [])
    assert (kind.accelerator == "nvidia") is bool(gpus)
    if kind.gpu:
        (gpu,) = gpus
        assert (kind.gpu.name, kind.gpu.count) == (gpu["Name"], gpu["Count"])
        assert kind.gpu.memory_mib == gpu["MemoryInfo"]["SizeInMiB"]


def test_a_node_without_gpus_is_one_rank() -> None:
    assert instance_types()["m7i.xlarge"].ranks == 1
    assert instance_types()["p5.48xlarge"].ranks == 8


def test_a_price_carries_its_source_and_date() -> None:
    kind = instance_types()["p5en.48xlarge"]
    assert kind.usd_per_hour == {"us-east-1": 63.296}
    assert "karpenter" in kind.price_source
    assert kind.price_date == "2026-07-20"


def test_an_unknown_type_is_none_with_a_near_name() -> None:
    assert find("p5.48xlarg") is None
    assert closest("p5.48xlarg") == "p5.48xlarge"
    assert closest("qqq") == ""
