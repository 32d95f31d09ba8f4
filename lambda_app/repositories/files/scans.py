"""The results of malware scans, in the rows of `file`."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, literal_column, or_, select, update
from sqlalchemy.orm import Session, aliased

from lambda_app.core import clock
from lambda_app.db.session import release_connection
from lambda_app.models import File, FileStatus, ScanStatus
from lambda_app.repositories.audit import audit_insert_for
from lambda_app.repositories.files.files import NoSuchFileError
from lambda_app.repositories.statements import OWN_TRANSACTION, newest_page
from lambda_app.schemas.page import Cursor

_STORED = (FileStatus.PENDING, FileStatus.AVAILABLE, FileStatus.TRASHED)
"""The states in which a result counts. A result for a deleted, rejected or expired file changes nothing."""


class ScanRepository:
    """Records results and releases."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def record(self, file_id: UUID, status: ScanStatus, *, is_withheld: bool, tag: str) -> bool:
        """Record a result and commit; False if the file is gone, or has this result already. Only bad results are audited."""
        is_new = or_(File.scan_status != status, File.is_withheld.is_not(is_withheld))
        conditions = (File.id == file_id, File.status.in_(_STORED), is_new)
        actions = {ScanStatus.INFECTED: "file.infected", ScanStatus.UNSCANNABLE: "file.unscannable"}
        details = {"scan_status": status.value, "tag": tag, "is_withheld": is_withheld}
        return (
            self._change(*conditions, action=actions.get(status), details=details, scan_status=status, is_withheld=is_withheld) is not None
        )

    def release(self, file_id: UUID) -> File | None:
        """Serve a file in spite of its result, and commit; None if it is not withheld for a result."""
        conditions = (File.id == file_id, File.status.in_(_STORED), *_is_withheld_for_a_result())
        return self._change(*conditions, action="file.released", details={}, is_withheld=False)

    def release_connection(self) -> None:
        """Return the connection to the pool until the next statement, before a call to S3."""
        release_connection(self._session)

    def require(self, file_id: UUID) -> File:
        """Return a file in a state in which it can be released. Raises NoSuchFileError."""
        query = select(File).where(File.id == file_id, File.status.in_(_STORED)).execution_options(populate_existing=True)
        file = self._session.execute(query).scalar_one_or_none()
        if file is None:
            raise NoSuchFileError
        return file

    def page_withheld(self, *, limit: int, after: Cursor | None) -> list[File]:
        """Return up to `limit` files that are withheld for a result, after the cursor, newest first. An index has exactly these."""
        query = select(File).where(*_is_withheld_for_a_result(), File.status != FileStatus.DELETING)
        return list(self._session.execute(newest_page(query, File, limit=limit, after=after)).scalars())

    def _change(self, *conditions: ColumnElement[bool], action: str | None, details: Mapping[str, Any], **values: Any) -> File | None:
        changes = {"updated_at": clock.now(), "revision": File.revision + 1, **values}
        changed = update(File).where(*conditions).values(changes).returning(*File.__table__.columns).cte("changed")
        statement = select(aliased(File, changed))
        if action is not None:
            statement = statement.add_cte(audit_insert_for(changed, action, kind="file", details=details).cte("logged"))
        return self._session.execute(statement.execution_options(**OWN_TRANSACTION)).scalar_one_or_none()


def _is_withheld_for_a_result() -> tuple[ColumnElement[bool], ...]:
    # As in the condition of the index: PostgreSQL cannot prove that from a parameter.
    return (and_(File.is_withheld, File.scan_status != literal_column("'pending'")),)
