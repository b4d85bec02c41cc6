"""Who may reach the nodes: each other over everything, the given ranges over SSH and the API."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_aws import ec2, vpc

from infra.tags import Tags

ALL = "-1"


@dataclass(frozen=True)
class AccessArgs:
    """CIDRs in, ports to; the public half of the key that opens SSH."""

    vpc_id: pulumi.Input[str]
    ssh_cidrs: Sequence[str]
    api_cidrs: Sequence[str]
    ssh_port: int
    api_port: int
    ssh_public_key: pulumi.Input[str]
    tags: Tags


class Access(pulumi.ComponentResource):
    """The cluster's own security group, the group for those who come in, and the key pair."""

    cluster_group_id: pulumi.Output[str]
    entry_group_id: pulumi.Output[str]
    key_name: pulumi.Output[str]

    def __init__(self, name: str, args: AccessArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("drydock:cluster:Access", name, None, opts)
        self._args, self._name = args, name
        self._inside = pulumi.ResourceOptions(parent=self)
        cluster = self._group("cluster", "Between the nodes of the cluster, and out to the world")
        entry = self._group("entry", "From the allowed ranges to SSH and to the API")
        self._cluster_rules(cluster)
        for index, cidr in enumerate(args.ssh_cidrs):
            self._entry_rule(entry, f"ssh-{index}", cidr, args.ssh_port)
        for index, cidr in enumerate(args.api_cidrs):
            self._entry_rule(entry, f"api-{index}", cidr, args.api_port)
        key = ec2.KeyPair(
            f"{name}-key", public_key=args.ssh_public_key, tags=args.tags.named("key"), opts=self._inside
        )
        self.cluster_group_id, self.entry_group_id, self.key_name = cluster.id, entry.id, key.key_name
        self.register_outputs(
            {"clusterGroupId": cluster.id, "entryGroupId": entry.id, "keyName": key.key_name}
        )

    def _group(self, role: str, description: str) -> ec2.SecurityGroup:
        return ec2.SecurityGroup(
            f"{self._name}-{role}",
            description=description,
            vpc_id=self._args.vpc_id,
            tags=self._args.tags.named(role),
            opts=self._inside,
        )

    def _cluster_rules(self, group: ec2.SecurityGroup) -> None:
        """EFA needs all traffic allowed in and out, from and to the group itself."""
        vpc.SecurityGroupIngressRule(
            f"{self._name}-from-cluster",
            security_group_id=group.id,
            referenced_security_group_id=group.id,
            ip_protocol=ALL,
            description="Everything between the nodes: NCCL, vLLM, EFA",
            tags=self._args.tags.named("from-cluster"),
            opts=self._inside,
        )
        vpc.SecurityGroupEgressRule(
            f"{self._name}-to-cluster",
            security_group_id=group.id,
            referenced_security_group_id=group.id,
            ip_protocol=ALL,
            description="Everything between the nodes: NCCL, vLLM, EFA",
            tags=self._args.tags.named("to-cluster"),
            opts=self._inside,
        )
        vpc.SecurityGroupEgressRule(
            f"{self._name}-to-world",
            security_group_id=group.id,
            cidr_ipv4="0.0.0.0/0",
            ip_protocol=ALL,
            description="Packages, weights and AWS's own API",
            tags=self._args.tags.named("to-world"),
            opts=self._inside,
        )

    def _entry_rule(self, group: ec2.SecurityGroup, role: str, cidr: str, port: int) -> None:
        vpc.SecurityGroupIngressRule(
            f"{self._name}-{role}",
            security_group_id=group.id,
            cidr_ipv4=cidr,
            ip_protocol="tcp",
            from_port=port,
            to_port=port,
            description=f"{role.split('-', maxsplit=1)[0]} from {cidr}",
            tags=self._args.tags.named(role),
            opts=self._inside,
        )
