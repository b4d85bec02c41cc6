"""The whole voyage with real nodes and real vLLM, and what must not sink it."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import boto3
import httpx
import pytest

from cluster.problems import Failure
from rehearsal import audit, paths, pulumi_cli, voyage
from rehearsal.pulumi_cli import Stack
from rehearsal.voyage import Cluster

pytestmark = pytest.mark.e2e

KILL_DEADLINE_S = 180
NO_CHANGE_LIMIT_S = 15


@pytest.fixture
def stack_file(tmp_path: Path) -> Path:
    return Path(shutil.copy(paths.REPO / "Pulumi.rehearsal.yaml", tmp_path))


def test_up_answers_changes_one_thing_breaks_by_name_and_leaves_nothing(
    booting_cloud: str, stack_file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    stack = Stack(voyage.STACK, config_file=stack_file)
    before = audit.cloud(booting_cloud)
    right = voyage.question_and_answer(stack_file)
    stack.init()

    stack.up()
    cluster = Cluster.from_outputs(stack.outputs())
    voyage.check_answer(cluster, *right)
    assert voyage.status_without_key(cluster) == httpx.codes.UNAUTHORIZED

    stack.select()
    assert on_node(stack, "0", "hostname").startswith("ip-10-77-1-")
    assert "vllm-worker" in on_node(stack, "node-1", "systemctl list-units --no-legend 'vllm-*'")

    begin = time.monotonic()
    stack.up("--expect-no-changes")
    assert time.monotonic() - begin <= NO_CHANGE_LIMIT_S

    voyage.set_max_model_len(stack_file, 384)
    voyage.only_serving(stack.up())
    voyage.check_answer(cluster, *right)

    revoke_rules_between_nodes()
    voyage.set_max_model_len(stack_file, 320)
    capfd.readouterr()
    with pytest.raises(Failure):
        stack.up()
    shown = capfd.readouterr()
    assert "29501" in shown.out + shown.err
    assert "security group" in shown.out + shown.err

    stack.up("--refresh")  # the drift is seen, the rule comes back, serving goes on where it failed
    voyage.check_answer(cluster, *right)

    stack.destroy()
    assert audit.left_over(before, audit.cloud(booting_cloud)) == {}


def test_up_killed_in_the_middle_of_the_bootstrap_is_finished_by_the_next_up(
    booting_cloud: str, stack_file: Path, tmp_path: Path
) -> None:
    stack = Stack(voyage.STACK, config_file=stack_file)
    before = audit.cloud(booting_cloud)
    stack.init()

    kill_in_the_middle(stack.start("up", output=tmp_path / "up.log"), tmp_path / "up.log", "command weights")
    stack.cancel()
    stack.up()
    voyage.check_answer(Cluster.from_outputs(stack.outputs()), *voyage.question_and_answer(stack_file))

    stack.destroy()
    assert audit.left_over(before, audit.cloud(booting_cloud)) == {}


def on_node(stack: Stack, node: str, command: str) -> str:
    """What a command prints on a node, through `drydock ssh`."""
    argv = [sys.executable, "-m", "scripts.drydock", "ssh", node, command]
    environment = {**stack.environment(), "PYTHONPATH": str(paths.REPO)}
    return subprocess.run(
        argv, cwd=paths.REPO, env=environment, capture_output=True, text=True, check=True
    ).stdout


def kill_in_the_middle(running: subprocess.Popen[bytes], output: Path, word: str) -> None:
    """SIGKILL the whole process group as soon as its output shows `word` of a node's bootstrap."""
    deadline = time.monotonic() + KILL_DEADLINE_S
    while word not in output.read_text(errors="replace"):
        assert running.poll() is None, f"pulumi up ended before it could be killed:\n{output.read_text()}"
        assert time.monotonic() < deadline, f"no {word!r} within {KILL_DEADLINE_S} s:\n{output.read_text()}"
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()


def revoke_rules_between_nodes() -> None:
    """Take away the rules that let the cluster's nodes reach each other, behind Pulumi's back."""
    ec2 = boto3.client("ec2", **pulumi_cli.client_arguments())
    for rule in ec2.describe_security_group_rules()["SecurityGroupRules"]:
        if not rule["IsEgress"] and rule.get("ReferencedGroupInfo"):
            ec2.revoke_security_group_ingress(
                GroupId=rule["GroupId"], SecurityGroupRuleIds=[rule["SecurityGroupRuleId"]]
            )
