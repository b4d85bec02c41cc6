"""The set-up script refuses a machine that cannot do it before it changes anything."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from rehearsal.paths import REPO

NEEDED = ["bash", "env", "dirname", "mkdir", "stat", "uname", "id", "apt-get", "printf", "cat"]


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A PATH with only what the checks call: no sudo, no uv, no python."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in NEEDED:
        if found := shutil.which(name):
            (tools / name).symlink_to(found)
    return tools


def pretend(machine: Path, name: str, output: str) -> None:
    (machine / name).unlink(missing_ok=True)
    (machine / name).write_text(f"#!/bin/sh\nprintf '%s\\n' '{output}'\n")
    (machine / name).chmod(0o755)


def setup(machine: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(REPO / "scripts" / "setup"), *arguments],
        check=False,
        capture_output=True,
        text=True,
        env={
            "PATH": str(machine),
            "HOME": os.environ["HOME"],
            "DRYDOCK_CACHE": str(machine.parent / "cache"),
        },
    )


def test_unknown_arguments_are_bad_input(machine: Path) -> None:
    for arguments in (["--only", "everything"], ["--all"], ["--only"], ["--only", "env", "cli"]):
        answer = setup(machine, *arguments)
        assert answer.returncode == 2
        assert "Usage: scripts/setup [--tests | --only env|cli|image|model]" in answer.stderr


def test_another_system_than_linux_is_refused(machine: Path) -> None:
    pretend(machine, "uname", "Darwin")
    answer = setup(machine)
    assert answer.returncode == 1
    assert "error: this is Darwin" in answer.stderr
    assert "→ Run the rehearsal on Debian 12/13 or Ubuntu 22.04/24.04" in answer.stderr


def test_a_system_without_apt_is_refused(machine: Path) -> None:
    (machine / "apt-get").unlink()
    assert "there is no apt-get here" in setup(machine).stderr


def test_a_user_without_sudo_is_told_to_be_root(machine: Path) -> None:
    pretend(machine, "id", "1000")
    answer = setup(machine)
    assert answer.returncode == 1
    assert "there is no sudo\n    → Run it as root." in answer.stderr


def test_a_disk_that_is_too_small_is_refused_before_anything_is_made(machine: Path) -> None:
    pretend(machine, "stat", f"{3 * 1024**2} * 1024")
    answer = setup(machine)
    assert answer.returncode == 1
    assert "needs 14 GiB" in answer.stderr
    assert "has 3 GiB free" in answer.stderr
    assert "DRYDOCK_CACHE" in answer.stderr
    assert not list((machine.parent / "cache").iterdir())
