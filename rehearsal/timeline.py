"""What took how long, and how much memory the machine had in use at most."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

SAMPLE_INTERVAL_S = 0.5


@dataclass(frozen=True)
class Phase:
    """One phase of a run: when it began, counted from the run's start, and how long it took."""

    name: str
    start_s: float
    duration_s: float


def memory_in_use_bytes(meminfo: str) -> int:
    """Memory that programs hold: the kernel's total less what it could still give (proc(5), MemAvailable)."""
    kib = {line.split(":")[0]: int(line.split()[1]) for line in meminfo.splitlines()}
    return (kib["MemTotal"] - kib["MemAvailable"]) * 1024


class Timeline:
    """Records phases; a thread samples the machine's memory meanwhile. Use it as a context manager."""

    def __init__(self) -> None:
        self.phases: list[Phase] = []
        self._begin_s = time.monotonic()
        self._done = threading.Event()
        self._memory_at_start_bytes = memory_in_use_bytes(Path("/proc/meminfo").read_text())
        self.peak_memory_bytes = 0
        self._sampler = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Self:
        self._sampler.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._sampler.join()

    def _sample(self) -> None:
        while True:
            in_use = memory_in_use_bytes(Path("/proc/meminfo").read_text()) - self._memory_at_start_bytes
            self.peak_memory_bytes = max(self.peak_memory_bytes, in_use)
            if self._done.wait(SAMPLE_INTERVAL_S):
                return

    def add_before(self, name: str, duration_s: float) -> None:
        """Put a phase that ran before this timeline began (set-up, which makes the environment we run in)."""
        self._begin_s -= duration_s
        self.phases.insert(0, Phase(name, 0.0, duration_s))

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time what runs inside; a phase that fails is recorded too."""
        start = time.monotonic()
        try:
            yield
        finally:
            self.phases.append(Phase(name, start - self._begin_s, time.monotonic() - start))

    @property
    def total_s(self) -> float:
        """The sum of all phases, in seconds."""
        return sum(phase.duration_s for phase in self.phases)

    def table(self) -> str:
        """The phases as plain text: seconds, share of the whole, a bar."""
        total = self.total_s or 1.0
        width = max(len(phase.name) for phase in self.phases)
        rows = [
            f"{p.name:<{width}}  {p.duration_s:7.1f} s  {p.duration_s / total:6.1%}  "
            + "█" * round(40 * p.duration_s / total)
            for p in self.phases
        ]
        rows.append(f"{'total':<{width}}  {self.total_s:7.1f} s")
        rows.append(f"{'peak memory':<{width}}  {self.peak_memory_bytes / 2**30:7.2f} GiB above the start")
        return "\n".join(rows)

    def write(self, path: Path) -> None:
        """Write the timeline as JSON: phases (seconds), total_s, peak_memory_bytes."""
        path.parent.mkdir(parents=True, exist_ok=True)
        document = {
            "phases": [asdict(phase) for phase in self.phases],
            "total_s": self.total_s,
            "peak_memory_bytes": self.peak_memory_bytes,
        }
        path.write_text(json.dumps(document, indent=2) + "\n")
