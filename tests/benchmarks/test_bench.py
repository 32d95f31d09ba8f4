"""The benchmark itself: its tables say what its figures say, and every candidate answers what it is asked."""

from pathlib import Path
from typing import Any

import pytest

from infra.package.contents import ROOT
from tests.benchmarks import trees
from tests.benchmarks.plots import draw_all
from tests.benchmarks.report import Table, broken_budgets, tables_of, write_into
from tests.benchmarks.scenarios import CONTENDED, IN_THE_MIX, SCENARIOS, known_to
from tests.benchmarks.warm import measure_wire
from tests.benchmarks.world import running_world

KINDS = ("python_ms", "import_ms", "build_ms", "first_answer_ms", "total_ms", "cpu_ms", "best_cpu_ms")
AFTER_SNAPSHOT = ("after_snapshot_ms", "after_snapshot_cpu_ms", "best_after_snapshot_cpu_ms")


def _figures(*, cold: float, warm: float, after_snapshot: float = 60) -> dict[str, Any]:
    def request(value: float) -> dict[str, float]:
        return dict.fromkeys(("p50_ms", "p99_ms", "best_ms", "cpu_best_ms"), value)

    requests = {name: {"ours": request(warm), "plain": request(5), "bare": request(1)} for name in ("upload", "get", "download")}
    return {
        "machine": {"processors": 2},
        "requests": requests,
        "cold": {
            "ours": dict.fromkeys(KINDS, cold) | dict.fromkeys(AFTER_SNAPSHOT, after_snapshot),
            "plain": dict.fromkeys((*KINDS, *AFTER_SNAPSHOT), 100.0),
        },
    }


def test_budget_is_broken_by_what_exceeds_it_and_by_nothing_else() -> None:
    assert broken_budgets(_figures(cold=95, warm=4)) == []
    assert broken_budgets(_figures(cold=96, warm=4)) == ["cold start without one, beside the plain app"]
    assert broken_budgets(_figures(cold=95, warm=4, after_snapshot=61)) == ["first answer after a snapshot, beside the plain app"]
    assert len(broken_budgets(_figures(cold=95, warm=4.1))) == 3


def test_tables_are_written_between_their_marks_again_and_again(tmp_path: Path) -> None:
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


def test_every_table_of_the_figures_has_its_place_in_the_document() -> None:
    document = (ROOT / "docs" / "performance.md").read_text()

    names = ("machine", "budgets", "cold", "emulator", "imports", "wire", "requests", "load", "latency", "contention", "lists", "signing")

    assert [name for name in names if document.count(f"<!-- bench:{name} -->") != 1] == []
    assert [table.name for table in tables_of(_figures(cold=1, warm=1))] == ["machine", "budgets", "cold", "requests"]


def test_plots_are_drawn_without_a_library(tmp_path: Path) -> None:
    draw_all(tmp_path / "plots", _figures(cold=60, warm=4))

    chart = (tmp_path / "plots" / "cold-start.svg").read_text()
    assert chart.startswith("<svg")
    assert "60 ms" in chart


def test_candidates_answer_every_request_within_their_round_trips(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """On the installed packages instead of the locked wheels, so that nothing is downloaded."""
    monkeypatch.setattr(trees, "BUILD", tmp_path)
    monkeypatch.setattr(trees, "_wheels", lambda: Path(pytest.__file__).parents[1])

    with running_world() as world:
        wire = measure_wire(world, trees.build_candidates())

    for scenario in SCENARIOS:
        assert set(wire[scenario.name]) == set(scenario.by) - {"before"}
    trips = {name: found["round_trips"] for name, found in wire["get"].items()}
    assert trips == {"ours": 2, "plain": 11, "bare": 6}
    assert all(found["sent_bytes"] > 100 and found["received_bytes"] > 100 for found in wire["upload"].values())
    assert {scenario.name for scenario in known_to("bare")} >= set(IN_THE_MIX)
    assert CONTENDED
