"""The ways out of a subnet: route table and its association."""

from typing import Any, cast

from botocore.exceptions import ClientError

from rehearsal.aws_plugin.aws import Aws
from rehearsal.aws_plugin.problems import code_of, is_gone
from rehearsal.aws_plugin.resource import Change, Resource, Values, Wanted
from rehearsal.aws_plugin.schema import REGION, TAGS, Kind, Prop, from_wire, obj, text, to_wire
from rehearsal.aws_plugin.tables.common import (
    by_mark,
    change_ec2_tags,
    delete_unused,
    described,
    only,
    tag_specification,
    tags_of,
)

# --- aws.ec2.RouteTable

_ROUTE = {
    "cidrBlock": text(wire="DestinationCidrBlock"),
    "ipv6CidrBlock": text(wire="DestinationIpv6CidrBlock"),
    "gatewayId": text(),
    "natGatewayId": text(),
    "networkInterfaceId": text(),
}
_DESTINATIONS = ("DestinationCidrBlock", "DestinationIpv6CidrBlock")


def _find_table(aws: Aws, wanted: Wanted) -> str | None:
    found = only(aws.ec2.describe_route_tables(Filters=by_mark(wanted))["RouteTables"])
    return found and cast(str, found["RouteTableId"])


def _create_table(aws: Aws, wanted: Wanted) -> str:
    made = aws.ec2.create_route_table(
        VpcId=wanted.inputs["vpcId"], TagSpecifications=tag_specification("route-table", wanted)
    )
    return made["RouteTable"]["RouteTableId"]


def _own_routes(table: Any) -> list[dict[str, Any]]:
    """The routes that somebody made: not the VPC's own, which every table has."""
    return [from_wire(_ROUTE, route) for route in table["Routes"] if route.get("GatewayId") != "local"]


def _destination(route: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in to_wire(_ROUTE, route).items() if key in _DESTINATIONS}


def _settle_table(aws: Aws, table_id: str, inputs: Values) -> None:
    if "routes" not in inputs:
        return  # left to others, as the real provider does
    table = aws.ec2.describe_route_tables(RouteTableIds=[table_id])["RouteTables"][0]
    there = {str(_destination(route)): route for route in _own_routes(table)}
    wanted = {str(_destination(route)): route for route in inputs["routes"]}
    for key in there.keys() - wanted.keys():
        aws.ec2.delete_route(RouteTableId=table_id, **_destination(there[key]))
    for key, route in wanted.items():
        if key not in there:
            aws.ec2.create_route(RouteTableId=table_id, **to_wire(_ROUTE, route))
        elif there[key] != route:
            aws.ec2.replace_route(RouteTableId=table_id, **to_wire(_ROUTE, route))


def _read_table(aws: Aws, table_id: str, _state: Values) -> dict[str, Any] | None:
    table = described(lambda: aws.ec2.describe_route_tables(RouteTableIds=[table_id])["RouteTables"])
    if table is None:
        return None
    owner = table.get("OwnerId") or aws.clients.account_id
    return {
        "vpcId": table["VpcId"],
        "routes": _own_routes(table),
        "tags": tags_of(table.get("Tags", [])),
        "arn": aws.ec2_arn(f"route-table/{table_id}", owner),
        "ownerId": owner,
    }


def _update_table(aws: Aws, table_id: str, change: Change) -> None:
    if "routes" in change.changed or not change.changed:
        _settle_table(aws, table_id, {"routes": change.new.get("routes", [])})
    change_ec2_tags(aws, table_id, change)


ROUTE_TABLE = Resource(
    "aws:ec2/routeTable:RouteTable",
    properties={
        "vpcId": text(required=True, replace=True),
        "routes": Prop(Kind.LIST, of=obj(_ROUTE), unordered=True, computed=True),
        "region": REGION,
        "tags": TAGS,
    },
    outputs={"arn": text(), "ownerId": text()},
    find=_find_table,
    create=_create_table,
    settle=_settle_table,
    read=_read_table,
    update=_update_table,
    delete=lambda aws, table_id, _: delete_unused(
        aws, table_id, lambda: aws.ec2.delete_route_table(RouteTableId=table_id)
    ),
)

# --- aws.ec2.RouteTableAssociation


def _association(aws: Aws, name: str, value: str) -> Any:
    """The association that the filter names, with its table's id."""
    tables = aws.ec2.describe_route_tables(Filters=[{"Name": f"association.{name}", "Values": [value]}])
    wire = {"route-table-association-id": "RouteTableAssociationId", "subnet-id": "SubnetId"}[name]
    return only(
        [link for table in tables["RouteTables"] for link in table["Associations"] if link.get(wire) == value]
    )


def _find_association(aws: Aws, wanted: Wanted) -> str | None:
    # It carries no tags; a subnet has one association, so the subnet is its name.
    found = _association(aws, "subnet-id", wanted.inputs["subnetId"])
    if found is None or found["RouteTableId"] != wanted.inputs["routeTableId"]:
        return None
    return cast(str, found["RouteTableAssociationId"])


def _create_association(aws: Aws, wanted: Wanted) -> str:
    made = aws.ec2.associate_route_table(
        RouteTableId=wanted.inputs["routeTableId"], SubnetId=wanted.inputs["subnetId"]
    )
    return made["AssociationId"]


def _read_association(aws: Aws, association_id: str, _state: Values) -> dict[str, Any] | None:
    link = _association(aws, "route-table-association-id", association_id)
    return link and {"routeTableId": link["RouteTableId"], "subnetId": link["SubnetId"]}


def _delete_association(aws: Aws, association_id: str, _state: Values) -> None:
    try:
        aws.ec2.disassociate_route_table(AssociationId=association_id)
    except ClientError as error:
        if not is_gone(error) and code_of(error) != "InvalidAssociationID":
            raise


ROUTE_TABLE_ASSOCIATION = Resource(
    "aws:ec2/routeTableAssociation:RouteTableAssociation",
    properties={
        # The real provider moves it in place; AWS then gives it another id, which an update can't take.
        "routeTableId": text(required=True, replace=True),
        "subnetId": text(required=True, replace=True),
        "region": REGION,
    },
    outputs={},
    find=_find_association,
    create=_create_association,
    read=_read_association,
    delete=_delete_association,
    delete_first=True,
)

TABLE = (ROUTE_TABLE, ROUTE_TABLE_ASSOCIATION)
