"""A probe of the database's health that neither a silent network nor a crowd of askers can turn against us."""

import logging
import threading
from time import monotonic

from pg8000.dbapi import Error  # type: ignore[import-untyped]  # ships no type information
from sqlalchemy import Engine

from lambda_app.core.errors import AppError
from lambda_app.db.connection import TransactionMode
from lambda_app.db.engine import endpoint_of

logger = logging.getLogger(__name__)

ANSWER_FRESH_SECONDS = 1.0
"""How long an answer serves whoever asks next: the probe costs a sign-in, and anybody may ask."""


class DatabaseProbe:
    """Asks for a sign of life on a connection of its own: a busy pool does not make the database look dead.

    One probe runs at a time, in a thread that is left behind when it takes too long: name resolution and the password's
    source have no time limit of their own.
    """

    def __init__(self, engine: Engine, *, timeout_seconds: float) -> None:
        self._engine = engine
        self._timeout_seconds = timeout_seconds
        self._lock = threading.Lock()
        self._running: _Run | None = None

    def is_reachable(self) -> bool:
        """Whether the database answers, or did within the last second; known within the time limit."""
        with self._lock:
            run = self._running
            if run is None or run.is_stale():
                run = self._running = _Run(self._engine, self._timeout_seconds)
                run.start()
        return run.answer()


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
            self._ask()
            self._is_reachable = True
        except (Error, AppError) as error:
            logger.warning("The database is not reachable: %s", error)
        finally:
            self._ended_at = monotonic()

    def is_stale(self) -> bool:
        return self._ended_at is not None and monotonic() - self._ended_at > ANSWER_FRESH_SECONDS

    def answer(self) -> bool:
        self.join(max(0.0, self._deadline - monotonic()))
        return self._is_reachable

    def _ask(self) -> None:
        connection = endpoint_of(self._engine).connect(timeout_seconds=self._timeout_seconds)
        try:
            connection.set_timeout(max(0.001, self._deadline - monotonic()))
            connection.execute_statement("SELECT 1", (), TransactionMode.READ)
        finally:
            connection.close()
