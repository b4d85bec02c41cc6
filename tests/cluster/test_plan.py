"""The plan as a whole, pinned; and what must hold for any plan."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.catalog import instance_types
from cluster.plan import ClusterPlan, plan, subnet_of
from cluster.problems import BadInput
from tests.cluster.stacks import facts_of, stack_config

GOLDEN = Path(__file__).parents[1] / "golden" / "plan"

P4D: dict[str, object] = {
    "drydock:model.source": "meta-llama/Meta-Llama-3.1-70B",
    "drydock:nodes.instanceType": "p4d.24xlarge",
    "drydock:serving.extraArgs": [],
    "drydock:network.publicAddress": False,
}


def plan_of(stack: str, changes: Mapping[str, object] | None = None) -> ClusterPlan:
    config = stack_config(stack, changes)
    return plan(config, facts_of(config))


def as_json(planned: ClusterPlan) -> str:
    values = asdict(planned) | {
        "node": planned.node.to_json(),
        "replica": planned.replica.to_json(),
        "summary": planned.summary(),
    }
    return json.dumps(values, indent=2, default=dict) + "\n"


@pytest.mark.parametrize(
    ("name", "stack", "changes"),
    [("rehearsal", "rehearsal", {}), ("staging", "staging", {}), ("prod", "prod", {}), ("p4d", "prod", P4D)],
)
def test_the_plan_is_the_golden_one(name: str, stack: str, changes: Mapping[str, object]) -> None:
    file, now = GOLDEN / f"{name}.json", as_json(plan_of(stack, changes))
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_text(now)
    assert now == file.read_text(), "UPDATE_GOLDEN=1 writes the new plan; read its diff"


def test_a_plan_that_a_rule_refuses_is_never_built() -> None:
    config = stack_config("rehearsal", {"drydock:nodes.count": 3})
    with pytest.raises(BadInput, match=r"TP x PP x DP = 2 x 1 x 1 = 2, but 3 x m7i\.xlarge"):
        plan(config, facts_of(config))


def test_the_length_of_context_touches_only_the_replica() -> None:
    short, longer = (asdict(plan_of("rehearsal", {"drydock:model.maxModelLen": n})) for n in (256, 512))
    assert {key for key in short if short[key] != longer[key]} == {"replica"}


def test_one_node_alone_has_ordinary_networking() -> None:
    layout: dict[str, object] = {"drydock:layout.pipelineParallelSize": 1, "drydock:nodes.count": 1}
    alone = plan_of("prod", P4D | layout)
    assert (alone.nics, alone.node.efa_interfaces, alone.placement_group) == ((), 0, False)
    assert "LD_LIBRARY_PATH" not in alone.replica.environment


@pytest.mark.parametrize(
    ("market", "grouped"),
    [("on-demand", True), ("spot", True), ("capacity-block", False), ("reservation", False)],
)
def test_reserved_capacity_takes_no_placement_group(market: str, grouped: bool) -> None:
    capacity = {"market": market} | ({} if grouped else {"reservationId": "cr-0123456789abcdef0"})
    changes = {"drydock:capacity": capacity, "drydock:maxHourlyUsd": None}
    assert plan_of("prod", changes).placement_group is grouped


def test_nodes_of_a_cpu_cluster_need_no_placement_group() -> None:
    assert not plan_of("rehearsal").placement_group


def test_a_large_node_with_a_large_model_gets_more_time() -> None:
    assert plan_of("rehearsal").node_deadline_s == 600
    assert plan_of("prod").node_deadline_s > 2 * 3600  # 689 GB at 100 MB/s


def test_the_summary_has_the_price() -> None:
    assert plan_of("prod").summary() == (
        "deepseek-ai/DeepSeek-V3 on 2 x p5.48xlarge, TP 8 x PP 2: 110.08 USD/h, 80,358 USD/month on demand"
    )


RESERVED = {"reservationId": "cr-0123456789abcdef0"}
P5EN: dict[str, object] = {"drydock:nodes.instanceType": "p5en.48xlarge", "drydock:maxHourlyUsd": None}


@pytest.mark.parametrize(
    ("capacity", "price"),
    [
        ({"market": "on-demand"}, "126.59 USD/h, 92,412 USD/month on demand"),
        ({"market": "spot"}, "at most 126.59 USD/h, 92,412 USD/month on the spot market"),
        ({"market": "reservation"} | RESERVED, "126.59 USD/h, 92,412 USD/month in a reservation"),
        ({"market": "capacity-block"} | RESERVED, "83.22 USD/h, 60,751 USD/month in a capacity block"),
    ],
)
def test_the_summary_has_the_price_of_its_own_market(capacity: dict[str, str], price: str) -> None:
    assert plan_of("prod", P5EN | {"drydock:capacity": capacity}).summary().endswith(f": {price}")


def test_an_unknown_price_is_said() -> None:
    unlimited = {"drydock:nodes.instanceType": "p5e.48xlarge", "drydock:maxHourlyUsd": None}
    assert plan_of("prod", unlimited).summary().endswith(": price unknown on demand")


def test_only_the_volume_of_the_weights_is_fast() -> None:
    slow = {"iops": 3000, "throughput_mib_per_s": 125}
    fast = {"iops": 4000, "throughput_mib_per_s": 1000}
    on_data = plan_of("rehearsal")
    assert asdict(on_data.root_volume) == {"size_gib": 20} | slow
    assert on_data.data_volume is not None
    assert asdict(on_data.data_volume) == {"size_gib": 10} | fast
    on_root = plan_of("rehearsal", {"drydock:nodes.dataVolumeGib": 0})
    assert asdict(on_root.root_volume) == {"size_gib": 20} | fast
    assert on_root.data_volume is None
    on_instance_store = plan_of("prod", {"drydock:nodes.dataVolumeGib": 100})
    assert asdict(on_instance_store.root_volume) == {"size_gib": 300} | slow
    assert on_instance_store.data_volume is not None
    assert asdict(on_instance_store.data_volume) == {"size_gib": 100} | slow


def test_weights_that_no_index_tells_count_for_the_deadline_too() -> None:
    large: dict[str, object] = {
        "drydock:model.source": "Qwen/Qwen3-235B-A22B-FP8",
        "drydock:serving.extraArgs": [],
    }
    nodes = {"drydock:layout.tensorParallelSize": 4, "drydock:layout.pipelineParallelSize": 4}
    assert plan_of("prod", large | nodes).node_deadline_s > 2400 + 2000  # 235 GB at 100 MB/s


@given(st.integers(16, 28), st.integers(0, 255))
def test_the_subnet_lies_in_the_vpc(prefix: int, octet: int) -> None:
    vpc = IPv4Network((f"10.{octet}.0.0", prefix))
    assert IPv4Network(subnet_of(str(vpc))).subnet_of(vpc)


def test_the_subnet_is_the_second_24() -> None:
    assert subnet_of("10.77.0.0/16") == "10.77.1.0/24"
    assert subnet_of("10.77.3.0/26") == "10.77.3.0/26"


@given(
    tensor=st.sampled_from([1, 2, 4, 8]),
    pipeline=st.integers(1, 4),
    data=st.integers(1, 4),
    nodes=st.integers(1, 4),
)
def test_a_plan_uses_every_gpu_or_there_is_none(tensor: int, pipeline: int, data: int, nodes: int) -> None:
    changes = P4D | {
        "drydock:model.source": "meta-llama/Meta-Llama-3.1-8B",
        "drydock:nodes.count": nodes,
        "drydock:layout.tensorParallelSize": tensor,
        "drydock:layout.pipelineParallelSize": pipeline,
        "drydock:layout.dataParallelSize": data,
    }
    gpus = nodes * instance_types()["p4d.24xlarge"].ranks
    if tensor * pipeline * data == gpus:
        planned = plan_of("prod", changes)
        assert len(planned.node_names) == nodes
        assert planned.node.efa_interfaces == (4 if nodes > 1 else 0)
    else:
        with pytest.raises(BadInput, match=f"make {gpus}"):
            plan_of("prod", changes)
