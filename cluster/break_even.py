"""From how many tokens a day a cluster of one's own is cheaper than a hosted API."""

import math
from dataclasses import dataclass

SECONDS_PER_DAY = 86_400
MILLION = 1_000_000


@dataclass(frozen=True)
class Own:
    """A cluster that costs the same whether it is used or not.

    ``tokens_per_s`` counts input and output at full load; ``utilization`` is the share of it that a
    day's traffic can use, since nobody sends requests evenly through day and night.
    """

    usd_per_hour: float
    tokens_per_s: float
    utilization: float

    @property
    def usd_per_day(self) -> float:
        """USD for 24 hours of one cluster."""
        return self.usd_per_hour * 24

    @property
    def tokens_per_day(self) -> float:
        """What one cluster serves in a day at the utilisation."""
        return self.tokens_per_s * self.utilization * SECONDS_PER_DAY

    @property
    def usd_per_million_tokens(self) -> float:
        """The price of a token at the utilisation: the least that it ever is."""
        return self.usd_per_day / self.tokens_per_day * MILLION

    def clusters_for(self, tokens_per_day: float) -> int:
        """How many such clusters serve so many tokens a day; at least one."""
        # A hair of tolerance: 3 × capacity must not need a fourth cluster through rounding.
        return max(1, math.ceil(tokens_per_day / self.tokens_per_day - 1e-9))

    def usd_per_day_for(self, tokens_per_day: float) -> float:
        """USD a day when all of it is served by clusters of one's own."""
        return self.clusters_for(tokens_per_day) * self.usd_per_day

    def hybrid_clusters_for(self, tokens_per_day: float, hosted_usd_per_million: float) -> int:
        """How many clusters the mixed way has: all that are full where a full one pays, else the first."""
        full = math.floor(tokens_per_day / self.tokens_per_day + 1e-9)
        return max(1, full) if self.pays_against(hosted_usd_per_million) else 1

    def hybrid_usd_per_day_for(self, tokens_per_day: float, hosted_usd_per_million: float) -> float:
        """USD a day when those clusters serve up to their capacity and the hosted API the rest."""
        clusters = self.hybrid_clusters_for(tokens_per_day, hosted_usd_per_million)
        rest = max(0.0, tokens_per_day - clusters * self.tokens_per_day)
        return clusters * self.usd_per_day + hosted_usd_per_day(rest, hosted_usd_per_million)

    def pays_against(self, hosted_usd_per_million: float) -> bool:
        """Whether a break-even lies within what the cluster can serve.

        When it does not, no number of such clusters ever pays: each token costs more even at capacity.
        """
        return break_even_tokens_per_day(self.usd_per_day, hosted_usd_per_million) <= self.tokens_per_day


def hosted_usd_per_day(tokens_per_day: float, hosted_usd_per_million: float) -> float:
    """USD a day of a hosted API."""
    return tokens_per_day / MILLION * hosted_usd_per_million


def break_even_tokens_per_day(usd_per_day: float, hosted_usd_per_million: float) -> float:
    """The tokens a day that a hosted API sells for what the cluster costs."""
    return usd_per_day / hosted_usd_per_million * MILLION
