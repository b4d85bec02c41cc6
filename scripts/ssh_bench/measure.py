"""One run of a peer's command: how long, how much processor time, how much memory, of all its processes."""

import itertools
import os
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from cluster.problems import Failure
from scripts.ssh_bench import cgroup
from scripts.ssh_bench.peers import Invocation

SAMPLE_S = 0.05
LARGEST_EVERY = 4
"""Samples to one look at each process: it keeps its own peak, and looking costs time."""
LAST_LINES = 15


@dataclass(frozen=True)
class Usage:
    """What one run took."""

    wall_s: float
    cpu_s: float
    """User and system time of the command and all that it started, on this side of the connections."""
    peak_bytes: int
    """Sampled: the greater of the anonymous memory of all processes together and the largest resident set
    that one of them had."""


def measured(invocation: Invocation, group: cgroup.Controller, home: Path, deadline_s: float) -> Usage:
    """Run a command in a control group. Raises Failure when it fails or is not done by the deadline."""
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8", **invocation.environment,
    }  # fmt: skip
    output = home / "output"
    sampler = _Sampler(group)
    cpu_before_s = group.cpu_s()
    with output.open("wb") as file, sampler:
        begin = time.monotonic()
        process = subprocess.Popen(
            cgroup.started_in(group.paths, invocation.argv),
            stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, env=environment, cwd=home,
        )  # fmt: skip
        late = threading.Timer(deadline_s, group.end)
        late.start()
        process.wait()
        wall_s = time.monotonic() - begin
        late.cancel()
    cpu_s = group.cpu_s() - cpu_before_s
    if process.returncode != 0:
        lines = output.read_text(errors="replace").splitlines()[-LAST_LINES:]
        shown = "".join(f"\n    | {line}" for line in lines)
        argv = " ".join(invocation.argv)[:200]
        late_too = f" (its deadline is {deadline_s:.0f} s)" if wall_s >= deadline_s else ""
        raise Failure(f"{argv}: exit code {process.returncode} after {wall_s:.1f} s{late_too}{shown}", "")
    return Usage(wall_s, cpu_s, sampler.peak_bytes)


class _Sampler:
    """Watches a group's memory from a thread."""

    def __init__(self, group: cgroup.Controller) -> None:
        self.peak_bytes = 0
        self._group = group
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        for number in itertools.count():
            if self._ended.wait(SAMPLE_S):
                return
            now = self._group.memory_bytes()
            if number % LARGEST_EVERY == 0:
                now = max(now, self._group.largest_bytes())
            self.peak_bytes = max(self.peak_bytes, now)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
