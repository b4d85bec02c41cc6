"""One cloud a machine: the lock that its daemon holds, and who holds it since when."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from rehearsal.cloud import places


class Running(Exception):  # noqa: N818 - a fact, not a fault
    """Another daemon holds the lock."""

    def __init__(self, pid: int, since: str) -> None:
        self.pid, self.since = pid, since
        super().__init__(f"the cloud runs already: pid {pid}, since {since}")


@contextmanager
def sole() -> Iterator[str]:
    """Holds the cloud's lock, and gives the time since when; raises `Running` where another has it."""
    places.LOCK.parent.mkdir(parents=True, exist_ok=True)
    with places.LOCK.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise holder() or Running(0, "just now") from None
        since = datetime.now(UTC).isoformat(timespec="seconds")
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid(), "since": since}))
        file.flush()
        yield since


def holder() -> Running | None:
    """The daemon that holds the lock, or None."""
    try:
        with places.LOCK.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                held = json.loads(file.read() or '{"pid": 0, "since": "just now"}')
                return Running(held["pid"], held["since"])
    except FileNotFoundError:
        pass
    return None
