"""Jump hosts that many connections share, and turns where an sshd lets in only a few at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from ansible_like.connection import Connection, Target

HANDSHAKES: Final = 8  # sshd begins to drop at 10 that are not let in yet (MaxStartups 10:30:100)


class Turn:
    """A turn that somebody has, and gives back when it ends; to end it again does nothing."""

    def __init__(self, turns: threading.Semaphore) -> None:
        self._turns = turns
        self._ended = threading.Lock()

    def end(self) -> None:
        if self._ended.acquire(blocking=False):
            self._turns.release()


class Jumps:
    """The jump hosts of one run: each is connected to once, by whoever needs it first; a context manager."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._opened: dict[Target, Future[Connection]] = {}
        self._turns: dict[tuple[Target | None, str, int], threading.Semaphore] = {}

    def connection(self, jump: Target, opened: Callable[[Target], Connection]) -> Connection:
        """The one connection to the jump host; made by ``opened`` when there is none, or it is lost.

        Who waits for it meanwhile gets what ``opened`` raises, too.
        """
        with self._lock:
            known = self._opened.get(jump)
            mine: Future[Connection] = Future()
            if known is None or _is_over(known):
                self._opened[jump] = mine
                known = None
        if known:
            return known.result()
        try:
            mine.set_result(opened(jump))
        except BaseException as error:
            mine.set_exception(error)
            raise
        return mine.result()

    def turn(self, target: Target, limit_s: float) -> Turn | None:
        """One of the HANDSHAKES that may be made at once with the target's sshd; None: no turn came in time.

        It is that sshd which counts those who knock: a jump host's sees only channels of a connection that it
        let in long ago. Behind another jump host the same address is another machine.
        """
        with self._lock:
            place = (target.jump, target.address, target.port)
            turns = self._turns.setdefault(place, threading.Semaphore(HANDSHAKES))
        return Turn(turns) if turns.acquire(timeout=limit_s) else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # one that goes through another was asked for before it, so it is closed before it
        for each in self._opened.values():
            if each.done() and not each.exception():
                each.result().close()


def _is_over(known: Future[Connection]) -> bool:
    return known.done() and (known.exception() is not None or known.result().has_ended())
