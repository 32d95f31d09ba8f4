"""`python -m tests.scale.plans SMALL LARGE`: print which plans of PostgreSQL differ between two sizes of the database.

`PLANS=FILE SCALE=10 pytest tests/scale` writes such a file.
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from tests.scale.block_reads import StatementReads

COUNTS = re.compile(r": [0-9.]+ rows x [0-9.]+, \d+ blocks$", re.MULTILINE)
"""The end of each line of a plan, which differs in each run."""
GROWTH = 3
"""A statement that reads more than this many times the blocks is shown, also with the same plan."""
FEW_BLOCKS = 100
"""Not below this number of blocks."""

Plans = Mapping[str, Sequence[StatementReads]]
"""The statements of each test."""


def write_plans(path: Path, plans: Plans) -> None:
    """Write the plans for a later comparison."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({test: [asdict(read) for read in reads] for test, reads in plans.items()}))


def read_plans(path: Path) -> Plans:
    """Return the plans of a run."""
    return {test: [StatementReads(**read) for read in reads] for test, reads in json.loads(path.read_text()).items()}


def shape(plan: str) -> str:
    """Return a plan without the numbers of its rows and blocks."""
    return COUNTS.sub("", plan)


def differences(small: Plans, large: Plans) -> Iterator[tuple[str, StatementReads, StatementReads]]:
    """Yield the statements, with their test, whose plan has another shape or which read far more blocks, once for each pair of plans."""
    seen = set()
    for test in sorted(small.keys() & large.keys()):
        for before, after in zip(small[test], large[test], strict=False):
            if before.statement != after.statement:
                # The rest of the request took another path, for example because a page was full.
                break
            grows = after.blocks > FEW_BLOCKS and after.blocks > GROWTH * before.blocks
            pair = (before.statement, shape(before.plan), shape(after.plan))
            if (pair[1] != pair[2] or grows) and pair not in seen:
                seen.add(pair)
                yield test, before, after


def report(small: Plans, large: Plans) -> str:
    """Return the comparison as text."""
    statements = {read.statement for reads in large.values() for read in reads}
    changed = list(differences(small, large))
    worst = max((read.blocks for reads in large.values() for read in reads), default=0)
    lines = [
        f"{len(large)} tests, {len(statements)} statements, at most {worst} blocks",
        f"{len({before.statement for _, before, _ in changed})} statements differ",
    ]
    for test, before, after in changed:
        lines += ["", test, before.statement, f"--- {before.blocks} blocks", before.plan, f"+++ {after.blocks} blocks", after.plan]
    return "\n".join(lines)


if __name__ == "__main__":
    print(report(*(read_plans(Path(name)) for name in sys.argv[1:3])))
