"""`drydock plan` from its options to its exit code, and what it says of broken input."""

import io
import json
import os
import re
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from cluster.plan_report import PlanReport
from cluster.prices import Price
from cluster.problems import BadInput
from rehearsal import paths
from scripts import plan_table
from scripts.drydock import app
from scripts.model_source import find_model
from tests.cluster.configs import SMALL_LLAMA
from tests.scripts.hub import hub

REPO = Path(__file__).resolve().parents[2]
V3 = "deepseek-ai/DeepSeek-V3"
KEYS = {
    *("fits", "reason", "instance_type", "nodes", "tensor_parallel_size", "pipeline_parallel_size"),
    *("data_parallel_size", "weights_bytes", "weights_bytes_per_gpu", "kv_bytes_per_token"),
    *("kv_cache_tokens", "max_concurrency", "disk_bytes", "usd_per_hour", "vllm_args", "alternatives"),
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No prices but the catalogue's."""
    monkeypatch.setattr(paths, "CACHE", tmp_path / "cache")


def run(*args: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["plan", *args])
    if isinstance(result.exception, BadInput):
        return 2, str(result.exception)
    return result.exit_code, result.output


def planned(*args: str) -> tuple[int, dict[str, object]]:
    """The JSON, which refuses keys and types that are not in its schema."""
    code, text = run(*args, "--json")
    PlanReport.model_validate_json(text, strict=True)
    return code, json.loads(text)


def shown(*args: str, columns: int = 80) -> str:
    """What a terminal of that many columns shows."""
    answer = PlanReport.model_validate_json(run(*args, "--json")[1])
    output = io.StringIO()
    terminal = Console(file=output, force_terminal=True, width=columns, color_system=None, markup=False)
    plan_table.show(answer, explain="--explain" in args, console=terminal)
    return output.getvalue()


def test_the_cheapest_place_comes_as_json() -> None:
    code, found = planned("--model", "deepseek-ai/DeepSeek-V3")
    assert code == 0
    assert set(found) >= KEYS
    assert (found["fits"], found["reason"], found["instance_type"]) == (True, "", "p5en.48xlarge")
    assert found["weights_bytes"] == 688_574_839_360
    assert isinstance(found["vllm_args"], list)
    assert "--enable-expert-parallel" in found["vllm_args"]


def test_what_was_asked_for_is_what_is_judged() -> None:
    wish = ("--instance-type", "p5.48xlarge", "--nodes", "2", "--tensor-parallel-size", "8")
    code, found = planned("--model", "deepseek-ai/DeepSeek-V3", *wish, "--pipeline-parallel-size", "2")
    assert (code, found["nodes"], found["pipeline_parallel_size"]) == (0, 2, 2)
    assert isinstance(found["worker_vllm_args"], list)
    assert found["worker_vllm_args"][-1] == "--headless"


def test_what_does_not_fit_says_what_is_missing_and_what_fits() -> None:
    code, found = planned(
        "--model", "deepseek-ai/DeepSeek-V3", "--instance-type", "p5.48xlarge", "--nodes", "1"
    )
    assert (code, found["fits"]) == (1, False)
    assert "GiB are missing" in str(found["reason"])
    assert isinstance(found["missing_gib"], float)
    assert isinstance(found["alternatives"], list)
    assert any(each["fits"] for each in found["alternatives"])


def test_a_wish_that_uses_no_node_as_a_whole_is_refused_with_its_reason() -> None:
    code, found = planned(
        *("--model", "Qwen/Qwen3-8B", "--instance-type", "p5.48xlarge", "--nodes", "1"),
        *("--data-parallel-size", "3"),
    )
    assert (code, found["fits"]) == (1, False)
    assert "= 24, but 1 x p5.48xlarge (8 GPUs each) make 8" in str(found["reason"])


def test_bytes_and_prices_of_the_answer_agree() -> None:
    found = PlanReport.model_validate_json(run("--model", V3, "--json")[1])
    assert found.usable_bytes_per_gpu is not None
    parts = (found.weights_bytes_per_gpu, found.overhead_bytes_per_gpu, found.kv_cache_bytes_per_gpu)
    assert sum(part or 0 for part in parts) == found.usable_bytes_per_gpu
    assert (found.headroom_bytes_per_gpu or 0) > 0
    assert found.usd_per_day == pytest.approx((found.usd_per_hour or 0) * 24, abs=0.01)
    assert found.usd_per_month == pytest.approx((found.usd_per_hour or 0) * 730, abs=0.01)
    assert [flag.flag for flag in found.flags] == [word for word in found.vllm_args if word.startswith("--")]
    refused = [each for each in found.alternatives if each.missing_gib]
    assert refused
    for each in refused:
        assert each.headroom_bytes_per_gpu == pytest.approx(-each.missing_gib * 1024**3, rel=0.01)
    assert all(
        each.price_source and each.price_date for each in (found, *found.alternatives) if each.usd_per_hour
    )


def test_more_requests_than_a_profile_runs_at_once_are_let_in() -> None:
    args = ("--model", "Qwen/Qwen3-0.6B", "--max-model-len", "1024", "--instance-type", "p5.48xlarge")
    _, usual = planned(*args, "--concurrency", "200")
    code, found = planned(*args, "--concurrency", "1000")
    assert code == 0
    for plan, most in ((usual, "256"), (found, "1000")):
        words = plan["vllm_args"]
        assert isinstance(words, list)
        assert words[words.index("--max-num-seqs") + 1] == most


def test_a_tiny_model_has_no_zero_sizes(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(SMALL_LLAMA))
    text = shown("--model", str(tmp_path), "--instance-type", "m7i.xlarge", "--nodes", "1")
    assert "0.1M parameters, bfloat16, 0.3 MiB of weights" in text
    assert "0.3 MiB weights" in text
    assert re.search(r"disk +0\.\d MB on each node", text)


def test_without_a_price_the_answer_says_where_to_ask() -> None:
    code, found = planned("--model", "Qwen/Qwen3-8B", "--market", "spot")
    assert code == 0
    assert [found[key] for key in ("usd_per_hour", "usd_per_day", "usd_per_month")] == [None] * 3
    assert [found[key] for key in ("price_source", "price_date")] == [None] * 2
    text = shown("--model", "Qwen/Qwen3-8B", "--market", "spot")
    assert "no spot price in us-east-1 is known" in text
    assert "drydock cost --refresh --region us-east-1" in text


def test_prices_of_a_refresh_are_taken(tmp_path: Path) -> None:
    kept = [
        Price("g6e.xlarge", "us-east-1", "on-demand", 0.5, "AWS Pricing API, GetProducts", "2026-12-24"),
        Price("g6.xlarge", "us-east-1", "spot", 0.25, "spot price in us-east-1b", "2026-12-24"),
    ]
    file = tmp_path / "cache" / "prices" / "aws.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"prices": [asdict(price) for price in kept]}))
    _, found = planned("--model", "Qwen/Qwen3-8B")
    assert (found["instance_type"], found["nodes"], found["usd_per_hour"]) == ("g6e.xlarge", 1, 0.5)
    assert (found["price_source"], found["price_date"]) == ("AWS Pricing API, GetProducts", "2026-12-24")
    text = shown("--model", "Qwen/Qwen3-8B")
    assert "AWS Pricing API, GetProducts, 2026-12-24" in text
    _, found = planned("--model", "Qwen/Qwen3-8B", "--market", "spot")
    assert (found["instance_type"], found["nodes"], found["usd_per_hour"]) == ("g6.xlarge", 2, 0.5)
    file.write_text("<html>")
    code, text = run("--model", "Qwen/Qwen3-8B")
    assert (code, f"rm {file}" in text) == (2, True)


@pytest.mark.parametrize("columns", [80, 120, 200])
@pytest.mark.parametrize(
    "args",
    [
        ("--model", V3),
        ("--model", V3, "--concurrency", "64", "--max-model-len", "131072"),
        ("--model", "meta-llama/Meta-Llama-3.1-70B", "--instance-type", "g6.12xlarge", "--explain"),
        ("--model", "openai/gpt-oss-120b", "--max-hourly-usd", "1"),
    ],
)
def test_tables_keep_to_the_terminal_and_cut_nothing(args: tuple[str, ...], columns: int) -> None:
    text = shown(*args, columns=columns)
    assert "…" not in text
    feet = ("Model: ", "Prices: ", "?: ")
    assert all(len(line) <= columns for line in text.splitlines() if not line.startswith(feet))
    assert "on-demand in us-east-1" in text
    # One line a row: what wraps is a reason that no other row shares, or another limit's.
    rows = [line for line in text.splitlines() if " missing" in line]
    assert all("×" in row for row in rows)


def test_a_name_that_looks_like_markup_is_shown_as_it_stands(tmp_path: Path) -> None:
    folder = tmp_path / "[bold]x"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(SMALL_LLAMA))
    code, text = run("--model", str(folder))
    assert code == 0
    assert "[bold]x" in text


def test_the_table_explains_each_flag() -> None:
    code, text = run("--model", "Qwen/Qwen3-8B", "--explain")
    assert code == 0
    assert "cheapest first" in text
    assert "--max-num-batched-tokens" in text


@pytest.mark.parametrize(
    ("args", "what"),
    [
        (("--instance-type", "p5.48xlarg"), "Did you mean `p5.48xlarge`?"),
        (("--max-model-len", "999999"), "Set it to at most 163840."),
        (("--gpu-memory-utilization", "1.5"), "is not a share"),
        (("--max-hourly-usd", "nan"), "is no price"),
        (("--dtype", "half"), "overflows with an FP8 checkpoint"),
    ],
)
def test_an_impossible_wish_is_bad_input(args: tuple[str, ...], what: str) -> None:
    code, text = run("--model", "deepseek-ai/DeepSeek-V3", *args)
    assert code == 2
    assert what in text


@pytest.mark.parametrize(
    ("config", "what"),
    [
        ('{"architectures": ["Llama', "cannot be read"),
        (json.dumps(SMALL_LLAMA | {"num_hidden_layers": -3}), "is -3, not a whole number above 0"),
        (json.dumps(SMALL_LLAMA | {"num_hidden_layers": 10**9}), "more than any model has"),
        (json.dumps(SMALL_LLAMA | {"architectures": ["NewForCausalLM"]}), "NewForCausalLM"),
        ("<!doctype html><html></html>", "an HTML page, not JSON"),
        ("[" * 100_000, "cannot be read"),
        (" " * 100_000_000, "has 100 MB"),
        ("[]", "holds no JSON object"),
    ],
)
def test_a_broken_config_is_bad_input(tmp_path: Path, config: str, what: str) -> None:
    (tmp_path / "config.json").write_text(config)
    code, text = run("--model", str(tmp_path))
    assert code == 2
    assert what in text
    assert "→" in text


def test_shards_without_their_index_are_bad_input(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(SMALL_LLAMA))
    (tmp_path / "model-00001-of-00002.safetensors").write_bytes(b"x")
    code, text = run("--model", str(tmp_path))
    assert (code, "model.safetensors.index.json is missing beside 1 shards" in text) == (2, True)


def test_an_index_tells_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(SMALL_LLAMA))
    index = tmp_path / "model.safetensors.index.json"
    index.write_text('{"metadata": {"total_size": 123456}}')
    assert find_model(str(tmp_path)).shape.weights_bytes == 123456
    index.write_text('{"metadata": {}}')
    code, text = run("--model", str(tmp_path))
    assert (code, "tells no metadata.total_size" in text) == (2, True)


def ask(endpoint: str, home: Path) -> tuple[int, str]:
    """The command in a process of its own: the hub's address is read once, at import."""
    result = subprocess.run(
        [sys.executable, "-m", "scripts.drydock", "plan", "--model", "nobody/nothing", "--json"],
        capture_output=True,
        text=True,
        cwd=REPO,
        env={
            **os.environ,
            "DRYDOCK_CACHE": str(home),
            "HF_ENDPOINT": endpoint,
            "HF_HOME": str(home),
            "PYTHONPATH": str(REPO),
        },
        check=False,
        timeout=120,
    )
    return result.returncode, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("status", "body", "what"),
    [
        (200, json.dumps(SMALL_LLAMA).encode(), '"fits": true'),
        (200, b"<html>a login page</html>", "an HTML page, not JSON"),
        (401, b"", "401"),
        (404, b"", "404"),
        (429, b"", "429"),
    ],
)
def test_what_the_hub_answers_is_told(tmp_path: Path, status: int, body: bytes, what: str) -> None:
    # One that refuses, refuses everything; one that answers has no more than a config.json.
    rest = 404 if status == 200 else status
    with hub({"/config.json": (status, {}, body), "": (rest, {}, b"")}) as endpoint:
        code, text = ask(endpoint, tmp_path)
    assert what in text
    assert code == (0 if '"fits": true' in text else 2)


def test_a_mirror_that_is_down_is_told(tmp_path: Path) -> None:
    code, text = ask("http://127.0.0.1:9", tmp_path)
    assert code == 2
    assert "http://127.0.0.1:9 cannot be reached" in text
    assert "HF_ENDPOINT" in text


def test_planning_imports_neither_torch_nor_the_clouds_libraries() -> None:
    script = (
        "import sys; from scripts import drydock; from scripts.plan import plan;"
        "from scripts.model_source import find_model; from cluster.search import Wish, search;"
        "search(find_model('deepseek-ai/DeepSeek-V3').shape, Wish());"
        "print([m for m in ('torch','vllm','boto3','moto','pulumi','huggingface_hub') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=REPO, check=True
    )
    assert result.stdout.strip() == "[]"
