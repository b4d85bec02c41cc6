"""The comparison of the profiles with the article's flags."""

from typing import Any

from cluster.profiles import TUNINGS
from scripts.bench_profiles import ARTICLE, LOADS, runs, table, verdicts


def kept(tokens_per_s: dict[str, float], tpot_ms: dict[str, float]) -> dict[str, Any]:
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
            for name in (*TUNINGS, *ARTICLE)
        ]
    }  # fmt: skip


def test_every_profile_and_the_articles_flags_are_run_at_one_length() -> None:
    made = runs({}, "tokenizer")["runs"]
    assert [run["name"] for run in made] == [*TUNINGS, *ARTICLE]
    assert all(run["args"][:2] == ["--max-model-len", "32768"] for run in made)
    throughput = next(run["args"] for run in made if run["name"] == "throughput")
    assert throughput[throughput.index("--max-num-seqs") + 1] == str(TUNINGS["throughput"].max_num_seqs)


def test_a_profile_is_held_against_the_better_of_the_articles() -> None:
    results = kept(
        {"throughput": 1500.0, "article throughput": 1000.0, "article latency": 1200.0},
        {"latency": 5.0, "article throughput": 4.0, "article latency": 12.0},
    )
    assert [round(ratio, 3) for _, ratio in verdicts(results)] == [1.25, 0.8]
    assert "| article latency | 256 | 1.00 | 1,200 | 20 | 12.00 |" in table(results)
