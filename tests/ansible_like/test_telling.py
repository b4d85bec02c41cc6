"""What the agent says goes in few packets, and is on its way before it waits."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_like.agent import controller, main
from ansible_like.operations import Command
from tests.ansible_like.agents import Agent
from tests.ansible_like.test_agent import own_file


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The other end of the agent's stdout."""
    readable, writable = os.pipe()
    os.set_blocking(readable, False)
    monkeypatch.setattr(controller, "STDOUT", writable)
    monkeypatch.setattr(controller, "_untold", bytearray())
    yield readable
    os.close(readable)
    os.close(writable)


def test_lines_that_follow_each_other_at_once_go_together(
    heard: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(controller, "_told_at", float("inf"))  # just now, and for as long as this takes
    for _ in range(3):
        controller.tell(b"line\n")
    with pytest.raises(BlockingIOError):
        os.read(heard, 100)
    controller.flush()
    assert os.read(heard, 100) == b"line\n" * 3


def test_no_line_waits_for_long_nor_for_many(heard: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controller, "_told_at", float("-inf"))
    controller.tell(b"after a pause\n")
    assert os.read(heard, 100) == b"after a pause\n"
    monkeypatch.setattr(controller, "_told_at", float("inf"))
    controller.tell(b"x" * controller.TOLD_AT_ONCE_BYTES)
    assert len(os.read(heard, 1 << 16)) == controller.TOLD_AT_ONCE_BYTES


def test_a_step_is_told_before_its_guard_or_its_command_runs(tmp_path: Path) -> None:
    fifo = tmp_path / "go on"
    os.mkfifo(fifo)
    guarded = Command("true", unless=f"read line < '{fifo}'", name="guarded")
    steps = (own_file(tmp_path / "a", ""), guarded)
    with Agent(steps, tmp_path / "state") as agent:
        assert agent.until(status="started", index=1)
        fifo.write_text("\n")
        assert agent.until(index=1, status="ok")


def test_a_step_that_ended_at_once_is_told_in_one_line(heard: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controller, "_told_at", float("inf"))
    channel = main.Channel([])
    channel.say(index=0, status="started")
    channel.say(index=0, duration_s=0.0, status="ok")
    channel.say(index=1, status="started")
    controller.flush()
    channel.say(index=1, duration_s=9.0, status="ok")
    channel.say(end=True)
    told = [json.loads(line) for line in os.read(heard, 1000).splitlines()]
    assert [(each.get("index"), each.get("status")) for each in told] == [
        *((0, "ok"), (1, "started"), (1, "ok")),
        (None, None),
    ]
