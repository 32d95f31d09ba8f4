"""Tables of the figures, for the terminal and for docs/performance.md between its markers."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.benchmarks.answers import DIFFERENCE_MAX_MS
from tests.benchmarks.lists import SHARED_PAGES
from tests.benchmarks.scenarios import (
    BESIDE_BARE_MAX,
    BESIDE_FLOOR_MAX,
    BESIDE_OWN_MAX,
    BESIDE_PLAIN_MAX,
    SCENARIOS,
    SERVER_BESIDE_HANDLER_MAX,
)

COLD_RATIO_MAX = 1.0
"""Of a start without a snapshot, relative to the plain app of the same size: no worse (docs/adr/0017-cold-start-budget.md)."""
AFTER_SNAPSHOT_RATIO_MAX = 0.2
"""Of the first response after a snapshot, relative to the plain app."""
LIST_RATIO_MAX = 1.5
ROUND_TRIPS_MAX = {"get": 1, "download": 1, "list of 100": 1, "upload": 1, "link download": 1, "me": 1, "update": 3}
SHOWN_PACKAGES = 14
CANDIDATES = ("ours", "before", "plain", "bare", "floor")


@dataclass(frozen=True)
class Table:
    """A table. `name` identifies its markers in the document."""

    name: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def text(self) -> str:
        """Return the table for a terminal."""
        lines = [self.columns, *self.rows]
        widths = [max(len(line[number]) for line in lines) for number in range(len(self.columns))]
        cells = [
            [cell.ljust(width) if not at else cell.rjust(width) for at, (cell, width) in enumerate(zip(line, widths, strict=True))]
            for line in lines
        ]
        return "\n".join([f"\n{self.title}", *("  ".join(line).rstrip() for line in cells)])

    def markdown(self) -> str:
        """Return the table for the document."""
        lines = [self.columns, ["---", *("---:" for _ in self.columns[1:])], *self.rows]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def tables_of(figures: dict[str, Any]) -> list[Table]:
    """Return the tables of all measurements in the figures."""
    builders = {
        "cold": _cold,
        "emulator": _emulator,
        "imports": _imports,
        "parts": _start_parts,
        "wire": _wire,
        "requests": _requests,
        "server": _server,
        "load": _load,
        "latency": _latency,
        "contention": _contention,
        "lists": _lists,
        "signing": _signing,
        "answers": _answers,
    }
    return [_machine(figures), _budgets(figures), *(build(figures[name]) for name, build in builders.items() if figures.get(name))]


def exceeded_budgets(figures: dict[str, Any]) -> list[str]:
    """Return the names of the budgets that the figures exceed."""
    return [name for name, _, _, is_met in _budget_rows(figures) if not is_met]


def write_into(document: Path, tables: Iterable[Table], *, keeps_budgets: bool = False) -> None:
    """Replace the text between the markers of each table. If `keeps_budgets`, budgets that were not measured stay in their table."""
    text = document.read_text()
    for table in tables:
        begin, end = f"<!-- bench:{table.name} -->", "<!-- /bench -->"
        before, found, rest = text.partition(f"{begin}\n")
        if not found:
            continue
        old, _, after = rest.partition(end)
        new = _with_kept_rows(table, old) if keeps_budgets and table.name == "budgets" else table
        text = f"{before}{begin}\n{new.markdown()}\n{end}{after}"
    document.write_text(text)


def _with_kept_rows(table: Table, old: str) -> Table:
    rows = {row[0]: row for line in old.splitlines()[2:] if (row := line.strip("| ").split(" | "))}
    return replace(table, rows=[*(rows | {row[0]: row for row in table.rows}).values()])


def _budget_rows(figures: dict[str, Any]) -> list[tuple[str, str, str, bool]]:
    # Compares processor time of the best samples, which other work on the machine disturbs least.
    rows = []
    if requests := figures.get("requests"):
        for peer, title, budgets in (
            ("bare", "the bare handler", BESIDE_BARE_MAX),
            ("floor", "one statement without a framework", BESIDE_FLOOR_MAX),
            ("plain", "the plain app", BESIDE_PLAIN_MAX),
        ):
            rows += [
                _ratio_row(f"warm {name}, relative to {title}", requests[name]["ours"], requests[name][peer], allowed)
                for name, allowed in budgets.items()
                if peer in requests.get(name, {})
            ]
        rows += [
            _ratio_row(f"warm {name}, relative to {other}", requests[name]["ours"], requests[other]["ours"], allowed)
            for name, (other, allowed) in BESIDE_OWN_MAX.items()
            if name in requests
        ]
    rows += _server_rows(figures.get("server"))
    if cold := figures.get("cold"):
        for budget, peer, kind, allowed in (
            ("first response after a snapshot, relative to the plain app", "plain", "best_after_snapshot_cpu_ms", AFTER_SNAPSHOT_RATIO_MAX),
            ("cold start without a snapshot, relative to the plain app of the same size", "plain-large", "best_cpu_ms", COLD_RATIO_MAX),
        ):
            ratio = cold["ours"][kind] / cold[peer][kind]
            rows.append((budget, f"{allowed:g}x", f"{ratio:.2f}x", ratio <= allowed))
    if wire := figures.get("wire"):
        for name, allowed_trips in ROUND_TRIPS_MAX.items():
            trips = int(wire[name]["ours"]["round_trips"])
            rows.append((f"round trips of {name}", str(allowed_trips), str(trips), trips <= allowed_trips))
    if lists := figures.get("lists"):
        by_cursor, first = lists["ours, last page by cursor"], lists["ours, first page"]
        largest = max(by_cursor, key=int)
        ratio = by_cursor[largest] / first[largest]
        rows.append(
            (f"list page at row {int(largest):,}, relative to page 1", f"{LIST_RATIO_MAX:g}x", f"{ratio:.2f}x", ratio <= LIST_RATIO_MAX)
        )
        smallest = min(by_cursor, key=int)
        for page in SHARED_PAGES:
            times = lists[f"ours, {page}"]
            ratio = times[largest] / times[smallest]
            name = f"{page} at {int(largest):,} files, relative to {int(smallest):,}"
            rows.append((name, f"{LIST_RATIO_MAX:g}x", f"{ratio:.2f}x", ratio <= LIST_RATIO_MAX))
    for code, medians in figures.get("answers", {}).items():
        apart = max(medians.values()) - min(medians.values())
        rows.append((f"sign-ins with {code}, apart", f"{DIFFERENCE_MAX_MS:g} ms", f"{apart:.2f} ms", apart <= DIFFERENCE_MAX_MS))
    return rows


def _server_rows(figures: dict[str, Any] | None) -> list[tuple[str, str, str, bool]]:
    rows: list[tuple[str, str, str, bool]] = []
    if figures is None:
        return rows
    for name, allowed in SERVER_BESIDE_HANDLER_MAX.items():
        ratio = _beside_handler(figures[name]["ours"])
        rows.append((f"{name} under a server, relative to the handler", f"{allowed:g}x", f"{ratio:.2f}x", ratio <= allowed))
    return rows


def _ratio_row(name: str, ours: dict[str, float], other: dict[str, float], allowed: float) -> tuple[str, str, str, bool]:
    ratio = ours["cpu_best_ms"] / other["cpu_best_ms"]
    return name, f"{allowed:g}x", f"{ratio:.2f}x", ratio <= allowed


def _budgets(figures: dict[str, Any]) -> Table:
    rows = [(name, allowed, measured, "met" if is_met else "EXCEEDED") for name, allowed, measured, is_met in _budget_rows(figures)]
    return Table("budgets", "Budgets", ("budget", "allowed", "measured", ""), rows)


def _machine(figures: dict[str, Any]) -> Table:
    return Table("machine", "Measured on", ("machine", ""), [(name, str(value)) for name, value in figures["machine"].items()])


def _names(figures: dict[str, Any]) -> list[str]:
    return [name for name in CANDIDATES if any(name in by_name for by_name in figures.values())]


def _cold(figures: dict[str, Any]) -> Table:
    names = {
        "python_ms": "Python",
        "import_ms": "import",
        "build_ms": "build",
        "first_response_ms": "first response",
        "total_ms": "total",
        "cpu_ms": "processor time",
        "best_cpu_ms": "best",
        "after_snapshot_ms": "after a snapshot",
        "after_snapshot_cpu_ms": "processor time",
        "best_after_snapshot_cpu_ms": "best",
    }
    ours = figures["ours"]["best_cpu_ms"]
    rows = [
        (name, *(f"{by_kind[kind]:.0f}" for kind in names), f"{ours / by_kind['best_cpu_ms']:.2f}") for name, by_kind in figures.items()
    ]
    columns = ("cold start, ms", *names.values(), "without a snapshot, best: ours/this")
    return Table("cold", "Cold start, process start to first response (an upload), medians", columns, rows)


def _emulator(figures: dict[str, Any]) -> Table:
    rows = [(name, f"{by_kind['init_ms']:.0f}", f"{by_kind['first_response_ms']:.0f}") for name, by_kind in figures.items()]
    columns = ("with AWS's runtime emulator, ms", "INIT", "first invocation, including INIT")
    return Table("emulator", "Cold start under the runtime interface emulator, medians", columns, rows)


def _imports(figures: dict[str, Any]) -> Table:
    names = [name for name in CANDIDATES if name in figures]
    packages = sorted(
        {package for by_package in figures.values() for package in by_package}, key=lambda package: -_spent(figures, names, package)
    )
    rows = [
        (package, *(f"{figures[name][package]['ms']:.0f}" if package in figures[name] else "" for name in names))
        for package in packages[:SHOWN_PACKAGES]
    ]
    rest = packages[SHOWN_PACKAGES:]
    rows.append(
        ("other packages", *(f"{sum(figures[name][package]['ms'] for package in rest if package in figures[name]):.0f}" for name in names))
    )
    modules = (f"{sum(entry['modules'] for entry in figures[name].values()):.0f}" for name in names)
    rows.append(("number of modules", *modules))
    return Table("imports", "Import time by package, ms", ("package", *names), rows)


def _start_parts(figures: dict[str, Any]) -> Table:
    parts = dict.fromkeys(part for by_part in figures.values() for part in by_part)
    rows = [(part, *(f"{by_part[part]:.0f}" if part in by_part else "" for by_part in figures.values())) for part in parts]
    rows.append(("all", *(f"{sum(by_part.values()):.0f}" for by_part in figures.values())))
    return Table("parts", "Start without a snapshot by part, processor time", ("start, ms of processor time", *figures), rows)


def _spent(figures: dict[str, Any], names: Sequence[str], package: str) -> float:
    return max(float(figures[name].get(package, {"ms": 0.0})["ms"]) for name in names)


def _wire(figures: dict[str, Any]) -> Table:
    names = _names(figures)
    rows = []
    for scenario, by_name in figures.items():
        cells = []
        for name in names:
            measured = by_name.get(name)
            cells += (
                [f"{measured['round_trips']:.0f}", f"{measured['sent_bytes'] + measured['received_bytes']:,.0f}"] if measured else ["", ""]
            )
        rows.append((scenario, *cells))
    columns = ("request", *(column for name in names for column in (f"{name}: trips", "bytes")))
    return Table("wire", "Round trips to the database, and bytes sent and received", columns, rows)


def _requests(figures: dict[str, Any]) -> Table:
    names = _names(figures)
    rows = []
    for scenario, by_name in figures.items():
        cells = []
        for name in names:
            measured = by_name.get(name)
            cells += (
                [f"{measured['p50_ms']:.2f}", f"{measured['p99_ms']:.1f}", f"{measured['best_ms']:.2f}", f"{measured['cpu_best_ms']:.2f}"]
                if measured
                else [""] * 4
            )
        ratios = (_ratio(by_name, peer, "cpu_best_ms") for peer in ("plain", "bare", "floor"))
        rows.append((scenario, *cells, *ratios))
    columns = (
        "warm request, ms",
        *(column for name in names for column in (f"{name}: p50", "p99", "best", "best CPU")),
        "CPU: ours/plain",
        "ours/bare",
        "ours/floor",
    )
    return Table("requests", "Warm requests, handler time", columns, rows)


def _ratio(by_name: dict[str, Any], peer: str, kind: str) -> str:
    return f"{by_name['ours'][kind] / by_name[peer][kind]:.2f}" if peer in by_name else ""


def _server(figures: dict[str, Any]) -> Table:
    names = _names(figures)
    rows = []
    for scenario, by_name in figures.items():
        cells = [(f"{by_name[name]['server_ms']:.2f}", f"{by_name[name]['handler_ms']:.2f}") for name in names]
        rows.append((scenario, *(cell for pair in cells for cell in pair), *(f"{_beside_handler(by_name[name]):.2f}" for name in names)))
    columns = (*(column for name in names for column in (f"{name}: server", "handler")), *(f"{name}: server/handler" for name in names))
    return Table("server", "Processor time under uvicorn, best samples", ("request under a server, ms", *columns), rows)


def _beside_handler(measured: dict[str, float]) -> float:
    return measured["server_ms"] / measured["handler_ms"]


def _load(figures: dict[str, Any]) -> Table:
    kinds = ("per_second", "per_cpu_second", "started_mb", "first_response_mb", "loaded_mb")
    rows = [(name, *(f"{by_kind[kind]:.0f}" for kind in kinds)) for name, by_kind in figures.items()]
    columns = ("one process", "requests/s", "per s of CPU", "MB at start", "MB after 1", "MB after 2,000")
    return Table("load", "One process with a mix of requests, and its memory", columns, rows)


def _latency(figures: dict[str, Any]) -> Table:
    names = _names(next(iter(figures.values())))
    rows = []
    for scenario in (scenario.name for scenario in SCENARIOS):
        for delay, by_scenario in figures.items():
            by_name = by_scenario[scenario]
            cells = (f"{by_name[name]['p50_ms']:.1f}" if name in by_name else "" for name in names)
            rows.append((f"{scenario}, +{delay} ms", *cells, _ratio(by_name, "plain", "p50_ms"), _ratio(by_name, "bare", "p50_ms")))
    return Table("latency", "With latency added to the database, p50 in ms", ("request", *names, "ours/plain", "ours/bare"), rows)


def _contention(figures: dict[str, Any]) -> Table:
    rows = [
        (f"{counter}, {sharing}", f"{measured['per_second']:.0f}", f"{measured['p50_ms']:.1f}", f"{measured['p99_ms']:.1f}")
        for counter, by_sharing in figures.items()
        for sharing, measured in by_sharing.items()
    ]
    return Table("contention", "Counters: four concurrent processes", ("counter", "requests/s", "p50 ms", "p99 ms"), rows)


def _lists(figures: dict[str, Any]) -> Table:
    sizes = sorted({size for by_size in figures.values() for size in by_size}, key=int)
    rows = [(page, *(f"{by_size[size]:.1f}" for size in sizes)) for page, by_size in figures.items()]
    return Table("lists", "A page of 100 files, by number of files, p50 in ms", ("list", *(f"{int(size):,}" for size in sizes)), rows)


def _signing(figures: dict[str, Any]) -> Table:
    kinds = ("upload", "part", "download")
    rows = [(name, *(f"{by_kind[kind]:,.0f}" for kind in kinds)) for name, by_kind in figures.items()]
    return Table("signing", "Signed URLs per second of processor time", ("signed by", *kinds), rows)


def _answers(figures: dict[str, Any]) -> Table:
    rows = [
        (kind, code, f"{median:.2f}", f"{median - min(medians.values()):.2f}")
        for code, medians in figures.items()
        for kind, median in medians.items()
    ]
    return Table("answers", "Refused sign-ins, median in ms", ("attempt", "answer", "median", "beyond the fastest"), rows)
