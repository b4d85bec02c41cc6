"""The network of a cluster: one VPC with one subnet in one zone, and its way to the internet."""

from dataclasses import dataclass

import pulumi
from pulumi_aws import ec2

from infra.tags import Tags


@dataclass(frozen=True)
class NetworkArgs:
    """Ranges in CIDR notation; every node lives in the one subnet, since NCCL hangs across zones."""

    vpc_cidr: str
    subnet_cidr: str
    availability_zone: str
    tags: Tags


class Network(pulumi.ComponentResource):
    """VPC, subnet, internet gateway and routes."""

    vpc_id: pulumi.Output[str]
    subnet_id: pulumi.Output[str]

    def __init__(self, name: str, args: NetworkArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("drydock:cluster:Network", name, None, opts)
        inside = pulumi.ResourceOptions(parent=self)
        vpc = ec2.Vpc(
            f"{name}-vpc",
            cidr_block=args.vpc_cidr,
            enable_dns_hostnames=True,
            enable_dns_support=True,
            tags=args.tags.named("vpc"),
            opts=inside,
        )
        subnet = ec2.Subnet(
            f"{name}-subnet",
            vpc_id=vpc.id,
            cidr_block=args.subnet_cidr,
            availability_zone=args.availability_zone,
            tags=args.tags.named("nodes"),
            opts=inside,
        )
        gateway = ec2.InternetGateway(
            f"{name}-gateway", vpc_id=vpc.id, tags=args.tags.named("gateway"), opts=inside
        )
        routes = ec2.RouteTable(
            f"{name}-routes",
            vpc_id=vpc.id,
            routes=[ec2.RouteTableRouteArgs(cidr_block="0.0.0.0/0", gateway_id=gateway.id)],
            tags=args.tags.named("nodes"),
            opts=inside,
        )
        ec2.RouteTableAssociation(
            f"{name}-routes", subnet_id=subnet.id, route_table_id=routes.id, opts=inside
        )
        self.vpc_id, self.subnet_id = vpc.id, subnet.id
        self.register_outputs({"vpcId": vpc.id, "subnetId": subnet.id})
