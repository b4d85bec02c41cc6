"""The rows of the source article that a planner can put right, each as a reader of it would ask."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cluster.cost_report import CostReport
from cluster.plan_report import PlanReport
from cluster.problems import BadInput
from cluster.profiles import TUNINGS, Profile
from cluster.rules import problems
from cluster.vllm_args import head_args
from rehearsal import paths
from scripts.drydock import app
from tests.cluster.stacks import facts_of, stack_config

V3 = "deepseek-ai/DeepSeek-V3"


@pytest.fixture(autouse=True)
def without_refreshed_prices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "CACHE", tmp_path / "cache")


def planned(*args: str) -> tuple[int, PlanReport]:
    result = CliRunner().invoke(app, ["plan", "--model", V3, "--max-model-len", "32768", *args, "--json"])
    return result.exit_code, PlanReport.model_validate_json(result.output)


def shown(*args: str) -> str:
    """What a terminal shows, as one line."""
    result = CliRunner().invoke(app, ["plan", "--model", V3, "--max-model-len", "32768", *args])
    return " ".join(result.output.split())


def one_node(kind: str, tensor: int) -> tuple[str, ...]:
    sizes = ("--tensor-parallel-size", str(tensor), "--pipeline-parallel-size", "1")
    return ("--instance-type", kind, "--nodes", "1", *sizes, "--data-parallel-size", "1")


def test_a2_the_model_is_671b_in_fp8_and_not_236b_in_fp16() -> None:
    code, found = planned()
    assert code == 0
    assert round(found.parameters / 1e9) == 671
    assert (found.quantization, found.weights_bytes) == ("fp8", 688_574_839_360)
    assert "671.0B parameters (37.6B active), fp8, 641.3 GiB of weights" in shown()


def test_a2_four_bits_on_four_a100_of_40_gb_are_refused_with_numbers_and_a_way_out() -> None:
    wish = ("--quantization", "awq", *one_node("p4d.24xlarge", 4))
    code, found = planned(*wish)
    assert (code, found.fits) == (1, False)
    assert "the weights alone take 84.7 GiB on each A100 of p4d.24xlarge, which has 36.4 GiB" in found.reason
    assert f"{found.missing_gib:.1f} GiB are missing" in found.reason
    assert found.remedy == "Take more nodes, or an instance type with more memory."
    assert found.alternatives[0].fits
    text = shown(*wish)
    assert "does not fit: 1 × p4d.24xlarge, TP4" in text
    assert f"why {found.reason}" in text
    assert f"do {found.remedy}" in text
    assert text.index("does not fit: ") < text.index("fits, cheapest first")


def test_a2_one_p5_lacks_memory_for_the_fp8_model_and_two_do_not() -> None:
    code, found = planned("--instance-type", "p5.48xlarge", "--nodes", "1", "--tensor-parallel-size", "8")
    assert code == 1
    assert "79.6 GiB on each H100 of p5.48xlarge" in found.reason
    two = next(each for each in found.alternatives if (each.instance_type, each.nodes) == ("p5.48xlarge", 2))
    assert two.fits


ARTICLE = {"throughput": (32_768, 256, 0.95), "latency": (8192, 64, 0.85)}
"""Its flags: max-num-batched-tokens, max-num-seqs, utilisation; beside them chunked prefill, and eager."""


@pytest.mark.parametrize("profile", ARTICLE)
def test_a9_a_profile_takes_the_place_of_the_articles_flags(profile: Profile) -> None:
    code, found = planned("--profile", profile)
    assert code == 0
    flags = {flag.flag: flag for flag in found.flags}
    assert not {"--enforce-eager", "--enable-chunked-prefill"} & set(flags)
    tuned = TUNINGS[profile]
    batched, seqs, share = ARTICLE[profile]
    assert tuned.max_num_batched_tokens < batched  # a larger batch took memory, and gave nothing for it
    assert tuned.max_num_seqs >= seqs
    assert tuned.utilization >= share
    for name in ("--max-num-batched-tokens", "--max-num-seqs", "--gpu-memory-utilization"):
        assert flags[name].reason
        assert flags[name].reason in shown("--profile", profile, "--explain")


def test_a9_the_stack_serves_by_the_same_profile() -> None:
    args = head_args(stack_config("prod", {"drydock:serving.profile": "throughput"}), "/m")
    _, found = planned("--profile", "throughput")
    for flag in ("--max-num-batched-tokens", "--max-num-seqs"):
        assert args[args.index(flag) + 1] == found.vllm_args[found.vllm_args.index(flag) + 1]


def test_a10_four_bits_do_not_fit_four_a100_of_80_gb_and_fit_eight() -> None:
    code, found = planned("--quantization", "awq", *one_node("p4de.24xlarge", 4))
    assert (code, found.fits) == (1, False)
    assert 340e9 < found.weights_bytes < 370e9
    assert "the weights alone take 84.7 GiB on each A100 of p4de.24xlarge, which has 72.8 GiB" in found.reason
    assert found.missing_gib > 0
    nearest = found.alternatives[0]
    assert (nearest.fits, nearest.instance_type, nearest.nodes, nearest.layout) == (
        *(True, "p4de.24xlarge", 1, "TP8+EP"),
    )
    code, eight = planned("--quantization", "awq", *one_node("p4de.24xlarge", 8))
    assert (code, eight.max_concurrency and eight.max_concurrency > 1) == (0, True)


def test_a10_a_stack_that_says_awq_of_the_fp8_checkpoint_is_told_to_take_an_awq_one() -> None:
    config = stack_config("prod", {"drydock:model.quantization": "awq"})
    (problem,) = [each for each in problems(config, facts_of(config)) if "quantization" in each.path]
    assert problem.what == "is awq, but the checkpoint is fp8"
    assert problem.remedy == "Set it to null, or drydock:model.source to such a checkpoint."


def test_a11_eight_h100_cost_281000_yuan_a_month_and_not_80000() -> None:
    args = ["--instance-type", "p5.48xlarge", "--tokens-per-day", "500e6", "--json"]
    result = CliRunner().invoke(app, ["cost", *args])
    assert result.exit_code == 0
    found = CostReport.model_validate_json(result.output)
    assert found.cluster.usd_per_month == pytest.approx(40_179.2)
    assert found.cluster.cny_per_month == pytest.approx(281_254.4)
    hosted = next(each for each in found.hosted if each.id == "article/holysheep")
    assert hosted.break_even_tokens_per_day > 6 * 500e6


def test_a11_the_cluster_that_the_plan_found_is_what_is_priced(tmp_path: Path) -> None:
    _, plan = planned("--instance-type", "p5.48xlarge")
    file = tmp_path / "plan.json"
    file.write_text(plan.model_dump_json())
    result = CliRunner().invoke(app, ["cost", "--plan", str(file), "--tokens-per-s", "8000", "--json"])
    found = json.loads(result.output)
    assert found["cluster"]["name"].startswith("2 x p5.48xlarge")
    assert found["cluster"]["usd_per_hour"] == plan.usd_per_hour == pytest.approx(110.08)


def test_a5_half_is_refused_for_the_fp8_model() -> None:
    with pytest.raises(BadInput, match="half overflows with an FP8 checkpoint"):
        CliRunner().invoke(app, ["plan", "--model", V3, "--dtype", "half"], catch_exceptions=False)
