"""Hold the profiles' flags against the source article's, on two GPUs of one kind under the same loads.

    python -m scripts.bench_profiles runs FILE FILE      what vllm_load.py shall do, on each of two GPUs
    python -m scripts.bench_profiles compare [FILE …]    what it wrote, as a table, and ratios

The two for throughput are measured on both GPUs, at the same time, and crosswise. compare reads
docs/measurements/profiles/*.json and exits 1 when a profile is worse than the article's at what it is for:
`throughput` at tokens per second with the most requests at once, `latency` at the time per token of a single
request.
"""

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from statistics import median
from typing import Any

from cluster.profiles import TUNINGS, Profile, Tuning
from rehearsal.paths import REPO

KEPT = REPO / "docs" / "measurements" / "profiles"
FIGURES = ("request_throughput", "output_throughput", "median_ttft_ms", "median_tpot_ms")
MODEL = "meta-llama--Meta-Llama-3.1-8B"
LENGTH = ("--max-model-len", "32768")
LOADS = [
    {"concurrency": 1, "requests": 6},
    {"concurrency": 32, "requests": 96},
    {"concurrency": 256, "requests": 512},
    {"concurrency": 512, "requests": 768},
]
MOST = LOADS[-1]["concurrency"]
ARTICLE = {
    "article throughput": (
        *("--enable-chunked-prefill", "--max-num-batched-tokens", "32768"),
        *("--max-num-seqs", "256", "--gpu-memory-utilization", "0.95"),
    ),
    "article latency": (
        *("--max-num-batched-tokens", "8192", "--max-num-seqs", "64"),
        *("--gpu-memory-utilization", "0.85", "--enforce-eager"),
    ),
}
CLAIMS: dict[Profile, tuple[str, int, str]] = {
    "throughput": (f"tokens/s with {MOST} at once", MOST, "output_throughput"),
    "latency": ("time per token of a single request", 1, "median_tpot_ms"),
}
ORDERS = (
    ("throughput", "article throughput", "latency"),
    ("article throughput", "throughput", "article latency", "balanced"),
)
SLACK = 0.02
"""Two runs of the same flags can differ by so much with the most requests at once."""

Json = dict[str, Any]


def flags(tuning: Tuning) -> tuple[str, ...]:
    """A profile's flags of `vllm serve`."""
    share = ("--gpu-memory-utilization", f"{tuning.utilization:g}")
    return (*share, *(word for argument in tuning.arguments() for word in argument.words))


def runs(config: Json) -> list[Json]:
    """For each GPU its sets of flags on one model, and the loads."""
    sets = {name: flags(tuning) for name, tuning in TUNINGS.items()} | ARTICLE
    same = {"config": config, "input_tokens": 1024, "output_tokens": 128, "loads": LOADS}
    return [
        same | {"runs": [{"name": name, "args": [*LENGTH, *sets[name]]} for name in order]}
        for order in ORDERS
    ]


def at(kept: list[Json], name: str, concurrency: int) -> dict[str, float] | None:
    """A set's figures with so many requests at once, the median of its runs; None: it was not measured."""
    found = [
        load
        for results in kept
        for run in results["runs"]
        for load in run["loads"]
        if (run["name"], load["concurrency"]) == (name, concurrency)
    ]
    return {figure: median(load[figure] for load in found) for figure in FIGURES} if found else None


def table(kept: list[Json]) -> str:
    """Markdown: a line per set of flags and number of requests at once."""
    lines = [
        "| flags | runs | at once | requests/s | tokens/s | median TTFT ms | median TPOT ms |",
        "|---|---|---|---|---|---|---|",
    ]
    count = Counter(run["name"] for results in kept for run in results["runs"])
    for name in sorted(count):
        for load in LOADS:
            if one := at(kept, name, load["concurrency"]):
                figures = (
                    f"{one['request_throughput']:.2f} | {one['output_throughput']:,.0f} | "
                    f"{one['median_ttft_ms']:,.0f} | {one['median_tpot_ms']:.2f}"
                )
                lines.append(f"| {name} | {count[name]} | {load['concurrency']} | {figures} |")
    return "\n".join(lines)


def verdict(kept: list[Json], profile: Profile) -> float | None:
    """Its claim against the better of the article's: above 1 the profile is better; None: not measured."""
    _, concurrency, figure = CLAIMS[profile]
    ours = at(kept, profile, concurrency)
    theirs = [one[figure] for name in ARTICLE if (one := at(kept, name, concurrency))]
    if not ours or not theirs:
        return None
    return min(theirs) / ours[figure] if figure.endswith("_ms") else ours[figure] / max(theirs)


def main() -> None:
    """The two commands."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("runs").add_argument("files", type=Path, nargs=len(ORDERS), metavar="FILE")
    commands.add_parser("compare").add_argument("files", type=Path, nargs="*", metavar="FILE")
    options = parser.parse_args()
    if options.command == "runs":
        config = json.loads((REPO / "cluster" / "data" / "models" / f"{MODEL}.json").read_text())
        for file, one in zip(options.files, runs(config), strict=True):
            file.write_text(json.dumps(one))
        return
    kept = [json.loads(file.read_text()) for file in options.files or sorted(KEPT.glob("*.json"))]
    first = kept[0]
    machine = first["machine"]
    print(
        f"{machine['device']}, vLLM {machine['vllm']}, {first['date']}; Llama-3.1-8B's shape, dummy weights,"
    )
    print(f"{first['input_tokens']} tokens in and {first['output_tokens']} out\n")
    print(table(kept))
    print()
    ratios = {profile: verdict(kept, profile) for profile in CLAIMS}
    for profile, ratio in ratios.items():
        said = f"{ratio:.2f} × the better of the article's" if ratio else "not measured"
        print(f"{profile}, {CLAIMS[profile][0]}: {said}")
    sys.exit(0 if all(ratio and ratio >= 1 - SLACK for ratio in ratios.values()) else 1)


if __name__ == "__main__":
    main()
