"""Fixed public addresses, and what they are bound to."""

from typing import Any, Final, cast

from rehearsal.aws_plugin.aws import Aws
from rehearsal.aws_plugin.resource import Resource, Values, Wanted
from rehearsal.aws_plugin.schema import REGION, TAGS, from_wire, text, to_wire
from rehearsal.aws_plugin.tables.common import (
    by_mark,
    change_ec2_tags,
    delete_unused,
    described,
    only,
    tag_specification,
    tags_of,
    without,
)

# --- aws.ec2.Eip


def _find_address(aws: Aws, wanted: Wanted) -> str | None:
    found = only(aws.ec2.describe_addresses(Filters=by_mark(wanted))["Addresses"])
    return found and cast(str, found["AllocationId"])


def _create_address(aws: Aws, wanted: Wanted) -> str:
    made = aws.ec2.allocate_address(Domain="vpc", TagSpecifications=tag_specification("elastic-ip", wanted))
    return made["AllocationId"]


def _read_address(aws: Aws, allocation_id: str, _state: Values) -> dict[str, Any] | None:
    address = described(lambda: aws.ec2.describe_addresses(AllocationIds=[allocation_id])["Addresses"])
    if address is None:
        return None
    public = address["PublicIp"]
    zone = "compute-1" if aws.region == "us-east-1" else f"{aws.region}.compute"
    return {
        "domain": address.get("Domain"),
        "tags": tags_of(address.get("Tags", [])),
        "allocationId": allocation_id,
        "arn": aws.ec2_arn(f"elastic-ip/{allocation_id}"),
        "associationId": address.get("AssociationId") or "",
        "privateIp": address.get("PrivateIpAddress") or "",
        "publicIp": public,
        "publicDns": f"ec2-{public.replace('.', '-')}.{zone}.amazonaws.com",
    }


EIP: Final = Resource(
    "aws:ec2/eip:Eip",
    properties={"domain": text(computed=True, replace=True), "region": REGION, "tags": TAGS},
    outputs={
        "allocationId": text(),
        "arn": text(),
        "associationId": text(),
        "privateIp": text(),
        "publicDns": text(),
        "publicIp": text(),
    },
    find=_find_address,
    create=_create_address,
    read=_read_address,
    update=change_ec2_tags,
    delete=lambda aws, allocation_id, _: delete_unused(
        aws, allocation_id, lambda: aws.ec2.release_address(AllocationId=allocation_id)
    ),
)

# --- aws.ec2.EipAssociation


def _find_binding(aws: Aws, wanted: Wanted) -> str | None:
    # It carries no tags; an address is at one place, so the address is its name.
    inputs = wanted.inputs
    address = only(aws.ec2.describe_addresses(AllocationIds=[inputs["allocationId"]])["Addresses"])
    ends = {"instanceId": "InstanceId", "networkInterfaceId": "NetworkInterfaceId"}
    at = address and any(
        inputs.get(name) and inputs[name] == address.get(wire) for name, wire in ends.items()
    )
    return address["AssociationId"] if at else None


def _create_binding(aws: Aws, wanted: Wanted) -> str:
    made = aws.ec2.associate_address(**to_wire(without(_BINDING, "region"), wanted.inputs))
    return made["AssociationId"]


def _read_binding(aws: Aws, association_id: str, _state: Values) -> dict[str, Any] | None:
    # moto filters addresses by no association; the list of them is short.
    addresses = aws.ec2.describe_addresses()["Addresses"]
    address = only([it for it in addresses if it.get("AssociationId") == association_id])
    return address and from_wire(without(_BINDING, "region", "allowReassociation"), address)


def _delete_binding(aws: Aws, association_id: str, _state: Values) -> None:
    delete_unused(aws, association_id, lambda: aws.ec2.disassociate_address(AssociationId=association_id))


_BINDING: Final = {
    "allocationId": text(required=True, replace=True),
    "instanceId": text(computed=True, replace=True),
    "networkInterfaceId": text(computed=True, replace=True),
    "privateIpAddress": text(computed=True, replace=True),
    "region": REGION,
}

EIP_ASSOCIATION: Final = Resource(
    "aws:ec2/eipAssociation:EipAssociation",
    properties=_BINDING,
    outputs={},
    find=_find_binding,
    create=_create_binding,
    read=_read_binding,
    delete=_delete_binding,
    delete_first=True,
)

TABLE = (EIP, EIP_ASSOCIATION)
