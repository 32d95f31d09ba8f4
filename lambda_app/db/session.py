"""Database sessions. Each is one unit of work, and its database errors are translated to AppErrors."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session, sessionmaker

from lambda_app.core.errors import AppError, DatabaseStartingError, DatabaseUnavailableError, MalformedRequestError, UnavailableError
from lambda_app.db.dialect import require_wire_connection
from lambda_app.db.errors import CANNOT_CONNECT_NOW, ConnectionLostError, error_field

logger = logging.getLogger(__name__)

SERIALIZATION_CONFLICTS = frozenset({"40001", "40P01"})
"""Serialization failure and deadlock: a retry of the transaction may succeed."""

_UNAVAILABLE_CLASSES = frozenset({"08", "28", "3D", "53", "57", "58"})
"""SQLSTATE classes of outages: connection, sign-in, missing database, resources, operator intervention, system error."""

_BAD_VALUE_CLASS = "22"


def create_session_factory(engine: Engine) -> sessionmaker[Session]:
    """Return the session factory. Repositories flush explicitly, so queries do not; loaded rows stay usable after the commit."""
    return sessionmaker(engine, autoflush=False, expire_on_commit=False)


@contextmanager
def session_scope(factory: sessionmaker[Session]) -> Iterator[Session]:
    """Run the block as one unit of work: commit on success, roll back on an exception, close in both cases.

    A block that only reads sends neither COMMIT nor ROLLBACK.
    Raises the exception of the block. Database errors become the AppErrors that `translate_database_error` returns.
    """
    with factory() as session:
        try:
            yield session
            session.commit()
        except BaseException as error:
            _roll_back(session)
            translated = translate_database_error(error)
            if translated is None:
                raise
            raise translated from error


def release_connection(session: Session) -> None:
    """Return the session's connection to the pool until its next statement. Call this before a slow operation such as a network call.

    Loaded rows stay usable. Raises RuntimeError when a transaction is open, because a slow operation must not run inside one, or when
    the session has unflushed changes.
    """
    if not session.in_transaction():
        return
    if require_wire_connection(session.connection().connection).is_in_transaction:
        raise RuntimeError("A transaction is open")
    if session.dirty or session.new or session.deleted:
        # The commit below would flush them implicitly.
        raise RuntimeError("The session has unflushed changes")
    # No transaction is open on the connection, only in SQLAlchemy's state: this sends nothing.
    session.commit()


@contextmanager
def own_transaction(session: Session) -> Iterator[None]:
    """Run the block as one transaction and commit it; roll it back if the block raises.

    Within an open transaction the block becomes part of that one: its unit of work commits it.
    """
    if require_wire_connection(session.connection().connection).is_in_transaction:
        yield
        return
    try:
        yield
        session.commit()
    except BaseException:
        _roll_back(session)
        raise


def _roll_back(session: Session) -> None:
    try:
        session.rollback()
    except DBAPIError:
        # The server rolls back when the connection is lost. The caller re-raises the original exception of the block.
        logger.warning("The connection was lost during a rollback", exc_info=True)
        session.invalidate()


def translate_database_error(error: BaseException) -> AppError | None:
    """Return the AppError to report for a database error; None when the error is a defect or not a database error.

    DatabaseStartingError: the database does not accept connections yet; nothing was executed.
    DatabaseUnavailableError: connection lost, timeout or no free connection.
    UnavailableError: a conflict (code `serialization_conflict`).
    MalformedRequestError: a value that PostgreSQL cannot store.
    """
    if isinstance(error, PoolTimeoutError):
        return DatabaseUnavailableError()
    if not isinstance(error, DBAPIError):
        return None
    sqlstate = error_field(error.orig, "C") or ""
    if sqlstate in SERIALIZATION_CONFLICTS:
        return UnavailableError(code="serialization_conflict")
    if isinstance(error.orig, ConnectionLostError) or sqlstate[:2] in _UNAVAILABLE_CLASSES:
        return DatabaseStartingError() if sqlstate == CANNOT_CONNECT_NOW else DatabaseUnavailableError()
    if sqlstate[:2] == _BAD_VALUE_CLASS:
        return MalformedRequestError()
    return None


def violated_constraint(error: IntegrityError) -> str | None:
    """Return the name of the violated constraint."""
    return error_field(error.orig, "n")
