"""The results of malware scans, in the rows of `file`."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, literal_column, or_, select, update
from sqlalchemy.orm import Session, aliased

from lambda_app.core import clock
from lambda_app.db.session import release_connection
from lambda_app.models import File, FileStatus, ScanStatus
from lambda_app.repositories.audit import audit_insert_for, with_event
from lambda_app.repositories.files.files import NoSuchFileError
from lambda_app.repositories.statements import OWN_TRANSACTION, built_once, newest_page
from lambda_app.schemas.page import Cursor

_STORED = (FileStatus.PENDING, FileStatus.AVAILABLE, FileStatus.TRASHED)
"""The states in which a result counts. A result for a deleted, rejected or expired file changes nothing."""


class ScanRepository:
    """Records results and releases."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def record(self, file_id: UUID, status: ScanStatus, *, is_withheld: bool, tag: str) -> bool:
        """Record a result and commit; False if the file is gone, or has this result already. Only bad results are audited."""
        action = {ScanStatus.INFECTED: "file.infected", ScanStatus.UNSCANNABLE: "file.unscannable"}.get(status)
        recorded = _record(action is not None, status, is_withheld, file_id=file_id, now=clock.now())
        if action is not None:
            recorded = with_event(recorded, action, details={"scan_status": status.value, "tag": tag, "is_withheld": is_withheld})
        return self._session.execute(*recorded).scalar_one_or_none() is not None

    def release(self, file_id: UUID) -> File | None:
        """Serve a file in spite of its result, and commit; None if it is not withheld for a result."""
        return self._session.execute(*with_event(_release(file_id=file_id, now=clock.now()), "file.released")).scalar_one_or_none()

    def release_connection(self) -> None:
        """Return the connection to the pool until the next statement, before a call to S3."""
        release_connection(self._session)

    def require(self, file_id: UUID) -> File:
        """Return a file in a state in which it can be released. Raises NoSuchFileError."""
        file: File | None = self._session.execute(*_stored(file_id=file_id)).scalar_one_or_none()
        if file is None:
            raise NoSuchFileError
        return file

    def page_withheld(self, *, limit: int, after: Cursor | None) -> list[File]:
        """Return up to `limit` files that are withheld for a result, after the cursor, newest first. An index has exactly these."""
        return list(self._session.execute(*_page_withheld(limit=limit, after=after)).scalars())


@built_once
def _record(is_audited: bool, status: ScanStatus, is_withheld: bool, *, file_id: UUID, now: datetime) -> Select[File]:
    is_new = or_(File.scan_status != status, File.is_withheld.is_not(is_withheld))
    conditions = (File.id == file_id, File.status.in_(_STORED), is_new)
    return _changed(*conditions, is_audited=is_audited, now=now, scan_status=status, is_withheld=is_withheld)


@built_once
def _release(*, file_id: UUID, now: datetime) -> Select[File]:
    conditions = (File.id == file_id, File.status.in_(_STORED), *_is_withheld_for_a_result())
    return _changed(*conditions, is_audited=True, now=now, is_withheld=False)


@built_once
def _stored(*, file_id: UUID) -> Select[File]:
    return select(File).where(File.id == file_id, File.status.in_(_STORED)).execution_options(populate_existing=True)


@built_once
def _page_withheld(*, limit: int, after: Cursor | None) -> Select[File]:
    query = select(File).where(*_is_withheld_for_a_result(), File.status != FileStatus.DELETING)
    return newest_page(query, File, limit=limit, after=after)


def _changed(*conditions: ColumnElement[bool], is_audited: bool, now: datetime, **values: Any) -> Select[File]:
    changes = {"updated_at": now, "revision": File.revision + 1, **values}
    changed = update(File).where(*conditions).values(changes).returning(*File.__table__.columns).cte("changed")
    statement = select(aliased(File, changed))
    if is_audited:
        statement = statement.add_cte(audit_insert_for(changed, kind="file").cte("logged"))
    return statement.execution_options(**OWN_TRANSACTION)


def _is_withheld_for_a_result() -> tuple[ColumnElement[bool], ...]:
    # As in the condition of the index: PostgreSQL cannot prove that from a parameter.
    return (and_(File.is_withheld, File.scan_status != literal_column("'pending'")),)
