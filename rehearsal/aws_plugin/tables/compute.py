"""The machines: placement group and instance."""

import hashlib
from typing import Any, Final, cast

from botocore.exceptions import ClientError

from rehearsal.aws_plugin.aws import Aws, NotYet
from rehearsal.aws_plugin.problems import Refused, is_gone
from rehearsal.aws_plugin.resource import Change, Naming, Resource, Values, Wanted
from rehearsal.aws_plugin.schema import REGION, TAGS, flag, from_wire, number, obj, text, texts, to_wire
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

_RUNNING_S: Final = 600.0
_ENDED_S: Final = 1200.0
_ENDING: Final = frozenset({"shutting-down", "terminated"})

# --- aws.ec2.PlacementGroup


def _find_group(aws: Aws, wanted: Wanted) -> str | None:
    found = only(aws.ec2.describe_placement_groups(Filters=by_mark(wanted))["PlacementGroups"])
    return found and cast(str, found["GroupName"])


def _create_group(aws: Aws, wanted: Wanted) -> str:
    inputs = wanted.inputs
    more: Any = {"PartitionCount": inputs["partitionCount"]} if inputs.get("partitionCount") else {}
    aws.ec2.create_placement_group(
        GroupName=inputs["name"],
        Strategy=inputs["strategy"],
        TagSpecifications=tag_specification("placement-group", wanted),
        **more,
    )
    return str(inputs["name"])


def _read_group(aws: Aws, name: str, _state: Values) -> dict[str, Any] | None:
    group = described(lambda: aws.ec2.describe_placement_groups(GroupNames=[name])["PlacementGroups"])
    if group is None:
        return None
    return {
        "name": name,
        "strategy": group["Strategy"],
        "partitionCount": group.get("PartitionCount"),
        "tags": tags_of(group.get("Tags", [])),
        "arn": group.get("GroupArn") or aws.ec2_arn(f"placement-group/{name}"),
        "placementGroupId": group.get("GroupId"),
    }


def _update_group(aws: Aws, _name: str, change: Change) -> None:
    change_ec2_tags(aws, change.old["placementGroupId"], change)


PLACEMENT_GROUP: Final = Resource(
    "aws:ec2/placementGroup:PlacementGroup",
    properties={
        "name": text(replace=True),
        "strategy": text(required=True, replace=True),
        "partitionCount": number(replace=True, computed=True),
        "region": REGION,
        "tags": TAGS,
    },
    outputs={"arn": text(), "placementGroupId": text()},
    find=_find_group,
    create=_create_group,
    read=_read_group,
    update=_update_group,
    delete=lambda aws, name, _: delete_unused(
        aws, f"placement group {name}", lambda: aws.ec2.delete_placement_group(GroupName=name)
    ),
    naming=Naming("name"),
)

# --- aws.ec2.Instance


def _marked_instances(aws: Aws, wanted: Wanted) -> list[Any]:
    answer = aws.ec2.describe_instances(Filters=by_mark(wanted))
    return [instance for reservation in answer["Reservations"] for instance in reservation["Instances"]]


def _find_instance(aws: Aws, wanted: Wanted) -> str | None:
    alive = [it for it in _marked_instances(aws, wanted) if it["State"]["Name"] not in _ENDING]
    return alive[0]["InstanceId"] if alive else None


def _client_token(aws: Aws, wanted: Wanted) -> str:
    """The same for the same create, so that EC2 starts one instance; another once that one has ended, since a
    token names its ended instance for hours."""
    ended = sorted(instance["InstanceId"] for instance in _marked_instances(aws, wanted))
    return hashlib.sha256("/".join([wanted.marker, *ended]).encode()).hexdigest()


def _create_instance(aws: Aws, wanted: Wanted) -> str:
    inputs = wanted.inputs
    request: dict[str, Any] = to_wire(_RUN, {name: value for name, value in inputs.items() if name in _RUN})
    if profile := inputs.get("iamInstanceProfile"):
        request["IamInstanceProfile"] = {"Name": profile}
    placed = {"availabilityZone": "AvailabilityZone", "tenancy": "Tenancy", "placementGroup": "GroupName"}
    if placement := {wire: inputs[name] for name, wire in placed.items() if inputs.get(name)}:
        request["Placement"] = placement
    if inputs.get("associatePublicIpAddress") is not None:
        # The API takes this wish only with an interface, which then carries subnet, groups and address too.
        moved = {"SecurityGroupIds": "Groups", "SubnetId": "SubnetId", "PrivateIpAddress": "PrivateIpAddress"}
        interface = {to: request.pop(name) for name, to in moved.items() if name in request}
        interface |= {"DeviceIndex": 0, "AssociatePublicIpAddress": inputs["associatePublicIpAddress"]}
        request["NetworkInterfaces"] = [interface]
    made = aws.ec2.run_instances(
        MinCount=1,
        MaxCount=1,
        ClientToken=_client_token(aws, wanted),
        TagSpecifications=tag_specification("instance", wanted),
        **request,
    )
    return made["Instances"][0]["InstanceId"]


def _instance(aws: Aws, instance_id: str) -> Any:
    reservations = aws.ec2.describe_instances(InstanceIds=[instance_id])["Reservations"]
    return reservations[0]["Instances"][0]


def _await_running(aws: Aws, instance_id: str) -> None:
    def running() -> None:
        instance = _instance(aws, instance_id)
        state = instance["State"]["Name"]
        if state in _ENDING or state == "stopped":
            why = instance.get("StateReason", {}).get("Message") or instance.get("StateTransitionReason")
            raise Refused(f"{instance_id} is {state} instead of running: {why or 'AWS gives no reason'}")
        if state != "running":
            raise NotYet(f"{instance_id} is {state}")

    aws.until(running, deadline_s=_RUNNING_S)


def _settle_instance(aws: Aws, instance_id: str, inputs: Values) -> None:
    _await_running(aws, instance_id)
    if not inputs["sourceDestCheck"]:
        aws.ec2.modify_instance_attribute(InstanceId=instance_id, SourceDestCheck={"Value": False})


def _from_template(instance: Any, state: Values) -> dict[str, Any] | None:
    """Which template and version it came from; "$Latest" and "$Default" stay as they were asked for."""
    tags = {tag["Key"]: tag["Value"] for tag in instance.get("Tags", [])}
    before = state.get("launchTemplate", {})
    if "aws:ec2launchtemplate:id" not in tags:
        return before or None
    asked = before.get("version", "")
    return {
        "id": tags["aws:ec2launchtemplate:id"],
        "name": before.get("name"),
        "version": asked if asked.startswith("$") else tags["aws:ec2launchtemplate:version"],
    }


def _read_instance(aws: Aws, instance_id: str, state: Values) -> dict[str, Any] | None:
    try:
        instance = _instance(aws, instance_id)
    except ClientError as error:
        if is_gone(error):
            return None
        raise
    except IndexError:
        return None
    if instance["State"]["Name"] in _ENDING:
        return None
    interfaces = instance.get("NetworkInterfaces", [])
    primary = only([it for it in interfaces if it["Attachment"]["DeviceIndex"] == 0]) or {}
    profile = instance.get("IamInstanceProfile", {}).get("Arn", "")
    placement = instance["Placement"]
    return {
        **from_wire(_DESCRIBED, instance),
        "availabilityZone": placement["AvailabilityZone"],
        "tenancy": placement.get("Tenancy"),
        "placementGroup": placement.get("GroupName"),
        "vpcSecurityGroupIds": sorted(group["GroupId"] for group in instance.get("SecurityGroups", [])),
        "iamInstanceProfile": profile.rpartition("/")[2],
        "launchTemplate": _from_template(instance, state),
        "monitoring": instance.get("Monitoring", {}).get("State") == "enabled",
        "associatePublicIpAddress": bool(instance.get("PublicIpAddress")),
        "tags": tags_of(instance.get("Tags", [])),
        "arn": aws.ec2_arn(f"instance/{instance_id}"),
        "instanceState": instance["State"]["Name"],
        "primaryNetworkInterfaceId": primary.get("NetworkInterfaceId"),
        "privateDns": instance.get("PrivateDnsName", ""),
        "publicDns": instance.get("PublicDnsName", ""),
        "publicIp": instance.get("PublicIpAddress", ""),
    }


def _update_instance(aws: Aws, instance_id: str, change: Change) -> None:
    new, changed = change.new, change.changed
    if "sourceDestCheck" in changed:
        aws.ec2.modify_instance_attribute(
            InstanceId=instance_id, SourceDestCheck={"Value": new["sourceDestCheck"]}
        )
    if "vpcSecurityGroupIds" in changed:
        aws.ec2.modify_instance_attribute(InstanceId=instance_id, Groups=list(new["vpcSecurityGroupIds"]))
    if "iamInstanceProfile" in changed:
        _change_profile(aws, instance_id, new.get("iamInstanceProfile"))
    if "instanceType" in changed:
        _change_type(aws, instance_id, new["instanceType"])
    if not changed:
        _settle_instance(aws, instance_id, new)
    change_ec2_tags(aws, instance_id, change)


def _change_profile(aws: Aws, instance_id: str, profile: str | None) -> None:
    own: list[Any] = [{"Name": "instance-id", "Values": [instance_id]}]
    for link in aws.ec2.describe_iam_instance_profile_associations(Filters=own)[
        "IamInstanceProfileAssociations"
    ]:
        aws.ec2.disassociate_iam_instance_profile(AssociationId=link["AssociationId"])
    if profile:
        aws.ec2.associate_iam_instance_profile(InstanceId=instance_id, IamInstanceProfile={"Name": profile})


def _change_type(aws: Aws, instance_id: str, instance_type: str) -> None:
    def stopped() -> None:
        if (state := _instance(aws, instance_id)["State"]["Name"]) != "stopped":
            raise NotYet(f"{instance_id} is {state}")

    aws.ec2.stop_instances(InstanceIds=[instance_id])
    aws.until(stopped, deadline_s=_ENDED_S)
    aws.ec2.modify_instance_attribute(InstanceId=instance_id, InstanceType={"Value": instance_type})
    aws.ec2.start_instances(InstanceIds=[instance_id])
    _await_running(aws, instance_id)


def _delete_instance(aws: Aws, instance_id: str, _state: Values) -> None:
    def ended() -> None:
        if (state := _instance(aws, instance_id)["State"]["Name"]) != "terminated":
            raise NotYet(f"{instance_id} is {state}")

    try:
        aws.ec2.terminate_instances(InstanceIds=[instance_id])
        aws.until(ended, deadline_s=_ENDED_S)
    except (ClientError, IndexError) as error:
        if not (is_gone(error) or isinstance(error, IndexError)):
            raise


_TEMPLATE: Final = {
    "id": text(computed=True, replace=True, wire="LaunchTemplateId"),
    "name": text(computed=True, replace=True, wire="LaunchTemplateName"),
    # As in the real provider, another version is another machine.
    "version": text(computed=True, replace=True),
}

_DESCRIBED: Final = {
    "ami": text(computed=True, replace=True, wire="ImageId"),
    "ebsOptimized": flag(computed=True, replace=True),
    "instanceType": text(computed=True),
    "keyName": text(computed=True, replace=True),
    "privateIp": text(computed=True, replace=True, wire="PrivateIpAddress"),
    "sourceDestCheck": flag(default=True),
    "subnetId": text(computed=True, replace=True),
}

_RUN: Final = {
    **without(_DESCRIBED, "sourceDestCheck"),
    "launchTemplate": obj(_TEMPLATE, replace=True),
    "userDataBase64": text(replace=True, computed=True, wire="UserData"),
    "vpcSecurityGroupIds": texts(computed=True, wire="SecurityGroupIds"),
}

INSTANCE: Final = Resource(
    "aws:ec2/instance:Instance",
    properties={
        **_DESCRIBED,
        **_RUN,
        "associatePublicIpAddress": flag(computed=True, replace=True),
        "availabilityZone": text(computed=True, replace=True),
        "iamInstanceProfile": text(computed=True),
        "placementGroup": text(computed=True, replace=True),
        "tenancy": text(computed=True, replace=True),
        "region": REGION,
        "tags": TAGS,
    },
    outputs={
        "arn": text(),
        "instanceState": text(),
        "monitoring": flag(),
        "primaryNetworkInterfaceId": text(),
        "privateDns": text(),
        "publicDns": text(),
        "publicIp": text(),
    },
    find=_find_instance,
    create=_create_instance,
    settle=_settle_instance,
    read=_read_instance,
    update=_update_instance,
    delete=_delete_instance,
    moves=frozenset({"privateDns", "publicDns", "publicIp"}),
)

TABLE = (PLACEMENT_GROUP, INSTANCE)
