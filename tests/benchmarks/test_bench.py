"""The benchmarks run, and their tables show their figures."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from infra.package.contents import ROOT
from tests.benchmarks import candidates
from tests.benchmarks.plots import draw_all
from tests.benchmarks.processes import command_for, environment_for
from tests.benchmarks.report import Table, exceeded_budgets, tables_of, write_into
from tests.benchmarks.scenarios import CONTENDED, LOAD_MIX, SCENARIOS, scenarios_of
from tests.benchmarks.testbed import running_testbed
from tests.benchmarks.warm import measure_wire

KINDS = ("python_ms", "import_ms", "build_ms", "first_response_ms", "total_ms", "cpu_ms", "best_cpu_ms")
AFTER_SNAPSHOT = ("after_snapshot_ms", "after_snapshot_cpu_ms", "best_after_snapshot_cpu_ms")


def _figures(*, cold: float, warm: float, after_snapshot: float = 20) -> dict[str, Any]:
    def request(value: float) -> dict[str, float]:
        return dict.fromkeys(("p50_ms", "p99_ms", "best_ms", "cpu_best_ms"), value)

    peers = {"plain": request(5), "bare": request(1), "floor": request(1)}
    requests = {name: {"ours": request(warm), **peers} for name in ("upload", "get", "download")}
    requests["link download"] = {"ours": request(warm)}
    return {
        "machine": {"processors": 2},
        "requests": requests,
        "server": {name: {"ours": {"server_ms": warm, "handler_ms": 2.0}} for name in ("get", "download", "list of 100")},
        "cold": {
            "ours": dict.fromkeys(KINDS, cold) | dict.fromkeys(AFTER_SNAPSHOT, after_snapshot),
            "plain": dict.fromkeys(KINDS, 50.0) | dict.fromkeys(AFTER_SNAPSHOT, 100.0),
            "plain-large": dict.fromkeys((*KINDS, *AFTER_SNAPSHOT), 100.0),
        },
    }


def test_only_exceeded_budgets_are_reported() -> None:
    assert exceeded_budgets(_figures(cold=100, warm=1.5)) == []
    assert exceeded_budgets(_figures(cold=101, warm=1.5)) == ["cold start without a snapshot, relative to the plain app of the same size"]
    assert exceeded_budgets(_figures(cold=100, warm=1.5, after_snapshot=21)) == [
        "first response after a snapshot, relative to the plain app"
    ]
    assert exceeded_budgets(_figures(cold=100, warm=1.55)) == [f"warm {name}, relative to the bare handler" for name in ("get", "download")]
    assert len(exceeded_budgets(_figures(cold=100, warm=2.6))) == 6
    assert [name for name in exceeded_budgets(_figures(cold=100, warm=2.7)) if "server" in name] == [
        f"{name} under a server, relative to the handler" for name in ("get", "list of 100")
    ]


def test_tables_are_replaced_between_their_markers(tmp_path: Path) -> None:
    document = tmp_path / "performance.md"
    document.write_text("before\n<!-- bench:cold -->\nold\n<!-- /bench -->\nbetween\n<!-- bench:other -->\nkept\n<!-- /bench -->\n")
    table = Table("cold", "", ("a", "b"), [("1", "2")])

    write_into(document, [table])
    once = document.read_text()
    write_into(document, [table])

    assert once == document.read_text()
    assert once == (
        "before\n<!-- bench:cold -->\n| a | b |\n| --- | ---: |\n| 1 | 2 |\n<!-- /bench -->\nbetween\n"
        "<!-- bench:other -->\nkept\n<!-- /bench -->\n"
    )


def test_budgets_that_were_not_measured_stay(tmp_path: Path) -> None:
    document = tmp_path / "performance.md"
    columns = ("budget", "allowed", "measured", "")
    first = Table("budgets", "", columns, [("get", "1x", "0.9x", "met"), ("start", "1x", "1.1x", "EXCEEDED")])
    document.write_text("<!-- bench:budgets -->\nold\n<!-- /bench -->\n")
    write_into(document, [first])

    write_into(
        document, [Table("budgets", "", columns, [("start", "1x", "0.8x", "met"), ("list", "1x", "0.7x", "met")])], keeps_budgets=True
    )

    both = Table("budgets", "", columns, [("get", "1x", "0.9x", "met"), ("start", "1x", "0.8x", "met"), ("list", "1x", "0.7x", "met")])
    assert document.read_text() == f"<!-- bench:budgets -->\n{both.markdown()}\n<!-- /bench -->\n"


def test_every_table_has_markers_in_the_document() -> None:
    document = (ROOT / "docs" / "performance.md").read_text()

    names = (
        "machine",
        "budgets",
        "cold",
        "emulator",
        "imports",
        "parts",
        "wire",
        "requests",
        "server",
        "load",
        "latency",
        "contention",
        "lists",
        "signing",
    )

    assert [name for name in names if document.count(f"<!-- bench:{name} -->") != 1] == []
    assert [table.name for table in tables_of(_figures(cold=1, warm=1))] == ["machine", "budgets", "cold", "requests", "server"]


def test_charts_are_written_as_svg(tmp_path: Path) -> None:
    draw_all(tmp_path / "plots", _figures(cold=60, warm=4))

    chart = (tmp_path / "plots" / "cold-start.svg").read_text()
    assert chart.startswith("<svg")
    assert "60 ms" in chart


@pytest.mark.slow
@pytest.mark.parametrize(("name", "tables"), [("plain-large", 2 + 4), ("plain-routes", 2 + 1)])
def test_larger_plain_apps_reach_the_size_and_do_not_exceed_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, tables: int
) -> None:
    monkeypatch.setattr(candidates, "BUILD", tmp_path)
    monkeypatch.setattr(candidates, "_wheels", lambda: Path(pytest.__file__).parents[1])
    settings = {"S3_BUCKET_NAME": "bucket", "AWS_REGION": "us-east-1", "DATABASE_URL": "postgresql://localhost/unused"}

    # Room for three copies of the routes and four of the models: a fifth table would fit, its schemas would not.
    peers = candidates.build_larger_peers(candidates.Size(routes=7 + 3 * 5 + 4, tables=2 + 5, schemas=4 + 4 * 3 + 2))
    peer = next(peer for peer in peers if peer.name == name)
    count = "import json; from plain.base import Base; print(json.dumps([app.openapi(), len(Base.metadata.tables)]))"
    code = f"from {peer.module} import app; {count}"
    finished = subprocess.run(command_for("-c", code), env=environment_for(peer, settings), check=True, capture_output=True, text=True)

    document, number_of_tables = json.loads(finished.stdout)
    assert sum(len(operations) for operations in document["paths"].values()) == 7 + 3 * 5
    assert number_of_tables == tables


@pytest.mark.slow
def test_candidates_serve_every_scenario_with_the_expected_round_trips(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Uses the installed packages instead of the locked wheels, so that nothing is downloaded."""
    monkeypatch.setattr(candidates, "BUILD", tmp_path)
    monkeypatch.setattr(candidates, "_wheels", lambda: Path(pytest.__file__).parents[1])

    with running_testbed() as testbed:
        wire = measure_wire(testbed, candidates.build_candidates())

    for scenario in SCENARIOS:
        assert set(wire[scenario.name]) == set(scenario.by) - {"before"}
    trips = {name: found["round_trips"] for name, found in wire["get"].items()}
    assert trips == {"ours": 1, "plain": 11, "bare": 6, "floor": 1}
    assert all(found["sent_bytes"] > 100 and found["received_bytes"] > 100 for found in wire["upload"].values())
    assert {scenario.name for scenario in scenarios_of("bare")} >= set(LOAD_MIX)
    assert CONTENDED
