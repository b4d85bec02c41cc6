"""What a RunInstances request means: the launch template filled in under it, EC2's defaults, and the facts
that moto leaves off the instance. The first part is pure: dictionaries in, dictionaries out."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from moto.ec2.models.instances import Instance
from moto.ec2.utils import convert_tag_spec

Request = Mapping[str, Any]


def complete(request: Request, template: Request) -> dict[str, Any]:
    """The request with the template's data under it: the request's values win whole, tags add up."""
    # moto takes the template's user data by itself, in a form of its own.
    under = {key: value for key, value in template.items() if key != "UserData"}
    merged = {**under, **{key: value for key, value in request.items() if value not in (None, [], {})}}
    tags = [*template.get("TagSpecifications", []), *request.get("TagSpecifications", [])]
    if tags:
        merged["TagSpecifications"] = tags
    if "BlockDeviceMappings" in template and "BlockDeviceMappings" in request:
        replaced = {m["DeviceName"] for m in request["BlockDeviceMappings"]}
        kept = [m for m in template["BlockDeviceMappings"] if m["DeviceName"] not in replaced]
        merged["BlockDeviceMappings"] = [*kept, *request["BlockDeviceMappings"]]
    return merged


def with_root_volume(request: Request, root_device: str) -> dict[str, Any]:
    """The request with a root volume of 8 GiB where it names none; a root volume goes with its instance by
    default, any other stays."""
    mappings = [dict(m) for m in request.get("BlockDeviceMappings", [])]
    if not any(m["DeviceName"] == root_device for m in mappings):
        mappings.insert(0, {"DeviceName": root_device, "Ebs": {"VolumeSize": 8, "VolumeType": "gp3"}})
    for mapping in mappings:
        if mapping["DeviceName"] == root_device:
            mapping["Ebs"] = {"DeleteOnTermination": True, "VolumeSize": 8, **mapping.get("Ebs", {})}
    return {**request, "BlockDeviceMappings": mappings}


def numbered(interfaces: Iterable[Request]) -> list[dict[str, Any]]:
    """moto keeps an instance's interfaces by device index alone; with many cards the index repeats."""
    return [{**interface, "DeviceIndex": position} for position, interface in enumerate(interfaces)]


def amend(instance: Instance, request: Request) -> None:
    """Puts on a launched instance what moto dropped of the request."""
    tags = convert_tag_spec(request.get("TagSpecifications", [])).get("network-interface", {})
    _amend_interfaces(instance, request.get("NetworkInterfaces", []), tags)
    _amend_volumes(instance, request["BlockDeviceMappings"])
    instance.security_groups = instance.security_groups or list(instance.nics[0]._group_set)
    placement = request.get("Placement", {})
    instance.placement.group_name = placement.get("GroupName", "")
    market = request.get("InstanceMarketOptions", {}).get("MarketType")
    instance.lifecycle = market
    if reservation := request.get("CapacityReservationSpecification"):
        instance.capacity_reservation_specification = reservation  # type: ignore[attr-defined]
        target = reservation.get("CapacityReservationTarget", {})
        instance.capacity_reservation_id = target.get("CapacityReservationId")  # type: ignore[attr-defined]
    if (profile := request.get("IamInstanceProfile")) and instance.iam_instance_profile is None:
        instance.ec2_backend.associate_iam_instance_profile(
            instance.id,
            iam_instance_profile_name=profile.get("Name"),
            iam_instance_profile_arn=profile.get("Arn"),
        )


def _amend_interfaces(instance: Instance, wanted: Iterable[Request], tags: dict[str, str]) -> None:
    for interface in instance.nics.values():
        interface.delete_on_termination = True
        interface.add_tags(tags)
    for position, spec in enumerate(wanted):
        interface = instance.nics[position]
        interface.device_index = spec.get("DeviceIndex", 0)
        interface.network_card_index = spec.get("NetworkCardIndex", 0)  # type: ignore[attr-defined]
        interface.interface_type = spec.get("InterfaceType", "interface")
        interface.delete_on_termination = spec.get("DeleteOnTermination") is not False


def _amend_volumes(instance: Instance, wanted: Iterable[Request]) -> None:
    for mapping in wanted:
        attached = instance.block_device_mapping.get(mapping["DeviceName"])
        if attached is None:  # NoDevice, or detached since by the time a token is repeated
            continue
        volume = instance.ec2_backend.get_volume(attached.volume_id)
        ebs = mapping.get("Ebs", {})
        volume.iops = ebs.get("Iops") or volume.iops
        volume.throughput = ebs.get("Throughput") or volume.throughput


def stable_hex(*parts: str) -> str:
    """17 hexadecimal digits that depend on nothing but the parts."""
    return hashlib.sha256("/".join(parts).encode()).hexdigest()[:17]
