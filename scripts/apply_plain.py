"""A roll-out where no terminal is: plain lines, each led by its host."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Final, Self

from ansible_like.result import Event, HostResult, StepFailed
from ansible_like.rollout import RolloutResult
from scripts.apply_board import ACTIVE, Board
from scripts.apply_text import (
    clean,
    counted,
    counts_of,
    duration,
    error_lines,
    first_line,
    one_line,
    outcome_of,
    step_line,
    verdict,
)

PROGRESS_EVERY_S: Final = 5.0
"""At most one line of a host's progress in this time."""
SILENCE_S: Final = 30.0
"""After this time without a line, one says where the host is."""


class PlainView:
    """What changed, was skipped or failed, as it comes; steps that found nothing to do are only counted."""

    def __init__(
        self,
        play: str,
        batches: Sequence[Sequence[str]],
        *,
        check: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._play, self._batches = play, batches
        self._check, self._clock = check, clock
        self._board = Board(host for batch in batches for host in batch)
        self._told_s: dict[str, float] = {}
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._tell_silence, daemon=True)

    def __enter__(self) -> Self:
        self._watch.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._watch.join()

    def batch(self, number: int, hosts: Iterable[str]) -> None:
        hosts = list(hosts)
        with self._lock:
            self._board.start(hosts, self._clock())
            self._told_s.update(dict.fromkeys(hosts, self._clock()))
        mode = " (check, nothing is changed)" if self._check else ""
        names = ", ".join(map(one_line, hosts))
        say(f"{one_line(self._play)}{mode}: batch {number} of {len(self._batches)}: {names}")

    def event(self, event: Event) -> None:
        with self._lock:
            self._board.hear(event)
            since_s = self._clock() - self._told_s[event.host]
            if event.status in ("started", "ok"):
                return
            if event.status == "progress" and since_s < PROGRESS_EVERY_S:
                return
            lines = [step_line(event, self._check)]
            if event.result:
                lines += [f"  {line}" for line in clean(event.result.diff).strip("\n").splitlines()]
            self._tell(event.host, lines)

    def host(self, result: HostResult) -> None:
        with self._lock:
            self._board.end(result, self._clock())
            row = self._board.rows[result.host]
            # a step's failure has its line already
            more = (
                f": {first_line(result.error.what)}"
                if result.error and not isinstance(result.error, StepFailed)
                else ""
            )
            words = {"failed": "failed after", "interrupted": "ended after"}
            word = words.get(outcome_of(result), "done in")
            self._tell(result.host, [f"{word} {duration(row.elapsed_s(0.0))}{more}"])

    def interrupted(self) -> None:
        """Nothing to show: the hosts' own lines follow."""

    def tell_silent(self) -> None:
        """Say where those hosts are of which nothing was said for long: a log must not just stand still."""
        with self._lock:
            now_s = self._clock()
            for row in self._board.rows.values():
                if row.state in ACTIVE and now_s - self._told_s[row.host] >= SILENCE_S:
                    step = f"[{row.index}/{row.total}] {one_line(row.title)}" if row.total else row.state
                    detail = f": {first_line(row.detail)}" if row.detail else ""
                    self._tell(
                        row.host, [f"{step}{detail}, {duration(row.elapsed_s(now_s))} since its start"]
                    )

    def _tell_silence(self) -> None:
        with contextlib.suppress(BrokenPipeError):  # a host's own line will meet that too, and end the run
            while not self._over.wait(1):
                self.tell_silent()

    def _tell(self, host: str, lines: Iterable[str]) -> None:
        self._told_s[host] = self._clock()
        say("\n".join(f"{one_line(host)}: {line}" for line in lines))

    def summary(self, result: RolloutResult) -> None:
        """Each host's counts, then each error in full, then the last word."""
        for host, ended in result.hosts.items():
            word = f"{outcome_of(ended)}: " if ended.failed else ""
            say(f"{one_line(host)}: {word}{counted(counts_of(ended), self._check)}")
        for host in result.not_tried:
            say(f"{one_line(host)}: not tried")
        for host, ended in result.hosts.items():
            for line in error_lines(ended):
                say(f"{one_line(host)}: {line}")
        for line in verdict(self._play, result, self._check):
            say(line)


def say(text: str) -> None:
    """Print a line, or several, at once: logs are read while they grow."""
    print(text, flush=True)
