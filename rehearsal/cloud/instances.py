"""From what moto lists to what should run: values, and the steps from what is to what should be."""

import base64
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from moto.ec2.models.instance_types import INSTANCE_TYPES
from moto.ec2.models.instances import Instance

from rehearsal.cloud import firewall
from rehearsal.cloud.ec2 import CloudEC2Backend
from rehearsal.cloud.places import bridge_name

INSTANCE_STORE_GIB = 1
"""Size of each instance store disk, whatever the type's real size: the host pays for what is written."""


@dataclass(frozen=True)
class Disk:
    """A block device of a node."""

    volume_id: str
    size_gib: int
    path: str
    """Where the node sees it, e.g. ``/dev/sdf``."""
    link: str
    """Its path under ``/dev/disk/by-id``, as on a Nitro instance."""


@dataclass(frozen=True)
class Machine:
    """Everything a node is made from."""

    instance_id: str
    address: str
    prefix: int
    """Length of its subnet's prefix, in bits."""
    router: str
    bridge: str
    hostname: str
    public_key: str
    """One line in OpenSSH's form, or empty."""
    user_data: bytes
    root: Disk
    data_disks: tuple[Disk, ...]
    """EBS volumes but the root's, then instance store disks."""


class Step(Enum):
    """What the reconciler does about one instance."""

    START = auto()
    MARK_RUNNING = auto()
    REBOOT = auto()
    HALT = auto()
    MARK_STOPPED = auto()
    MARK_TERMINATED = auto()
    DISCARD = auto()
    """The instance is terminated and something of its node is still on the host."""


def step(state: str, process_alive: bool, on_disk: bool, reboot_wanted: bool) -> Step | None:
    """The next step for an instance in `state`, or None where all is as it should be."""
    if state == "terminated":
        if process_alive:
            return Step.HALT
        return Step.DISCARD if on_disk else None
    if process_alive:
        if state in ("stopping", "shutting-down", "stopped"):
            return Step.HALT
        if state == "pending":
            return Step.MARK_RUNNING
        return Step.REBOOT if reboot_wanted else None
    return {
        "pending": Step.START,
        "running": Step.MARK_STOPPED,  # it powered itself off, or died
        "stopping": Step.MARK_STOPPED,
        "shutting-down": Step.MARK_TERMINATED,
    }.get(state)


def machine(instance: Instance) -> Machine:
    """The node that this instance is, from what moto knows of it."""
    backend: CloudEC2Backend = instance.ec2_backend
    subnet = backend.get_subnet(instance.nics[0].subnet.id)
    address = str(instance.private_ip)
    root, disks = _volumes(instance, backend)
    return Machine(
        instance_id=instance.id,
        address=address,
        prefix=subnet.cidr.prefixlen,
        router=router_address(subnet),
        bridge=bridge_name(subnet.vpc_id),
        hostname=f"ip-{address.replace('.', '-')}",
        public_key=public_key(instance),
        user_data=base64.b64decode(str(instance.user_data)) if instance.user_data else b"",
        root=root,
        data_disks=(*disks, *instance_store(instance.id, instance.instance_type)),
    )


def router_address(subnet: Any) -> str:
    """The subnet's first address, as on EC2; here the host has it."""
    return str(subnet.cidr.network_address + 1)


def instance_store(instance_id: str, instance_type: str) -> Iterator[Disk]:
    """The type's local disks, in number as AWS says, each of `INSTANCE_STORE_GIB`."""
    storage: Mapping[str, Any] = INSTANCE_TYPES.get(instance_type, {}).get("InstanceStorageInfo") or {}
    count = sum(int(disks["Count"]) for disks in storage.get("Disks", []))
    serial = instance_id.removeprefix("i-").upper()
    for number in range(1, count + 1):
        yield Disk(
            volume_id=f"store-{instance_id}-{number}",
            size_gib=INSTANCE_STORE_GIB,
            path=f"/dev/nvme{number}n1",
            link=f"/dev/disk/by-id/nvme-Amazon_EC2_NVMe_Instance_Storage_AWS{serial[:15]}{number:02}",
        )


def networks(backends: Iterable[CloudEC2Backend]) -> list[firewall.Network]:
    """The VPCs that hold an instance which has a machine; the others need no bridge."""
    found = []
    for backend in backends:
        used = {str(i.vpc_id) for i in backend.all_instances() if i.state not in ("terminated", "stopped")}
        for vpc_id in sorted(used):
            subnets = [s for zone in backend.subnets.values() for s in zone.values() if s.vpc_id == vpc_id]
            found.append(
                firewall.Network(
                    bridge=bridge_name(vpc_id),
                    cidr=backend.vpcs[vpc_id].cidr_block,
                    subnets=tuple(sorted((str(s.cidr), router_address(s)) for s in subnets)),
                )
            )
    return found


def members(backends: Iterable[CloudEC2Backend]) -> list[firewall.Member]:
    return [
        firewall.Member(i.id, str(i.private_ip), tuple(sorted(g.id for g in i.nics[0].group_set)))
        for backend in backends
        for i in backend.all_instances()
        if i.state not in ("terminated", "stopped")
    ]


def groups(backends: Iterable[CloudEC2Backend]) -> list[firewall.Group]:
    return [
        firewall.Group(
            group.id,
            tuple(_rule(r) for r in group.ingress_rules),
            tuple(_rule(r) for r in group.egress_rules),
        )
        for backend in backends
        for by_id in backend.groups.values()
        for group in by_id.values()
    ]


def _rule(rule: Any) -> firewall.Rule:
    return firewall.Rule(
        protocol=str(rule.ip_protocol or "-1"),
        first=rule.from_port,
        last=rule.to_port,
        cidr=rule.cidr_ipv4,
        group=(rule.referenced_group_info or {}).get("GroupId"),
    )


def _volumes(instance: Instance, backend: CloudEC2Backend) -> tuple[Disk, tuple[Disk, ...]]:
    disks = {
        path: Disk(
            volume_id=block.volume_id,
            size_gib=int(backend.get_volume(block.volume_id).size),
            path=path,
            link=f"/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_{block.volume_id.replace('-', '')}",
        )
        for path, block in instance.block_device_mapping.items()
    }
    root = disks.pop(str(instance.root_device_name))
    return root, tuple(disks[path] for path in sorted(disks))


def public_key(instance: Instance) -> str:
    """The instance's key pair as one line of OpenSSH's form; empty for none, or one deleted since."""
    pair = instance.ec2_backend.key_pairs.get(instance.key_name or "")
    if pair is None:
        return ""
    material = pair.material_public
    return (material.decode() if isinstance(material, bytes) else material).strip()
