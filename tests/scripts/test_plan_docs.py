"""docs/plan.md shows what the commands print today, and docs/plan.schema.json what --json holds."""

import json

from cluster.plan_report import Placement, PlanReport
from scripts import plan_docs

AGAIN = "write it again: python -m scripts.plan_docs"


def test_the_output_in_the_page() -> None:
    page = plan_docs.PAGE.read_text()
    assert len(plan_docs.BLOCK.findall(page)) >= 5
    assert plan_docs.with_output(page) == page, AGAIN


def test_the_schema_in_docs_is_today_s() -> None:
    assert plan_docs.SCHEMA.read_text() == plan_docs.schema(), AGAIN


def test_every_key_is_described() -> None:
    described = json.loads(plan_docs.schema())
    for kind in (described, *described["$defs"].values()):
        assert kind["description"]
        bare = [
            name for name, key in kind["properties"].items() if not ("description" in key or "$ref" in key)
        ]
        assert not bare


def test_the_page_names_no_key_that_there_is_not() -> None:
    """The keys that the page lists for scripts."""
    keys = plan_docs.PAGE.read_text().split("<!-- keys -->")[1]
    named = [word.strip("`") for word in keys.split() if word.startswith("`")]
    assert named
    assert set(named) <= {*PlanReport.model_fields, *Placement.model_fields}
