"""Lets the requests that run come to their end before a replica is stopped."""

import re

import httpx

from bootstrap.readiness import QUICK_S, Endpoint
from bootstrap.work import Work

POLL_S = 1.0
_RUNNING = re.compile(r"^vllm:num_requests_running(?:\{[^}]*\})? (\S+)$", re.MULTILINE)


def requests_running(metrics: str) -> int:
    """The number of requests in flight, over all engines of the server."""
    return int(sum(float(value) for value in _RUNNING.findall(metrics)))


def drain(endpoint: Endpoint, work: Work, deadline_s: float) -> None:
    """Waits until nothing runs or the deadline has passed; a server that is silent has nothing to drain."""
    until_s = work.elapsed_s + deadline_s
    while True:
        try:
            running = requests_running(httpx.get(f"{endpoint.root}/metrics", timeout=QUICK_S).text)
        except httpx.HTTPError:
            return
        if running == 0:
            return
        if work.elapsed_s >= until_s:
            work.step(f"stopping with {running} requests still running after {deadline_s:.0f} s")
            return
        work.step(f"draining: {running} requests running")
        work.pause(POLL_S)
