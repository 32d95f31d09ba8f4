"""Sessions: one unit of work each, its database errors translated."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session, sessionmaker

from lambda_app.core.errors import AppError, MalformedRequestError, UnavailableError
from lambda_app.db.dialect import require_wire_connection
from lambda_app.db.errors import ConnectionLostError, error_field

logger = logging.getLogger(__name__)

SERIALIZATION_CONFLICTS = frozenset({"40001", "40P01"})
"""Serialization failure and deadlock: the same transaction may succeed a moment later."""

_UNAVAILABLE_CLASSES = frozenset({"08", "28", "3D", "53", "57", "58"})
"""The database's own troubles: connection, sign-in, no such database, resources, operator, system."""

_BAD_VALUE_CLASS = "22"


def create_session_factory(engine: Engine) -> sessionmaker[Session]:
    """Return the factory of sessions; repositories flush, so a query never does, and rows outlive the commit."""
    return sessionmaker(engine, autoflush=False, expire_on_commit=False)


@contextmanager
def session_scope(factory: sessionmaker[Session]) -> Iterator[Session]:
    """Run the block as one unit of work: committed if it succeeds, undone if it raises, closed in any case.

    A block that only read sends neither COMMIT nor ROLLBACK.
    Raises what the block raises, database errors as AppErrors where `translate_database_error` knows one.
    """
    with factory() as session:
        try:
            yield session
            session.commit()
        except BaseException as error:
            _undo(session)
            translated = translate_database_error(error)
            if translated is None:
                raise
            raise translated from error


def release_connection(session: Session) -> None:
    """Give the session's connection back to the pool until its next statement, because something slow comes now.

    The rows that were read stay usable. Raises RuntimeError when a transaction is open, which nothing slow may happen in, or when changes
    wait to be written.
    """
    if not session.in_transaction():
        return
    if require_wire_connection(session.connection().connection).is_in_transaction:
        raise RuntimeError("A transaction is open")
    if session.dirty or session.new or session.deleted:
        # They would be written here and now, by nobody's decision.
        raise RuntimeError("There are changes that were not flushed")
    # Only SQLAlchemy believes that one has begun: this sends nothing.
    session.commit()


def _undo(session: Session) -> None:
    try:
        session.rollback()
    except DBAPIError:
        # The server undoes what a dead connection had begun; the block's own error is the one to report.
        logger.warning("The connection was lost during a rollback", exc_info=True)
        session.invalidate()


def translate_database_error(error: BaseException) -> AppError | None:
    """Return the refusal that a database error means to a caller; None if it means a defect, or is no database error.

    UnavailableError: connection lost, timeout, no free connection, conflict (code `serialization_conflict`).
    MalformedRequestError: a value that PostgreSQL cannot store.
    """
    if isinstance(error, PoolTimeoutError):
        return UnavailableError()
    if not isinstance(error, DBAPIError):
        return None
    sqlstate = error_field(error.orig, "C") or ""
    if sqlstate in SERIALIZATION_CONFLICTS:
        return UnavailableError(code="serialization_conflict")
    if isinstance(error.orig, ConnectionLostError) or sqlstate[:2] in _UNAVAILABLE_CLASSES:
        return UnavailableError()
    if sqlstate[:2] == _BAD_VALUE_CLASS:
        return MalformedRequestError()
    return None


def violated_constraint(error: IntegrityError) -> str | None:
    """Return the name of the constraint that refused the row."""
    return error_field(error.orig, "n")
