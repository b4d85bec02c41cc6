"""A roll-out for programs: JSON lines, as docs/apply.md describes them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Self

from ansible_like.result import Event, HostResult
from ansible_like.rollout import RolloutResult
from scripts.apply_board import Board
from scripts.apply_plain import say
from scripts.apply_text import clean, counts_of, outcome_of


class JsonView:
    """One object a line: each event, each host as it ends, and the summary last; see docs/apply.md."""

    def __init__(
        self,
        play: str,
        batches: Sequence[Sequence[str]],
        *,
        check: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._play, self._check, self._clock = play, check, clock
        self._began_s = clock()
        self._board = Board(host for batch in batches for host in batch)
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Every line is out already."""

    def batch(self, number: int, hosts: Iterable[str]) -> None:  # noqa: ARG002 - as the other views
        with self._lock:
            self._board.start(hosts, self._clock())

    def event(self, event: Event) -> None:
        result = event.result
        said = {
            "type": "event",
            "host": event.host,
            "index": event.index,
            "total": event.total,
            "title": event.title,
            "status": event.status,
            "detail": event.detail,
            "diff": (result.diff or None) if result else None,
            "stdout_tail": result.stdout_tail if result else None,
            "exit_code": result.exit_code if result else None,
            "duration_s": result.duration_s if result else None,
        }
        with self._lock:
            say(_json(said))

    def host(self, result: HostResult) -> None:
        with self._lock:
            self._board.end(result, self._clock())
            say(_json({"type": "host", **self._host(result)}))

    def interrupted(self) -> None:
        """The summary tells it."""

    def summary(self, result: RolloutResult) -> None:
        said = {
            "type": "summary",
            "play": self._play,
            "check": self._check,
            "exit_code": result.exit_code,
            "interrupted": result.interrupted,
            "duration_s": round(self._clock() - self._began_s, 3),
            "hosts": [self._host(each) for each in result.hosts.values()],
            "not_tried": list(result.not_tried),
        }
        say(_json(said))

    def _host(self, result: HostResult) -> dict[str, Any]:
        error = result.error
        return {
            "host": result.host,
            "outcome": outcome_of(result),
            **counts_of(result),
            "duration_s": round(self._board.rows[result.host].elapsed_s(0.0), 3),
            "error": {"type": type(error).__name__, "what": error.what, "remedy": error.remedy}
            if error
            else None,
        }


def _json(value: Any) -> str:
    return json.dumps(_cleaned(value))


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {key: _cleaned(each) for key, each in value.items()}
    return [_cleaned(each) for each in value] if isinstance(value, list) else value
