"""A piece of work that may take long: it reports its steps and stops at the next one when it is cancelled."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from cluster.problems import Failure


@dataclass(frozen=True)
class Work:
    """Where the steps of one resource's work are told, and what stops it."""

    say: Callable[[str], None]
    deadline_s: float
    cancelled: threading.Event = field(default_factory=threading.Event)
    started_s: float = field(default_factory=time.monotonic)

    def step(self, text: str) -> None:
        """Tells what happens now; raises Failure instead when the work was cancelled."""
        self.check()
        self.say(text)

    def check(self) -> None:
        """Raises Failure when the work was cancelled."""
        if self.cancelled.is_set():
            raise Failure("cancelled before the next step", "run `pulumi up` again: it goes on from here")

    def pause(self, seconds: float) -> None:
        """Waits, but not beyond a cancellation."""
        self.cancelled.wait(seconds)
        self.check()

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self.started_s

    @property
    def left_s(self) -> float:
        """Seconds until the deadline; 0 when it has passed."""
        return max(0.0, self.deadline_s - self.elapsed_s)
