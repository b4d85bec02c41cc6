"""A small AWS: the answers of the Pricing API and of the spot price history, in the shapes that AWS sends.

Shapes as recorded from GetProducts (JSON 1.1; each product a string of JSON in PriceList) and
DescribeSpotPriceHistory (XML); the figures are made up.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs


def product(instance_type: str, usd: str, unit: str = "Hrs") -> str:
    """One product of PriceList."""
    sku, term, rate = "7X4K64YA59VZZAC3", "JRTCKXETXF", "6YS6EN2CT7"
    reserved = {"pricePerUnit": {"USD": "0.0100000000"}, "unit": "Hrs"}
    return json.dumps(
        {
            "product": {
                "productFamily": "Compute Instance",
                "attributes": {
                    "instanceType": instance_type,
                    "marketoption": "OnDemand",
                    "regionCode": "us-east-1",
                    "operatingSystem": "Linux",
                    "usagetype": f"BoxUsage:{instance_type}",
                },
                "sku": sku,
            },
            "serviceCode": "AmazonEC2",
            "terms": {
                "OnDemand": {
                    f"{sku}.{term}": {
                        "priceDimensions": {
                            f"{sku}.{term}.{rate}": {
                                "unit": unit,
                                "endRange": "Inf",
                                "description": f"${usd} per On Demand Linux {instance_type} Instance Hour",
                                "appliesTo": [],
                                "rateCode": f"{sku}.{term}.{rate}",
                                "beginRange": "0",
                                "pricePerUnit": {"USD": usd},
                            }
                        },
                        "sku": sku,
                        "effectiveDate": "2026-11-01T00:00:00Z",
                        "offerTermCode": term,
                        "termAttributes": {},
                    }
                },
                "Reserved": {f"{sku}.4NA7Y494T4": {"priceDimensions": {f"{sku}.4NA7Y494T4.1": reserved}}},
            },
            "version": "20261120201010",
            "publicationDate": "2026-11-20T20:10:10Z",
        }
    )


@dataclass
class PriceList:
    """What the small AWS sells, and the requests that it got."""

    products: dict[str, list[str]] = field(default_factory=dict)
    """Pages of products by instance type: each page is one product."""
    spot: list[tuple[str, str, str, str]] = field(default_factory=list)
    """Type, zone, USD, time."""
    refusal: tuple[int, str] | None = None
    """The status and the error code of every answer."""
    requests: list[dict[str, Any]] = field(default_factory=list)

    def get_products(self, request: dict[str, Any]) -> dict[str, Any]:
        self.requests.append(request)
        wanted = {each["Field"]: each["Value"] for each in request["Filters"]}
        pages = self.products.get(wanted["instanceType"], [])
        page = int(request.get("NextToken", 0))
        answer: dict[str, Any] = {"FormatVersion": "aws_v1", "PriceList": pages[page : page + 1]}
        if page + 1 < len(pages):
            answer["NextToken"] = str(page + 1)
        return answer

    def spot_history(self, form: dict[str, list[str]]) -> str:
        page = int(form.get("NextToken", ["0"])[0])
        items = "".join(
            f"<item><instanceType>{kind}</instanceType><productDescription>Linux/UNIX</productDescription>"
            f"<spotPrice>{usd}</spotPrice><timestamp>{time}</timestamp>"
            f"<availabilityZone>{zone}</availabilityZone></item>"
            for kind, zone, usd, time in self.spot[page : page + 1]
        )
        following = str(page + 1) if page + 1 < len(self.spot) else ""
        return (
            '<DescribeSpotPriceHistoryResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">'
            f"<requestId>1</requestId><spotPriceHistorySet>{items}</spotPriceHistorySet>"
            f"<nextToken>{following}</nextToken></DescribeSpotPriceHistoryResponse>"
        )


@contextmanager
def serve(prices: PriceList) -> Iterator[str]:
    """The small AWS on a port of its own; yields its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            is_pricing = self.headers.get("X-Amz-Target") == "AWSPriceListService.GetProducts"
            if prices.refusal:
                status, code = prices.refusal
                text = (
                    json.dumps({"__type": code, "message": "not you"})
                    if is_pricing
                    else f"<Response><Errors><Error><Code>{code}</Code><Message>not you</Message></Error>"
                    "</Errors><RequestID>1</RequestID></Response>"
                )
            elif is_pricing:
                status, text = 200, json.dumps(prices.get_products(json.loads(body)))
            else:
                status, text = 200, prices.spot_history(parse_qs(body))
            self.send_response(status)
            kind = "application/x-amz-json-1.1" if is_pricing else "text/xml"
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
