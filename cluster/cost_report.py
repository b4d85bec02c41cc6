"""The whole answer of `drydock cost` as one value: its JSON schema, and what the table and plot show."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from cluster.break_even import (
    SECONDS_PER_DAY,
    Own,
    break_even_tokens_per_day,
    hosted_usd_per_day,
)
from cluster.cost import DAYS_PER_MONTH, Cost
from cluster.hosted import Mix, Offer

Way = Literal["hosted", "own", "hybrid"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ClusterPrice(_Record):
    """The cluster and what it costs whether it is used or not."""

    name: str = Field(description="what is priced, e.g. 2 x p5.48xlarge, us-east-1, on-demand")
    price_source: str = Field(description="where the price was read")
    price_date: str = Field(description="when, ISO, as exact as known")
    usd_per_hour: float = Field(description="all nodes together")
    usd_per_day: float = Field(description="24 hours")
    usd_per_month: float = Field(description="730 hours")
    cny_per_month: float = Field(description="730 hours, at cny_per_usd")


class Serving(_Record):
    """What the cluster serves, and so what a token of its own costs."""

    tokens_per_s: float = Field(description="input and output together, at full load")
    utilization: float = Field(description="the share of tokens_per_s that a day's traffic uses, 0 to 1")
    tokens_per_day: float = Field(description="capacity: tokens_per_s x utilization x 86,400")
    usd_per_million_tokens: float = Field(description="at capacity: the least that it ever is")
    cny_per_million_tokens: float = Field(description="the same at cny_per_usd")


class TokenMix(_Record):
    """Shares of all tokens; they sum to 1."""

    input: float = Field(description="input that no cache holds")
    cached_input: float = Field(description="input that the prefix cache holds")
    output: float


class AtVolume(_Record):
    """Three ways to serve the asked tokens_per_day, in USD per month of 730 hours."""

    hosted_usd_per_month: float = Field(description="all of it at the hosted API")
    own_usd_per_month: float = Field(description="all of it on own_clusters clusters")
    own_clusters: int = Field(description="how many clusters that takes")
    hybrid_usd_per_month: float = Field(description="hybrid_clusters up to their capacity, the rest hosted")
    hybrid_clusters: int = Field(description="all that are full where a full one pays, else one")
    cheapest: Way = Field(description="own where hybrid costs the same")


class Comparison(_Record):
    """The cluster against one hosted offer."""

    id: str = Field(description="the offer's name, as --hosted takes it")
    provider: str
    model: str = Field(description="the model that this price is for; not always the one served here")
    hours: str = Field(description="when the price holds")
    currency: Literal["USD", "CNY"] = Field(description="of the three prices below")
    input: float = Field(description="per million input tokens that no cache holds")
    cached_input: float = Field(description="per million input tokens from the cache")
    output: float = Field(description="per million output tokens")
    source: str
    date: str = Field(description="ISO, as exact as known")
    usd_per_million_tokens: float = Field(description="for the mix")
    cny_per_million_tokens: float = Field(description="for the mix, at cny_per_usd")
    break_even_tokens_per_day: float = Field(description="what the API sells for the cluster's price")
    break_even_tokens_per_s: float = Field(
        description="the throughput at full load that reaches the break-even at the utilisation"
    )
    pays: bool | None = Field(description="whether break-even is within capacity; null without tokens_per_s")
    share_of_capacity: float | None = Field(description="break-even over capacity; above 1 = never pays")
    at_tokens_per_day: AtVolume | None = Field(description="null without tokens_per_day and tokens_per_s")


class CostReport(_Record):
    """What `drydock cost --json` prints."""

    version: Literal[1] = Field(default=1, description="of this schema")
    cluster: ClusterPrice
    serving: Serving | None = Field(description="null where no throughput was given")
    mix: TokenMix
    cny_per_usd: float
    tokens_per_day: float | None = Field(description="the volume asked about")
    needed_tokens_per_s: float | None = Field(
        description="the throughput at full load that one cluster needs for tokens_per_day"
    )
    hosted: tuple[Comparison, ...] = Field(description="cheapest first")


@dataclass(frozen=True)
class Question:
    """What the report is asked: a cluster's price, and how it is used."""

    name: str
    cost: Cost
    mix: Mix
    cny_per_usd: float
    utilization: float
    tokens_per_s: float | None = None
    tokens_per_day: float | None = None


def report(question: Question, offers: Sequence[Offer]) -> CostReport:
    """The cluster against each offer."""
    cost, rate, mix = question.cost, question.cny_per_usd, question.mix
    own = None
    if question.tokens_per_s is not None:
        own = Own(cost.usd_per_hour, question.tokens_per_s, question.utilization)
    asked = question.tokens_per_day
    compared = [_comparison(question, own, offer) for offer in offers]
    return CostReport(
        cluster=ClusterPrice(
            name=question.name,
            price_source=cost.source,
            price_date=cost.date,
            usd_per_hour=cost.usd_per_hour,
            usd_per_day=cost.usd_per_day,
            usd_per_month=cost.usd_per_month,
            cny_per_month=cost.usd_per_month * rate,
        ),
        serving=_serving(own, rate) if own else None,
        mix=TokenMix(input=mix.input, cached_input=mix.cached_input, output=mix.output),
        cny_per_usd=rate,
        tokens_per_day=asked,
        needed_tokens_per_s=_at_full_load(asked, question.utilization) if asked else None,
        hosted=tuple(sorted(compared, key=lambda each: each.usd_per_million_tokens)),
    )


def _serving(own: Own, rate: float) -> Serving:
    return Serving(
        tokens_per_s=own.tokens_per_s,
        utilization=own.utilization,
        tokens_per_day=own.tokens_per_day,
        usd_per_million_tokens=own.usd_per_million_tokens,
        cny_per_million_tokens=own.usd_per_million_tokens * rate,
    )


def _comparison(question: Question, own: Own | None, offer: Offer) -> Comparison:
    usd = offer.usd_per_million_tokens(question.mix, question.cny_per_usd)
    even = break_even_tokens_per_day(question.cost.usd_per_day, usd)
    asked = question.tokens_per_day
    return Comparison(
        id=offer.id,
        provider=offer.provider,
        model=offer.model,
        hours=offer.hours,
        currency=offer.currency,
        input=offer.input,
        cached_input=offer.cached_input,
        output=offer.output,
        source=offer.source,
        date=offer.date,
        usd_per_million_tokens=usd,
        cny_per_million_tokens=usd * question.cny_per_usd,
        break_even_tokens_per_day=even,
        break_even_tokens_per_s=_at_full_load(even, question.utilization),
        pays=own.pays_against(usd) if own else None,
        share_of_capacity=even / own.tokens_per_day if own else None,
        at_tokens_per_day=_at_volume(own, asked, usd) if own and asked else None,
    )


def _at_volume(own: Own, tokens_per_day: float, hosted_usd: float) -> AtVolume:
    # Equal prices go to what comes first: up to the capacity hybrid is nothing but own.
    usd_per_day: dict[Way, float] = {
        "own": own.usd_per_day_for(tokens_per_day),
        "hybrid": own.hybrid_usd_per_day_for(tokens_per_day, hosted_usd),
        "hosted": hosted_usd_per_day(tokens_per_day, hosted_usd),
    }
    return AtVolume(
        hosted_usd_per_month=usd_per_day["hosted"] * DAYS_PER_MONTH,
        own_usd_per_month=usd_per_day["own"] * DAYS_PER_MONTH,
        own_clusters=own.clusters_for(tokens_per_day),
        hybrid_usd_per_month=usd_per_day["hybrid"] * DAYS_PER_MONTH,
        hybrid_clusters=own.hybrid_clusters_for(tokens_per_day, hosted_usd),
        cheapest=min(usd_per_day, key=lambda way: usd_per_day[way]),
    )


def _at_full_load(tokens_per_day: float, utilization: float) -> float:
    return tokens_per_day / SECONDS_PER_DAY / utilization
