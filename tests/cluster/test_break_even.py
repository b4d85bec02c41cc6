"""From how many tokens a day one's own cluster is cheaper, and the article's claims put right."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.break_even import Own, break_even_tokens_per_day, hosted_usd_per_day
from cluster.catalog import instance_types
from cluster.cost import DAYS_PER_MONTH, instances_cost

RATE = 7.0
HOLYSHEEP_USD = 2.94 / RATE
DEEPSEEK_USD = 7.3 / RATE

positive = st.floats(0.01, 1e4)


def p5_usd_per_hour(nodes: int) -> float:
    cost = instances_cost(instance_types()["p5.48xlarge"], "us-east-1", nodes)
    assert cost is not None
    return cost.usd_per_hour


def test_one_gpu_by_hand() -> None:
    own = Own(usd_per_hour=2.0, tokens_per_s=1000, utilization=0.5)
    assert own.usd_per_day == 48
    assert own.tokens_per_day == 43_200_000
    assert own.usd_per_million_tokens == pytest.approx(48 / 43.2)
    assert break_even_tokens_per_day(own.usd_per_day, 2.0) == 24_000_000
    assert own.pays_against(2.0)
    assert not own.pays_against(1.0)


def test_the_article_s_80000_yuan_a_month_are_281000() -> None:
    """8 x H100: the article's figure is three and a half times too small on demand."""
    assert p5_usd_per_hour(1) * 730 == pytest.approx(40_179, abs=1)
    assert p5_usd_per_hour(1) * 730 * RATE == pytest.approx(281_254, abs=1)


def test_the_article_s_500_million_tokens_a_day_are_cheaper_hosted() -> None:
    """Even its own 80,000 yuan buy more than these tokens cost at the cheaper of its hosted rows."""
    tokens = 500e6
    hosted_cny_per_month = hosted_usd_per_day(tokens, HOLYSHEEP_USD) * DAYS_PER_MONTH * RATE
    assert hosted_cny_per_month == pytest.approx(44_713, abs=1)
    assert hosted_cny_per_month < 80_000
    # 8 x H100 at full use all day need 5,787 tokens/s for it, and break even only at six times as many.
    own = Own(p5_usd_per_hour(1), tokens_per_s=tokens / 86_400, utilization=1)
    assert own.tokens_per_day == pytest.approx(tokens)
    assert own.usd_per_million_tokens * RATE == pytest.approx(18.49, abs=0.01)
    assert not own.pays_against(HOLYSHEEP_USD)
    assert not own.pays_against(DEEPSEEK_USD)
    assert break_even_tokens_per_day(own.usd_per_day, HOLYSHEEP_USD) == pytest.approx(3.145e9, rel=1e-3)
    assert break_even_tokens_per_day(own.usd_per_day, DEEPSEEK_USD) == pytest.approx(1.267e9, rel=1e-3)


def test_the_article_s_10_million_tokens_a_day_are_no_reason_to_build() -> None:
    """DeepSeek V3 on the two p5 that it fits on: 2,642 USD a day against 4.20 or 10.43 hosted."""
    usd_per_day = p5_usd_per_hour(2) * 24
    assert usd_per_day == pytest.approx(2641.92)
    assert hosted_usd_per_day(10e6, HOLYSHEEP_USD) == pytest.approx(4.20)
    assert hosted_usd_per_day(10e6, DEEPSEEK_USD) == pytest.approx(10.43, abs=0.01)
    assert break_even_tokens_per_day(usd_per_day, HOLYSHEEP_USD) == pytest.approx(6.29e9, rel=1e-3)
    assert break_even_tokens_per_day(usd_per_day, DEEPSEEK_USD) == pytest.approx(2.533e9, rel=1e-3)


def test_a_full_cluster_needs_no_second_and_one_token_more_does() -> None:
    own = Own(10, tokens_per_s=1234.5, utilization=0.7)
    assert own.clusters_for(0) == 1
    assert own.clusters_for(own.tokens_per_day * 3) == 3
    assert own.clusters_for(own.tokens_per_day * 3 + 1) == 4


def test_hybrid_is_own_up_to_capacity_and_hosted_for_the_rest() -> None:
    own = Own(2.0, tokens_per_s=1000, utilization=0.5)
    assert own.hybrid_usd_per_day_for(43.2e6, 2.0) == own.usd_per_day
    assert own.hybrid_usd_per_day_for(53.2e6, 2.0) == pytest.approx(48 + 20)
    assert own.usd_per_day_for(53.2e6) == 96


def test_hybrid_has_every_cluster_that_is_full_where_that_pays() -> None:
    own = Own(2.0, tokens_per_s=1000, utilization=0.5)
    assert own.hybrid_clusters_for(100e6, 2.0) == 2
    assert own.hybrid_usd_per_day_for(100e6, 2.0) == pytest.approx(96 + 13.6 * 2)
    assert own.hybrid_clusters_for(100e6, 1.0) == 1  # its token is dearer: no more than the first


@given(positive, positive, st.floats(0.01, 1), positive, st.floats(1, 1e9))
def test_no_other_number_of_clusters_beside_the_hosted_api_is_cheaper(
    usd: float, tokens_per_s: float, use: float, hosted: float, tokens: float
) -> None:
    own = Own(usd, tokens_per_s, use)
    best = min(own.hybrid_usd_per_day_for(tokens, hosted), own.usd_per_day_for(tokens))
    for clusters in range(1, min(own.clusters_for(tokens), 50) + 1):
        rest = max(0.0, tokens - clusters * own.tokens_per_day)
        mixed = clusters * own.usd_per_day + hosted_usd_per_day(rest, hosted)
        assert best <= mixed * (1 + 1e-9)


@given(positive, positive, st.floats(0.01, 1), positive, st.floats(1, 1e12))
def test_hybrid_beats_hosted_just_where_own_pays(
    usd: float, tokens_per_s: float, use: float, hosted: float, tokens: float
) -> None:
    own = Own(usd, tokens_per_s, use)
    even = break_even_tokens_per_day(own.usd_per_day, hosted)
    hybrid = own.hybrid_usd_per_day_for(tokens, hosted)
    alone = hosted_usd_per_day(tokens, hosted)
    if own.pays_against(hosted) and tokens >= even:
        assert hybrid <= alone * (1 + 1e-9)
    else:
        assert hybrid >= alone * (1 - 1e-9)


@given(positive, positive, st.floats(0.01, 1), positive)
def test_it_pays_just_where_its_token_is_no_dearer(
    usd: float, tokens_per_s: float, use: float, hosted: float
) -> None:
    own = Own(usd, tokens_per_s, use)
    if own.usd_per_million_tokens < hosted * (1 - 1e-9):
        assert own.pays_against(hosted)
    if own.usd_per_million_tokens > hosted * (1 + 1e-9):
        assert not own.pays_against(hosted)
