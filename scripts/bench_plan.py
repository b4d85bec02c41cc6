"""How long the planner takes, as a multiple of an empty Python's start.

    .venv/bin/python -m scripts.bench_plan

Measures whole processes (help, a plan as JSON) and, inside this one, one plan and the search over every
type, for one model and for every model of the catalogue; each time from empty caches, reading the catalogue
and the models' configs included. Medians of several runs, and their ratio to `python -c pass`. Exit code 1
when a limit is exceeded.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable

from cluster.catalog import instance_types
from cluster.layout import Layout
from cluster.models import snapshot, snapshot_ids
from cluster.search import Wish, candidate, search
from cluster.shape import ModelShape

RUNS = 7
MODEL, TYPE = "deepseek-ai/DeepSeek-V3", "p5en.48xlarge"
DRYDOCK = (sys.executable, "-m", "scripts.drydock")


def median_s(work: Callable[[], object]) -> float:
    """The median time of a call, in seconds."""
    times = []
    for _ in range(RUNS):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def forget() -> None:
    """Empty every cache of the planner, so that no run gains from the one before."""
    for name, module in list(sys.modules.items()):
        if name.startswith("cluster."):
            for value in list(vars(module).values()):
                if hasattr(value, "cache_clear"):
                    value.cache_clear()


def one_plan() -> None:
    """One model on one type in one layout."""
    forget()
    candidate(shape_of(MODEL), instance_types()[TYPE], Layout(8, 1, 1, nodes=1), Wish())


def searched(*models: str) -> Callable[[], object]:
    """The search over every type for each of these models."""

    def work() -> None:
        forget()
        for model in models:
            search(shape_of(model), Wish())

    return work


def shape_of(model: str) -> ModelShape:
    """The shape of a model of the catalogue."""
    shape = snapshot(model)
    assert shape is not None  # noqa: S101 - a name of the catalogue itself
    return shape


def process(*argv: str) -> Callable[[], object]:
    """A whole process, its output thrown away."""
    return lambda: subprocess.run(argv, stdout=subprocess.DEVNULL, check=True)


def main() -> None:
    """Print a line for each thing measured: seconds, and how many empty Pythons that is; 1 above a limit."""
    models = tuple(snapshot_ids())
    one = (*DRYDOCK, "plan", "--model", MODEL, "--json")
    measured = [
        ("python -c pass", process(sys.executable, "-c", "pass"), None),
        ("drydock plan --help", process(*DRYDOCK, "plan", "--help"), 0.4),
        (f"drydock plan --model {MODEL} --json", process(*one), None),
        ("one plan, imports apart", one_plan, 0.05),
        ("the search for one model over every type", searched(MODEL), None),
        (f"the search for all {len(models)} models", searched(*models), 0.5),
    ]
    times_s = [median_s(work) for _, work, _ in measured]
    for (what, _, limit_s), took_s in zip(measured, times_s, strict=True):
        limit = f"  (limit {limit_s * 1000:.0f} ms)" if limit_s else ""
        print(f"{what:<52} {took_s * 1000:8.1f} ms  {took_s / times_s[0]:6.2f} ×{limit}")
    late = any(limit_s and took_s > limit_s for (*_, limit_s), took_s in zip(measured, times_s, strict=True))
    sys.exit(1 if late else 0)


if __name__ == "__main__":
    main()
