"""`python -m infra.costs`: write the cost tables into docs/deploy.md."""

import re

from infra.costs.tables import ROOT, render

GUIDE = ROOT / "docs" / "deploy.md"


def with_tables(text: str) -> str:
    """Return the guide with each table between its markers replaced. Raises ValueError when a marker is missing."""
    for name, table in render().items():
        pattern = re.compile(rf"(<!-- costs: {name} -->\n).*?(\n<!-- end of costs -->)", re.DOTALL)
        text, replaced = pattern.subn(lambda found, table=table: found[1] + table + found[2], text)
        if replaced != 1:
            raise ValueError(f"docs/deploy.md must have the markers of the table {name} once")
    return text


if __name__ == "__main__":
    GUIDE.write_text(with_tables(GUIDE.read_text()))
