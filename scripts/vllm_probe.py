"""What vLLM itself says about its memory: starts it on made model shapes and writes down its own figures.

    python3 vllm_probe.py CASES.json RESULTS.json [--only NAME,NAME] [--seconds N] [--logs FOLDER]

Runs where vLLM is installed (a node of the rehearsal, a GPU machine): standard library and vllm, nothing of
this repository. CASES.json: {"configs": {NAME: config.json's object}, "cases": [{"name", "config",
"tokenizer"?, "stop"?: "kv", "args": {vllm.LLM's arguments}}]}. vLLM is imported once; each case is a forked
child, so that every case begins with a free GPU. RESULTS.json gets a record per case as soon as it is there;
a case that fails is recorded with the last lines of its log, and the next one runs. Two workers on one CPU
need VLLM_CPU_OMP_THREADS_BIND (such as "0|1").
"""

import argparse
import contextlib
import gc
import importlib
import json
import os
import re
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
os.environ.setdefault("VLLM_WORKER_MULTIPROC_METHOD", "fork")

CASE_LIMIT_S = 420
LARGE_BYTES = 1024**2
LOG_LINES_KEPT = 25
LOGGED = {
    "kv_cache_tokens": r"KV cache size: ([\d,]+) tokens",
    "available_kv_gib": r"Available KV cache memory: ([\d.]+) GiB",
    "model_loading_gib": r"Model loading took ([\d.]+) GiB",
    "graphs_gib": r"Graph capturing finished in \d+ secs, took (-?[\d.]+) GiB",
    "max_concurrency": r"Maximum concurrency for [\d,]+ tokens per request: ([\d.]+)x",
}


class Enough(Exception):  # noqa: N818 - not an error: the figures asked for are there
    """The KV cache is laid out; the rest of the start (graph capture) was not asked for."""


class Figures:
    """Mixed into vLLM's worker (its `worker_extension_cls`), in whatever process the worker lives."""

    def probe_figures(self) -> dict[str, Any]:
        """What this worker knows after its profile run."""
        return worker_figures(self)


def logged_figures(log: str) -> dict[str, float]:
    """The numbers that vLLM logged, by the names of LOGGED; a name that was not logged is absent."""
    found = {name: re.findall(pattern, log) for name, pattern in LOGGED.items()}
    return {name: float(values[-1].replace(",", "")) for name, values in found.items() if values}


def weight_bytes(model: Any) -> dict[str, int]:
    """Bytes of the loaded tensors by name, layer and expert numbers as `*`; shared storage counts once."""
    seen: set[int] = set()
    totals: dict[str, int] = {}
    tensors = [*model.named_parameters(), *model.named_buffers()]
    for name, tensor in tensors:
        key = tensor.untyped_storage().data_ptr()
        if key in seen:
            continue
        seen.add(key)
        pattern = f"{re.sub(r'[.][0-9]+(?=[.])', '.*', name)} {str(tensor.dtype).removeprefix('torch.')}"
        totals[pattern] = totals.get(pattern, 0) + tensor.untyped_storage().nbytes()
    return totals


def other_bytes(model: Any) -> dict[str, int]:
    """Bytes of the device's large tensors that the model does not list, by dtype and shape.

    Kernels keep weights there in a form of their own (mxfp4's), and vLLM's runner its buffers.
    """
    torch: Any = importlib.import_module("torch")
    listed = [*model.named_parameters(), *model.named_buffers()]
    seen = {tensor.untyped_storage().data_ptr() for _, tensor in listed}
    totals: dict[str, int] = {}
    for thing in gc.get_objects():
        if type(thing) is not torch.Tensor or not thing.is_cuda:
            continue
        storage = thing.untyped_storage()
        if storage.data_ptr() in seen or storage.nbytes() < LARGE_BYTES:
            continue
        seen.add(storage.data_ptr())
        name = f"{str(thing.dtype).removeprefix('torch.')} {'x'.join(map(str, thing.shape))}"
        totals[name] = totals.get(name, 0) + storage.nbytes()
    return totals


def worker_figures(worker: Any) -> dict[str, Any]:
    """What a worker knows after its profile run, in bytes; what this vLLM does not keep is absent."""
    snapshot = getattr(worker, "init_snapshot", None)
    runner = worker.model_runner
    figures = {
        "total_memory_bytes": getattr(snapshot, "total_memory", None),
        "free_at_start_bytes": getattr(snapshot, "free_memory", None),
        "requested_bytes": getattr(worker, "requested_memory", None)
        or getattr(worker, "requested_cpu_memory", None),
        "model_memory_bytes": getattr(runner, "model_memory_usage", None),
        "non_torch_bytes": getattr(worker, "non_torch_memory", None),
        "peak_activation_bytes": getattr(worker, "peak_activation_memory", None),
        "graphs_estimate_bytes": getattr(worker, "cudagraph_memory_estimate", None),
        "total_consumed_bytes": getattr(worker, "total_consumed", None),
    }
    known = {name: int(value) for name, value in figures.items() if value is not None}
    tensors, others = weight_bytes(runner.model), other_bytes(runner.model)
    return {**known, "runner": type(runner).__module__, "tensors": tensors, "others": others}


def spec_figures(spec: Any) -> dict[str, Any]:
    """One KV cache group's layout."""
    inner = getattr(spec, "kv_cache_specs", None)
    first = next(iter(inner.values())) if inner else spec
    names = ("block_size", "num_kv_heads", "head_size", "head_size_v", "sliding_window", "page_size_bytes")
    values = {name: getattr(first, name, None) for name in names}
    kinds = {
        "kind": type(spec).__name__,
        "layer_kind": type(first).__name__,
        "dtype": str(getattr(first, "dtype", "")),
    }
    return {**kinds, **{name: value for name, value in values.items() if value is not None}}


def watch(note: Callable[[str, Any], None], stop_at_kv: bool) -> None:
    """Note, in the engine's process, each worker's figures and KV cache as soon as the cache is laid out."""
    core: Any = importlib.import_module("vllm.v1.engine.core")
    lay_out, initialize = core.get_kv_cache_configs, core.EngineCore._initialize_kv_caches
    executors: list[Any] = []

    def initialized(self: Any, config: Any) -> Any:
        executors.append(self.model_executor)
        fill = self.model_executor.initialize_from_config

        def filled(caches: Any) -> Any:
            tokens = getattr(config.cache_config, "kv_cache_size_tokens", None)
            note("cache", {"kv_cache_tokens": tokens, "block_size": config.cache_config.block_size})
            if stop_at_kv:
                raise Enough
            return fill(caches)

        self.model_executor.initialize_from_config = filled
        return initialize(self, config)

    def laid_out(config: Any, specs: Any, available: list[int]) -> Any:
        figures = executors[0].collective_rpc("probe_figures")
        caches = lay_out(config, specs, available)
        note(
            "workers",
            [
                {**known, "available_kv_bytes": int(pool), "kv": cache_figures(cache)}
                for known, pool, cache in zip(figures, available, caches, strict=True)
            ],
        )
        return caches

    core.get_kv_cache_configs = laid_out
    core.EngineCore._initialize_kv_caches = initialized


def cache_figures(cache: Any) -> dict[str, Any]:
    """A worker's KV cache: its blocks, and the layers of each group."""
    groups = [
        {**spec_figures(group.kv_cache_spec), "layers": len(group.layer_names)}
        for group in cache.kv_cache_groups
    ]
    return {"num_blocks": cache.num_blocks, "groups": groups}


def resolved(config: Any) -> dict[str, Any]:
    """The settings that decide the memory, as vLLM resolved them."""
    return {
        "max_model_len": config.model_config.max_model_len,
        "dtype": str(config.model_config.dtype).removeprefix("torch."),
        "quantization": config.model_config.quantization,
        "max_num_batched_tokens": config.scheduler_config.max_num_batched_tokens,
        "max_num_seqs": config.scheduler_config.max_num_seqs,
        "gpu_memory_utilization": config.cache_config.gpu_memory_utilization,
        "kv_cache_dtype": str(config.cache_config.cache_dtype),
        "block_size": config.cache_config.block_size,
        "tensor_parallel_size": config.parallel_config.tensor_parallel_size,
        "pipeline_parallel_size": config.parallel_config.pipeline_parallel_size,
        "enable_expert_parallel": config.parallel_config.enable_expert_parallel,
        "enforce_eager": config.model_config.enforce_eager,
        "graph_sizes": len(config.compilation_config.cudagraph_capture_sizes or []),
    }


def model_folder(case: dict[str, Any], configs: dict[str, Any], parent: Path) -> Path:
    """A folder with the case's config.json and, when the case names one, a tokenizer's files."""
    folder = parent / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(configs[case["config"]]))
    for file in Path(case["tokenizer"]).glob("tokenizer*") if "tokenizer" in case else ():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


def call(function: Callable[[], Any]) -> Any:
    """The function's result."""
    return function()


def start(case: dict[str, Any], configs: dict[str, Any], notes: Path) -> None:
    """In the child: start vLLM on the case and note what it says. Returns when it stands."""

    def note(name: str, figures: Any) -> None:
        (notes / f"{name}.json").write_text(json.dumps(figures))

    registry: Any = importlib.import_module("vllm.model_executor.models.registry")
    # vLLM looks at a model's class in a process of its own; this child ends with the case.
    registry._run_in_subprocess = call
    watch(note, case.get("stop") == "kv")
    arguments: Any = importlib.import_module("vllm.engine.arg_utils").EngineArgs
    made = arguments.create_engine_config

    def create(self: Any, *args: Any, **kwargs: Any) -> Any:
        config = made(self, *args, **kwargs)
        note("resolved", resolved(config))
        return config

    arguments.create_engine_config = create
    importlib.import_module("vllm").LLM(
        model=str(model_folder(case, configs, notes)),
        load_format="dummy",
        skip_tokenizer_init="tokenizer" not in case,
        worker_extension_cls="vllm_probe.Figures",
        **case["args"],
    )


def run_case(
    case: dict[str, Any], configs: dict[str, Any], limit_s: float, logs: Path | None
) -> dict[str, Any]:
    """Start the case in a forked child and gather its notes and its log's figures."""
    with tempfile.TemporaryDirectory() as folder:
        notes = Path(folder)
        log = notes / "log"
        begin = time.monotonic()
        child = os.fork()
        if child == 0:
            os.setsid()
            descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(descriptor, 1)
            os.dup2(descriptor, 2)
            code = 0
            try:
                start(case, configs, notes)
            except BaseException as error:  # noqa: BLE001 - whatever ends a start is the case's result
                code = 0 if isinstance(error, Enough) or "Enough" in str(error) else 1
                if code:
                    traceback.print_exc(file=sys.__stderr__)
            sys.stdout.flush()
            os._exit(code)
        code = wait(child, begin + min(limit_s, CASE_LIMIT_S))
        text = log.read_text(errors="replace") if log.exists() else ""
        if logs is not None:
            (logs / f"{case['name']}.log").write_text(text)
        figures = {file.stem: json.loads(file.read_text()) for file in sorted(notes.glob("*.json"))}
    record = {
        "name": case["name"], "config": case["config"], "args": case["args"],
        "seconds": round(time.monotonic() - begin, 1), "exit_code": code,
        "logged": logged_figures(text), **figures,
    }  # fmt: skip
    if "kv_cache_tokens" not in record["logged"]:
        record["log_end"] = text.splitlines()[-LOG_LINES_KEPT:]
    return record


def wait(child: int, deadline: float) -> int:
    """The child's exit code; past the deadline (or after it ended) its whole process group is killed."""
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.1)
    kill_group(child)
    os.waitpid(child, 0)
    return 124


def kill_group(group: int) -> None:
    """The case and whatever it left running (workers of a tensor-parallel start)."""
    for kill in (os.killpg, os.kill):  # a child killed at once may not have its own group yet
        with contextlib.suppress(ProcessLookupError):
            kill(group, signal.SIGKILL)


def machine() -> dict[str, Any]:
    """Versions and the accelerator, told by a child: this process must never touch the device."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        torch = importlib.import_module("torch")
        found: dict[str, Any] = {
            "torch": torch.__version__,
            "vllm": importlib.import_module("vllm").__version__,
        }
        if torch.cuda.is_available():
            found |= {"device": torch.cuda.get_device_name(0), "cuda": torch.version.cuda}
            found["device_bytes"] = torch.cuda.get_device_properties(0).total_memory
        os.write(writer, json.dumps(found).encode())
        os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as answer:
        return dict(json.loads(answer.read()))


def chosen(cases: list[dict[str, Any]], only: str) -> Iterator[dict[str, Any]]:
    """The cases to run, in the order of `only` when it names any."""
    if not only:
        yield from cases
        return
    by_name = {case["name"]: case for case in cases}
    yield from (by_name[name] for name in only.split(","))


def main() -> None:
    """Run the cases, one after another, within the time given."""
    parser = argparse.ArgumentParser()
    parser.add_argument("cases", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--seconds", type=float, default=1e9)
    parser.add_argument("--logs", type=Path, help="a folder for each case's whole log")
    options = parser.parse_args()
    deadline = time.monotonic() + options.seconds
    given = json.loads(options.cases.read_text())
    importlib.import_module("vllm.entrypoints.llm")
    importlib.import_module("vllm.v1.engine.llm_engine")
    importlib.import_module("vllm.v1.worker.gpu_worker")
    results: dict[str, Any] = {
        "machine": machine(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "records": [],
    }
    for case in chosen(given["cases"], options.only):
        left_s = deadline - time.monotonic()
        if left_s < 15:
            print(f"{case['name']}: not started, {left_s:.0f} s left", flush=True)
            continue
        record = run_case(case, given["configs"], left_s, options.logs)
        results["records"].append(record)
        options.results.write_text(json.dumps(results, indent=1))
        end = "" if "log_end" not in record else " | ".join(record["log_end"][-3:])
        print(
            f"{record['name']}: {record['seconds']} s, exit {record['exit_code']}, {record['logged']} {end}",
            flush=True,
        )


if __name__ == "__main__":
    main()
