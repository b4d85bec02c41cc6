"""What a server's flags are worth: starts vLLM with each set of them and puts the same load on each.

    python3 vllm_load.py RUNS.json RESULTS.json [--logs FOLDER]

Runs where vLLM is installed (a GPU machine): standard library and vllm, nothing of this repository. RUNS.json
(from `bench_profiles runs`): {"config": config.json's object, "input_tokens", "output_tokens",
"loads": [{"concurrency", "requests"}], "runs": [{"name", "args": [flags of vllm serve]}]}.
Weights are dummies, and each token is a word; every request has the same length and generates all its tokens.
RESULTS.json gets each load's figures as soon as they are there. On a machine with several GPUs, one of these
may run on each (CUDA_VISIBLE_DEVICES).
"""

import argparse
import asyncio
import contextlib
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

START_LIMIT_S = 300
KEPT = (
    *("completed", "failed", "request_throughput", "output_throughput"),
    *("median_ttft_ms", "p99_ttft_ms", "median_tpot_ms", "p99_tpot_ms"),
)


def model_folder(config: dict[str, Any], parent: Path) -> Path:
    """A folder with the model's config, and a tokenizer of its size: word after word."""
    tokenizers: Any = importlib.import_module("tokenizers")
    transformers: Any = importlib.import_module("transformers")
    # one that knows fewer tokens lets prompts repeat, which the prefix cache answers; and those which it does
    # not know take longer to turn into text than to generate
    vocabulary = {f"w{number}": number for number in range(config["vocab_size"])}
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary))
    words.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    folder = parent / "model"
    transformers.PreTrainedTokenizerFast(tokenizer_object=words).save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def free_port() -> int:
    """A port of this machine that nobody uses."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def wait_until_healthy(server: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    """Return when /health answers; RuntimeError with the log's end when the server ends or takes too long."""
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline and server.poll() is None:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2).close()
            return
        time.sleep(0.5)
    end = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
    raise RuntimeError(f"vLLM did not start (exit code {server.poll()}):\n{end}")


def load(folder: Path, port: int, runs: dict[str, Any], one: dict[str, int]) -> dict[str, float]:
    """What vLLM's own benchmark says of one load."""
    bench: Any = importlib.import_module("vllm.benchmarks.serve")
    parser = argparse.ArgumentParser()
    bench.add_cli_args(parser)
    words = [
        *("--backend", "openai", "--base-url", f"http://127.0.0.1:{port}", "--model", str(folder)),
        *("--dataset-name", "random", "--random-input-len", str(runs["input_tokens"])),
        *("--random-output-len", str(runs["output_tokens"]), "--ignore-eos", "--disable-tqdm"),
        *("--num-prompts", str(one["requests"]), "--max-concurrency", str(one["concurrency"])),
        *("--percentile-metrics", "ttft,tpot", "--metric-percentiles", "99", "--num-warmups", "1"),
        # Other prompts for each load: none may be found in the prefix cache.
        *("--seed", str(one["requests"])),
    ]
    figures = asyncio.run(bench.main_async(parser.parse_args(words)))
    return {name: figures[name] for name in KEPT if name in figures}


def run(runs: dict[str, Any], one: dict[str, Any], logs: Path) -> Iterator[dict[str, Any]]:
    """Start the server with these flags, put every load on it, and end it; gives what is there after each."""
    with tempfile.TemporaryDirectory() as parent:
        folder, port = model_folder(runs["config"], Path(parent)), free_port()
        log = logs / f"{one['name'].replace(' ', '-')}.log"
        words = [
            *(sys.executable, "-m", "vllm.entrypoints.cli.main", "serve", str(folder)),
            *("--load-format", "dummy", "--port", str(port), *one["args"]),
        ]
        begin = time.monotonic()
        with log.open("wb") as out:
            server = subprocess.Popen(words, stdout=out, stderr=out, start_new_session=True)
        try:
            importlib.import_module("vllm.benchmarks.serve")  # takes as long as a good part of the start
            wait_until_healthy(server, port, log)
            start_s = round(time.monotonic() - begin, 1)
            # The first requests meet kernels that are still to be compiled.
            load(folder, port, runs, {"concurrency": 32, "requests": 64})
            loads = []
            for each in runs["loads"]:
                loads.append({**each, **load(folder, port, runs, each)})
                yield {**one, "start_s": start_s, "loads": loads}
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def machine() -> dict[str, str]:
    """The accelerator and the versions."""
    asked = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    names = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split("\n")
    return {
        "device": names[0],
        "vllm": importlib.import_module("vllm").__version__,
        "torch": importlib.import_module("torch").__version__,
    }


def main() -> None:
    """Every run, one after another."""
    parser = argparse.ArgumentParser()
    parser.add_argument("runs", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("--logs", type=Path, default=Path(tempfile.gettempdir()))
    options = parser.parse_args()
    given = json.loads(options.runs.read_text())
    results: dict[str, Any] = {"machine": machine(), "date": time.strftime("%Y-%m-%d", time.gmtime())}
    results |= {name: given[name] for name in ("input_tokens", "output_tokens")} | {"runs": []}
    for one in given["runs"]:
        done = results["runs"]
        try:
            for so_far in run(given, one, options.logs):
                results["runs"] = [*done, so_far]
                options.results.write_text(json.dumps(results, indent=1))
        except (RuntimeError, OSError, ValueError) as error:
            print(f"{one['name']}: {error}", flush=True)


if __name__ == "__main__":
    main()
