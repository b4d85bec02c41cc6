"""Where a node keeps the weights, how large its volumes are, and how long the weights take to come and load.

Times are estimates from bandwidths in the catalogue, each with its source; the slowest part sets the pace.
They are cautious: baselines instead of bursts, a cold page cache, and a small disk's figure for every disk.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from cluster.catalog import InstanceType

GIB = 1024**3
FILE_SYSTEM_SHARE = 1.1
"""Disk for a byte of weights: a tenth for the file system and for what lies beside."""

Place = Literal["instance-store", "data-volume", "root-volume"]
Source = Literal["s3", "hub"]


@dataclass(frozen=True)
class Volume:
    """One gp3 volume as EC2 is asked for it."""

    size_gib: int
    iops: int
    throughput_mib_per_s: int


@dataclass(frozen=True)
class Pace:
    """Seconds for some bytes, and which part of their way is the slowest."""

    seconds: float
    slowest: str
    source: str


@dataclass(frozen=True)
class DiskPlan:
    """The disks of one node; every node keeps the whole model."""

    place: Place
    striped_disks: int
    """How many instance store disks are made into one; 0 with a data volume."""
    disk_bytes: int
    """What the disk of the weights holds."""
    needed_bytes: int
    root_volume_gib: int
    data_volume_gib: int
    """0 = none: the instance store holds the weights."""
    download: Pace
    """From the bucket to each node, all nodes at once."""
    load: Pace
    """From the disk into the memory of the GPUs."""

    @property
    def missing_bytes(self) -> int:
        """What the disk lacks for the weights; 0 where it holds them."""
        return max(0, self.needed_bytes - self.disk_bytes)


def needed_bytes(weights_bytes: int) -> int:
    """Disk that so many bytes of weights need."""
    return math.ceil(weights_bytes * FILE_SYSTEM_SHARE)


def least_root_volume_gib(kind: InstanceType) -> int:
    """The smallest root volume: system, driver, CUDA and vLLM, or the system alone."""
    return 100 if kind.gpu else 8


def weights_place(kind: InstanceType, data_volume_gib: int) -> Place:
    """Which disk of a node holds the weights: the fastest that is there."""
    if kind.instance_store_disks:
        return "instance-store"
    return "data-volume" if data_volume_gib else "root-volume"


def instance_store_bytes(kind: InstanceType) -> int:
    """What the instance store holds, all of its disks as one."""
    return kind.instance_store_disks * kind.instance_store_gb_per_disk * 10**9


def volume(size_gib: int, *, of_weights: bool) -> Volume:
    """A volume of that size: of the weights as fast as its size allows, else what costs nothing more."""
    gp3 = _bandwidths()["sources"]["gp3"]
    if not of_weights:
        return Volume(size_gib, gp3["free_iops"], gp3["free_mib_per_s"])
    iops = max(gp3["free_iops"], min(gp3["iops"], size_gib * gp3["iops_per_gib"]))
    return Volume(size_gib, iops, min(gp3["mib_per_s"], int(iops * gp3["mib_per_s_per_iops"])))


def disk_plan(
    kind: InstanceType, weights_bytes: int, *, pipeline_parallel_size: int = 1, source: Source = "s3"
) -> DiskPlan:
    """The disks of a node of this type for so many bytes of weights.

    The instance store is taken wherever there is one: it is faster than a volume and costs nothing more.
    With pipeline parallelism a node loads only its stage, though it downloads the whole.
    """
    needed = needed_bytes(weights_bytes)
    disks = kind.instance_store_disks
    volume_gib = 0 if disks else math.ceil(needed / GIB / 10) * 10
    return DiskPlan(
        place=weights_place(kind, volume_gib),
        striped_disks=disks,
        disk_bytes=instance_store_bytes(kind) or volume_gib * GIB,
        needed_bytes=needed,
        root_volume_gib=least_root_volume_gib(kind),
        data_volume_gib=volume_gib,
        download=_slowest(weights_bytes, _download_parts(kind, source, volume_gib)),
        load=_slowest(weights_bytes / pipeline_parallel_size, _load_parts(kind, volume_gib)),
    )


def _download_parts(kind: InstanceType, source: Source, volume_gib: int) -> dict[str, tuple[float, str]]:
    sources, links = _bandwidths()["sources"], _bandwidths()["instance_types"]
    link = links[kind.name]["network_gbps"] * 1e9 / 8
    return {
        "the network card": (link, sources["instance_types"]["source"]),
        {"s3": "S3", "hub": "the hub"}[source]: (sources[source]["bytes_per_s"], sources[source]["source"]),
        **_disk_part(kind, "write", volume_gib),
    }


def _load_parts(kind: InstanceType, volume_gib: int) -> dict[str, tuple[float, str]]:
    loader = _bandwidths()["sources"]["loader"]
    loaded = min(loader["one_rank_bytes_per_s"] * kind.ranks, loader["node_bytes_per_s"])
    return {"vLLM's loader": (loaded, loader["source"]), **_disk_part(kind, "read", volume_gib)}


def _disk_part(
    kind: InstanceType, direction: Literal["read", "write"], volume_gib: int
) -> dict[str, tuple[float, str]]:
    sources = _bandwidths()["sources"]
    if kind.instance_store_disks:
        disk = sources["instance_store_disk"]
        pace = disk[f"{direction}_bytes_per_s"] * kind.instance_store_disks
        return {"the instance store": (pace, disk["source"])}
    ebs = _bandwidths()["instance_types"][kind.name]["ebs_mb_per_s"] * 1e6
    pace_mib = volume(volume_gib, of_weights=True).throughput_mib_per_s
    return {
        "the data volume": (pace_mib * 1024**2, sources["gp3"]["source"]),
        "the instance's EBS link": (ebs, sources["instance_types"]["source"]),
    }


def _slowest(size_bytes: float, parts: dict[str, tuple[float, str]]) -> Pace:
    name = min(parts, key=lambda part: parts[part][0])
    bytes_per_s, source = parts[name]
    return Pace(size_bytes / bytes_per_s, name, source)


@cache
def _bandwidths() -> Mapping[str, Any]:
    return dict(json.loads((files("cluster") / "data" / "bandwidths.json").read_text()))
