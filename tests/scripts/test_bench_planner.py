"""The kept figures of vLLM, and the planner held against them."""

import json
import os
import signal
from pathlib import Path

import pytest

from rehearsal.paths import REPO
from scripts.bench_planner import KEPT, Row, kept_form, kept_worker, report, row, rows, table
from scripts.planner_cases import H100_CASES, H200_CASES, cpu_cases
from scripts.vllm_probe import chosen, logged_figures, run_case, wait

FILES = sorted(KEPT.glob("*.json"))
RECORDS = [
    pytest.param(record, json.loads(file.read_text())["configs"], id=record["name"])
    for file in FILES
    for record in json.loads(file.read_text())["records"]
]


@pytest.mark.parametrize(("record", "configs"), RECORDS)
def test_tokens_and_weights_are_within_the_limits_of_vllms(
    record: dict[str, object], configs: dict[str, object]
) -> None:
    assert row(record, configs).is_right


@pytest.mark.parametrize(
    ("name", "cases"), [("cpu", cpu_cases()["cases"]), ("h100", H100_CASES), ("h200", H200_CASES)]
)
def test_every_case_was_measured_but_none_that_is_not_a_case(name: str, cases: list[dict[str, str]]) -> None:
    kept = json.loads((KEPT / f"{name}.json").read_text())
    assert {one.name for one in rows(kept)} == {case["name"] for case in cases}


def test_the_page_shows_the_comparison_of_today() -> None:
    """`python -m scripts.bench_planner compare` prints what docs/measurements.md shows."""
    files = [json.loads(file.read_text()) for file in FILES]
    shown = "\n".join(report(kept, rows(kept)) for kept in files)
    assert shown in (REPO / "docs" / "measurements.md").read_text()


def test_packed_experts_and_doubled_scales_are_kept_apart() -> None:
    tensors = {"a bfloat16": 10, "experts.w2_weight_scale uint8": 3}
    others = {"uint8 32x1440x5760": 40, "uint8 32x2880x184": 4, "uint8 4096": 99, "int32 2x2": 9}
    assert kept_worker({"tensors": tensors, "others": others}) == {
        "tensors_bytes": 13, "kept_twice_bytes": 3, "packed_bytes": 44,
    }  # fmt: skip
    assert kept_worker({"tensors": {"a bfloat16": 10}, "others": others}) == {"tensors_bytes": 10}


def test_each_file_tells_its_versions_and_date() -> None:
    for file in FILES:
        kept = json.loads(file.read_text())
        assert kept["machine"]["vllm"]
        assert kept["date"].startswith("20")


def test_a_row_beyond_a_limit_is_marked() -> None:
    right = Row("right", 102, 100, 1000, 1004, 1004)
    few, heavy = Row("few", 96, 100, None, None, None), Row("heavy", 100, 100, 1006, 1000, 1000)
    marked = [line for line in table([right, few, heavy]).splitlines() if "**off**" in line]
    assert [line.split()[1] for line in marked] == ["few", "heavy"]


def test_only_answered_cases_and_their_configs_are_kept() -> None:
    answered = {"name": "a", "config": "one", "cache": {}, "workers": [{"tensors": {"x": 2, "y": 3}}]}
    results = {"date": "d", "records": [answered, {"name": "b", "config": "two", "exit_code": 1}]}
    kept = kept_form(results, {"configs": {"one": {"k": 1}, "two": {}}})
    assert [record["name"] for record in kept["records"]] == ["a"]
    assert kept["records"][0]["workers"] == [{"tensors_bytes": 5}]
    assert kept["configs"] == {"one": {"k": 1}}


def test_vllms_log_gives_its_figures() -> None:
    log = (
        "INFO Model loading took 14.99 GiB memory and 3.1 seconds\n"
        "INFO Available KV cache memory: 56.51 GiB\n"
        "INFO GPU KV cache size: 462,944 tokens\n"
        "INFO Maximum concurrency for 32,768 tokens per request: 14.13x\n"
        "INFO Graph capturing finished in 7 secs, took 0.58 GiB\n"
    )
    assert logged_figures(log) == {
        "kv_cache_tokens": 462944,
        "available_kv_gib": 56.51,
        "model_loading_gib": 14.99,
        "graphs_gib": 0.58,
        "max_concurrency": 14.13,
    }
    assert logged_figures("nothing of use") == {}


def test_a_case_that_fails_is_a_record_with_the_end_of_its_log(tmp_path: Path) -> None:
    """No vLLM here: the child fails at its import, and says so."""
    case = {"name": "x", "config": "c", "args": {}}
    record = run_case(case, {"c": {}}, 60, tmp_path)
    assert record["exit_code"] == 1
    assert "No module named 'vllm'" in "\n".join(record["log_end"])
    assert (tmp_path / "x.log").exists()


def test_cases_run_in_the_order_asked() -> None:
    cases = [{"name": name} for name in "abc"]
    assert [case["name"] for case in chosen(cases, "c,a")] == ["c", "a"]
    assert list(chosen(cases, "")) == cases


def test_a_case_past_its_deadline_is_ended() -> None:
    child = os.fork()
    if child == 0:
        os.setsid()
        signal.pause()
    assert wait(child, 0.0) == 124
    with pytest.raises(ChildProcessError):
        os.waitpid(child, 0)
