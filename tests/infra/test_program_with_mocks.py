"""What the program declares, seen through Pulumi's mocks: the GPU stacks, and what waits for what.

A preview and an `up` of the same program by the real engine are in test_program_with_engine.py.
"""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from cluster.plan import plan
from tests.cluster.stacks import facts_of, stack_config
from tests.infra.recorder import Declared, declare

INSTANCE = "aws:ec2/instance:Instance"
TEMPLATE = "aws:ec2/launchTemplate:LaunchTemplate"
INGRESS = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
EGRESS = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"
CONTRACT = {
    *("aws:ec2/vpc:Vpc", "aws:ec2/subnet:Subnet", "aws:ec2/internetGateway:InternetGateway"),
    *("aws:ec2/routeTable:RouteTable", "aws:ec2/routeTableAssociation:RouteTableAssociation"),
    *("aws:ec2/securityGroup:SecurityGroup", INGRESS, EGRESS, "aws:ec2/keyPair:KeyPair"),
    *("aws:ec2/placementGroup:PlacementGroup", TEMPLATE, INSTANCE),
    *("aws:ec2/eip:Eip", "aws:ec2/eipAssociation:EipAssociation"),
    *("aws:iam/role:Role", "aws:iam/rolePolicy:RolePolicy", "aws:iam/instanceProfile:InstanceProfile"),
    *("aws:s3/bucket:Bucket", "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"),
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
    *(f"drydock:index:{kind}" for kind in ("Credentials", "Weights", "Node", "Replica")),
}
UNTAGGABLE = {
    *("aws:ec2/routeTableAssociation:RouteTableAssociation", "aws:ec2/eipAssociation:EipAssociation"),
    *("aws:iam/rolePolicy:RolePolicy", "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"),
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
}


def declared(stack: str, changes: Mapping[str, object] | None = None) -> dict[tuple[str, str], Declared]:
    config = stack_config(stack, changes)
    return declare(plan(config, facts_of(config)))


def template(resources: dict[tuple[str, str], Declared]) -> dict[str, Any]:
    return resources[TEMPLATE, "nodes-template"].inputs


@pytest.mark.parametrize("stack", ["rehearsal", "staging", "prod"])
def test_only_the_types_of_the_stand_in_and_our_own_are_used(stack: str) -> None:
    kinds = {kind for kind, _ in declared(stack) if not kind.startswith(("pulumi:", "drydock:cluster:"))}
    assert kinds <= CONTRACT


@pytest.mark.parametrize("stack", ["rehearsal", "prod"])
def test_everything_that_can_carry_tags_does(stack: str) -> None:
    resources = declared(stack).values()
    for resource in resources:
        if resource.kind.startswith("aws:") and resource.kind not in UNTAGGABLE:
            tags = resource.inputs["tags"]
            assert (tags["Project"], tags["Stack"]) == ("drydock", "test")
            assert tags["Name"].startswith("drydock-test-")
    launched = template(declared(stack))["tagSpecifications"]
    assert {row["resourceType"] for row in launched} == {"volume", "network-interface"}


def test_a_node_is_bootstrapped_while_its_rules_routes_and_rights_are_there() -> None:
    resources = declared("rehearsal")
    needed = {
        *("access-from-cluster", "access-to-cluster", "access-to-world", "access-ssh-0", "access-api-0"),
        *("network-routes", "network-gateway", "storage-node", "weights"),
    }
    for name in ("node-0", "node-1"):
        assert needed | {name, "credentials"} <= resources["drydock:index:Node", name].depends_on


def test_a_node_with_an_elastic_address_waits_for_it() -> None:
    resources = declared("prod")
    assert "node-1-address" in resources["drydock:index:Node", "node-1"].depends_on
    assert resources["drydock:index:Node", "node-1"].inputs["address"] == "192.0.2.10"
    assert resources["aws:ec2/eipAssociation:EipAssociation", "node-1-address"].inputs == {
        "allocationId": "eipalloc-1",
        "networkInterfaceId": "eni-1",
    }


def test_serving_waits_for_every_node() -> None:
    replica = declared("rehearsal")["drydock:index:Replica", "replica-0"]
    assert {"node-0", "node-1"} <= replica.depends_on
    assert [(node["name"], node["rank"], node["hostKeys"]) for node in replica.inputs["nodes"]] == [
        ("node-0", 0, ["ssh-ed25519 H"]),
        ("node-1", 1, ["ssh-ed25519 H"]),
    ]


def test_boot_does_not_wait_for_the_weights() -> None:
    assert "weights" not in declared("rehearsal")[INSTANCE, "node-0"].depends_on


def test_a_change_of_the_context_length_reaches_only_the_replica() -> None:
    before, after = (declared("rehearsal", {"drydock:model.maxModelLen": n}) for n in (256, 512))
    changed = {key for key in before if before[key].inputs != after[key].inputs}
    assert changed == {("drydock:index:Replica", "replica-0")}


def test_the_doors_are_ssh_and_api_and_the_cluster_itself() -> None:
    rules = [r for (kind, _), r in declared("rehearsal").items() if kind in (INGRESS, EGRESS)]
    inside = {r.name: r.inputs for r in rules if "referencedSecurityGroupId" in r.inputs}
    assert set(inside) == {"access-from-cluster", "access-to-cluster"}
    for inputs in inside.values():
        assert inputs["ipProtocol"] == "-1"
        assert inputs["securityGroupId"] == inputs["referencedSecurityGroupId"] == "access-cluster-id"
    doors = {
        (r.inputs["cidrIpv4"], r.inputs["fromPort"], r.inputs["toPort"], r.inputs["securityGroupId"])
        for r in rules
        if r.kind == INGRESS and "cidrIpv4" in r.inputs
    }
    assert doors == {
        ("10.77.1.1/32", 22, 22, "access-entry-id"),
        ("10.77.1.1/32", 8000, 8000, "access-entry-id"),
    }
    (out,) = [r.inputs["cidrIpv4"] for r in rules if r.kind == EGRESS and "cidrIpv4" in r.inputs]
    assert out == "0.0.0.0/0"


@pytest.mark.parametrize("stack", ["rehearsal", "staging", "prod"])
def test_metadata_needs_a_token_and_every_volume_is_encrypted(stack: str) -> None:
    launched = template(declared(stack))
    assert launched["metadataOptions"]["httpTokens"] == "required"
    assert all(mapping["ebs"]["encrypted"] == "true" for mapping in launched["blockDeviceMappings"])


def test_volumes_take_the_images_own_root_name_and_the_data_device() -> None:
    mappings = template(declared("rehearsal"))["blockDeviceMappings"]
    sizes = {mapping["deviceName"]: mapping["ebs"]["volumeSize"] for mapping in mappings}
    assert sizes == {"/dev/xvda": 20, "/dev/sdf": 10}


@pytest.mark.parametrize(
    ("stack", "paces"),
    [("rehearsal", [(3000, 125), (4000, 1000)]), ("prod", [(3000, 125)])],  # prod: instance store
)
def test_the_volume_that_holds_the_weights_is_asked_to_be_fast(
    stack: str, paces: list[tuple[int, int]]
) -> None:
    volumes = [mapping["ebs"] for mapping in template(declared(stack))["blockDeviceMappings"]]
    assert [(ebs["iops"], ebs["throughput"]) for ebs in volumes] == paces


def test_p5_interfaces_are_launched_with_their_cards() -> None:
    resources = declared("prod")
    nics = template(resources)["networkInterfaces"]
    assert len(nics) == 32
    assert [nic["interfaceType"] for nic in nics].count("efa") == 8
    assert nics[0]["securityGroups"] == ["access-cluster-id", "access-entry-id"]
    assert all(nic["securityGroups"] == ["access-cluster-id"] for nic in nics[1:])
    instance = resources[INSTANCE, "node-0"].inputs
    assert not {"subnetId", "vpcSecurityGroupIds", "associatePublicIpAddress"} & set(instance)


def test_an_ordinary_node_is_placed_by_the_instance() -> None:
    resources = declared("staging")
    assert "networkInterfaces" not in template(resources)
    instance = resources[INSTANCE, "node-0"].inputs
    assert instance["subnetId"] == "network-subnet-id"
    assert instance["associatePublicIpAddress"] is True
    assert resources["drydock:index:Node", "node-0"].inputs["address"] == "192.0.2.9"
    assert not [name for kind, name in resources if kind == "aws:ec2/eip:Eip"]


def test_a_single_efa_interface_brings_its_public_address_along() -> None:
    nodes = {"drydock:nodes.instanceType": "p5.4xlarge", "drydock:nodes.count": 2}
    resources = declared(
        "staging", nodes | {"drydock:layout.pipelineParallelSize": 2, "drydock:maxHourlyUsd": 20}
    )
    (nic,) = template(resources)["networkInterfaces"]
    assert (nic["interfaceType"], nic["associatePublicIpAddress"]) == ("efa", "true")
    assert not [name for kind, name in resources if kind == "aws:ec2/eip:Eip"]
    assert resources["drydock:index:Node", "node-1"].inputs["address"] == "192.0.2.9"


def test_capacity_on_demand_is_grouped_and_asks_for_no_market() -> None:
    launched = template(declared("prod"))
    assert launched["placement"] == {"groupName": "together"}
    assert not {"instanceMarketOptions", "capacityReservationSpecification"} & set(launched)


@pytest.mark.parametrize(
    ("market", "market_type", "reserved"),
    [
        ("spot", "spot", False),
        ("capacity-block", "capacity-block", True),
        ("reservation", None, True),
    ],
)
def test_other_capacity_is_asked_for_by_market_and_reservation(
    market: str, market_type: str | None, reserved: bool
) -> None:
    capacity = {"market": market} | ({"reservationId": "cr-0123456789abcdef0"} if reserved else {})
    changes = {"drydock:capacity": capacity, "drydock:maxHourlyUsd": None}
    launched = template(declared("prod", changes))
    assert launched.get("instanceMarketOptions", {}).get("marketType") == market_type
    target = launched.get("capacityReservationSpecification", {}).get("capacityReservationTarget")
    assert target == ({"capacityReservationId": "cr-0123456789abcdef0"} if reserved else None)


@pytest.mark.parametrize(("stack", "writes"), [("rehearsal", False), ("prod", True)])
def test_nodes_may_use_their_bucket_and_write_only_what_they_bring(stack: str, writes: bool) -> None:
    policy = json.loads(declared(stack)["aws:iam/rolePolicy:RolePolicy", "storage-node"].inputs["policy"])
    resources = {resource for statement in policy["Statement"] for resource in statement["Resource"]}
    actions = {action for statement in policy["Statement"] for action in statement["Action"]}
    assert resources == {"arn:aws:s3:::weights-1", "arn:aws:s3:::weights-1/*"}
    assert ("s3:PutObject" in actions) is writes
    assert "s3:DeleteObject" not in actions


def test_the_bucket_is_private_encrypted_and_goes_with_its_content() -> None:
    resources = declared("rehearsal")
    assert resources["aws:s3/bucket:Bucket", "storage-weights"].inputs["forceDestroy"] is True
    block = resources["aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock", "storage-private"].inputs
    assert [value for key, value in block.items() if key != "bucket"] == [True] * 4


def test_the_keys_are_secret_outputs() -> None:
    secrets = declared("rehearsal")["drydock:index:Credentials", "credentials"].secrets
    assert secrets == {"sshPrivateKey", "apiKey"}
