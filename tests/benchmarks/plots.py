"""Bar charts as SVG, written without a plotting library."""

from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

COLOURS = {
    "ours": "#1f77b4",
    "before": "#9ecae1",
    "plain": "#ff7f0e",
    "plain-large": "#d62728",
    "plain-routes": "#ffbb78",
    "bare": "#7f7f7f",
    "floor": "#c7c7c7",
}
WIDTH, BAR, GAP, LEFT = 760, 15, 14, 150


def draw_bars(path: Path, title: str, groups: dict[str, dict[str, float]], *, unit: str) -> None:
    """Write a chart with one group of bars per key, and in each one bar per candidate."""
    largest = max(value for bars in groups.values() for value in bars.values())
    scale = (WIDTH - LEFT - 90) / largest
    y, parts = 54, []
    for group, bars in groups.items():
        parts.append(f'<text x="{LEFT - 8}" y="{y + BAR * len(bars) / 2 + 4}" text-anchor="end">{escape(group)}</text>')
        for name, value in bars.items():
            parts.append(f'<rect x="{LEFT}" y="{y}" width="{max(1.0, value * scale):.1f}" height="{BAR - 2}" fill="{COLOURS[name]}"/>')
            parts.append(f'<text x="{LEFT + value * scale + 5:.1f}" y="{y + BAR - 4}" font-size="11">{value:.3g} {unit}</text>')
            y += BAR
        y += GAP
    names = [name for name in COLOURS if any(name in bars for bars in groups.values())]
    for number, name in enumerate(names):
        x = LEFT + number * 90
        parts.append(f'<rect x="{x}" y="32" width="12" height="12" fill="{COLOURS[name]}"/><text x="{x + 17}" y="42">{name}</text>')
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" font-family="sans-serif" font-size="12">'
    background = f'<rect width="{WIDTH}" height="{y}" fill="white"/><text x="{LEFT}" y="20" font-size="14">{escape(title)}</text>'
    path.write_text("\n".join([head, background, *parts, "</svg>"]) + "\n")


def draw_all(folder: Path, figures: dict[str, Any]) -> None:
    """Write the two charts of docs/performance.md."""
    folder.mkdir(exist_ok=True)
    if cold := figures.get("cold"):
        groups = {"cold start": {name: by_kind["total_ms"] for name, by_kind in cold.items()}}
        draw_bars(folder / "cold-start.svg", "Process start to first response, median", groups, unit="ms")
    if latency := figures.get("latency"):
        groups = {
            f"{scenario}, +{delay} ms": {name: found["p50_ms"] for name, found in by_scenario[scenario].items()}
            for scenario in ("get", "upload")
            for delay, by_scenario in latency.items()
        }
        draw_bars(folder / "latency.svg", "p50 with latency added to every database round trip", groups, unit="ms")
