"""Batches over a real sshd: who is tried, who is not, and what an interrupt leaves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from ansible_like.connection import Target
from ansible_like.operations import Command, Operation
from ansible_like.play import Rollout
from ansible_like.result import Event, HostResult, Interrupted, Unreachable
from ansible_like.rollout import RolloutResult, roll_out
from tests.ansible_like.conftest import Sshd, free_port

FAILS = (Command("exit 5", name="doomed"),)


def rolled_out(
    tmp_path: Path, batches: Sequence[dict[Target, Sequence[Operation]]], max_failures: int = 0, **more: Any
) -> RolloutResult:
    rollout = Rollout("site", tuple(batches), max_failures)
    return roll_out(rollout, connect_deadline_s=2, state_directory=str(tmp_path / "state"), **more)


@pytest.mark.parametrize(
    ("allowed", "tried", "not_tried"), [(0, ["a"], ("b", "c")), (1, ["a", "b"], ("c",)), (2, [*"abc"], ())]
)
def test_no_batch_starts_when_more_hosts_failed_than_may(
    sshd: Sshd, tmp_path: Path, allowed: int, tried: list[str], not_tried: tuple[str, ...]
) -> None:
    started: list[int] = []
    batches: list[dict[Target, Sequence[Operation]]] = [{sshd.target(name): FAILS} for name in "abc"]
    result = rolled_out(tmp_path, batches, allowed, on_batch=lambda number, _: started.append(number))
    assert (list(result.hosts), result.not_tried, result.exit_code) == (tried, not_tried, 1)
    assert [each.host for each in result.failed] == tried
    assert len(started) == len(tried)


def test_one_unreachable_host_hides_no_other(sshd: Sshd, tmp_path: Path) -> None:
    gone = sshd.target("gone", port=free_port())
    result = rolled_out(tmp_path, [{sshd.target("a"): (), gone: (), sshd.target("c"): ()}])
    assert {name: each.ok for name, each in result.hosts.items()} == {"a": True, "gone": False, "c": True}
    assert isinstance(result.hosts["gone"].error, Unreachable)
    assert result.exit_code == 1


def test_all_well(sshd: Sshd, tmp_path: Path) -> None:
    told: list[HostResult] = []
    batches: list[dict[Target, Sequence[Operation]]] = [{sshd.target("a"): ()}, {sshd.target("b"): ()}]
    result = rolled_out(tmp_path, batches, on_result=told.append)
    assert told == list(result.hosts.values())
    assert (result.failed, result.not_tried, result.exit_code) == ((), (), 0)


def test_an_interrupt_tells_who_was_done_who_was_not_and_who_was_not_tried(
    sshd: Sshd, tmp_path: Path, interrupt_at_progress: Callable[[Event], None]
) -> None:
    endless = (Command("echo PROGRESS up; sleep 1000; :", progress=True, name="endless"),)
    batches: list[dict[Target, Sequence[Operation]]] = [
        {sshd.target("a"): ()},
        {sshd.target("b"): endless},
        {sshd.target("c"): ()},
    ]
    result = rolled_out(tmp_path, batches, on_event=interrupt_at_progress)
    assert result.hosts["a"].ok
    assert isinstance(result.hosts["b"].error, Interrupted)
    assert (result.not_tried, result.interrupted, result.exit_code) == (("c",), True, 130)
