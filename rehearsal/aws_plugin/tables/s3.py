"""The bucket of the weights, its encryption and its door."""

from typing import Any, Final

from botocore.exceptions import ClientError

from rehearsal.aws_plugin.aws import Aws
from rehearsal.aws_plugin.problems import is_gone
from rehearsal.aws_plugin.resource import Change, Naming, Resource, Values, Wanted
from rehearsal.aws_plugin.schema import REGION, TAGS, flag, from_wire, obj, objects, text, to_wire
from rehearsal.aws_plugin.tables.common import MARK, as_list, delete_unused, marked, tags_of

_US_EAST_1: Final = "us-east-1"

# --- aws.s3.Bucket


def _bucket_tags(aws: Aws, bucket: str) -> list[Any]:
    try:
        return list(aws.s3.get_bucket_tagging(Bucket=bucket)["TagSet"])
    except ClientError as error:
        if error.response["Error"].get("Code") == "NoSuchTagSet":
            return []
        raise


def _find_bucket(aws: Aws, wanted: Wanted) -> str | None:
    named = wanted.inputs["bucket"]
    for bucket in aws.s3.list_buckets()["Buckets"]:
        name = bucket["Name"]
        if wanted.name_is_generated and not name.startswith(f"{wanted.logical_name.lower()}-"):
            continue
        if not wanted.name_is_generated and name != named:
            continue
        tags = _bucket_tags(aws, name)
        # Tags are a second call: an empty bucket of the very name without any is a create cut short.
        cut_short = not tags and name == named and not _holds_objects(aws, name)
        if cut_short or {"Key": MARK, "Value": wanted.marker} in tags:
            return name
    return None


def _holds_objects(aws: Aws, bucket: str) -> bool:
    return bool(aws.s3.list_objects_v2(Bucket=bucket, MaxKeys=1).get("Contents"))


def _create_bucket(aws: Aws, wanted: Wanted) -> str:
    name = wanted.inputs["bucket"]
    # us-east-1 is the place that must not be named.
    placed: Any = (
        {} if aws.region == _US_EAST_1 else {"CreateBucketConfiguration": {"LocationConstraint": aws.region}}
    )
    aws.s3.create_bucket(Bucket=name, **placed)
    aws.s3.put_bucket_tagging(Bucket=name, Tagging={"TagSet": marked(wanted)})
    return str(name)


def _read_bucket(aws: Aws, name: str, _state: Values) -> dict[str, Any] | None:
    try:
        aws.s3.head_bucket(Bucket=name)
    except ClientError as error:
        if is_gone(error):
            return None
        raise
    place = aws.s3.get_bucket_location(Bucket=name).get("LocationConstraint") or _US_EAST_1
    return {
        "bucket": name,
        "tags": tags_of(_bucket_tags(aws, name)),
        "region": place,
        "bucketRegion": place,
        "arn": f"arn:aws:s3:::{name}",
        "bucketDomainName": f"{name}.s3.amazonaws.com",
        "bucketRegionalDomainName": f"{name}.s3.{place}.amazonaws.com",
    }


def _update_bucket(aws: Aws, name: str, change: Change) -> None:
    if "tags" in change.changed:
        mark = [tag for tag in _bucket_tags(aws, name) if tag["Key"] == MARK]
        aws.s3.put_bucket_tagging(
            Bucket=name, Tagging={"TagSet": [*as_list(change.new.get("tags", {})), *mark]}
        )


def _empty(aws: Aws, bucket: str) -> None:
    """Deletes every object in every version; S3 takes a thousand a call, which is a page."""
    for page in aws.s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        doomed: list[Any] = [
            {"Key": version["Key"], "VersionId": version["VersionId"]}
            for version in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        ]
        if doomed:
            aws.s3.delete_objects(Bucket=bucket, Delete={"Objects": doomed, "Quiet": True})


def _delete_bucket(aws: Aws, name: str, state: Values) -> None:
    try:
        if state.get("forceDestroy"):
            _empty(aws, name)
    except ClientError as error:
        if is_gone(error):
            return
        raise
    delete_unused(aws, f"bucket {name}", lambda: aws.s3.delete_bucket(Bucket=name))


BUCKET: Final = Resource(
    "aws:s3/bucket:Bucket",
    properties={
        "bucket": text(replace=True),
        "forceDestroy": flag(local=True, default=False),
        "region": REGION,
        "tags": TAGS,
    },
    outputs={
        "arn": text(),
        "bucketDomainName": text(),
        "bucketRegion": text(),
        "bucketRegionalDomainName": text(),
    },
    find=_find_bucket,
    create=_create_bucket,
    read=_read_bucket,
    update=_update_bucket,
    delete=_delete_bucket,
    naming=Naming("bucket", longest=63, lower_case=True),
)

# --- aws.s3.BucketServerSideEncryptionConfiguration: one per bucket, its id is the bucket


def _nothing_left(_aws: Aws, _wanted: Wanted) -> str | None:
    return None  # setting it again is the same call with the same outcome


_RULES: Final = {
    "applyServerSideEncryptionByDefault": obj(
        {
            "sseAlgorithm": text(required=True, wire="SSEAlgorithm"),
            "kmsMasterKeyId": text(wire="KMSMasterKeyID"),
        }
    ),
    "bucketKeyEnabled": flag(default=False),
}


def _put_encryption(aws: Aws, bucket: str, inputs: Values) -> None:
    rules: Any = [to_wire(_RULES, rule) for rule in inputs["rules"]]
    aws.s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": rules})


def _create_encryption(aws: Aws, wanted: Wanted) -> str:
    _put_encryption(aws, wanted.inputs["bucket"], wanted.inputs)
    return str(wanted.inputs["bucket"])


def _read_encryption(aws: Aws, bucket: str, _state: Values) -> dict[str, Any] | None:
    try:
        answer = aws.s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]
    except ClientError as error:
        if is_gone(error):
            return None
        raise
    return {"bucket": bucket, "rules": [from_wire(_RULES, rule) for rule in answer["Rules"]]}


ENCRYPTION: Final = Resource(
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
    properties={
        "bucket": text(required=True, replace=True),
        "rules": objects(_RULES, required=True),
        "region": REGION,
    },
    outputs={},
    find=_nothing_left,
    create=_create_encryption,
    read=_read_encryption,
    update=lambda aws, bucket, change: _put_encryption(aws, bucket, change.new),
    delete=lambda aws, bucket, _: delete_unused(
        aws, f"encryption of {bucket}", lambda: aws.s3.delete_bucket_encryption(Bucket=bucket)
    ),
    delete_first=True,
)

# --- aws.s3.BucketPublicAccessBlock: likewise

_BLOCKS: Final = {
    "blockPublicAcls": flag(default=False),
    "blockPublicPolicy": flag(default=False),
    "ignorePublicAcls": flag(default=False),
    "restrictPublicBuckets": flag(default=False),
}


def _put_block(aws: Aws, bucket: str, inputs: Values) -> None:
    blocks: Any = to_wire(_BLOCKS, inputs)
    aws.s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=blocks)


def _create_block(aws: Aws, wanted: Wanted) -> str:
    _put_block(aws, wanted.inputs["bucket"], wanted.inputs)
    return str(wanted.inputs["bucket"])


def _read_block(aws: Aws, bucket: str, _state: Values) -> dict[str, Any] | None:
    try:
        answer = aws.s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    except ClientError as error:
        if is_gone(error):
            return None
        raise
    return {"bucket": bucket, **from_wire(_BLOCKS, answer)}


PUBLIC_ACCESS_BLOCK: Final = Resource(
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
    properties={"bucket": text(required=True, replace=True), **_BLOCKS, "region": REGION},
    outputs={},
    find=_nothing_left,
    create=_create_block,
    read=_read_block,
    update=lambda aws, bucket, change: _put_block(aws, bucket, change.new),
    delete=lambda aws, bucket, _: delete_unused(
        aws, f"public access block of {bucket}", lambda: aws.s3.delete_public_access_block(Bucket=bucket)
    ),
    delete_first=True,
)

TABLE = (BUCKET, ENCRYPTION, PUBLIC_ACCESS_BLOCK)
