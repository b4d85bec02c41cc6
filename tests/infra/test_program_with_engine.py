"""The program under the real engine and a real AWS API whose instances are only listed."""

import json
from pathlib import Path

from tests.cluster.configs import SMALL_LLAMA
from tests.cluster.stacks import raw_stack
from tests.infra.conftest import EXCLUDED, Engine
from tests.infra.test_program_with_mocks import CONTRACT


def test_a_preview_shows_plan_and_price_and_makes_nothing(engine: Engine, tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text(json.dumps(SMALL_LLAMA))
    engine.write("rehearsal", raw_stack("rehearsal", {"drydock:model.source": str(model)}))

    shown = engine.run("preview", "--stack", "rehearsal")

    assert "drydock-tiny on 2 x m7i.xlarge, TP 2 x PP 1: 0.40 USD/h" in shown
    assert shown.count("drydock:index:Node node-") == 2
    assert "drydock:index:Replica replica-0 create" in shown
    assert (
        engine.client("ec2").describe_vpcs(Filters=[{"Name": "tag:Project", "Values": ["drydock"]}])["Vpcs"]
        == []
    )


def test_bad_settings_end_with_every_problem_and_no_traceback(engine: Engine) -> None:
    broken = {
        "drydock:nodes.colour": "red",
        "drydock:layout.tensorParallelSize": 3,
        "drydock:access.sshCidrs": ["0.0.0.0/0"],
        "drydock:maxHourlyUsd": 1,
    }
    engine.write("prod", raw_stack("prod", broken))

    shown = engine.run("preview", "--stack", "prod", status=1)

    assert "problems, nothing was changed:" in shown
    for path in ("nodes.colour", "layout", "layout.tensorParallelSize", "access.sshCidrs[0]", "maxHourlyUsd"):
        assert f"drydock:{path}: " in shown
    assert "Traceback" not in shown
    assert "drydock:index" not in shown


def test_a_stack_dearer_than_its_limit_is_refused_before_anything_is_made(engine: Engine) -> None:
    engine.write("prod", raw_stack("prod", {"drydock:maxHourlyUsd": 100}))

    for command in ("preview", "up"):
        arguments = ["--yes", "--skip-preview"] if command == "up" else []
        shown = engine.run(command, *arguments, "--stack", "prod", status=1)
        assert "1 problem, nothing was changed:" in shown
        assert "drydock:maxHourlyUsd: 2 x p5.48xlarge in us-east-1 (on-demand) cost 110.08 USD/h" in shown
        assert "Raise it to at least 110.08" in shown
        assert "drydock:index" not in shown


def test_prod_comes_up_stays_and_goes_without_a_trace(engine: Engine) -> None:
    engine.write("prod", raw_stack("prod"))
    ec2 = engine.client("ec2")

    engine.run("up", "--yes", "--skip-preview", "--stack", "prod", *EXCLUDED)

    reservations = ec2.describe_instances(Filters=[{"Name": "tag:Stack", "Values": ["prod"]}])["Reservations"]
    instances = [instance for reservation in reservations for instance in reservation["Instances"]]
    assert [len(instance["NetworkInterfaces"]) for instance in instances] == [32, 32]
    volumes = ec2.describe_volumes(
        VolumeIds=[mapping["Ebs"]["VolumeId"] for i in instances for mapping in i["BlockDeviceMappings"]]
    )["Volumes"]
    assert {(volume["Iops"], volume["Throughput"]) for volume in volumes} == {(3000, 125)}
    assert {instance["MetadataOptions"]["HttpTokens"] for instance in instances} == {"required"}
    addresses = {address["PublicIp"] for address in ec2.describe_addresses()["Addresses"]}
    outputs = engine.outputs("prod")
    assert outputs["model"] == "deepseek-ai/DeepSeek-V3"
    assert {host["address"] for host in outputs["inventory"]} == addresses
    assert {host["instanceId"] for host in outputs["inventory"]} == {i["InstanceId"] for i in instances}
    assert outputs["apiKey"] == outputs["sshPrivateKey"] == "[secret]"

    again = engine.run("up", "--yes", "--skip-preview", "--expect-no-changes", "--stack", "prod", *EXCLUDED)
    assert "unchanged" in again

    state = engine.run("stack", "export", "--stack", "prod")
    exported = json.loads(state[state.index("{") :])["deployment"]["resources"]
    kinds = {resource["type"] for resource in exported if resource.get("custom")}
    assert {kind for kind in kinds if kind.startswith(("aws:", "drydock:"))} <= CONTRACT

    engine.run("destroy", "--yes", "--skip-preview", "--stack", "prod")
    assert ec2.describe_addresses()["Addresses"] == []
    assert [vpc for vpc in ec2.describe_vpcs()["Vpcs"] if not vpc["IsDefault"]] == []
    assert engine.client("s3").list_buckets()["Buckets"] == []
