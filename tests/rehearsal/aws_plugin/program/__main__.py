"""One of every type that the stand-in serves, built on one another as a cluster's are."""

import json

import pulumi
import pulumi_aws as aws

instance_type = pulumi.Config().get("instanceType") or "p5.48xlarge"


def tags(name: str) -> dict[str, str]:
    return {"Project": "drydock", "Stack": "standin", "Name": name}


image = aws.ssm.get_parameter(name="/drydock/rehearsal/ami-id").insecure_value
ami = aws.ec2.get_ami(
    filters=[aws.ec2.GetAmiFilterArgs(name="image-id", values=[image])], most_recent=True, owners=["self"]
)
vpc = aws.ec2.Vpc("vpc", cidr_block="10.77.0.0/16", enable_dns_hostnames=True, tags=tags("vpc"))
subnet = aws.ec2.Subnet(
    "subnet", vpc_id=vpc.id, cidr_block="10.77.1.0/24", availability_zone="us-east-1a", tags=tags("subnet")
)
gateway = aws.ec2.InternetGateway("gateway", vpc_id=vpc.id, tags=tags("gateway"))
routes = aws.ec2.RouteTable(
    "routes",
    vpc_id=vpc.id,
    routes=[aws.ec2.RouteTableRouteArgs(cidr_block="0.0.0.0/0", gateway_id=gateway.id)],
    tags=tags("routes"),
)
aws.ec2.RouteTableAssociation("routes", subnet_id=subnet.id, route_table_id=routes.id)
group = aws.ec2.SecurityGroup("group", vpc_id=vpc.id, description="Between the nodes", tags=tags("group"))
aws.vpc.SecurityGroupIngressRule(
    "from-group",
    security_group_id=group.id,
    referenced_security_group_id=group.id,
    ip_protocol="-1",
    description="Everything between the nodes",
    tags=tags("from-group"),
)
aws.vpc.SecurityGroupEgressRule(
    "to-world", security_group_id=group.id, cidr_ipv4="0.0.0.0/0", ip_protocol="-1", tags=tags("to-world")
)
key = aws.ec2.KeyPair(
    "key",
    public_key="ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ3o1ZkbGAkBZDBFv3wjGEhR3sSrTzGSpi6L9FL2iEbQ a@b",
    tags=tags("key"),
)
bucket = aws.s3.Bucket("weights", force_destroy=True, tags=tags("weights"))
aws.s3.BucketServerSideEncryptionConfiguration(
    "encryption",
    bucket=bucket.bucket,
    rules=[{"apply_server_side_encryption_by_default": {"sse_algorithm": "AES256"}}],
)
aws.s3.BucketPublicAccessBlock("private", bucket=bucket.bucket, block_public_acls=True)
role = aws.iam.Role(
    "role",
    assume_role_policy=json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"Service": "ec2.amazonaws.com"},
                    "Action": "sts:AssumeRole",
                }
            ],
        }
    ),
    tags=tags("role"),
)
aws.iam.RolePolicy(
    "policy",
    role=role.name,
    policy=bucket.arn.apply(
        lambda arn: json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": [{"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": [f"{arn}/*"]}],
            }
        )
    ),
)
profile = aws.iam.InstanceProfile("profile", role=role.name, tags=tags("profile"))
together = aws.ec2.PlacementGroup("together", strategy="cluster", tags=tags("together"))
template = aws.ec2.LaunchTemplate(
    "template",
    image_id=ami.id,
    instance_type=instance_type,
    key_name=key.key_name,
    update_default_version=True,
    block_device_mappings=[
        {
            "device_name": "/dev/sda1",
            "ebs": {"volume_size": 20, "encrypted": "true", "delete_on_termination": "true"},
        }
    ],
    network_interfaces=[
        {
            "network_card_index": card,
            "device_index": min(card, 1),
            "interface_type": "efa" if card == 0 else "efa-only",
            "subnet_id": subnet.id,
            "security_groups": [group.id],
            "delete_on_termination": "true",
        }
        for card in range(2)
    ],
    iam_instance_profile={"name": profile.name},
    metadata_options={"http_tokens": "required"},
    placement={"group_name": together.name},
    tag_specifications=[{"resource_type": "volume", "tags": tags("node")}],
    tags=tags("template"),
)
nodes = [
    aws.ec2.Instance(
        f"node-{rank}",
        launch_template={
            "id": template.id,
            "version": template.latest_version.apply(lambda version: str(int(version))),
        },
        tags=tags(f"node-{rank}"),
    )
    for rank in range(3)
]
address = aws.ec2.Eip("address", domain="vpc", tags=tags("address"))
aws.ec2.EipAssociation(
    "address",
    allocation_id=address.allocation_id,
    network_interface_id=nodes[0].primary_network_interface_id,
)
pulumi.export("addresses", [node.private_ip for node in nodes])
pulumi.export("publicAddress", address.public_ip)
pulumi.export("account", aws.get_caller_identity().account_id)
