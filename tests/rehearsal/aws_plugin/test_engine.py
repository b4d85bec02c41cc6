"""The engine's own promises: names, tags, refusals, waiting, functions."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from rehearsal.aws_plugin.aws import Aws, Clients, NotYet, Settings
from rehearsal.aws_plugin.engine import Engine
from rehearsal.aws_plugin.problems import HalfMade, Refused
from rehearsal.aws_plugin.values import Secret
from tests.rehearsal.aws_plugin.conftest import Cloud, new_engine

VPC = "urn:pulumi:test::drydock::aws:ec2/vpc:Vpc::net"
GROUP = "urn:pulumi:test::drydock::aws:ec2/securityGroup:SecurityGroup::group"
BUCKET = "urn:pulumi:test::drydock::aws:s3/bucket:Bucket::Weights"
GATEWAY = "urn:pulumi:test::drydock::aws:ec2/internetGateway:InternetGateway::gateway"
PROFILE = "urn:pulumi:test::drydock::aws:iam/instanceProfile:InstanceProfile::node"


def test_a_generated_name_follows_the_seed_and_is_kept(engine: Engine) -> None:
    first, _ = engine.check(GROUP, {}, {}, b"seed")
    assert first["name"].startswith("group-")
    assert len(first["name"]) == len("group-") + 7
    assert engine.check(GROUP, {}, {}, b"seed")[0] == first
    assert engine.check(GROUP, {}, {}, b"other")[0] != first
    assert engine.check(GROUP, first, {}, b"other")[0] == first


def test_a_name_of_ones_own_is_taken_and_given_up(engine: Engine) -> None:
    own, _ = engine.check(GROUP, {}, {"name": "mine"}, b"seed")
    assert own["name"] == "mine"
    generated, _ = engine.check(GROUP, own, {}, b"seed")
    assert generated["name"].startswith("group-")


def test_a_buckets_generated_name_is_one_that_s3_takes(engine: Engine) -> None:
    urn = BUCKET + "Of" * 40
    name = engine.check(urn, {}, {}, b"")[0]["bucket"]
    assert len(name) == 63
    assert name == name.lower()


def test_two_of_one_given_name_cannot_be_so_the_old_goes_first(engine: Engine) -> None:
    own = {"name": "mine", "description": "a", "__defaults": []}
    assert engine.diff(GROUP, "sg-1", {}, own, {**own, "description": "b"}).delete_first
    generated = {"name": "group-1234567", "description": "a", "__defaults": ["name"]}
    assert not engine.diff(GROUP, "sg-1", {}, generated, {**generated, "description": "b"}).delete_first


def test_default_tags_go_on_everything_and_yield_to_ones_own(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = new_engine(cloud, monkeypatch, {"Project": "drydock", "Name": "default"})
    inputs, _ = engine.check(GROUP, {}, {"tags": {"Name": "own"}}, b"")
    assert inputs["tags"] == {"Project": "drydock", "Name": "own"}


def test_another_region_replaces(engine: Engine) -> None:
    inputs = {"cidrBlock": "10.0.0.0/16"}
    found = engine.diff(VPC, "vpc-1", {"region": "us-west-2"}, inputs, inputs).differences
    assert [(one.path, one.replace) for one in found] == [("region", True)]


def test_a_type_that_is_not_served_is_refused_by_name(engine: Engine) -> None:
    urn = "urn:pulumi:test::drydock::aws:eks/cluster:Cluster::k"
    with pytest.raises(
        Refused, match=r"does not serve aws:eks/cluster:Cluster\n.*plugin install resource aws 7"
    ):
        engine.check(urn, {}, {}, b"")


def test_a_property_that_is_not_served_is_refused_by_name(engine: Engine) -> None:
    _, failures = engine.check(GROUP, {}, {"ingress": [{"protocol": "-1"}]}, b"")
    assert [path for path, _ in failures] == ["ingress"]
    assert "does not serve this property" in failures[0][1]


def test_an_error_of_aws_says_what_was_done_and_the_way_out(engine: Engine) -> None:
    bucket, _ = engine.check(BUCKET, {}, {"bucket": "drydock-full"}, b"")
    resource_id, state = engine.create(BUCKET, bucket)
    engine.clients.get("s3", "us-east-1").put_object(Bucket="drydock-full", Key="a", Body=b"1")
    with pytest.raises(Refused) as refusal:
        engine.delete(BUCKET, resource_id, state)
    assert str(refusal.value).startswith(
        "deleting aws:s3/bucket:Bucket drydock-full: DeleteBucket: BucketNotEmpty"
    )
    assert "→ empty the bucket, or set forceDestroy" in str(refusal.value)
    engine.delete(BUCKET, resource_id, {**state, "forceDestroy": True})


def test_nobody_answering_is_said_with_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    engine = Engine(Settings(region="us-east-1", endpoints={"ec2": "http://127.0.0.1:9"}))
    with pytest.raises(Refused, match=r"nothing answers at http://127.0.0.1:9"):
        engine.read(VPC, "vpc-1", {}, {})


def test_what_was_made_but_is_not_usable_is_remembered_and_finished(engine: Engine) -> None:
    vpc, _ = engine.check(VPC, {}, {"cidrBlock": "10.60.0.0/16"}, b"")
    vpc_id, vpc_state = engine.create(VPC, vpc)
    inputs, _ = engine.check(GATEWAY, {}, {"vpcId": "vpc-00000000"}, b"")
    with pytest.raises(HalfMade, match=r"InvalidVpcID\.NotFound") as half:
        engine.create(GATEWAY, inputs)
    gateway_id = half.value.resource_id
    assert gateway_id.startswith("igw-")
    wanted = {**inputs, "vpcId": vpc_id}
    state = engine.update(GATEWAY, gateway_id, half.value.state, inputs, wanted)
    assert state["vpcId"] == vpc_id
    engine.delete(GATEWAY, gateway_id, state)
    engine.delete(VPC, vpc_id, vpc_state)


def test_a_group_in_use_is_deleted_when_its_last_interface_goes(engine: Engine, cloud: Cloud) -> None:
    ec2 = cloud.client("ec2")
    vpc_id = ec2.create_vpc(CidrBlock="10.61.0.0/16")["Vpc"]["VpcId"]
    subnet_id = ec2.create_subnet(VpcId=vpc_id, CidrBlock="10.61.1.0/24")["Subnet"]["SubnetId"]
    inputs, _ = engine.check(GROUP, {}, {"vpcId": vpc_id}, b"")
    group_id, state = engine.create(GROUP, inputs)
    made = ec2.create_network_interface(SubnetId=subnet_id, Groups=[group_id])
    refused = threading.Event()
    group_client = engine.clients.get("ec2", "us-east-1")
    group_client.meta.events.register_last(
        "after-call.ec2.DeleteSecurityGroup", lambda **_: refused.set(), unique_id="in-use"
    )
    with ThreadPoolExecutor() as pool:
        deleting = pool.submit(engine.delete, GROUP, group_id, state)
        assert refused.wait(10)
        assert not deleting.done()
        ec2.delete_network_interface(NetworkInterfaceId=made["NetworkInterface"]["NetworkInterfaceId"])
        deleting.result(10)
    group_client.meta.events.unregister("after-call.ec2.DeleteSecurityGroup", unique_id="in-use")
    assert engine.read(GROUP, group_id, state, inputs).resource_id == ""


def waiting(stop: threading.Event) -> Aws:
    return Aws(Clients(Settings(region="us-east-1")), "us-east-1", stop, lambda _: None)


def test_a_wait_ends_at_its_deadline_with_how_it_stood() -> None:
    def attempt() -> None:
        raise NotYet("i-1 is pending")

    with pytest.raises(Refused, match="i-1 is pending, and that for 0 s"):
        waiting(threading.Event()).until(attempt, deadline_s=0.1)


def test_a_cancel_ends_a_wait() -> None:
    stop = threading.Event()

    def attempt() -> None:
        stop.set()
        raise NotYet("i-1 is pending")

    with pytest.raises(Refused, match="cancelled while waiting: i-1 is pending"):
        waiting(stop).until(attempt, deadline_s=60)


def test_functions_answer(engine: Engine) -> None:
    parameter, failures = engine.invoke(
        "aws:ssm/getParameter:getParameter", {"name": "/drydock/rehearsal/ami-id"}
    )
    assert failures == []
    image = parameter["insecureValue"]
    assert isinstance(parameter["value"], Secret)
    assert parameter["value"].value == image
    by_name = {"filters": [{"name": "image-id", "values": [image]}], "mostRecent": True}
    ami, _ = engine.invoke("aws:ec2/getAmi:getAmi", by_name)
    assert (ami["id"], ami["architecture"], ami["rootDeviceName"]) == (image, "x86_64", "/dev/sda1")
    caller, _ = engine.invoke("aws:index/getCallerIdentity:getCallerIdentity", {})
    assert caller["accountId"] == "123456789012"
    of_type = {"filters": [{"name": "instance-type", "values": ["p5.48xlarge"]}]}
    offering, _ = engine.invoke("aws:ec2/getInstanceTypeOffering:getInstanceTypeOffering", of_type)
    assert offering["instanceType"] == "p5.48xlarge"
    zones = {**of_type, "locationType": "availability-zone"}
    offerings, _ = engine.invoke("aws:ec2/getInstanceTypeOfferings:getInstanceTypeOfferings", zones)
    assert set(offerings["instanceTypes"]) == {"p5.48xlarge"}
    assert offerings["locations"]


@pytest.mark.parametrize(
    ("token", "arguments", "said"),
    [
        ("aws:ssm/getParameter:getParameter", {"name": "/none"}, "us-east-1 has no SSM parameter /none"),
        ("aws:ec2/getAmi:getAmi", {"nameRegex": "^none$"}, "no image matches"),
        ("aws:ec2/getAmi:getAmi", {}, "images match\n    → name more filters"),
        ("aws:ec2/getVpc:getVpc", {}, "does not serve aws:ec2/getVpc:getVpc"),
    ],
)
def test_a_function_that_finds_nothing_says_so(
    engine: Engine, token: str, arguments: dict[str, str], said: str
) -> None:
    with pytest.raises(Refused, match=said):
        engine.invoke(token, arguments)


def test_an_argument_that_is_not_served_is_refused_by_name(engine: Engine) -> None:
    _, failures = engine.invoke("aws:ec2/getAmi:getAmi", {"uefiData": True})
    assert [path for path, _ in failures] == ["uefiData"]
