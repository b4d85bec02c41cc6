"""One example of each type: how it is made, what may change in place and what not."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Props = dict[str, Any]
Made = Mapping[str, Any]
"""What is there already: ``vpc``, ``subnet`` … → id or name."""

TRUST = (
    '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow",'
    ' "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}]}'
)
READ = (
    '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow",'
    ' "Action": ["s3:GetObject"], "Resource": ["*"]}]}'
)
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ3o1ZkbGAkBZDBFv3wjGEhR3sSrTzGSpi6L9FL2iEbQ drydock@somewhere"
OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBJ1tRy1Kg5JdVRpyzrbLnmwtQzkMsvyJ0v7Rx1V4pQe"
TAGS = {"Project": "drydock", "Stack": "test", "Name": "drydock-test"}


@dataclass(frozen=True)
class Example:
    """A type's token, its inputs, and changes of single properties."""

    token: str
    inputs: Callable[[Made], Props]
    update: Callable[[Made], Props] = lambda _: {}
    """What an update in place can change."""
    replace: Callable[[Made], Props] = lambda _: {}
    """Of these, each forces a replacement."""
    outputs: frozenset[str] = field(default=frozenset())
    """What a program may read of it, beyond its inputs."""
    twice: bool = True
    """Whether two with equal inputs, generated names aside, can be at once."""


def template(made: Made) -> Props:
    """A template as a GPU node has it: two cards, EFA, a placement group, a reservation."""
    common = {"subnetId": made["subnet"], "securityGroups": [made["group"]], "deleteOnTermination": "true"}
    return {
        "imageId": made["image"],
        "instanceType": "p5.48xlarge",
        "keyName": made["key"],
        "updateDefaultVersion": True,
        "blockDeviceMappings": [
            {
                "deviceName": "/dev/sda1",
                "ebs": {
                    "volumeSize": 100,
                    "volumeType": "gp3",
                    "encrypted": "true",
                    "deleteOnTermination": "true",
                },
            },
            {
                "deviceName": "/dev/sdf",
                "ebs": {
                    "volumeSize": 10,
                    "volumeType": "gp3",
                    "iops": 4000,
                    "throughput": 1000,
                    "encrypted": "true",
                },
            },
        ],
        "networkInterfaces": [
            {"networkCardIndex": 0, "deviceIndex": 0, "interfaceType": "efa", **common},
            {"networkCardIndex": 1, "deviceIndex": 1, "interfaceType": "efa-only", **common},
        ],
        "iamInstanceProfile": {"name": made["profile"]},
        "metadataOptions": {"httpTokens": "required", "httpPutResponseHopLimit": 1},
        "placement": {"groupName": made["together"]},
        "capacityReservationSpecification": {
            "capacityReservationTarget": {"capacityReservationId": "cr-0123456789abcdef0"}
        },
        "tagSpecifications": [
            {"resourceType": kind, "tags": TAGS} for kind in ("instance", "volume", "network-interface")
        ],
        "userData": "I2Nsb3VkLWNvbmZpZwo=",
        "tags": TAGS,
    }


EXAMPLES = (
    Example(
        "aws:ec2/vpc:Vpc",
        lambda _: {"cidrBlock": "10.80.0.0/16", "enableDnsHostnames": True, "tags": TAGS},
        lambda _: {"enableDnsHostnames": False, "enableDnsSupport": False, "tags": {"Name": "other"}},
        lambda _: {"cidrBlock": "10.81.0.0/16", "instanceTenancy": "dedicated"},
        frozenset({"arn", "ownerId", "mainRouteTableId", "defaultSecurityGroupId", "defaultNetworkAclId"}),
    ),
    Example(
        "aws:ec2/subnet:Subnet",
        lambda made: {
            "vpcId": made["vpc"],
            "cidrBlock": "10.79.1.0/24",
            "availabilityZone": "us-east-1a",
            "tags": TAGS,
        },
        lambda _: {"mapPublicIpOnLaunch": True, "tags": {"Name": "other"}},
        lambda _: {"cidrBlock": "10.79.2.0/24", "availabilityZone": "us-east-1b", "vpcId": "vpc-other"},
        frozenset({"arn", "ownerId", "availabilityZoneId", "region"}),
        twice=False,
    ),
    Example(
        "aws:ec2/internetGateway:InternetGateway",
        lambda made: {"vpcId": made["empty vpc"], "tags": TAGS},
        lambda _: {"tags": {**TAGS, "Name": "other"}},
        outputs=frozenset({"arn", "ownerId"}),
        twice=False,
    ),
    Example(
        "aws:ec2/routeTable:RouteTable",
        lambda made: {
            "vpcId": made["vpc"],
            "routes": [{"cidrBlock": "0.0.0.0/0", "gatewayId": made["gateway"]}],
            "tags": TAGS,
        },
        lambda made: {"routes": [{"cidrBlock": "10.99.0.0/16", "gatewayId": made["gateway"]}]},
        lambda _: {"vpcId": "vpc-other"},
        frozenset({"arn", "ownerId"}),
    ),
    Example(
        "aws:ec2/routeTableAssociation:RouteTableAssociation",
        lambda made: {"routeTableId": made["routes"], "subnetId": made["subnet"]},
        replace=lambda _: {"subnetId": "subnet-other", "routeTableId": "rtb-other"},
        twice=False,
    ),
    Example(
        "aws:ec2/securityGroup:SecurityGroup",
        lambda made: {"vpcId": made["vpc"], "description": "Between the nodes", "tags": TAGS},
        lambda _: {"tags": {"Name": "other"}, "revokeRulesOnDelete": True},
        lambda _: {"description": "Other", "name": "other", "vpcId": "vpc-other"},
        frozenset({"arn", "ownerId", "name"}),
    ),
    Example(
        "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
        lambda made: {
            "securityGroupId": made["group"],
            "cidrIpv4": "10.9.9.9/32",
            "ipProtocol": "tcp",
            "fromPort": 22,
            "toPort": 22,
            "description": "ssh from 10.9.9.9/32",
            "tags": TAGS,
        },
        lambda _: {"cidrIpv4": "10.9.9.8/32", "toPort": 23, "description": "b", "tags": {"Name": "b"}},
        lambda _: {"securityGroupId": "sg-other"},
        frozenset({"arn", "securityGroupRuleId"}),
        twice=False,
    ),
    Example(
        "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule",
        lambda made: {
            "securityGroupId": made["group"],
            "referencedSecurityGroupId": made["group"],
            "ipProtocol": "-1",
            "description": "Everything between the nodes",
            "tags": TAGS,
        },
        lambda _: {"tags": {"Name": "other"}},
        lambda _: {"referencedSecurityGroupId": "sg-other"},
        frozenset({"arn", "securityGroupRuleId"}),
        twice=False,
    ),
    Example(
        "aws:ec2/keyPair:KeyPair",
        lambda _: {"publicKey": KEY, "tags": TAGS},
        lambda _: {"tags": {"Name": "other"}},
        lambda _: {"publicKey": OTHER_KEY, "keyName": "other"},
        frozenset({"arn", "keyName", "keyPairId", "fingerprint"}),
    ),
    Example(
        "aws:ec2/placementGroup:PlacementGroup",
        lambda _: {"strategy": "cluster", "tags": TAGS},
        # its tags too, but moto's CreateTags knows no placement group
        lambda _: {},
        lambda _: {"strategy": "spread"},
        frozenset({"arn", "name", "placementGroupId"}),
    ),
    Example(
        "aws:ec2/launchTemplate:LaunchTemplate",
        template,
        lambda made: {
            "instanceType": "p5en.48xlarge",
            "networkInterfaces": [{"deviceIndex": 0, "subnetId": made["subnet"]}],
            "description": "the second",
            "tags": {"Name": "other"},
        },
        lambda _: {"name": "other"},
        frozenset({"arn", "name", "latestVersion", "defaultVersion"}),
    ),
    Example(
        "aws:ec2/instance:Instance",
        lambda made: {
            "launchTemplate": {"id": made["template"], "version": "1"},
            "tags": {**TAGS, "Name": "n"},
        },
        lambda _: {
            "instanceType": "p5en.48xlarge",
            "sourceDestCheck": False,
            "tags": {"Name": "other"},
        },
        lambda _: {"launchTemplate": {"id": "lt-other", "version": "2"}, "subnetId": "subnet-other"},
        frozenset(
            {
                "arn",
                "ami",
                "availabilityZone",
                "instanceState",
                "instanceType",
                "keyName",
                "primaryNetworkInterfaceId",
                "privateDns",
                "privateIp",
                "publicDns",
                "publicIp",
                "subnetId",
            }
        ),
    ),
    Example(
        "aws:ec2/eip:Eip",
        lambda _: {"domain": "vpc", "tags": TAGS},
        lambda _: {"tags": {"Name": "other"}},
        outputs=frozenset({"allocationId", "arn", "publicDns", "publicIp"}),
    ),
    Example(
        "aws:ec2/eipAssociation:EipAssociation",
        lambda made: {"allocationId": made["address"], "networkInterfaceId": made["interface"]},
        replace=lambda _: {"allocationId": "eipalloc-other", "networkInterfaceId": "eni-other"},
        outputs=frozenset({"privateIpAddress"}),
        twice=False,
    ),
    Example(
        "aws:iam/role:Role",
        lambda _: {"assumeRolePolicy": TRUST, "tags": TAGS},
        lambda _: {
            "assumeRolePolicy": TRUST.replace("ec2", "ssm"),
            "description": "other",
            "maxSessionDuration": 7200,
            "tags": {"Name": "other"},
        },
        lambda _: {"name": "other", "path": "/other/"},
        frozenset({"arn", "name", "uniqueId", "createDate"}),
    ),
    Example(
        "aws:iam/rolePolicy:RolePolicy",
        lambda made: {"role": made["role"], "policy": READ},
        lambda _: {"policy": READ.replace("GetObject", "PutObject")},
        lambda _: {"role": "other", "name": "other"},
        frozenset({"name"}),
        twice=False,
    ),
    Example(
        "aws:iam/instanceProfile:InstanceProfile",
        lambda made: {"role": made["role"], "tags": TAGS},
        lambda made: {"role": made["other role"], "tags": {"Name": "other"}},
        lambda _: {"name": "other", "path": "/other/"},
        frozenset({"arn", "name", "uniqueId"}),
    ),
    Example(
        "aws:s3/bucket:Bucket",
        lambda _: {"forceDestroy": True, "tags": TAGS},
        lambda _: {"forceDestroy": False, "tags": {"Name": "other"}},
        lambda _: {"bucket": "drydock-other"},
        frozenset({"arn", "bucket", "bucketDomainName", "region"}),
    ),
    Example(
        "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
        lambda made: {
            "bucket": made["bucket"],
            "rules": [{"applyServerSideEncryptionByDefault": {"sseAlgorithm": "AES256"}}],
        },
        lambda _: {
            "rules": [
                {
                    "applyServerSideEncryptionByDefault": {"sseAlgorithm": "aws:kms"},
                    "bucketKeyEnabled": True,
                }
            ]
        },
        lambda _: {"bucket": "other"},
        twice=False,
    ),
    Example(
        "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
        lambda made: {
            "bucket": made["bucket"],
            "blockPublicAcls": True,
            "blockPublicPolicy": True,
            "ignorePublicAcls": True,
            "restrictPublicBuckets": True,
        },
        lambda _: {"restrictPublicBuckets": False},
        lambda _: {"bucket": "other"},
        twice=False,
    ),
)
"""In this order each needs only what those before it made."""
