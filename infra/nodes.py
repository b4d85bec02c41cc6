"""The machines of a cluster, and what bootstrap makes of each."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_aws import ec2, ssm

from cluster.disk import Volume
from cluster.plan import ClusterPlan
from infra.provider import Node, Weights
from infra.tags import Tags


@dataclass(frozen=True)
class NodesArgs:
    """The plan, and what the other components made for the machines."""

    plan: ClusterPlan
    subnet_id: pulumi.Input[str]
    cluster_group_id: pulumi.Input[str]
    entry_group_id: pulumi.Input[str]
    key_name: pulumi.Input[str]
    instance_profile: pulumi.Input[str]
    ssh_private_key: pulumi.Input[str]
    weights: Weights
    reachable: Sequence[pulumi.Resource]
    """What must be there from before a node's bootstrap until after its end: rules, routes, rights."""
    tags: Tags


@dataclass(frozen=True)
class Machine:
    """One node: where it is, and its bootstrap."""

    name: str
    rank: int
    instance_id: pulumi.Output[str]
    address: pulumi.Output[str]
    bootstrap: Node


class Nodes(pulumi.ComponentResource):
    """Instances from one launch template, each followed by its bootstrap."""

    machines: tuple[Machine, ...]

    def __init__(self, name: str, args: NodesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("drydock:cluster:Nodes", name, None, opts)
        self._name, self._args = name, args
        self._inside = pulumi.ResourceOptions(parent=self)
        template = self._launch_template(self._placement_group())
        self.machines = tuple(
            self._machine(rank, node_name, template) for rank, node_name in enumerate(args.plan.node_names)
        )
        self.register_outputs({"instanceIds": [machine.instance_id for machine in self.machines]})

    def _placement_group(self) -> ec2.PlacementGroup | None:
        if not self._args.plan.placement_group:
            return None
        return ec2.PlacementGroup(
            f"{self._name}-together",
            strategy="cluster",
            tags=self._args.tags.named("together"),
            opts=self._inside,
        )

    def _launch_template(self, group: ec2.PlacementGroup | None) -> ec2.LaunchTemplate:
        args, plan = self._args, self._args.plan
        image_id = self._image_id()
        profile = ec2.LaunchTemplateIamInstanceProfileArgs(name=args.instance_profile)
        placement = ec2.LaunchTemplatePlacementArgs(group_name=group.name) if group else None
        return ec2.LaunchTemplate(
            f"{self._name}-template",
            image_id=image_id,
            instance_type=plan.instance_type.name,
            key_name=args.key_name,
            block_device_mappings=self._volumes(image_id),
            network_interfaces=self._interfaces(),
            iam_instance_profile=profile,
            metadata_options=ec2.LaunchTemplateMetadataOptionsArgs(
                http_endpoint="enabled", http_tokens="required", http_put_response_hop_limit=1
            ),
            placement=placement,
            instance_market_options=self._market(),
            capacity_reservation_specification=self._reservation(),
            tag_specifications=[
                ec2.LaunchTemplateTagSpecificationArgs(resource_type=kind, tags=args.tags.named("node"))
                for kind in ("volume", "network-interface")
            ],
            tags=args.tags.named("node"),
            opts=self._inside,
        )

    def _image_id(self) -> pulumi.Input[str]:
        image = self._args.plan.image
        if image.startswith("ami-"):
            return image
        found = ssm.get_parameter_output(name=image, opts=pulumi.InvokeOutputOptions(parent=self))
        # An image's id is no secret, though one member of the answer, `value`, is always taken for one.
        return pulumi.Output.unsecret(found.insecure_value)

    def _volumes(self, image_id: pulumi.Input[str]) -> list[ec2.LaunchTemplateBlockDeviceMappingArgs]:
        plan = self._args.plan
        # Under another name than the image's own the root volume would keep the image's size.
        by_id = pulumi.Output.from_input(image_id).apply(
            lambda found: [ec2.GetAmiFilterArgs(name="image-id", values=[found])]
        )
        image = ec2.get_ami_output(
            filters=by_id,
            opts=pulumi.InvokeOutputOptions(parent=self),
        )
        volumes = [_volume(image.root_device_name, plan.root_volume)]
        if plan.data_volume:
            volumes.append(_volume(plan.node.data_device, plan.data_volume))
        return volumes

    def _interfaces(self) -> list[ec2.LaunchTemplateNetworkInterfaceArgs] | None:
        args, plan = self._args, self._args.plan
        if not plan.nics:
            return None
        automatic = plan.public_address and not self._needs_elastic_ip()
        return [
            ec2.LaunchTemplateNetworkInterfaceArgs(
                network_card_index=nic.card,
                device_index=nic.device,
                interface_type=nic.kind,
                subnet_id=args.subnet_id,
                # Only the primary interface is a door; the others speak within the cluster.
                security_groups=[args.cluster_group_id, *([args.entry_group_id] if nic.card == 0 else [])],
                delete_on_termination="true",
                associate_public_ip_address="true" if automatic else None,
            )
            for nic in plan.nics
        ]

    def _needs_elastic_ip(self) -> bool:
        """With more than one interface EC2 gives no public address by itself."""
        return self._args.plan.public_address and len(self._args.plan.nics) > 1

    def _market(self) -> ec2.LaunchTemplateInstanceMarketOptionsArgs | None:
        market = self._args.plan.market
        if market not in ("spot", "capacity-block"):
            return None
        return ec2.LaunchTemplateInstanceMarketOptionsArgs(market_type=market)

    def _reservation(self) -> ec2.LaunchTemplateCapacityReservationSpecificationArgs | None:
        reservation_id = self._args.plan.reservation_id
        if reservation_id is None:
            return None
        target = ec2.LaunchTemplateCapacityReservationSpecificationCapacityReservationTargetArgs(
            capacity_reservation_id=reservation_id
        )
        return ec2.LaunchTemplateCapacityReservationSpecificationArgs(capacity_reservation_target=target)

    def _machine(self, rank: int, name: str, template: ec2.LaunchTemplate) -> Machine:
        args, plan = self._args, self._args.plan
        launch = ec2.InstanceLaunchTemplateArgs(
            id=template.id, version=template.latest_version.apply(lambda version: str(int(version)))
        )
        # Interfaces in the template carry subnet and groups; an instance must then not name them again.
        ordinary = not plan.nics
        instance = ec2.Instance(
            name,
            launch_template=launch,
            subnet_id=args.subnet_id if ordinary else None,
            vpc_security_group_ids=[args.cluster_group_id, args.entry_group_id] if ordinary else None,
            associate_public_ip_address=plan.public_address if ordinary else None,
            tags=args.tags.named(name),
            # First the old one goes: quota and capacity seldom hold a cluster twice.
            opts=pulumi.ResourceOptions(
                parent=self, depends_on=list(args.reachable), delete_before_replace=True
            ),
        )
        address, public = self._address(name, instance)
        bootstrap = Node(
            name,
            name=name,
            rank=rank,
            address=address,
            user=plan.user,
            instance_id=instance.id,
            region=plan.region,
            ssh_private_key=args.ssh_private_key,
            spec=plan.node.to_json(),
            weights=args.weights.reference(),
            deadline_s=plan.node_deadline_s,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[*args.reachable, *public]),
        )
        return Machine(name, rank, instance.id, address, bootstrap)

    def _address(self, name: str, instance: ec2.Instance) -> tuple[pulumi.Output[str], list[pulumi.Resource]]:
        """Where this machine reaches the node, and what makes that address work."""
        if not self._args.plan.public_address:
            return instance.private_ip, []
        if not self._needs_elastic_ip():
            return instance.public_ip, []
        elastic = ec2.Eip(
            f"{name}-address", domain="vpc", tags=self._args.tags.named(name), opts=self._inside
        )
        bound = ec2.EipAssociation(
            f"{name}-address",
            allocation_id=elastic.allocation_id,
            network_interface_id=instance.primary_network_interface_id,
            opts=self._inside,
        )
        return elastic.public_ip, [bound]


def _volume(device: pulumi.Input[str], volume: Volume) -> ec2.LaunchTemplateBlockDeviceMappingArgs:
    return ec2.LaunchTemplateBlockDeviceMappingArgs(
        device_name=device,
        ebs=ec2.LaunchTemplateBlockDeviceMappingEbsArgs(
            volume_size=volume.size_gib,
            volume_type="gp3",
            iops=volume.iops,
            throughput=volume.throughput_mib_per_s,
            encrypted="true",
            delete_on_termination="true",
        ),
    )
