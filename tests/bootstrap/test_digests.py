"""A digest changes with what a node or replica becomes, and with nothing else."""

import dataclasses

import pytest

from bootstrap.node import node_digest, node_operations
from bootstrap.replica import replica_digest
from bootstrap.specs import HubAccess
from tests.bootstrap.cases import API_KEY, CASES, REGION, Case, case


def digest_of_node(each: Case, rank: int = 0) -> str:
    return node_digest(each.node, each.source, region=REGION, rank=rank)


def digest_of_replica(each: Case, api_key: str = API_KEY) -> str:
    return replica_digest(each.replica, each.nodes, api_key)


@pytest.mark.parametrize(
    ("changes", "node_changes", "replica_changes"),
    [
        ({}, False, False),
        ({"drydock:model.maxModelLen": 256}, False, True),
        ({"drydock:serving.maxNumSeqs": 4}, False, True),
        ({"drydock:serving.deadlineS": 700}, False, False),
        ({"drydock:serving.port": 8001}, True, True),
        ({"drydock:nodes.dataVolumeGib": 20}, False, False),
        ({"drydock:network.vpcCidr": "10.78.0.0/16"}, True, False),
    ],
)
def test_only_what_matters_changes_a_digest(
    changes: dict[str, object], node_changes: bool, replica_changes: bool
) -> None:
    before, after = CASES["cpu"], case("rehearsal", changes)
    assert (digest_of_node(before) != digest_of_node(after)) is node_changes
    assert (digest_of_replica(before) != digest_of_replica(after)) is replica_changes


def test_other_weights_change_the_node_and_through_it_the_replica() -> None:
    before = CASES["cpu"]
    source = dataclasses.replace(before.source, manifest_digest="e" * 64)
    assert digest_of_node(dataclasses.replace(before, source=source)) != digest_of_node(before)
    nodes = (before.nodes[0], dataclasses.replace(before.nodes[1], digest="o" * 64))
    assert digest_of_replica(dataclasses.replace(before, nodes=nodes)) != digest_of_replica(before)


def test_another_api_key_changes_the_replica() -> None:
    assert digest_of_replica(CASES["cpu"], "another") != digest_of_replica(CASES["cpu"])


def test_the_way_to_the_hub_is_in_no_argument_and_no_digest() -> None:
    each, hub = CASES["p5.48xlarge"], HubAccess("hf_secret", "https://hf-mirror.com")
    operations = node_operations(each.node, each.source, region=REGION, rank=0, hub=hub)
    assert "hf_secret" not in repr(operations)
    assert digest_of_node(each) == node_digest(each.node, each.source, region=REGION, rank=0)


def test_one_node_of_the_hubs_fills_the_bucket_and_the_others_wait() -> None:
    each = CASES["p5.48xlarge"]
    head, worker = (
        node_operations(each.node, each.source, region=REGION, rank=rank, deadline_s=900)[-2:]
        for rank in (0, 1)
    )
    assert [operation.title for operation in head] == [
        "command weights from the hub to the bucket",
        "command weights",
    ]
    assert [operation.title for operation in worker] == ["command vLLM 0.32.0", "command weights"]
    assert "'--deadline-s', '900'" in repr(worker[1])
