"""How long the planner takes, as a multiple of an empty Python's start.

    .venv/bin/python -m scripts.bench_plan

Measures whole processes (help, a plan as JSON) and, inside this one, one plan and the search over every
type, for one model and for every model of the catalogue. Medians of several runs, and their ratio to
`python -c pass`.
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

RUNS = 7
MODEL = "deepseek-ai/DeepSeek-V3"
DRYDOCK = (sys.executable, "-m", "scripts.drydock")


def median_s(work: Callable[[], object]) -> float:
    """The median time of a call, in seconds."""
    times = []
    for _ in range(RUNS):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def process(*argv: str) -> Callable[[], object]:
    """A whole process, its output thrown away."""
    return lambda: subprocess.run(argv, stdout=subprocess.DEVNULL, check=True)


def main() -> None:
    """Print a line for each thing measured: seconds, and how many empty Pythons that is."""
    shape = snapshot(MODEL)
    if shape is None:
        sys.exit(f"{MODEL} is not in the catalogue")
    p5en, layout = instance_types()["p5en.48xlarge"], Layout(8, 1, 1, nodes=1)
    models = [found for name in snapshot_ids() if (found := snapshot(name))]
    empty_s = median_s(process(sys.executable, "-c", "pass"))
    measured = {
        "python -c pass": empty_s,
        "drydock plan --help": median_s(process(*DRYDOCK, "plan", "--help")),
        f"drydock plan --model {MODEL} --json": median_s(
            process(*DRYDOCK, "plan", "--model", MODEL, "--json")
        ),
        "one plan, imports apart": median_s(lambda: candidate(shape, p5en, layout, Wish())),
        "the search for one model over every type": median_s(lambda: search(shape, Wish())),
        f"the search for all {len(models)} models": median_s(
            lambda: [search(each, Wish()) for each in models]
        ),
    }
    for what, took_s in measured.items():
        print(f"{what:<52} {took_s * 1000:8.1f} ms  {took_s / empty_s:6.2f} ×")


if __name__ == "__main__":
    main()
