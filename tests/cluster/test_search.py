"""Where models fit, in which order, and why not elsewhere: the article's rows among them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.cost import Cost
from cluster.memory import GIB, as_checkpoint
from cluster.models import snapshot, snapshot_ids
from cluster.plan import plan
from cluster.prices import Price, PriceTable
from cluster.problems import BadInput
from cluster.profiles import TUNINGS
from cluster.search import Candidate, Wish, candidate, layouts, search
from cluster.shape import ModelShape
from cluster.vllm_args import REMOVED_FLAGS, Serve, arguments
from tests.cluster.stacks import facts_of, stack_config


def shape_of(model_id: str) -> ModelShape:
    shape = snapshot(model_id)
    assert shape is not None
    return shape


V3 = shape_of("deepseek-ai/DeepSeek-V3")


def on(candidates: tuple[Candidate, ...], kind: str, nodes: int) -> Candidate:
    (found,) = [each for each in candidates if (each.kind.name, each.nodes) == (kind, nodes)]
    return found


def test_deepseek_v3_is_ranked_by_price_with_what_cannot_hold_it_refused() -> None:
    ranking = search(V3, Wish())
    assert str(on(ranking.fitting, "p5en.48xlarge", 1).layout) == "TP8+EP"
    assert str(on(ranking.fitting, "p5.48xlarge", 2).layout) == "TP8×PP2+EP"
    assert on(ranking.fitting, "p6-b200.48xlarge", 1).fits
    refused = on(ranking.refused, "p4de.24xlarge", 1)
    assert refused.problem is not None
    assert f"{refused.missing_bytes / GIB:.1f} GiB are missing" in refused.problem.what
    prices = [each.cost.usd_per_hour for each in ranking.fitting if each.cost]
    assert prices == sorted(prices)


def test_the_articles_fp16_and_int4_claims_are_put_right() -> None:
    """472 GB in fp16 and four 40 GB cards in int4: the model is neither so small nor so shrunk."""
    assert V3.weights_bytes == 688_574_839_360
    int4 = as_checkpoint(V3, "awq")
    wish = Wish("p4d.24xlarge", 1, 4, 1, 1, max_model_len=32768)
    (refused,) = search(int4, wish).refused
    assert refused.problem is not None
    assert "the weights alone take" in refused.problem.what
    assert refused.missing_bytes > 40 * GIB
    assert "more nodes" in refused.problem.remedy


def test_four_bits_need_eight_of_the_large_a100_not_four() -> None:
    int4 = as_checkpoint(V3, "awq")
    (refused,) = search(int4, Wish("p4de.24xlarge", 1, 4, 1, 1, max_model_len=32768)).refused
    assert refused.problem is not None
    assert "GiB are missing" in refused.problem.what
    assert search(int4, Wish("p4de.24xlarge", 1, 8, max_model_len=32768)).best is not None


def test_fp8_blocks_are_not_cut() -> None:
    shape = shape_of("Qwen/Qwen3-235B-A22B-FP8")
    wish = Wish("p5.48xlarge", 1, tensor_parallel_size=8)
    (refused,) = search(shape, wish).refused
    assert refused.problem is not None
    assert "1536 wide) into 192, which is no multiple of the quantization's 128" in refused.problem.what
    assert "at most 4, or pass --enable-expert-parallel" in refused.problem.remedy
    whole = Wish("p5.48xlarge", 1, tensor_parallel_size=8, expert_parallel=True)
    assert search(shape, whole).best is not None


def test_a100_has_no_fp8_arithmetic() -> None:
    refused = on(search(V3, Wish()).refused, "p4de.24xlarge", 2)
    assert refused.problem is not None
    assert "Marlin" in refused.problem.what


def test_a_budget_and_a_number_of_requests_are_kept() -> None:
    limited = search(V3, Wish(max_hourly_usd=70))
    assert [each.kind.name for each in limited.fitting] == ["p5en.48xlarge"]
    crowd = search(V3, Wish("p5en.48xlarge", 1, concurrency=100))
    (refused,) = crowd.refused
    assert refused.problem is not None
    assert refused.problem.path == "--concurrency"


def test_a_type_that_holds_too_few_requests_is_told_by_the_most_that_it_holds() -> None:
    (refused,) = search(V3, Wish("p5en.48xlarge", 1, concurrency=64, max_model_len=131072)).refused
    most = max(
        candidate(
            V3, refused.kind, layout, Wish(max_model_len=131072, concurrency=64)
        ).fitting.max_concurrency
        for layout in layouts(V3, refused.kind, 1, Wish())
    )
    assert refused.fitting.max_concurrency == most
    assert refused.problem is not None
    assert f"holds {most:.1f} requests" in refused.problem.what


def test_given_prices_rank_and_unknown_ones_come_last_in_the_order_of_elsewhere() -> None:
    cheap = Price("p6-b200.48xlarge", "eu-central-1", "on-demand", 1.5, "a test", "2026-12-24")
    ranking = search(V3, Wish(region="eu-central-1"), PriceTable.of([cheap]))
    first, second = ranking.fitting[:2]
    assert (first.kind.name, first.nodes, first.cost) == (
        cheap.instance_type,
        1,
        Cost(1.5, "a test", "2026-12-24"),
    )
    assert second.cost == Cost(3.0, "a test", "2026-12-24")
    unknown = [each for each in ranking.fitting if each.cost is None]
    assert (unknown[0].kind.name, unknown[0].nodes) == ("p5en.48xlarge", 1)
    assert unknown[-1].kind.name == "p5e.48xlarge"  # has no price anywhere
    assert ranking.fitting == (first, second, ranking.fitting[2], *unknown)


def test_sizes_that_use_no_node_as_a_whole_are_refused_too() -> None:
    shape = shape_of("Qwen/Qwen3-8B")
    (refused,) = search(shape, Wish("p5.48xlarge", 1, data_parallel_size=3)).refused
    assert refused.problem is not None
    assert "8 x 1 x 3 = 24" in refused.problem.what


def test_sizes_that_leave_gpus_idle_are_refused() -> None:
    shape = shape_of("Qwen/Qwen3-8B")
    (refused,) = search(shape, Wish("p5.48xlarge", 1, 2, 1, 1)).refused
    assert refused.problem is not None
    assert "2 x 1 x 1 = 2, but 1 x p5.48xlarge (8 GPUs each) make 8" in refused.problem.what


@settings(max_examples=40, deadline=None)
@given(
    model_id=st.sampled_from(sorted(snapshot_ids())),
    profile=st.sampled_from(sorted(TUNINGS)),
    length=st.sampled_from([1024, 8192, 32768]),
)
def test_every_candidate_either_fits_or_has_one_reason(model_id: str, profile: str, length: int) -> None:
    ranking = search(shape_of(model_id), Wish(profile=profile, max_model_len=length))  # type: ignore[arg-type]
    for each in ranking.fitting:
        assert each.problem is None
        assert each.layout.ranks == each.kind.ranks * each.nodes
        assert each.fitting.max_concurrency >= 1
    for each in ranking.refused:
        assert each.problem is not None
        assert each.problem.what
        assert each.problem.remedy


@settings(max_examples=30, deadline=None)
@given(
    model_id=st.sampled_from(["deepseek-ai/DeepSeek-V3", "meta-llama/Meta-Llama-3.1-70B"]),
    kind=st.sampled_from(["p4de.24xlarge", "p5.48xlarge", "p5en.48xlarge"]),
    nodes=st.integers(1, 2),
)
def test_what_the_search_refuses_is_never_built(model_id: str, kind: str, nodes: int) -> None:
    wish = Wish(kind, nodes, 8, nodes, 1, max_model_len=8192, utilization=0.9, expert_parallel=False)
    ranking = search(shape_of(model_id), wish)
    config = stack_config(
        "prod",
        {
            "drydock:model": {"source": model_id, "maxModelLen": 8192},
            "drydock:nodes.instanceType": kind,
            "drydock:nodes.count": nodes,
            "drydock:layout.pipelineParallelSize": nodes,
            "drydock:serving.extraArgs": [],
            "drydock:maxHourlyUsd": 1000,
        },
    )
    if ranking.best:
        assert plan(config, facts_of(config)).replica.tensor_parallel_size == 8
    else:
        with pytest.raises(BadInput):
            plan(config, facts_of(config))


@pytest.mark.parametrize("profile", sorted(TUNINGS))
def test_a_profile_has_no_flag_that_vllm_dropped_and_never_forgoes_graphs(profile: str) -> None:
    best = search(V3, Wish()).best
    assert best is not None
    found = arguments(Serve("/m", "m", best.layout, tuning=TUNINGS[profile].arguments()))  # type: ignore[index]
    flags = [argument.flag for argument in found]
    assert len(set(flags)) == len(flags)
    assert not set(flags) & {*REMOVED_FLAGS, "--enforce-eager", "--enable-chunked-prefill"}
    assert {"--max-num-batched-tokens", "--max-num-seqs"} <= set(flags)
    assert all(argument.reason for argument in found)
