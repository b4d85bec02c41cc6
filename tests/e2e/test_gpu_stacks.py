"""The GPU stacks against a cloud that lists instances but boots none: all of AWS, up to the first SSH."""

import shutil
from pathlib import Path

import pytest

from rehearsal import audit, paths
from rehearsal.pulumi_cli import Stack

pytestmark = pytest.mark.e2e

ON_THE_NODES = ("--exclude", "**drydock:index:Weights**", "--exclude", "**drydock:index:Node**",
                "--exclude", "**drydock:index:Replica**")  # fmt: skip


@pytest.mark.parametrize("name", ["staging", "prod"])
def test_stack_previews_comes_up_and_goes_down_without_a_trace(
    name: str, listing_cloud: str, tmp_path: Path
) -> None:
    config_file = Path(shutil.copy(paths.REPO / f"Pulumi.{name}.yaml", tmp_path))
    stack = Stack(name, config_file=config_file)
    before = audit.cloud(listing_cloud)
    stack.init()

    assert "drydock:index:Replica" in stack.preview()
    made = {step.name.split()[0] for step in stack.up(*ON_THE_NODES)}
    assert {
        "aws:ec2/instance:Instance",
        "aws:ec2/launchTemplate:LaunchTemplate",
        "aws:s3/bucket:Bucket",
    } <= made
    stack.up("--expect-no-changes", *ON_THE_NODES)

    stack.destroy()
    assert audit.left_over(before, audit.cloud(listing_cloud)) == {}
