"""AWS's prices of today, kept in a file: on demand from the Pricing API, spot from its price history."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from cluster.catalog import instance_types
from cluster.prices import Price, PriceTable, catalogue
from cluster.problems import BadInput, Failure, Problem
from rehearsal import paths

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_pricing import PricingClient

PRICING_REGION = "us-east-1"
"""The Pricing API answers for every region, but only from a few; this is its first."""
PERMISSIONS = "pricing:GetProducts and ec2:DescribeSpotPriceHistory"
CONNECTIONS = 8


def cache_file() -> Path:
    """Where the last refresh is kept."""
    return paths.CACHE / "prices" / "aws.json"


def known() -> PriceTable:
    """The catalogue, with what refreshes have learned since; BadInput when their file is damaged."""
    return catalogue().updated(kept())


def kept() -> PriceTable:
    """What refreshes have learned; an empty table before the first."""
    file = cache_file()
    try:
        rows = json.loads(file.read_text())["prices"]
        prices = TypeAdapter(list[Price]).validate_python(rows)
    except FileNotFoundError:
        return PriceTable()
    except (OSError, ValueError, KeyError, TypeError) as error:
        first = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        what = f"the kept prices cannot be read ({type(error).__name__}: {first})"
        raise BadInput(
            [Problem(str(file), what, f"Remove it (rm {file}) and ask again: drydock cost --refresh.")]
        ) from error
    return PriceTable.of(prices)


def refresh(region: str) -> PriceTable:
    """Ask AWS for every type in the catalogue, keep the answer beside other regions', and give it back.

    Failure when AWS cannot be asked, or sells none of the types there; what was kept stays then.
    """
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    now, others = datetime.now(UTC), [price for price in kept().rows.values() if price.region != region]
    settings = Config(retries={"mode": "standard", "max_attempts": 4}, max_pool_connections=CONNECTIONS)
    pool = ThreadPoolExecutor(CONNECTIONS)
    try:
        session = boto3.Session()
        found = list(spot(session.client("ec2", region_name=region, config=settings), region, now))
        pricing = session.client("pricing", region_name=PRICING_REGION, config=settings)
        ask = partial(on_demand, pricing, region, now.date().isoformat())
        found += [price for price in pool.map(ask, instance_types()) if price]
    except ClientError as error:
        code = error.response["Error"]["Code"]
        what = f"AWS refused {error.operation_name} ({code}): {error.response['Error']['Message']}"
        raise Failure(what, f"Use credentials that allow {PERMISSIONS}.") from error
    except (BotoCoreError, ValueError) as error:
        remedy = (
            f"Check AWS_PROFILE or AWS_ACCESS_KEY_ID, and that {region} is a region; it needs {PERMISSIONS}."
        )
        raise Failure(f"AWS could not be asked for prices: {error}", remedy) from error
    finally:
        pool.shutdown(cancel_futures=True)
    if not found:
        raise Failure(f"AWS has no price in {region} for any type in the catalogue", "Check --region.")
    _keep(PriceTable.of([*others, *found]), now)
    return PriceTable.of(found)


def on_demand(pricing: "PricingClient", region: str, date: str, instance_type: str) -> Price | None:
    """Today's Linux price of one type in a region; None where the region does not sell it."""
    wanted = {
        "instanceType": instance_type, "regionCode": region, "operatingSystem": "Linux", "tenancy": "Shared",
        "preInstalledSw": "NA", "capacitystatus": "Used", "marketoption": "OnDemand",
    }  # fmt: skip
    pages = pricing.get_paginator("get_products").paginate(
        ServiceCode="AmazonEC2",
        Filters=[{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in wanted.items()],
    )
    products = (json.loads(text) for page in pages for text in page["PriceList"])
    usd = [price for product in products for price in _hourly(product)]
    source = "AWS Pricing API, GetProducts"
    # More than one price means that AWS has told apart what the filter does not: never take the lower.
    return Price(instance_type, region, "on-demand", max(usd), source, date) if usd else None


def _hourly(product: Mapping[str, Any]) -> Iterator[float]:
    for term in product.get("terms", {}).get("OnDemand", {}).values():
        for dimension in term["priceDimensions"].values():
            usd = float(dimension["pricePerUnit"].get("USD", 0))
            if dimension["unit"] == "Hrs" and usd > 0:
                yield usd


def spot(ec2: "EC2Client", region: str, now: datetime) -> Iterator[Price]:
    """The spot price of each type that the region has: what its cheapest zone asks now."""
    pages = ec2.get_paginator("describe_spot_price_history").paginate(
        InstanceTypes=list(instance_types()),  # type: ignore[arg-type] # the stubs list the types of their day
        ProductDescriptions=["Linux/UNIX", "Linux/UNIX (Amazon VPC)"],
        # From now on = the price in force in each zone, whenever it was set.
        StartTime=now,
    )
    rows = [row for page in pages for row in page["SpotPriceHistory"]]
    for name in instance_types():
        newest = _newest_by_zone(row for row in rows if row["InstanceType"] == name)
        if newest:
            zone = min(newest, key=lambda zone: newest[zone])
            source = f"spot price in {zone}, DescribeSpotPriceHistory"
            yield Price(name, region, "spot", newest[zone], source, now.date().isoformat())


def _newest_by_zone(rows: Iterable[Any]) -> dict[str, float]:
    in_time = sorted(rows, key=lambda row: row["Timestamp"])
    return {row["AvailabilityZone"]: float(row["SpotPrice"]) for row in in_time}


def _keep(table: PriceTable, now: datetime) -> None:
    file = cache_file()
    content = {"refreshed": now.isoformat(timespec="seconds"), "prices": [*map(asdict, table.rows.values())]}
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        # Written beside and moved: a killed refresh leaves the old file whole.
        beside = file.with_suffix(f".{os.getpid()}")
        beside.write_text(json.dumps(content, indent=1) + "\n")
        beside.replace(file)
    except OSError as error:
        remedy = "Set DRYDOCK_CACHE to a folder that can be written."
        raise Failure(f"{file} cannot be written: {error.strerror}", remedy) from error
