"""Measures cells: boots the hosts once, then for every cell rounds of every peer, each from the same start.

A round of a peer: every host is reset, a first pass, a fingerprint of all that it touched, a second pass, and
the fingerprint again. The first passes start cold. A second pass finds what its own first pass left,
connections that Ansible keeps open included: that is how it is used at its best. Peers change their order
from round to round.
"""

import datetime
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cluster.problems import Failure
from rehearsal import image
from rehearsal.cached import say
from scripts.ssh_bench import cgroup, environments, fleet, peers, plays
from scripts.ssh_bench.fleet import Host
from scripts.ssh_bench.measure import measured
from scripts.ssh_bench.results import Cell, Results, Row
from scripts.ssh_bench.workloads import FINGERPRINT, RESET, TRACES, Workload, kernel_keys, touched, workload

FIRST_PORT = 20000
DEADLINE_S = 1800.0
ROUND_S = {"engine": 0.15, "ssh": 0.1, "fabric": 0.2, "ansible": 1.2, "mitogen": 0.5, "pyinfra": 1.0}
"""Roughly, a peer's share of a round for each host, of W2; for the estimate before a long run."""
WEIGHT = {"W1": 0.4, "W2": 1.0, "W3": 5.0, "W4": 25.0, "W5": 10.0}


def estimate_s(plan: Mapping[Cell, Sequence[str]], repeats: int) -> float:
    """About how long cells will take."""
    total = 0.0
    for cell, who in plan.items():
        far = 1 + cell.delay_ms / 100
        total += sum(ROUND_S[peer] for peer in who) * WEIGHT[cell.workload] * (cell.hosts + 3) * far * repeats
    return total


def about() -> dict[str, Any]:
    """What is measured where; kept is what was true at the latest run."""
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    model = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], check=False, capture_output=True, text=True
    )
    return {
        "machine": f"{os.cpu_count()} cores ({model}), {memory_gib:.0f} GiB, Linux {platform.release()}",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "commit": commit.stdout.strip(),
        "versions": environments.versions(),
    }


def measure(plan: Mapping[Cell, Sequence[str]], repeats: int, file: Path) -> None:
    """Measure what is missing in the results file; each finished round is kept. Raises Failure."""
    results = Results.load(file) if file.exists() else Results({}, {})
    open_cells = {
        cell: who
        for cell, who in plan.items()
        if any(
            len(results.row(cell, peer).second) < repeats and not results.row(cell, peer).failed
            for peer in who
        )
    }
    if not open_cells:
        return
    results.about = about()
    count = max(cell.hosts for cell in open_cells)
    say(f"booting {count} hosts …")
    with fleet.booted(count) as hosts:
        plays_written: set[str] = set()
        for cell, who in sorted(open_cells.items(), key=lambda item: (item[0].hosts, item[0].delay_ms)):
            work, play = workload(cell.workload), fleet.WORK / "plays" / cell.workload
            if cell.workload not in plays_written:
                plays.write(work, play)
                plays_written.add(cell.workload)
            with _reached(hosts[: cell.hosts], cell.delay_ms) as (reached, folder):
                _Cell(cell, work, play, reached, folder, results, file).measure(who, repeats)


@contextmanager
def _reached(hosts: Sequence[Host], delay_ms: int) -> Iterator[tuple[list[Host], Path]]:
    """The hosts as peers reach them: with a delay through one process of relays, without one directly."""
    folder = fleet.WORK / f"from-{delay_ms}-ms-{len(hosts)}"
    if not delay_ms:
        peers.furnish(folder, hosts, fleet.private_key())
        yield list(hosts), folder
        return
    far = [replace(host, address=fleet.GATEWAY, port=FIRST_PORT + index) for index, host in enumerate(hosts)]
    ways = [[fleet.GATEWAY, host.port, host.own_address] for host in far]
    argv = [sys.executable, "-m", "scripts.ssh_bench.relay", str(delay_ms)]
    relay = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        if relay.stdin and relay.stdout:
            relay.stdin.write(json.dumps(ways))
            relay.stdin.close()
            relay.stdout.readline()
        peers.furnish(folder, far, fleet.private_key())
        yield far, folder
    finally:
        relay.terminate()
        relay.wait()


@dataclass
class _Cell:
    """One cell while it is measured."""

    cell: Cell
    work: Workload
    play: Path
    hosts: list[Host]
    folder: Path
    results: Results
    file: Path

    def __post_init__(self) -> None:
        self.touched = touched(self.work.operations, image.root())
        self.kernel = self._kernel()
        self.reference: dict[str, Any] | None = None

    def measure(self, who: Sequence[str], repeats: int) -> None:
        for number in range(repeats):
            turn = number % len(who)
            for peer in (*who[turn:], *who[:turn]):
                row = self.results.row(self.cell, peer)
                if row.failed or len(row.second) > number:
                    continue
                self._round(peer, row)
                self.results.save(self.file)
        self._reset()

    def _round(self, peer: str, row: Row) -> None:
        group = cgroup.Controller(peer)
        home = fleet.WORK / "home"
        home.mkdir(exist_ok=True)
        command = peers.invocation(peer, self.cell.workload, self.folder, self.play, len(self.hosts))
        try:
            self._reset()
            first = measured(command, group, home, DEADLINE_S)
            self._compare(peer, "first")
            second = measured(command, group, home, DEADLINE_S)
            self._compare(peer, "second")
        except Failure as failure:
            row.failed = failure.args[0] if failure.args else str(failure)
            say(f"{self.cell.key}: {peer} FAILED: {failure}")
        else:
            row.first.append(first)
            row.second.append(second)
            say(
                f"{self.cell.key}: {peer:8} first {first.wall_s:7.2f} s, second {second.wall_s:7.2f} s, "
                f"CPU {second.cpu_s:6.2f} s, {second.peak_bytes / 2**20:4.0f} MiB"
            )
        finally:
            group.remove()

    def _compare(self, peer: str, which: str) -> None:
        """Every host of every peer has to be the same as the first one. Raises Failure."""
        for host, seen in fleet.on_each(self.hosts, FINGERPRINT, self.touched).items():
            if self.reference is None:
                self.reference = seen
            differs = [
                f"{name}: {self.reference.get(name)!r} but {seen.get(name)!r}"
                for name in sorted({*seen, *self.reference})
                if seen.get(name) != self.reference.get(name)
            ]
            if differs:
                raise Failure(
                    f"after its {which} pass {host} is not as it should be: " + "; ".join(differs[:5]),
                    f"Compare {peer}'s form of the workload with the engine's.",
                )

    def _kernel(self) -> dict[str, str]:
        asked = {
            "paths": [],
            "users": [],
            "groups": [],
            "units": [],
            "kernel_keys": kernel_keys(self.work.operations),
        }
        (seen,) = fleet.on_each(self.hosts[:1], FINGERPRINT, asked).values()
        return {name.removeprefix("kernel "): value for name, value in seen.items() if value != "absent"}

    def _reset(self) -> None:
        fleet.on_each(self.hosts, RESET, {**self.touched, "kernel": self.kernel, "traces": TRACES})
