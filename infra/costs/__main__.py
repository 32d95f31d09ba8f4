"""`python -m infra.costs`: write the cost tables into docs/deploy.md."""

from infra.costs.tables import ROOT, render

GUIDE = ROOT / "docs" / "deploy.md"


def with_tables(text: str) -> str:
    """Return the guide with each table between its markers replaced. Raises ValueError when a marker is missing."""
    for name, table in render().items():
        before, marker, rest = text.partition(f"<!-- costs: {name} -->\n")
        _, end, after = rest.partition("\n<!-- end of costs -->")
        if not (marker and end):
            raise ValueError(f"docs/deploy.md must have the markers of the table {name} once")
        text = before + marker + table + end + after
    return text


if __name__ == "__main__":
    GUIDE.write_text(with_tables(GUIDE.read_text()))
