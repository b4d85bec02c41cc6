"""The real Pulumi engine over the program, with an account of its own and a home of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml

from cluster.problems import Failure
from rehearsal import toolchain
from tests.cluster.stacks import REPO

EXCLUDED = [f"--exclude=**drydock:index:{kind}**" for kind in ("Weights", "Node", "Replica")]
"""Without these no machine is spoken to."""


@dataclass(frozen=True)
class Engine:
    """Runs `pulumi` in a project folder whose stack files a test may write."""

    project: Path
    environment: dict[str, str]

    def write(self, stack: str, config: dict[str, Any]) -> None:
        """Make the stack with these settings."""
        (self.project / f"Pulumi.{stack}.yaml").write_text(yaml.safe_dump({"config": config}))
        self.run("stack", "init", stack)

    def run(self, *arguments: str, status: int = 0) -> str:
        """The output of one run, both streams."""
        done = subprocess.run(
            ["pulumi", *arguments, "--non-interactive", "--color=never"],
            cwd=self.project,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == status, done.stdout
        return done.stdout

    def outputs(self, stack: str) -> dict[str, Any]:
        """The stack's outputs, secrets masked."""
        text = self.run("stack", "output", "--json", "--stack", stack)
        return dict(json.loads(text[text.index("{") :]))

    def client(self, service: str) -> Any:
        """A boto3 client of the account."""
        return boto3.client(
            service,  # type: ignore[call-overload]
            endpoint_url=self.environment["AWS_ENDPOINT_URL"],
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )


@pytest.fixture(scope="session")
def account() -> Iterator[str]:
    """The URL of an AWS API that no other test uses."""
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.infra.account"], cwd=REPO, stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    url = server.stdout.readline().strip()
    assert url, "the account's server did not start"
    yield url
    server.kill()
    server.wait()


@pytest.fixture
def engine(account: str, tmp_path: Path) -> Engine:
    """Pulumi with an empty backend and the committed program."""
    try:
        directory = toolchain.pulumi_directory()
    except Failure as missing:
        pytest.skip(str(missing))
    project = tmp_path / "project"
    project.mkdir()
    for folder in ("infra", "cluster"):
        (project / folder).symlink_to(REPO / folder)
    settings = (REPO / "Pulumi.yaml").read_text()
    (project / "Pulumi.yaml").write_text(settings.replace("bootstrap/plugin", f"{REPO}/bootstrap/plugin"))
    (tmp_path / "backend").mkdir()
    ours = [REPO / "rehearsal" / name / "bin" for name in ("language_host", "aws_plugin")]
    environment = {
        "HOME": str(tmp_path),
        "PATH": os.pathsep.join(map(str, [directory, *ours, os.environ["PATH"]])),
        "PULUMI_HOME": str(tmp_path / "home"),
        "PULUMI_BACKEND_URL": f"file://{tmp_path}/backend",
        "PULUMI_CONFIG_PASSPHRASE": "test",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "AWS_ENDPOINT_URL": account,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    return Engine(project, environment)
