"""Control groups: one for each node's systemd, and one around a peer's processes to count what they use."""

import contextlib
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from rehearsal.cloud import cgroups

ROOT = Path("/sys/fs/cgroup")
PREFIX = "drydock-bench-ssh-"


class Controller:
    """The groups around all that a peer runs on this machine, under either version of control groups."""

    def __init__(self, name: str) -> None:
        if (ROOT / "cpuacct").is_dir():
            self.paths = [_made(ROOT / kind / f"{PREFIX}{name}") for kind in ("cpuacct", "memory")]
        else:
            self.paths = [_made(ROOT / f"{PREFIX}{name}")]

    def cpu_s(self) -> float:
        """User and system time of every process that was ever in it, in seconds."""
        if len(self.paths) == 2:
            return int((self.paths[0] / "cpuacct.usage").read_text()) / 1e9
        return _field(self.paths[0] / "cpu.stat", "usage_usec") / 1e6

    def memory_bytes(self) -> int:
        """Anonymous memory now; what processes share after a fork counts once."""
        if len(self.paths) == 2:
            return _field(self.paths[1] / "memory.stat", "total_rss")
        return _field(self.paths[0] / "memory.stat", "anon")

    def largest_bytes(self) -> int:
        """The largest resident set that one of its processes has had since it began its program."""
        largest = 0
        for pid in (self.paths[0] / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError, StopIteration):
                largest = max(largest, _field(Path("/proc", pid, "status"), "VmHWM:") << 10)
        return largest

    def end(self) -> None:
        """End what still runs in it, such as a connection kept open for the next command."""
        for path in self.paths:
            _empty(path)

    def remove(self) -> None:
        for path in self.paths:
            remove(path)


def node(name: str) -> tuple[Path, ...]:
    """The groups of a node's systemd, one in each hierarchy that it uses."""
    return tuple(_made(group) for group in cgroups.groups(PREFIX + name))


def started_in(groups: Sequence[Path], argv: Sequence[str]) -> list[str]:
    """The argument list of a command that is in the groups before it does anything."""
    enter = "".join(f"echo $$ > {group}/cgroup.procs; " for group in groups)
    return ["sh", "-c", f'{enter}exec "$@"', "sh", *argv]


def remove(group: Path) -> None:
    """End what still runs in a group, and remove it with the groups inside."""
    for path, _, _ in os.walk(group, topdown=False):
        _empty(Path(path))
        Path(path).rmdir()


def groups() -> list[Path]:
    """Every group of a bench; there is one bench at a time."""
    return [*ROOT.glob(f"{PREFIX}*"), *ROOT.glob(f"*/{PREFIX}*")]


def _empty(group: Path) -> None:
    while pids := (group / "cgroup.procs").read_text().split():
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        time.sleep(0.01)


def _field(file: Path, name: str) -> int:
    return next(int(line.split()[1]) for line in file.read_text().splitlines() if line.split()[0] == name)


def _made(path: Path) -> Path:
    path.mkdir(exist_ok=True)
    return path
