"""The provider as the engine has it: a process of its own, spoken to over gRPC."""

import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import grpc  # type: ignore[import-untyped]
import pytest
from google.protobuf import empty_pb2  # type: ignore[import-untyped]
from moto.server import ThreadedMotoServer
from pulumi.runtime.proto import engine_pb2_grpc, provider_pb2, provider_pb2_grpc

from bootstrap.manifest import hub_digest
from bootstrap.properties import UNKNOWN, from_struct, to_struct
from tests.bootstrap.cases import CASES

LAUNCHER = Path(__file__).parents[2] / "bootstrap/plugin/pulumi-resource-drydock"
SECRET_MARK = "1b47061264138c4ac30d75fd1eb44270"


def urn(kind: str) -> str:
    # The parent's type stands before the resource's own, as it does for children of components.
    return f"urn:pulumi:t::drydock::drydock:cluster:Nodes$drydock:index:{kind}::it"


class Engine(engine_pb2_grpc.EngineServicer):
    """Hears what the provider tells."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def Log(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.heard.append(request)
        return empty_pb2.Empty()


class Plugin:
    """The running plugin and its engine."""

    def __init__(self, process: "subprocess.Popen[str]", engine: Engine) -> None:
        assert process.stdout
        self.process, self.engine = process, engine
        self.channel = grpc.insecure_channel(f"127.0.0.1:{int(process.stdout.readline())}")
        self.stub = provider_pb2_grpc.ResourceProviderStub(self.channel)

    def check(self, kind: str, **inputs: object) -> tuple[dict[str, Any], dict[str, str]]:
        said = self.stub.Check(provider_pb2.CheckRequest(urn=urn(kind), news=to_struct(inputs)))
        return from_struct(said.inputs), {each.property: each.reason for each in said.failures}

    def diff(self, kind: str, state: dict[str, Any], **inputs: object) -> Any:
        request = provider_pb2.DiffRequest(
            urn=urn(kind), id="id", olds=to_struct(state), news=to_struct(inputs)
        )
        return self.stub.Diff(request)

    def create(self, kind: str, preview: bool = False, **inputs: object) -> Any:
        request = provider_pb2.CreateRequest(urn=urn(kind), properties=to_struct(inputs), preview=preview)
        return self.stub.Create(request)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def plugin(endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plugin]:
    engine, server = Engine(), grpc.server(ThreadPoolExecutor(4))
    engine_pb2_grpc.add_EngineServicer_to_server(engine, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    environment = {
        "PATH": "/usr/bin:/bin",
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "s",
        "DRYDOCK_CACHE": str(tmp_path_factory.mktemp("cache")),
    }
    argv = [str(LAUNCHER), f"127.0.0.1:{port}"]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=environment)
    yield Plugin(process, engine)
    process.kill()
    process.wait()
    server.stop(None)


def node_inputs(**more: object) -> dict[str, Any]:
    case = CASES["cpu"]
    weights = {
        "bucket": "b",
        "prefix": "p",
        "manifestDigest": "d" * 64,
        "source": "/models/local",
        "revision": "",
    }
    return {
        "name": "node-0",
        "rank": 0,
        "address": "10.77.1.4",
        "user": "ubuntu",
        "instanceId": "i-1",
        "region": "us-east-1",
        "sshPrivateKey": "key",
        "spec": case.node.to_json(),
        "weights": weights,
        "deadlineS": 60,
    } | more


def replica_inputs(**more: object) -> dict[str, Any]:
    nodes = [
        {
            "name": each.name,
            "rank": each.rank,
            "address": each.address,
            "user": each.user,
            "hostKeys": list(each.host_keys),
            "digest": each.digest,
        }
        for each in CASES["cpu"].nodes
    ]
    spec = CASES["cpu"].replica.to_json()
    given = {
        "name": "r",
        "nodes": nodes,
        "sshPrivateKey": "key",
        "apiKey": "api",
        "spec": spec,
        "deadlineS": 60,
    }
    return given | more


def test_configure_takes_secrets_and_previews(plugin: Plugin) -> None:
    said = plugin.stub.Configure(provider_pb2.ConfigureRequest(acceptSecrets=True))
    assert (said.acceptSecrets, said.supportsPreview, said.acceptOutputs) == (True, True, False)


def test_credentials_are_made_once_and_marked_secret(plugin: Plugin) -> None:
    made = plugin.create("Credentials")
    values = from_struct(made.properties)
    assert values["sshPublicKey"].startswith("ssh-ed25519 AAAA")
    assert values["sshPrivateKey"].startswith("-----BEGIN OPENSSH PRIVATE KEY-----")
    assert len(values["apiKey"]) == 43
    for name in ("sshPrivateKey", "apiKey"):
        assert SECRET_MARK in str(made.properties.fields[name])
        assert values[name] not in str(made.properties.fields["sshPublicKey"])
    no_change = provider_pb2.DiffResponse.DIFF_NONE
    assert plugin.diff("Credentials", values).changes == no_change
    read = plugin.stub.Read(
        provider_pb2.ReadRequest(urn=urn("Credentials"), id=made.id, properties=made.properties)
    )
    assert read.id == made.id
    assert from_struct(read.properties) == values
    assert SECRET_MARK in str(read.properties.fields["apiKey"])
    assert from_struct(plugin.create("Credentials").properties)["apiKey"] != values["apiKey"]


def test_a_preview_of_credentials_knows_nothing_and_makes_nothing(plugin: Plugin) -> None:
    planned = plugin.create("Credentials", preview=True)
    assert planned.id == ""
    assert from_struct(planned.properties) == dict.fromkeys(
        ("sshPublicKey", "sshPrivateKey", "apiKey"), UNKNOWN
    )


def test_all_that_is_wrong_with_inputs_is_said_at_once(plugin: Plugin) -> None:
    given = node_inputs(rank="zero", colour="blue")
    del given["user"]
    _, refused = plugin.check("Node", **given)
    assert refused == {
        "user": "is missing",
        "colour": "is no input of this resource",
        "rank": "is str, must be int",
    }


def test_a_spec_of_another_version_is_refused_by_name(plugin: Plugin) -> None:
    spec = CASES["cpu"].node.to_json() | {"colour": "blue"}
    del spec["gpuCount"]
    _, refused = plugin.check("Node", **node_inputs(spec=spec))
    assert set(refused) == {"spec.gpuCount", "spec.colour"}


def test_a_replica_needs_its_nodes(plugin: Plugin) -> None:
    given = replica_inputs()
    assert plugin.check("Replica", **given)[1] == {}
    _, refused = plugin.check("Replica", **given | {"nodes": given["nodes"][:1]})
    assert refused == {"nodes": "have the ranks [0], the spec asks for 0 to 1"}
    assert plugin.check("Replica", **given | {"nodes": UNKNOWN})[1] == {}


def test_a_node_differs_by_what_it_becomes(plugin: Plugin) -> None:
    planned = from_struct(plugin.create("Node", preview=True, **node_inputs()).properties)
    assert len(planned["digest"]) == 64
    assert planned["hostKeys"] is UNKNOWN
    state = planned | {"hostKeys": ["ssh-ed25519 AAAA"]}
    some, none = provider_pb2.DiffResponse.DIFF_SOME, provider_pb2.DiffResponse.DIFF_NONE
    assert plugin.diff("Node", state, **node_inputs()).changes == none
    assert plugin.diff("Node", state, **node_inputs(deadlineS=90)).changes == none
    moved = plugin.diff("Node", state, **node_inputs(instanceId="i-2"))
    assert (moved.changes, list(moved.replaces)) == (some, ["instanceId"])
    unknown = plugin.diff("Node", state, **node_inputs(instanceId=UNKNOWN, address=UNKNOWN))
    assert set(unknown.replaces) == {"instanceId", "address"}
    other = plugin.diff("Node", state, **node_inputs(spec=CASES["cpu"].node.to_json() | {"apiPort": 8001}))
    assert (list(other.diffs), list(other.replaces)) == (["spec"], [])


def test_a_node_of_an_older_version_of_the_templates_is_updated(plugin: Plugin) -> None:
    state = node_inputs() | {"digest": "old", "hostKeys": []}
    assert list(plugin.diff("Node", state, **node_inputs()).diffs) == ["digest"]


def test_previews_know_what_can_be_known(plugin: Plugin) -> None:
    unknown = plugin.create("Node", preview=True, **node_inputs(address=UNKNOWN, weights=UNKNOWN))
    assert from_struct(unknown.properties)["digest"] is UNKNOWN
    assert SECRET_MARK in str(unknown.properties.fields["sshPrivateKey"])
    planned = from_struct(plugin.create("Replica", preview=True, **replica_inputs()).properties)
    assert planned["endpoint"] == "http://10.77.1.4:8000/v1"
    unknown = plugin.create("Replica", preview=True, **replica_inputs(nodes=UNKNOWN))
    assert from_struct(unknown.properties)["endpoint"] is UNKNOWN


def test_a_replica_differs_by_what_runs(plugin: Plugin) -> None:
    state = from_struct(plugin.create("Replica", preview=True, **replica_inputs()).properties)
    assert plugin.diff("Replica", state, **replica_inputs(deadlineS=90)).diffs == []
    assert list(plugin.diff("Replica", state, **replica_inputs(apiKey="other")).diffs) == ["apiKey"]


def test_weights_go_up_tell_it_and_come_down(plugin: Plugin, endpoint: str, tmp_path: Path) -> None:
    s3 = boto3.client(
        "s3", "us-east-1", endpoint_url=endpoint, aws_access_key_id="a", aws_secret_access_key="s"
    )
    s3.create_bucket(Bucket="bucket")
    (tmp_path / "config.json").write_text("{}")
    given = {
        "bucket": "bucket",
        "region": "us-east-1",
        "source": str(tmp_path),
        "revision": "",
        "prefix": "m",
    }
    checked, refused = plugin.check("Weights", **given)
    assert refused == {}
    assert len(checked["manifestDigest"]) == 64
    made = plugin.create("Weights", **checked)
    state = from_struct(made.properties)
    assert state["totalBytes"] == 2
    assert [each["Key"] for each in s3.list_objects_v2(Bucket="bucket")["Contents"]] == [
        "m/config.json",
        "m/manifest.json",
    ]
    told = [each for each in plugin.engine.heard if each.urn == urn("Weights")]
    assert "weights 1/1 files, 0 of 0 MiB uploaded" in [each.message for each in told]
    assert all(each.ephemeral for each in told)
    (tmp_path / "config.json").write_text('{"new": 1}')
    changed, _ = plugin.check("Weights", **given)
    assert list(plugin.diff("Weights", state, **changed).diffs) == ["manifestDigest"]
    request = provider_pb2.DeleteRequest(urn=urn("Weights"), id=made.id, properties=made.properties)
    plugin.stub.Delete(request)
    assert "Contents" not in s3.list_objects_v2(Bucket="bucket")


def test_weights_that_are_not_there_are_refused(plugin: Plugin, tmp_path: Path) -> None:
    given = {"bucket": UNKNOWN, "region": "r", "revision": "", "prefix": "m"}
    _, refused = plugin.check("Weights", source=str(tmp_path / "gone"), **given)
    assert "is no directory: set drydock:model.source" in refused["source"]
    _, refused = plugin.check("Weights", source=str(tmp_path), **given)
    assert "holds no files" in refused["source"]
    checked, refused = plugin.check("Weights", source="deepseek-ai/DeepSeek-V3", **given)
    assert (refused, checked["manifestDigest"]) == ({}, hub_digest("deepseek-ai/DeepSeek-V3", ""))


def test_an_instance_that_is_not_there_fails_with_a_reason_and_no_secret(plugin: Plugin) -> None:
    with pytest.raises(grpc.RpcError) as failed:
        plugin.create("Node", **node_inputs(deadlineS=1, sshPrivateKey="very-secret"))
    assert "the console of i-1 shows no SSH host keys after" in str(failed.value)
    assert "very-secret" not in str(failed.value)


def test_another_type_is_refused_by_name(plugin: Plugin) -> None:
    with pytest.raises(grpc.RpcError, match="drydock:index:Boat is no resource of Drydock's"):
        plugin.create("Boat")


def test_it_ends_when_its_engine_is_killed(tmp_path: Path) -> None:
    """A shell stands for the engine: it starts the plugin, is killed, and the plugin must not stay."""
    port = tmp_path / "port"
    port.touch()
    script = f"{LAUNCHER} 127.0.0.1:1 > {port} & echo $!; wait"
    shell = subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, text=True)
    assert shell.stdout
    plugin_pid = int(shell.stdout.readline())
    until = time.monotonic() + 20
    while not port.read_text() and time.monotonic() < until:
        time.sleep(0.05)
    shell.kill()
    shell.wait()
    while Path(f"/proc/{plugin_pid}").exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert not Path(f"/proc/{plugin_pid}").exists()
