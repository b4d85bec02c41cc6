"""Instance metadata over HTTP: the token first, then what cloud-init and boto3 ask for."""

import json
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from werkzeug.test import Client, TestResponse

from rehearsal.cloud.metadata import MetadataService, lookup
from rehearsal.cloud.reconciler import instance_at
from tests.rehearsal.cloud.conftest import Account

NODE, OTHER = "10.77.1.4", "10.77.1.5"
TTL, TOKEN = "X-aws-ec2-metadata-token-ttl-seconds", "X-aws-ec2-metadata-token"
NOTICES = (
    "spot/instance-action",
    "spot/termination-time",
    "events/maintenance/scheduled",
    "events/recommendations",
)


class Node:
    """Asks as a program on a node does."""

    def __init__(self, service: MetadataService, address: str = NODE) -> None:
        self.client, self.address = Client(service), address

    def request(self, method: str, path: str, **headers: str) -> TestResponse:
        return self.client.open(
            path, method=method, headers=headers, environ_overrides={"REMOTE_ADDR": self.address}
        )

    def token(self, life_s: int = 60) -> str:
        return self.request("PUT", "/latest/api/token", **{TTL: str(life_s)}).text

    def get(self, path: str, token: str | None = None) -> TestResponse:
        return self.request("GET", f"/latest/{path}", **{TOKEN: token or self.token()})


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 11, 25, tzinfo=UTC).timestamp()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def node(account: Account, clock: Clock) -> Node:
    account.iam.create_role(RoleName="role", AssumeRolePolicyDocument="{}")
    account.iam.create_instance_profile(InstanceProfileName="profile")
    account.iam.add_role_to_instance_profile(InstanceProfileName="profile", RoleName="role")
    account.ec2.import_key_pair(KeyName="key", PublicKeyMaterial=KEY.encode())
    data = {"UserData": "#cloud-config\n{}\n", "KeyName": "key", "IamInstanceProfile": {"Name": "profile"}}
    account.run(2, **data)
    return Node(MetadataService(instance_at, clock))


KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICXhO4RNhjOqklrCObOzQ/IfAkvIhILSJ/ZcvVo4pF3o me"


def test_without_a_token_nothing_is_told(node: Node) -> None:
    assert node.request("GET", "/latest/meta-data/instance-id").status_code == 401
    assert node.get("meta-data/instance-id", token="made-up").status_code == 401


def test_a_token_is_its_nodes_own_and_ends(node: Node, clock: Clock) -> None:
    token = node.token(life_s=60)
    assert node.get("meta-data/local-ipv4", token).text == NODE
    other = Node(node.client.application, OTHER)  # type: ignore[arg-type]
    assert other.get("meta-data/local-ipv4", token).status_code == 401
    assert other.get("meta-data/local-ipv4").text == OTHER
    clock.now += 61
    assert node.get("meta-data/local-ipv4", token).status_code == 401


@pytest.mark.parametrize("life", ["", "0", "21601", "soon"])
def test_a_token_needs_a_life_time(node: Node, life: str) -> None:
    assert node.request("PUT", "/latest/api/token", **{TTL: life}).status_code == 400


def test_who_is_no_instance_gets_nothing(node: Node) -> None:
    stranger = Node(node.client.application, "10.77.1.1")  # type: ignore[arg-type]
    assert stranger.request("PUT", "/latest/api/token", **{TTL: "60"}).status_code == 404


def test_a_proxy_gets_nothing(node: Node) -> None:
    headers = {TTL: "60", "X-Forwarded-For": "1.2.3.4"}
    assert node.request("PUT", "/latest/api/token", **headers).status_code == 403


def test_facts(node: Node, account: Account) -> None:
    instance = account.instance(node.get("meta-data/instance-id").text)
    mac = instance.nics[0].mac_address
    for path, value in {
        "meta-data/instance-type": "m7i.xlarge",
        "meta-data/placement/availability-zone": "us-east-1a",
        "meta-data/placement/region": "us-east-1",
        "meta-data/public-keys/0/openssh-key": KEY,
        "meta-data/block-device-mapping/root": "/dev/sda1",
        f"meta-data/network/interfaces/macs/{mac}/subnet-id": account.subnet,
        "user-data": "#cloud-config\n{}\n",
    }.items():
        assert node.get(path).text == value, path
    document = json.loads(node.get("dynamic/instance-identity/document").text)
    assert (document["instanceId"], document["region"]) == (instance.id, "us-east-1")


@pytest.mark.parametrize(
    "path", [*(f"meta-data/{notice}" for notice in NOTICES), "meta-data/nothing", "other"]
)
def test_what_is_not_there_is_absent(node: Node, path: str) -> None:
    assert node.get(path).status_code == 404


def test_credentials_are_good_and_are_renewed_in_time(node: Node, clock: Clock) -> None:
    def credentials() -> dict[str, Any]:
        found: dict[str, Any] = json.loads(node.get("meta-data/iam/security-credentials/role").text)
        return found

    assert node.get("meta-data/iam/security-credentials/").text == "role"
    first = credentials()
    assert first["Code"] == "Success"
    assert first["Expiration"] == "2026-11-25T06:00:00Z"
    session = boto3.Session(first["AccessKeyId"], first["SecretAccessKey"], first["Token"], "us-east-1")
    assert ":assumed-role/role/i-" in session.client("sts").get_caller_identity()["Arn"]
    clock.now += 5.5 * 3600
    assert credentials() == first
    clock.now += 0.3 * 3600
    assert credentials()["AccessKeyId"] != first["AccessKeyId"]


def test_an_instance_without_a_profile_has_no_credentials(node: Node, account: Account) -> None:
    plain = Node(node.client.application, account.run()[0]["PrivateIpAddress"])  # type: ignore[arg-type]
    assert plain.get("meta-data/iam/").status_code == 404


def test_lookup_lists_folders() -> None:
    tree = {"a": "1", "b/c": "2", "b/d/e": "3"}
    assert lookup(tree, "") == "a\nb/"
    assert lookup(tree, "b") == lookup(tree, "b/") == "c\nd/"
    assert lookup(tree, "b/d/e") == "3"
    assert lookup(tree, "b/x") is None
