"""docs/security.md has a row for every requirement of ASVS levels 1 and 2, and refers to tests that exist."""

import re
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
DOCUMENT = (CHECKOUT / "docs" / "security.md").read_text()

# The ids of the OWASP ASVS 5.0.0 with level 1 or 2, section by section.
REQUIREMENTS = (
    "1.1.1-2 1.2.1-9 1.3.1-11 1.4.1-3 1.5.1-2 2.1.1-3 2.2.1-3 2.3.1-4 2.4.1-1 3.2.1-2 3.3.1-4 3.4.1-6 3.5.1-5 3.7.1-2 4.1.1-3 4.2.1-1 "
    "4.3.1-2 4.4.1-4 5.1.1-1 5.2.1-3 5.3.1-2 5.4.1-3 6.1.1-3 6.2.1-12 6.3.1-4 6.4.1-4 6.5.1-5 6.6.1-3 6.8.1-4 7.1.1-3 7.2.1-4 7.3.1-2 "
    "7.4.1-5 7.5.1-2 7.6.1-2 8.1.1-2 8.2.1-3 8.3.1-1 8.4.1-1 9.1.1-3 9.2.1-4 10.1.1-2 10.2.1-2 10.3.1-4 10.4.1-11 10.5.1-5 10.6.1-2 "
    "10.7.1-3 11.1.1-2 11.2.1-3 11.3.1-3 11.4.1-4 11.5.1-1 11.6.1-1 12.1.1-3 12.2.1-2 12.3.1-4 13.1.1-1 13.2.1-5 13.3.1-2 13.4.1-5 "
    "14.1.1-2 14.2.1-4 14.3.1-3 15.1.1-3 15.2.1-3 15.3.1-7 16.1.1-1 16.2.1-5 16.3.1-4 16.4.1-3 16.5.1-3 17.1.1-1 17.2.1-4 17.3.1-2"
)


def required() -> set[str]:
    identifiers = set()
    for section in REQUIREMENTS.split():
        stem, first, last = re.fullmatch(r"(\d+\.\d+)\.(\d+)-(\d+)", section).groups()  # type: ignore[union-attr]  # every section has this form
        identifiers |= {f"{stem}.{number}" for number in range(int(first), int(last) + 1)}
    return identifiers


def rows() -> dict[str, str]:
    return {row[1]: row[2] for row in re.finditer(r"^\| (\d[\d., ]*) \| (.+) \|$", DOCUMENT, re.MULTILINE)}


def test_every_requirement_has_a_row() -> None:
    listed = {identifier for row in rows() for identifier in row.split(", ")}

    assert required() - listed == set()
    assert listed - required() == set()


def test_every_row_has_a_text() -> None:
    assert {identifiers for identifiers, text in rows().items() if len(text) < 5} == set()
    assert "{{" not in DOCUMENT


def test_every_referenced_test_exists() -> None:
    references = re.findall(r"`((?:api|unit|integration|infra|e2e)/[\w/]+\.py)(?:::(\w+))?`", DOCUMENT)

    assert len(references) > 80
    for path, name in references:
        file = CHECKOUT / "tests" / re.sub(r"^api/", "integration/api/", path)
        assert file.exists(), path
        assert not name or f"def {name}(" in file.read_text(), f"{path}::{name}"
