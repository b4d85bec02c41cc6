"""The launch template: an update makes its next version, and an instance names the version it came from."""

from typing import Any, Final, cast

from rehearsal.aws_plugin.aws import Aws
from rehearsal.aws_plugin.resource import Change, Naming, Resource, Values, Wanted
from rehearsal.aws_plugin.schema import (
    REGION,
    TAGS,
    flag,
    flag_text,
    from_wire,
    mapping,
    number,
    obj,
    objects,
    text,
    texts,
    to_wire,
)
from rehearsal.aws_plugin.tables.common import (
    by_mark,
    change_ec2_tags,
    delete_unused,
    described,
    only,
    tag_specification,
    tags_of,
)

_EBS: Final = {
    "deleteOnTermination": flag_text(),
    "encrypted": flag_text(),
    "iops": number(computed=True),
    "kmsKeyId": text(),
    "snapshotId": text(),
    "throughput": number(computed=True),
    "volumeSize": number(computed=True),
    "volumeType": text(computed=True),
}

_NETWORK_INTERFACE: Final = {
    "associatePublicIpAddress": flag_text(),
    "deleteOnTermination": flag_text(),
    "description": text(),
    "deviceIndex": number(),
    "interfaceType": text(),
    "ipv4AddressCount": number(wire="SecondaryPrivateIpAddressCount"),
    "networkCardIndex": number(),
    "networkInterfaceId": text(),
    "privateIpAddress": text(),
    "securityGroups": texts(wire="Groups"),
    "subnetId": text(),
}

_SPOT: Final = {
    "blockDurationMinutes": number(),
    "instanceInterruptionBehavior": text(),
    "maxPrice": text(),
    "spotInstanceType": text(),
    "validUntil": text(computed=True),
}

_RESERVATION_TARGET: Final = {"capacityReservationId": text(), "capacityReservationResourceGroupArn": text()}

DATA: Final = {
    "blockDeviceMappings": objects(
        {"deviceName": text(), "ebs": obj(_EBS), "noDevice": text(), "virtualName": text()}
    ),
    "capacityReservationSpecification": obj(
        {"capacityReservationPreference": text(), "capacityReservationTarget": obj(_RESERVATION_TARGET)}
    ),
    "ebsOptimized": flag_text(),
    "iamInstanceProfile": obj({"arn": text(), "name": text()}),
    "imageId": text(),
    "instanceInitiatedShutdownBehavior": text(),
    "instanceMarketOptions": obj({"marketType": text(), "spotOptions": obj(_SPOT, computed=True)}),
    "instanceType": text(),
    "keyName": text(),
    "metadataOptions": obj(
        {
            "httpEndpoint": text(computed=True),
            "httpProtocolIpv6": text(computed=True),
            "httpPutResponseHopLimit": number(computed=True),
            "httpTokens": text(computed=True),
            "instanceMetadataTags": text(computed=True),
        },
        computed=True,
    ),
    "monitoring": obj({"enabled": flag()}),
    "networkInterfaces": objects(_NETWORK_INTERFACE),
    "placement": obj(
        {
            "affinity": text(),
            "availabilityZone": text(),
            "groupName": text(),
            "hostId": text(),
            "partitionNumber": number(),
            "tenancy": text(),
        }
    ),
    "tagSpecifications": objects({"resourceType": text(), "tags": mapping()}),
    "userData": text(),
    "vpcSecurityGroupIds": texts(wire="SecurityGroupIds"),
}
"""What a version holds: the API's LaunchTemplateData."""


def _data(inputs: Values) -> Any:
    return to_wire(DATA, {name: value for name, value in inputs.items() if name in DATA})


def _find(aws: Aws, wanted: Wanted) -> str | None:
    found = only(aws.ec2.describe_launch_templates(Filters=by_mark(wanted))["LaunchTemplates"])
    return found and cast(str, found["LaunchTemplateId"])


def _described_as(inputs: Values) -> Any:
    return {"VersionDescription": inputs["description"]} if inputs.get("description") else {}


def _create(aws: Aws, wanted: Wanted) -> str:
    made = aws.ec2.create_launch_template(
        LaunchTemplateName=wanted.inputs["name"],
        LaunchTemplateData=_data(wanted.inputs),
        TagSpecifications=tag_specification("launch-template", wanted),
        **_described_as(wanted.inputs),
    )
    return made["LaunchTemplate"]["LaunchTemplateId"]


def _read(aws: Aws, template_id: str, _state: Values) -> dict[str, Any] | None:
    template = described(
        lambda: aws.ec2.describe_launch_templates(LaunchTemplateIds=[template_id])["LaunchTemplates"]
    )
    if template is None:
        return None
    version = aws.ec2.describe_launch_template_versions(LaunchTemplateId=template_id, Versions=["$Latest"])[
        "LaunchTemplateVersions"
    ][0]
    own: list[Any] = [{"Name": "resource-id", "Values": [template_id]}]
    data: Any = version["LaunchTemplateData"]
    # moto puts the template's own tags among those for what it launches.
    launched = [
        spec for spec in data.get("TagSpecifications", []) if spec["ResourceType"] != "launch-template"
    ]
    return {
        **from_wire(DATA, {**data, "TagSpecifications": launched}),
        "name": template["LaunchTemplateName"],
        "description": version.get("VersionDescription"),
        "defaultVersion": template["DefaultVersionNumber"],
        "latestVersion": template["LatestVersionNumber"],
        # moto describes a template with the tags of its creation, whatever came since.
        "tags": tags_of(aws.ec2.describe_tags(Filters=own)["Tags"]),
        "arn": aws.ec2_arn(f"launch-template/{template_id}"),
    }


def _update(aws: Aws, template_id: str, change: Change) -> None:
    new = change.new
    if change.changed & (DATA.keys() | {"description"}):
        made = aws.ec2.create_launch_template_version(
            LaunchTemplateId=template_id, LaunchTemplateData=_data(new), **_described_as(new)
        )
        latest = made["LaunchTemplateVersion"]["VersionNumber"]
    else:
        latest = change.old["latestVersion"]
    default = latest if new["updateDefaultVersion"] else new.get("defaultVersion")
    if default and default != change.old.get("defaultVersion"):
        aws.ec2.modify_launch_template(LaunchTemplateId=template_id, DefaultVersion=str(default))
    change_ec2_tags(aws, template_id, change)


LAUNCH_TEMPLATE: Final = Resource(
    "aws:ec2/launchTemplate:LaunchTemplate",
    properties={
        **DATA,
        "name": text(replace=True),
        "description": text(),
        "defaultVersion": number(computed=True),
        "updateDefaultVersion": flag(local=True, default=False),
        "region": REGION,
        "tags": TAGS,
    },
    outputs={"arn": text(), "latestVersion": number()},
    find=_find,
    create=_create,
    read=_read,
    update=_update,
    delete=lambda aws, template_id, _: delete_unused(
        aws, template_id, lambda: aws.ec2.delete_launch_template(LaunchTemplateId=template_id)
    ),
    naming=Naming("name", longest=128),
    moves=frozenset({"latestVersion", "defaultVersion"}),
)
