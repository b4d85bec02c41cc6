"""What a plan costs: the instances' price; volumes and traffic are not in it."""

from dataclasses import dataclass, replace

from cluster.catalog import InstanceType
from cluster.prices import Market, PriceTable, catalogue

HOURS_PER_MONTH = 730
"""A twelfth of a year, as AWS's own calculator has it."""
DAYS_PER_MONTH = HOURS_PER_MONTH / 24


@dataclass(frozen=True)
class Cost:
    """The price of some instances, with where and when it was read."""

    usd_per_hour: float
    source: str
    date: str
    at_most: bool = False
    """Whether it is a bound: spot without a known price never costs more than on demand."""

    @property
    def usd_per_day(self) -> float:
        """USD for 24 hours."""
        return self.usd_per_hour * 24

    @property
    def usd_per_month(self) -> float:
        """USD for 730 hours."""
        return self.usd_per_hour * HOURS_PER_MONTH


def instances_cost(
    instance_type: InstanceType,
    region: str,
    count: int,
    market: Market = "on-demand",
    prices: PriceTable | None = None,
) -> Cost | None:
    """The price of that many instances, or None where no price is known for the region and market."""
    price = (prices or catalogue()).price(instance_type.name, region, market)
    return Cost(price.usd_per_hour * count, price.source, price.date) if price else None


def bounded_cost(instance_type: InstanceType, region: str, count: int, market: Market) -> Cost | None:
    """The price of that many instances in that market, for spot at least the most that it can be.

    EC2's default maximum for a spot instance is its price on demand, and Drydock sets no other.
    """
    cost = instances_cost(instance_type, region, count, market)
    if cost is None and market == "spot":
        on_demand = instances_cost(instance_type, region, count)
        return replace(on_demand, at_most=True) if on_demand else None
    return cost
