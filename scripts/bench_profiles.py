"""Hold the profiles' flags against the source article's, on one GPU under the same loads.

    python -m scripts.bench_profiles runs FILE --tokenizer FOLDER  what vllm_load.py shall do
    python -m scripts.bench_profiles compare FILE                  what it wrote, as a table, and ratios

compare exits 1 when a profile is worse than the article's at what it is for: `throughput` at tokens per
second with the most requests at once, `latency` at the time per token of a single request.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from cluster.profiles import TUNINGS, Tuning
from rehearsal.paths import REPO

MODEL = "meta-llama--Meta-Llama-3.1-8B"
LENGTH = ("--max-model-len", "32768")
LOADS = [
    {"concurrency": 1, "requests": 12},
    {"concurrency": 32, "requests": 160},
    {"concurrency": 256, "requests": 768},
]
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
SLACK = 0.02
"""Two runs of the same flags differ by so much."""

Json = dict[str, Any]


def flags(tuning: Tuning) -> tuple[str, ...]:
    """A profile's flags of `vllm serve`."""
    share = ("--gpu-memory-utilization", f"{tuning.utilization:g}")
    return (*share, *(word for argument in tuning.arguments() for word in argument.words))


def runs(config: Json, tokenizer: str) -> Json:
    """The profiles and the article's flags on one model, and the loads."""
    sets = {name: flags(tuning) for name, tuning in TUNINGS.items()} | ARTICLE
    return {
        "config": config,
        "tokenizer": tokenizer,
        "input_tokens": 1024,
        "output_tokens": 128,
        "loads": LOADS,
        "runs": [{"name": name, "args": [*LENGTH, *words]} for name, words in sets.items()],
    }


def at(run: Json, concurrency: int) -> Json:
    """A run's figures with so many requests at once."""
    return dict(next(load for load in run["loads"] if load["concurrency"] == concurrency))


def table(kept: Json) -> str:
    """Markdown: a line per set of flags and number of requests at once."""
    lines = [
        "| flags | at once | requests/s | tokens/s | median TTFT ms | median TPOT ms |",
        "|---|---|---|---|---|---|",
    ]
    for run in kept["runs"]:
        for load in run["loads"]:
            figures = (
                f"{load['request_throughput']:.2f} | {load['output_throughput']:,.0f} | "
                f"{load['median_ttft_ms']:,.0f} | {load['median_tpot_ms']:.2f}"
            )
            lines.append(f"| {run['name']} | {load['concurrency']} | {figures} |")
    return "\n".join(lines)


def verdicts(kept: Json) -> list[tuple[str, float]]:
    """Each claim with its ratio to the best of the article's: above 1 the profile is better."""
    by_name = {run["name"]: run for run in kept["runs"]}
    article = [by_name[name] for name in ARTICLE]
    tokens = at(by_name["throughput"], 256)["output_throughput"]
    tpot = at(by_name["latency"], 1)["median_tpot_ms"]
    return [
        (
            "throughput, 256 at once: tokens/s",
            tokens / max(at(run, 256)["output_throughput"] for run in article),
        ),
        ("latency, one at a time: TPOT", min(at(run, 1)["median_tpot_ms"] for run in article) / tpot),
    ]


def main() -> None:
    """The two commands."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    made = commands.add_parser("runs")
    made.add_argument("file", type=Path)
    made.add_argument("--tokenizer", required=True, help="its folder on the GPU machine")
    commands.add_parser("compare").add_argument("file", type=Path)
    options = parser.parse_args()
    if options.command == "runs":
        config = json.loads((REPO / "cluster" / "data" / "models" / f"{MODEL}.json").read_text())
        options.file.write_text(json.dumps(runs(config, options.tokenizer)))
        return
    kept = json.loads(options.file.read_text())
    found = verdicts(kept)
    machine = kept["machine"]
    print(
        f"{machine['device']}, vLLM {machine['vllm']}, {kept['date']}; Llama-3.1-8B's shape, dummy weights,"
    )
    print(f"{kept['input_tokens']} tokens in and {kept['output_tokens']} out\n")
    print(table(kept))
    print()
    for what, ratio in found:
        print(f"{what}: {ratio:.2f} × the better of the article's")
    sys.exit(0 if all(ratio >= 1 - SLACK for _, ratio in found) else 1)


if __name__ == "__main__":
    main()
