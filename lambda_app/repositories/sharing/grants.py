"""Queries on grants. Each write is one statement that also audits, and commits by itself: the next request sees it."""

from uuid import UUID

from sqlalchemy import ColumnElement, and_, delete, exists, func, literal, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, aliased

from lambda_app.core import clock
from lambda_app.models import File, FileGrant, FileStatus, GrantRole, User
from lambda_app.repositories.audit import audit_insert_for
from lambda_app.repositories.files.file_access import manageable_by
from lambda_app.repositories.files.files import FileForbiddenError, NoSuchFileError

GRANTS_PER_FILE = 100

_OWN_TRANSACTION = {"own_transaction": True, "synchronize_session": False, "populate_existing": True}


class FileGrantRepository:
    """Reads and writes the rows of `file_grant`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def may_grant(self, file_id: UUID, user: User) -> ColumnElement[bool]:
        """Return the condition that the user may share the file by name, for a statement of its own."""
        return exists(select(File.id).where(*_grantable(file_id, user)))

    def put(self, file_id: UUID, user: User, *, grantee_id: UUID, role: GrantRole, email: str | None = None) -> FileGrant | None:
        """Give the grantee this role on a file that `user` manages; None when one of them is not there, or there are too many.

        The limit of grants is exact unless several are made in the same moment.
        """
        # The rows that the foreign keys will look at are locked first: the log's end comes last, for everybody.
        file = select(File.id, File.owner_id).where(*_grantable(file_id, user))
        shared = file.with_for_update(read=True, key_share=True).cte("shared")
        grantee = select(User.id).where(User.id == grantee_id, User.is_active).with_for_update(read=True, key_share=True).cte("grantee")
        others = select(func.count()).where(FileGrant.file_id == file_id, FileGrant.user_id != grantee_id).scalar_subquery()
        now = clock.now()
        columns = FileGrant.__table__.c
        values = {
            "file_id": shared.c.id,
            "user_id": grantee.c.id,
            "owner_id": shared.c.owner_id,
            "role": literal(role.value, columns.role.type),
            "email": literal(email, columns.email.type),
            "created_at": literal(now, columns.created_at.type),
            "updated_at": literal(now, columns.updated_at.type),
        }
        rows = select(*values.values()).where(grantee.c.id != shared.c.owner_id, others < GRANTS_PER_FILE)
        made = insert(FileGrant).from_select(list(values), rows)
        new = made.excluded
        changes = {"role": new.role, "email": func.coalesce(new.email, FileGrant.email), "updated_at": new.updated_at}
        granted = made.on_conflict_do_update(constraint="pk_file_grant", set_=changes).returning(*columns).cte("granted")
        details = {"user_id": grantee_id, "role": role.value}
        logged = audit_insert_for(granted, "file.shared", kind="file", key="file_id", details=details)
        statement = select(aliased(FileGrant, granted)).add_cte(logged.cte("logged"))
        return self._session.execute(statement.execution_options(**_OWN_TRANSACTION)).scalar_one_or_none()

    def remove(self, file_id: UUID, user: User, *, grantee_id: UUID) -> bool:
        """Take a grant back, as whoever manages the file or as the grantee; False when there is no such grant for the user."""
        named: tuple[ColumnElement[bool], ...] = (FileGrant.file_id == file_id, FileGrant.user_id == grantee_id)
        if grantee_id != user.id:
            named += (exists(select(File.id).where(File.id == file_id, manageable_by(user))),)
        removed = delete(FileGrant).where(*named).returning(FileGrant.file_id).cte("removed")
        logged = audit_insert_for(removed, "file.unshared", kind="file", key="file_id", details={"user_id": grantee_id})
        statement = select(removed.c.file_id).add_cte(logged.cte("logged")).execution_options(**_OWN_TRANSACTION)
        return self._session.execute(statement).scalar_one_or_none() is not None

    def list_of(self, file_id: UUID, user: User) -> list[FileGrant]:
        """Return the grants of a file, oldest first: all of them for whoever manages it, for a grantee their own.

        Raises NoSuchFileError, FileForbiddenError.
        """
        is_manager: ColumnElement[bool] = manageable_by(user)
        mine = and_(FileGrant.file_id == File.id, or_(is_manager, FileGrant.user_id == user.id))
        query = (
            select(is_manager.label("is_manager"), FileGrant)
            .select_from(File)
            .outerjoin(FileGrant, mine)
            .where(File.id == file_id, File.status != FileStatus.DELETING)
            .order_by(FileGrant.created_at, FileGrant.user_id)
        )
        rows = self._session.execute(query.execution_options(populate_existing=True)).all()
        if not rows:
            raise NoSuchFileError
        grants = [row.FileGrant for row in rows if row.FileGrant is not None]
        if not grants and not rows[0].is_manager:
            raise FileForbiddenError
        return grants


def _grantable(file_id: UUID, user: User) -> tuple[ColumnElement[bool], ...]:
    return File.id == file_id, File.status != FileStatus.DELETING, manageable_by(user)
