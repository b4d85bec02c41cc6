"""Carry out a compiled play: one batch after the other, and one value for what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ansible_like.play import Batch, Rollout
from ansible_like.result import Event, HostResult
from ansible_like.runner import apply


@dataclass(frozen=True)
class RolloutResult:
    """What came of every host, in their order; those that were not tried, and whether Ctrl-C ended it."""

    hosts: dict[str, HostResult]
    not_tried: tuple[str, ...] = ()
    interrupted: bool = False

    @property
    def failed(self) -> tuple[HostResult, ...]:
        return tuple(result for result in self.hosts.values() if result.failed)

    @property
    def exit_code(self) -> int:
        """0: all hosts are as wanted; 1: some failed or were not tried; 130: interrupted."""
        if self.interrupted:
            return 130
        return 1 if self.failed or self.not_tried else 0


def roll_out(
    rollout: Rollout,
    *,
    check: bool = False,
    diff: bool = False,
    connect_deadline_s: float = 300,
    reconnect_deadline_s: float = 300,
    on_batch: Callable[[int, Batch], None] | None = None,
    on_event: Callable[[Event], None] | None = None,
    on_result: Callable[[HostResult], None] | None = None,
    state_directory: str | None = None,
) -> RolloutResult:
    """Converge batch after batch until more hosts failed than may; Ctrl-C ends it and is told in the result.

    ``on_batch`` is called with the batch's number (from 1) before it starts; the others as in ``apply``.
    """
    ended: dict[str, HostResult] = {}
    interrupted = False

    def keep(result: HostResult) -> None:
        ended[result.host] = result
        if on_result:
            on_result(result)

    try:
        for number, batch in enumerate(rollout.batches, start=1):
            if sum(result.failed for result in ended.values()) > rollout.max_failures:
                break
            if on_batch:
                on_batch(number, batch)
            apply(
                batch,
                check=check,
                diff=diff,
                connect_deadline_s=connect_deadline_s,
                reconnect_deadline_s=reconnect_deadline_s,
                purpose=f"play {rollout.name}",
                on_event=on_event,
                on_result=keep,
                state_directory=state_directory,
            )
    except KeyboardInterrupt:
        interrupted = True
    names = [target.name for batch in rollout.batches for target in batch]
    return RolloutResult(
        {name: ended[name] for name in names if name in ended},
        tuple(name for name in names if name not in ended),
        interrupted,
    )
