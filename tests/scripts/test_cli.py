"""The `drydock` command as a process: what it prints and its exit codes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rehearsal import paths


def drydock(*arguments: str, state: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "scripts.drydock", *arguments],
        cwd=paths.REPO,
        env={**os.environ, "DRYDOCK_STATE": str(state)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_help_names_every_command(tmp_path: Path) -> None:
    done = drydock("--help", state=tmp_path)
    assert done.returncode == 0
    assert all(command in done.stdout for command in ("rehearse", "rehearsal", "ssh"))


def test_no_environment_without_a_cloud(tmp_path: Path) -> None:
    done = drydock("rehearsal", "env", state=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "no cloud runs on this machine" in done.stderr
    assert "drydock rehearsal start" in done.stderr


@pytest.mark.parametrize("arguments", [("rehearsal", "begin"), ("rehearsal", "start", "--boot"), ("ssh",)])
def test_a_word_that_it_does_not_know_is_bad_input(arguments: tuple[str, ...], tmp_path: Path) -> None:
    done = drydock(*arguments, state=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_status_without_a_cloud_says_so(tmp_path: Path) -> None:
    done = drydock("rehearsal", "status", state=tmp_path)
    assert (done.returncode, done.stdout) == (0, "no cloud runs\n")
