"""Measures how many blocks of PostgreSQL each statement of a request reads, by EXPLAIN (ANALYZE, BUFFERS) just before it runs."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.exc import DBAPIError

from lambda_app.db.engine import create_endpoint_engine, endpoint_of

EXPLAINED = ("SELECT", "WITH", "INSERT", "UPDATE", "DELETE")
LOCK_TIMEOUT_MS = 300
CURRENT_TEST = "PYTEST_CURRENT_TEST"
"""Variable in which pytest names the test that runs."""


@dataclass(frozen=True, slots=True)
class StatementReads:
    """One statement and the blocks (8 kB each) that it read, from the cache or from disk."""

    statement: str
    blocks: int
    plan: str
    expected_rows: int = 0
    """The most rows that PostgreSQL expects of one step of the plan."""


class BlockReads:
    """Explains the statements of an engine on a connection of its own, whose transaction is rolled back each time."""

    def __init__(self, engine: Engine) -> None:
        self.plans: dict[str, list[StatementReads]] = {}
        """The statements of each test, in their order."""
        self._engine = engine
        self._explainer = create_endpoint_engine(endpoint_of(engine), pool_size=1)

    def close(self) -> None:
        """Close the connection."""
        self._explainer.dispose()

    @contextmanager
    def recorded(self) -> Iterator[list[StatementReads]]:
        """Record each statement that runs meanwhile.

        A statement that waits for a lock of the request's own open transaction is explained without being executed, and counts as 0 blocks.
        """
        reads: list[StatementReads] = []

        def explain(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, executemany: bool) -> None:
            if statement.lstrip(" (\n").upper().startswith(EXPLAINED):
                reads.append(self._explain(statement, parameters[0] if executemany else parameters))
                self.plans.setdefault(os.environ[CURRENT_TEST].rpartition(" (")[0], []).append(reads[-1])

        event.listen(self._engine, "before_cursor_execute", explain)
        try:
            yield reads
        finally:
            event.remove(self._engine, "before_cursor_execute", explain)

    def _explain(self, statement: str, parameters: Any) -> StatementReads:
        try:
            with self._explainer.connect() as connection:
                connection.exec_driver_sql(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}")
                rows = connection.exec_driver_sql(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", parameters).scalar_one()
                connection.rollback()
        except DBAPIError as error:
            return StatementReads(statement, 0, f"not executed: {error.orig}")
        (plan,) = json.loads(rows) if isinstance(rows, str) else rows
        top = plan["Plan"]
        return StatementReads(statement, _blocks(top), "\n".join(_outline(top)), max(_expected_rows(top)))


def _blocks(node: dict[str, Any]) -> int:
    return int(node["Shared Hit Blocks"] + node["Shared Read Blocks"])


def _expected_rows(node: dict[str, Any]) -> Iterator[int]:
    yield int(node["Plan Rows"])
    for child in node.get("Plans", ()):
        yield from _expected_rows(child)


def _outline(node: dict[str, Any], depth: int = 0) -> Iterator[str]:
    """Yield a line for each step of a plan: what it does, with which index or table, how many rows and blocks."""
    where = node.get("Index Name") or node.get("Relation Name") or node.get("CTE Name") or ""
    yield f"{'  ' * depth}{node['Node Type']} {where}: {node['Actual Rows']} rows x {node['Actual Loops']}, {_blocks(node)} blocks"
    for child in node.get("Plans", ()):
        yield from _outline(child, depth + 1)
