"""EC2 as the cloud serves it, asked through boto3."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.rehearsal.cloud.conftest import Account

listed_only = pytest.mark.parametrize("account", [False], indirect=True, ids=["listed"])


def code_of(call: Any, **arguments: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return str(caught.value.response["Error"]["Code"])


def state_of(account: Account, instance_id: str) -> str:
    described = account.ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]
    return str(described["State"]["Name"])


def template(account: Account, **data: Any) -> dict[str, str]:
    made = account.ec2.create_launch_template(LaunchTemplateName="t", LaunchTemplateData=data)
    return {"LaunchTemplateId": made["LaunchTemplate"]["LaunchTemplateId"]}


# --- launching


def test_a_token_seen_before_gives_the_same_instances(account: Account) -> None:
    first = account.run(2, ClientToken="once")
    again = account.run(2, ClientToken="once")
    other = account.run(2, ClientToken="twice")
    assert [i["InstanceId"] for i in first] == [i["InstanceId"] for i in again]
    assert not {i["InstanceId"] for i in first} & {i["InstanceId"] for i in other}


def test_a_repeated_token_with_a_profile_is_no_error(account: Account) -> None:
    account.iam.create_instance_profile(InstanceProfileName="p")
    for _ in range(2):
        account.run(2, ClientToken="once", IamInstanceProfile={"Name": "p"})
    associations = account.ec2.describe_iam_instance_profile_associations()["IamInstanceProfileAssociations"]
    assert len(associations) == 2  # one for each instance


def test_addresses_are_the_subnets_and_never_awss_own(account: Account) -> None:
    assert [i["PrivateIpAddress"] for i in account.run(3)] == ["10.77.1.4", "10.77.1.5", "10.77.1.6"]


def test_an_address_comes_back_after_termination(account: Account) -> None:
    first, _ = account.run(2)
    account.ec2.terminate_instances(InstanceIds=[first["InstanceId"]])
    account.instance(first["InstanceId"]).terminate()
    assert account.run()[0]["PrivateIpAddress"] == "10.77.1.4"


def test_a_full_subnet_says_so(account: Account) -> None:
    small = account.ec2.create_subnet(VpcId=account.vpc, CidrBlock="10.77.9.0/28")["Subnet"]["SubnetId"]
    account.run(11, SubnetId=small)
    assert code_of(account.run, SubnetId=small) == "InsufficientFreeAddressesInSubnet"


def test_everything_of_the_launch_template_counts(account: Account) -> None:
    account.iam.create_instance_profile(InstanceProfileName="p")
    account.ec2.create_placement_group(GroupName="together", Strategy="cluster")
    group = account.ec2.create_security_group(GroupName="g", Description="g", VpcId=account.vpc)["GroupId"]
    made = template(
        account,
        ImageId=account.image,
        InstanceType="p5.48xlarge",
        UserData="aGVsbG8=",
        IamInstanceProfile={"Name": "p"},
        Placement={"GroupName": "together"},
        MetadataOptions={"HttpTokens": "required"},
        InstanceMarketOptions={"MarketType": "capacity-block"},
        CapacityReservationSpecification={"CapacityReservationTarget": {"CapacityReservationId": "cr-1"}},
        BlockDeviceMappings=[
            {"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": 20, "VolumeType": "gp3", "Encrypted": True}},
            {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 5, "VolumeType": "gp3", "Throughput": 500}},
        ],
        NetworkInterfaces=[
            {
                "NetworkCardIndex": card,
                "DeviceIndex": min(card, 1),
                "InterfaceType": "efa-only" if card else "efa",
                "SubnetId": account.subnet,
                "Groups": [group],
            }
            for card in range(32)
        ],
        TagSpecifications=[
            {"ResourceType": kind, "Tags": [{"Key": "Name", "Value": "node"}]}
            for kind in ("instance", "volume", "network-interface")
        ],
    )
    launched = account.run(LaunchTemplate=made, ImageId=None, InstanceType=None, SubnetId=None)[0]
    found = account.ec2.describe_instances(InstanceIds=[launched["InstanceId"]])["Reservations"][0][
        "Instances"
    ][0]

    assert found["InstanceType"] == "p5.48xlarge"
    assert found["IamInstanceProfile"]["Arn"].endswith("/p")
    assert found["Placement"]["GroupName"] == "together"
    assert found["MetadataOptions"]["HttpTokens"] == "required"
    assert found["InstanceLifecycle"] == "capacity-block"
    assert found["CapacityReservationId"] == "cr-1"
    assert found["SubnetId"] == account.subnet
    assert [g["GroupId"] for g in found["SecurityGroups"]] == [group]
    data = account.ec2.describe_instance_attribute(InstanceId=found["InstanceId"], Attribute="userData")
    assert data["UserData"]["Value"] == "aGVsbG8="

    interfaces = account.ec2.describe_network_interfaces()["NetworkInterfaces"]
    cards = sorted((i["Attachment"]["NetworkCardIndex"], i["Attachment"]["DeviceIndex"]) for i in interfaces)
    assert cards == [(0, 0), *((card, 1) for card in range(1, 32))]
    assert len({i["PrivateIpAddress"] for i in interfaces}) == 32
    assert {tag["Value"] for i in interfaces for tag in i["TagSet"]} == {"node"}

    volumes = {v["Attachments"][0]["Device"]: v for v in account.ec2.describe_volumes()["Volumes"]}
    assert {path: v["Size"] for path, v in volumes.items()} == {"/dev/sda1": 20, "/dev/sdf": 5}
    assert volumes["/dev/sda1"]["Encrypted"]
    assert volumes["/dev/sdf"]["Throughput"] == 500
    assert [v["Tags"] for v in volumes.values()] == [[{"Key": "Name", "Value": "node"}]] * 2


def test_the_request_wins_over_its_template(account: Account) -> None:
    made = template(account, ImageId=account.image, InstanceType="p5.48xlarge")
    assert account.run(LaunchTemplate=made, InstanceType="m7i.xlarge")[0]["InstanceType"] == "m7i.xlarge"


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"ImageId": "ami-0123456789abcdef0"}, "InvalidAMIID.NotFound"),
        ({"InstanceType": "p99.metal"}, "InvalidInstanceType.NotFound"),
        ({"KeyName": "nobody"}, "InvalidKeyPair.NotFound"),
        ({"Placement": {"GroupName": "nowhere"}}, "InvalidPlacementGroup.Unknown"),
    ],
)
def test_what_does_not_exist_is_refused(account: Account, wrong: dict[str, Any], code: str) -> None:
    assert code_of(account.run, **wrong) == code
    assert account.ec2.describe_instances()["Reservations"] == []


def test_a_range_that_the_machine_needs_is_refused_at_once(account: Account) -> None:
    account.host.used["192.168.0.0/16"] = "it is the office"
    assert code_of(account.ec2.create_vpc, CidrBlock="192.168.0.0/16") == "InvalidVpc.Range"
    account.host.used["10.77.1.0/24"] = "it is another VPC's"
    assert code_of(account.run) == "InvalidSubnet.Conflict"


# --- states


def test_states_wait_for_the_machine(account: Account) -> None:
    instance_id = account.run()[0]["InstanceId"]
    assert state_of(account, instance_id) == "pending"
    account.ec2.stop_instances(InstanceIds=[instance_id])
    assert state_of(account, instance_id) == "stopping"
    assert code_of(account.ec2.start_instances, InstanceIds=[instance_id]) == "IncorrectInstanceState"
    account.instance(instance_id).stop()
    account.ec2.start_instances(InstanceIds=[instance_id])
    assert state_of(account, instance_id) == "pending"
    account.ec2.terminate_instances(InstanceIds=[instance_id])
    assert state_of(account, instance_id) == "shutting-down"


@listed_only
def test_without_machines_states_are_immediate(account: Account) -> None:
    instance_id = account.run()[0]["InstanceId"]
    assert state_of(account, instance_id) == "running"
    account.ec2.terminate_instances(InstanceIds=[instance_id])
    assert state_of(account, instance_id) == "terminated"


@listed_only
def test_termination_takes_interfaces_and_volumes_that_ask_for_it(account: Account) -> None:
    kept, gone = (
        {"DeviceName": path, "Ebs": {"VolumeSize": 1, "DeleteOnTermination": delete}}
        for path, delete in (("/dev/sdf", False), ("/dev/sdg", True))
    )
    instance_id = account.run(BlockDeviceMappings=[kept, gone])[0]["InstanceId"]
    assert len(account.ec2.describe_volumes()["Volumes"]) == 3
    account.ec2.terminate_instances(InstanceIds=[instance_id])
    assert [v["Attachments"] for v in account.ec2.describe_volumes()["Volumes"]] == [[]]
    assert account.ec2.describe_network_interfaces()["NetworkInterfaces"] == []


def test_console_output_is_the_newest_64_kib(account: Account) -> None:
    instance_id = account.run()[0]["InstanceId"]
    account.host.consoles[instance_id] = b"old" + b"x" * 65533 + b"new"
    output = account.ec2.get_console_output(InstanceId=instance_id)["Output"]
    assert len(output) == 65536
    assert output.endswith("new")
    assert "old" not in output


# --- what is in use


def test_what_is_in_use_cannot_be_deleted(account: Account) -> None:
    group, other = (
        account.ec2.create_security_group(GroupName=name, Description=name, VpcId=account.vpc)["GroupId"]
        for name in ("group", "other")
    )
    peers = [{"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": other}]}]
    account.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=peers)
    account.ec2.create_placement_group(GroupName="together", Strategy="cluster")
    instance_id = account.run(SecurityGroupIds=[group], Placement={"GroupName": "together"})[0]["InstanceId"]
    ec2 = account.ec2
    assert code_of(ec2.delete_security_group, GroupId=group) == "DependencyViolation"
    assert code_of(ec2.delete_security_group, GroupId=other) == "DependencyViolation"
    assert code_of(ec2.delete_subnet, SubnetId=account.subnet) == "DependencyViolation"
    assert code_of(ec2.delete_placement_group, GroupName="together") == "InvalidPlacementGroup.InUse"

    account.instance(instance_id).terminate()
    ec2.delete_placement_group(GroupName="together")
    ec2.delete_subnet(SubnetId=account.subnet)
    assert code_of(ec2.delete_vpc, VpcId=account.vpc) == "DependencyViolation"
    ec2.delete_security_group(GroupId=group)
    ec2.delete_security_group(GroupId=other)
    ec2.delete_vpc(VpcId=account.vpc)


def test_a_group_taken_from_an_instance_is_off_its_interface(account: Account) -> None:
    before, after = (
        account.ec2.create_security_group(GroupName=name, Description=name, VpcId=account.vpc)["GroupId"]
        for name in ("before", "after")
    )
    instance_id = account.run(SecurityGroupIds=[before])[0]["InstanceId"]
    account.ec2.modify_instance_attribute(InstanceId=instance_id, Groups=[after])
    assert {group.id for group in account.instance(instance_id).nics[0].group_set} == {after}


# --- placement groups


def test_placement_groups(account: Account) -> None:
    tags = [{"ResourceType": "placement-group", "Tags": [{"Key": "Project", "Value": "drydock"}]}]
    made = account.ec2.create_placement_group(GroupName="a", Strategy="cluster", TagSpecifications=tags)
    assert made["PlacementGroup"]["GroupName"] == "a"
    assert code_of(account.ec2.create_placement_group, GroupName="a") == "InvalidPlacementGroup.Duplicate"
    account.ec2.create_placement_group(GroupName="b", Strategy="spread")

    def names(**arguments: Any) -> list[str]:
        return [g["GroupName"] for g in account.ec2.describe_placement_groups(**arguments)["PlacementGroups"]]

    assert names() == ["a", "b"]
    assert names(GroupNames=["b"]) == ["b"]
    assert names(GroupIds=[made["PlacementGroup"]["GroupId"]]) == ["a"]
    assert names(Filters=[{"Name": "strategy", "Values": ["spread"]}]) == ["b"]
    assert names(Filters=[{"Name": "tag:Project", "Values": ["drydock"]}]) == ["a"]
    assert code_of(account.ec2.describe_placement_groups, GroupNames=["c"]) == "InvalidPlacementGroup.Unknown"
    account.ec2.delete_placement_group(GroupName="a")
    assert names() == ["b"]
    assert code_of(account.ec2.delete_placement_group, GroupName="a") == "InvalidPlacementGroup.Unknown"


# --- seeds


def test_a_region_has_images_and_the_parameters_that_name_them(account: Account) -> None:
    gpu = "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-22.04/latest/ami-id"
    for parameter, owner in (("/drydock/rehearsal/ami-id", "123456789012"), (gpu, "898082745236")):
        image_id = account.ssm.get_parameter(Name=parameter)["Parameter"]["Value"]
        image = account.ec2.describe_images(ImageIds=[image_id])["Images"][0]
        assert (image["OwnerId"], image["State"], image["RootDeviceName"]) == (
            owner,
            "available",
            "/dev/sda1",
        )
