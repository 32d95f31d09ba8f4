"""The database health probe. It is safe against an unresponsive network and against many concurrent callers."""

import logging
import threading
from time import monotonic

from pg8000.dbapi import Error  # type: ignore[import-untyped]  # ships no type information
from sqlalchemy import Engine

from lambda_app.core.errors import AppError
from lambda_app.db.connection import TransactionMode
from lambda_app.db.engine import endpoint_of

logger = logging.getLogger(__name__)

RESULT_TTL_SECONDS = 1.0
"""How long a result is reused. A probe costs a database sign-in, and the health check needs no authentication."""


class DatabaseProbe:
    """Probes the database on a separate connection, so that a busy pool does not count as an outage.

    At most one probe runs at a time. It runs in a daemon thread, which is abandoned at the timeout, because name resolution and the
    password source have no timeout of their own.
    """

    def __init__(self, engine: Engine, *, timeout_seconds: float) -> None:
        self._engine = engine
        self._timeout_seconds = timeout_seconds
        self._lock = threading.Lock()
        self._running: _Run | None = None

    def is_reachable(self) -> bool:
        """Whether the database responds, or did within the last second. Returns within the timeout."""
        with self._lock:
            run = self._running
            if run is None or run.is_stale():
                run = self._running = _Run(self._engine, self._timeout_seconds)
                run.start()
        return run.wait_for_result()


class _Run(threading.Thread):
    def __init__(self, engine: Engine, timeout_seconds: float) -> None:
        super().__init__(name="database-probe", daemon=True)
        self._engine = engine
        self._timeout_seconds = timeout_seconds
        self._deadline = monotonic() + timeout_seconds
        self._ended_at: float | None = None
        self._is_reachable = False

    def run(self) -> None:
        try:
            self._connect_and_select()
            self._is_reachable = True
        except (Error, AppError) as error:
            logger.warning("The database is not reachable: %s", error)
        finally:
            self._ended_at = monotonic()

    def is_stale(self) -> bool:
        return self._ended_at is not None and monotonic() - self._ended_at > RESULT_TTL_SECONDS

    def wait_for_result(self) -> bool:
        self.join(max(0.0, self._deadline - monotonic()))
        return self._is_reachable

    def _connect_and_select(self) -> None:
        connection = endpoint_of(self._engine).connect(timeout_seconds=self._timeout_seconds)
        try:
            connection.set_timeout(max(0.001, self._deadline - monotonic()))
            connection.execute_statement("SELECT 1", (), TransactionMode.READ)
        finally:
            connection.close()
