"""Queries on grants. Each write is one audited statement that commits by itself, so that it applies from the next request on."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CTE, ColumnElement, Select, and_, delete, exists, false, func, literal, not_, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, aliased

from lambda_app.core import clock
from lambda_app.core.errors import NotAuthenticatedError
from lambda_app.db.session import own_transaction
from lambda_app.models import File, FileGrant, FileStatus, GrantRole, User
from lambda_app.models.sharing.grants import GRANTS_PER_FILE
from lambda_app.repositories.audit import audit_insert_for, details_of, with_event
from lambda_app.repositories.files.file_access import Viewer, ViewerOf, granted_to, manageable_by
from lambda_app.repositories.files.files import FileForbiddenError, NoSuchFileError
from lambda_app.repositories.sharing.named_access import is_confirmed
from lambda_app.repositories.statements import OWN_TRANSACTION, as_column, built_once


class FileGrantRepository:
    """Reads and writes the rows of `file_grant`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def put(self, file_id: UUID, user: User, *, grantee_id: UUID, role: GrantRole, email: str | None = None) -> FileGrant | None:
        """Grant the role on a file that `user` may manage; None if file or grantee does not exist, or the file has too many grants.

        A grant to an `email` that the grantee has not confirmed is pending, unless the same grant had an effect before.

        Lock order: the file, `user` and the grantee by id, the grant. The lock on the file makes the limit exact: of two
        concurrent requests for one file, the second counts the grant of the first. The lock on the grantee excludes a concurrent
        confirmation (`NamedAccessRepository.activate`). Raises NotAuthenticatedError if the credentials of the request have ended.
        """
        with own_transaction(self._session):
            users: dict[str, Any] = {"user_id": user.id, "user_epoch": user.token_epoch, "user_ids": list({user.id, grantee_id})}
            is_authenticated = self._session.execute(*_lock(user.is_superuser, file_id=file_id, **users)).scalar()
            if is_authenticated is None:
                return None
            if not is_authenticated:
                raise NotAuthenticatedError
            grant: dict[str, Any] = {"role": role.value, "email": email, "now": clock.now(), "grants_max": GRANTS_PER_FILE}
            granted = _put(user.is_superuser, file_id=file_id, user_id=user.id, grantee_id=grantee_id, **grant)
            return self._session.execute(*with_event(granted, "file.shared")).scalar_one_or_none()

    def remove(self, file_id: UUID, user: User, *, grantee_id: UUID) -> bool:
        """Delete a grant; False if there is none that the user may delete: as the grantee, or because they may manage the file."""
        is_own = grantee_id == user.id
        removed = _remove(user.is_superuser, is_own, file_id=file_id, user_id=user.id, grantee_id=grantee_id)
        return self._session.execute(*with_event(removed, "file.unshared")).scalar_one_or_none() is not None

    def list_for_file(self, file_id: UUID, user: User) -> list[FileGrant]:
        """Return the grants of a file, oldest first: all of them if the user may manage it, for a grantee only their own.

        Raises NoSuchFileError, FileForbiddenError.
        """
        rows = self._session.execute(*_of_file(user.is_superuser, file_id=file_id, user_id=user.id)).all()
        if not rows:
            raise NoSuchFileError
        grants = [row.FileGrant for row in rows if row.FileGrant is not None]
        if not grants and not rows[0].is_manager:
            raise FileForbiddenError
        return grants


def _grantable(viewer: Viewer, file_id: UUID) -> tuple[ColumnElement[bool], ...]:
    return File.id == file_id, File.status != FileStatus.DELETING, manageable_by(viewer)


@built_once
def _lock(is_superuser: bool, *, file_id: UUID, user_id: UUID, user_epoch: int, user_ids: list[UUID]) -> Select[bool]:
    grantable = select(File.id).where(*_grantable(ViewerOf(user_id, is_superuser), file_id))
    file = grantable.with_for_update(key_share=True).cte("file_to_grant")
    users = select(User.id, User.token_epoch, User.is_active).where(User.id.in_(user_ids), exists(select(file.c.id)))
    locked = users.order_by(User.id).with_for_update(read=True).cte("locked_users")
    is_caller = and_(locked.c.id == user_id, locked.c.token_epoch == user_epoch, locked.c.is_active)
    return select(exists(select(locked.c.id).where(is_caller))).select_from(file)


@built_once
def _remove(is_superuser: bool, is_own: bool, *, file_id: UUID, user_id: UUID, grantee_id: UUID) -> Select[UUID]:
    conditions: tuple[ColumnElement[bool], ...] = (FileGrant.file_id == file_id, FileGrant.user_id == grantee_id)
    if is_own:
        conditions += (FileGrant.is_pending.is_(False),)
    else:
        conditions += (exists(select(File.id).where(File.id == file_id, manageable_by(ViewerOf(user_id, is_superuser)))),)
    removed = delete(FileGrant).where(*conditions).returning(*FileGrant.__table__.c).cte("removed")
    logged = audit_insert_for(removed, kind="file", key="file_id", details=_details(removed))
    return select(removed.c.file_id).add_cte(logged.cte("logged")).execution_options(**OWN_TRANSACTION)


@built_once
def _of_file(is_superuser: bool, *, file_id: UUID, user_id: UUID) -> Select[bool, FileGrant]:
    viewer = ViewerOf(user_id, is_superuser)
    is_manager: ColumnElement[bool] = manageable_by(viewer)
    is_visible = and_(FileGrant.file_id == File.id, or_(is_manager, and_(*granted_to(viewer))))
    query = (
        select(is_manager.label("is_manager"), FileGrant)
        .select_from(File)
        .outerjoin(FileGrant, is_visible)
        .where(File.id == file_id, File.status != FileStatus.DELETING)
        .order_by(FileGrant.created_at, FileGrant.user_id)
    )
    return query.execution_options(populate_existing=True)


@built_once
def _put(
    is_superuser: bool, *, file_id: UUID, user_id: UUID, grantee_id: UUID, role: str, email: str | None, now: datetime, grants_max: int
) -> Select[FileGrant]:
    grantable = _grantable(ViewerOf(user_id, is_superuser), file_id)
    shared_file = select(File.id, File.owner_id, File.created_at).where(*grantable).cte("shared_file")
    columns = FileGrant.__table__.c
    address = as_column(email, columns.email.type)
    owns_address = is_confirmed(address).label("owns_address")
    grantee = select(User.id, owns_address).where(User.id == grantee_id, User.is_active).with_for_update(read=True).cte("grantee")
    others = select(func.count()).where(FileGrant.file_id == file_id, FileGrant.user_id != grantee_id).scalar_subquery()
    values = {
        "file_id": shared_file.c.id,
        "user_id": grantee.c.id,
        "owner_id": shared_file.c.owner_id,
        "file_created_at": shared_file.c.created_at,
        "role": as_column(role, columns.role.type),
        "email": address,
        "is_pending": literal(email is not None) & not_(grantee.c.owns_address),
        "created_at": as_column(now, columns.created_at.type),
        "updated_at": as_column(now, columns.updated_at.type),
    }
    rows = select(*values.values()).where(grantee.c.id != shared_file.c.owner_id, others < grants_max)
    inserted = insert(FileGrant).from_select(list(values), rows)
    new = inserted.excluded
    had_effect = and_(FileGrant.is_pending.is_(False), FileGrant.email == new.email)
    changes = {
        "role": new.role,
        "email": func.coalesce(new.email, FileGrant.email),
        "is_pending": new.is_pending & not_(func.coalesce(had_effect, false())),
        "updated_at": new.updated_at,
    }
    granted = inserted.on_conflict_do_update(constraint="pk_file_grant", set_=changes).returning(*columns).cte("granted")
    logged = audit_insert_for(granted, kind="file", key="file_id", details=_details(granted))
    return select(aliased(FileGrant, granted)).add_cte(logged.cte("logged")).execution_options(**OWN_TRANSACTION)


def _details(grant: CTE) -> ColumnElement[str]:
    return details_of(**{name: grant.c[name] for name in ("user_id", "role", "owner_id", "is_pending")})
