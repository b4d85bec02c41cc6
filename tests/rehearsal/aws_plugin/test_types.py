"""Every type of the table against a real API: its whole life, and no change where nothing changed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from rehearsal.aws_plugin.engine import Engine
from rehearsal.aws_plugin.tables import RESOURCES
from rehearsal.aws_plugin.tables.common import MARK
from tests.rehearsal.aws_plugin.conftest import Cloud, new_engine
from tests.rehearsal.aws_plugin.examples import EXAMPLES, TRUST, Example, template

TAGGED_BY_ID = [
    example
    for example in EXAMPLES
    if "tags" in RESOURCES[example.token].properties
    and not example.token.startswith(("aws:iam", "aws:s3", "aws:ec2/keyPair", "aws:ec2/placementGroup"))
]


@dataclass
class Live:
    """A resource that Pulumi would have in its state."""

    urn: str
    props: Mapping[str, Any]
    """As the program gives them."""
    inputs: dict[str, Any]
    """As checked."""
    resource_id: str
    state: dict[str, Any] = field(default_factory=dict)


def urn_of(token: str, name: str) -> str:
    return f"urn:pulumi:test::drydock::drydock:cluster:Part${token}::{name}"


def make(engine: Engine, token: str, name: str, props: Mapping[str, Any]) -> Live:
    urn = urn_of(token, name)
    inputs, failures = engine.check(urn, {}, props, b"")
    assert failures == []
    resource_id, state = engine.create(urn, inputs)
    return Live(urn, props, inputs, resource_id, state)


@pytest.fixture(scope="module")
def made(cloud: Cloud) -> Iterator[dict[str, str]]:
    """What the examples need to stand on."""
    with pytest.MonkeyPatch.context() as patch:
        engine = new_engine(cloud, patch)
        there: dict[str, str] = {}
        lives: list[Live] = []

        def put(key: str, token: str, props: Mapping[str, Any]) -> str:
            live = make(engine, token, f"base-{key.replace(' ', '-')}", props)
            lives.append(live)
            there[key] = live.resource_id
            return live.resource_id

        ssm = cloud.client("ssm")
        there["image"] = ssm.get_parameter(Name="/drydock/rehearsal/ami-id")["Parameter"]["Value"]
        put("vpc", "aws:ec2/vpc:Vpc", {"cidrBlock": "10.79.0.0/16"})
        put("empty vpc", "aws:ec2/vpc:Vpc", {"cidrBlock": "10.78.0.0/16"})
        subnet = {"vpcId": there["vpc"], "cidrBlock": "10.79.77.0/24", "availabilityZone": "us-east-1a"}
        put("subnet", "aws:ec2/subnet:Subnet", subnet)
        put("gateway", "aws:ec2/internetGateway:InternetGateway", {"vpcId": there["vpc"]})
        put("routes", "aws:ec2/routeTable:RouteTable", {"vpcId": there["vpc"]})
        put("group", "aws:ec2/securityGroup:SecurityGroup", {"vpcId": there["vpc"]})
        key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ3o1ZkbGAkBZDBFv3wjGEhR3sSrTzGSpi6L9FL2iEbQ"
        put("key", "aws:ec2/keyPair:KeyPair", {"publicKey": key})
        put("together", "aws:ec2/placementGroup:PlacementGroup", {"strategy": "cluster"})
        put("role", "aws:iam/role:Role", {"assumeRolePolicy": TRUST})
        put("other role", "aws:iam/role:Role", {"assumeRolePolicy": TRUST})
        put("profile", "aws:iam/instanceProfile:InstanceProfile", {})
        put("bucket", "aws:s3/bucket:Bucket", {})
        put("template", "aws:ec2/launchTemplate:LaunchTemplate", template(there))
        put("address", "aws:ec2/eip:Eip", {"domain": "vpc"})
        instance = put("instance", "aws:ec2/instance:Instance", {"launchTemplate": {"id": there["template"]}})
        there["interface"] = next(it for it in lives if it.resource_id == instance).state[
            "primaryNetworkInterfaceId"
        ]
        yield there
        for live in reversed(lives):
            engine.delete(live.urn, live.resource_id, live.state)


@pytest.fixture(params=EXAMPLES, ids=lambda example: example.token)
def example(request: pytest.FixtureRequest) -> Example:
    example: Example = request.param
    return example


@pytest.fixture
def live(example: Example, made: Mapping[str, str], engine: Engine) -> Iterator[Live]:
    it = make(engine, example.token, "one", example.inputs(made))
    yield it
    engine.delete(it.urn, it.resource_id, it.state)


def test_there_is_an_example_of_every_type() -> None:
    assert {example.token for example in EXAMPLES} == set(RESOURCES)


def test_what_a_program_reads_is_there(example: Example, live: Live) -> None:
    assert example.outputs <= live.state.keys()
    assert RESOURCES[example.token].outputs.keys() <= live.state.keys()
    for name in example.outputs - {"publicIp", "publicDns"}:
        assert live.state[name] not in (None, "")


def test_the_state_holds_what_was_asked_for(live: Live, engine: Engine) -> None:
    found = engine.diff(live.urn, live.resource_id, {}, live.state, live.inputs)
    assert found.differences == ()


def test_the_mark_of_a_create_is_no_tag_of_the_program(live: Live) -> None:
    assert MARK not in live.state.get("tags", {})
    assert MARK not in live.state.get("tagsAll", {})


def test_equal_inputs_are_no_change(live: Live, engine: Engine) -> None:
    again, failures = engine.check(live.urn, live.inputs, live.props, b"other seed")
    assert failures == []
    assert again == live.inputs
    assert engine.diff(live.urn, live.resource_id, live.state, live.inputs, again).differences == ()


def test_a_refresh_of_an_untouched_resource_is_no_change(live: Live, engine: Engine) -> None:
    seen = engine.read(live.urn, live.resource_id, live.state, live.inputs)
    assert seen.resource_id == live.resource_id
    assert seen.inputs == live.inputs
    assert seen.state == live.state
    assert engine.diff(live.urn, live.resource_id, seen.state, seen.inputs, live.inputs).differences == ()


def test_an_import_finds_inputs_that_describe_it(live: Live, engine: Engine) -> None:
    seen = engine.read(live.urn, live.resource_id, {}, {})
    inputs, failures = engine.check(live.urn, seen.inputs, seen.inputs, b"")
    assert failures == []
    assert engine.diff(live.urn, live.resource_id, seen.state, seen.inputs, inputs).differences == ()


def test_each_change_in_place_is_made_and_then_none_is_left(
    example: Example, made: Mapping[str, str], live: Live, engine: Engine
) -> None:
    for name, value in example.update(made).items():
        live.props = {**live.props, name: value}
        news, failures = engine.check(live.urn, live.inputs, live.props, b"")
        assert failures == []
        found = engine.diff(live.urn, live.resource_id, live.state, live.inputs, news)
        assert {one.top for one in found.differences} == {name}
        assert not any(one.replace for one in found.differences)
        live.state = engine.update(live.urn, live.resource_id, live.state, live.inputs, news)
        live.inputs = news
        assert engine.diff(live.urn, live.resource_id, {}, live.state, news).differences == ()
        seen = engine.read(live.urn, live.resource_id, live.state, live.inputs)
        assert (seen.state, seen.inputs) == (live.state, live.inputs)


def test_each_change_of_what_is_fixed_replaces(
    example: Example, made: Mapping[str, str], live: Live, engine: Engine
) -> None:
    for name, value in example.replace(made).items():
        news = {**live.inputs, name: value}
        found = engine.diff(live.urn, live.resource_id, live.state, live.inputs, news)
        assert {one.top for one in found.differences if one.replace} == {name}


def test_an_interrupted_create_is_found_again(
    live: Live, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The state was never written: a new process checks as for the first time, and generates another name.
    later = new_engine(cloud, monkeypatch)
    inputs, _ = later.check(live.urn, {}, live.props, b"another seed")
    resource_id, state = later.create(live.urn, inputs)
    assert resource_id == live.resource_id
    assert state == live.state


@pytest.mark.parametrize("example", [it for it in EXAMPLES if it.twice], ids=lambda example: example.token)
def test_a_replacement_with_equal_inputs_is_another_resource(
    example: Example, live: Live, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = new_engine(cloud, monkeypatch)
    later.check(live.urn, live.inputs, live.inputs, b"")
    later.diff(live.urn, live.resource_id, live.state, live.inputs, live.inputs)
    inputs, _ = later.check(live.urn, {}, live.props, b"")
    resource_id, state = later.create(live.urn, inputs)
    later.delete(live.urn, resource_id, state)
    assert resource_id != live.resource_id
    assert later.read(live.urn, live.resource_id, live.state, live.inputs).resource_id == live.resource_id


def test_what_is_deleted_is_gone_and_deleting_it_again_is_no_error(live: Live, engine: Engine) -> None:
    engine.delete(live.urn, live.resource_id, live.state)
    assert engine.read(live.urn, live.resource_id, live.state, live.inputs).resource_id == ""
    engine.delete(live.urn, live.resource_id, live.state)


def test_a_preview_knows_the_inputs_and_leaves_the_rest_open(
    example: Example, made: Mapping[str, str], engine: Engine
) -> None:
    urn = urn_of(example.token, "preview")
    inputs, _ = engine.check(urn, {}, example.inputs(made), b"")
    planned = engine.planned(urn, inputs)
    for name, value in example.inputs(made).items():
        assert planned[name] == value
    resource = RESOURCES[example.token]
    assert all(repr(planned[name]) == "UNKNOWN" for name in resource.outputs)


@pytest.mark.parametrize("example", TAGGED_BY_ID, ids=lambda example: example.token)
def test_drift_shows_in_the_inputs_of_a_refresh(
    example: Example, live: Live, engine: Engine, cloud: Cloud
) -> None:
    cloud.client("ec2").create_tags(Resources=[live.resource_id], Tags=[{"Key": "Owner", "Value": "me"}])
    seen = engine.read(live.urn, live.resource_id, live.state, live.inputs)
    assert seen.inputs["tags"] == {**live.inputs["tags"], "Owner": "me"}
    found = engine.diff(live.urn, live.resource_id, seen.state, seen.inputs, live.inputs)
    assert [one.path for one in found.differences] == ["tags.Owner"]
