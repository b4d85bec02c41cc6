"""Hold the planner's memory against vLLM's own figures.

    python -m scripts.bench_planner cases WHERE FILE [--configs FOLDER]      what vllm_probe.py shall start
    python -m scripts.bench_planner keep RESULTS.json CASES.json FILE       its results, as data to commit
    python -m scripts.bench_planner compare [FILE …]                        ours, vLLM's, and the error

compare reads docs/measurements/planner/*.json and exits 1 when a case is further off than the limits: 3 % of
the KV cache's tokens, 0.5 % of the weights. On a CPU vLLM takes its pool from what its process already uses,
which is no matter of a model: there the planner is given the pool, and the cut into blocks and tokens is
compared. On a GPU the weights are the tensors that vLLM holds after loading; its 'Model loading took' counts
beside them what the allocator keeps of the load, and is shown too. Latent attention's absorbed weights are no
tensors of the model: there ours are held against the loading (not with an indexer, whose buffers it counts).
vLLM 0.24.0 keeps mxfp4's scales twice, which the pinned version no longer does: they are taken from the GPU
before ours is asked, and from vLLM's weights.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cluster.kv_cache import kv_cache
from cluster.memory import Layout, Request, memory_plan, with_quantization
from cluster.models import shape_from_config
from cluster.shape import ModelShape
from rehearsal.paths import REPO
from scripts.planner_cases import H100_CASES, H200_CASES, cpu_cases, gpu_cases

KEPT = REPO / "docs" / "measurements" / "planner"
GPU_CASES = {"h100": H100_CASES, "h200": H200_CASES}
TOKENS_LIMIT, WEIGHTS_LIMIT = 0.03, 0.005

Json = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """One case: our figures and vLLM's; weights are None where vLLM's say nothing (a CPU repacks them)."""

    name: str
    tokens: int
    vllm_tokens: int
    weights_bytes: int | None
    vllm_weights_bytes: int | None
    vllm_loading_bytes: int | None

    @property
    def tokens_error(self) -> float:
        """Ours over vLLM's, less one."""
        return self.tokens / self.vllm_tokens - 1

    @property
    def weights_error(self) -> float | None:
        """Ours over vLLM's, less one."""
        if self.weights_bytes is None or not self.vllm_weights_bytes:
            return None
        return self.weights_bytes / self.vllm_weights_bytes - 1

    @property
    def is_right(self) -> bool:
        """Whether both errors are within the limits."""
        return abs(self.tokens_error) <= TOKENS_LIMIT and abs(self.weights_error or 0) <= WEIGHTS_LIMIT


def row(record: Json, configs: Json) -> Row:
    """The planner's answer to the case that vLLM answered."""
    args, workers = record["args"], record["workers"]
    shape = with_quantization(
        shape_from_config(configs[record["config"]], record["config"]), args.get("quantization")
    )
    if "limit_mm_per_prompt" in args:
        shape = replace(shape, vision=None)
    layout = Layout(
        tensor_parallel_size=args.get("tensor_parallel_size", 1),
        pipeline_parallel_size=args.get("pipeline_parallel_size", 1),
        expert_parallel=args.get("enable_expert_parallel", False),
    )
    theirs = record["cache"]["kv_cache_tokens"]
    if "total_memory_bytes" not in workers[0]:
        return Row(record["name"], cpu_tokens(shape, layout, record), theirs, None, None, None)
    request = Request(
        max_model_len=args["max_model_len"],
        utilization=args["gpu_memory_utilization"],
        max_num_batched_tokens=args["max_num_batched_tokens"],
        max_num_seqs=args["max_num_seqs"],
        kv_cache_dtype=args.get("kv_cache_dtype", "auto"),
        enforce_eager=args.get("enforce_eager", False),
        overlapping=False,
        prefix_caching=not keeps_one_state(record),
    )
    fullest = max(workers, key=lambda worker: int(worker["model_memory_bytes"]))
    twice_bytes = fullest.get("kept_twice_bytes", 0)
    # What this vLLM keeps twice and the pinned one no longer does is taken from the GPU, on both sides alike.
    total = workers[0]["total_memory_bytes"] - twice_bytes / request.utilization
    ours = memory_plan(shape, layout, int(total), request)
    loading = fullest["model_memory_bytes"]
    absorbed = shape.mla is not None and not shape.mla.index_heads
    theirs_bytes = loading if absorbed else fullest["tensors_bytes"]
    if twice_bytes:
        known = "packed_bytes" in fullest
        theirs_bytes = fullest["tensors_bytes"] + fullest["packed_bytes"] - twice_bytes if known else None
    return Row(record["name"], ours.kv_cache_tokens, theirs, ours.weights_bytes, theirs_bytes, loading)


def keeps_one_state(record: Json) -> bool:
    """Whether linear attention ran without prefix caching: its state's block then spans a whole request."""
    groups = record["workers"][0]["kv"]["groups"]
    length = record["args"]["max_model_len"]
    return any(group["kind"] == "MambaSpec" and group["block_size"] == length for group in groups)


def cpu_tokens(shape: ModelShape, layout: Layout, record: Json) -> int:
    """The tokens of the smallest worker's pool, cut as the planner cuts it on a CPU."""
    args = record["args"]
    cut = kv_cache(
        shape,
        layout,
        max_model_len=args["max_model_len"],
        max_num_batched_tokens=args["max_num_batched_tokens"],
        kv_cache_dtype="auto",
        on_cpu=True,
        overlapping=False,
    )
    return cut.tokens(
        min(worker["available_kv_bytes"] for worker in record["workers"]), args["max_model_len"]
    )


def rows(kept: Json) -> list[Row]:
    """The comparison of every record of a file."""
    return [row(record, kept["configs"]) for record in kept["records"]]


def report(kept: Json, compared: Sequence[Row]) -> str:
    """Markdown: a file's machine, vLLM and date, and the table of its cases."""
    machine = kept["machine"]
    heading = f"{machine.get('device', 'CPU')}, vLLM {machine['vllm']}, {kept['date']}:"
    return f"{heading}\n\n{table(compared)}\n"


def kept_form(results: Json, cases: Json) -> Json:
    """Results as data to commit: the cases that vLLM answered, tensors as their sum, and the configs used."""
    records = []
    for record in results["records"]:
        if "workers" in record and "cache" in record:
            workers = [kept_worker(worker) for worker in record["workers"]]
            records.append({**record, "workers": workers})
    used = {record["config"] for record in records}
    configs = {name: config for name, config in cases["configs"].items() if name in used}
    return {**results, "configs": configs, "records": records}


def kept_worker(worker: Json) -> Json:
    """A worker's figures with its tensors as their sum, and mxfp4's packed experts and doubled scales."""
    tensors, others = worker["tensors"], worker.get("others", {})
    figures = {name: value for name, value in worker.items() if name not in ("tensors", "others")}
    figures["tensors_bytes"] = sum(tensors.values())
    twice = sum(size for name, size in tensors.items() if name.endswith("_weight_scale uint8"))
    if twice:
        figures["kept_twice_bytes"] = twice
        packed = [size for name, size in others.items() if name.startswith("uint8") and "x" in name]
        figures |= {"packed_bytes": sum(packed)} if packed else {}
    return figures


def table(compared: Sequence[Row]) -> str:
    """Markdown: a line per case, the ones beyond a limit marked."""
    lines = [
        "| case | KV tokens, ours | vLLM's | error | weights GiB, ours | vLLM's | error | loading took |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in compared:
        weights = " | ".join(gib(size) for size in (one.weights_bytes, one.vllm_weights_bytes))
        error = "–" if one.weights_error is None else f"{one.weights_error:+.2%}"
        tokens = f"{one.tokens:,} | {one.vllm_tokens:,} | {one.tokens_error:+.2%}"
        mark = "" if one.is_right else " **off**"
        lines.append(f"| {one.name}{mark} | {tokens} | {weights} | {error} | {gib(one.vllm_loading_bytes)} |")
    return "\n".join(lines)


def gib(size_bytes: int | None) -> str:
    """GiB with two digits; a dash for nothing."""
    return "–" if size_bytes is None else f"{size_bytes / 1024**3:.2f}"


def main() -> None:
    """The three commands."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    cases = commands.add_parser("cases")
    cases.add_argument("where", choices=["cpu", *GPU_CASES])
    cases.add_argument("file", type=Path)
    cases.add_argument("--configs", type=Path, default=REPO / "cluster" / "data" / "models")
    keep = commands.add_parser("keep")
    for name in ("results", "cases", "file"):
        keep.add_argument(name, type=Path)
    commands.add_parser("compare").add_argument("files", type=Path, nargs="*")
    options = parser.parse_args()
    if options.command == "cases":
        chosen = GPU_CASES.get(options.where)
        made = gpu_cases(chosen, options.configs) if chosen else cpu_cases()
        options.file.write_text(json.dumps(made))
    elif options.command == "keep":
        results, given = (json.loads(file.read_text()) for file in (options.results, options.cases))
        options.file.write_text(json.dumps(kept_form(results, given), indent=1) + "\n")
    else:
        files = options.files or sorted(KEPT.glob("*.json"))
        found = [(kept, rows(kept)) for kept in (json.loads(file.read_text()) for file in files)]
        print("\n".join(report(kept, compared) for kept, compared in found))
        sys.exit(0 if all(one.is_right for _, compared in found for one in compared) else 1)


if __name__ == "__main__":
    main()
