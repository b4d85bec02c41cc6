"""A connection that ends in the middle is opened again, and the run goes on."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_like.operations import Command, Operation
from ansible_like.result import ConnectionLost, Event, HostResult, Interrupted
from ansible_like.runner import apply
from tests.ansible_like.conftest import Sshd
from tests.ansible_like.test_agent import own_file
from tests.ansible_like.test_apply import Relay, statuses
from tests.ansible_like.test_journal import counts, runs


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "host").mkdir()
    return tmp_path / "host"


def cut_once(place: Path) -> Command:
    """Waits for ever when it runs first, and not at all then."""
    script = f"test -e {place}/came && exit; touch {place}/came; echo PROGRESS up; sleep 1000; :"
    return Command(script, progress=True, name="cut")


Lead = Callable[..., HostResult]


@pytest.fixture
def lead(sshd: Sshd, tmp_path: Path) -> Lead:
    """Converge through a relay that is cut at each event for which ``cut_at`` holds."""

    def run(
        operations: tuple[Operation, ...],
        cut_at: Callable[[Event], bool],
        events: list[Event] | None = None,
        for_good: bool = False,
        **options: Any,
    ) -> HostResult:
        with Relay(sshd.port) as relay:

            def follow(event: Event) -> None:
                if events is not None:
                    events.append(event)
                if cut_at(event):
                    if for_good:
                        relay.close()
                    relay.cut()

            target = sshd.target(port=relay.port)
            state = str(tmp_path / "state")
            return apply({target: operations}, on_event=follow, state_directory=state, **options)["node-0"]

    return run


def test_it_goes_on_in_the_step_it_was_in(lead: Lead, place: Path) -> None:
    events: list[Event] = []
    steps = (own_file(place / "a", "1"), counts(place, "first"), cut_once(place), counts(place, "last"))
    result = lead(steps, lambda event: event.detail == "up", events)
    assert result.error is None
    # what was changed before the cut is told as such, though the second connection found it done
    assert statuses(result) == ["changed"] * 4
    assert (runs(place, "first"), runs(place, "last")) == (1, 1)
    told = [(event.index, event.status) for event in events]
    assert told == [
        *((1, "started"), (1, "changed"), (2, "started"), (2, "changed"), (3, "started")),
        *((3, "progress"), (3, "progress"), (3, "started"), (3, "changed"), (4, "started"), (4, "changed")),
    ]
    assert "connection ended when step 3 of 4, command cut, was running; connecting anew" in events[6].detail


def test_a_run_that_came_to_its_end_unheard_repeats_nothing(sshd: Sshd, place: Path, tmp_path: Path) -> None:
    os.mkfifo(place / "fifo")
    waits = Command(f"echo PROGRESS up; read line < {place}/fifo", progress=True, name="waits")
    state = tmp_path / "state"
    with Relay(sshd.port) as relay:

        def follow(event: Event) -> None:
            if event.detail == "up":
                relay.swallow()
                (place / "fifo").write_text("\n")
                with (state / "lock").open() as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX)  # until its agent has ended
                relay.cut()

        target = sshd.target(port=relay.port)
        steps = (waits, counts(place, "last"))
        result = apply({target: steps}, on_event=follow, state_directory=str(state))["node-0"]
    assert result.error is None
    assert [each.why[:10] for each in result.operations] == ["done at 20"] * 2
    assert runs(place, "last") == 1


def test_one_that_is_cut_each_time_in_the_same_step_has_failed(lead: Lead, place: Path) -> None:
    again_and_again = Command(f"echo x >> {place}/tries; echo PROGRESS up; sleep 1000; :", progress=True)
    result = lead((again_and_again,), lambda event: event.detail == "up")
    assert isinstance(result.error, ConnectionLost)
    assert "ended when step 1 of 1" in str(result.error)
    assert runs(place, "tries") == 4


def test_where_it_cannot_be_opened_again_both_are_told(lead: Lead, place: Path) -> None:
    result = lead((cut_once(place),), lambda e: e.detail == "up", for_good=True, reconnect_deadline_s=0.3)
    assert isinstance(result.error, ConnectionLost)
    assert "ended when step 1 of 1, command cut, was running; then SSH at" in result.error.what
    assert "did not answer within 0.3 s" in result.error.what


def test_it_is_not_opened_again_after_an_interrupt(
    lead: Lead, place: Path, interrupt_at_progress: Callable[[Event], None]
) -> None:
    ended: list[HostResult] = []

    def interrupt(event: Event) -> bool:
        interrupt_at_progress(event)
        return False

    with pytest.raises(KeyboardInterrupt):
        lead((cut_once(place),), interrupt, on_result=ended.append)
    assert isinstance(ended[0].error, Interrupted)
