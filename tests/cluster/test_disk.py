"""Disks and times: DeepSeek V3 and an 8B by hand, and what must hold for every type."""

import gzip
import json
from importlib.resources import files
from pathlib import Path

import moto
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.catalog import instance_types
from cluster.disk import GIB, Volume, disk_plan, needed_bytes, volume, weights_place

V3 = 688_574_839_360
LLAMA_8B = 16_060_522_496


def test_v3_on_a_p5_lies_on_the_striped_instance_store() -> None:
    plan = disk_plan(instance_types()["p5.48xlarge"], V3, pipeline_parallel_size=2)
    assert (plan.place, plan.striped_disks, plan.data_volume_gib) == ("instance-store", 8, 0)
    assert plan.disk_bytes == 8 * 3_800 * 10**9
    assert plan.missing_bytes == 0
    assert plan.root_volume_gib == 100
    assert plan.download.seconds == pytest.approx(V3 / (8 * 349e6))
    assert plan.download.slowest == "the instance store"
    assert plan.load.seconds == pytest.approx(V3 / 2 / 4.3e9)
    assert plan.load.slowest == "vLLM's loader"


def test_a_node_without_disks_gets_a_volume_that_holds_the_weights() -> None:
    plan = disk_plan(instance_types()["m7i.4xlarge"], LLAMA_8B)
    assert (plan.place, plan.striped_disks) == ("data-volume", 0)
    assert plan.data_volume_gib == 20  # 16.45 GiB with a tenth more, in steps of 10
    assert plan.load.slowest == "the instance's EBS link"  # 625 MB/s, less than the volume's 1,000 MiB/s
    assert plan.load.seconds == pytest.approx(LLAMA_8B / 625e6)


@pytest.mark.parametrize(
    ("size_gib", "of_weights", "iops", "mib_per_s"),
    [
        (100, False, 3000, 125),  # what every gp3 volume has
        (100, True, 4000, 1000),
        (8, True, 4000, 1000),
        (7, True, 3500, 875),  # 500 IOPS a GiB, 0.25 MiB/s an IOPS
        (1, True, 3000, 750),
    ],
)
def test_a_volume_of_weights_is_as_fast_as_its_size_allows(
    size_gib: int, of_weights: bool, iops: int, mib_per_s: int
) -> None:
    assert volume(size_gib, of_weights=of_weights) == Volume(size_gib, iops, mib_per_s)


@given(st.integers(1, 16_384), st.booleans())
def test_no_volume_breaks_the_limits_of_gp3(size_gib: int, of_weights: bool) -> None:
    asked = volume(size_gib, of_weights=of_weights)
    assert 3000 <= asked.iops <= max(3000, min(16_000, 500 * size_gib))
    assert 125 <= asked.throughput_mib_per_s <= min(1000, asked.iops / 4)


@pytest.mark.parametrize(
    ("kind", "data_volume_gib", "place"),
    [
        ("g6e.xlarge", 500, "instance-store"),
        ("m7i.xlarge", 10, "data-volume"),
        ("m7i.xlarge", 0, "root-volume"),
    ],
)
def test_weights_lie_on_the_fastest_disk_that_is_there(kind: str, data_volume_gib: int, place: str) -> None:
    assert weights_place(instance_types()[kind], data_volume_gib) == place


def test_a_thin_link_is_what_a_small_node_waits_for() -> None:
    plan = disk_plan(instance_types()["g6e.xlarge"], LLAMA_8B)
    assert plan.download.slowest == "the network card"
    assert plan.download.seconds == pytest.approx(LLAMA_8B / (2.5e9 / 8))


def test_the_hub_is_slower_than_the_bucket() -> None:
    kind = instance_types()["p5.48xlarge"]
    assert disk_plan(kind, V3, source="hub").download.slowest == "the hub"
    assert disk_plan(kind, V3, source="hub").download.seconds > disk_plan(kind, V3).download.seconds


def test_an_instance_store_that_is_too_small_says_what_is_missing() -> None:
    plan = disk_plan(instance_types()["g5.xlarge"], 300 * 10**9)
    assert plan.missing_bytes == needed_bytes(300 * 10**9) - 250 * 10**9


@given(st.sampled_from(sorted(instance_types())), st.integers(1, 10**12), st.integers(1, 10**12))
def test_more_weights_never_need_less(name: str, one: int, other: int) -> None:
    small, large = (disk_plan(instance_types()[name], size) for size in sorted([one, other]))
    assert small.needed_bytes <= large.needed_bytes
    assert small.data_volume_gib <= large.data_volume_gib
    assert small.download.seconds <= large.download.seconds
    assert small.load.seconds <= large.load.seconds
    if small.data_volume_gib:
        assert small.data_volume_gib * GIB >= small.needed_bytes


@pytest.mark.parametrize("name", instance_types())
def test_bandwidths_are_as_aws_describes_them(name: str) -> None:
    resource = Path(moto.__file__).parent / "ec2" / "resources" / "instance_types.json.gz"
    aws = json.loads(gzip.decompress(resource.read_bytes()))[name]
    table = json.loads((files("cluster") / "data" / "bandwidths.json").read_text())
    row = table["instance_types"][name]
    card = aws["NetworkInfo"]["NetworkCards"][0]
    assert row["network_gbps"] == pytest.approx(card["BaselineBandwidthInGbps"])
    assert row["ebs_mb_per_s"] == aws["EbsInfo"]["EbsOptimizedInfo"]["BaselineThroughputInMBps"]


def test_every_source_has_its_date() -> None:
    table = json.loads((files("cluster") / "data" / "bandwidths.json").read_text())
    for source in table["sources"].values():
        assert source["source"]
        assert source["date"].startswith("20")
