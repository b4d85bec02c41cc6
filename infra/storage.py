"""The bucket that holds the weights, and the nodes' right to it."""

import json
from dataclasses import dataclass

import pulumi
from pulumi_aws import iam, s3

from infra.tags import Tags


@dataclass(frozen=True)
class StorageArgs:
    """``nodes_fill_bucket``: whether the first node brings the weights from the hub, and so may write."""

    nodes_fill_bucket: bool
    tags: Tags


class Storage(pulumi.ComponentResource):
    """An encrypted, private bucket, and an instance profile that may use this bucket and nothing else."""

    bucket: pulumi.Output[str]
    instance_profile: pulumi.Output[str]

    def __init__(self, name: str, args: StorageArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("drydock:cluster:Storage", name, None, opts)
        inside = pulumi.ResourceOptions(parent=self)
        bucket = s3.Bucket(
            f"{name}-weights", force_destroy=True, tags=args.tags.named("weights"), opts=inside
        )
        s3.BucketServerSideEncryptionConfiguration(
            f"{name}-encryption",
            bucket=bucket.bucket,
            rules=[
                s3.BucketServerSideEncryptionConfigurationRuleArgs(
                    apply_server_side_encryption_by_default=(
                        s3.BucketServerSideEncryptionConfigurationRuleApplyServerSideEncryptionByDefaultArgs(
                            sse_algorithm="AES256"
                        )
                    )
                )
            ],
            opts=inside,
        )
        s3.BucketPublicAccessBlock(
            f"{name}-private",
            bucket=bucket.bucket,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=inside,
        )
        role = iam.Role(
            f"{name}-node", assume_role_policy=ASSUMED_BY_EC2, tags=args.tags.named("node"), opts=inside
        )
        iam.RolePolicy(
            f"{name}-node",
            role=role.name,
            policy=bucket.arn.apply(lambda arn: bucket_policy(arn, writable=args.nodes_fill_bucket)),
            opts=inside,
        )
        profile = iam.InstanceProfile(
            f"{name}-node", role=role.name, tags=args.tags.named("node"), opts=inside
        )
        self.bucket, self.instance_profile = bucket.bucket, profile.name
        self.register_outputs({"bucket": bucket.bucket, "instanceProfile": profile.name})


ASSUMED_BY_EC2 = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
)


def bucket_policy(arn: str, *, writable: bool) -> str:
    """An IAM policy that lists and reads one bucket, and writes to it where asked."""
    actions = ["s3:GetObject"] + (["s3:PutObject", "s3:AbortMultipartUpload"] if writable else [])
    return json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": [arn]},
                {"Effect": "Allow", "Action": actions, "Resource": [f"{arn}/*"]},
            ],
        }
    )
