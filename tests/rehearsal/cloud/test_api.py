"""The API in front of moto: over real HTTP on loopback, and its pure questions."""

import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import boto3
import httpx
import pytest

from rehearsal.cloud import seeds
from rehearsal.cloud.api import Api, Servers, only_reads, region_of
from tests.rehearsal.cloud.conftest import Account


@pytest.mark.parametrize(
    ("environ", "body", "reads"),
    [
        ({"REQUEST_METHOD": "GET"}, b"", True),
        ({"REQUEST_METHOD": "PUT"}, b"bytes", False),
        ({"REQUEST_METHOD": "POST", "HTTP_X_AMZ_TARGET": "AmazonSSM.GetParameter"}, b"{}", True),
        ({"REQUEST_METHOD": "POST", "HTTP_X_AMZ_TARGET": "AmazonSSM.PutParameter"}, b"{}", False),
        (
            {"REQUEST_METHOD": "POST", "CONTENT_TYPE": "application/x-www-form-urlencoded"},
            b"Action=DescribeVpcs",
            True,
        ),
        (
            {"REQUEST_METHOD": "POST", "CONTENT_TYPE": "application/x-www-form-urlencoded"},
            b"Action=CreateVpc",
            False,
        ),
        ({"REQUEST_METHOD": "POST", "CONTENT_TYPE": "application/x-www-form-urlencoded"}, b"", False),
        ({"REQUEST_METHOD": "POST"}, b"<Delete/>", False),
    ],
)
def test_only_reads(environ: dict[str, Any], body: bytes, reads: bool) -> None:
    assert only_reads(environ, body) is reads


@pytest.mark.parametrize(
    ("environ", "region"),
    [
        (
            {"HTTP_AUTHORIZATION": "AWS4-HMAC-SHA256 Credential=k/20261125/eu-west-1/ec2/aws4_request, x"},
            "eu-west-1",
        ),
        ({"QUERY_STRING": "X-Amz-Credential=k%2F20261125%2Fus-west-2%2Fs3%2Faws4_request"}, "us-west-2"),
        ({}, ""),
    ],
)
def test_region_of(environ: dict[str, Any], region: str) -> None:
    assert region_of(environ) == region


class Served:
    """The API on a free port of loopback, and what it told the rest of the cloud."""

    def __init__(self) -> None:
        self.changes = 0
        api = Api(threading.RLock(), seeds.plant, self.changed, {"hello": lambda: {"to": "you"}})
        self.servers = Servers(api, 0)
        self.servers.converge(["127.0.0.1"])
        (server,) = self.servers._running.values()
        self.url = f"http://127.0.0.1:{server.server_port}"

    def changed(self) -> None:
        self.changes += 1

    def client(self, service: str, region: str = "us-east-1") -> Any:
        keys = {"aws_access_key_id": "k", "aws_secret_access_key": "s"}
        return boto3.client(service, region, endpoint_url=self.url, **keys)  # type: ignore[call-overload]


@pytest.fixture
def served(account: Account) -> Iterator[Served]:
    served = Served()
    yield served
    served.servers.converge([])


def test_a_change_is_told_before_it_is_answered(served: Served) -> None:
    ec2 = served.client("ec2")
    ec2.describe_vpcs()
    assert served.changes == 0
    ec2.create_vpc(CidrBlock="10.1.0.0/16")
    assert served.changes == 1


def test_a_region_is_planted_by_its_first_request(served: Served) -> None:
    parameter = served.client("ssm", "eu-west-1").get_parameter(Name="/drydock/rehearsal/ami-id")["Parameter"]
    assert parameter["Value"] == seeds.image_ids("eu-west-1")["/drydock/rehearsal/ami-id"]
    assert served.changes == 1


def test_objects_pass_whole(served: Served) -> None:
    s3, body = (
        served.client("s3"),
        bytes(range(256)) * 40_000,
    )  # above the size from which boto3 asks to go on
    s3.create_bucket(Bucket="weights")
    s3.put_object(Bucket="weights", Key="shard", Body=body)
    assert s3.get_object(Bucket="weights", Key="shard")["Body"].read() == body


def test_pages_of_its_own(served: Served) -> None:
    assert httpx.get(f"{served.url}/_drydock/hello").json() == {"to": "you"}
    assert httpx.get(f"{served.url}/_drydock/nothing").status_code == 404


def test_addresses_come_and_go(served: Served) -> None:
    port = urlsplit(served.url).port
    served.servers.converge(["127.0.0.1"])
    assert httpx.get(f"http://127.0.0.1:{port}/_drydock/hello").status_code == 200
    served.servers.converge([])
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/_drydock/hello")
