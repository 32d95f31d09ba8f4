"""The cost tables of the deployment guide."""

import json

import pytest

from infra.config import STAGES
from infra.costs.__main__ import GUIDE, with_tables
from infra.costs.tables import COUNTS, NONE, idle_items, read_prices, render, upload_items


def test_guide_has_the_tables_that_the_script_computes() -> None:
    text = GUIDE.read_text()

    assert with_tables(text) == text, "run: make costs"


def test_changed_price_changes_the_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    prices = read_prices()
    prices["xray"]["trace_million"] = 50.0
    before = render()["uploads"]
    monkeypatch.setattr("infra.costs.tables.read_prices", lambda: prices)

    assert render()["uploads"] != before


def test_traces_include_the_first_request_of_each_second() -> None:
    traces = upload_items(read_prices())["traces: one a second, and 5 % of the rest"]

    # 2,628,000 seconds of a month, and 5 % of the other 1,372,000 invocations.
    assert traces.amount == pytest.approx((2.628 + 0.0686) * 5)


def test_small_costs_less_than_five_dollars_while_idle() -> None:
    counts = json.loads(COUNTS.read_text())
    idle = idle_items(STAGES["small"], read_prices(), counts)

    assert sum(item.amount for item in idle.values()) < 5
    assert {name for name, item in idle.items() if item == NONE} == {
        "RDS Proxy",
        "endpoint for Secrets Manager",
        "snapshots of the Api function, two versions",
    }


def test_missing_marker_is_an_error() -> None:
    with pytest.raises(ValueError, match="markers of the table idle"):
        with_tables("# Deployment\n")
