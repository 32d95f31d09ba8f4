"""A plugin of pytest that removes one guard before any test is collected: `REMOVED_GUARD` names it."""

import os

from tests.mutation.edits import remove
from tests.mutation.guards import GUARDS

VARIABLE = "REMOVED_GUARD"


def pytest_configure() -> None:
    """Remove the guard for this process."""
    (guard,) = (guard for guard in GUARDS if guard.name == os.environ[VARIABLE])
    remove(guard.target, guard.without)
