"""Hosted prices: the table against its sources, and the figure for a mix."""

import pytest

from cluster.hosted import Mix, offers

RATE = 7.0


def test_the_article_s_yuan_are_its_dollars() -> None:
    mix = Mix.of(3, 1, 0.5)
    holysheep, deepseek = offers()["article/holysheep"], offers()["article/deepseek"]
    assert holysheep.per_million_tokens(mix) == pytest.approx(2.94)
    assert holysheep.usd_per_million_tokens(mix, RATE) == pytest.approx(0.42)
    assert deepseek.usd_per_million_tokens(mix, RATE) == pytest.approx(7.3 / 7)
    assert deepseek.usd_per_million_tokens(mix, 7.3) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("offer", "input_miss", "output"),
    [
        ("deepseek-flash/off-peak", 0.15, 0.60),
        ("deepseek-flash/peak", 0.30, 1.20),
        ("deepseek-v4-pro/off-peak", 0.66, 1.98),
        ("deepseek-v4-pro/peak", 1.32, 3.96),
        ("deepseek-chat", 0.27, 1.10),
    ],
)
def test_a_mix_of_one_kind_costs_that_kind(offer: str, input_miss: float, output: float) -> None:
    price = offers()[offer]
    assert price.usd_per_million_tokens(Mix.of(1, 0, 0), RATE) == input_miss
    assert price.usd_per_million_tokens(Mix.of(0, 1, 0), RATE) == output
    assert price.usd_per_million_tokens(Mix.of(1, 0, 1), RATE) == price.cached_input < input_miss


def test_three_to_one_with_half_of_the_input_cached() -> None:
    mix = Mix.of(3, 1, 0.5)
    assert (mix.input, mix.cached_input, mix.output) == (0.375, 0.375, 0.25)
    usd = offers()["deepseek-chat"].usd_per_million_tokens(mix, RATE)
    assert usd == pytest.approx(0.375 * 0.27 + 0.375 * 0.07 + 0.25 * 1.10)


def test_every_offer_says_which_model_it_is_for_and_since_when() -> None:
    for offer in offers().values():
        assert offer.model
        assert offer.source
        assert offer.date[:2] == "20"
        assert 0 < offer.cached_input <= offer.input <= offer.output
