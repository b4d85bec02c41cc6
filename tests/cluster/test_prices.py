"""The table of prices by type, region and market."""

import pytest

from cluster.catalog import instance_types
from cluster.cost import instances_cost
from cluster.prices import Price, PriceTable, catalogue


def row(usd: float, date: str, market: str = "on-demand") -> Price:
    return Price("p5.48xlarge", "us-east-1", market, usd, "a test", date)  # type: ignore[arg-type]


def test_the_later_price_wins_wherever_it_stands() -> None:
    old, new = PriceTable.of([row(98.32, "2025-01-01")]), PriceTable.of([row(55.04, "2026-07-20")])
    for table in (old.updated(new), new.updated(old)):
        found = table.price("p5.48xlarge", "us-east-1")
        assert found is not None
        assert found.usd_per_hour == 55.04


def test_markets_are_kept_apart() -> None:
    table = PriceTable.of([row(55.04, "2026-07-20"), row(20.5, "2026-11-25", "spot")])
    spot = table.price("p5.48xlarge", "us-east-1", "spot")
    assert spot is not None
    assert spot.usd_per_hour == 20.5
    assert catalogue().price("p5.48xlarge", "us-east-1", "spot") is None


def test_a_reservation_costs_what_on_demand_costs() -> None:
    table = catalogue()
    assert table.price("p5.48xlarge", "us-east-1", "reservation") == table.price("p5.48xlarge", "us-east-1")


def test_capacity_blocks_cost_the_same_in_most_regions() -> None:
    table = catalogue()
    prices = [table.price("p5e.48xlarge", region, "capacity-block") for region in ("us-east-2", "us-west-1")]
    assert [price and price.usd_per_hour for price in prices] == [39.80, 49.75]
    assert all(price and price.date == "2026-01" for price in prices)
    assert table.price("p5.48xlarge", "us-east-1", "capacity-block") is None


def test_what_is_known_of_a_type_comes_cheapest_first() -> None:
    assert [(price.market, price.usd_per_hour) for price in catalogue().known("p5en.48xlarge")] == [
        ("capacity-block", 41.61),
        ("on-demand", 63.296),
    ]
    assert catalogue().known("p9.unheard-of") == ()


def test_a_cluster_takes_the_price_of_its_market() -> None:
    kind = instance_types()["p5en.48xlarge"]
    cost = instances_cost(kind, "us-east-1", 2, "capacity-block")
    assert cost is not None
    assert cost.usd_per_hour == pytest.approx(83.22)
