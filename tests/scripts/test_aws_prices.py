"""Prices from AWS over the wire: boto3 against a small AWS, and against moto for the spot history."""

import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from cluster.catalog import instance_types
from cluster.problems import BadInput, Failure
from rehearsal import paths
from scripts import aws_prices, drydock
from tests.scripts.price_list import PriceList, product, serve

SOME = ("p5.48xlarge", "p5e.48xlarge", "p5en.48xlarge", "g5.xlarge", "m7i.large")


@pytest.fixture(autouse=True)
def few_types(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask for a few of the types: each costs boto3 some 20 ms."""
    some = {name: instance_types()[name] for name in SOME}
    monkeypatch.setattr(aws_prices, "instance_types", lambda: some)


@pytest.fixture(autouse=True)
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "CACHE", tmp_path)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[PriceList]:
    prices = PriceList()
    with serve(prices) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        yield prices


def usd(instance_type: str, region: str, market: str) -> float | None:
    price = aws_prices.known().price(instance_type, region, market)  # type: ignore[arg-type]
    return price.usd_per_hour if price else None


def test_prices_are_asked_kept_and_used(aws: PriceList) -> None:
    aws.products = {"p5.48xlarge": [product("p5.48xlarge", "51.2300000000")]}
    aws.spot = [
        ("p5.48xlarge", "us-east-1b", "21.500000", "2026-11-25T01:00:00.000Z"),
        ("p5.48xlarge", "us-east-1a", "30.000000", "2026-11-25T02:00:00.000Z"),
        ("p5.48xlarge", "us-east-1b", "19.000000", "2026-11-24T01:00:00.000Z"),
    ]
    found = aws_prices.refresh("us-east-1")
    assert {(price.market, price.usd_per_hour) for price in found.rows.values()} == {
        ("on-demand", 51.23),
        ("spot", 21.5),
    }
    assert usd("p5.48xlarge", "us-east-1", "on-demand") == 51.23
    assert usd("p5.48xlarge", "us-east-1", "spot") == 21.5
    spot = aws_prices.known().price("p5.48xlarge", "us-east-1", "spot")
    assert spot is not None
    assert "us-east-1b" in spot.source
    assert usd("p5en.48xlarge", "us-east-1", "on-demand") == 63.296  # not answered: the catalogue's


def test_the_question_is_linux_shared_on_demand_for_every_type(
    aws: PriceList, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aws_prices, "instance_types", instance_types)
    aws.products = {"m7i.large": [product("m7i.large", "0.1")]}
    aws_prices.refresh("eu-central-1")
    asked = [{each["Field"]: each["Value"] for each in request["Filters"]} for request in aws.requests]
    assert {each["instanceType"] for each in asked} == set(instance_types())
    for each in asked:
        del each["instanceType"]
        assert each == {
            "regionCode": "eu-central-1",
            "operatingSystem": "Linux",
            "tenancy": "Shared",
            "preInstalledSw": "NA",
            "capacitystatus": "Used",
            "marketoption": "OnDemand",
        }


def test_later_pages_count_and_what_is_free_or_not_by_the_hour_does_not(aws: PriceList) -> None:
    aws.products = {
        "p5.48xlarge": [
            product("p5.48xlarge", "0.0000000000"),
            product("p5.48xlarge", "999.0", unit="Quantity"),
            product("p5.48xlarge", "51.23"),
        ]
    }
    aws_prices.refresh("us-east-1")
    assert usd("p5.48xlarge", "us-east-1", "on-demand") == 51.23


def test_one_region_s_refresh_leaves_another_s_and_forgets_what_is_no_longer_sold(aws: PriceList) -> None:
    aws.products = {name: [product(name, "9.5")] for name in ("p5e.48xlarge", "p5.48xlarge")}
    aws_prices.refresh("us-east-2")
    aws_prices.refresh("us-west-2")
    del aws.products["p5e.48xlarge"]
    aws_prices.refresh("us-west-2")
    assert usd("p5e.48xlarge", "us-east-2", "on-demand") == 9.5
    assert usd("p5e.48xlarge", "us-west-2", "on-demand") is None
    assert usd("p5.48xlarge", "us-west-2", "on-demand") == 9.5


def test_the_file_has_its_date(aws: PriceList) -> None:
    aws.products = {"p5.48xlarge": [product("p5.48xlarge", "51.23")]}
    aws_prices.refresh("us-east-1")
    content = json.loads(aws_prices.cache_file().read_text())
    assert content["refreshed"].startswith(content["prices"][0]["date"])
    assert list(aws_prices.cache_file().parent.iterdir()) == [aws_prices.cache_file()]


def test_moto_s_spot_history_is_understood(aws: PriceList, monkeypatch: pytest.MonkeyPatch) -> None:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        monkeypatch.setenv("AWS_ENDPOINT_URL_EC2", f"http://{host}:{port}")
        aws_prices.refresh("us-east-1")
    finally:
        server.stop()
    assert usd("g5.xlarge", "us-east-1", "spot") == 0.00001


@pytest.mark.parametrize("code", ["UnauthorizedOperation", "AuthFailure", "AccessDeniedException"])
def test_a_refusal_names_the_permissions_and_keeps_what_was_known(aws: PriceList, code: str) -> None:
    aws.products = {"p5.48xlarge": [product("p5.48xlarge", "51.23")]}
    aws_prices.refresh("us-east-1")
    before = aws_prices.cache_file().read_text()
    aws.refusal = (403, code)
    with pytest.raises(Failure) as caught:
        aws_prices.refresh("us-east-1")
    assert code in caught.value.what
    assert "pricing:GetProducts and ec2:DescribeSpotPriceHistory" in caught.value.remedy
    assert aws_prices.cache_file().read_text() == before


def test_no_credentials(aws: PriceList, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(Failure, match="Unable to locate credentials") as caught:
        aws_prices.refresh("us-east-1")
    assert "AWS_PROFILE" in caught.value.remedy
    assert not aws_prices.cache_file().exists()


def test_nobody_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(Failure, match="could not be asked"):
            aws_prices.refresh("us-east-1")


def test_a_region_that_sells_nothing(aws: PriceList) -> None:
    with pytest.raises(Failure, match="no price in mars-north-1"):
        aws_prices.refresh("mars-north-1")


@pytest.mark.parametrize(
    "content",
    ["", "<html>", "[]", '{"prices": [{}]}', '{"prices": [{"market": "barter"}]}', '{"prices": 7}'],
)
def test_a_damaged_file_says_where_it_is_and_what_to_do(content: str) -> None:
    file = aws_prices.cache_file()
    file.parent.mkdir()
    file.write_text(content)
    with pytest.raises(BadInput) as caught:
        aws_prices.known()
    (problem,) = caught.value.problems
    assert problem.path == str(file)
    assert "--refresh" in problem.remedy


def test_without_a_refresh_there_is_the_catalogue() -> None:
    assert usd("p5.48xlarge", "us-east-1", "on-demand") == 55.04
    assert usd("p5.48xlarge", "us-east-1", "spot") is None


def test_the_command_refreshes_and_uses_the_price_at_once(
    aws: PriceList, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    aws.spot = [("p5.48xlarge", "us-west-2a", "20.5", "2026-11-25T01:00:00.000Z")]
    options = ["--region", "us-west-2", "--instance-type", "p5.48xlarge", "--market", "spot", "--nodes", "2"]
    monkeypatch.setattr(sys, "argv", ["drydock", "cost", "--refresh", *options])
    with pytest.raises(SystemExit) as ended:
        drydock.main()
    out, err = capsys.readouterr()
    assert not ended.value.code
    assert "41.00 USD an hour" in out
    assert "spot price in us-west-2a, DescribeSpotPriceHistory" in out
    assert f"1 prices of us-west-2 kept in {aws_prices.cache_file()}" in err


def test_a_refresh_alone_prints_no_report_and_a_failed_one_is_exit_code_1(
    aws: PriceList, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["drydock", "cost", "--refresh"])
    for products, code in [({"g5.xlarge": [product("g5.xlarge", "1")]}, 0), ({}, 1)]:
        aws.products = products
        with pytest.raises(SystemExit) as ended:
            drydock.main()
        assert (ended.value.code or 0) == code
        assert not capsys.readouterr().out
