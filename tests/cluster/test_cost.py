"""Prices of instances."""

import pytest

from cluster.catalog import instance_types
from cluster.cost import instances_cost


def test_the_price_of_two_p5() -> None:
    cost = instances_cost(instance_types()["p5.48xlarge"], "us-east-1", 2)
    assert cost is not None
    assert cost.usd_per_hour == pytest.approx(110.08)
    assert cost.usd_per_day == pytest.approx(2641.92)
    assert cost.usd_per_month == pytest.approx(80358.4)


def test_no_price_for_another_region() -> None:
    assert instances_cost(instance_types()["p5.48xlarge"], "eu-west-1", 1) is None
