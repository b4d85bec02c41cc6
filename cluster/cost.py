"""What a plan costs: the instances' price; volumes and traffic are not in it."""

from dataclasses import dataclass

from cluster.catalog import InstanceType

HOURS_PER_MONTH = 730
"""A twelfth of a year, as AWS's own calculator has it."""


@dataclass(frozen=True)
class Cost:
    """The price of some instances on demand, with where and when it was read."""

    usd_per_hour: float
    source: str
    date: str

    @property
    def usd_per_day(self) -> float:
        """USD for 24 hours."""
        return self.usd_per_hour * 24

    @property
    def usd_per_month(self) -> float:
        """USD for 730 hours."""
        return self.usd_per_hour * HOURS_PER_MONTH


def instances_cost(instance_type: InstanceType, region: str, count: int) -> Cost | None:
    """The price of that many instances, or None where the table has no price for the region."""
    price = instance_type.usd_per_hour.get(region)
    if price is None:
        return None
    return Cost(price * count, instance_type.price_source, instance_type.price_date)
