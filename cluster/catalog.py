"""What EC2 offers: the table of instance types, as data with its sources and dates."""

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

Accelerator = Literal["cpu", "nvidia"]
NicLayout = Literal["ordinary", "efa-then-efa-only", "efa-every-fourth", "ena-then-efa"]

DRIVER_IMAGE = "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-22.04/latest/ami-id"
"""SSM parameter of the AWS image that holds driver, CUDA, fabric manager, EFA and aws-ofi-nccl."""

CUDA_MIB = {"H100": 81_079, "H200": 143_165}
"""What CUDA reports as a GPU's total, where it was read on one; EC2 says a little more."""
CUDA_SHARE = 0.9897
"""The share of EC2's figure that is taken of the other GPUs: the H100's."""


@dataclass(frozen=True)
class Gpu:
    """The GPUs of one instance: ``count`` of them, each with ``memory_mib`` MiB."""

    name: str
    count: int
    memory_mib: int
    compute_capability: str

    @property
    def cuda_bytes(self) -> int:
        """What CUDA reports as one GPU's total, which is a little less than what EC2 says."""
        return CUDA_MIB.get(self.name, int(self.memory_mib * CUDA_SHARE)) * 1024**2

    @property
    def capability(self) -> tuple[int, ...]:
        """The compute capability as numbers, e.g. (8, 9)."""
        return tuple(map(int, self.compute_capability.split(".")))


@dataclass(frozen=True)
class InstanceType:
    """One EC2 instance type; ``usd_per_hour`` is on demand, Linux, by region."""

    name: str
    accelerator: Accelerator
    vcpus: int
    memory_gib: int
    gpu: Gpu | None
    nvlink: bool
    nvswitch: bool
    network_gbps: float
    network_cards: int
    efa_interfaces: int
    nic_layout: NicLayout
    instance_store_disks: int
    instance_store_gb_per_disk: int
    usd_per_hour: Mapping[str, float]
    price_source: str
    price_date: str

    @property
    def ranks(self) -> int:
        """How many vLLM workers one node runs: one a GPU, or one on a node without GPUs."""
        return self.gpu.count if self.gpu else 1


@cache
def instance_types() -> Mapping[str, InstanceType]:
    """Every type in the table, by name."""
    table = json.loads((files("cluster") / "data" / "instance_types.json").read_text())
    sources = table["sources"]
    result = {}
    for name, row in table["instance_types"].items():
        price = sources[row["price_source"]]
        gpu = Gpu(**row["gpu"]) if row["gpu"] else None
        values = row | {"gpu": gpu, "price_source": price["source"], "price_date": price["date"]}
        result[name] = InstanceType(name=name, **values)
    return result


def find(name: str) -> InstanceType | None:
    """The type of that name, or None where the table has no such type."""
    return instance_types().get(name)


def closest(name: str, names: Mapping[str, object] | None = None) -> str:
    """The most similar name, or "" where none is near."""
    near = difflib.get_close_matches(name, list(names or instance_types()), n=1, cutoff=0.6)
    return near[0] if near else ""
