"""What hosted APIs ask for a million tokens: the table, and one figure for a mix of tokens."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal


@dataclass(frozen=True)
class Mix:
    """What a workload's tokens are: shares of all tokens that sum to 1."""

    input: float
    """Input that no cache holds."""
    cached_input: float
    output: float

    @classmethod
    def of(cls, input_tokens: float, output_tokens: float, cached_share: float) -> "Mix":
        """From a ratio of input to output and the share of the input that a prefix cache holds."""
        total = input_tokens + output_tokens
        all_input = input_tokens / total
        return cls(all_input * (1 - cached_share), all_input * cached_share, output_tokens / total)


@dataclass(frozen=True)
class Offer:
    """One hosted price list entry, in ``currency`` per million tokens, for one model at some hours."""

    id: str
    provider: str
    model: str
    hours: str
    currency: Literal["USD", "CNY"]
    input: float
    cached_input: float
    output: float
    source: str
    date: str

    def per_million_tokens(self, mix: Mix) -> float:
        """One figure for the mix, in the offer's own currency."""
        return mix.input * self.input + mix.cached_input * self.cached_input + mix.output * self.output

    def usd_per_million_tokens(self, mix: Mix, cny_per_usd: float) -> float:
        """One figure for the mix in USD."""
        return self.per_million_tokens(mix) / (cny_per_usd if self.currency == "CNY" else 1)


@cache
def offers() -> Mapping[str, Offer]:
    """Every offer in the table, by id."""
    table = json.loads((files("cluster") / "data" / "hosted_prices.json").read_text())
    return {row["id"]: Offer(**(row | table["sources"][row["source"]])) for row in table["offers"]}
