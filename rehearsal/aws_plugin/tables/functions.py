"""The functions that a program may call."""

import re
from typing import Any, Final

from botocore.exceptions import ClientError

from rehearsal.aws_plugin.aws import Aws
from rehearsal.aws_plugin.problems import Refused, is_gone
from rehearsal.aws_plugin.resource import Function, Values
from rehearsal.aws_plugin.schema import REGION, flag, from_wire, objects, text, texts
from rehearsal.aws_plugin.tables.common import tags_of
from rehearsal.aws_plugin.values import Secret

_FILTERS: Final = objects({"name": text(required=True), "values": texts(required=True)})


def _filters(given: Values) -> list[Any]:
    return [{"Name": one["name"], "Values": one["values"]} for one in given.get("filters", [])]


_IMAGE: Final = {
    "architecture": text(),
    "creationDate": text(),
    "description": text(),
    "enaSupport": flag(),
    "hypervisor": text(),
    "imageId": text(),
    "imageLocation": text(),
    "imageType": text(),
    "name": text(),
    "ownerId": text(),
    "platformDetails": text(),
    "public": flag(),
    "rootDeviceName": text(),
    "rootDeviceType": text(),
    "state": text(),
    "virtualizationType": text(),
}


def _get_ami(aws: Aws, given: Values) -> dict[str, Any]:
    owners: Any = {"Owners": given["owners"]} if given.get("owners") else {}
    images = aws.ec2.describe_images(Filters=_filters(given), **owners)["Images"]
    if pattern := given.get("nameRegex"):
        images = [image for image in images if re.search(pattern, image.get("Name", ""))]
    if not images:
        raise Refused("no image matches these filters, owners and nameRegex\n    → loosen one of them")
    if len(images) > 1 and not given.get("mostRecent"):
        raise Refused(f"{len(images)} images match\n    → name more filters, or set mostRecent: true")
    image: Any = max(images, key=lambda it: it.get("CreationDate", ""))
    return {
        **from_wire(_IMAGE, image),
        "id": image["ImageId"],
        "arn": f"arn:aws:ec2:{aws.region}::image/{image['ImageId']}",
        "tags": tags_of(image.get("Tags", [])),
        "blockDeviceMappings": [],
        "productCodes": [],
    }


def _get_parameter(aws: Aws, given: Values) -> dict[str, Any]:
    name = given["name"]
    try:
        found: Any = aws.ssm.get_parameter(Name=name, WithDecryption=given.get("withDecryption", True))[
            "Parameter"
        ]
    except ClientError as error:
        if is_gone(error) or error.response["Error"].get("Code") == "ParameterNotFound":
            raise Refused(
                f"{aws.region} has no SSM parameter {name}\n    → check the name and the region"
            ) from None
        raise
    return {
        "id": name,
        "arn": found.get("ARN"),
        "type": found["Type"],
        "version": found["Version"],
        # The real provider hides every value, and shows those of no secret type a second time.
        "value": Secret(found["Value"]),
        "insecureValue": None if found["Type"] == "SecureString" else found["Value"],
    }


def _offerings(aws: Aws, given: Values) -> list[Any]:
    location: Any = given.get("locationType", "region")
    pages = aws.ec2.get_paginator("describe_instance_type_offerings").paginate(
        LocationType=location, Filters=_filters(given)
    )
    return [offering for page in pages for offering in page["InstanceTypeOfferings"]]


def _get_offering(aws: Aws, given: Values) -> dict[str, Any]:
    found = {offering["InstanceType"]: offering for offering in _offerings(aws, given)}
    preferred = [name for name in given.get("preferredInstanceTypes", []) if name in found]
    if not found:
        raise Refused(
            "no instance type is offered under these filters\n    → try another type, zone or region"
        )
    if len(found) > 1 and not preferred:
        raise Refused(
            f"{len(found)} instance types match\n    → name preferredInstanceTypes, or more filters"
        )
    offering = found[preferred[0]] if preferred else next(iter(found.values()))
    return {
        "id": offering["InstanceType"],
        "instanceType": offering["InstanceType"],
        "location": offering["Location"],
        "locationType": offering["LocationType"],
    }


def _get_offerings(aws: Aws, given: Values) -> dict[str, Any]:
    found = _offerings(aws, given)
    return {
        "id": aws.region,
        "instanceTypes": [offering["InstanceType"] for offering in found],
        "locations": [offering["Location"] for offering in found],
        "locationTypes": [offering["LocationType"] for offering in found],
    }


def _get_caller(aws: Aws, _given: Values) -> dict[str, Any]:
    me = aws.sts.get_caller_identity()
    return {"id": me["Account"], "accountId": me["Account"], "arn": me["Arn"], "userId": me["UserId"]}


_OFFERING_ARGUMENTS: Final = {"filters": _FILTERS, "locationType": text(), "region": REGION}

TABLE = (
    Function(
        "aws:ec2/getAmi:getAmi",
        arguments={
            "filters": _FILTERS,
            "mostRecent": flag(),
            "nameRegex": text(),
            "owners": texts(),
            "region": REGION,
        },
        call=_get_ami,
    ),
    Function(
        "aws:ssm/getParameter:getParameter",
        arguments={"name": text(required=True), "withDecryption": flag(), "region": REGION},
        call=_get_parameter,
    ),
    Function(
        "aws:ec2/getInstanceTypeOffering:getInstanceTypeOffering",
        arguments={**_OFFERING_ARGUMENTS, "preferredInstanceTypes": texts()},
        call=_get_offering,
    ),
    Function(
        "aws:ec2/getInstanceTypeOfferings:getInstanceTypeOfferings",
        arguments=_OFFERING_ARGUMENTS,
        call=_get_offerings,
    ),
    Function("aws:index/getCallerIdentity:getCallerIdentity", arguments={}, call=_get_caller),
)
