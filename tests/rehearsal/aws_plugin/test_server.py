"""The launcher as Pulumi starts it, driven over gRPC."""

import os
import select
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc  # type: ignore[import-untyped]
import pytest
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc, status_pb2

from rehearsal.aws_plugin import VERSION
from rehearsal.aws_plugin.values import from_struct, to_struct
from rehearsal.paths import REPO
from tests.rehearsal.aws_plugin.conftest import Cloud

LAUNCHER = REPO / "rehearsal" / "aws_plugin" / "bin" / "pulumi-resource-aws"
VPC = "urn:pulumi:test::drydock::aws:ec2/vpc:Vpc::net"
BUCKET = "urn:pulumi:test::drydock::aws:s3/bucket:Bucket::weights"
GATEWAY = "urn:pulumi:test::drydock::aws:ec2/internetGateway:InternetGateway::gateway"


@contextmanager
def plugin(environment: Mapping[str, str]) -> Iterator[Any]:
    """A stub of a running plugin."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    with subprocess.Popen(
        [LAUNCHER, "127.0.0.1:1"], stdout=subprocess.PIPE, env={**kept, **environment}, text=True
    ) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield provider_pb2_grpc.ResourceProviderStub(channel)
        process.terminate()
        assert process.wait(10) == 0


def configure(stub: Any, **settings: Any) -> Any:
    args = to_struct({"region": "us-east-1", **settings})
    assert not stub.CheckConfig(provider_pb2.CheckRequest(news=args)).failures
    return stub.Configure(provider_pb2.ConfigureRequest(args=args, acceptSecrets=True))


@pytest.fixture(scope="module")
def served(cloud: Cloud) -> Iterator[Any]:
    with plugin(cloud.environment) as stub:
        configured = configure(stub)
        assert configured.supportsPreview
        yield stub


def test_it_says_which_version_it_stands_for(served: Any) -> None:
    assert served.GetPluginInfo(provider_pb2.CheckRequest()).version == VERSION


def test_a_life_over_the_wire(served: Any) -> None:
    news = to_struct({"cidrBlock": "10.62.0.0/16", "tags": {"Name": "a"}})
    checked = served.Check(provider_pb2.CheckRequest(urn=VPC, news=news))
    assert not checked.failures
    preview = served.Create(provider_pb2.CreateRequest(urn=VPC, properties=checked.inputs, preview=True))
    assert repr(from_struct(preview.properties)["arn"]) == "UNKNOWN"
    made = served.Create(provider_pb2.CreateRequest(urn=VPC, properties=checked.inputs))
    state = from_struct(made.properties)
    assert state["arn"].endswith(made.id)
    assert state["enableDnsSupport"] is True

    def diff(change: Mapping[str, Any]) -> Any:
        new = to_struct({**from_struct(checked.inputs), **change})
        return served.Diff(
            provider_pb2.DiffRequest(
                urn=VPC, id=made.id, olds=made.properties, old_inputs=checked.inputs, news=new
            )
        )

    assert diff({}).changes == provider_pb2.DiffResponse.DIFF_NONE
    changed = diff({"cidrBlock": "10.63.0.0/16", "tags": {"Name": "b"}})
    assert changed.changes == provider_pb2.DiffResponse.DIFF_SOME
    assert list(changed.replaces) == ["cidrBlock"]
    kinds = {path: it.kind for path, it in changed.detailedDiff.items()}
    expected = {
        "cidrBlock": provider_pb2.PropertyDiff.UPDATE_REPLACE,
        "tags.Name": provider_pb2.PropertyDiff.UPDATE,
    }
    assert kinds == expected

    read = served.Read(
        provider_pb2.ReadRequest(urn=VPC, id=made.id, properties=made.properties, inputs=checked.inputs)
    )
    assert (read.id, read.inputs, from_struct(read.properties)) == (made.id, checked.inputs, state)
    new = to_struct({**from_struct(checked.inputs), "tags": {"Name": "b"}})
    updated = served.Update(
        provider_pb2.UpdateRequest(
            urn=VPC, id=made.id, olds=made.properties, old_inputs=checked.inputs, news=new
        )
    )
    assert from_struct(updated.properties)["tagsAll"] == {"Name": "b"}
    served.Delete(provider_pb2.DeleteRequest(urn=VPC, id=made.id, properties=updated.properties))
    assert served.Read(provider_pb2.ReadRequest(urn=VPC, id=made.id)).id == ""


def test_a_half_made_resource_comes_with_its_id(served: Any) -> None:
    inputs = to_struct({"vpcId": "vpc-00000000"})
    with pytest.raises(grpc.RpcError) as raised:
        served.Create(provider_pb2.CreateRequest(urn=GATEWAY, properties=inputs))
    trailing = dict(raised.value.trailing_metadata())
    status = status_pb2.Status.FromString(trailing["grpc-status-details-bin"])
    detail = provider_pb2.ErrorResourceInitFailed()
    assert status.details[0].Unpack(detail)
    assert detail.id.startswith("igw-")
    assert "InvalidVpcID.NotFound" in detail.reasons[0]
    served.Delete(provider_pb2.DeleteRequest(urn=GATEWAY, id=detail.id, properties=detail.properties))


def test_a_type_that_is_not_served_is_refused_by_name(served: Any) -> None:
    urn = "urn:pulumi:test::drydock::aws:eks/cluster:Cluster::k"
    with pytest.raises(grpc.RpcError, match="stand-in does not serve aws:eks/cluster:Cluster"):
        served.Check(provider_pb2.CheckRequest(urn=urn))


def test_a_function_hides_what_is_secret(served: Any) -> None:
    args = to_struct({"name": "/drydock/rehearsal/ami-id"})
    answer = served.Invoke(provider_pb2.InvokeRequest(tok="aws:ssm/getParameter:getParameter", args=args))
    value = getattr(answer, "return").fields["value"].struct_value.fields
    assert value["4dabf18193072939515e22adb298388d"].string_value == "1b47061264138c4ac30d75fd1eb44270"
    assert value["value"].string_value.startswith("ami-")


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "AWS_ENDPOINT_URL names none for ec2"),
        ({"AWS_ENDPOINT_URL": "https://ec2.us-east-1.amazonaws.com"}, "amazonaws.com is none for ec2"),
    ],
)
def test_it_speaks_to_no_real_account(environment: Mapping[str, str], said: str) -> None:
    with plugin(environment) as stub, pytest.raises(grpc.RpcError, match=said):
        configure(stub)


def test_no_service_is_left_to_aws(cloud: Cloud) -> None:
    environment = {name: value for name, value in cloud.environment.items() if name != "AWS_ENDPOINT_URL"}
    with plugin({**environment, "AWS_ENDPOINT_URL_EC2": cloud.url}) as stub:
        configure(stub)
        with pytest.raises(grpc.RpcError, match="names none for s3"):
            stub.Read(provider_pb2.ReadRequest(urn=BUCKET, id="drydock"))


def test_settings_are_checked_by_name(served: Any) -> None:
    news = to_struct({"region": "us-east-1", "assumeRoles": "[]", "skipCredentialsValidation": "true"})
    answer = served.CheckConfig(provider_pb2.CheckRequest(news=news))
    assert [failure.property for failure in answer.failures] == ["assumeRoles"]


def test_endpoints_and_default_tags_come_from_the_settings(cloud: Cloud) -> None:
    environment = {name: value for name, value in cloud.environment.items() if name != "AWS_ENDPOINT_URL"}
    with plugin(environment) as stub:
        endpoints = f'[{{"ec2": "{cloud.url}", "sts": "{cloud.url}"}}]'
        configure(stub, endpoints=endpoints, defaultTags='{"tags": {"Project": "drydock"}}')
        inputs = stub.Check(
            provider_pb2.CheckRequest(urn=VPC, news=to_struct({"cidrBlock": "10.64.0.0/16"}))
        ).inputs
        made = stub.Create(provider_pb2.CreateRequest(urn=VPC, properties=inputs))
        assert from_struct(made.properties)["tagsAll"] == {"Project": "drydock"}
        stub.Delete(provider_pb2.DeleteRequest(urn=VPC, id=made.id, properties=made.properties))


def test_creates_run_side_by_side(cloud: Cloud) -> None:
    at_once = 16
    together = threading.Barrier(at_once)

    class Meeting(BaseHTTPRequestHandler):
        """Answers only when all have asked."""

        def do_POST(self) -> None:
            try:
                together.wait(10)
            except threading.BrokenBarrierError:
                self.send_error(400, "one after another")
            self.send_error(400, "met")

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Meeting) as api:
        threading.Thread(target=api.serve_forever, daemon=True).start()
        environment = {**cloud.environment, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{api.server_address[1]}"}
        with plugin(environment) as stub, ThreadPoolExecutor(at_once) as pool:
            configure(stub)

            def read(number: int) -> bool:
                with pytest.raises(grpc.RpcError):
                    stub.Read(provider_pb2.ReadRequest(urn=VPC, id=f"vpc-{number}"))
                return not together.broken

            assert all(pool.map(read, range(at_once)))
        api.shutdown()


def test_it_ends_with_its_parent(cloud: Cloud) -> None:
    start = (
        "import subprocess, sys\n"
        f"it = subprocess.Popen([{str(LAUNCHER)!r}, '127.0.0.1:1'], stdout=subprocess.PIPE, text=True)\n"
        "print(it.pid, it.stdout.readline(), flush=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", start], capture_output=True, text=True, check=True)
    try:
        watch = os.pidfd_open(int(done.stdout.split()[0]))
    except ProcessLookupError:
        return  # it has ended already
    assert select.select([watch], [], [], 10)[0]
    os.close(watch)
