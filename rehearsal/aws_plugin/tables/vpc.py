"""The network: VPC, subnet, internet gateway."""

from typing import Any, Final, cast

from botocore.exceptions import ClientError

from rehearsal.aws_plugin.aws import Aws, NotYet
from rehearsal.aws_plugin.problems import is_gone
from rehearsal.aws_plugin.resource import Change, Resource, Values, Wanted
from rehearsal.aws_plugin.schema import REGION, TAGS, flag, from_wire, text, to_wire
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

_AVAILABLE_S: Final = 60.0

# --- aws.ec2.Vpc


def _find_vpc(aws: Aws, wanted: Wanted) -> str | None:
    found = only(aws.ec2.describe_vpcs(Filters=by_mark(wanted))["Vpcs"])
    return found and cast(str, found["VpcId"])


def _create_vpc(aws: Aws, wanted: Wanted) -> str:
    made = aws.ec2.create_vpc(
        CidrBlock=wanted.inputs["cidrBlock"],
        InstanceTenancy=wanted.inputs["instanceTenancy"],
        TagSpecifications=tag_specification("vpc", wanted),
    )
    return made["Vpc"]["VpcId"]


def _settle_vpc(aws: Aws, vpc_id: str, inputs: Values) -> None:
    def available() -> None:
        state = aws.ec2.describe_vpcs(VpcIds=[vpc_id])["Vpcs"][0]["State"]
        if state != "available":
            raise NotYet(f"{vpc_id} is {state}")

    aws.until(available, deadline_s=_AVAILABLE_S)
    _set_vpc_flags(aws, vpc_id, inputs)


def _set_vpc_flags(aws: Aws, vpc_id: str, inputs: Values) -> None:
    # AWS takes one attribute a call, and host names only after support.
    aws.ec2.modify_vpc_attribute(VpcId=vpc_id, EnableDnsSupport={"Value": inputs["enableDnsSupport"]})
    aws.ec2.modify_vpc_attribute(VpcId=vpc_id, EnableDnsHostnames={"Value": inputs["enableDnsHostnames"]})


def _read_vpc(aws: Aws, vpc_id: str, _state: Values) -> dict[str, Any] | None:
    vpc = described(lambda: aws.ec2.describe_vpcs(VpcIds=[vpc_id])["Vpcs"])
    if vpc is None:
        return None
    of_vpc: list[Any] = [{"Name": "vpc-id", "Values": [vpc_id]}]
    main = only(
        aws.ec2.describe_route_tables(Filters=[*of_vpc, {"Name": "association.main", "Values": ["true"]}])[
            "RouteTables"
        ]
    )
    acl = only(
        aws.ec2.describe_network_acls(Filters=[*of_vpc, {"Name": "default", "Values": ["true"]}])[
            "NetworkAcls"
        ]
    )
    group = only(
        aws.ec2.describe_security_groups(Filters=[*of_vpc, {"Name": "group-name", "Values": ["default"]}])[
            "SecurityGroups"
        ]
    )
    owner = vpc.get("OwnerId") or aws.clients.account_id
    return {
        **from_wire(without(VPC.properties, "tags"), vpc),
        "enableDnsSupport": _vpc_flag(aws, vpc_id, "enableDnsSupport"),
        "enableDnsHostnames": _vpc_flag(aws, vpc_id, "enableDnsHostnames"),
        "tags": tags_of(vpc.get("Tags", [])),
        "arn": aws.ec2_arn(f"vpc/{vpc_id}", owner),
        "ownerId": owner,
        "dhcpOptionsId": vpc.get("DhcpOptionsId"),
        "mainRouteTableId": main and main["RouteTableId"],
        "defaultRouteTableId": main and main["RouteTableId"],
        "defaultNetworkAclId": acl and acl["NetworkAclId"],
        "defaultSecurityGroupId": group and group["GroupId"],
    }


def _vpc_flag(aws: Aws, vpc_id: str, attribute: Any) -> bool:
    answer: Any = aws.ec2.describe_vpc_attribute(VpcId=vpc_id, Attribute=attribute)
    return bool(answer[attribute[0].upper() + attribute[1:]]["Value"])


def _update_vpc(aws: Aws, vpc_id: str, change: Change) -> None:
    _set_vpc_flags(aws, vpc_id, change.new)
    change_ec2_tags(aws, vpc_id, change)


VPC = Resource(
    "aws:ec2/vpc:Vpc",
    properties={
        "cidrBlock": text(required=True, replace=True),
        "enableDnsHostnames": flag(default=False),
        "enableDnsSupport": flag(default=True),
        "instanceTenancy": text(default="default", replace=True),
        "region": REGION,
        "tags": TAGS,
    },
    outputs={
        "arn": text(),
        "defaultNetworkAclId": text(),
        "defaultRouteTableId": text(),
        "defaultSecurityGroupId": text(),
        "dhcpOptionsId": text(),
        "mainRouteTableId": text(),
        "ownerId": text(),
    },
    find=_find_vpc,
    create=_create_vpc,
    settle=_settle_vpc,
    read=_read_vpc,
    update=_update_vpc,
    delete=lambda aws, vpc_id, _: delete_unused(aws, vpc_id, lambda: aws.ec2.delete_vpc(VpcId=vpc_id)),
)

# --- aws.ec2.Subnet


def _find_subnet(aws: Aws, wanted: Wanted) -> str | None:
    found = only(aws.ec2.describe_subnets(Filters=by_mark(wanted))["Subnets"])
    return found and cast(str, found["SubnetId"])


def _create_subnet(aws: Aws, wanted: Wanted) -> str:
    given = to_wire(without(SUBNET.properties, "tags", "region", "mapPublicIpOnLaunch"), wanted.inputs)
    made = aws.ec2.create_subnet(**given, TagSpecifications=tag_specification("subnet", wanted))
    return made["Subnet"]["SubnetId"]


def _settle_subnet(aws: Aws, subnet_id: str, inputs: Values) -> None:
    def available() -> None:
        state = aws.ec2.describe_subnets(SubnetIds=[subnet_id])["Subnets"][0]["State"]
        if state != "available":
            raise NotYet(f"{subnet_id} is {state}")

    aws.until(available, deadline_s=_AVAILABLE_S)
    aws.ec2.modify_subnet_attribute(
        SubnetId=subnet_id, MapPublicIpOnLaunch={"Value": inputs["mapPublicIpOnLaunch"]}
    )


def _read_subnet(aws: Aws, subnet_id: str, _state: Values) -> dict[str, Any] | None:
    subnet = described(lambda: aws.ec2.describe_subnets(SubnetIds=[subnet_id])["Subnets"])
    if subnet is None:
        return None
    return {
        **from_wire(without(SUBNET.properties, "tags"), subnet),
        "tags": tags_of(subnet.get("Tags", [])),
        "arn": subnet["SubnetArn"],
        "ownerId": subnet["OwnerId"],
    }


def _update_subnet(aws: Aws, subnet_id: str, change: Change) -> None:
    _settle_subnet(aws, subnet_id, change.new)
    change_ec2_tags(aws, subnet_id, change)


SUBNET = Resource(
    "aws:ec2/subnet:Subnet",
    properties={
        "vpcId": text(required=True, replace=True),
        "cidrBlock": text(required=True, replace=True),
        "availabilityZone": text(computed=True, replace=True),
        "availabilityZoneId": text(computed=True, replace=True),
        "mapPublicIpOnLaunch": flag(default=False),
        "region": REGION,
        "tags": TAGS,
    },
    outputs={"arn": text(), "ownerId": text()},
    find=_find_subnet,
    create=_create_subnet,
    settle=_settle_subnet,
    read=_read_subnet,
    update=_update_subnet,
    delete=lambda aws, subnet_id, _: delete_unused(
        aws, subnet_id, lambda: aws.ec2.delete_subnet(SubnetId=subnet_id)
    ),
)

# --- aws.ec2.InternetGateway


def _find_gateway(aws: Aws, wanted: Wanted) -> str | None:
    found = only(aws.ec2.describe_internet_gateways(Filters=by_mark(wanted))["InternetGateways"])
    return found and cast(str, found["InternetGatewayId"])


def _create_gateway(aws: Aws, wanted: Wanted) -> str:
    made = aws.ec2.create_internet_gateway(TagSpecifications=tag_specification("internet-gateway", wanted))
    return made["InternetGateway"]["InternetGatewayId"]


def _attached_to(aws: Aws, gateway_id: str) -> str | None:
    gateway = aws.ec2.describe_internet_gateways(InternetGatewayIds=[gateway_id])["InternetGateways"][0]
    attachment = only(gateway.get("Attachments", []))
    return attachment and cast(str, attachment["VpcId"])


def _settle_gateway(aws: Aws, gateway_id: str, inputs: Values) -> None:
    is_at, wanted_at = _attached_to(aws, gateway_id), inputs.get("vpcId")
    if is_at and is_at != wanted_at:
        _detach_gateway(aws, gateway_id, is_at)
    if wanted_at and is_at != wanted_at:
        aws.ec2.attach_internet_gateway(InternetGatewayId=gateway_id, VpcId=wanted_at)


def _detach_gateway(aws: Aws, gateway_id: str, vpc_id: str) -> None:
    delete_unused(
        aws,
        f"{gateway_id} at {vpc_id}",
        lambda: aws.ec2.detach_internet_gateway(InternetGatewayId=gateway_id, VpcId=vpc_id),
    )


def _read_gateway(aws: Aws, gateway_id: str, _state: Values) -> dict[str, Any] | None:
    gateway = described(
        lambda: aws.ec2.describe_internet_gateways(InternetGatewayIds=[gateway_id])["InternetGateways"]
    )
    if gateway is None:
        return None
    attachment = only(gateway.get("Attachments", []))
    owner = gateway.get("OwnerId") or aws.clients.account_id
    return {
        "vpcId": attachment and attachment["VpcId"],
        "tags": tags_of(gateway.get("Tags", [])),
        "arn": aws.ec2_arn(f"internet-gateway/{gateway_id}", owner),
        "ownerId": owner,
    }


def _update_gateway(aws: Aws, gateway_id: str, change: Change) -> None:
    if "vpcId" in change.changed or not change.changed:
        _settle_gateway(aws, gateway_id, change.new)
    change_ec2_tags(aws, gateway_id, change)


def _delete_gateway(aws: Aws, gateway_id: str, _state: Values) -> None:
    try:
        vpc_id = _attached_to(aws, gateway_id)
    except ClientError as error:
        if is_gone(error):
            return
        raise
    if vpc_id:
        _detach_gateway(aws, gateway_id, vpc_id)
    delete_unused(aws, gateway_id, lambda: aws.ec2.delete_internet_gateway(InternetGatewayId=gateway_id))


INTERNET_GATEWAY = Resource(
    "aws:ec2/internetGateway:InternetGateway",
    properties={"vpcId": text(computed=True), "region": REGION, "tags": TAGS},
    outputs={"arn": text(), "ownerId": text()},
    find=_find_gateway,
    create=_create_gateway,
    settle=_settle_gateway,
    read=_read_gateway,
    update=_update_gateway,
    delete=_delete_gateway,
)

TABLE = (VPC, SUBNET, INTERNET_GATEWAY)
