"""What a run left, told by two snapshots."""

import os
import subprocess
from pathlib import Path

from rehearsal import audit, paths


def test_left_over_names_only_what_is_new_by_kind() -> None:
    before = {"mount": frozenset({"/"}), "link": frozenset({"lo"})}
    after = {"mount": frozenset({"/", "/node"}), "link": frozenset({"lo"}), "aws vpc": frozenset({"vpc-1"})}
    assert audit.left_over(before, after) == {"mount": ["/node"], "aws vpc": ["vpc-1"]}


def test_what_vanished_is_not_left_over() -> None:
    assert audit.left_over({"link": frozenset({"lo", "br0"})}, {"link": frozenset({"lo"})}) == {}


def test_a_process_and_a_file_of_ours_are_seen(tmp_path: Path) -> None:
    before = audit.machine()
    with subprocess.Popen(["sleep", "60"], executable="/bin/sleep", env={}) as other:
        with subprocess.Popen(["sleep", "60"], env={"PULUMI_HOME": str(paths.STATE / "pulumi-home")}) as ours:
            left = audit.left_over(before, audit.machine())
            ours.kill()
        other.kill()
    assert [line.split()[0] for line in left["process"] if line.startswith(f"{ours.pid} ")] == [str(ours.pid)]
    assert not any(line.startswith(f"{other.pid} ") for line in left["process"])
    assert os.getpid() not in {int(line.split()[0]) for line in left["process"]}
