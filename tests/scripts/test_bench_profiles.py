"""The comparison of the profiles with the article's flags."""

import json
from typing import Any

import pytest

from cluster.profiles import TUNINGS
from rehearsal.paths import REPO
from scripts.bench_profiles import ARTICLE, KEPT, LOADS, ORDERS, runs, table, verdict


def kept(order: tuple[str, ...], tokens_per_s: dict[str, float], tpot_ms: dict[str, float]) -> dict[str, Any]:
    """Results as vllm_load.py writes them, of so much throughput and time per token for each set of flags."""
    return {
        "runs": [
            {
                "name": name,
                "loads": [
                    {
                        "concurrency": load["concurrency"], "request_throughput": 1.0, "median_ttft_ms": 20.0,
                        "output_throughput": tokens_per_s.get(name, 1000.0),
                        "median_tpot_ms": tpot_ms.get(name, 10.0),
                    }
                    for load in LOADS
                ],
            }
            for name in order
        ]
    }  # fmt: skip


def test_every_profile_and_the_articles_flags_are_run_at_one_length() -> None:
    made = [run for each in runs({}) for run in each["runs"]]
    assert {run["name"] for run in made} == {*TUNINGS, *ARTICLE}
    assert all(run["args"][:2] == ["--max-model-len", "32768"] for run in made)
    throughput = next(run["args"] for run in made if run["name"] == "throughput")
    assert throughput[throughput.index("--max-num-seqs") + 1] == str(TUNINGS["throughput"].max_num_seqs)


def test_a_profile_is_held_against_the_better_of_the_articles_by_the_median_of_its_runs() -> None:
    results = [
        kept(
            ORDERS[0],
            {"throughput": 1400.0, "article throughput": 1000.0},
            {"latency": 5.0, "article throughput": 4.5},
        ),
        kept(
            ORDERS[1],
            {"throughput": 1600.0, "article throughput": 900.0, "article latency": 1200.0},
            {"article throughput": 3.5, "article latency": 12.0},
        ),
    ]
    assert verdict(results, "throughput") == pytest.approx(1.25)
    assert verdict(results, "latency") == pytest.approx(0.8)
    assert verdict(results[1:], "latency") is None
    assert "| article latency | 1 | 256 | 1.00 | 1,200 | 20 | 12.00 |" in table(results)
    assert "| throughput | 2 | 512 | 1.00 | 1,500 | 20 | 10.00 |" in table(results)


def test_a_load_that_was_not_measured_is_no_line() -> None:
    results = kept(("latency",), {}, {})
    results["runs"][0]["loads"].pop()
    assert len(table([results]).splitlines()) == 2 + len(LOADS) - 1


def test_the_table_in_the_page() -> None:
    results = [json.loads(file.read_text()) for file in sorted(KEPT.glob("*.json"))]
    assert table(results) in (REPO / "docs" / "measurements.md").read_text()
