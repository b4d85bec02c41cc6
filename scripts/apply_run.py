"""What stands around a roll-out: the view that fits where it is seen, and what Ctrl-C does."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from types import FrameType, TracebackType
from typing import Protocol, Self

from ansible_like.play import Rollout
from ansible_like.result import Event, HostResult
from ansible_like.rollout import RolloutResult, roll_out
from cluster.problems import Failure
from scripts.console import standard_output


class View(Protocol):
    """Shows a roll-out while its block lasts, and its summary after it; called from the hosts' threads."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def batch(self, number: int, hosts: Iterable[str]) -> None: ...

    def event(self, event: Event) -> None: ...

    def host(self, result: HostResult) -> None: ...

    def interrupted(self) -> None: ...

    def summary(self, result: RolloutResult) -> None: ...


def view_of(rollout: Rollout, *, check: bool, as_json: bool) -> View:
    """A live table on a terminal, plain lines elsewhere, JSON lines where they are asked for."""
    batches = [[target.name for target in batch] for batch in rollout.batches]
    if as_json:
        from scripts.apply_json import JsonView

        return JsonView(rollout.name, batches, check=check)
    console = standard_output()
    # FORCE_COLOR, which CI likes to set, makes no terminal of a log
    if sys.stdout.isatty() and console.is_interactive:
        from scripts.apply_live import LiveView

        return LiveView(rollout.name, batches, check=check, console=console)
    from scripts.apply_plain import PlainView

    return PlainView(rollout.name, batches, check=check)


def run(
    rollout: Rollout,
    view: View,
    *,
    check: bool,
    diff: bool,
    connect_deadline_s: float,
    state_directory: str | None,
) -> RolloutResult:
    """Roll out, shown by the view. Raises Failure when nobody reads the output any more."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a host's letters may be none of this terminal's
    with _one_interrupt(view), _read_by_someone():
        with view:
            result = roll_out(
                rollout,
                check=check,
                diff=diff,
                connect_deadline_s=connect_deadline_s,
                on_batch=lambda number, batch: view.batch(number, [target.name for target in batch]),
                on_event=view.event,
                on_result=view.host,
                state_directory=state_directory,
            )
        view.summary(result)
    return result


@contextlib.contextmanager
def _one_interrupt(view: View) -> Iterator[None]:
    """The first Ctrl-C ends the hosts' runs; from then on another one would only tear their ending."""
    interrupted = False

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        nonlocal interrupted
        interrupted = True
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        view.interrupted()
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:  # started in the background: the terminal's Ctrl-C is meant for others
        yield
        return
    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        if not interrupted:
            signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _read_by_someone() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        # what is still to be flushed at the end goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise Failure(
            "nobody reads the output any more, and the runs were ended",
            "run it again: it goes on where it stopped",
        ) from error
