"""What an instance costs an hour, by type, region and market; every price with its source and date."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Literal, get_args

from cluster.catalog import instance_types

Market = Literal["on-demand", "spot", "capacity-block", "reservation"]
MARKETS: tuple[Market, ...] = get_args(Market)


@dataclass(frozen=True)
class Price:
    """USD per hour of one instance; ``date`` is ISO, as exact as its source is (a day or a month)."""

    instance_type: str
    region: str
    market: Market
    usd_per_hour: float
    source: str
    date: str


@dataclass(frozen=True)
class PriceTable:
    """Prices by (type, region, market)."""

    rows: Mapping[tuple[str, str, Market], Price] = field(default_factory=dict)

    @classmethod
    def of(cls, prices: Iterable[Price]) -> "PriceTable":
        """The table of these prices; of two for the same thing the one of the later date stays."""
        rows: dict[tuple[str, str, Market], Price] = {}
        for price in prices:
            key = (price.instance_type, price.region, price.market)
            if key not in rows or rows[key].date <= price.date:
                rows[key] = price
        return cls(rows)

    def updated(self, other: "PriceTable") -> "PriceTable":
        """Both tables as one; the later date wins, the other table where dates are equal."""
        return PriceTable.of([*self.rows.values(), *other.rows.values()])

    def price(self, instance_type: str, region: str, market: Market = "on-demand") -> Price | None:
        """The price, or None where none is known. An on-demand reservation costs what on demand costs."""
        if market == "reservation":
            market = "on-demand"
        found = self.rows.get((instance_type, region, market))
        if found is None and market == "capacity-block":
            return _capacity_blocks().get((instance_type, "default"))
        return found

    def known(self, instance_type: str) -> tuple[Price, ...]:
        """Every price of this type, cheapest first: what to offer where the one asked for is unknown."""
        mine = [price for price in self.rows.values() if price.instance_type == instance_type]
        default = _capacity_blocks().get((instance_type, "default"))
        return tuple(sorted([*mine, *([default] if default else [])], key=lambda price: price.usd_per_hour))


@cache
def catalogue() -> PriceTable:
    """The prices that come with Drydock."""
    on_demand = [
        Price(kind.name, region, "on-demand", usd, kind.price_source, kind.price_date)
        for kind in instance_types().values()
        for region, usd in kind.usd_per_hour.items()
    ]
    exceptions = [price for (_, region), price in _capacity_blocks().items() if region != "default"]
    return PriceTable.of([*on_demand, *exceptions])


@cache
def _capacity_blocks() -> Mapping[tuple[str, str], Price]:
    table = json.loads((files("cluster") / "data" / "capacity_block_prices.json").read_text())
    return {
        (name, region): Price(name, region, "capacity-block", usd, table["source"], table["date"])
        for name, by_region in table["usd_per_hour"].items()
        for region, usd in by_region.items()
    }
