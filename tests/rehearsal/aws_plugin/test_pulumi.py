"""Pulumi itself over the stand-in: what its users do, and what a kill in the middle leaves."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.problems import Failure
from rehearsal import toolchain
from rehearsal.paths import REPO
from tests.rehearsal.aws_plugin.conftest import Cloud, serving

PROGRAM = Path(__file__).parent / "program"


class Stack:
    """One stack of the program, with a state and a home of its own."""

    def __init__(self, folder: Path, cloud: Cloud, pulumi: Path) -> None:
        self._cloud = cloud
        self._program = folder / "program"
        shutil.copytree(PROGRAM, self._program)
        (folder / "state").mkdir()
        launchers = [REPO / "rehearsal" / name / "bin" for name in ("aws_plugin", "language_host")]
        self._environment = {
            **os.environ,
            **cloud.environment,
            "PATH": os.pathsep.join([str(pulumi), *map(str, launchers), os.environ["PATH"]]),
            # Without its side files, which a kill can cut short, each write of the state is one rename.
            "PULUMI_BACKEND_URL": f"file://{folder / 'state'}?metadata=skip",
            "PULUMI_HOME": str(folder / "home"),
            "PULUMI_CONFIG_PASSPHRASE": "test",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
        }
        self("stack", "init", "test")

    def __call__(self, *arguments: str) -> str:
        done = subprocess.run(
            ["pulumi", *arguments, "--non-interactive"],
            cwd=self._program,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def up(self) -> str:
        return self("up", "--yes", "--skip-preview")

    def killed_up(self, after: int) -> None:
        """Begins an update, and kills Pulumi when that many resources were made."""
        process = subprocess.Popen(
            ["pulumi", "up", "--yes", "--skip-preview", "--non-interactive"],
            cwd=self._program,
            env=self._environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        with process:
            for line in process.stdout:
                after -= " created (" in line
                if after == 0:
                    os.kill(process.pid, signal.SIGKILL)
                    break
            process.stdout.close()
        self("cancel", "--yes")

    def there_is(self) -> dict[str, int]:
        """How many of each kind the cloud holds."""
        ec2, iam, s3 = (self._cloud.client(name) for name in ("ec2", "iam", "s3"))
        alive: list[Any] = [{"Name": "instance-state-name", "Values": ["pending", "running", "stopped"]}]
        return {
            "vpcs": len(ec2.describe_vpcs()["Vpcs"]),
            "subnets": len(ec2.describe_subnets()["Subnets"]),
            "gateways": len(ec2.describe_internet_gateways()["InternetGateways"]),
            "route tables": len(ec2.describe_route_tables()["RouteTables"]),
            "groups": len(ec2.describe_security_groups()["SecurityGroups"]),
            "rules": len(ec2.describe_security_group_rules()["SecurityGroupRules"]),
            "keys": len(ec2.describe_key_pairs()["KeyPairs"]),
            "placement groups": len(ec2.describe_placement_groups()["PlacementGroups"]),
            "templates": len(ec2.describe_launch_templates()["LaunchTemplates"]),
            "instances": len(ec2.describe_instances(Filters=alive)["Reservations"]),
            "interfaces": len(ec2.describe_network_interfaces()["NetworkInterfaces"]),
            "volumes": len(ec2.describe_volumes()["Volumes"]),
            "addresses": len(ec2.describe_addresses()["Addresses"]),
            "buckets": len(s3.list_buckets()["Buckets"]),
            "roles": len(iam.list_roles()["Roles"]),
            "profiles": len(iam.list_instance_profiles()["InstanceProfiles"]),
        }


@pytest.fixture(scope="module")
def own_cloud() -> Iterator[Cloud]:
    """A cloud that nobody else uses, so that what is in it can be counted."""
    with serving() as cloud:
        yield cloud


@pytest.fixture
def stack(tmp_path: Path, own_cloud: Cloud) -> Stack:
    try:
        pulumi = toolchain.pulumi_directory()
    except Failure as failure:
        pytest.skip(str(failure))
    return Stack(tmp_path, own_cloud, pulumi)


def test_a_stack_lives_and_leaves_nothing(stack: Stack) -> None:
    before = stack.there_is()
    assert "+ 23 to create" in stack("preview")
    assert stack.there_is() == before
    assert "+ 23 created" in stack.up()
    assert stack.there_is()["instances"] == before["instances"] + 3
    assert "23 unchanged" in stack.up()
    refreshed = stack("refresh", "--yes", "--skip-preview")
    assert "23 unchanged" in refreshed
    assert "23 unchanged" in stack("preview", "--expect-no-changes")
    stack("config", "set", "instanceType", "p5en.48xlarge")
    changed = stack("up", "--yes", "--skip-preview")
    assert "~ 1 updated" in changed  # the template
    assert "+-4 replaced" in changed  # the nodes that came from it, and the address bound to one
    assert "23 unchanged" in stack.up()
    assert "- 23 deleted" in stack("destroy", "--yes", "--skip-preview")
    assert stack.there_is() == before


@pytest.mark.parametrize("after", [2, 9, 17])
def test_what_a_killed_update_left_is_used_and_taken_down(stack: Stack, after: int) -> None:
    before = stack.there_is()
    stack.killed_up(after)
    stack.up()
    assert "23 unchanged" in stack.up()
    wanted = {"vpcs": 1, "templates": 1, "instances": 3, "buckets": 1, "roles": 1, "addresses": 1}
    assert {kind: stack.there_is()[kind] - before[kind] for kind in wanted} == wanted
    stack("destroy", "--yes", "--skip-preview")
    assert stack.there_is() == before
