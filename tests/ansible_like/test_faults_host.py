"""A host that is not as it should be: its clock jumps, files are torn, locks held."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_like.agent import locks
from ansible_like.operations import Command, File, LineInFile, Link, Operation, WaitFor
from ansible_like.result import Event, HostResult, StateUnusable, StepFailed
from ansible_like.runner import apply
from tests.ansible_like import test_node
from tests.ansible_like.conftest import Sshd, free_port, serve
from tests.ansible_like.test_agent import own_file
from tests.ansible_like.test_connection import copy_keys
from tests.ansible_like.test_node import Node

node = test_node.node

# before the agent's own program: each look at the clock finds it another day further, or back
CLOCK = """\
#!/bin/sh
for program; do :; done
exec {python} -I -S -X utf8 -c "import itertools, time
days, now = itertools.count(1), time.time
time.time = lambda: now() + {direction} * 86400 * next(days)
$program"
"""
HOLDS = "import fcntl,sys;f=open(sys.argv[1],'w');fcntl.lockf(f,fcntl.LOCK_EX);print(flush=True);input()"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "host").mkdir()
    return tmp_path / "host"


@pytest.fixture(params=[1, -1], ids=["forward", "back"])
def jumping_clock(request: pytest.FixtureRequest, sshd: Sshd, tmp_path: Path) -> Iterator[Sshd]:
    """A host whose clock jumps by a day whenever somebody looks at it."""
    folder = tmp_path / "sshd"
    (folder / "bin").mkdir(parents=True)
    copy_keys(sshd.folder, folder)
    (folder / "bin/python3").write_text(CLOCK.format(python=sys.executable, direction=request.param))
    (folder / "bin/python3").chmod(0o755)
    command = f'ForceCommand export PATH={folder}/bin:$PATH; eval "$SSH_ORIGINAL_COMMAND"\n'
    with serve(folder, free_port(), command) as server:
        yield server


def test_deadlines_and_locks_do_not_ask_the_clock(jumping_clock: Sshd, place: Path, tmp_path: Path) -> None:
    def converge(*operations: Operation) -> HostResult:
        target = jumping_clock.target()
        return apply({target: operations}, on_event=go_on, state_directory=str(tmp_path / "state"))["node-0"]

    def go_on(event: Event) -> None:
        # not before the wait's facts were read: it has begun, or has found the path there already
        if event.title.startswith("wait") and event.status == "started":
            (place / "flag").touch()
        if event.detail == "up":
            (place / "fifo").write_text("\n")

    os.mkfifo(place / "fifo")
    (place / "conf").write_text("from the future\n")
    os.utime(place / "conf", (4e9, 4e9))
    well = converge(
        own_file(place / "conf", "now\n"),
        Command(f"echo PROGRESS up; read line < {place}/fifo", progress=True, deadline_s=60, name="long"),
        Command(f"test -e {place}/tried || {{ touch {place}/tried; exit 1; }}", retries=1, retry_delay_s=0.1),
        WaitFor(path=str(place / "flag"), deadline_s=60),
    )
    assert well.error is None
    assert (place / "conf").read_text() == "now\n"
    ended = converge(Command(("sleep", "20"), deadline_s=0.2))
    assert "did not end within 0.2 s and was killed" in str(ended.error)
    waited = converge(WaitFor(path=str(place / "never"), deadline_s=0.2))
    assert "not there after 0.2 s" in str(waited.error)


def test_what_a_power_loss_tore_is_made_whole(sshd: Sshd, place: Path, tmp_path: Path) -> None:
    operations = (
        own_file(place / "file", "whole\n" * 1000),
        own_file(place / "empty", "whole\n"),
        LineInFile(str(place / "lines"), "last=1"),
        Link(str(place / "link"), "file"),
    )
    (place / "file").write_text("whole\n" * 500 + "who")
    (place / "empty").touch()
    (place / "lines").write_text("first=1\nlas")
    for name in ("file", "empty", "lines", "link"):
        (place / f".{name}.ansible_like").write_text("half")
    for expected in ("changed", "ok"):
        result = apply({sshd.target(): operations}, state_directory=str(tmp_path / "state"))["node-0"]
        assert [operation.status for operation in result.operations] == [expected] * 4
    assert (place / "file").read_text() == "whole\n" * 1000
    assert (place / "lines").read_text() == "first=1\nlas\nlast=1\n"
    assert sorted(path.name for path in place.iterdir()) == ["empty", "file", "lines", "link"]


@pytest.mark.e2e
def test_a_disk_that_is_full_keeps_what_was_there(node: Node) -> None:
    node.run("mkdir /small && mount -t tmpfs -o size=64k tmpfs /small && printf 'a=1\\nb=1\\n' > /small/conf")
    node.run("head -c 48k /dev/zero > /small/ballast")
    before = node.run("ls -A /small; cat /small/conf")
    too_large = File("/small/conf", "x" * 100_000)
    for operation, deed in (
        (too_large, "write /small/conf"),
        (replace(too_large, path="/small/new"), "write /small/new"),
        (Command("head -c 100000 /dev/zero > /small/new || { rm /small/new; exit 1; }"), "/bin/sh -c"),
    ):
        result = node.converge(operation, File("/never", ""))
        assert isinstance(result.error, StepFailed)
        assert deed in str(result.error)
        assert "No space left on device" in str(result.error)
        assert node.run("ls -A /small; cat /small/conf; test ! -e /never") == before
    node.run("mount -o remount,size=1m /small")
    assert [node.converge(too_large).operations[0].status for _ in range(2)] == ["changed", "ok"]


@pytest.mark.e2e
def test_an_engine_s_own_directory_without_room_is_told_and_nothing_is_done(node: Node) -> None:
    node.run("mkdir /tiny && mount -t tmpfs -o size=4k tmpfs /tiny && head -c 4k /dev/zero > /tiny/ballast")
    result = node.converge(Command("touch /never"), state_directory="/tiny/state")
    assert isinstance(result.error, StateUnusable)
    assert "No space left on device" in str(result.error)
    left = node.run("cd /tiny; find . -type f | sort; test ! -e /never")
    assert left.split() == ["./ballast", "./state/lock"]


def test_who_holds_a_lock_is_found_and_named(tmp_path: Path) -> None:
    paths = (str(tmp_path / "not there"), str(tmp_path / "free"), str(tmp_path / "lock"))
    for path in paths[1:]:
        Path(path).touch()
    assert locks.holder(paths) == ""
    command = [sys.executable, "-c", HOLDS, paths[2], "x" * 200]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        shown = " ".join(command)[: locks.SHOWN_CHARACTERS - 1] + "…"
        assert locks.holder(paths) == f"process {process.pid} (`{shown}`), which holds {paths[2]}"
        process.communicate(b"\n")
    assert locks.holder(paths) == ""
