"""An agent ends without its controller: not only when that goes, but also when it is no longer heard."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ansible_like import runner
from ansible_like.agent.values import GONE
from ansible_like.operations import Command, WaitFor
from ansible_like.result import ConnectionLost, Event
from ansible_like.runner import apply
from tests.ansible_like.agents import Agent
from tests.ansible_like.conftest import Sshd
from tests.ansible_like.test_agent import assert_gone


def test_a_command_is_ended_when_nothing_is_heard(tmp_path: Path) -> None:
    script = f"echo $$ > {tmp_path}/pid; echo PROGRESS up; sleep 1000; :"
    with Agent((Command(script, progress=True),), tmp_path / "state", silence_s=2) as agent:
        agent.until(progress="up")
        assert agent.event() == {"silent_s": 2}
        assert agent.process.wait(30) == GONE
    assert_gone(int((tmp_path / "pid").read_text()))
    with Agent((), tmp_path / "state") as after:
        assert after.results() == []


def test_a_wait_is_ended_when_nothing_is_heard(tmp_path: Path) -> None:
    waits = WaitFor(path=str(tmp_path / "never"), deadline_s=1000)
    with Agent((waits,), tmp_path / "state", silence_s=2) as agent:
        agent.until(silent_s=2)
        assert agent.process.wait(30) == GONE


def test_every_byte_is_a_sign_of_life(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    script = f"while read line; do echo PROGRESS $line; done < {tmp_path}/fifo"
    with Agent((Command(script, progress=True),), tmp_path / "state", silence_s=2) as agent:
        assert agent.process.stdin
        # beats over more than the silence that is allowed, each followed by an answer
        with (tmp_path / "fifo").open("w", buffering=1) as fifo:
            for number in range(6):
                agent.process.stdin.write(b".")
                agent.process.stdin.flush()
                fifo.write(f"{number}\n")
                agent.until(progress=str(number))
                threading.Event().wait(0.5)
        assert agent.until(status="changed")


def test_an_agent_that_nobody_reads_any_more_ends_too(tmp_path: Path) -> None:
    """The network vanished: what it says stays in the pipe until that is full, and then nothing moves."""
    script = f"echo $$ > {tmp_path}/pid; exec yes PROGRESS up"
    with Agent((Command(script, progress=True),), tmp_path / "state", silence_s=2) as agent:
        assert agent.process.wait(30) == GONE
    assert_gone(int((tmp_path / "pid").read_text()))


def test_the_controller_sends_signs_of_life(
    sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "KEEPALIVE_S", 0.1)
    monkeypatch.setattr(runner, "SILENCE_S", 2)
    quiet = Command("sleep 4", name="says nothing")
    result = apply({sshd.target(): (quiet,)}, state_directory=str(tmp_path / "state"))["node-0"]
    assert result.ok


def test_without_them_the_run_ends_and_says_why_in_plain_words(
    sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "KEEPALIVE_S", 1000)
    monkeypatch.setattr(runner, "SILENCE_S", 2)
    endless = Command("sleep 1000", name="endless")
    state = str(tmp_path / "state")
    result = apply({sshd.target(): (endless,)}, reconnect_deadline_s=0, state_directory=state)["node-0"]
    assert isinstance(result.error, ConnectionLost)
    assert "its agent heard nothing from this machine for 2 s" in str(result.error)
    assert "step 1 of 1, command endless, was running" in str(result.error)


STOPPED = """\
import sys
from pathlib import Path
from ansible_like import runner
from ansible_like.connection import Target
from ansible_like.operations import Command

runner.KEEPALIVE_S, runner.SILENCE_S = 0.2, 2
folder, port, user = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
key, host_key = (folder / "user_key").read_text(), (folder / "host_key.pub").read_text().strip()
target = Target("node-0", "127.0.0.1", user, key, (host_key,), port, sudo=False)
command = Command("echo PROGRESS up; sleep 1000; :", progress=True, name="endless")
events = lambda event: print(event.status, flush=True)
options = {"on_event": events, "reconnect_deadline_s": 0, "state_directory": sys.argv[4]}
result = runner.apply({target: (command,)}, **options)["node-0"]
print(result.error, flush=True)
"""


def test_a_controller_that_was_stopped_is_told_so_when_it_goes_on(sshd: Sshd, tmp_path: Path) -> None:
    user, state = sshd.target().user, tmp_path / "state"
    argv = [sys.executable, "-c", STOPPED, str(sshd.folder), str(sshd.port), user, str(state)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as controller:
        assert controller.stdout
        while "progress" not in controller.stdout.readline():
            assert controller.poll() is None
        controller.send_signal(signal.SIGSTOP)
        try:
            # the lock is free as soon as the agent has ended, while the controller still stands
            with Agent((), state, lock_wait_s=30) as after:
                assert after.results() == []
        finally:
            controller.send_signal(signal.SIGCONT)
        said = controller.stdout.read()
    assert "this machine was suspended or this program stopped" in said


def test_events_are_still_those_of_the_steps_alone(sshd: Sshd, tmp_path: Path) -> None:
    events: list[Event] = []
    apply(
        {sshd.target(): (Command("true"),)}, on_event=events.append, state_directory=str(tmp_path / "state")
    )
    assert [event.status for event in events] == ["started", "changed"]
